package tracing

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

const (
	callersTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersParent = "00f067aa0ba902b7"
)

func seen(t *testing.T, reply harness.Reply) backend.Echo {
	t.Helper()
	var echo backend.Echo
	if err := json.Unmarshal([]byte(reply.Body), &echo); err != nil || reply.Status != http.StatusOK {
		t.Fatalf("no echo: %d %s", reply.Status, reply.Body)
	}
	return echo
}

func TestOneRequestIsAServerSpanAndAClientSpan(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := collect(t, harness.FreeAddress(t), nil)
			back := webBackend(t)
			g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address, "service_name: edge-7"), "access_log: {path: access.jsonl}"},
				Routes: []string{harness.Route("path: /api/*", "backend: web")}, Backends: []string{harness.HTTP1("web", back.Address)}})
			before := time.Now()
			echo := seen(t, get(t, g.Client(t, protocol), "/api/x?secret=1", "User-Agent", "curious/1.0"))
			spans := c.await(t, 2)
			server, client := one(t, spans, "the server's", kind(ptrace.SpanKindServer)), one(t, spans, "the client's", kind(ptrace.SpanKindClient))

			parent := strings.Split(echo.Headers.Get("Traceparent"), "-")
			if len(parent) != 4 || parent[1] != server.trace() || parent[1] != client.trace() || parent[2] != client.SpanID().String() || parent[3] != "03" {
				t.Errorf("the backend was told %v; the spans are %s/%s and %s/%s", parent, server.trace(), server.SpanID(), client.trace(), client.SpanID())
			}
			if client.ParentSpanID() != server.SpanID() || !server.ParentSpanID().IsEmpty() || client.SpanID() == server.SpanID() {
				t.Errorf("server %s of %s, client %s of %s", server.SpanID(), server.ParentSpanID(), client.SpanID(), client.ParentSpanID())
			}
			if server.Name() != "GET /api/*" || client.Name() != "GET" {
				t.Errorf("names %q and %q", server.Name(), client.Name())
			}
			start, end := server.StartTimestamp().AsTime(), server.EndTimestamp().AsTime()
			if start.Before(before.Add(-time.Second)) || !end.After(start) || end.After(time.Now().Add(time.Second)) {
				t.Errorf("from %v to %v", start, end)
			}
			if client.StartTimestamp() < server.StartTimestamp() || client.EndTimestamp() > server.EndTimestamp() || client.EndTimestamp() <= client.StartTimestamp() {
				t.Errorf("the client's span is not within the server's")
			}
			version := map[string]string{"h1": "1.1", "h2": "2"}[protocol]
			wantAttributes(t, server, map[string]string{"http.request.method": "GET", "url.path": "/api/x", "url.scheme": "https", "url.query": "",
				"server.address": "gateway.test", "http.response.status_code": "200", "network.protocol.version": version,
				"client.address": "127.0.0.1", "user_agent.original": "curious/1.0", "http.route": "/api/*", "error.type": "",
				"tollgate.principal": harness.Identity, "tollgate.request_id": echo.Headers.Get("X-Request-Id"), "rpc.system": ""})
			host, port, _ := strings.Cut(back.Address, ":")
			wantAttributes(t, client, map[string]string{"http.request.method": "GET", "server.address": host, "server.port": port,
				"http.response.status_code": "200", "network.protocol.version": "1.1", "tollgate.backend": "web", "error.type": "",
				"http.request.resend_count": ""})
			wantStatus(t, server, ptrace.StatusCodeUnset)
			wantStatus(t, client, ptrace.StatusCodeUnset)
			for key, want := range map[string]any{"service.name": "edge-7", "process.executable.name": "tollgate", "process.pid": int64(g.Pid()),
				"host.name": harness.Must(os.Hostname())} {
				if got := server.resource[key]; got != want {
					t.Errorf("resource %s is %v, want %v", key, got, want)
				}
			}
			if server.resource["service.version"] == "" || server.scope["name"] != "tollgate" {
				t.Errorf("resource %v, scope %v", server.resource, server.scope)
			}
			awaitCount(t, g, "exported", 2)
			var line struct {
				Trace  string `json:"trace_id"`
				Span   string `json:"span_id"`
				Parent string `json:"parent_span_id"`
			}
			harness.WaitFor(t, "the access line", 5*time.Second, func() bool {
				content, _ := os.ReadFile(filepath.Join(g.Dir, "access.jsonl"))
				return json.Unmarshal(content, &line) == nil
			})
			if line.Trace != server.trace() || line.Span != server.SpanID().String() || line.Parent != "" {
				t.Errorf("the access line says %+v", line)
			}
		})
	}
}

func TestTraceOfTheCallerGoesOnAsItWasSampled(t *testing.T) {
	t.Parallel()
	for _, sample := range []string{"0", "1"} {
		t.Run(sample, func(t *testing.T) {
			t.Parallel()
			c := collect(t, harness.FreeAddress(t), nil)
			back := webBackend(t)
			g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address, "sample: "+sample)}, Backends: []string{harness.HTTP1("web", back.Address)},
				Routes: []string{harness.Route("path: /*", "backend: web")}})
			client := g.Client(t, "h2")
			for _, row := range []struct{ given, state, flags, passed string }{
				{"00-" + callersTrace + "-" + callersParent + "-00", "a=1", "00", "a=1"},
				{"00-" + callersTrace + "-" + callersParent + "-02", "", "02", ""},
				{"00-" + callersTrace + "-" + callersParent + "-01", "congo=t61,rojo=00f", "01", "congo=t61,rojo=00f"},
				{"cc-" + callersTrace + "-" + callersParent + "-03-more", "Bad=1", "03", ""},
			} {
				headers := []string{"Traceparent", row.given}
				if row.state != "" {
					headers = append(headers, "Tracestate", row.state)
				}
				told := seen(t, get(t, client, "/x", headers...)).Headers
				parts := strings.Split(told.Get("Traceparent"), "-")
				if len(parts) != 4 || parts[0] != "00" || parts[1] != callersTrace || parts[2] == callersParent || parts[3] != row.flags {
					t.Errorf("%q became %q", row.given, told.Get("Traceparent"))
				}
				if got := strings.Join(told["Tracestate"], "|"); got != row.passed {
					t.Errorf("state %q became %q", row.state, got)
				}
			}
			spans := c.await(t, 4)
			for _, span := range spans {
				if span.trace() != callersTrace {
					t.Errorf("a span of trace %s", span.trace())
				}
			}
			server := one(t, spans, "the first server's", func(s span) bool {
				return s.Kind() == ptrace.SpanKindServer && s.TraceState().AsRaw() == "congo=t61,rojo=00f"
			})
			if server.ParentSpanID().String() != callersParent || server.Flags() != 0x301 {
				t.Errorf("parent %s, flags %#x", server.ParentSpanID(), server.Flags())
			}
		})
	}
}

func TestBrokenParentBeginsATraceWithoutItsState(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address)}, Backends: []string{harness.HTTP1("web", back.Address)},
		Routes: []string{harness.Route("path: /*", "backend: web")}})
	client := g.Client(t, "h1")
	good := "00-" + callersTrace + "-" + callersParent + "-01"
	for _, given := range [][]string{{"ff" + good[2:]}, {good + "-x"}, {strings.ToUpper(good)}, {good, good}, {"00-" + callersTrace + "-" + callersParent}} {
		headers := []string{"Tracestate", "a=1"}
		for _, one := range given {
			headers = append(headers, "Traceparent", one)
		}
		told := seen(t, get(t, client, "/x", headers...)).Headers
		if strings.Contains(told.Get("Traceparent"), callersTrace) || told.Get("Tracestate") != "" || !strings.HasSuffix(told.Get("Traceparent"), "-03") {
			t.Errorf("%q became %q %q", given, told["Traceparent"], told["Tracestate"])
		}
	}
	for _, span := range c.await(t, 10) {
		if span.Kind() == ptrace.SpanKindServer && !span.ParentSpanID().IsEmpty() {
			t.Errorf("a parent: %s", span.ParentSpanID())
		}
	}
}

func TestRatioOfNewTracesIsTheConfigured(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address, "sample: 0.25")}, Backends: []string{harness.HTTP1("web", back.Address)},
		Routes: []string{harness.Route("path: /*", "backend: web")}})
	client, sampled := g.Client(t, "h1"), []string{}
	const all = 400
	for range all {
		parts := strings.Split(seen(t, get(t, client, "/x")).Headers.Get("Traceparent"), "-")
		if parts[3] == "03" {
			sampled = append(sampled, parts[1])
		} else if parts[3] != "02" {
			t.Fatalf("flags %q", parts[3])
		}
	}
	if len(sampled) < all/8 || len(sampled) > all*3/8 { // six deviations
		t.Errorf("%d of %d are sampled", len(sampled), all)
	}
	for _, span := range c.await(t, 2*len(sampled)) {
		if !slices.Contains(sampled, span.trace()) {
			t.Errorf("trace %s was not sampled", span.trace())
		}
	}
}

func TestCallsOfGRPC(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	back := harness.Must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address, "batch: 1")}, Backends: []string{harness.H2("users", back.Address)},
		Routes: []string{harness.Route("grpc: user.UserService/*", "backend: users")}})
	conn := g.GRPC(t)
	const login = "/user.UserService/Login"
	for _, row := range []struct {
		code           codes.Code
		server, client ptrace.StatusCode
	}{
		{codes.OK, ptrace.StatusCodeUnset, ptrace.StatusCodeUnset},
		{codes.NotFound, ptrace.StatusCodeUnset, ptrace.StatusCodeError},
		{codes.Internal, ptrace.StatusCodeError, ptrace.StatusCodeError},
	} {
		ctx := context.Background()
		if row.code != codes.OK {
			ctx = metadata.AppendToOutgoingContext(ctx, backend.DoFail, fmt.Sprint(int(row.code)))
		}
		if _, err := backend.Invoke(ctx, conn, login, []byte("who")); status.Code(err) != row.code {
			t.Fatal(err)
		}
		spans := c.await(t, 2)
		server, client := one(t, spans, "the server's", kind(ptrace.SpanKindServer)), one(t, spans, "the client's", kind(ptrace.SpanKindClient))
		for _, span := range []span{server, client} {
			if span.Name() != "user.UserService/Login" {
				t.Errorf("name %q", span.Name())
			}
			wantAttributes(t, span, map[string]string{"rpc.system": "grpc", "rpc.service": "user.UserService", "rpc.method": "Login",
				"rpc.grpc.status_code": fmt.Sprint(int(row.code)), "network.protocol.version": "2"})
		}
		wantStatus(t, server, row.server)
		wantStatus(t, client, row.client)
		if row.client == ptrace.StatusCodeError && client.text("error.type") != fmt.Sprint(int(row.code)) {
			t.Errorf("error.type %q", client.text("error.type"))
		}
		calls := back.Journal.Calls(login)
		told := calls[len(calls)-1].Metadata.Get("traceparent")
		if len(told) != 1 || told[0] != "00-"+client.trace()+"-"+client.SpanID().String()+"-03" || client.ParentSpanID() != server.SpanID() {
			t.Errorf("the backend was told %q, the client's span is %s/%s", told, client.trace(), client.SpanID())
		}
		c.sink.Reset()
	}
}

func TestRefusalsAndFailuresSayWhy(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address, "batch: 1")},
		Backends: []string{harness.HTTP1("web", back.Address), harness.HTTP1("dead", harness.FreeAddress(t))},
		Routes: []string{harness.Route("path: /others", `backend: web, allow: ["spiffe://cluster.local/other"]`),
			harness.Route("path: /limited", "respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 1}]"),
			harness.Route("path: /dead", "backend: dead"), harness.Route("path: /status/*", "backend: web"), harness.Route("path: /sleep", "backend: web, timeout: 50ms")}})
	client := g.Client(t, "h1")
	get(t, client, "/limited")
	c.await(t, 1)
	for _, row := range []struct {
		path, reason, cause, flags string
		status                     int
		server, client             ptrace.StatusCode
		count                      int
	}{
		{"/nowhere", "no_route", "", "NR", 404, ptrace.StatusCodeUnset, 0, 1},
		{"/others", "route_not_allowed", "", "UAEX", 403, ptrace.StatusCodeUnset, 0, 1},
		{"/limited", "rate_limited", "", "RL", 429, ptrace.StatusCodeUnset, 0, 1},
		{"/a%2Fb", "malformed_request", "", "DPE", 400, ptrace.StatusCodeUnset, 0, 1},
		{"/dead", "", "connect_failed", "UF,URX", 503, ptrace.StatusCodeError, ptrace.StatusCodeError, 2},
		{"/sleep?for=5s", "", "deadline_exceeded", "UT", 504, ptrace.StatusCodeError, ptrace.StatusCodeError, 2},
		{"/status/404", "", "", "", 404, ptrace.StatusCodeUnset, ptrace.StatusCodeError, 2},
		{"/status/500", "", "", "", 500, ptrace.StatusCodeError, ptrace.StatusCodeError, 2},
	} {
		c.sink.Reset()
		if got := get(t, g.Client(t, "h1"), row.path); got.Status != row.status {
			t.Fatalf("%s: %d %s", row.path, got.Status, got.Body)
		}
		spans := c.await(t, row.count)
		server := one(t, spans, "the server's", kind(ptrace.SpanKindServer))
		wantStatus(t, server, row.server)
		wantAttributes(t, server, map[string]string{"tollgate.refusal_reason": row.reason, "tollgate.cause": row.cause,
			"tollgate.response_flags": row.flags, "http.response.status_code": fmt.Sprint(row.status)})
		word := row.cause
		if row.cause == "" && row.status >= 500 {
			word = fmt.Sprint(row.status)
		}
		wantAttributes(t, server, map[string]string{"error.type": word})
		if row.count == 2 {
			wantStatus(t, one(t, spans, "the client's", kind(ptrace.SpanKindClient)), row.client)
		}
	}
}

func TestTriesAreEventsOfTheCall(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	back := webBackend(t)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address), "workers: 1"}, Routes: []string{harness.Route("path: /*", "backend: web")},
		Backends: []string{fmt.Sprintf("{name: web, protocol: http1, endpoints: [%q, %q]}", harness.FreeAddress(t), back.Address)}})
	client := g.Client(t, "h1")
	get(t, client, "/x")
	retried := one(t, c.await(t, 2), "one that was tried again", func(s span) bool { return s.text("http.request.resend_count") != "" })
	wantAttributes(t, retried, map[string]string{"http.request.resend_count": "1", "http.response.status_code": "200", "server.port": back.Address[strings.IndexByte(back.Address, ':')+1:]})
	wantStatus(t, retried, ptrace.StatusCodeUnset)
	if events := retried.Events(); events.Len() != 1 || events.At(0).Name() != "retry" || events.At(0).Attributes().AsRaw()["tollgate.cause"] != "connect_failed" ||
		events.At(0).Timestamp() < retried.StartTimestamp() || events.At(0).Timestamp() > retried.EndTimestamp() {
		t.Errorf("%d events", events.Len())
	}
}

func TestHostileTextArrivesTame(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address)}, Routes: respond})
	texts := map[string]string{"\xff\xfe": "\ufffd\ufffd", "\xed\xa0\x80": "\ufffd\ufffd\ufffd", "caf\xc3\xa9": "café", "\xf0\x9f": "\ufffd\ufffd",
		`"},{"x":"`: `"},{"x":"`, strings.Repeat("x", 5000): strings.Repeat("x", 1024), strings.Repeat("é", 2000): strings.Repeat("é", 512)}
	for text := range texts {
		w := g.Wire(t)
		w.Say("BREW /" + strings.Repeat("p", 3000) + " HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: " + text + "\r\nTracestate: " + text + "\r\n\r\n")
		_, _ = w.Rest()
		w = g.Wire(t)
		w.Say("GET /x HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: " + text + "\r\n\r\n")
		if got := w.Hear("GET"); got.Status != http.StatusOK {
			t.Errorf("%.20q: %+v", text, got)
		}
	}
	harness.WaitFor(t, "the spans", 10*time.Second, func() bool { return c.sink.SpanCount() >= len(texts) })
	awaitNone(t, g)
	found := map[string]bool{}
	for _, span := range c.spans() {
		found[span.text("user_agent.original")] = true
		if len(span.text("url.path")) > 1024 {
			t.Error("a long path")
		}
	}
	for given, want := range texts {
		if !found[want] {
			t.Errorf("%.20q did not arrive as %.20q", given, want)
		}
	}
}

// awaitNone waits until nothing is on its way any more, and sees that all of it arrived.
func awaitNone(t *testing.T, g *harness.Gateway) {
	t.Helper()
	if failed, dropped := counted(g, "failed"), counted(g, "dropped"); failed+dropped != 0 {
		t.Errorf("%d spans failed, %d were dropped:\n%s", failed, dropped, g.Said())
	}
}
