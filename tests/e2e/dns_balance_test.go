package e2e

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"tollgate/tests/backend"
)

// Whose turn it is when a name has other addresses, and what is known of those that stay.

func TestEveryNewAddressOfANameHasItsWeight(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.9")
	names.point("heavy.test", "127.0.0.2")
	names.point("light.test", "127.0.0.5")
	g := resolving(t, setup{workers: 1}, names, "weights: [2, 3, 1]",
		web.endpoint("127.0.0.9"), web.endpoint("heavy.test"), web.endpoint("light.test"))
	c := g.client(t, "h2", common().web)
	for _, row := range []struct {
		heavy, light []string
		want         map[string]int
	}{
		{[]string{"127.0.0.2"}, []string{"127.0.0.5"}, map[string]int{"127.0.0.9": 20, "127.0.0.2": 30, "127.0.0.5": 10}},
		{[]string{"127.0.0.3", "127.0.0.4"}, []string{"127.0.0.5"},
			map[string]int{"127.0.0.9": 20, "127.0.0.3": 30, "127.0.0.4": 30, "127.0.0.5": 10}},
		{[]string{"127.0.0.4"}, []string{"127.0.0.2", "127.0.0.3", "127.0.0.5"},
			map[string]int{"127.0.0.9": 20, "127.0.0.4": 30, "127.0.0.2": 10, "127.0.0.3": 10, "127.0.0.5": 10}},
		// They change places.
		{[]string{"127.0.0.2"}, []string{"127.0.0.4"}, map[string]int{"127.0.0.9": 20, "127.0.0.2": 30, "127.0.0.4": 10}},
		{[]string{"127.0.0.4"}, []string{"127.0.0.2"}, map[string]int{"127.0.0.9": 20, "127.0.0.4": 30, "127.0.0.2": 10}},
	} {
		names.point("heavy.test", row.heavy...)
		names.point("light.test", row.light...)
		names.await(t, "heavy.test", 2)
		names.await(t, "light.test", 2)
		all := 0
		for _, n := range row.want {
			all += n
		}
		var counts map[string]int
		waitFor(t, fmt.Sprint("shares ", row.want), patience, func() bool {
			counts = spread(t, c, all)
			return fmt.Sprint(counts) == fmt.Sprint(row.want)
		})
	}
}

func TestCallersStayWhereTheyWereWhenANamesAddressesChange(t *testing.T) {
	t.Parallel()
	const users = 200
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
	names.point(usersName, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	g := resolving(t, setup{}, names, "balance: hash, hash_by: 'header:x-user'", web.endpoint(usersName))
	first := owners(t, byUser(t, g), users)
	g.change(t, names, usersName, "127.0.0.5", "127.0.0.4", "127.0.0.2")
	now, came := owners(t, byUser(t, g), users), 0
	if slices.Contains(now, "127.0.0.3") {
		t.Error("the address that left is called")
	}
	for i, owner := range now {
		if owner == "127.0.0.5" {
			came++
		}
		if owner == "127.0.0.5" || first[i] == "127.0.0.3" {
			first[i] = owner
		}
	}
	if n := moved(first, now); n > users/20 || came < users/8 || came > users/2 {
		t.Errorf("%d of %d callers are at the new address, %d moved between those that stay", came, users, n)
	}
	g.awaitLookups(t, "unchanged", 2)
	if n := moved(now, owners(t, byUser(t, g), users)); n != 0 {
		t.Errorf("%d callers moved without a reason", n)
	}
}

// A moody server tells its host, or that it is not well.
type moody struct {
	*backend.Scripted
	sick            atomic.Bool
	callers, checks atomic.Int64
}

func startMoody(address string) (*moody, error) {
	m := &moody{}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	m.Scripted, err = backend.StartScripted(address, func(p *backend.Peer) {
		for r := p.Request(); r != nil; r = p.Request() {
			if r.URL.Path == "/healthz" {
				m.checks.Add(1)
			} else {
				m.callers.Add(1)
			}
			if m.sick.Load() {
				p.Say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
			} else {
				p.Answer(host)
			}
		}
	})
	return m, err
}

func TestWhatIsKnownOfAddressesThatStayInANameIsKept(t *testing.T) {
	t.Parallel()
	for _, rest := range []string{"ejection: {failures: 2, base: 1h}", "health_check: {path: /healthz, interval: 2s, unhealthy: 1}"} {
		t.Run(rest, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, startMoody, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
			sick := web.at["127.0.0.2"]
			sick.sick.Store(true)
			names.point(usersName, "127.0.0.2", "127.0.0.3")
			g := resolving(t, setup{workers: 1}, names, rest, web.endpoint(usersName))
			c := g.client(t, "h1", common().web)
			waitFor(t, "the sick one to be left alone", patience, func() bool {
				_ = c.get("/x")
				return g.healthy(t, web.endpoint(usersName)) == 1
			})
			before := sick.callers.Load()
			for i, hosts := range [][]string{{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, {"127.0.0.2", "127.0.0.4"}, {"127.0.0.5", "127.0.0.4", "127.0.0.2"}} {
				names.point(usersName, hosts...)
				waitFor(t, "the change", patience, func() bool {
					wantStatus(t, c.get("/x"), http.StatusOK)
					return g.lookups(t, "changed") == i+1 && g.healthy(t, web.endpoint(usersName)) == len(hosts)-1
				})
				if counts := spread(t, c, 12); len(counts) != len(hosts)-1 {
					t.Errorf("%v answered, of %v", counts, hosts)
				}
			}
			if n := sick.callers.Load() - before; n != 0 {
				t.Errorf("the sick one was called %d times", n)
			}
		})
	}
}

// An address that left and is back is as good as any other.
func TestNothingIsKnownOfAnAddressThatIsBackInAName(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, startMoody, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2", "127.0.0.3")
	g := resolving(t, setup{workers: 1}, names, "ejection: {failures: 1, base: 1h}", web.endpoint(usersName))
	c := g.client(t, "h1", common().web)
	web.at["127.0.0.2"].sick.Store(true)
	failures(c, 4)
	g.waitHealthy(t, web.endpoint(usersName), 1)
	web.at["127.0.0.2"].sick.Store(false)
	g.change(t, names, usersName, "127.0.0.3")
	names.point(usersName, "127.0.0.2", "127.0.0.3")
	g.awaitAnswers(t, "127.0.0.2", "127.0.0.3")
}

func TestHealthIsAskedForAtTheAddressesThatANameHas(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, startMoody, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	web.at["127.0.0.4"].sick.Store(true)
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "health_check: {path: /healthz, "+quickly+"}", web.endpoint(usersName))
	waitFor(t, "checks of the first", patience, func() bool { return web.at["127.0.0.2"].checks.Load() > 2 })
	names.point(usersName, "127.0.0.3", "127.0.0.4")
	waitFor(t, "checks of the new ones", patience, func() bool {
		return web.at["127.0.0.3"].checks.Load() > 2 && web.at["127.0.0.4"].checks.Load() > 2
	})
	g.waitHealthy(t, web.endpoint(usersName), 1)
	g.awaitAnswers(t, "127.0.0.3")
	before, others := web.at["127.0.0.2"].checks.Load(), web.at["127.0.0.3"].checks.Load()
	waitFor(t, "more checks", patience, func() bool { return web.at["127.0.0.3"].checks.Load() > others+5 })
	if n := web.at["127.0.0.2"].checks.Load() - before; n != 0 {
		t.Errorf("%d checks of the one that left", n)
	}
	waitFor(t, "its connections to close", patience, func() bool { return web.at["127.0.0.2"].Wire.Open() == 0 })
}

// A limit of calls under way counts those of an address that left as long as they last.
func TestCallsUnderWayCountWhereANameHasLeft(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, speaksHTTP, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := start(t, setup{workers: 1, top: []string{names.asks("min_ttl: 100ms")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{narrow(http1("web", web.endpoint(usersName)), "{limit: 1}")}})
	c := g.client(t, "h1", common().web)
	got := make(chan reply, 1)
	held := g.client(t, "h1", common().web)
	go func() { got <- held.do(request("POST", "/slowread", "text")) }()
	waitFor(t, "the call to be there", patience, func() bool { return web.at["127.0.0.2"].Journal.Count("") == 1 })
	g.change(t, names, usersName, "127.0.0.3")
	wantRefusal(t, c.get("/x"), http.StatusServiceUnavailable, "overloaded")
	web.at["127.0.0.2"].Release()
	wantStatus(t, <-got, http.StatusOK)
	waitFor(t, "room for a call", patience, func() bool { return c.get("/x").status == http.StatusOK })
	if n := web.at["127.0.0.3"].Journal.Count(""); n != 1 {
		t.Errorf("%d calls at the new address", n)
	}
}

// A probe takes longer than the name of another backend keeps its addresses.
func TestHealthIsAskedForToTheEndWhileNamesChange(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	mute, well := scripted(t, backend.Silent), named(t)
	names.point(usersName, "127.0.0.2")
	g := start(t, setup{workers: 1, top: []string{names.asks("min_ttl: 100ms")},
		routes: []string{route("path: /other", "backend: other"), route("path: /*", "backend: web")},
		backends: []string{http1("web", web.endpoint(usersName)),
			fmt.Sprintf("{name: other, endpoints: [%q, %q], health_check: {path: /healthz, interval: 50ms, timeout: 1s, unhealthy: 2}}",
				mute.Address, well.Address)}})
	changes := 0
	waitFor(t, "the mute one to be told unhealthy", patience, func() bool {
		if g.lookups(t, "changed") == changes {
			names.point(usersName, []string{"127.0.0.3", "127.0.0.2"}[changes%2])
			changes++
		}
		return len(g.saying(t, "endpoint is unhealthy")) > 0
	})
	if said := g.saying(t, "endpoint is unhealthy"); said[0]["endpoint"] != mute.Address || changes < 3 {
		t.Errorf("after %d changes: %v", changes, said)
	}
}
