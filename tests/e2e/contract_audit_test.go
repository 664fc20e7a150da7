package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Each kind of refusal leaves a record that says why and who (CONTRACT, section 3; BEHAVIOUR, section 9).

// frames sends raw frames over a new HTTP/2 connection and reads until the gateway ends it or answers a stream.
func (g *gateway) frames(t *testing.T, send func(framer *http2.Framer)) {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	_ = framer.WriteSettings()
	send(framer)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			_ = conn.Close()
			return
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				_ = conn.Close()
				return
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				_ = conn.Close()
				return
			}
		}
	}
}

func fieldBlock(pairs ...string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return block.Bytes()
}

func open(framer *http2.Framer, pairs ...string) {
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: fieldBlock(pairs...)})
}

func (g *gateway) raw(t *testing.T, text string) {
	t.Helper()
	w := g.wire(t, common().web)
	_, _ = io.WriteString(w, text)
	_, _ = io.ReadAll(w.reader)
}

var recordMembers = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$`)

func TestEachKindOfRefusalIsRecordedWithWhyAndWho(t *testing.T) {
	t.Parallel()
	g := start(t, setup{
		listener: []string{"timeouts: {handshake: 400ms, request_headers: 400ms, request: 500ms}",
			"limits: {header_bytes: 8KiB, header_fields: 20, body_bytes: 1KiB}"},
		routes: []string{
			route("path: /limited", "respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 1, per: [identity]}]"),
			route("path: /others", `respond: {status: 200}, allow: ["spiffe://cluster.local/others/*"]`),
			route("path: /fine", "respond: {status: 200}"),
			route("grpc: user.UserService/Login", "respond: {status: 503}, rate_limits: [{rate: 1/h, burst: 1}]"),
			route("grpc: user.UserService/*", `respond: {status: 503}, allow: ["spiffe://cluster.local/others/*"]`),
		}})
	h1, h2 := g.client(t, "h1", common().web), g.client(t, "h2", common().web)
	_, _, _ = h1.get("/limited"), h2.do(grpcRequest(login)), h2.get("/fine")
	long := strings.Repeat("x", 1025)
	for _, row := range []struct {
		name, reason         string
		status, grpc         int
		policy, rule, detail string
		method, path         string
		act                  func()
	}{
		{"limit, h1", "rate_limited", 429, 0, "edge//limited", "rate_limits[0]", "1/h burst 1 per identity", "GET", "/limited", func() { _ = h1.get("/limited") }},
		{"limit, h2", "rate_limited", 429, 0, "edge//limited", "rate_limits[0]", "1/h burst 1 per identity", "GET", "/limited?q=1", func() { _ = h2.get("/limited?q=1") }},
		{"limit, gRPC", "rate_limited", 200, 8, "edge/user.UserService/Login", "rate_limits[0]", "1/h burst 1", "POST", login, func() { _ = h2.do(grpcRequest(login)) }},
		{"access, h1", "route_not_allowed", 403, 0, "edge//others", "allow", "nearest spiffe://cluster.local/others/*", "GET", "/others", func() { _ = h1.get("/others") }},
		{"access, gRPC", "route_not_allowed", 200, 7, "edge/user.UserService/*", "allow", "nearest", "POST", getUser, func() { _ = h2.do(grpcRequest(getUser)) }},
		{"no route, h1", "no_route", 404, 0, "edge", "routes", "none of 5", "DELETE", "/nowhere", func() { _ = h1.do(request("DELETE", "/nowhere", "")) }},
		{"no route, gRPC", "no_route", 200, 12, "edge", "routes", "", "POST", getOrder, func() { _ = h2.do(grpcRequest(getOrder)) }},
		{"path, h1", "malformed_request", 400, 0, "", "", "slash", "GET", "/a%2Fb", func() { _ = h1.get("/a%2Fb") }},
		{"path, h2", "malformed_request", 400, 0, "", "", "", "GET", "/../x", func() {
			g.frames(t, func(f *http2.Framer) {
				open(f, ":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/../x")
			})
		}},
		{"no host", "malformed_request", 400, 0, "", "", "", "", "", func() { g.raw(t, "GET /fine HTTP/1.1\r\n\r\n") }},
		{"upper-case name, h2", "malformed_request", 0, 0, "", "", "", "", "", func() {
			g.frames(t, func(f *http2.Framer) {
				open(f, ":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/fine", "Upper", "x")
			})
		}},
		{"head, h1", "request_too_large", 431, 0, "", "", "", "", "", func() { g.raw(t, "GET /fine HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 9000)+"\r\n\r\n") }},
		{"fields, h1", "request_too_large", 431, 0, "", "", "", "", "", func() { g.raw(t, "GET /fine HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("X: y\r\n", 21)+"\r\n") }},
		{"fields, h2", "request_too_large", 431, 0, "", "", "", "", "", func() { _ = h2.get("/fine", repeated(25, "y")...) }},
		{"body, h1", "request_too_large", 413, 0, "", "", "body_bytes", "POST", "/fine", func() { _ = h1.do(request("POST", "/fine", long)) }},
		{"head that stalls, h1", "request_timeout", 408, 0, "", "", "", "", "", func() { w := g.wire(t, common().web); w.say("GET /fine HTT"); _, _ = io.ReadAll(w.reader) }},
		{"body that stalls, h1", "request_timeout", 408, 0, "", "", "", "POST", "/fine", func() {
			w := g.wire(t, common().web)
			w.say("POST /fine HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\nx")
			_ = w.hear("POST")
		}},
		{"flood of pings", "protocol_violation", 0, 0, "", "", "", "", "", func() {
			g.frames(t, func(f *http2.Framer) {
				for range 20000 {
					if f.WritePing(false, [8]byte{}) != nil {
						return
					}
				}
			})
		}},
		{"silent handshake", "tls_failed", 0, 0, "", "", "too long", "", "", func() { _, _ = io.ReadAll(g.dialTCP(t)) }},
		{"garbage", "tls_failed", 0, 0, "", "", "", "", "", func() { c := g.dialTCP(t); _, _ = io.WriteString(c, "hello?\r\n"); _, _ = io.ReadAll(c) }},
		{"other trust domain", "identity_not_allowed", 403, 0, "edge", "match_subject_alt_names", "nearest spiffe://cluster.local/*", "GET", "/x", func() {
			_ = g.client(t, "h1", common().root.svid("spiffe://elsewhere/x")).get("/x")
		}},
		{"none", "certificate_missing", 403, 0, "edge", "validation_context", "no certificate", "GET", "/x", func() { _ = g.client(t, "h2", nil).get("/x") }},
		{"expired", "certificate_expired", 403, 0, "edge", "validation_context", "depth 0", "GET", "/x", func() {
			_ = g.client(t, "h1", common().root.svid(webID, expired)).get("/x")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := len(g.audit(t))
			row.act()
			var record auditRecord
			waitFor(t, "the record", 2*time.Second, func() bool {
				found := matching(g.audit(t)[before:], func(r *auditRecord) bool { return r.Reason == row.reason })
				if len(found) > 0 {
					record = found[0]
				}
				return len(found) > 0
			})
			grpc := -1
			if record.Answer.GRPCStatus != nil {
				grpc = *record.Answer.GRPCStatus
			}
			switch {
			case record.Event != "rejected" || record.Authorized == nil || *record.Authorized || record.Listener != "edge":
				t.Error("not a refusal of the listener")
			case !recordMembers.MatchString(record.Timestamp) || record.Seq < 1 || len(record.Previous) != 64:
				t.Error("timestamp, seq or previous")
			case record.Client.Address == "":
				t.Error("nobody's address")
			case record.Answer.Status != row.status || row.grpc != 0 && grpc != row.grpc:
				t.Errorf("answer %d, gRPC %d", record.Answer.Status, grpc)
			case row.policy != "" && record.PolicyName != row.policy, row.rule != "" && record.MatchedRule != row.rule:
				t.Errorf("policy %q, rule %q", record.PolicyName, record.MatchedRule)
			case !strings.Contains(record.Detail, row.detail) || record.Detail == "":
				t.Errorf("detail %q", record.Detail)
			case row.method != "" && record.Request.Method != row.method, row.path != "" && record.Request.Path != row.path:
				t.Errorf("request %+v", record.Request)
			case row.grpc != 0 && record.RPCMethod != row.path, row.grpc == 0 && record.RPCMethod != "":
				t.Errorf("rpc_method %q", record.RPCMethod)
			case row.method != "" && (record.Request.ID == "" || record.Request.TraceID == "" || record.TLS.Version == ""):
				t.Error("no request id, trace id or TLS version")
			case row.reason == "certificate_expired" && (record.Principal != "" || record.Client.Certificate.URISANs[0] != webID):
				t.Error("who it claims to be stands with the certificate alone")
			}
			if t.Failed() {
				t.Logf("%s", record.line)
			}
		})
	}
}

// However the caller spells it, its records are found by the method it was refused: policies name that.
func TestRecordNamesTheMethodThatWasJudged(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{
		route("grpc: user.UserService/Login", "respond: {status: 503}, rate_limits: [{rate: 1/h, burst: 1}]"),
		route("grpc: user.UserService/*", `respond: {status: 503}, allow: ["spiffe://cluster.local/others/*"]`)}})
	h2 := g.client(t, "h2", common().web)
	_ = h2.do(grpcRequest(login))
	for target, method := range map[string]string{login + "?x=1": login, "//user.UserService/./Logi%6e": login, getUser + "?": getUser} {
		_ = h2.do(grpcRequest(target))
		r := g.waitForAudit(t, target, func(r *auditRecord) bool { return r.Request.Path == target })
		if r.RPCMethod != method {
			t.Errorf("rpc_method %q of %q, want %q", r.RPCMethod, target, method)
		}
	}
}

func grpcRequest(method string, headers ...string) *http.Request {
	return request("POST", method, "\x00\x00\x00\x00\x00", append([]string{"Content-Type", "application/grpc", "TE", "trailers"}, headers...)...)
}

func TestOneIdOfARequestInAllPlaces(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{top: []string{"access_log: {path: access.jsonl}"}, backends: []string{http1("web", back.Address)},
		routes: []string{route("path: /secret", `backend: web, allow: ["spiffe://cluster.local/x"]`), route("path: /*", "backend: web")}})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for i, given := range []string{"", "abc-123", "bad id", "quote\"", strings.Repeat("x", 500)} {
		headers := []string{"Traceparent", "00-" + trace + "-00f067aa0ba902b7-01"}
		if given != "" {
			headers = append(headers, "X-Request-Id", given)
		}
		c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
		refused := c.get("/secret", headers...)
		id := refused.problem("request_id")
		wantRefusal(t, refused, 403, "route_not_allowed")
		if id == "" || refused.header.Get("X-Request-Id") != id || given == "abc-123" != (id == given) || len(id) > 128 || strings.ContainsAny(id, " \"") {
			t.Errorf("%q: told %q and %q", given, id, refused.header.Get("X-Request-Id"))
		}
		record := g.waitForAudit(t, id, func(r *auditRecord) bool { return r.Request.ID == id && r.Reason == "route_not_allowed" })
		if record.Request.TraceID != trace {
			t.Errorf("trace id %q", record.Request.TraceID)
		}
		seen := c.get("/x", headers...).echo(t).Headers
		waitFor(t, "the access line of both", 2*time.Second, func() bool {
			lines, _ := os.ReadFile(filepath.Join(g.dir, "access.jsonl"))
			return bytes.Contains(lines, []byte(`"request_id":"`+id+`"`)) && bytes.Contains(lines, []byte(`"request_id":"`+seen.Get("X-Request-Id")+`"`))
		})
	}
}

// Every way in which bytes get from a caller into a record or a line of the other logs.
func TestBytesOfCallersStayInTheirStrings(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{top: []string{"access_log: {path: access.jsonl}"}, backends: []string{http1("web", back.Address)}, routes: []string{
		route("path: /ok/*", "backend: web"),
		route("path: /limited", `respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 1, per: ["header:X-Tenant"]}]`)}})
	evil := []string{"\x1b[2J\x1b]0;owned\x07", `"},{"event":"accepted","authorized":true}`, "\\u000a\\n", "\u202e\u2066\ufeff", "\u0085\u009b31m",
		"\xc0\x80\xff", "\xed\xa0\x80", "\U000e0001\U0010ffff", "%0a%0d%00%1b", "{{7*7}}${jndi:ldap://x}", strings.Repeat("\xf0\x9f\x9a\xaa", 600)}
	sent := 0
	for _, text := range evil {
		for _, trait := range []trait{commonName(text), dns(text), email(text), uri("spiffe://x/" + text), uri(text)} {
			_ = g.client(t, "h1", common().root.issue(trait)).get("/x")
			sent++
		}
		for _, text := range []string{
			"GET /nowhere/" + strings.ReplaceAll(text, " ", "") + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
			"GET /nowhere HTTP/1.1\r\nHost: " + text + "\r\n\r\n",
			"GET /nowhere HTTP/1.1\r\nHost: gateway.test\r\nX: " + text + "\r\n\r\n",
			strings.ReplaceAll(text, " ", "") + " /nowhere HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
			"GET /nowhere HTTP/1.1\r\nHost: gateway.test\r\n" + text + ": x\r\n\r\n",
			"GET /nowhere HTTP/1.1\r\nHost: gateway.test\r\nTraceparent: " + text + "\r\nX-Request-Id: " + text + "\r\n\r\n",
			"GET /nowhere HTTP/" + text + "\r\nHost: gateway.test\r\n\r\n",
			"GET /ok/x?" + strings.ReplaceAll(text, " ", "") + " HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: " + text + "\r\nX-Forwarded-For: " + text + "\r\nConnection: close\r\n\r\n",
		} {
			w := g.wire(t, common().web)
			_, _ = io.WriteString(w, text)
			_ = w.CloseWrite()
			_, _ = io.ReadAll(w.reader)
		}
		config := g.trusting(nil, "http/1.1")
		config.ServerName, config.InsecureSkipVerify = text, true
		if conn, err := g.dialTLS(t, config); err == nil {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			_, _ = io.ReadAll(conn)
		}
		for range 2 {
			g.frames(t, func(f *http2.Framer) {
				open(f, ":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/limited", "x-tenant", text)
			})
		}
		g.frames(t, func(f *http2.Framer) {
			open(f, ":method", text, ":scheme", text, ":authority", text, ":path", "/"+text, text, text)
		})
	}
	waitFor(t, "all records", 3*time.Second, func() bool { return len(g.audit(t)) >= sent+5*len(evil) })
	for _, name := range []string{"audit.jsonl", "access.jsonl"} {
		for line := range bytes.Lines(must(os.ReadFile(filepath.Join(g.dir, name)))) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			var members map[string]any
			if err := json.Unmarshal(line, &members); err != nil || !utf8.Valid(line) {
				t.Errorf("%s: %v: %q", name, err, line)
			}
			if bytes.ContainsFunc(line, unicode.IsControl) || bytes.ContainsFunc(line, func(r rune) bool { return r == 0x2028 || r == 0x2029 }) {
				t.Errorf("%s has a raw control character: %q", name, line)
			}
			if name == "audit.jsonl" && (members["event"] != "rejected" || members["authorized"] != false) {
				t.Errorf("forged: %q", line)
			}
			if len(line) > 64<<10 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	}
	for line := range strings.Lines(g.stderr.String()) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl) || !strings.HasPrefix(line, "time=") {
			t.Errorf("log line %q", line)
		}
	}
}

func TestFoldedRecordsAreThereInTwoSecondsAndExact(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{audit: "{path: audit.jsonl, fold_after: 3}"})
	c := g.client(t, "h2", common().web)
	for i := range 40 {
		wantStatus(t, c.get(fmt.Sprint("/%2f", i)), 400)
	}
	waitFor(t, "all forty", 2*time.Second, func() bool {
		n := 0
		for _, record := range g.refusals(t, because("malformed_request")) {
			n += record.times()
		}
		return n == 40
	})
	if lines := len(g.refusals(t, because("malformed_request"))); lines >= 40 {
		t.Errorf("%d lines: nothing was folded", lines)
	}
}
