package hostile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// What an HTTP/2 backend grants is kept to: windows, also negative ones, and streams at once.

func h2Scripted(t *testing.T, script backend.Script, listener ...string) *harness.Gateway {
	t.Helper()
	back := harness.Must(backend.StartScripted("127.0.0.1:0", script))
	t.Cleanup(back.Stop)
	return harness.Start(t, harness.Setup{Listener: listener, Routes: everything, Backends: []string{harness.H2("web", back.Address)}})
}

// barrier waits for `more` bytes of DATA, which may be on their way to the gateway still, and then until all that was sent
// before is read; it returns how much DATA came meanwhile.
func (h *h2Peer) barrier(more int) (bytes int, broken bool) {
	for pings := 0; ; { // what is too much comes before the second answer
		if bytes >= more && pings == 0 {
			pings = 1
			_ = h.WritePing(false, [8]byte{'b'})
		}
		frame, err := h.ReadFrame()
		if err != nil {
			return bytes, true
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			bytes += len(frame.Data())
		case *http2.RSTStreamFrame:
			return bytes, true
		case *http2.PingFrame:
			if frame.IsAck() && pings == 2 {
				return bytes, false
			} else if frame.IsAck() {
				pings = 2
				_ = h.WritePing(false, [8]byte{'b'})
			}
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = h.WriteSettingsAck()
			}
		}
	}
}

// rest reads the upload to its end.
func (h *h2Peer) rest() (bytes int) {
	for frame := h.next(); frame != nil; frame = h.next() {
		if data, is := frame.(*http2.DataFrame); is {
			if bytes += len(data.Data()); data.StreamEnded() {
				return bytes
			}
		}
	}
	return -1
}

func TestWindowsOfABackendAreExact(t *testing.T) {
	t.Parallel()
	window := func(n uint32) http2.Setting { return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n} }
	type step struct {
		name string
		do   func(h *h2Peer, id uint32)
		more int // bytes that may come then
	}
	steps := []step{
		{"nothing", func(*h2Peer, uint32) {}, 1000},
		{"one byte", func(h *h2Peer, id uint32) { _ = h.WriteWindowUpdate(id, 1) }, 1},
		{"a smaller window: -901", func(h *h2Peer, _ uint32) { _ = h.WriteSettings(window(99)) }, 0},
		{"up to 0", func(h *h2Peer, id uint32) { _ = h.WriteWindowUpdate(id, 901) }, 0},
		{"up to 7", func(h *h2Peer, id uint32) { _ = h.WriteWindowUpdate(id, 7) }, 7},
		{"a window of 0: -99", func(h *h2Peer, _ uint32) { _ = h.WriteSettings(window(0)) }, 0},
		{"a window of 1099", func(h *h2Peer, _ uint32) { _ = h.WriteSettings(window(1099)) }, 1000},
		{"the connection's", func(h *h2Peer, _ uint32) { _ = h.WriteWindowUpdate(0, 1<<20) }, 0},
		{"20000", func(h *h2Peer, id uint32) { _ = h.WriteWindowUpdate(id, 20000) }, 20000},
	}
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := h2Scripted(t, func(p *backend.Peer) {
				h := meet(p, window(1000))
				if h == nil {
					return
				}
				// Until its SETTINGS are read the window is the default: let it be known first.
				id, target := h.request()
				for ; id != 0 && target != "/up"; id, target = h.request() {
					h.answer(id, "good\n")
				}
				total := 0
				for _, step := range steps {
					step.do(h, id)
					got, broken := h.barrier(step.more)
					if total += got; got != step.more || broken {
						t.Errorf("%s: %d bytes, %d granted, broken: %v", step.name, got, step.more, broken)
						return
					}
				}
				_ = h.WriteWindowUpdate(id, 1<<20)
				h.answer(id, fmt.Sprint(total+h.rest()))
				h.Hang()
			})
			client := g.Client(t, protocol)
			if got := harness.Get(client, "/know"); got.Body != "good\n" {
				t.Fatalf("got %+v", got)
			}
			if got := harness.Ask(client, "POST", "/up", strings.Repeat("u", 60000)); got.Body != "60000" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestABackendThatGrantsNothingAtFirst(t *testing.T) {
	t.Parallel()
	g := h2Scripted(t, func(p *backend.Peer) {
		h := meet(p, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		if h == nil {
			return
		}
		for id, _ := h.request(); id != 0; id, _ = h.request() {
			_ = h.WriteWindowUpdate(id, 1<<16)
			h.answer(id, fmt.Sprint(h.rest()))
		}
	})
	for _, protocol := range []string{"h1", "h2"} {
		for range 3 {
			if got := harness.Ask(g.Client(t, protocol), "POST", "/up", strings.Repeat("u", 5000)); got.Body != "5000" {
				t.Errorf("%s: %+v", protocol, got)
			}
		}
	}
}

func TestAnUploadThatBreaksOffIsResetTowardsHTTP2(t *testing.T) {
	t.Parallel()
	a := newArenaOf(t, "h2")
	begun := func() {
		harness.WaitFor(t, "the head to arrive", 5*time.Second, func() (begun bool) {
			a.record.change(func() { begun = a.record.reading > 0 })
			return begun
		})
	}
	check := func(t *testing.T) {
		t.Helper()
		if requests, broken := a.record.take(t); len(requests) > 0 || broken != 1 {
			t.Errorf("the backend got %v and %d broken ones", requests, broken)
		}
	}
	for name, rest := range map[string]string{"by length": "Content-Length: 100\r\n\r\nhalf", "no byte of a length": "Content-Length: 100\r\n\r\n", "one byte short": "Content-Length: 5\r\n\r\n1234",
		"by chunks": chunked + "\r\n\r\n4\r\nhalf\r\n", "in a chunk": chunked + "\r\n\r\nff\r\nhalf", "before the last line": chunked + "\r\n\r\n4\r\nhalf\r\n0\r\n",
		"in trailers": chunked + "\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n"} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", reset ", reset), func(t *testing.T) {
				w := a.g.Wire(t)
				w.Say("POST /p HTTP/1.1\r\nHost: gateway.test\r\n" + rest)
				begun()
				if reset {
					_ = w.NetConn().Close()
				} else {
					_ = w.Close()
				}
				check(t)
			})
		}
	}
	for name, end := range map[string]func(s *session){
		"reset":          func(s *session) { _ = s.WriteRSTStream(1, http2.ErrCodeCancel) },
		"reset no error": func(s *session) { _ = s.WriteRSTStream(1, http2.ErrCodeNo) },
		"closed":         func(s *session) { _ = s.conn.Close() },
		"cut":            func(s *session) { _ = s.conn.NetConn().Close() },
		"GOAWAY":         func(s *session) { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil); _ = s.conn.Close() },
		"a fault":        func(s *session) { _ = s.WriteRawFrame(http2.FramePing, 0, 1, []byte("x")) },
		"short":          func(s *session) { _ = s.WriteData(1, true, []byte("x")) },
		"bad trailers":   func(s *session) { s.headers(1, true, "X", "y") },
	} {
		t.Run("HTTP/2, "+name, func(t *testing.T) {
			s := open(t, a.g)
			s.headers(1, false, asks("POST", "/p", "content-length", "100")...)
			_ = s.WriteData(1, false, []byte("half"))
			begun()
			end(s)
			check(t)
			_ = s.conn.Close()
		})
	}
}

// Fields that mean something only in a head are not passed on from behind a body.
func TestTrailersThatRouteOrAuthenticateAreDropped(t *testing.T) {
	t.Parallel()
	names := []string{"Content-Length", "Transfer-Encoding", "Host", "Trailer", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "HTTP2-Settings", "Authorization", "Proxy-Authorization",
		"Proxy-Authenticate", "WWW-Authenticate", "Authentication-Info", "Cookie", "Set-Cookie", "Content-Type", "Content-Encoding", "Content-Range", "Range", "Expect", "Max-Forwards", "Cache-Control", "Forwarded",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert", "x_forwarded_client_cert", "X-Forwarded_Client-Cert", "X-Request-Id", "Traceparent",
		"Grpc-Timeout", "X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method", "X-Original-URL", "X-Rewrite-URL", "X-Original-Host", "X-Host", "X-Real-IP"}
	for _, protocol := range []string{"h1", "h2"} {
		a := newArenaOf(t, protocol)
		for _, name := range names {
			t.Run(name+" to "+protocol, func(t *testing.T) {
				for _, announced := range []string{"", "Trailer: " + name + "\r\n"} {
					w := a.g.Wire(t)
					w.Say(post(announced+chunked, "5\r\n12345\r\n0\r\n"+name+": 1\r\nX-Sum: 2\r\n\r\n"))
					if got := w.Hear("POST"); got.Status != 200 {
						t.Errorf("got %+v", got)
					}
				}
				s := open(t, a.g)
				s.headers(1, false, asks("POST", "/p")...)
				_ = s.WriteData(1, false, []byte("12345"))
				s.headers(1, true, strings.ToLower(name), "1", "x-sum", "2")
				answer := s.await(1) // a connection's field, refused
				_ = s.conn.Close()
				requests, _ := a.record.take(t)
				if len(requests) != 3 && (len(requests) != 2 || answer.value(":status") == "200") {
					t.Errorf("the backend got %v; %v", requests, answer)
				}
				for _, r := range requests {
					if r.body != "12345|x-sum: 2" {
						t.Errorf("the backend got %v", r)
					}
					for _, value := range r.values("trailer") {
						t.Errorf("the backend was told of %q", value)
					}
				}
			})
		}
	}
}
