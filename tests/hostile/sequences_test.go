package hostile

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tollgate/tests/harness"
)

// What a hostile reading of the data path found: each test is one sequence of events.

// serve accepts on a port of its own and gives each connection to the function.
func serve(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	listener := harness.Must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				talk(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func headers(pairs ...string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return block.Bytes()
}

// client2 opens a raw HTTP/2 connection to the gateway.
func client2(t *testing.T, g *harness.Gateway, settings ...http2.Setting) (*tls.Conn, *http2.Framer) {
	t.Helper()
	conn := g.DialTLS(t, "h2")
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return conn, framer
}

func ask(framer *http2.Framer, id uint32, end bool, more ...string) error {
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end,
		BlockFragment: headers(append([]string{":method", "GET", ":scheme", "https", ":authority", "gateway.test",
			":path", "/"}, more...)...)})
}

func through(backends ...string) harness.Setup {
	return harness.Setup{Routes: []string{harness.Route("path: /*", "backend: web")}, Backends: backends}
}

// The backend's answer is whole, the client has yet to take it, and the backend's connection ends.
func TestBackendLeavesAfterItsWholeAnswer(t *testing.T) {
	t.Parallel()
	left := make(chan struct{}, 1)
	address := serve(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
		framer := http2.NewFramer(conn, conn)
		_ = framer.WriteSettings()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type != http2.FrameHeaders {
				continue
			}
			id := frame.Header().StreamID
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true,
				BlockFragment: headers(":status", "200")})
			_ = framer.WriteData(id, false, make([]byte, 16000))
			_ = framer.WriteData(id, true, make([]byte, 16000))
			time.Sleep(100 * time.Millisecond)
			left <- struct{}{}
			return
		}
	})
	g := harness.Start(t, through(harness.H2("web", address)))
	_, framer := client2(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	_ = ask(framer, 1, true)
	<-left
	time.Sleep(200 * time.Millisecond)
	if !g.Running() {
		t.Fatal("the gateway died")
	}
	_ = framer.WriteWindowUpdate(1, 1<<20)
	total := 0
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			total += len(data.Data())
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			break
		}
	}
	if total != 32000 {
		t.Fatalf("%d bytes", total)
	}
}

// A backend that resets a close-delimited answer cut it short.
func TestResetInCloseDelimitedAnswerLooksBroken(t *testing.T) {
	t.Parallel()
	address := serve(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nhalf")
		time.Sleep(100 * time.Millisecond)
		_ = conn.(*net.TCPConn).SetLinger(0)
	})
	g := harness.Start(t, through(harness.HTTP1("web", address)))
	for _, protocol := range []string{"h1", "h2"} {
		if got := harness.Get(g.Client(t, protocol), "/"); got.Err == nil {
			t.Errorf("%s: looks whole: %+v", protocol, got)
		}
	}
}

// A client that sends its request and ends its side in the same flight still gets what is there already.
func TestAnswerOfOurOwnAfterHalfClose(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Setup{Routes: []string{harness.Route("path: /healthz", "respond: {status: 200, body: \"fine\"}")}})
	for _, path := range []string{"/healthz", "/none"} {
		wire := g.Wire(t)
		// Both records in one segment.
		wire.Say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		_ = wire.CloseWrite()
		if got := wire.Hear("GET"); got.Err != nil {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// The last bytes of an answer wait for a client that is slow but reads without rest.
func TestSlowClientOfAClosingConnectionGetsAll(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	address := serve(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		_, _ = conn.Write(make([]byte, size))
		_, _ = io.Copy(io.Discard, conn)
	})
	g := harness.Start(t, through(harness.HTTP1("web", address)))
	raw := g.DialTCP(t)
	_ = raw.SetDeadline(time.Now().Add(2 * time.Minute))
	_ = raw.(*net.TCPConn).SetReadBuffer(256 << 10)
	conn := tls.Client(raw, harness.ClientTLS("http/1.1"))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
	got := 0
	piece := make([]byte, 16<<10)
	for {
		n, err := conn.Read(piece)
		got += n
		if err != nil {
			if got < size || !errors.Is(err, io.EOF) {
				t.Errorf("%d of %d bytes, then %v", got, size, err)
			}
			return
		}
		time.Sleep(40 * time.Millisecond) // some 300 KiB/s
	}
}

// An idle HTTP/2 connection is told before it is closed, so that the client knows what was not acted on.
func TestIdleConnectionGetsGoaway(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Setup{Listener: []string{"timeouts: {idle: 500ms}"},
		Routes: []string{harness.Route("path: /*", "respond: {status: 200}")}})
	_, framer := client2(t, g)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("closed without GOAWAY: %v", err)
		}
		if _, ok := frame.(*http2.GoAwayFrame); ok {
			return
		}
	}
}

// Streams beyond the limit are refused one by one; whoever does not read the refusals must not make us keep them all.
func TestUnreadStreamRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	address := serve(t, func(conn net.Conn) { <-release })
	s := through(harness.HTTP1("web", address))
	s.Listener = []string{"limits: {concurrent_streams: 1}"}
	g := harness.Start(t, s)
	conn, framer := client2(t, g)
	_ = conn.NetConn().(*net.TCPConn).SetReadBuffer(4096)
	before := g.Memory()
	_ = ask(framer, 1, false)
	var batch bytes.Buffer
	blind := http2.NewFramer(&batch, nil)
	block := headers(":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a")
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	var most int64
	for id, i := uint32(3), 0; i < 2_000_000; i, id = i+1, id+2 {
		_ = blind.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: block})
		if batch.Len() > 1<<16 {
			_, err := conn.Write(batch.Bytes())
			batch.Reset()
			most = max(most, g.Memory()-before)
			if err != nil {
				t.Logf("after %d requests: %v", i, err)
				break
			}
		}
	}
	t.Logf("grown by %d KiB", most>>10)
	if most > 48<<20 && !harness.Instrumented() {
		t.Errorf("one client that does not read cost %d KiB", most>>10)
	}
}
