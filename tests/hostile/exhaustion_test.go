package hostile

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/harness"
)

const halfOpen = 5000

// halfHandshakes opens connections that say hello, hear the gateway's answer, and then nothing more.
func halfHandshakes(t *testing.T, g *harness.Gateway, count int, hello []byte) (conns []net.Conn) {
	t.Helper()
	var mutex sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			buffer := make([]byte, 64)
			for range count / 16 {
				conn, err := net.DialTimeout("tcp", g.Address, harness.Patience)
				if err != nil {
					t.Errorf("no connection: %v", err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(harness.Slow(30 * time.Second)))
				_, _ = conn.Write(hello)
				if _, err := io.ReadFull(conn, buffer[:5]); err != nil {
					t.Errorf("no answer to a hello: %v", err)
				}
				mutex.Lock()
				conns = append(conns, conn)
				mutex.Unlock()
			}
		})
	}
	all.Wait()
	return conns
}

func TestThousandsOfHalfOpenHandshakes(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < halfOpen+500 {
		t.Skipf("only %d descriptors", limit.Cur)
	}
	g, _ := web(t, "h1", "timeouts: {handshake: 5s}")
	hello := helloOf(t)
	good := func() {
		t.Helper()
		began := time.Now()
		if got := harness.Get(g.Client(t, "h2"), "/x"); got.Status != 200 || time.Since(began) > harness.Slow(2*time.Second) {
			t.Errorf("a good client got %d, %v after %v", got.Status, got.Err, time.Since(began))
		}
	}
	good()
	idle := g.Descriptors()
	before, peaks, held := g.Memory(), [2]int64{}, [2]int64{}
	for wave := range peaks {
		began := time.Now()
		conns := halfHandshakes(t, g, halfOpen, hello)
		peaks[wave], held[wave] = g.Memory()-before, int64(g.Descriptors()-idle)
		t.Logf("wave %d: %d held after %v, %d KiB in all, %d bytes each", wave+1, held[wave],
			time.Since(began).Round(time.Millisecond), peaks[wave]>>10, peaks[wave]/halfOpen)
		good()
		harness.WaitFor(t, "the handshakes to be given up", 9*time.Second, func() bool { return g.Descriptors() <= idle+5 })
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	if harness.Instrumented() {
		return
	}
	if peaks[0] > halfOpen*48<<10 {
		t.Errorf("%d bytes each", peaks[0]/halfOpen)
	}
	// On a busy machine the first of a wave are given up before the last have come.
	if like := peaks[0] * max(held[0], held[1]) / held[0]; peaks[1] > like+like/4+8<<20 {
		t.Errorf("the second wave grew the gateway from %d to %d KiB", peaks[0]>>10, peaks[1]>>10)
	}
}

// inRecords splits the hello's one record into records of a few bytes each.
func inRecords(hello []byte, size int) (records []byte) {
	for body := hello[5:]; len(body) > 0; {
		n := min(size, len(body))
		records = append(records, hello[0], hello[1], hello[2], byte(n>>8), byte(n))
		records = append(records, body[:n]...)
		body = body[n:]
	}
	return records
}

func TestEveryKindOfHalfOpenHandshakeIsCheap(t *testing.T) {
	const count = 1000
	hello := helloOf(t)
	for _, try := range []struct {
		name     string
		said     []byte
		answered bool
	}{
		{"silence", nil, false},
		{"the head of a record", hello[:5], false},
		{"half a hello", hello[:len(hello)/2], false},
		{"half a hello in small records", inRecords(hello, 16)[:len(hello)/2], false},
		{"a hello in small records", inRecords(hello, 64), true},
	} {
		t.Run(try.name, func(t *testing.T) {
			g, _ := web(t, "h1", "timeouts: {handshake: 20s}")
			harness.Get(g.Client(t, "h2"), "/x")
			before, idle := g.Memory(), g.Descriptors()
			if try.answered {
				for _, conn := range halfHandshakes(t, g, count, try.said) {
					defer conn.Close()
				}
			} else {
				for range count {
					conn := g.DialTCP(t)
					defer conn.Close()
					_, _ = conn.Write(try.said)
				}
				harness.WaitFor(t, "all to be taken in", 10*time.Second, func() bool { return g.Descriptors() >= idle+count-5 })
			}
			each := (g.Memory() - before) / count
			t.Logf("%d bytes each", each)
			if each > 48<<10 && !harness.Instrumented() {
				t.Errorf("%d bytes each", each)
			}
		})
	}
}

func TestRunningOutOfDescriptors(t *testing.T) {
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Routes: everything, Backends: []string{harness.HTTP1("web", back.Address)},
		Under: []string{"prlimit", "--nofile=64:64"}, Listener: []string{"timeouts: {handshake: 30s}"}})
	if got := harness.Get(g.Client(t, "h1"), "/x"); got.Status != 200 {
		t.Fatalf("got %+v", got)
	}
	var conns []net.Conn
	for range 200 {
		conn, err := net.DialTimeout("tcp", g.Address, harness.Patience)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	harness.WaitFor(t, "every descriptor to be in use", 5*time.Second, func() bool { return g.Descriptors() >= 63 })
	before := g.CPU()
	time.Sleep(time.Second) // what is measured is the work done in this time
	if worked := g.CPU() - before; worked > 200*time.Millisecond {
		t.Errorf("worked for %v of a second with nothing to do", worked)
	}
	if !g.Running() {
		t.Fatal("the gateway is gone")
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	harness.WaitFor(t, "service to be back", 10*time.Second, func() bool {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", g.Address, harness.ClientTLS("h2"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	for _, protocol := range []string{"h1", "h2"} {
		if got := harness.Get(g.Client(t, protocol), "/x"); got.Status != 200 {
			t.Errorf("%s: %+v", protocol, got)
		}
	}
}

// A thousand connections that end in every way leave no descriptor and hardly any memory behind.
func TestNothingLeaks(t *testing.T) {
	g, back := web(t, "h2")
	hello := helloOf(t)
	round := func(i int) {
		switch i % 8 {
		case 0:
			_ = g.DialTCP(t).Close()
		case 1:
			conn := g.DialTCP(t)
			_, _ = conn.Write(hello[:len(hello)/2])
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		case 2:
			_ = g.DialTLS(t, "h2").NetConn().Close()
		case 3:
			w := g.Wire(t)
			w.Say("GET /x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
			_, _ = w.Rest()
			_ = w.Close()
		case 4:
			w := g.Wire(t)
			w.Say(post("Content-Length: 100", "half"))
			_ = w.NetConn().Close()
		case 5:
			s := open(t, g)
			s.get(1, "/sleep?for=1h")
			s.get(3, "/x")
			s.await(3)
			_ = s.conn.NetConn().Close()
		case 6:
			w := g.Wire(t)
			w.Say("broken\r\n\r\n")
			_, _ = w.Rest()
			_ = w.Close()
		case 7:
			conn := g.DialTCP(t)
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
			_, _ = io.ReadAll(conn)
			_ = conn.Close()
		}
	}
	settle := func() (descriptors int, memory int64) {
		harness.WaitFor(t, "calls to end", 10*time.Second, func() bool {
			for _, call := range back.Journal.Calls("") {
				if !call.Done {
					return false
				}
			}
			return true
		})
		back.Journal.Reset()
		return g.Descriptors(), g.Memory()
	}
	for i := range 200 {
		round(i)
	}
	descriptors, memory := settle()
	for i := range 1000 {
		round(i)
	}
	harness.WaitFor(t, "descriptors to be given back", 10*time.Second, func() bool { return g.Descriptors() <= descriptors+2 })
	_, after := settle()
	t.Logf("%d descriptors, memory grew by %d KiB", descriptors, (after-memory)>>10)
	if after-memory > 4<<20 && !harness.Instrumented() {
		t.Errorf("memory grew by %d KiB", (after-memory)>>10)
	}
}
