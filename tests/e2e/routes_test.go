package e2e

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// marked is a respond route whose body names it.
func marked(match, name string) string {
	return route(match, `respond: {status: 200, body: "`+name+`"}`)
}

func TestFirstMatchingRouteWins(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{
		marked(`path: /exact`, "exact"),
		marked(`path: /api/v1/*`, "v1"),
		marked(`path: /api/*, methods: [POST]`, "api post"),
		marked(`path: /api/*, methods: [GET, HEAD]`, "api get"),
		marked(`path: /host, hosts: ["one.test"]`, "host one"),
		marked(`path: /host, hosts: ["two.test", "three.test"]`, "host two"),
		marked(`path: /*, hosts: ["all.test"]`, "all of a host"),
	}})
	for _, row := range []struct{ method, host, path, want string }{
		{"GET", "", "/exact", "exact"},
		{"GET", "", "/exact?x=/other", "exact"},
		{"GET", "", "/exact/", ""},
		{"GET", "", "/Exact", ""},
		{"GET", "", "/exactly", ""},
		{"GET", "", "/api/v1/x", "v1"},
		{"GET", "", "/api/v1/x/y/z", "v1"},
		{"GET", "", "/api/v10/x", "api get"},
		{"GET", "", "/api/x", "api get"},
		{"POST", "", "/api/x", "api post"},
		{"DELETE", "", "/api/x", ""},
		{"GET", "", "/apiary", ""},
		{"GET", "one.test", "/host", "host one"},
		{"GET", "ONE.test", "/host", "host one"},
		{"GET", "one.test:8443", "/host", "host one"},
		{"GET", "three.test", "/host", "host two"},
		{"GET", "four.test", "/host", ""},
		{"GET", "all.test", "/", "all of a host"},
		{"GET", "", "/", ""},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(strings.Join([]string{protocol, row.method, row.host, row.path}, " "), func(t *testing.T) {
				r := request(row.method, row.path, "")
				r.Host = row.host
				got := g.client(t, protocol, common().web).do(r)
				if row.want == "" {
					wantRefusal(t, got, http.StatusNotFound, "no_route")
					return
				}
				wantStatus(t, got, http.StatusOK)
				if got.body != row.want {
					t.Errorf("route %q, want %q", got.body, row.want)
				}
			})
		}
	}
}

func TestGRPCRoutePatterns(t *testing.T) {
	t.Parallel()
	login1, service, pkg, rest := grpcBackend(t), grpcBackend(t), grpcBackend(t), grpcBackend(t)
	g := start(t, setup{
		routes: []string{
			route("grpc: user.UserService/Login", "backend: login"),
			route("grpc: user.UserService/*", "backend: service"),
			route("grpc: order.*/*", "backend: package"),
			route(`grpc: "*"`, "backend: rest"),
			marked("path: /*", "no gRPC")},
		backends: []string{h2("login", login1.Address), h2("service", service.Address),
			h2("package", pkg.Address), h2("rest", rest.Address)}})
	conn := g.rpc(t, common().web)
	for method, want := range map[string]*backend.GRPC{login: login1, getUser: service, getOrder: pkg,
		"/grpc.health.v1.Health/Check": rest} {
		if _, err := backend.Invoke(within(t, patience), conn, method, nil); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if want.Journal.Count(method) != 1 {
			t.Errorf("%s went elsewhere", method)
		}
	}
	got := g.client(t, "h2", common().web).do(request("POST", login, "{}", "Content-Type", "application/json"))
	wantStatus(t, got, http.StatusOK)
	if got.body != "no gRPC" {
		t.Errorf("a request that is no gRPC call took a gRPC route: %q", got.body)
	}
}

func TestPathRouteTakesGRPCCalls(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route("path: /user.UserService/*", "backend: users")},
		backends: []string{h2("users", users.Address)}})
	if err := invoke(t, g.rpc(t, common().web), login); err != nil {
		t.Error(err)
	}
}

func TestAllowRefusesOthersAndAuditsThem(t *testing.T) {
	t.Parallel()
	users, web := grpcBackend(t), httpBackend(t)
	allow := `allow: ["spiffe://cluster.local/ns/web/*"], `
	g := start(t, setup{
		routes: []string{route("grpc: user.UserService/*", allow+"backend: users"),
			route("path: /api/*", allow+"backend: web"), route("path: /open", "backend: web")},
		backends: []string{h2("users", users.Address), http1("web", web.Address)}})
	batch := common().root.svid("spiffe://cluster.local/ns/batch/sa/job")
	if err := invoke(t, g.rpc(t, common().web), login); err != nil {
		t.Errorf("allowed call: %v", err)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/api/x"), http.StatusOK)

	wantCode(t, invoke(t, g.rpc(t, batch), login), codes.PermissionDenied)
	for _, protocol := range []string{"h1", "h2"} {
		wantRefusal(t, g.client(t, protocol, batch).get("/api/x"), http.StatusForbidden, "route_not_allowed")
		wantStatus(t, g.client(t, protocol, batch).get("/open"), http.StatusOK)
	}
	g.countAudit(t, 3, because("route_not_allowed"))
	record := g.waitForAudit(t, "the refused call", because("route_not_allowed"))
	if record.Principal != "spiffe://cluster.local/ns/batch/sa/job" || record.RPCMethod != login {
		t.Errorf("audit record %s", record.line)
	}
	if users.Journal.Count("") != 1 || web.Journal.Count("GET /api/x") != 1 {
		t.Error("a refused call reached a backend")
	}
}

func TestRespondRoutes(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{
		route("path: /healthz", `respond: {status: 200, body: "ok\n"}`),
		route("path: /teapot", "respond: {status: 418}"),
		route("grpc: gone.Service/*", "respond: {status: 404}"),
		route("grpc: shut.Service/*", "respond: {status: 503}"),
		route("grpc: denied.Service/*", "respond: {status: 403}"),
		route("grpc: who.Service/*", "respond: {status: 401}"),
	}})
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		got := c.get("/healthz")
		wantStatus(t, got, http.StatusOK)
		if got.body != "ok\n" {
			t.Errorf("body %q", got.body)
		}
		wantStatus(t, c.get("/teapot"), http.StatusTeapot)
		head := c.do(request("HEAD", "/healthz", ""))
		wantStatus(t, head, http.StatusOK)
		if head.body != "" {
			t.Errorf("HEAD has body %q", head.body)
		}
	}
	conn := g.rpc(t, common().web)
	for method, want := range map[string]codes.Code{"/gone.Service/M": codes.Unimplemented,
		"/shut.Service/M": codes.Unavailable, "/denied.Service/M": codes.PermissionDenied,
		"/who.Service/M": codes.Unauthenticated} {
		wantCode(t, invoke(t, conn, method), want)
	}
}

func TestPathsAreNormalisedBeforeMatching(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{
		routes: []string{
			route("path: /secret/*", `allow: ["spiffe://cluster.local/nobody"], backend: web`),
			route("path: /*", "backend: web")},
		backends: []string{http1("web", web.Address)}})
	for _, row := range []struct{ target, upstream string }{ // upstream empty: refused as the secret
		{"/a/b", "/a/b"},
		{"/a/%62", "/a/b"},
		{"/a/%7Eb", "/a/~b"},
		{"/a/./b", "/a/b"},
		{"/a/x/../b", "/a/b"},
		{"/a/b?q=%2F..%2F", "/a/b?q=%2F..%2F"},
		{"/a%20b", "/a%20b"},
		{"/secret/x", ""},
		{"/%73ecret/x", ""},
		{"/./secret/x", ""},
		{"/a/../secret/x", ""},
		{"/a/b/../../secret/x", ""},
		{"https://gateway.test/secret/x", ""},
	} {
		t.Run(row.target, func(t *testing.T) {
			got := g.rawGet(t, row.target)
			if row.upstream == "" {
				wantRefusal(t, got, http.StatusForbidden, "route_not_allowed")
			} else if seen := got.echo(t); seen.Target != row.upstream {
				t.Errorf("backend was asked for %q, want %q", seen.Target, row.upstream)
			}
		})
	}
	t.Run("merged or kept slashes never reach the secret", func(t *testing.T) {
		for _, target := range []string{"//secret/x", "/a/..//secret/x", "/secret//x", "/secret;a=b/x", "/secret/../secret/x"} {
			if got := g.rawGet(t, target); got.status == http.StatusOK && strings.HasPrefix(collapsed(got.echo(t).Target), "/secret/") {
				t.Errorf("%s reached the backend as %s", target, got.echo(t).Target)
			}
		}
	})
}

// collapsed is a path as a careless backend reads it.
func collapsed(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

func (g *gateway) rawGet(t *testing.T, target string) reply {
	t.Helper()
	w := g.wire(t, common().web)
	w.say("GET " + target + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	return w.hear("GET")
}

func TestPathsThatCannotBeNormalisedAreRefused(t *testing.T) {
	t.Parallel()
	g, _, web := guarded(t, setup{})
	for _, target := range []string{"/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb", "/a%00b", `/a\b`, "/%2e%2e/a",
		"/a/%2E%2E/b", "/a/.%2e/b", "/a/%2e/b", "/../a", "/a/../../b", "/..", "/a/../..", "/a%", "/a%2", "/a%zz", "/%"} {
		t.Run(target, func(t *testing.T) {
			wantRefusal(t, g.rawGet(t, target), http.StatusBadRequest, "malformed_request")
		})
	}
	if n := web.Wire.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the backend", n)
	}
}
