package hostile

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/harness"
)

// What one stream may make the gateway hold, whoever does not read (README, "Attacks and bounds").
const streamCeiling = 768 << 10

// zeros is a body of that many bytes; it counts what was taken of it.
type zeros struct{ left, taken atomic.Int64 }

func (z *zeros) Read(buffer []byte) (int, error) {
	n := min(int64(len(buffer)), z.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	z.left.Add(-n)
	z.taken.Add(n)
	return int(n), nil
}

// rest waits until the number has not changed for half a second, and returns it.
func rest(t *testing.T, number func() int64) int64 {
	t.Helper()
	last, since := number(), time.Now()
	harness.WaitFor(t, "the flow to come to rest", 20*time.Second, func() bool {
		if now := number(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	return last
}

func TestAGibibyteForAReaderThatReadsNothing(t *testing.T) {
	const gibibyte = 1 << 30
	for _, client := range []string{"h1", "h2"} {
		for _, server := range []string{"h1", "h2"} {
			pair := client + " client, " + server + " backend"
			t.Run("down, "+pair, func(t *testing.T) {
				g, back := web(t, server, "timeouts: {stream_idle: 60s}")
				warm(t, g, client)
				before := g.Memory()
				answer, err := g.Client(t, client).Get(fmt.Sprintf("https://gateway.test/big?n=%d", gibibyte))
				if err != nil || answer.StatusCode != 200 {
					t.Fatalf("%v, %v", answer, err)
				}
				defer answer.Body.Close()
				sent := rest(t, func() int64 { return int64(back.Journal.Calls("GET /big")[0].SentBytes) })
				judgeStalled(t, g, before, sent)
			})
			t.Run("up, "+pair, func(t *testing.T) {
				g, _ := web(t, server, "timeouts: {stream_idle: 60s}")
				warm(t, g, client)
				before := g.Memory()
				body := new(zeros)
				body.left.Store(gibibyte)
				request := harness.Must(http.NewRequest("POST", "https://gateway.test/slowread", body))
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if answer, err := g.Client(t, client).Do(request.WithContext(t.Context())); err == nil {
						_ = answer.Body.Close()
					}
				}()
				judgeStalled(t, g, before, rest(t, body.taken.Load))
			})
		}
	}
}

// warm has every worker take what it needs once, whichever of them the test's connection meets.
func warm(t *testing.T, g *harness.Gateway, client string) {
	t.Helper()
	for range 12 {
		harness.Get(g.Client(t, client), "/x")
	}
}

// judgeStalled: what passed lies in the buffers of kernels and of the two ends, hardly any of it in the gateway.
func judgeStalled(t *testing.T, g *harness.Gateway, before, passed int64) {
	t.Helper()
	grown := g.Memory() - before
	t.Logf("%d KiB passed, the gateway grew by %d KiB", passed>>10, grown>>10)
	if passed < 64<<10 || passed > 160<<20 { // the kernel takes up to 36 MiB at each of four ends
		t.Errorf("%d KiB passed", passed>>10)
	}
	if grown > streamCeiling && !harness.Instrumented() {
		t.Errorf("the gateway grew by %d KiB", grown>>10)
	}
}

func TestNewcomersAreRefusedBeforeMemoryIsGone(t *testing.T) {
	if harness.Instrumented() {
		t.Skip("the sanitizer's memory is not the gateway's")
	}
	const ceiling = 48 << 20
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Routes: everything, Backends: []string{harness.HTTP1("web", back.Address)},
		Top: []string{"memory: 48MiB"}, Listener: []string{"timeouts: {stream_idle: 60s}"}})
	steady, worst := g.Client(t, "h1"), int64(0)
	if got := harness.Get(steady, "/x"); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	var hogs []*session
	harness.WaitFor(t, "memory to be short", 20*time.Second, func() bool {
		s := open(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		hogs = append(hogs, s)
		for i := range uint32(10) { // slowly enough to be told before the door is shut
			s.get(2*i+1, "/big?n=1000000000")
		}
		worst = max(worst, g.Memory())
		return harness.Get(steady, "/x").Status == 503
	})
	for _, protocol := range []string{"h1", "h2"} {
		if got := harness.Get(g.Client(t, protocol), "/x"); got.Err == nil && (got.Status != 503 || got.Header.Get("Retry-After") == "") {
			t.Errorf("a newcomer over %s: %+v", protocol, got)
		}
	}
	harness.WaitFor(t, "a record", 5*time.Second, func() bool { return g.Audit("overloaded") > 0 })
	// What was let in before may still fill its windows.
	if worst = max(worst, g.Memory()); worst > ceiling+48<<20 {
		t.Errorf("%d MiB at a ceiling of %d", worst>>20, ceiling>>20)
	}
	t.Logf("%d hogs of 10 streams, %d MiB at most", len(hogs), worst>>20)
	for _, s := range hogs {
		_ = s.conn.NetConn().Close()
	}
	harness.WaitFor(t, "service to be back", 10*time.Second, func() bool {
		fresh := g.Client(t, "h2")
		defer fresh.CloseIdleConnections()
		return harness.Get(fresh, "/x").Status == 200
	})
}

// A head of 60 KiB costs a few times itself, whatever it is a list of: a list of trailers once took its length squared.
func TestLongListsCostWhatTheyHold(t *testing.T) {
	g, _ := web(t, "h1", "limits: {header_bytes: 60KiB}")
	warm(t, g, "h1")
	for _, field := range []string{"Trailer", "TE", "Connection", "Upgrade", "Cookie", "Expect", "X-Forwarded-For", "Tracestate", "Via", "Host"} {
		t.Run(field, func(t *testing.T) {
			before, w := g.Memory(), g.Wire(t)
			w.Say("GET /x HTTP/1.1\r\nHost: gateway.test\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" +
				field + ": " + strings.Repeat("a,", 29000) + "a\r\n\r\n")
			if status := w.Hear("GET").Status; status == 0 {
				t.Error("no answer")
			}
			if grown := g.Memory() - before; grown > 8<<20 {
				t.Errorf("the gateway grew by %d KiB", grown>>10)
			}
		})
	}
}
