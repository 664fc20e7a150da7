package e2e

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Where a route sends a request instead: `rewrite` for backends, `redirect` for clients. What is judged is always what
// the client asked for.

func TestRewrittenPathsReachTheBackend(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{
		routes: []string{
			route("path: /api/*", "backend: web, rewrite: {prefix: /v2}"),
			route("path: /strip/*", "backend: web, rewrite: {prefix: /}"),
			route("path: /deep/er/*", "backend: web, rewrite: {prefix: /a%20b/c/}"),
			route("path: /old/*", "backend: web, rewrite: {path: /new}"),
			route("path: /exact", "backend: web, rewrite: {path: /a/b}"),
			route("path: /v2/secret/*", `allow: ["spiffe://cluster.local/nobody"], backend: web`)},
		backends: []string{http1("web", web.Address)}})
	for _, row := range []struct {
		target, upstream string
		status           int // of a refusal
	}{
		{"/api/x", "/v2/x", 0},
		{"/api/", "/v2/", 0},
		{"/api/x/y/?q=/api/z&r=%2F", "/v2/x/y/?q=/api/z&r=%2F", 0},
		{"/api/x?", "/v2/x?", 0},
		{"/%61pi/%78", "/v2/x", 0},
		{"/api;v=1/x;w=2", "/v2/x;w=2", 0},
		{"/;a/api/x", "/v2/x", 0},
		{"/api//x", "/v2/x", 0},
		{"/api/x/../y", "/v2/y", 0},
		{"/x/../api/y", "/v2/y", 0},
		{"/api/a%20b/%C3%A4", "/v2/a%20b/%C3%A4", 0},
		{"/api/api/x", "/v2/api/x", 0},
		{"/strip/x", "/x", 0},
		{"/strip/", "/", 0},
		{"/strip//x//y", "/x/y", 0},
		{"/strip/https://evil.test/", "/https:/evil.test/", 0},
		{"/deep/er/x", "/a%20b/c/x", 0},
		{"/old/x/y?q", "/new?q", 0},
		{"/exact?q=1", "/a/b?q=1", 0},
		{"/exact;v", "/a/b", 0},
		{"/api", "", 404},
		{"/api%3Bv/x", "", 404},
		{"/api/../x", "", 404},
		{"/api/%2e%2e/secret", "", 400},
		{"/api/..%2Fsecret", "", 400},
		{"/api/..;/secret", "", 400},
		{"/api/../v2/secret/x", "", 403},
	} {
		t.Run(row.target, func(t *testing.T) {
			got := g.rawGet(t, row.target)
			if row.status != 0 {
				wantStatus(t, got, row.status)
			} else if seen := got.echo(t); seen.Target != row.upstream || seen.Host != "gateway.test" {
				t.Errorf("backend %q was asked for %q, want %q", seen.Host, seen.Target, row.upstream)
			}
		})
	}
	if seen := g.client(t, "h2", common().web).do(request("POST", "/api/x?q=1", "body")).echo(t); seen.Target != "/v2/x?q=1" || string(seen.Body) != "body" {
		t.Errorf("over HTTP/2 the backend saw %+v", seen)
	}
}

// Judged, limited and logged is the client's path; a rewritten one is judged no second time.
func TestRewritingChangesNoVerdict(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{top: []string{"access_log: {path: access.jsonl}"},
		routes: []string{
			route("path: /api/*", `allow: ["spiffe://cluster.local/ns/web/*"], backend: web, rewrite: {prefix: /open}`),
			route("path: /open/*", "backend: web")},
		backends: []string{http1("web", web.Address)}})
	batch := common().root.svid("spiffe://cluster.local/ns/batch/sa/job")
	for _, target := range []string{"/api/x", "/%61pi/x", "/api;v/x", "/open/../api/x"} {
		wantRefusal(t, g.client(t, "h1", batch).get(target), http.StatusForbidden, "route_not_allowed")
	}
	wantStatus(t, g.client(t, "h1", batch).get("/open/x"), http.StatusOK)
	wantStatus(t, g.client(t, "h1", common().web).get("/api/let/in"), http.StatusOK)
	if line := g.accessOf(t, "/api/let/in"); line.text("route") != "/api/*" {
		t.Errorf("access line %v", line)
	}
	if web.Journal.Count("GET /open/let/in") != 1 || web.Journal.Count("") != 2 {
		t.Errorf("calls %v", web.Journal.Calls(""))
	}
}

func TestBackendsAreToldTheHostOfTheRoute(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		g, _ := web(t, up, `rewrite: {host: "inner.example:8080"}`)
		for _, down := range []string{"h1", "h2"} {
			seen := g.client(t, down, common().web).get("/x?y", "X-Forwarded-Host", "forged.test").echo(t)
			if seen.Host != "inner.example:8080" || seen.Target != "/x?y" {
				t.Errorf("%s to %s: host %q, target %q", down, up, seen.Host, seen.Target)
			}
			wantField(t, seen.Headers, "x-forwarded-host", "gateway.test")
		}
		w := g.wire(t, common().web)
		w.say("GET /x HTTP/1.0\r\n\r\n")
		seen := w.hear("GET").echo(t)
		if seen.Host != "inner.example:8080" {
			t.Errorf("to %s, of a client that names no host: %q", up, seen.Host)
		}
		wantField(t, seen.Headers, "x-forwarded-host")
	}
}

func TestGRPCCallsPassUnderAnotherHostAndBelowAnotherPrefix(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{
		route("grpc: user.UserService/*", `backend: users, rewrite: {host: "users.inner"}`),
		route("path: /tenant.a/*", "backend: users, rewrite: {prefix: /}")},
		backends: []string{h2("users", users.Address)}})
	conn := g.rpc(t, common().web)
	for _, method := range []string{login, "/tenant.a" + login} {
		if err := invoke(t, conn, method); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
	calls := users.Journal.Calls(login)
	if len(calls) != 2 || calls[0].Metadata.Get(":authority")[0] != "users.inner" ||
		calls[1].Metadata.Get(":authority")[0] != "gateway.test" {
		t.Errorf("calls %+v", calls)
	}
}

func redirecting(t *testing.T) *gateway {
	return start(t, setup{routes: []string{
		route("path: /old", "redirect: {path: /new}"),
		route("path: /moved/*", "redirect: {prefix: /v2, status: 308}"),
		route("path: /away/*", `redirect: {host: "other.test:8443", status: 301}`),
		route("path: /gone/*", `redirect: {host: other.test, prefix: /, status: 303},
      response_headers: {set: [{name: cache-control, value: no-store}]}`),
		route("path: /kept", "redirect: {path: /a%20b/, status: 307}"),
		route("path: /*", `allow: ["spiffe://cluster.local/ns/web/*"], redirect: {host: all.test}`)}})
}

func TestClientsAreSentElsewhere(t *testing.T) {
	t.Parallel()
	g := redirecting(t)
	for _, row := range []struct {
		target   string
		status   int
		location string
	}{
		{"/old", 302, "https://gateway.test/new"},
		{"/old?a=b&c=/d", 302, "https://gateway.test/new?a=b&c=/d"},
		{"/moved/x/y?q=%20", 308, "https://gateway.test/v2/x/y?q=%20"},
		{"/moved/", 308, "https://gateway.test/v2/"},
		{"/m%6Fved//x", 308, "https://gateway.test/v2/x"},
		{"/away/x?q", 301, "https://other.test:8443/away/x?q"},
		{"/gone/x", 303, "https://other.test/x"},
		{"/gone//evil.test/x", 303, "https://other.test/evil.test/x"},
		{"/kept", 307, "https://gateway.test/a%20b/"},
		{"/else?q", 302, "https://all.test/else?q"},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			got := g.client(t, protocol, common().web).get(row.target)
			wantStatus(t, got, row.status)
			wantField(t, got.header, "location", row.location)
			if got.body != "" || got.header.Get("X-Request-Id") == "" || got.header.Get("Content-Type") != "" {
				t.Errorf("%s: body %q, headers %v", row.target, got.body, got.header)
			}
		}
	}
	c := g.client(t, "h2", common().web)
	wantField(t, c.get("/gone/x").header, "cache-control", "no-store")
	wantStatus(t, c.do(request("POST", "/moved/x", strings.Repeat("b", 100000))), http.StatusPermanentRedirect)
	wantStatus(t, c.do(request("HEAD", "/old", "")), http.StatusFound)
	batch := common().root.svid("spiffe://cluster.local/ns/batch/sa/job")
	refused := g.client(t, "h1", batch).get("/else")
	wantRefusal(t, refused, http.StatusForbidden, "route_not_allowed")
	wantField(t, refused.header, "location")
}

// Whatever the client writes, Location is one URL of one line that leads to the host of the route or of the request.
func TestRedirectsCannotBeBent(t *testing.T) {
	t.Parallel()
	g := redirecting(t)
	for _, row := range []struct{ lines, location string }{ // no location: refused
		{"GET /old HTTP/1.1\r\nHost: gateway.test:8443\r\n", "https://gateway.test:8443/new"},
		{"GET /old HTTP/1.1\r\nHost: GATEWAY.test.\r\n", "https://GATEWAY.test./new"},
		{"GET /old HTTP/1.1\r\nHost: [::1]:8443\r\n", "https://[::1]:8443/new"},
		{"GET /old HTTP/1.0\r\n", "/new"},
		{"GET https://asked.test/old HTTP/1.1\r\nHost: asked.test\r\n", "https://asked.test/new"},
		{"GET /old?%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: gateway.test\r\n", "https://gateway.test/new?%0d%0aSet-Cookie:a=b"},
		{"GET /moved/%20x HTTP/1.1\r\nHost: gateway.test\r\n", "https://gateway.test/v2/%20x"},
		{"GET /gone/..%2f/x HTTP/1.1\r\nHost: gateway.test\r\n", ""},
		{"GET /moved/x%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: gateway.test\r\n", ""},
		{"GET /gone/\\evil.test HTTP/1.1\r\nHost: gateway.test\r\n", ""},
		{"GET /old HTTP/1.1\r\nHost: user@evil.test\r\n", ""},
		{"GET /old HTTP/1.1\r\nHost: gateway.test/evil\r\n", ""},
		{"GET /old HTTP/1.1\r\nHost: gateway.test, evil.test\r\n", ""},
		{"GET /old HTTP/1.1\r\nHost: gateway.test\r\nHost: evil.test\r\n", ""},
	} {
		w := g.wire(t, common().web)
		w.say(row.lines + "X-Forwarded-Host: forged.test\r\n\r\n")
		got := w.hear("GET")
		if row.location == "" {
			wantStatus(t, got, http.StatusBadRequest)
			continue
		}
		wantStatus(t, got, map[bool]int{true: 302, false: 308}[strings.Contains(row.location, "/new")])
		wantField(t, got.header, "location", row.location)
		wantField(t, got.header, "set-cookie")
	}
}

func TestFollowersArriveWithWhatTheyBrought(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /old/*", "redirect: {prefix: /new, status: 308}"),
		route("path: /new/*", "backend: web, rewrite: {prefix: /}")}, backends: []string{http1("web", web.Address)}})
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		c.CheckRedirect = nil
		seen := c.do(request("POST", "/old/x?q=1", "body")).echo(t)
		if seen.Method != "POST" || seen.Target != "/x?q=1" || string(seen.Body) != "body" {
			t.Errorf("%s: backend saw %+v", protocol, seen)
		}
	}
}

func TestGRPCCallsAreNotSentElsewhere(t *testing.T) {
	t.Parallel()
	g := redirecting(t)
	conn := g.rpc(t, common().web)
	_, err := backend.Invoke(within(t, patience), conn, login, []byte("x"))
	wantCode(t, err, codes.Unknown) // as gRPC maps a 302
}

func TestReloadChangesWhereARouteLeads(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", `rewrite: {prefix: /one}`)
	c := g.client(t, "h2", common().web)
	if seen := c.get("/x").echo(t); seen.Target != "/one/x" {
		t.Errorf("target %q", seen.Target)
	}
	g.rewrite(t, "rewrite: {prefix: /one}", "rewrite: {prefix: /two, host: two.test}")
	g.reload(t)
	if seen := c.get("/x").echo(t); seen.Target != "/two/x" || seen.Host != "two.test" {
		t.Errorf("after the reload: %q of %q", seen.Target, seen.Host)
	}
	g.rewrite(t, "backends:", "      - {match: {path: /never}, redirect: {path: /never}}\nbackends:")
	status, text := g.post(t, "/reload")
	if status/100 == 2 {
		t.Errorf("a bad configuration was taken: %d %s", status, text)
	}
	if seen := c.get("/x").echo(t); seen.Target != "/two/x" || c.connections() != 1 {
		t.Errorf("after the refused reload: %q, %d connections", seen.Target, c.connections())
	}
}
