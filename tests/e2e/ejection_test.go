package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Endpoints that fail get no requests for a while. One worker, so that what is counted is exact.

// A fickle endpoint answers its own address, or as it is told.
type fickle struct {
	*backend.Scripted
	mood atomic.Pointer[string]
}

func fickleEndpoint(t *testing.T) *fickle {
	t.Helper()
	f := &fickle{}
	f.be("")
	started := make(chan struct{})
	f.Scripted = scripted(t, func(p *backend.Peer) {
		<-started
		for p.Request() != nil {
			switch mood := *f.mood.Load(); mood {
			case "":
				p.Answer(f.Address)
			case "reset":
				p.Reset()
				return
			case "garbage":
				p.Say("this is not HTTP\r\n\r\n")
				return
			case "silent":
				p.Hang()
			default:
				p.Say("HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", mood)
			}
		}
	})
	close(started)
	return f
}

func (f *fickle) be(mood string) { f.mood.Store(&mood) }

func fickles(t *testing.T, n int) (all []*fickle, addresses []string) {
	t.Helper()
	for range n {
		f := fickleEndpoint(t)
		all, addresses = append(all, f), append(addresses, f.Address)
	}
	return all, addresses
}

// healthy tells how many workers send requests to the endpoint; -1 before any has begun.
func (g *gateway) healthy(t *testing.T, endpoint string) int {
	t.Helper()
	series := fmt.Sprintf("tollgate_upstream_endpoint_healthy{backend=%q,endpoint=%q}", "web", endpoint)
	if _, text := g.adminGet("/metrics"); !strings.Contains(text, series) {
		return -1
	}
	return int(g.metric(t, series))
}

func (g *gateway) ejections(t *testing.T, endpoint string) int {
	t.Helper()
	return int(g.metric(t, fmt.Sprintf("tollgate_upstream_ejections_total{backend=%q,endpoint=%q}", "web", endpoint)))
}

// failures asks until all endpoints had so many turns, and counts the answers that were none.
func failures(c *client, times int) (failed int) {
	for range times {
		if c.get("/x").status != 200 {
			failed++
		}
	}
	return failed
}

func TestFailingEndpointIsEjectedAndComesBack(t *testing.T) {
	t.Parallel()
	for _, mood := range []string{"502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout", "garbage", "reset"} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			all, addresses := fickles(t, 2)
			base := slow(1500 * time.Millisecond).Milliseconds()
			g := balanced(t, setup{workers: 1}, addresses, fmt.Sprintf("ejection: {failures: 3, base: %dms}", base))
			c := g.client(t, "h1", common().web)
			all[0].be(mood)
			before := all[0].Requests.Load()
			if failed := failures(c, 40); failed != 3 {
				t.Errorf("%d of 40 requests failed, want 3", failed)
			}
			if asked := all[0].Requests.Load() - before; asked != 3 {
				t.Errorf("the failing endpoint was asked %d times, want 3", asked)
			}
			if out, in := g.healthy(t, addresses[0]), g.healthy(t, addresses[1]); out != 0 || in != 1 || g.ejections(t, addresses[0]) != 1 {
				t.Errorf("healthy: %d and %d", out, in)
			}
			all[0].be("")
			waitFor(t, "the endpoint to be back", patience, func() bool { return c.get("/x").body == addresses[0] })
			if g.healthy(t, addresses[0]) != 1 {
				t.Error("it is back and not healthy")
			}
			out, back := g.saying(t, "endpoint ejected"), g.saying(t, "endpoint is back")
			if len(out) != 1 || len(back) != 1 || out[0]["endpoint"] != addresses[0] || out[0]["failures"] != "3" || out[0]["for_ms"] != fmt.Sprint(base) {
				t.Errorf("log: %v, %v", out, back)
			}
		})
	}
}

// What is no fault of the endpoint's does not count, however often.
func TestOrdinaryErrorsEjectNobody(t *testing.T) {
	t.Parallel()
	all, addresses := fickles(t, 2)
	g := balanced(t, setup{workers: 1}, addresses, "ejection: {failures: 2}")
	c := g.client(t, "h1", common().web)
	for _, mood := range []string{"500 Internal Server Error", "404 Not Found", "429 Too Many Requests"} {
		all[0].be(mood)
		if failed := failures(c, 20); failed != 10 {
			t.Errorf("%s: %d of 20 failed, want 10", mood, failed)
		}
	}
	// Nor do failures with successes between them.
	for i := range 20 {
		all[0].be([]string{"503 Service Unavailable", ""}[i%2])
		failures(c, 2)
	}
	if g.ejections(t, addresses[0]) != 0 {
		t.Error("it was ejected")
	}
}

// A caller's own deadline, however short, ejects nobody; the route's does.
func TestCallersDeadlinesEjectNobody(t *testing.T) {
	t.Parallel()
	silent, good := scripted(t, backend.Silent), grpcBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route("grpc: user.UserService/Login", "backend: web"),
		route("grpc: user.UserService/*", "backend: web, timeout: 100ms")},
		backends: []string{fmt.Sprintf("{name: web, protocol: h2, endpoints: [%q, %q], ejection: {failures: 2}}", silent.Address, good.Address)}})
	conn := g.rpc(t, common().web)
	impatient := g.client(t, "h2", common().web)
	for range 10 {
		answer := impatient.do(request("POST", login, "\x00\x00\x00\x00\x00",
			"Content-Type", "application/grpc", "Te", "trailers", "Grpc-Timeout", "30m"))
		if status := answer.header.Get("Grpc-Status"); status != "0" && status != "4" && status != "" {
			t.Fatalf("status %s", status)
		}
	}
	if n := g.ejections(t, silent.Address); n != 0 {
		t.Fatal("callers had it ejected")
	}
	waitFor(t, "the route's timeout to eject it", patience, func() bool {
		_, _ = backend.Invoke(within(t, patience), conn, "/user.UserService/GetUser", nil)
		return g.ejections(t, silent.Address) == 1
	})
}

func TestUnavailableIsAFailureOfGRPC(t *testing.T) {
	t.Parallel()
	one, two := grpcBackend(t), grpcBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route("grpc: user.UserService/*", "backend: web")},
		backends: []string{fmt.Sprintf("{name: web, protocol: h2, endpoints: [%q, %q], ejection: {failures: 2, most: 100}}", one.Address, two.Address)}})
	conn := g.rpc(t, common().web)
	for _, ordinary := range []string{"5", "13", "8"} {
		for range 10 {
			_, _ = backend.Invoke(ordering(within(t, patience), backend.DoFail, ordinary), conn, login, nil)
		}
	}
	if n := g.ejections(t, one.Address) + g.ejections(t, two.Address); n != 0 {
		t.Fatalf("%d ejected for what callers asked", n)
	}
	for range 10 {
		_, err := backend.Invoke(ordering(within(t, patience), backend.DoFail, "14"), conn, login, nil)
		wantCode(t, err, codes.Unavailable)
	}
	// Of two that always fail one is left: the last is never ejected.
	if n := g.ejections(t, one.Address) + g.ejections(t, two.Address); n != 1 {
		t.Errorf("%d ejected, want 1", n)
	}
}

// Once ejected, the dead endpoint costs no request anything: no second try, no wait.
func TestDeadEndpointCostsNoRequestOnceEjected(t *testing.T) {
	t.Parallel()
	_, addresses := fickles(t, 2)
	dead := freeAddress(t)
	g := balanced(t, setup{workers: 1, top: []string{accessLog}}, append(addresses, dead), "ejection: {failures: 3}")
	c := g.client(t, "h2", common().web)
	retries := 0
	for i := range 40 {
		path := fmt.Sprintf("/%d", i)
		wantStatus(t, c.get(path), 200)
		retries += int(g.accessOf(t, path).number("retries"))
	}
	if retries != 3 {
		t.Errorf("%d requests were tried twice, want 3", retries)
	}
}

func TestAtMostTheShareIsEjected(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{1: 1, 50: 2, 75: 3, 100: 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			all, addresses := fickles(t, 4)
			g := balanced(t, setup{workers: 1}, addresses, fmt.Sprintf("ejection: {failures: 1, most: %d}", most))
			for _, f := range all {
				f.be("503 Service Unavailable")
			}
			failures(g.client(t, "h1", common().web), 40)
			out := 0
			for _, address := range addresses {
				out += 1 - g.healthy(t, address)
			}
			if out != want {
				t.Errorf("%d of 4 are out, want %d", out, want)
			}
		})
	}
}

// What is known of an endpoint outlives a reload, and the reload of the reload; what the next configuration
// no longer names is forgotten.
func TestEjectionOutlivesReloads(t *testing.T) {
	t.Parallel()
	all, addresses := fickles(t, 3)
	g := balanced(t, setup{workers: 1}, addresses[:2], "ejection: {failures: 2, base: 1h, most: 50}")
	all[0].be("503 Service Unavailable")
	failures(g.client(t, "h1", common().web), 10)
	before := all[0].Requests.Load()
	for round := range 3 {
		g.rewrite(t, fmt.Sprintf("most: %d", 50+round), fmt.Sprintf("most: %d", 51+round))
		g.reload(t)
	}
	g.rewrite(t, quoted(addresses[:2]), quoted(addresses))
	g.reload(t)
	c := g.client(t, "h1", common().web)
	waitFor(t, "the third endpoint to be asked", patience, func() bool { return c.get("/x").body == addresses[2] })
	if failed := failures(c, 20); failed != 0 || all[0].Requests.Load() != before {
		t.Errorf("%d failed: the ejected endpoint was asked %d times", failed, all[0].Requests.Load()-before)
	}
	g.rewrite(t, quoted(addresses), quoted(addresses[1:]))
	g.reload(t)
	waitFor(t, "the first to be forgotten", patience, func() bool { return !strings.Contains(fmt.Sprint(g.series(t)), addresses[0]) })
}

// Without the key nobody is out any more.
func TestEjectionEndsWithItsKey(t *testing.T) {
	t.Parallel()
	all, addresses := fickles(t, 2)
	g := balanced(t, setup{workers: 1}, addresses, "ejection: {failures: 1, base: 1h}")
	all[0].be("503 Service Unavailable")
	failures(g.client(t, "h1", common().web), 4)
	g.waitHealthy(t, addresses[0], 0)
	all[0].be("")
	g.rewrite(t, ", ejection: {failures: 1, base: 1h}", "")
	g.reload(t)
	g.waitHealthy(t, addresses[0], 1)
	c := g.client(t, "h1", common().web)
	waitFor(t, "its share", patience, func() bool { return spread(t, c, 10)[addresses[0]] == 5 })
}

// So does one that a reload took out and brings back, though a call was under way there all the time.
func TestEndpointThatComesBackStartsSlowly(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 2, opening{})
	g := start(t, setup{workers: 1, routes: []string{route("path: /*", "backend: web")},
		backends: []string{"{name: web, endpoints: [" + quoted(b.addresses()) + "], slow_start: 1h}"}})
	c := g.client(t, "h2", common().web)
	kept := b.keep(t, c, "/kept")
	own := b.last(t).house
	b.mutex.Lock()
	b.open = true // for whoever comes from now on
	b.mutex.Unlock()
	both, alone := quoted(b.addresses()), slices.DeleteFunc(b.addresses(), func(address string) bool { return address == own.address })
	g.rewrite(t, both, quoted(alone))
	g.reload(t)
	wantStatus(t, c.get("/meanwhile"), http.StatusOK)
	g.rewrite(t, quoted(alone), both)
	g.reload(t)
	came := 0
	for range 40 {
		wantStatus(t, c.get("/x"), http.StatusOK)
		if b.last(t).house == own {
			came++
		}
	}
	if came < 1 || came > 10 {
		t.Errorf("%d of 40 calls came to it, want few", came)
	}
	b.releaseAll()
	wantAnswers(t, http.StatusOK, kept)
}

// After its return an endpoint gets a part of its share at first, and all of it in the end.
func TestReturnedEndpointStartsSlowly(t *testing.T) {
	t.Parallel()
	all, addresses := fickles(t, 2)
	g := balanced(t, setup{workers: 1}, addresses, "ejection: {failures: 1, base: 100ms}, slow_start: 3s")
	c := g.client(t, "h1", common().web)
	all[0].be("503 Service Unavailable")
	failures(c, 4)
	all[0].be("")
	waitFor(t, "the endpoint to be back", patience, func() bool { return g.healthy(t, addresses[0]) == 1 })
	began := time.Now()
	first := spread(t, c, 30)[addresses[0]]
	if took := time.Since(began); took < 600*time.Millisecond && (first < 1 || first > 9) {
		t.Errorf("%d of the first 30, want few", first)
	}
	waitFor(t, "its whole share", patience, func() bool { return spread(t, c, 20)[addresses[0]] == 10 })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it had its whole share after %v", took)
	}
}
