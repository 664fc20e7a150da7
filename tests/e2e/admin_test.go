package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var seriesName = regexp.MustCompile(`^\w+`)

func TestMetricsTellAKnownStory(t *testing.T) {
	t.Parallel()
	users, back := grpcBackend(t), httpBackend(t)
	g := start(t, setup{
		routes: []string{
			route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 3, per: [identity]}]"),
			route("path: /status/*", "backend: web"),
			route("path: /healthz", "respond: {status: 204}")},
		backends: []string{h2("users", users.Address), http1("web", back.Address)}})
	conn := g.rpc(t, common().web)
	wantPasses(t, "Login", passes(t, conn, 8, login), 3)
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		for range 4 {
			wantStatus(t, c.get("/status/418"), http.StatusTeapot)
			wantStatus(t, c.get("/healthz"), http.StatusNoContent)
		}
		wantStatus(t, c.get("/nowhere"), http.StatusNotFound)
	}
	for range 2 {
		_ = g.try(t, versions["TLS1.3"], "h1", nil)
	}
	story := map[string]float64{
		`tollgate_rejections_total{listener="edge",reason="rate_limited"}`:                                              5,
		`tollgate_rejections_total{listener="edge",reason="no_route"}`:                                                  2,
		`tollgate_rejections_total{listener="edge",reason="certificate_missing"}`:                                       2,
		`tollgate_tls_handshakes_total{listener="edge",result="ok"}`:                                                    3,
		`tollgate_tls_handshakes_total{listener="edge",result="certificate_missing"}`:                                   2,
		`tollgate_rate_limit_decisions_total{route="user.UserService/Login",limit="rate_limits[0]",decision="allowed"}`: 3,
		`tollgate_rate_limit_decisions_total{route="user.UserService/Login",limit="rate_limits[0]",decision="refused"}`: 5,
		`tollgate_requests_total{listener="edge",route="user.UserService/Login",protocol="grpc",code="0"}`:              3,
		`tollgate_requests_total{listener="edge",route="user.UserService/Login",protocol="grpc",code="8"}`:              5,
		`tollgate_requests_total{listener="edge",route="/status/*",protocol="http1",code="418"}`:                        4,
		`tollgate_requests_total{listener="edge",route="/status/*",protocol="http2",code="418"}`:                        4,
		`tollgate_requests_total{listener="edge",route="/healthz",protocol="http2",code="204"}`:                         4,
		fmt.Sprintf(`tollgate_upstream_requests_total{backend="web",endpoint="%s",code="418"}`, back.Address):           8,
		fmt.Sprintf(`tollgate_upstream_requests_total{backend="users",endpoint="%s",code="200"}`, users.Address):        3,
		`tollgate_request_duration_seconds_count{route="/status/*"}`:                                                    8,
		`tollgate_upstream_duration_seconds_count{backend="web"}`:                                                       8,
		`tollgate_audit_records_total`: 9,
		reloadSuccess:                  1,
	}
	for series, want := range story {
		t.Run(seriesName.FindString(series), func(t *testing.T) {
			got := 0.0
			defer func() {
				if t.Failed() {
					_, text := g.adminGet("/metrics")
					t.Logf("%v, want %v of %s in\n%s", got, want, series, text)
				}
			}()
			waitFor(t, "number", 2*time.Second, func() bool { got = g.metric(t, series); return got == want })
		})
	}
	_ = conn.Close()
}

func TestAdminShowsWhatIsInForce(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 4, per: [identity]}")
	wantPasses(t, "Login", passes(t, g.rpc(t, common().web), 6, login), 4)
	for path, wanted := range map[string][]string{
		"/config":       {"tollgate/v1", "user.UserService/Login", "burst: 4", "spiffe://cluster.local/*"},
		"/certificates": {"CN=gateway.test", "tollgate test root", "days_left", leafOf(common().gateway).NotAfter.Format("2006-01-02")},
		"/limits":       {`"burst":4`, `"granted":4`, `"refused":2`},
		"/":             {"<html", "tollgate"},
	} {
		t.Run(path, func(t *testing.T) {
			status, text := g.adminGet(path)
			if status != http.StatusOK {
				t.Fatalf("%d: %s", status, text)
			}
			for _, want := range wanted {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			if strings.Contains(text, "PRIVATE KEY") {
				t.Error("a private key is shown")
			}
		})
	}
	for _, path := range []string{"/certificates", "/limits"} {
		_, text := g.adminGet(path)
		if !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON:\n%s", path, text)
		}
	}
	for _, path := range []string{"/reload", "/drain"} {
		if status, _ := g.adminGet(path); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, status)
		}
	}
}

func TestDrainByAdmin(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	if status, text := g.post(t, "/drain"); status/100 != 2 {
		t.Fatalf("%d: %s", status, text)
	}
	g.told = true
	if code := g.exitCode(5 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestUnixSockets(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	back := must(net.Listen("unix", filepath.Join(dir, "backend")))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Header.Get("X-Forwarded-Client-Cert"))
	})}
	go func() { _ = server.Serve(back) }()
	t.Cleanup(func() { _ = server.Close() })
	g := start(t, setup{socket: "unix:" + filepath.Join(dir, "edge"), routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", "unix:"+filepath.Join(dir, "backend"))}})
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		c.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "edge"))
		}
		for range 5 {
			got := c.get("/x")
			wantStatus(t, got, http.StatusOK)
			if !strings.Contains(got.body, "URI="+webID) {
				t.Errorf("%s: identity header %q", protocol, got.body)
			}
		}
		wantRefusal(t, c.get("/%2F"), http.StatusBadRequest, "malformed_request")
	}
	g.countAudit(t, 2, because("malformed_request"))
}

// shortDir is a directory whose name leaves room in the address of a unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("", "t"))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
