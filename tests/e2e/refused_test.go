package e2e

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// A refused connection carries one answer and closes; and what is not refused leaves no record.

func TestRefusedConnectionCarriesOneAnswer(t *testing.T) {
	t.Parallel()
	g, users, back := guarded(t, setup{})
	t.Run("pipelined requests", func(t *testing.T) {
		w := g.wire(t, nil)
		w.say(strings.Repeat("GET /hello HTTP/1.1\r\nHost: gateway.test\r\n\r\n", 3))
		got := w.hear("GET")
		wantRefusal(t, got, http.StatusForbidden, "certificate_missing")
		if !got.closes || !w.closed() {
			t.Errorf("stays open: %v", got.header)
		}
	})
	t.Run("streams", func(t *testing.T) {
		c := g.client(t, "h2", common().root.svid("spiffe://other.example/x"))
		for range 3 {
			wantRefusal(t, c.get("/hello"), http.StatusForbidden, "identity_not_allowed")
		}
		if n := c.dials.Load(); n != 3 {
			t.Errorf("three requests were answered over %d connections", n)
		}
	})
	t.Run("a body", func(t *testing.T) {
		for _, protocol := range []string{"h1", "h2"} {
			got := g.client(t, protocol, nil).do(request("POST", "/sink", strings.Repeat("x", 10000)))
			wantRefusal(t, got, http.StatusForbidden, "certificate_missing")
		}
	})
	t.Run("a head too large for a stranger", func(t *testing.T) {
		for _, protocol := range []string{"h1", "h2"} { // still told why: it is not let in
			got := g.client(t, protocol, nil).get("/x", "X-Large", strings.Repeat("x", 16<<10))
			if got.err != nil && strings.Contains(got.err.Error(), "advertised limit") {
				continue // the client read our ceiling in time and did not even ask
			}
			if got.status != http.StatusForbidden && got.status != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %v %+v", protocol, got.err, got)
			}
		}
	})
	t.Run("a CONNECT, an OPTIONS and a GET of nothing", func(t *testing.T) {
		for _, line := range []string{"OPTIONS * HTTP/1.1", "GET /%2F HTTP/1.1", "GET /nowhere HTTP/1.1"} {
			w := g.wire(t, nil)
			w.say(line + "\r\nHost: gateway.test\r\n\r\n")
			if got := w.hear("GET"); got.status/100 != 4 || !w.closed() {
				t.Errorf("%s: %+v", line, got)
			}
		}
	})
	wantUntouched(t, users, back)
}

func TestSilentRefusedConnectionIsAuditedAndEnds(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, protocol := range []string{"h2", "http/1.1"} {
		before := len(g.audit(t))
		conn, err := g.dialTLS(t, g.trusting(common().root.svid(webID, expired), protocol))
		if err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		record := g.recordOf(t, protocol, attempt{local: conn.LocalAddr().String(), before: before})
		if record.Reason != "certificate_expired" {
			t.Errorf("%s: %s", protocol, record.line)
		}
		if _, err := io.ReadAll(conn); isTimeout(err) || time.Since(since) > slow(5*time.Second) {
			t.Errorf("%s: open after %v", protocol, time.Since(since))
		}
	}
	g.countAudit(t, 2, because("certificate_expired"))
}

func TestClientsThatLeaveInPeaceAreNotAudited(t *testing.T) {
	t.Parallel()
	g, _, conn := passing(t, setup{})
	for range 20 { // grpc-go says goodbye with a GOAWAY that names a stream of its own
		parting := g.rpc(t, common().web)
		if err := invoke(t, parting, login); err != nil {
			t.Fatal(err)
		}
		_ = parting.Close()
	}
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		for range 5 {
			_ = c.get("/nowhere")
			c.transport.CloseIdleConnections()
		}
	}
	g.countAudit(t, 10, because("no_route"))
	if err := invoke(t, conn, login); err != nil {
		t.Error(err)
	}
	g.countAudit(t, 10, func(*auditRecord) bool { return true })
}

func TestRefusalBeforeTheBodyIsCompleteIsStillHeard(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 1, per: [identity]}")
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, invoke(t, g.rpc(t, common().web), login), codes.OK)
	framer := startH2(conn)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: block(
		":method", "POST", ":scheme", "https", ":path", login, ":authority", "gateway.test",
		"content-type", "application/grpc", "te", "trailers")})
	answered := false
	for !answered { // some clients take a reset that comes with the answer for the answer
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if frame.Header().StreamID == 1 && frame.Header().Type == http2.FrameRSTStream {
			t.Fatal("reset before the answer")
		}
		answered = frame.Header().Type == http2.FrameHeaders
	}
	_ = framer.WriteData(1, true, make([]byte, 5))
	_ = framer.WritePing(false, [8]byte{1})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("the connection does not live on: %v", err)
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}

// startH2 opens HTTP/2 on a connection, for tests that write frames themselves.
func startH2(conn *tls.Conn) *http2.Framer {
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	return framer
}

// block packs header fields given in pairs as literals without a table.
func block(pairs ...string) []byte {
	var out bytes.Buffer
	for i := 0; i < len(pairs); i += 2 {
		out.WriteByte(0)
		for _, text := range pairs[i : i+2] { // shorter than 127 bytes, all of them
			out.WriteByte(byte(len(text)))
			out.WriteString(text)
		}
	}
	return out.Bytes()
}

func TestHTTP2HeadThatNeverEndsIsTimedOut(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{listener: []string{"timeouts: {request_headers: 700ms}"}})
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	framer := startH2(conn)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: block(":method", "GET")})
	for err = nil; err == nil; _, err = framer.ReadFrame() {
	}
	if isTimeout(err) {
		t.Error("stays open")
	}
	wantTook(t, since, 700*time.Millisecond)
	record := g.waitForAudit(t, "head without end", func(*auditRecord) bool { return true })
	if record.Reason != "request_timeout" && record.Reason != "protocol_violation" {
		t.Errorf("audit record %s", record.line)
	}
}

func TestHostThatDiffersFromTheSNIIsServedOrMisdirected(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{routes: []string{
		route(`path: /*, hosts: ["other.test"]`, `allow: ["spiffe://cluster.local/nobody"], backend: web`),
		route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	for _, protocol := range []string{"h1", "h2"} {
		r := request("GET", "/x", "")
		r.Host = "other.test" // the connection's SNI is gateway.test
		got := g.client(t, protocol, common().web).do(r)
		if got.status != http.StatusMisdirectedRequest {
			wantRefusal(t, got, http.StatusForbidden, "route_not_allowed")
		}
	}
	if n := back.Wire.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the backend", n)
	}
}

func TestTLS12CarriesTheDowngradeMark(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	recorder := &recordingConn{Conn: g.dialTCP(t)}
	config := g.trusting(common().web)
	config.MaxVersion = tls.VersionTLS12
	if err := tls.Client(recorder, config).Handshake(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(recorder.bytes()[:100], []byte("DOWNGRD\x01")) { // RFC 8446, 4.1.3
		t.Error("the server's random does not end with the mark")
	}
}
