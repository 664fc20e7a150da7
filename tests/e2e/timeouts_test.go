package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Every wait has an end, and each is a whole, however the bytes are dripped.

func timed(t *testing.T, timeouts string) (*gateway, *backend.HTTP) {
	t.Helper()
	back := httpBackend(t)
	return start(t, setup{listener: []string{"timeouts: {" + timeouts + "}"},
		routes:   []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", back.Address)}}), back
}

// wantTook fails the test unless that much time went by since, and not much more.
func wantTook(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(since); took < want*9/10 || took > want+slow(3*time.Second) {
		t.Errorf("ended after %v, want %v", took, want)
	}
}

// drip says the text byte by byte until all of it is said or the other side has had enough.
func (w *wire) drip(text string, every time.Duration) {
	ticker := time.NewTicker(every)
	go func() {
		defer ticker.Stop()
		for i := range len(text) {
			<-ticker.C
			if _, err := io.WriteString(w, text[i:i+1]); err != nil {
				return
			}
		}
	}()
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	g, _ := timed(t, "idle: 700ms")
	t.Run("before the first request", func(t *testing.T) {
		t.Parallel()
		since := time.Now()
		if w := g.wire(t, common().web); !w.closed() {
			t.Error("stays open")
		}
		wantTook(t, since, 700*time.Millisecond)
	})
	t.Run("after a request", func(t *testing.T) {
		t.Parallel()
		w := g.wire(t, common().web)
		w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		wantStatus(t, w.hear("GET"), http.StatusOK)
		since := time.Now()
		if !w.closed() {
			t.Error("stays open")
		}
		wantTook(t, since, 700*time.Millisecond)
	})
	t.Run("HTTP/2 without streams, whatever pings come", func(t *testing.T) {
		t.Parallel()
		conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
		if err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		_, _ = io.WriteString(conn, http2.ClientPreface)
		framer := http2.NewFramer(conn, conn)
		_ = framer.WriteSettings()
		_ = framer.WritePing(false, [8]byte{})
		for err = nil; err == nil; _, err = framer.ReadFrame() {
		}
		if isTimeout(err) {
			t.Error("stays open")
		}
		wantTook(t, since, 700*time.Millisecond)
	})
}

func TestBusyConnectionIsNotIdle(t *testing.T) {
	t.Parallel()
	g, _ := timed(t, "idle: 300ms")
	for _, protocol := range []string{"h1", "h2"} {
		wantStatus(t, g.client(t, protocol, common().web).get("/sleep?for=900ms"), http.StatusOK)
	}
}

func TestDrippedHeadIsTimedOut(t *testing.T) {
	t.Parallel()
	g, back := timed(t, "request_headers: 700ms, idle: 60s")
	for name, every := range map[string]time.Duration{"dripped": 40 * time.Millisecond, "stalled": time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := g.wire(t, common().web)
			since := time.Now()
			w.say("GET /x HTTP/1.1\r\nHost: gate")
			w.drip("way.test\r\nX-Long: "+fmt.Sprintf("%0500d", 0), every)
			wantRefusal(t, w.hear("GET"), http.StatusRequestTimeout, "request_timeout")
			wantTook(t, since, 700*time.Millisecond)
			if !w.closed() {
				t.Error("stays open")
			}
			_ = g.waitForAudit(t, name, both(because("request_timeout"), from(w.LocalAddr().String())))
		})
	}
	if n := back.Wire.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the backend", n)
	}
}

// The last bytes of each are the first of the next one's, so that there always is one under way.
func TestEachHeadHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	const streams = 3
	g, _ := timed(t, "request_headers: 2s, idle: 60s")
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	pieces := make([]bytes.Buffer, streams+1)
	for i := range streams {
		var head bytes.Buffer
		_ = http2.NewFramer(&head, nil).WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndHeaders: true, EndStream: true,
			BlockFragment: block(":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/x")})
		_, _ = pieces[i].Write(head.Next(head.Len() / 2))
		_, _ = pieces[i+1].Write(head.Bytes())
	}
	ticker := time.NewTicker(1200 * time.Millisecond)
	defer ticker.Stop()
	for i := range pieces {
		_, _ = pieces[i].WriteTo(conn)
		<-ticker.C
	}
	for answered := 0; answered < streams; {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("%d of %d answered, then %v", answered, streams, err)
		}
		if _, left := frame.(*http2.GoAwayFrame); left {
			t.Fatalf("%d of %d answered, then GOAWAY", answered, streams)
		}
		if _, head := frame.(*http2.HeadersFrame); head {
			answered++
		}
	}
}

func TestWholeRequestHasOneDeadline(t *testing.T) {
	t.Parallel()
	g, _ := timed(t, "request: 700ms, stream_idle: 60s")
	w := g.wire(t, common().web)
	since := time.Now()
	w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\n")
	w.drip(fmt.Sprintf("%01000d", 0), 40*time.Millisecond)
	wantRefusal(t, w.hear("POST"), http.StatusRequestTimeout, "request_timeout")
	wantTook(t, since, 700*time.Millisecond)
	_ = g.waitForAudit(t, "late request", because("request_timeout"))
	// It is the request that has the deadline, not the answer.
	wantStatus(t, g.client(t, "h2", common().web).get("/sleep?for=1200ms"), http.StatusOK)
}

func TestGRPCCallsAreExemptFromTheRequestDeadline(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{listener: []string{"timeouts: {request: 300ms}"}})
	stream := openStream(t, within(t, patience), conn, chat)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for range 9 {
		<-ticker.C
		send(t, stream, "x")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStalledUploadIsTimedOut(t *testing.T) {
	t.Parallel()
	g, _ := timed(t, "stream_idle: 700ms")
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			body, feed := io.Pipe()
			t.Cleanup(func() { _ = feed.Close() })
			go func() { _, _ = feed.Write([]byte("only the beginning")) }()
			since := time.Now()
			r := must(http.NewRequest("POST", "https://gateway.test/sink", body))
			got := g.client(t, protocol, common().web).do(r)
			wantRefusal(t, got, http.StatusRequestTimeout, "request_timeout")
			wantTook(t, since, 700*time.Millisecond)
		})
	}
}

func TestStalledGRPCClientIsToldDeadlineExceeded(t *testing.T) {
	t.Parallel()
	g, users, conn := passing(t, setup{listener: []string{"timeouts: {stream_idle: 700ms}"}})
	stream := openStream(t, within(t, patience), conn, uploadUsers)
	send(t, stream, "only one message")
	since := time.Now()
	_, err := stream.Receive()
	wantCode(t, err, codes.DeadlineExceeded)
	wantTook(t, since, 700*time.Millisecond)
	until(t, users.Journal, 2*time.Second, uploadUsers, cancelled)
	record := g.waitForAudit(t, "stalled client", because("request_timeout"))
	if record.RPCMethod != uploadUsers || record.Principal != webID {
		t.Errorf("audit record %s", record.line)
	}
}

func TestStalledReaderIsCutOff(t *testing.T) {
	t.Parallel()
	g, back := timed(t, "stream_idle: 700ms")
	t.Run("all", func(t *testing.T) {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(protocol, func(t *testing.T) {
				t.Parallel()
				answer, err := g.client(t, protocol, common().web).Get("https://gateway.test/big?n=268435456")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = answer.Body.Close() }()
				until(t, back.Journal, patience, "GET /big", func(c backend.Call) bool { return c.Done })
				waitFor(t, "the gateway's word", patience, func() bool {
					protocol := map[string]string{"h1": "http/1.1", "h2": "h2"}[protocol]
					return len(g.refusals(t, func(r *auditRecord) bool {
						return r.Reason == "request_timeout" && r.Request.Protocol == protocol
					})) == 1
				})
			})
		}
	})
}

func TestStalledBackendIsNotTheClientsFault(t *testing.T) {
	t.Parallel()
	back, users := httpBackend(t), grpcBackend(t)
	g := start(t, setup{listener: []string{"timeouts: {stream_idle: 500ms}"},
		routes:   []string{route(`grpc: "*"`, "backend: users"), route("path: /*", "backend: web")},
		backends: []string{h2("users", users.Address), http1("web", back.Address)}})
	for _, protocol := range []string{"h1", "h2"} {
		wantStatus(t, g.client(t, protocol, common().web).get("/sleep?for=1m"), http.StatusGatewayTimeout)
	}
	wantCode(t, invoke(t, g.rpc(t, common().web), getUser, backend.DoSleep, "1m"), codes.Unavailable)
	if refused := g.refusals(t, func(*auditRecord) bool { return true }); len(refused) != 0 {
		t.Errorf("refusals audited: %s", refused[0].line)
	}
}
