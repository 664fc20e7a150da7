package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
)

// Ends that come early, late or half: what was whole arrives whole, and what was not never looks so.

// The kernel takes some megabytes, and only answers that are a little larger leave something to the gateway: hence the
// many sizes.
func TestClientThatPausesGetsAllOfALastAnswer(t *testing.T) {
	t.Parallel()
	const least, step, count = 1 << 20, 60_000, 90
	g, _ := web(t, "h1")
	var conns [count]net.Conn
	for i := range conns {
		raw := g.dialTCP(t)
		_ = raw.SetDeadline(time.Now().Add(slow(time.Minute)))
		_ = raw.(*net.TCPConn).SetReadBuffer(256 << 10)
		conns[i] = tls.Client(raw, g.trusting(common().web, "http/1.1"))
		_, _ = fmt.Fprintf(conns[i], "GET /big?n=%d HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n", least+i*step)
	}
	<-time.After(4 * time.Second) // the pause itself: longer than the gateway waits for a client to hang up
	var all sync.WaitGroup
	for i, conn := range conns { // all at once: none pauses for as long as it takes to read the others
		all.Go(func() {
			if n, err := io.Copy(io.Discard, conn); err != nil || n < least+int64(i)*step {
				t.Errorf("%d of %d bytes, then %v", n, least+i*step, err)
			}
		})
	}
	all.Wait()
}

func TestClientThatEndsItsSideStillHearsTheAnswer(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{route("path: /fine", `respond: {status: 200, body: "fine"}`)}})
	for path, want := range map[string]int{"/fine": 200, "/none": 404} {
		w := g.wire(t, common().web)
		w.say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		_ = w.CloseWrite()
		if got := w.hear("GET"); got.status != want {
			t.Errorf("%s: status %d, %v", path, got.status, got.err)
		}
	}
}

// An answer that only the end of the connection delimits must not look whole when it is not (RFC 9112, 8).
func TestBrokenAnswerToHTTP10LooksBroken(t *testing.T) {
	t.Parallel()
	g, _ := scriptedWeb(t, backend.AfterRequest("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), "")
	w := g.wire(t, common().web)
	w.say("GET / HTTP/1.0\r\nHost: gateway.test\r\n\r\n")
	got, err := io.ReadAll(w.reader)
	if err == nil && strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("looks whole: %q", got)
	}
}

func TestSlowUpgradeIsTheBackendsFault(t *testing.T) {
	t.Parallel()
	back := scripted(t, backend.Silent)
	g := start(t, setup{listener: []string{"timeouts: {stream_idle: 500ms}"}, backends: []string{http1("web", back.Address)},
		routes: []string{route("path: /*", "backend: web, upgrade: [websocket]")}})
	w := g.wire(t, common().web)
	w.say("GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	wantStatus(t, w.hear("GET"), http.StatusGatewayTimeout)
}

// Both ways of an exchange are full; when the client reads again, all flows again. How much it takes until they are
// is the kernel's affair, so the client sends until nothing moves.
func TestExchangeThatIsFullBothWaysDoesNotLock(t *testing.T) {
	t.Parallel()
	const tooMuch = 1 << 30
	back := scripted(t, func(p *backend.Peer) { // gives back each piece before it takes the next
		request, err := http.ReadRequest(p.Reader)
		if err != nil {
			return
		}
		p.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunks := httputil.NewChunkedWriter(p)
		_, _ = io.Copy(chunks, request.Body)
		_ = chunks.Close()
		p.Say("\r\n")
	})
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			body := &zerosUntil{most: tooMuch}
			answer, err := g.client(t, protocol, common().web).Do(must(http.NewRequest("POST", "https://gateway.test/", body)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }()
			if steady(t, body.sent.get) == tooMuch {
				t.Fatal("nothing was full")
			}
			body.enough.Store(true)
			n, err := io.Copy(io.Discard, answer.Body)
			if err != nil || n != int64(body.sent.get()) {
				t.Errorf("%d of %d bytes, %v", n, body.sent.get(), err)
			}
		})
	}
}

// zerosUntil is a body that ends when it is told to, or at its most.
type zerosUntil struct {
	most   int
	sent   counter
	enough atomic.Bool
}

func (z *zerosUntil) Read(p []byte) (int, error) {
	n := min(len(p), z.most-z.sent.get())
	if n == 0 || z.enough.Load() {
		return 0, io.EOF
	}
	clear(p[:n])
	z.sent.add(n)
	return n, nil
}

// framed opens an HTTP/2 connection frame by frame.
func (g *gateway) framed(t *testing.T, settings ...http2.Setting) *http2.Framer {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, bufio.NewReader(conn))
	_ = framer.WriteSettings(settings...)
	return framer
}

// The answer is whole and the client has yet to take it when the backend's connection ends.
func TestBackendThatLeavesAfterItsAnswerTakesNothingBack(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	back := scripted(t, func(p *backend.Peer) {
		_, _ = io.CopyN(io.Discard, p.Reader, int64(len(http2.ClientPreface)))
		framer := http2.NewFramer(p, p.Reader)
		_ = framer.WriteSettings()
		for frame, err := framer.ReadFrame(); err == nil; frame, err = framer.ReadFrame() {
			if head, ok := frame.(*http2.HeadersFrame); ok {
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: head.StreamID, EndHeaders: true, BlockFragment: block(":status", "200")})
				_ = framer.WriteData(head.StreamID, false, make([]byte, 16000))
				_ = framer.WriteData(head.StreamID, true, make([]byte, 16000))
				p.HalfClose()
				p.Hang() // until the gateway has seen it
				close(left)
				return
			}
		}
	})
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{h2("web", back.Address)}})
	framer := g.framed(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
		BlockFragment: block(":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/")})
	<-left
	_ = framer.WriteWindowUpdate(1, 1<<20)
	for total := 0; ; {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			if total += len(data.Data()); data.StreamEnded() {
				if total != 32000 {
					t.Errorf("%d bytes", total)
				}
				return
			}
		}
	}
}

// A client learns what was not acted on before it is left.
func TestIdleConnectionIsToldBeforeItIsClosed(t *testing.T) {
	t.Parallel()
	g := start(t, setup{listener: []string{"timeouts: {idle: 500ms}"}, routes: []string{route("path: /*", "respond: {status: 200}")}})
	framer := g.framed(t)
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
