package e2e

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// `request_headers` and `response_headers` of a route: what they change, what they never do, and
// that no spelling of a client gets round them.

const tenantRules = `request_headers: {set: [{name: X-Tenant, value: shop},
  {name: x-caller, value: "%{identity} by %{route}"}, {name: x-id, value: "%{request_id}"}],
  add: [{name: x-note, value: "50% of %%{x}"}], remove: [x-debug]}`

// wantField looks for the field under every name that some backend would take for it.
func wantField(t *testing.T, headers http.Header, name string, want ...string) {
	t.Helper()
	var values []string
	for spelt, all := range headers {
		if strings.EqualFold(strings.ReplaceAll(spelt, "_", "-"), name) {
			values = append(values, all...)
		}
	}
	if !reflect.DeepEqual(values, want) {
		t.Errorf("%s: %q, want %q", name, values, want)
	}
}

func TestBackendsSeeTheFieldsOfTheRoute(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		g, _ := web(t, up, tenantRules)
		for _, down := range []string{"h1", "h2"} {
			t.Run(down+" to "+up, func(t *testing.T) {
				c := g.client(t, down, common().web)
				for _, method := range []string{"GET", "POST"} {
					body := map[bool]string{true: "", false: "body"}[method == "GET"]
					seen := c.do(request(method, "/x", body, "X-Tenant", "admin", "x-TENANT", "admin", "X_Tenant", "admin",
						"x_tenant", "admin", "X-Note", "mine", "X-Debug", "1", "X_Debug", "1", "x-debug", "1",
						"X-Tenants", "kept")).echo(t)
					wantField(t, seen.Headers, "x-tenant", "shop")
					wantField(t, seen.Headers, "x-caller", webID+" by /*")
					wantField(t, seen.Headers, "x-id", seen.Headers.Get("X-Request-Id"))
					wantField(t, seen.Headers, "x-note", "mine", "50% of %{x}")
					wantField(t, seen.Headers, "x-debug")
					wantField(t, seen.Headers, "x-tenants", "kept")
					wantGenuineIdentity(t, seen.Headers, webID)
					if string(seen.Body) != body {
						t.Errorf("body %q", seen.Body)
					}
				}
			})
		}
	}
}

func TestClientsCannotTakeTheFieldsOfTheRouteAway(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		g, _ := web(t, up, tenantRules)
		for name, rest := range map[string]string{
			"named in Connection": "Connection: close, X-Tenant, x_tenant, x-caller\r\n\r\n",
			"named and sent":      "Connection: x-tenant\r\nX-Tenant: admin\r\nX_Tenant: admin\r\n\r\n",
			"sent as trailer": "Transfer-Encoding: chunked\r\nTrailer: X-Tenant, X_Tenant, X-Debug, X-Sum\r\n\r\n" +
				"1\r\nx\r\n0\r\nX-Tenant: admin\r\nX_Tenant: admin\r\nX-Debug: 1\r\nX-Sum: 42\r\n\r\n",
		} {
			t.Run(name+" to "+up, func(t *testing.T) {
				w := g.wire(t, common().web)
				w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\n" + rest)
				seen := w.hear("POST").echo(t)
				wantField(t, seen.Headers, "x-tenant", "shop")
				wantField(t, seen.Headers, "x-caller", webID+" by /*")
				wantField(t, seen.Trailers, "x-tenant")
				wantField(t, seen.Trailers, "x-debug")
				if strings.Contains(rest, "X-Sum") {
					wantField(t, seen.Trailers, "x-sum", "42")
				}
			})
		}
	}
}

func TestTrailersOfARequestWithoutRouteAreNobodys(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{route("path: /only", `respond: {}, response_headers: {remove: [x-a]}`)}})
	w := g.wire(t, common().web)
	w.say("POST /none HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	wantRefusal(t, w.hear("POST"), http.StatusNotFound, "no_route")
	w.say("0\r\nX-A: 1\r\n\r\n")
	wantStatus(t, g.client(t, "h1", common().web).get("/only"), http.StatusOK)
}

const answerRules = `response_headers: {set: [{name: X-Frame-Options, value: DENY},
  {name: x-answer, value: "%{route}"}], add: [{name: set-cookie, value: "c=3; Secure"}], remove: [x-kept, x-sum, link]}`

func TestClientsSeeTheAnswerFieldsOfTheRoute(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		g, _ := web(t, up, answerRules)
		for _, down := range []string{"h1", "h2"} {
			t.Run(down+" to "+up, func(t *testing.T) {
				c := g.client(t, down, common().web)
				got := c.get("/answer-headers")
				wantStatus(t, got, http.StatusOK)
				wantField(t, got.header, "x-frame-options", "DENY")
				wantField(t, got.header, "set-cookie", "a=1", "b=2", "c=3; Secure")
				wantField(t, got.header, "x-kept")
				if got.body != "headers\n" {
					t.Errorf("body %q", got.body)
				}
				got = c.get("/status/404")
				wantStatus(t, got, http.StatusNotFound)
				wantField(t, got.header, "x-answer", "/*") // the backend's said "status"
				got = c.do(request("POST", "/trailers", "body"))
				wantField(t, got.trailer, "x-late", "yes")
				wantField(t, got.trailer, "x-sum")
				wantField(t, c.get("/hints").header, "x-frame-options", "DENY")
			})
		}
	}
}

// An interim answer loses fields and gains none: those are for the answer.
func TestInterimAnswersOnlyLoseFields(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", answerRules)
	w := g.wire(t, common().web)
	w.say("GET /hints HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	hint := w.hear("GET")
	wantStatus(t, hint, http.StatusEarlyHints)
	wantField(t, hint.header, "link")
	wantField(t, hint.header, "x-frame-options")
	final := w.hear("GET")
	wantStatus(t, final, http.StatusOK)
	wantField(t, final.header, "x-frame-options", "DENY")
}

func TestRespondHasTheAnswerFieldsOfTheRoute(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{
		route("path: /json", `respond: {body: "{}"}, response_headers: {set: [{name: Content-Type, value: application/json},
      {name: x-you, value: "%{identity}"}], add: [{name: x-you, value: b}]}`),
		route("grpc: shut.Service/*", `respond: {status: 503}, response_headers: {set: [{name: x-note, value: soon},
      {name: content-type, value: text/html}]}`)}})
	for _, protocol := range []string{"h1", "h2"} {
		got := g.client(t, protocol, common().web).get("/json")
		wantStatus(t, got, http.StatusOK)
		wantField(t, got.header, "content-type", "application/json")
		wantField(t, got.header, "x-you", webID, "b")
		if got.body != "{}" || got.header.Get("X-Request-Id") == "" {
			t.Errorf("body %q, headers %v", got.body, got.header)
		}
	}
	var headers, trailers metadata.MD
	_, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), "/shut.Service/M", nil,
		grpc.Header(&headers), grpc.Trailer(&trailers))
	wantCode(t, err, codes.Unavailable)
	if all := metadata.Join(headers, trailers); !reflect.DeepEqual(all.Get("x-note"), []string{"soon"}) {
		t.Errorf("metadata %v", all)
	}
}

// Refusals tell nothing of a route, and a failed backend has no answer to change.
func TestRefusalsAndFailuresHaveNoFieldsOfTheRoute(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{
		route("path: /closed", `allow: ["spiffe://cluster.local/nobody"], respond: {}, `+answerRules),
		route("path: /limited", `respond: {}, rate_limits: [{rate: 1/h, burst: 1}], `+answerRules),
		route("path: /broken", "backend: broken, "+answerRules)},
		backends: []string{http1("broken", freeAddress(t))}})
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		if protocol == "h1" {
			wantField(t, c.get("/limited").header, "x-frame-options", "DENY")
		}
		for path, status := range map[string]int{"/closed": 403, "/limited": 429, "/broken": 503} {
			got := c.get(path)
			wantStatus(t, got, status)
			wantField(t, got.header, "x-frame-options")
			wantField(t, got.header, "x-answer")
			wantField(t, got.header, "set-cookie")
		}
	}
}

func TestGRPCCallsPassUnderTheRulesOfTheirRoute(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users, "+tenantRules+
		`, response_headers: {set: [{name: x-gate, value: "%{route}"}, {name: content-type, value: text/html}],
      remove: [x-echo-a, x_trailer_a]}`)}, backends: []string{h2("users", users.Address)}})
	conn := g.rpc(t, common().web)
	ctx := ordering(within(t, patience), "x-tenant", "admin", "x_tenant", "admin", "x-debug", "1",
		"x-echo-a", "1", "x-echo-b", "2", "x-trailer-a", "3", "x-trailer-b", "4")
	var headers, trailers metadata.MD
	out, err := backend.Invoke(ctx, conn, login, []byte("hello"), grpc.Header(&headers), grpc.Trailer(&trailers))
	if err != nil || string(out) != "hello" {
		t.Fatalf("%q, %v", out, err)
	}
	call := users.Journal.Calls(login)[0]
	for name, want := range map[string][]string{"x-tenant": {"shop"}, "x_tenant": nil, "x-debug": nil,
		"x-caller": {webID + " by user.UserService/*"}} {
		if got := call.Metadata.Get(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string][]string{"x-gate": {"user.UserService/*"}, "x-echo-a": nil, "x-echo-b": {"2"},
		"content-type": {"application/grpc"}} {
		if got := headers.Get(name); !reflect.DeepEqual(got, want) {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
	if trailers.Get("x-trailer-a") != nil || !reflect.DeepEqual(trailers.Get("x-trailer-b"), []string{"4"}) {
		t.Errorf("trailers %v", trailers)
	}
	ctx = ordering(within(t, patience), backend.DoFail, fmt.Sprint(int(codes.NotFound)), backend.DoDetails, "details")
	_, err = backend.Invoke(ctx, conn, login, nil)
	wantCode(t, err, codes.NotFound)
}

func TestReloadChangesTheFieldsOfARoute(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", `request_headers: {set: [{name: x-tenant, value: one}]}`)
	c := g.client(t, "h2", common().web)
	wantField(t, c.get("/x").echo(t).Headers, "x-tenant", "one")
	g.rewrite(t, "value: one", "value: two")
	g.reload(t)
	wantField(t, c.get("/x").echo(t).Headers, "x-tenant", "two")
	g.rewrite(t, `request_headers: {set: [{name: x-tenant, value: two}]}`, `request_headers: {remove: [x-tenant]}`)
	g.reload(t)
	wantField(t, c.get("/x", "X-Tenant", "mine").echo(t).Headers, "x-tenant")
	if status, text := g.adminGet("/config"); status != http.StatusOK || !strings.Contains(text, "remove: [x-tenant]") {
		t.Errorf("/config: %d %s", status, text)
	}
	if c.connections() != 1 {
		t.Errorf("%d connections", c.connections())
	}
}

func TestRulesThatWouldForgeOrBreakAreRefused(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string]string{
		`set: [{name: x-a, value: "a\r\nx-forwarded-client-cert: URI=admin"}]`: `request_headers.set[0].value: found no usable value`,
		`set: [{name: "x-a\r\nx-b", value: a}]`:                                `request_headers.set[0].name: found`,
		`set: [{name: X_Forwarded_Client_Cert, value: a}]`:                     `by which the gateway says who called and how`,
		`remove: [transfer-encoding]`:                                          `request_headers.remove[0]: found 'transfer-encoding', which frames the message`,
		`set: [{name: x-a, value: "%{secret}"}]`:                               `expected %{identity}, %{route} or %{request_id}`,
	} {
		_, output, code := check(t, strings.Replace(goodConfig, "        backend: api\n",
			"        backend: api\n        request_headers: {"+rules+"}\n", 1))
		if code != 2 || !strings.Contains(output, want) || strings.Count(output, "\n") != 1 {
			t.Errorf("%s: exit %d, %s; want %s", rules, code, output, want)
		}
	}
}
