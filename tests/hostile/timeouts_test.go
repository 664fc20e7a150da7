package hostile

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Each deadline is of the whole: whoever drips a byte now and then gains nothing.
const (
	deadline = 500 * time.Millisecond
	gap      = 50 * time.Millisecond // between bytes
	slack    = 2 * time.Second       // on a busy machine
	linger   = 2 * time.Second       // the gateway waits so that an answer is not lost to a client that still sends
)

// drip says the text, and then the filler for ever, one byte at a time, until the other side has enough.
func drip(conn net.Conn, text, filler string) {
	for i := 0; ; i++ {
		byteOf := func() string {
			if i < len(text) {
				return text[i : i+1]
			}
			return filler[(i-len(text))%len(filler):][:1]
		}
		if _, err := io.WriteString(conn, byteOf()); err != nil {
			return
		}
		time.Sleep(gap)
	}
}

// wantEnd reads to the end and checks when it came.
func wantEnd(t *testing.T, conn io.Reader, began time.Time) string {
	t.Helper()
	said, err := io.ReadAll(conn)
	took := time.Since(began)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || took > harness.Slow(deadline+slack) || took < deadline-10*time.Millisecond {
		t.Errorf("ended after %v, %v", took, err)
	}
	return string(said)
}

const shortTimes = "timeouts: {handshake: 500ms, request_headers: 500ms, request: 500ms, stream_idle: 500ms, idle: 500ms}"

func TestHandshakeHasOneDeadline(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", shortTimes)
	hello := helloOf(t)
	for name, send := range map[string]func(conn net.Conn){
		"silence":                   func(net.Conn) {},
		"half a hello":              func(conn net.Conn) { _, _ = conn.Write(hello[:len(hello)/2]) },
		"a hello, then silence":     func(conn net.Conn) { _, _ = conn.Write(hello) },
		"dripped":                   func(conn net.Conn) { drip(conn, string(hello[:200]), string(hello[200:])) },
		"a record head, then drips": func(conn net.Conn) { drip(conn, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", "\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, began := g.DialTCP(t), time.Now()
			go send(conn)
			wantEnd(t, conn, began)
		})
	}
	t.Cleanup(func() {
		harness.WaitFor(t, "records", 5*time.Second, func() bool { return g.Audit("tls_failed") >= 4 })
	})
}

// helloOf records what a client says first.
func helloOf(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	go func() { _ = tls.Client(here, harness.ClientTLS("h2")).Handshake() }()
	hello := make([]byte, 5)
	if _, err := io.ReadFull(there, hello); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(hello[3])<<8|int(hello[4]))
	if _, err := io.ReadFull(there, rest); err != nil {
		t.Fatal(err)
	}
	return append(hello, rest...)
}

func TestHTTP1Deadlines(t *testing.T) {
	t.Parallel()
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Listener: []string{shortTimes}, Backends: []string{harness.HTTP1("web", back.Address)},
		Routes: append([]string{harness.Route("path: /shut", `backend: web, allow: ["spiffe://cluster.local/ns/none/*"]`)}, everything...)})
	const head = "GET /x HTTP/1.1\r\nHost: gateway.test\r\n"
	for name, try := range map[string]struct{ text, filler, want string }{
		"idle before the first request": {"", "", ""},
		"idle after a request":          {head + "\r\n", "", " 200 "},
		"a dripped head":                {"", head + strings.Repeat("X: y\r\n", 100), " 408 "},
		"a dripped value":               {head + "X: ", "x", " 408 "},
		"half a head":                   {head, "", " 408 "},
		"one byte":                      {"G", "", " 408 "},
		"a dripped second head":         {head + "\r\n", head + strings.Repeat("X: y\r\n", 100), " 408 "},
		"a dripped body":                {"POST /sink HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\n", "x", " 408 "},
		"a dripped chunk":               {"POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n", "1\r\nx\r\n", " 408 "},
		"half a body":                   {"POST /sink HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\nhalf", "", " 408 "},
		"a dripped body nobody wants":   {"POST /shut HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\n", "x", " 403 "},
		"dripped trailers":              {"POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n0\r\n", "X: y\r\n", " 408 "},
		"a backend that is silent":      {"GET /sleep?for=1h HTTP/1.1\r\nHost: gateway.test\r\n\r\n", "", " 504 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, began := g.Wire(t), time.Now()
			w.Say(try.text)
			if try.filler != "" {
				go drip(w, "", try.filler)
			}
			said, err := io.ReadAll(w.Reader)
			if took := time.Since(began); took > harness.Slow(2*deadline+slack+linger) || took < deadline/2 {
				t.Errorf("ended after %v, %v", took, err)
			}
			if !strings.Contains(string(said), try.want) {
				t.Errorf("got %.300q, want%s", said, try.want)
			}
		})
	}
}

// Whoever opens a connection and asks nothing held a place that others wanted: that is recorded. Whoever rests after a
// request only keeps his connection.
func TestAConnectionThatAsksNothingIsRecorded(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/1.1", "h2"} {
		for name, asks := range map[string]bool{"silent": false, "after a request": true} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				g, _ := web(t, "h1", shortTimes)
				if asks {
					client := g.Client(t, strings.Replace(protocol, "http/1.1", "h1", 1))
					if got := harness.Get(client, "/x"); got.Status != http.StatusOK {
						t.Fatalf("got %+v", got)
					}
					harness.WaitFor(t, "the end of the connection", 5*time.Second, func() bool {
						return g.Metric("tollgate_connections_active") == 0
					})
				} else {
					_, _ = io.Copy(io.Discard, g.DialTLS(t, protocol))
				}
				want := map[bool]int{false: 1, true: 0}[asks]
				harness.WaitFor(t, "the record", 5*time.Second, func() bool { return g.Audit("request_timeout") >= want })
				if got := g.Audit("request_timeout"); got != want {
					t.Errorf("%d records, want %d", got, want)
				}
			})
		}
	}
}

func TestHTTP2Deadlines(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", shortTimes)
	for name, try := range map[string]struct {
		send func(s *session)
		want string // of stream 1: a status, or "reset", or "gone"
	}{
		"idle before the first request": {func(*session) {}, "gone"},
		"idle but for pings": {func(s *session) {
			for s.WritePing(false, [8]byte{}) == nil {
				time.Sleep(gap)
			}
		}, "gone"},
		"idle after a request": {func(s *session) { s.get(1, "/x") }, "200"},
		"a dripped head": {func(s *session) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.encode(asks("GET", "/")...)})
			for range 100 {
				if _, err := s.conn.Write([]byte{0, 0, 1, byte(http2.FrameContinuation), 0, 0, 0, 0, 1, 0x82}[:10]); err != nil {
					return
				}
				time.Sleep(4 * gap)
			}
		}, "gone"},
		"half a frame":              {func(s *session) { _, _ = s.conn.Write([]byte{0, 0, 100, 1, 4, 0, 0}) }, "gone"},
		"a body that does not come": {func(s *session) { s.headers(1, false, asks("POST", "/sink")...) }, "408"},
		"a dripped body": {func(s *session) {
			s.headers(1, false, asks("POST", "/sink")...)
			for s.WriteData(1, false, []byte("x")) == nil {
				time.Sleep(gap)
			}
		}, "408"},
		"an answer nobody takes":   {func(s *session) { s.get(1, "/big?n=1000000") }, "reset"},
		"a backend that is silent": {func(s *session) { s.get(1, "/sleep?for=1h") }, "504"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, began := open(t, g), time.Now()
			go try.send(s)
			s.wait(func() bool {
				a := s.answer(1)
				return s.goaway != nil || try.want != "gone" && (a.ended || a.reset != nil)
			})
			if took := time.Since(began); took > harness.Slow(deadline+slack) {
				t.Errorf("took %v", took)
			}
			s.mutex.Lock()
			got := *s.answer(1)
			gone := s.over != nil || s.goaway != nil
			s.mutex.Unlock()
			switch try.want {
			case "gone":
				if !gone {
					t.Errorf("got %v", got)
				}
			case "reset":
				if got.reset == nil && !gone {
					t.Errorf("got %v", got)
				}
			default:
				if got.value(":status") != try.want {
					t.Errorf("got %v", got)
				}
			}
			if !s.wait(func() bool { return s.goaway != nil || s.over != nil }) && s.over == nil {
				t.Error("the connection stays")
			}
		})
	}
}

func TestAStreamThatMovesIsNotIdle(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", "timeouts: {stream_idle: 500ms, idle: 500ms}")
	for _, protocol := range []string{"h1", "h2"} {
		got := harness.Get(g.Client(t, protocol), "/stream?n=20&gap=60ms") // longer than any deadline
		if got.Err != nil || got.Body != strings.Repeat("x", 20) {
			t.Errorf("%s: %+v", protocol, got)
		}
	}
}

func TestABackendThatStallsMidAnswerIsVisible(t *testing.T) {
	t.Parallel()
	g, _ := scripted(t, func(p *backend.Peer) {
		if p.Request() != nil {
			p.Say("%sContent-Length: 100\r\n\r\nhalf", ok)
			p.Hang()
		}
	}, shortTimes)
	for _, protocol := range []string{"h1", "h2"} {
		began := time.Now()
		got := harness.Collect(g.Client(t, protocol).Get("https://gateway.test/x"))
		if got.Err == nil || got.Status != http.StatusOK {
			t.Errorf("%s: %+v", protocol, got)
		}
		if took := time.Since(began); took > harness.Slow(deadline+slack) {
			t.Errorf("took %v", took)
		}
	}
}

// Whatever was said of the length: as long as the client has not ended its request, the wait is for the client.
func TestAStallBeforeTheEndIsTheClients(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"nothing": "", "four of five": "1234", "five of five, no end": "12345"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := web(t, "h1", "timeouts: {stream_idle: 500ms}")
			s := open(t, g)
			s.headers(1, false, asks("POST", "/sink", "content-length", "5")...)
			if body != "" {
				_ = s.WriteData(1, false, []byte(body))
			}
			if got := s.await(1); got.value(":status") != "408" || g.Audit("request_timeout") != 1 {
				t.Errorf("%v, %d records", got, g.Audit("request_timeout"))
			}
		})
	}
}

// Answers that nobody reads fill the connection, so that what ends a silent call cannot leave either: then its deadline is
// that of the connection.
func TestASilentCallBehindUnreadAnswersHasADeadline(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string][]string{"gRPC": {"content-type", "application/grpc"}, "HTTP": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var passed atomic.Int64
			g, _ := scripted(t, func(p *backend.Peer) {
				request := p.Request()
				if request == nil {
					return
				}
				p.Say("%s%s\r\n\r\n", ok, chunked)
				for request.URL.Path == "/big" {
					n, err := io.WriteString(p, "10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n")
					if passed.Add(int64(n)); err != nil {
						return
					}
				}
				p.Hang()
			}, "timeouts: {stream_idle: 500ms, idle: 500ms}")
			s := newSession(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			_ = s.WriteWindowUpdate(0, 1<<30)
			for id := uint32(1); id < 7; id += 2 {
				s.get(id, "/big")
			}
			rest(t, passed.Load)
			s.headers(101, true, asks("POST", "/silent", kind...)...)
			harness.WaitFor(t, "the end of the connection", 30*time.Second, func() bool {
				return g.Metric("tollgate_connections_active") == 0
			})
		})
	}
}
