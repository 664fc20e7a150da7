package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tollgate/tests/backend"
)

// Which endpoint of a backend a request goes to.

// named is an endpoint that answers its own address, which nobody else takes once it is stopped.
func named(t *testing.T) *backend.Scripted {
	t.Helper()
	address := freeAddress(t)
	b := must(backend.StartScripted(address, func(p *backend.Peer) {
		for p.Request() != nil {
			p.Answer(address)
		}
	}))
	t.Cleanup(b.Stop)
	return b
}

func severalNamed(t *testing.T, n int) (all []*backend.Scripted, addresses []string) {
	t.Helper()
	for range n {
		b := named(t)
		all, addresses = append(all, b), append(addresses, b.Address)
	}
	return all, addresses
}

// balanced is a gateway with one backend of these endpoints, and the rest of what its configuration says of it.
func balanced(t *testing.T, s setup, addresses []string, rest string) *gateway {
	t.Helper()
	s.routes = []string{route("path: /*", "backend: web")}
	s.backends = []string{fmt.Sprintf("{name: web, endpoints: [%s], %s}", quoted(addresses), rest)}
	return start(t, s)
}

// spread asks so often and counts who answered.
func spread(t *testing.T, c *client, times int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range times {
		answer := c.get("/x")
		wantStatus(t, answer, 200)
		counts[answer.body]++
	}
	return counts
}

func TestEndpointsAreAskedByWeight(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string][]int{
		"balance: round_robin":                     {20, 20, 20},
		"weights: [4, 1, 1]":                       {40, 10, 10},
		"weights: [1, 2, 3], balance: round_robin": {10, 20, 30},
	} {
		t.Run(rest, func(t *testing.T) {
			t.Parallel()
			_, addresses := severalNamed(t, len(want))
			g := balanced(t, setup{workers: 1}, addresses, rest)
			counts := spread(t, g.client(t, "h1", common().web), 60)
			for i, address := range addresses {
				if counts[address] != want[i] {
					t.Errorf("endpoint %d answered %d of 60, want %d", i, counts[address], want[i])
				}
			}
		})
	}
}

func TestWeightsStandWithTheirEndpoints(t *testing.T) {
	t.Parallel()
	_, addresses := severalNamed(t, 3)
	g := start(t, setup{workers: 1, routes: []string{route("path: /*", "backend: web")}, backends: []string{fmt.Sprintf(
		"{name: web, endpoints: [%q, {address: %q, weight: 4}, {address: %q}]}", addresses[0], addresses[1], addresses[2])}})
	counts := spread(t, g.client(t, "h1", common().web), 60)
	for i, want := range []int{10, 40, 10} {
		if counts[addresses[i]] != want {
			t.Errorf("endpoint %d answered %d of 60, want %d", i, counts[addresses[i]], want)
		}
	}
}

// Requests that hang at one endpoint keep others away from it, with least_requests and not without.
func TestBusyEndpointIsSpared(t *testing.T) {
	t.Parallel()
	busy := scripted(t, func(p *backend.Peer) {
		p.Request()
		p.Hang()
	})
	free := named(t)
	g := balanced(t, setup{workers: 1}, []string{busy.Address, free.Address}, "balance: least_requests")
	hangers := g.client(t, "h2", common().web)
	ctx, cancel := context.WithCancel(within(t, patience))
	var hanging sync.WaitGroup
	for asked := 0; busy.Requests.Load() == 0; asked++ {
		hanging.Go(func() { _ = hangers.do(request("GET", "/x", "").WithContext(ctx)) })
		want := int64(asked + 1)
		waitFor(t, "the request to arrive", patience, func() bool {
			return busy.Requests.Load()+free.Requests.Load() >= want
		})
	}
	if counts := spread(t, g.client(t, "h1", common().web), 50); counts[free.Address] != 50 {
		t.Errorf("answers came from %v", counts)
	}
	if n := busy.Requests.Load(); n != 1 {
		t.Errorf("the busy endpoint was asked %d times", n)
	}
	cancel()
	hanging.Wait()
}

// A request that found nobody at one endpoint is answered by another, however many are dead.
func TestRetryGoesToAnotherEndpoint(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"round_robin", "least_requests", "hash, hash_by: identity", "hash, hash_by: 'header:x-user'"} {
		t.Run(balance, func(t *testing.T) {
			t.Parallel()
			alive := named(t)
			addresses := []string{freeAddress(t), alive.Address, freeAddress(t), freeAddress(t)}
			g := balanced(t, setup{}, addresses, "balance: "+balance)
			for _, protocol := range []string{"h1", "h2"} {
				c := g.client(t, protocol, common().web)
				for i := range 20 {
					wantStatus(t, c.get("/x", "X-User", fmt.Sprint(i)), 200)
				}
			}
		})
	}
}

// owners asks for many callers, and tells who answered each.
func owners(t *testing.T, ask func(i int) reply, n int) []string {
	t.Helper()
	all := make([]string, n)
	for i := range all {
		answer := ask(i)
		wantStatus(t, answer, 200)
		all[i] = answer.body
	}
	return all
}

func moved(a, b []string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// byUser asks for user i of many, each time over another connection, so that every worker has its say.
func byUser(t *testing.T, g *gateway) func(i int) reply {
	t.Helper()
	var clients []*client
	for range 6 {
		clients = append(clients, g.client(t, "h1", common().web), g.client(t, "h2", common().web))
	}
	turn := 0
	return func(i int) reply {
		turn++
		return clients[turn%len(clients)].get("/x", "X-User", fmt.Sprintf("user-%d", i))
	}
}

func TestHostsKeepTheirEndpoint(t *testing.T) {
	t.Parallel()
	_, addresses := severalNamed(t, 3)
	g := balanced(t, setup{}, addresses, "balance: hash, hash_by: 'header:Host'")
	h1, h2 := g.client(t, "h1", common().web), g.client(t, "h2", common().web)
	turn := 0
	ask := func(i int) reply {
		turn++
		r := request("GET", "/x", "")
		r.Host = fmt.Sprintf("%d.test", i)
		return []*client{h1, h2}[turn%2].do(r)
	}
	first := owners(t, ask, 21)
	if n := moved(first, owners(t, ask, 21)); n != 0 || len(slices.Compact(slices.Sorted(slices.Values(first)))) != 3 {
		t.Errorf("%d hosts moved, of %v", n, first)
	}
}

func TestCallersKeepTheirEndpoint(t *testing.T) {
	t.Parallel()
	all, addresses := severalNamed(t, 4)
	const users = 200
	g := balanced(t, setup{}, addresses[:3], "balance: hash, hash_by: 'header:x-user'")
	first := owners(t, byUser(t, g), users)
	shares := map[string]int{}
	for _, owner := range first {
		shares[owner]++
	}
	if len(shares) != 3 || slices.Min(slices.Collect(maps.Values(shares))) < users/6 {
		t.Errorf("shares %v", shares)
	}
	if n := moved(first, owners(t, byUser(t, g), users)); n != 0 {
		t.Errorf("%d callers moved without a reason", n)
	}

	// A reload that changes nothing for them moves nobody; one that adds an endpoint moves its share.
	g.rewrite(t, "balance: hash", "connect_timeout: 2s, balance: hash")
	g.reload(t)
	if n := moved(first, owners(t, byUser(t, g), users)); n != 0 {
		t.Errorf("%d callers moved in a reload", n)
	}
	g.rewrite(t, quoted(addresses[:3]), quoted(addresses))
	g.reload(t)
	waitFor(t, "every worker to know the new endpoint", patience, func() bool {
		now := owners(t, byUser(t, g), users)
		came := 0
		for _, owner := range now {
			if owner == addresses[3] {
				came++
			}
		}
		n := moved(first, now)
		return came > users/8 && came < users*2/5 && n >= came && n <= came+users/20
	})

	// One that dies moves its own.
	before := owners(t, byUser(t, g), users)
	all[1].Stop()
	after := owners(t, byUser(t, g), users)
	for i := range before {
		if before[i] != addresses[1] && after[i] != before[i] {
			t.Errorf("user %d moved from %s to %s, and neither died", i, before[i], after[i])
		}
		if after[i] == addresses[1] {
			t.Errorf("user %d was answered by the dead", i)
		}
	}
}

// A kept connection that the endpoint closes in the face of the next request is no reason to go elsewhere.
func TestStaleConnectionMovesNoCaller(t *testing.T) {
	t.Parallel()
	var addresses []string
	var stale atomic.Int64
	for range 3 {
		var b *backend.Scripted
		told := make(chan struct{})
		b = scripted(t, func(p *backend.Peer) {
			<-told
			if p.Request() != nil {
				p.Answer(b.Address)
			}
			if p.Request() != nil {
				stale.Add(1)
			}
		})
		close(told)
		addresses = append(addresses, b.Address)
	}
	g := balanced(t, setup{workers: 1}, addresses, "balance: hash, hash_by: 'header:x-user'")
	ask := byUser(t, g)
	first := owners(t, ask, 30)
	for range 3 {
		if n := moved(first, owners(t, ask, 30)); n != 0 {
			t.Errorf("%d callers moved", n)
		}
	}
	if n := stale.Load(); n < 50 {
		t.Errorf("%d connections were stale: too few to tell", n)
	}
}

func TestCallersAreToldApartByIdentityAndAddress(t *testing.T) {
	t.Parallel()
	_, addresses := severalNamed(t, 3)
	const callers = 24
	asks := map[string]func(g *gateway, i int) reply{
		"identity": func(g *gateway, i int) reply {
			cert := common().root.svid(fmt.Sprintf("spiffe://cluster.local/ns/web/sa/n%d", i))
			return g.client(t, "h1", cert).get("/x")
		},
		"source_ip": func(g *gateway, i int) reply { return g.clientFrom(t, fmt.Sprintf("127.0.1.%d", i+1)).get("/x") },
	}
	for by, ask := range asks {
		g := balanced(t, setup{}, addresses, "balance: hash, hash_by: "+by)
		first := owners(t, func(i int) reply { return ask(g, i) }, callers)
		if distinct := slices.Compact(slices.Sorted(slices.Values(first))); len(distinct) != 3 {
			t.Errorf("%s: only %v were asked", by, distinct)
		}
		if n := moved(first, owners(t, func(i int) reply { return ask(g, i) }, callers)); n != 0 {
			t.Errorf("%s: %d callers moved", by, n)
		}
	}
}

// Who shows nothing to go by goes round robin, not all to one.
func TestRequestsWithoutTheHeaderGoRoundRobin(t *testing.T) {
	t.Parallel()
	_, addresses := severalNamed(t, 3)
	g := balanced(t, setup{workers: 1}, addresses, "balance: hash, hash_by: 'header:x-user'")
	if counts := spread(t, g.client(t, "h2", common().web), 30); counts[addresses[0]] != 10 || counts[addresses[1]] != 10 {
		t.Errorf("answers came from %v", counts)
	}
}

// wantBackendsRefused has `check` say so of a backend of two endpoints with these keys besides.
func wantBackendsRefused(t *testing.T, rows map[string]string) {
	t.Helper()
	for rest, want := range rows {
		s := setup{routes: []string{route("path: /*", "backend: web")},
			backends: []string{"{name: web, endpoints: ['127.0.0.1:1', '127.0.0.1:2'], " + rest + "}"}}
		output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
		if code != 2 || !strings.Contains(output, want) {
			t.Errorf("%s: exit %d: %s", rest, code, output)
		}
	}
}

func TestBalanceIsChecked(t *testing.T) {
	t.Parallel()
	wantBackendsRefused(t, map[string]string{
		"balance: hash":                     "backends[0].hash_by: is missing beside balance: hash",
		"hash_by: identity":                 "backends[0].hash_by: can have no effect without balance: hash",
		"weights: [1, 2, 3]":                "backends[0].weights: has 3 elements beside 2 endpoints",
		"weights: [7, 7]":                   "backends[0].weights: can have no effect: all are equal",
		"balance: [hash], hash_by: referer": "backends[0].hash_by: found 'referer', expected identity",
	})
}
