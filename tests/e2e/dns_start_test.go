package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A gateway that starts while names of its backends cannot be resolved serves all else.

// unresolved is a gateway of two backends: `web` has these endpoints, and `well` one that answers.
func unresolved(t *testing.T, names *nameServer, web string) *gateway {
	t.Helper()
	return start(t, setup{top: []string{names.asks("min_ttl: 100ms"), accessLog}, workers: 1,
		routes:   []string{route("path: /well", "backend: well"), route("path: /*", "backend: web")},
		backends: []string{web, http1("well", newTeam(t, tellsHost, "127.0.0.9").endpoint("127.0.0.9"))}})
}

func (g *gateway) wantUnreachable(t *testing.T, c *client) {
	t.Helper()
	if got := c.get("/x"); got.status != http.StatusServiceUnavailable || got.problem("reason") != "connect_failed" {
		t.Errorf("%d %v %s", got.status, got.err, got.body)
	}
	if got := c.get("/well"); got.body != "127.0.0.9" {
		t.Errorf("the other backend: %d %v %s", got.status, got.err, got.body)
	}
}

func TestANameWithoutAddressHoldsUpNoStart(t *testing.T) {
	t.Parallel()
	for what, play := range map[string]play{"NXDOMAIN": errs(dnsmessage.RCodeNameError), "SERVFAIL": errs(dnsmessage.RCodeServerFailure), "silence": saysNothing} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
			names.set(usersName, records{play: play})
			endpoint := web.endpoint(usersName)
			g := unresolved(t, names, http1("web", endpoint))
			g.wantSaid(`msg="endpoint has no address yet" backend=web endpoint=` + endpoint)
			g.eventually(t, "name cannot be resolved, it has no address yet", "name", usersName)
			for _, protocol := range []string{"h1", "h2"} {
				g.wantUnreachable(t, g.client(t, protocol, common().web))
			}
			if g.healthy(t, endpoint) != 0 {
				t.Error("what has no address is said to be healthy")
			}
			// A reload of something else neither needs the name nor waits for it.
			g.rewrite(t, "path: /well", "path: /well/*")
			g.rewrite(t, "path: /well/*", "path: /well")
			g.reload(t)
			g.wantUnreachable(t, g.client(t, "h1", common().web))

			names.point(usersName, "127.0.0.2")
			g.awaitServed(t, "127.0.0.2")
			g.wantChange(t, usersName, "127.0.0.2")
			if g.healthy(t, endpoint) != 1 {
				t.Error("what has an address is not said to be healthy")
			}
		})
	}
}

// awaitServed waits until the backend answers by this host.
func (g *gateway) awaitServed(t *testing.T, host string) {
	t.Helper()
	c := g.client(t, "h2", common().web)
	waitFor(t, "an answer of "+host, patience, func() bool { return c.get("/x").body == host })
}

// Where the backend has other endpoints, or other names, calls go there and to no other first.
func TestANameWithoutAddressGetsNoCalls(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", ", balance: least_requests", ", balance: hash, hash_by: identity", ", circuit_breaker: {connections: 1}",
		", health_check: {tcp: true, interval: 100ms, timeout: 100ms}", ", ejection: {failures: 1}"} {
		t.Run(more, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
			names.point("known.test", "127.0.0.2")
			endpoints := []string{web.endpoint(usersName), web.endpoint("known.test"), web.endpoint("absent.test")}
			g := unresolved(t, names, fmt.Sprintf("{name: web, endpoints: [%s]%s}", quoted(endpoints), more))
			c := g.client(t, "h1", common().web)
			for i := range 12 {
				path := fmt.Sprint("/", i)
				if got := c.get(path); got.body != "127.0.0.2" {
					t.Errorf("call %d: %d %v %s", i, got.status, got.err, got.body)
				}
				if n := g.accessOf(t, path).number("retries"); n != 0 {
					t.Errorf("call %d had %v attempts more", i, n)
				}
			}
			names.point("known.test", "127.0.0.3")
			g.awaitServed(t, "127.0.0.3")
			names.point(usersName, "127.0.0.2")
			g.wantChange(t, usersName, "127.0.0.2")
			waitFor(t, "the name's endpoint to be in", patience, func() bool { return g.healthy(t, endpoints[0]) == 1 })
		})
	}
}

// What leads nowhere takes no place under a ceiling: nobody waits for it or is told that there is no room.
func TestANameWithoutAddressIsNotOverloaded(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := unresolved(t, startNameServer(t), "{name: web, protocol: "+protocol+", endpoints: ['absent.test:1'], circuit_breaker: {connections: 1, pending: 1}}")
			c := g.client(t, "h2", common().web)
			wantStatus(t, c.get("/well"), http.StatusOK)
			got := make(chan reply)
			const calls = 20
			for range calls {
				go func() { got <- c.get("/x") }()
			}
			for range calls {
				if one := <-got; one.status != http.StatusServiceUnavailable || one.problem("reason") != "connect_failed" {
					t.Errorf("%d %v %s", one.status, one.err, one.body)
				}
			}
			g.countAudit(t, 0, because("overloaded"))
		})
	}
}

// Nor where those that have an address are all unwell, so that they are asked nevertheless: the first attempt goes there.
func TestANameWithoutAddressGetsNoCallsOfThoseForTheUnwell(t *testing.T) {
	t.Parallel()
	names, sick := startNameServer(t), newPatient(t)
	sick.feel("500 Internal Server Error")
	absent := []string{"a.test:1", "b.test:1", "c.test:1", "d.test:1", "e.test:1", "f.test:1"}
	g := start(t, setup{top: []string{names.asks(""), accessLog}, workers: 1, routes: []string{route("path: /*", "backend: web")},
		backends: []string{fmt.Sprintf("{name: web, endpoints: [%s], health_check: {path: /healthz, %s}}", quoted(append(absent, sick.Address)), quickly)}})
	g.waitHealthy(t, sick.Address, 0)
	c := g.client(t, "h1", common().web)
	for i := range 14 {
		path := fmt.Sprint("/", i)
		if got := c.get(path); got.body != sick.Address {
			t.Errorf("call %d: %d %v %s", i, got.status, got.err, got.body)
		}
		if n := g.accessOf(t, path).number("retries"); n != 0 {
			t.Errorf("call %d had %v attempts more", i, n)
		}
	}
}

// A name that stands at several places is looked up for each as the gateway starts. DNS may come just between two of them:
// then all get the address with the next answer, and until there is one a reload takes it from nobody.
func TestANameIsAddressedWhereverItStandsOnceItHasAnAddress(t *testing.T) {
	t.Parallel()
	for what, other := range map[string]bool{"the same port": false, "another port": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var questions sync.Map // each once, however often it is sent
			var asked atomic.Int64
			var comes atomic.Bool
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
			names.set(usersName, records{addresses: []string{"127.0.0.2"}, play: func(a *inquiry) {
				nth, _ := questions.LoadOrStore(a.truth.ID, sync.OnceValue(func() int64 { return asked.Add(1) }))
				// For the first place there are two questions, of both families, and for the second one.
				if nth.(func() int64)() == 3 || comes.Load() {
					tells(a)
				} else {
					errs(dnsmessage.RCodeNameError)(a)
				}
			}})
			first := web.endpoint(usersName)
			if other {
				first = usersName + ":1"
			}
			g := start(t, setup{top: []string{names.asks("")}, workers: 1,
				routes:   []string{route("path: /first", "backend: web"), route("path: /*", "backend: second")},
				backends: []string{http1("web", first), http1("second", web.endpoint(usersName))}})
			g.wantSaid(`msg="endpoint has no address yet" backend=web endpoint=` + first)
			g.awaitServed(t, "127.0.0.2")
			g.rewrite(t, "path: /first", "path: /first/*")
			g.reload(t)
			g.awaitServed(t, "127.0.0.2")
			comes.Store(true)
			waitFor(t, "the first place to be in", patience, func() bool { return g.healthy(t, first) == 1 })
		})
	}
}

// Of DNS no more than some seconds' silence is waited for; who was not asked meanwhile is asked behind the start.
func TestSilenceOfDNSHoldsUpAStartForSeconds(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	var silent []string
	for i := range 20 {
		name := fmt.Sprintf("silent%d.test", i)
		names.silences(name)
		silent = append(silent, name+":1")
	}
	names.point(usersName, "127.0.0.2")
	g := launch(t, setup{top: []string{names.asks("")}, routes: []string{route("path: /mute", "backend: mute"), route("path: /*", "backend: web")},
		backends: []string{http1("mute", silent...), http1("web", web.endpoint(usersName))}})
	began := time.Now()
	if !g.becomesReady() {
		t.Fatal(g.stderr)
	}
	if took := time.Since(began); took > slow(9*time.Second) {
		t.Errorf("the start took %v", took)
	}
	g.awaitServed(t, "127.0.0.2")
}

func TestKindsOfBackendsStartWithoutAddress(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	users := newTeam(t, speaksGRPC, "127.0.0.2")
	g := start(t, setup{top: []string{names.asks("min_ttl: 100ms")}, workers: 2, files: theMesh().files(), routes: []string{
		route("path: /tls", "backend: tls"), route("path: /service", "backend: service"), route("path: /copied", "backend: well, mirror: {backend: service}"),
		route("path: /split", "backends: [{name: service, weight: 1}, {name: tls, weight: 1}]"), route("path: /tried", "backend: h2, retry: {tries: 3}"),
		route("grpc: test.Echo/*", "backend: grpc")},
		backends: []string{"{name: tls, endpoints: ['absent.test:1'], tls: {trusted_ca: servers.pem}}",
			http1("service", webService), http1("well", newTeam(t, tellsHost, "127.0.0.9").endpoint("127.0.0.9")),
			"{name: h2, protocol: h2, endpoints: ['absent.test:1', 'absent.test:2'], proxy_protocol: v2}",
			"{name: grpc, protocol: h2, endpoints: ['" + users.endpoint(usersName) + "'], concurrency: {}}"}})
	c := g.client(t, "h2", common().web)
	for _, path := range []string{"/tls", "/service", "/split", "/split", "/split", "/tried"} {
		if got := c.get(path); got.status != http.StatusServiceUnavailable || got.problem("reason") != "connect_failed" {
			t.Errorf("%s: %d %v %s", path, got.status, got.err, got.body)
		}
	}
	if got := c.get("/copied"); got.body != "127.0.0.9" {
		t.Errorf("a call that is copied: %d %v %s", got.status, got.err, got.body)
	}
	names.point(usersName, "127.0.0.2")
	g.wantChange(t, usersName, "127.0.0.2")
	g.endsWell()
}

// What would serve with fewer addresses than the one before it does not take its place.
func TestAnUpgradeTakesNoPlaceWithoutItsAddresses(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.point(usersName, "127.0.0.2")
	g := start(t, setup{top: []string{names.asks("min_ttl: 100ms")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", web.endpoint(usersName))}})
	names.set(usersName, records{play: errs(dnsmessage.RCodeServerFailure)})
	g.signal(syscall.SIGUSR2)
	waitFor(t, "the failure to be told", patience, func() bool {
		said := g.stderr.String()
		return strings.Contains(said, `msg="upgrade failed, this gateway goes on" error="the new one cannot resolve names that this one could"`) &&
			strings.Contains(said, `msg="endpoint has no address yet" backend=web endpoint=`+web.endpoint(usersName))
	})
	g.awaitServed(t, "127.0.0.2")
}

// What nobody had addresses of is no reason to keep the old one.
func TestAnUpgradeNeedsNoAddressesThatWereNeverThere(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := replaceable(t, setup{top: []string{names.asks("min_ttl: 100ms")}, routes: []string{route("path: /absent", "backend: absent"), route("path: /*", "backend: web")},
		backends: []string{http1("absent", "absent.test:1", "absent.test:2"), http1("web", web.endpoint(usersName))}})
	g.awaitServed(t, "127.0.0.2")
	g.upgrade(t, g.command.Process.Pid)
	g.awaitServed(t, "127.0.0.2")
	names.point(usersName, "127.0.0.3")
	g.awaitServed(t, "127.0.0.3")
}

// What a start forgives `check` does not, nor a reload of a name that is new to the gateway; and a server of limits has to
// have an address.
func TestOnlyAStartForgivesNamesWithoutAddress(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	g := unresolved(t, names, http1("web", web.endpoint(usersName)))
	if output, code := tollgate(t, "check", "--config", g.config); code != 2 || !strings.Contains(output, "found '"+web.endpoint(usersName)+"', whose name cannot be resolved") {
		t.Errorf("check: exit %d: %s", code, output)
	}
	g.rewrite(t, web.endpoint(usersName), web.endpoint("absent.test"))
	if status, said := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(said, "found 'absent.test:") {
		t.Errorf("POST /reload: %d %s", status, said)
	}
	s := setup{top: []string{names.asks(""), "redis: {address: 'absent.test:1'}"}, routes: []string{route("path: /*", "backend: web, rate_limits: [{rate: 1/s, store: redis}]")},
		backends: []string{http1("web", web.endpoint(usersName))}}
	output, code := tollgate(t, "run", "--config", s.write(t, t.TempDir(), freeAddress(t), freeAddress(t)))
	if code != 2 || !strings.Contains(output, "redis.address: found 'absent.test:1', whose name cannot be resolved") || strings.Contains(output, usersName) {
		t.Errorf("run, which does not mind the backend's name: exit %d: %s", code, output)
	}
}
