package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"tollgate/tests/harness"
)

// Where one thing a route does meets another.

func TestCopiesAreWholeWhereTheBodyCameBeforeTheVerdict(t *testing.T) {
	t.Parallel()
	redis, main, copies := harness.StartRedis(t, harness.RedisSetup{}), httpBackend(t), httpBackend(t)
	g := start(t, setup{top: []string{store(redis.Address)},
		routes: []string{route("path: /*", "backend: main, mirror: {backend: copies}, "+
			"rate_limits: [{rate: 1/h, burst: 20, store: redis, on_failure: deny}]")},
		backends: []string{http1("main", main.Address), http1("copies", copies.Address)}})
	g.awaitConnections(t, 2)
	redis.Pause()
	var group sync.WaitGroup
	body := pattern(20 << 10)
	for _, protocol := range []string{"h1", "h2"} {
		for _, stated := range []bool{true, false} {
			r, told := upload("/echo", body, stated)
			group.Go(func() {
				if seen := g.client(t, protocol, common().web).do(r).echo(t).Body; !bytes.Equal(seen, body) {
					t.Errorf("%s: %d bytes arrived, or others", protocol, len(seen))
				}
			})
			told.await(t)
		}
	}
	g.awaitRequests(t, 4)
	redis.Resume()
	group.Wait()
	g.mirrored(t, "answered", 4)
	for _, call := range copies.Journal.Calls("") {
		if !call.BodyComplete || call.ReceivedBytes != len(body) {
			t.Errorf("a copy has %d bytes, complete: %v", call.ReceivedBytes, call.BodyComplete)
		}
	}
}

func TestARouteOfSeveralBackendsShedsForTheOneThatIsFull(t *testing.T) {
	t.Parallel()
	full, free := httpBackend(t), httpBackend(t)
	g := start(t, setup{workers: 1,
		routes: []string{route("path: /sleep", "backend: web"),
			route("path: /*", "backends: [{name: web, weight: 1}, {name: free, weight: 1}], rate_limits: [{rate: 1/h, burst: 60}]")},
		backends: []string{narrow(http1("web", full.Address), "{limit: 1}"), http1("free", free.Address)}})
	client := g.client(t, "h2", common().web)
	leave := g.occupy(t, client, 0)
	found := client.ask(100, "/x")
	shed := g.metric(t, `tollgate_upstream_shed_total{backend="web",priority="normal"}`)
	if found[http.StatusServiceUnavailable] != int(shed) || shed < 10 {
		t.Errorf("answers %v, and %v were shed", found, shed)
	}
	if passed := found[http.StatusOK]; passed != free.Journal.Count("") || passed > 60 {
		t.Errorf("answers %v, and %d calls at the backend with room", found, free.Journal.Count(""))
	}
	leave()
	g.waitUnderWay(t, "web", 0)
}

func TestSharedLimitsOfARouteThatAnswersByItself(t *testing.T) {
	t.Parallel()
	redis, web := harness.StartRedis(t, harness.RedisSetup{}), httpBackend(t)
	const limits = "call_limits: [{calls: 2}], rate_limits: [{rate: 1/h, burst: 3, store: redis, on_failure: deny}, {rate: 1/h, burst: 2, shadow: true}]"
	g := start(t, setup{top: []string{store(redis.Address)}, listener: []string{"rate_limit_headers: standard"},
		routes: []string{route("path: /own", "respond: {status: 200}, "+limits),
			route("path: /away", "redirect: {status: 307, host: elsewhere.test}, "+limits),
			route("path: /*", "backend: web, "+limits)},
		backends: []string{narrow(http1("web", web.Address), "{limit: 5}")}})
	g.awaitConnections(t, 2)
	for path, status := range map[string]int{"/own": 200, "/away": 307, "/x": 200} {
		for _, protocol := range []string{"h1", "h2"} {
			client := g.client(t, protocol, common().web)
			for left := 2; left >= 0 && protocol == "h1"; left-- {
				answer := client.get(path)
				wantStatus(t, answer, status)
				if got, want := answer.header.Get("RateLimit"), fmt.Sprintf(`"limit-0";r=%d;t=3600`, left); got != want {
					t.Errorf("%s: told is %q, want %q", path, got, want)
				}
			}
			wantRefusal(t, client.get(path), http.StatusTooManyRequests, "rate_limited")
		}
	}
	g.wantShadows(t, 3, func(r *auditRecord) bool { return r.MatchedRule == "rate_limits[1]" && *r.Authorized })
}
