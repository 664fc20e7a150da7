package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Names of backends are looked up again while the gateway serves, and their new addresses get the calls.

const usersName = "users.test"

// A team is servers of one port at several addresses, as those of a name are.
type team[B interface{ Stop() }] struct {
	port int
	at   map[string]B
}

func newTeam[B interface{ Stop() }](t *testing.T, start func(address string) (B, error), hosts ...string) *team[B] {
	t.Helper()
	return onFreePort(t, func(port int) (*team[B], error) {
		all := &team[B]{port, map[string]B{}}
		for _, host := range hosts {
			b, err := start(net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				return nil, err
			}
			t.Cleanup(b.Stop)
			all.at[host] = b
		}
		return all, nil
	})
}

func (m *team[B]) endpoint(name string) string { return fmt.Sprintf("%s:%d", name, m.port) }

// tellsHost serves HTTP/1.1, where every answer is the host of the address.
func tellsHost(address string) (*backend.Scripted, error) {
	host, _, _ := net.SplitHostPort(address)
	return backend.StartScripted(address, func(p *backend.Peer) {
		for p.Request() != nil {
			p.Answer(host)
		}
	})
}

func speaksGRPC(address string) (*backend.GRPC, error) { return backend.StartGRPC(address) }

// asks is the block of a gateway that asks this server, and more keys of the block.
func (s *nameServer) asks(more string) string {
	return fmt.Sprintf("dns: {servers: [%q], %s}", s.address, more)
}

// resolving is a gateway with one backend of these endpoints, whose names it asks for as often as it may.
func resolving(t *testing.T, s setup, names *nameServer, rest string, endpoints ...string) *gateway {
	t.Helper()
	s.top = append(s.top, names.asks("min_ttl: 100ms"))
	return balanced(t, s, endpoints, rest)
}

func (g *gateway) lookups(t *testing.T, result string) int {
	t.Helper()
	return int(g.metric(t, fmt.Sprintf("tollgate_dns_lookups_total{result=%q}", result)))
}

func (g *gateway) awaitLookups(t *testing.T, result string, more int) {
	t.Helper()
	want := g.lookups(t, result) + more
	waitFor(t, fmt.Sprintf("%d lookups more that are %s", more, result), patience, func() bool { return g.lookups(t, result) >= want })
}

// change gives the name other addresses, and waits until they are in force.
func (g *gateway) change(t *testing.T, names *nameServer, name string, addresses ...string) {
	t.Helper()
	before := g.lookups(t, "changed")
	names.point(name, addresses...)
	waitFor(t, fmt.Sprint("the change to ", addresses), patience, func() bool { return g.lookups(t, "changed") > before })
	g.awaitLookups(t, "unchanged", 1)
}

// awaitAnswers waits until callers over new connections, to every worker, are answered by all of these hosts and nobody else.
func (g *gateway) awaitAnswers(t *testing.T, hosts ...string) {
	t.Helper()
	clients := []*client{g.client(t, "h1", common().web), g.client(t, "h2", common().web)}
	for g.setup.workers != 1 && len(clients) < 12 {
		clients = append(clients, g.client(t, "h1", common().web))
	}
	waitFor(t, fmt.Sprint("answers of ", hosts, " alone"), patience, func() bool {
		heard := map[string]bool{}
		for _, c := range clients {
			for host := range spread(t, c, len(hosts)) {
				heard[host] = true
			}
		}
		return slices.Equal(slices.Sorted(maps.Keys(heard)), slices.Sorted(slices.Values(hosts)))
	})
	for _, c := range clients {
		c.transport.CloseIdleConnections()
	}
}

// wantChange fails the test unless the log tells of a change to these addresses.
func (g *gateway) wantChange(t *testing.T, name string, addresses ...string) {
	t.Helper()
	want := slices.Sorted(slices.Values(addresses))
	waitFor(t, fmt.Sprint("the log to tell that ", name, " is at ", addresses), patience, func() bool {
		return slices.ContainsFunc(g.saying(t, "backend addresses changed"), func(e event) bool {
			return e["level"] == "info" && e["name"] == name && slices.Equal(slices.Sorted(strings.FieldsSeq(e["addresses"])), want)
		})
	})
}

func (g *gateway) generation(t *testing.T) int {
	t.Helper()
	var report statusReport
	g.json(t, "/status", &report)
	return report.Generation
}

func TestNewAddressOfANameGetsTheCallsWithoutAReload(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ before, after []string }{
		"another one":       {[]string{"127.0.0.2"}, []string{"127.0.0.3"}},
		"one more":          {[]string{"127.0.0.2"}, []string{"127.0.0.2", "127.0.0.3"}},
		"one less":          {[]string{"127.0.0.2", "127.0.0.3"}, []string{"127.0.0.3"}},
		"others altogether": {[]string{"127.0.0.2", "127.0.0.3"}, []string{"127.0.0.4", "127.0.0.5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
			names.point(usersName, row.before...)
			g := resolving(t, setup{}, names, "protocol: http1", web.endpoint(usersName))
			g.awaitAnswers(t, row.before...)
			generation, audited := g.generation(t), must(os.ReadFile(g.auditPath()))
			names.point(usersName, row.after...)
			g.awaitAnswers(t, row.after...)
			asked := map[string]int64{}
			for host, b := range web.at {
				asked[host] = b.Requests.Load()
			}
			g.awaitLookups(t, "unchanged", 2)
			spread(t, g.client(t, "h1", common().web), 20)
			for host, b := range web.at {
				if n := b.Requests.Load() - asked[host]; (n > 0) != slices.Contains(row.after, host) {
					t.Errorf("%d of 20 calls went to %s", n, host)
				}
			}
			g.wantChange(t, usersName, row.after...)
			if n := g.lookups(t, "changed"); n != 1 || g.lookups(t, "failed") != 0 {
				t.Errorf("%d lookups changed something, %d failed", n, g.lookups(t, "failed"))
			}
			if g.generation(t) != generation || string(must(os.ReadFile(g.auditPath()))) != string(audited) {
				t.Errorf("generation %d, was %d; audit file:\n%s", g.generation(t), generation, must(os.ReadFile(g.auditPath())))
			}
		})
	}
}

func TestNewAddressOfANameGetsTheCallsOfGRPC(t *testing.T) {
	t.Parallel()
	names, users := startNameServer(t), newTeam(t, speaksGRPC, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{}, names, "protocol: h2", users.endpoint(usersName))
	conn := g.rpc(t, common().web)
	wantCode(t, invoke(t, conn, login), codes.OK)
	names.point(usersName, "127.0.0.3")
	old, young := users.at["127.0.0.2"], users.at["127.0.0.3"]
	waitFor(t, "calls at the new address", patience, func() bool {
		wantCode(t, invoke(t, conn, login), codes.OK)
		return young.Journal.Count(login) > 0
	})
	before := old.Journal.Count(login)
	for range 20 {
		wantCode(t, invoke(t, conn, login), codes.OK)
	}
	waitFor(t, "the connections to the old one to close", patience, func() bool { return old.Wire.Open() == 0 })
	if n := old.Journal.Count(login); n != before {
		t.Errorf("%d calls more at the old address", n-before)
	}
}

// Name servers rotate, and repeat themselves.
func TestTheSameAddressesOfANameInAnotherOrderAreNoChange(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	orders := [][]string{{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, {"127.0.0.4", "127.0.0.2", "127.0.0.3"}, {"127.0.0.3", "127.0.0.4", "127.0.0.2"},
		{"127.0.0.4", "127.0.0.4", "127.0.0.3", "127.0.0.2", "127.0.0.4"}}
	names.point(usersName, orders[0]...)
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	c := g.client(t, "h2", common().web)
	spread(t, c, 9)
	for _, order := range orders {
		names.point(usersName, order...)
		g.awaitLookups(t, "unchanged", 2)
		if counts := spread(t, c, 9); len(counts) != 3 || counts["127.0.0.2"] != 3 || counts["127.0.0.3"] != 3 {
			t.Errorf("shares %v after %v", counts, order)
		}
	}
	if n := g.lookups(t, "changed"); n != 0 || len(g.saying(t, "backend addresses changed")) != 0 {
		t.Errorf("%d changes are counted, the log tells of %v", n, g.saying(t, "backend addresses changed"))
	}
	for host, b := range web.at {
		if n := b.Wire.Accepted.Load(); n != 1 {
			t.Errorf("%d connections to %s", n, host)
		}
	}
}

func TestNamesWithoutIPv4AddressesAreCalledOverIPv6(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "::1")
	names.point(usersName, "::1")
	g := resolving(t, setup{}, names, "protocol: http1", web.endpoint(usersName))
	g.awaitAnswers(t, "::1")
	for range 2 {
		names.point(usersName, "::1", "127.0.0.2")
		g.awaitAnswers(t, "127.0.0.2")
		names.point(usersName, "::1")
		g.awaitAnswers(t, "::1")
	}
	g.wantChange(t, usersName, "127.0.0.2")
	g.wantChange(t, usersName, "::1")
}

// Every loopback address leads to one listener, which tells over which it was reached. 512 bytes have no room for them.
func TestNamesMayHaveHundredsOfAddresses(t *testing.T) {
	t.Parallel()
	const many = 300
	hosts := make([]string, many+10)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("127.0.%d.%d", 3+i/250, 1+i%250)
	}
	names, web := startNameServer(t), newTeam(t, func(address string) (*backend.Scripted, error) {
		return backend.StartScripted(address, func(p *backend.Peer) {
			host, _, _ := net.SplitHostPort(p.LocalAddr().String())
			for p.Request() != nil {
				p.Answer(host)
			}
		})
	}, "0.0.0.0")
	names.point(usersName, hosts[:many]...)
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	c := g.client(t, "h2", common().web)
	if n := len(spread(t, c, many)); n != many {
		t.Errorf("%d addresses were called, want %d", n, many)
	}
	if !slices.ContainsFunc(names.asked(usersName), func(q query) bool { return q.tcp }) {
		t.Error("the name server was not asked over TCP")
	}
	g.awaitLookups(t, "unchanged", 1)
	g.change(t, names, usersName, hosts[10:]...)
	if counts := spread(t, c, many); len(counts) != many || counts[hosts[0]] != 0 || counts[hosts[many+9]] != 1 {
		t.Errorf("%d addresses were called, want %d", len(counts), many)
	}
	if output, code := tollgate(t, "check", "--config", g.config); code != 0 {
		t.Errorf("check: exit %d: %s", code, output)
	}
}

// More than a backend may have are told, and come into force once there is a place for them.
func TestANameKeepsItsAddressesWhereThereIsNoPlaceForOthers(t *testing.T) {
	t.Parallel()
	const other = "other.test"
	hosts := make([]string, 3000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250)
	}
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.point(usersName, hosts...)
	names.point(other, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName), web.endpoint(other))
	g.change(t, names, other, append([]string{"127.0.0.2"}, hosts...)...)
	const kept = "too many backend addresses, the former ones stay"
	waitFor(t, "it to be told", patience, func() bool { return len(g.saying(t, kept)) > 0 })
	if said := g.saying(t, kept); len(said) != 1 || said[0]["level"] != "warn" || said[0]["name"] != other || len(g.saying(t, "backend addresses changed")) != 0 {
		t.Errorf("said %v", said)
	}
	g.change(t, names, usersName, "127.0.0.2")
	g.wantChange(t, usersName, "127.0.0.2")
	waitFor(t, "the other name's to be in force", patience, func() bool {
		return slices.ContainsFunc(g.saying(t, "backend addresses changed"), func(e event) bool {
			return e["name"] == other && strings.HasSuffix(e["addresses"], "and 2985 more")
		})
	})
}

func TestEveryBackendOfANameHasItsNewAddresses(t *testing.T) {
	t.Parallel()
	names, web, api := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3"), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.9")
	names.point(usersName, "127.0.0.2")
	g := start(t, setup{workers: 1, top: []string{names.asks("min_ttl: 100ms")},
		routes:   []string{route("path: /api", "backend: api"), route("path: /*", "backend: web")},
		backends: []string{http1("web", web.endpoint(usersName)), http1("api", api.endpoint("127.0.0.9"), api.endpoint("Users.TEST"))}})
	names.point(usersName, "127.0.0.3")
	g.awaitAnswers(t, "127.0.0.3")
	c := g.client(t, "h1", common().web)
	waitFor(t, "the other backend to follow", patience, func() bool {
		counts := map[string]int{}
		for range 10 {
			counts[c.get("/api").body]++
		}
		return counts["127.0.0.9"] == 5 && counts["127.0.0.3"] == 5
	})
}

// There is no server in the configuration: those of the machine are asked, and others once it has others.
func TestNamesAreLookedUpAgainAtTheServersOfTheMachine(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	one, two := startMachineServer(t, 53), startMachineServer(t, 54)
	web := newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	one.point(usersName, "127.0.0.2")
	path := filepath.Join(t.TempDir(), "resolv.conf")
	name := func(s *nameServer) { // in place: it is the file that is mounted
		if err := os.WriteFile(path, []byte("nameserver "+strings.TrimSuffix(s.address, ":53")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	name(one)
	under := []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, path}
	g := balanced(t, setup{under: under, top: []string{"dns: {min_ttl: 100ms}"}}, []string{web.endpoint(usersName)}, "protocol: http1")
	g.awaitAnswers(t, "127.0.0.2")
	one.point(usersName, "127.0.0.3")
	g.awaitAnswers(t, "127.0.0.3")
	one.set(usersName, records{play: errs(dnsmessage.RCodeServerFailure)})
	g.awaitLookups(t, "failed", 2)
	one.point(usersName, "127.0.0.2")
	g.awaitAnswers(t, "127.0.0.2")
	two.point(usersName, "127.0.0.4")
	name(two)
	one.set(usersName, records{play: errs(dnsmessage.RCodeServerFailure)})
	g.awaitAnswers(t, "127.0.0.4")
}

// startMachineServer is at the port that resolv.conf cannot change, at an address of its own.
func startMachineServer(t *testing.T, last int) *nameServer {
	t.Helper()
	return must(startNameServerAt(t, fmt.Sprintf("127.%d.%d.%d:53", 205+os.Getpid()>>8&31, os.Getpid()&255, last)))
}
