package e2e

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Everything that threads share at the same time: four workers with calls of every kind and refusals of several,
// readers of every admin page, reloads of configuration, certificates and logs. Numbers come out exact all the same.
func TestThreadsShareWithoutLosingCount(t *testing.T) {
	t.Parallel()
	const burst = 40
	users, back := grpcBackend(t), httpBackend(t)
	g := start(t, setup{workers: 4, top: []string{"access_log: {path: access.jsonl}"}, routes: []string{
		route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 40, per: [identity]}]"),
		route("grpc: user.UserService/*", "backend: users"),
		route("path: /limited/*", `backend: web, rate_limits: [{rate: 1000/s, burst: 20, per: ["header:x-key"]}]`),
		route("path: /fine", `respond: {status: 200, body: "fine"}`),
		route("path: /*", "backend: web")},
		backends: []string{h2("users", users.Address), http1("web", back.Address)}})

	var over atomic.Bool
	var group sync.WaitGroup
	rounds := make([]*counter, 8) // so that no part starves unseen
	for i := range rounds {
		rounds[i] = &counter{}
	}
	repeat := func(part int, work func(round int)) {
		group.Go(func() {
			for round := 0; !over.Load(); round++ {
				work(round)
				rounds[part].add(1)
			}
		})
	}
	var passed, refused, forbidden counter
	for range 2 {
		repeat(0, func(int) {
			conn := g.rpc(t, common().web)
			for range 10 {
				switch code := status.Code(invoke(t, conn, login)); code {
				case codes.OK:
					passed.add(1)
				case codes.ResourceExhausted:
					refused.add(1)
				default:
					t.Errorf("Login: %v", code)
				}
			}
			_ = conn.Close()
		})
		repeat(1, func(int) { wantStatus(t, g.client(t, "h1", common().web).get("/echo"), http.StatusOK) })
	}
	repeat(2, func(int) { wantStatus(t, g.client(t, "h2", common().web).get("/fine"), http.StatusOK) })
	repeat(3, func(int) {
		wantStatus(t, g.client(t, "h2", nil).get("/fine"), http.StatusForbidden)
		forbidden.add(1)
	})
	keyed := g.client(t, "h2", common().web)
	repeat(4, func(round int) {
		got := keyed.get("/limited/x", "X-Key", string(rune('a'+round%26)))
		if !slices.Contains([]int{http.StatusOK, http.StatusNotFound, http.StatusTooManyRequests}, got.status) {
			t.Errorf("/limited/x: status %d, %v", got.status, got.err)
		}
	})
	pages := []string{"/", "/healthz", "/readyz", "/metrics", "/config", "/certificates", "/limits"}
	for part := range 2 {
		repeat(5+part, func(round int) {
			path := pages[round%len(pages)]
			if code, body := g.adminGet(path); code != http.StatusOK {
				t.Errorf("%s: status %d, %s", path, code, body)
			}
		})
	}
	repeat(7, func(round int) { // a renewed certificate, and the logs reopened
		renewed := common().root.server("gateway.test")
		writeFile(t, g.dir, "gateway.key", pemKey(renewed.PrivateKey))
		writeFile(t, g.dir, "gateway.pem", pemCertificates(renewed.Certificate...))
		if round%2 == 0 {
			g.reload(t)
		} else {
			g.signal(syscall.SIGHUP)
		}
	})
	waitFor(t, "every part to have had its turn", time.Minute, func() bool {
		return t.Failed() || !slices.ContainsFunc(rounds, func(c *counter) bool { return c.get() < 20 })
	})
	over.Store(true)
	group.Wait()

	wantPasses(t, "over all workers and reloads", passed.get(), burst)
	wantPasses(t, "at the backend", users.Journal.Count(login), burst)
	for series, want := range map[string]int{
		`tollgate_rejections_total{listener="edge",reason="certificate_missing"}`:                                       forbidden.get(),
		`tollgate_rate_limit_decisions_total{route="user.UserService/Login",limit="rate_limits[0]",decision="refused"}`: refused.get(),
	} {
		waitFor(t, series, 5*time.Second, func() bool { return g.metric(t, series) == float64(want) })
	}
	g.countAudit(t, forbidden.get(), because("certificate_missing"))
}
