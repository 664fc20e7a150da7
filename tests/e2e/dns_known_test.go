package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tollgate/tests/harness"
)

// What a gateway knows of its names, and reloads, which need nobody to tell it again.

// silences has the server say nothing more of these names.
func (s *nameServer) silences(names ...string) {
	for _, name := range names {
		s.set(name, records{play: saysNothing})
	}
}

// While DNS is down one may still want to change a timeout: most of all then.
func TestAReloadNeedsNoDNSForNamesItKnows(t *testing.T) {
	t.Parallel()
	const others = 20
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	var endpoints, known []string
	for i := range others {
		name := fmt.Sprintf("other%d.test", i)
		known = append(known, name)
		names.point(name, "127.0.0.3")
		endpoints = append(endpoints, web.endpoint(name))
	}
	g := start(t, setup{top: []string{names.asks("min_ttl: 100ms")}, routes: []string{
		route("path: /others", "backend: others"), route("path: /*", "backend: web, timeout: 5s")},
		backends: []string{http1("others", endpoints...), http1("web", web.endpoint(usersName))}})
	names.silences(append(known, usersName)...)

	began := time.Now()
	g.rewrite(t, "timeout: 5s", "timeout: 6s")
	g.reload(t)
	g.awaitAnswers(t, "127.0.0.2")
	if took := time.Since(began); took > slow(2*time.Second) {
		t.Errorf("it took %v", took)
	}
	g.awaitLookups(t, "failed", 1)
	g.awaitAnswers(t, "127.0.0.2")

	// What nobody told it yet it has to ask, and changes nothing without.
	g.rewrite(t, web.endpoint("other0.test"), web.endpoint("absent.test"))
	if status, said := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(said, "found 'absent.test:") {
		t.Errorf("POST /reload: %d %s", status, said)
	}
	g.awaitAnswers(t, "127.0.0.2")
	names.point(usersName, "127.0.0.3")
	g.awaitAnswers(t, "127.0.0.3")
}

// Who reloads because an address is another one now does not wait until the old one has lived out its TTL.
func TestAReloadAsksAtOnceForNamesItKnows(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := start(t, setup{top: []string{names.asks("min_ttl: 50m, max_ttl: 50m")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", web.endpoint(usersName))}})
	g.awaitAnswers(t, "127.0.0.2")
	for _, next := range []string{"127.0.0.3", "127.0.0.2"} {
		names.point(usersName, next)
		g.reload(t)
		g.awaitAnswers(t, next)
	}
}

// Hundreds of names that are due together come a few at a time, as a name server's socket has room for no more.
func TestNamesAreAskedForAFewAtATime(t *testing.T) {
	t.Parallel()
	const many, room = 200, 32
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	var open, most, all atomic.Int64
	held := func(a *inquiry) {
		all.Add(1)
		if n := open.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.AfterFunc(20*time.Millisecond, func() {
			open.Add(-1)
			tells(a)
		})
	}
	var endpoints []string
	for i := range many {
		name := fmt.Sprintf("n%d.test", i)
		names.point(name, "127.0.0.2")
		endpoints = append(endpoints, web.endpoint(name))
	}
	g := start(t, setup{top: []string{names.asks("min_ttl: 50m, max_ttl: 50m")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", endpoints...)}})
	for i := range many {
		names.set(fmt.Sprintf("n%d.test", i), records{addresses: []string{"127.0.0.2"}, play: held})
	}
	before := g.lookups(t, "unchanged")
	g.reload(t)
	waitFor(t, "all to be asked for", patience, func() bool { return g.lookups(t, "unchanged") >= before+many })
	if all.Load() < many || most.Load() > room || most.Load() < room/2 {
		t.Errorf("%d questions, up to %d at once", all.Load(), most.Load())
	}
}

// The store of limits has a name too, which nobody looks up but a reload.
func TestAReloadThatCannotAskForItsRedisKeepsTheAddress(t *testing.T) {
	t.Parallel()
	names, redis := startNameServer(t), harness.StartRedis(t, harness.RedisSetup{TCP: true})
	_, port, _ := strings.Cut(redis.Address, ":")
	names.point("store.test", "127.0.0.1")
	g := threeWays(t, store("store.test:"+port), setup{top: []string{names.asks("")}})
	g.awaitConnections(t, 2)
	names.set("store.test", records{play: errs(dnsmessage.RCodeServerFailure)})
	g.reload(t)
	c := g.client(t, "h1", common().web)
	new(verdicts).ask(t, c, 8, "/deny/x").want(t, "after the reload", 6, 2, 0)
	g.awaitConnections(t, 2)
	g.rewrite(t, "store.test", "other.test")
	if status, said := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(said, "redis.address: found 'other.test:") {
		t.Errorf("POST /reload: %d %s", status, said)
	}
}
