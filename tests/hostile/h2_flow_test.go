package hostile

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

func TestStreamLimitIsAdvertisedAndEnforced(t *testing.T) {
	t.Parallel()
	g, back := web(t, "h1", "limits: {concurrent_streams: 5}")
	s := open(t, g)
	for i := range uint32(20) {
		s.get(2*i+1, "/sleep?for=1h")
	}
	for i := uint32(5); i < 20; i++ {
		if got := s.await(2*i + 1); got.reset == nil || *got.reset != http2.ErrCodeRefusedStream && *got.reset != http2.ErrCodeProtocol {
			if s.goaway == nil {
				t.Errorf("stream %d: %v", 2*i+1, got)
			}
		}
	}
	s.mutex.Lock()
	if limit := s.peer[http2.SettingMaxConcurrentStreams]; limit != 5 {
		t.Errorf("advertised %d", limit)
	}
	s.mutex.Unlock()
	if calls := back.Journal.Count(""); calls > 5 {
		t.Errorf("%d calls at once", calls)
	}
}

func TestStreamsDoNotHoldEachOtherUp(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g, _ := web(t, protocol)
			s := open(t, g)
			_ = s.WriteWindowUpdate(0, 1<<30)
			for i := range uint32(20) { // each stalls behind its own window, and 20 uploads that nobody reads
				s.get(4*i+1, "/big?n=10000000")
				s.headers(4*i+3, false, asks("POST", "/slowread")...)
				for range 4 {
					_ = s.WriteData(4*i+3, false, make([]byte, 15<<10))
				}
			}
			for i := range uint32(20) {
				if !s.wait(func() bool { return s.answer(4*i+1).body == 65535 }) {
					t.Errorf("stream %d: %v", 4*i+1, s.answer(4*i+1))
				}
			}
			s.get(1001, "/x")
			if got := s.await(1001); got.value(":status") != "200" || !got.ended {
				t.Errorf("a stream beside them: %v", got)
			}
		})
	}
}

func TestFlowControlIsExactWithNegativeWindows(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g, _ := web(t, protocol)
			s := open(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
			body := func(want int) {
				t.Helper()
				s.wait(func() bool { return s.answer(1).body >= want })
				for range 2 { // whatever is too much comes before the second answer
					before := s.answered()
					_ = s.WritePing(false, [8]byte{})
					s.wait(func() bool { return s.pings > before })
				}
				s.mutex.Lock()
				defer s.mutex.Unlock()
				if got := s.answer(1).body; got != want {
					t.Errorf("%d bytes, window allows %d", got, want)
				}
			}
			s.get(1, "/big?n=100000")
			body(1000)
			_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}) // the window is -900 now
			_ = s.WriteWindowUpdate(1, 900)                                                  // and 0
			body(1000)
			_ = s.WriteWindowUpdate(1, 1)
			body(1001)
			_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2100})
			body(3001)
			_ = s.WriteWindowUpdate(0, 1<<20)
			_ = s.WriteWindowUpdate(1, 1<<20)
			if got := s.await(1); got.body != 100000 || !got.ended {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestUploadsBeyondTheWindowAreFlowControlErrors(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	s := open(t, g)
	s.headers(1, false, asks("POST", "/slowread")...)
	go func() {
		for range 200 { // 3 MiB; nobody reads and no window was granted
			if s.WriteData(1, false, make([]byte, 15<<10)) != nil {
				return
			}
		}
	}()
	got := s.await(1)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stream := got.reset != nil && *got.reset == http2.ErrCodeFlowControl
	connection := s.goaway != nil && *s.goaway == http2.ErrCodeFlowControl
	if !stream && !connection {
		t.Errorf("got %v, goaway %v", got, s.goaway)
	}
}

func TestAnswersThatBrokeOffEndInAReset(t *testing.T) {
	t.Parallel()
	g, _ := scripted(t, func(p *backend.Peer) {
		request := p.Request()
		if request == nil {
			return
		}
		heads := map[string]string{"/length": "Content-Length: 100\r\n\r\nhalf", "/chunks": chunked + "\r\n\r\n4\r\nhalf\r\n",
			"/bad": chunked + "\r\n\r\n4\r\nhalf\r\nzz\r\n", "/reset": "Content-Length: 100\r\n\r\nhalf"}
		p.Say("%s%s", ok, heads[request.URL.Path])
		if request.URL.Path == "/reset" {
			p.Reset()
		}
	})
	for _, path := range []string{"/length", "/chunks", "/bad", "/reset"} {
		s := open(t, g)
		s.get(1, path)
		if got := s.await(1); got.ended || got.reset == nil || *got.reset == http2.ErrCodeNo {
			if got.value(":status") < "500" {
				t.Errorf("%s: %v", path, got)
			}
		}
	}
}

func TestHTTP2AnswersCarryNothingOfTheConnection(t *testing.T) {
	t.Parallel()
	g, _ := scripted(t, func(p *backend.Peer) {
		for p.Request() != nil {
			p.Say("%sConnection: keep-alive, X-Hop\r\nX-Hop: h\r\nKeep-Alive: timeout=1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n"+
				"TE: gzip\r\nX-Kept: Yes\r\nContent-Length: 2\r\n\r\nok", ok)
		}
	})
	s := open(t, g)
	s.get(1, "/x")
	got := s.await(1)
	if got.value(":status") != "200" || got.value("x-kept") != "Yes" || got.text != "ok" {
		t.Errorf("got %v", got)
	}
	for _, field := range got.fields {
		if strings.Contains("connection x-hop keep-alive proxy-connection upgrade te transfer-encoding", field.Name) {
			t.Errorf("got %s: %s", field.Name, field.Value)
		}
	}
}

func TestAnHTTP2ClientThatLeavesLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g, back := web(t, "h2")
	for range 10 {
		s := open(t, g)
		for i := range uint32(50) {
			s.get(2*i+1, "/sleep?for=1h")
		}
		s.headers(101, true, asks("GET", "/x")...)
		s.await(101)
		_ = s.conn.Close()
	}
	harness.WaitFor(t, "every call to be cancelled", harness.Patience, func() bool {
		for _, call := range back.Journal.Calls("") {
			if !call.Done {
				return false
			}
		}
		return true
	})
	if got := harness.Get(g.Client(t, "h2"), "/x"); got.Status != http.StatusOK {
		t.Errorf("got %+v", got)
	}
}
