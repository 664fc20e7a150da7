package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Services: endpoints whose SRV records say at which servers and ports they are, and with which weights.

const webService = "_http._tcp." + usersName

// awaitShares waits until of so many calls as these are together each server answers its share: "a2:30 b3:10".
func awaitShares(t *testing.T, c *client, want string) {
	t.Helper()
	all := 0
	for one := range strings.FieldsSeq(want) {
		_, share, _ := strings.Cut(one, ":")
		all += must(strconv.Atoi(share))
	}
	waitFor(t, "shares "+want, patience, func() bool { return fmt.Sprint(spread(t, c, all)) == "map["+want+"]" })
}

func TestServersOfAServiceAreCalledByPortAndWeight(t *testing.T) {
	t.Parallel()
	for what, row := range map[string]struct{ lines, want, weights string }{
		"another port each":    {"0 0 a two.test, 0 0 b three.test", "a2:20 b3:20", ""},
		"three to one":         {"0 3 a two.test, 0 1 b three.test", "a2:30 b3:10", ""},
		"large weights":        {"0 60000 a two.test, 0 20000 b three.test", "a2:30 b3:10", ""},
		"less than 1":          {"0 65535 a two.test, 0 1 b three.test, 0 0 b two.test", "a2:1000 b2:1 b3:1", ""},
		"lowest priority":      {"2 9 b two.test, 1 3 a two.test, 65535 9 b three.test, 1 1 a three.test", "a2:30 a3:10", ""},
		"several addresses":    {"0 1 a both.test, 0 2 b two.test", "a2:10 a3:10 b2:20", ""},
		"IPv6":                 {"0 1 a six.test, 0 1 b two.test", "a1:20 b2:20", ""},
		"missing ones":         {"0 7 a gone.test, 0 3 a two.test, 0 7 b empty.test, 0 1 b three.test", "a2:30 b3:10", ""},
		"weights of endpoints": {"0 3 a two.test, 0 1 b three.test", "a1:5 a2:30 b3:10", "weights: [2, 1]"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, row.lines)
			endpoints := []string{webService, p.at["a1"].Address}
			if row.weights == "" {
				endpoints = endpoints[:1]
			}
			g := resolving(t, setup{workers: 1}, p.nameServer, or(row.weights, "protocol: http1"), endpoints...)
			awaitShares(t, g.client(t, "h2", common().web), row.want)
			g.awaitLookups(t, "unchanged", 2)
			if n := g.lookups(t, "failed") + g.lookups(t, "changed"); n != 0 {
				t.Errorf("%d lookups failed or changed something", n)
			}
		})
	}
}

func TestChangesOfAServiceComeIntoForceWithoutAReload(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "1 1 a two.test, 1 3 a two.test, 2 1 b two.test")
	g := resolving(t, setup{workers: 1}, p.nameServer, "protocol: http1", webService)
	c := g.client(t, "h2", common().web)
	last, generation := "a2:4", g.generation(t)
	awaitShares(t, c, last)
	p.offer("2 1 b two.test, 1 3 a two.test, 1 1 a two.test") // in another order: no change, not even of who is there twice
	g.awaitLookups(t, "unchanged", 3)
	for i, row := range []struct{ what, lines, want string }{
		{"a record comes", "1 1 a two.test, 2 1 b two.test, 1 1 a three.test", "a2:4 a3:4"},
		{"weights", "1 1 a two.test, 2 1 b two.test, 1 3 a three.test", "a2:2 a3:6"},
		{"a port", "1 1 a two.test, 2 1 b two.test, 1 3 b three.test", "a2:2 b3:6"},
		{"ports and weights change places", "1 3 b two.test, 1 1 a alias.test, 2 1 a two.test", "a3:2 b2:6"},
		{"the next priority", "2 1 a two.test", "a2:4"},
		{"a better one again", "2 1 a two.test, 0 1 b six.test", "b1:4"},
	} {
		before := map[string]int64{}
		for one := range strings.FieldsSeq(last) {
			before[one[:2]] = p.at[one[:2]].Wire.Accepted.Load()
		}
		p.offer(row.lines)
		awaitShares(t, c, row.want)
		g.awaitLookups(t, "unchanged", 2)
		said := g.saying(t, "backend addresses changed")
		if n := g.lookups(t, "changed"); n != i+1 || len(said) != n || said[i]["name"] != webService || said[i]["level"] != "info" {
			t.Fatalf("%s: %d changes are counted, the log tells of %v", row.what, n, said)
		}
		for one := range strings.FieldsSeq(row.want) {
			b := p.at[one[:2]]
			if !strings.Contains(said[i]["addresses"], b.Address) {
				t.Errorf("%s: the log tells of %v, without %s", row.what, said[i], b.Address)
			}
			if n, stays := before[one[:2]]; stays && n != b.Wire.Accepted.Load() {
				t.Errorf("%s: %d connections to %s, which stays, %d before", row.what, b.Wire.Accepted.Load(), one, n)
			}
		}
		last = row.want
	}
	p.point("six.test", "127.0.0.2", "127.0.0.3") // a target's addresses are the service's
	awaitShares(t, c, "b2:4 b3:4")
	waitFor(t, "others to be left", patience, func() bool { return p.at["a2"].Wire.Open()+p.at["a3"].Wire.Open()+p.at["b1"].Wire.Open() == 0 })
	if g.generation(t) != generation || g.lookups(t, "failed") != 0 {
		t.Errorf("generation %d, was %d; %d lookups failed", g.generation(t), generation, g.lookups(t, "failed"))
	}
}

// A service's alias, its records, a target's alias and that one's address are a second old, or an hour.
func TestServicesAreLookedUpWhenTheShortestTTLHasPassed(t *testing.T) {
	t.Parallel()
	for what, row := range map[string]struct {
		ttl   [4]uint32
		least time.Duration
	}{
		"the service's alias":  {[4]uint32{1, 3600, 3600, 3600}, time.Second},
		"the service's":        {[4]uint32{3600, 1, 3600, 3600}, time.Second},
		"a target's alias":     {[4]uint32{3600, 3600, 1, 3600}, time.Second},
		"an address's":         {[4]uint32{3600, 3600, 3600, 1}, time.Second},
		"none, and so the min": {[4]uint32{3600, 0, 3600, 3600}, 300 * time.Millisecond},
		"long, and so the max": {[4]uint32{3600, 3600, 3600, 3600}, 1500 * time.Millisecond},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names := startNameServer(t)
			names.set(webService, records{alias: "service.test", ttl: row.ttl[0]})
			names.set("service.test", records{services: []string{"0 0 1 target.test"}, ttl: row.ttl[1]})
			names.set("target.test", records{alias: "host.test", ttl: row.ttl[2]})
			names.set("host.test", records{addresses: []string{"127.0.0.2"}, ttl: row.ttl[3]})
			start(t, setup{top: []string{names.asks("min_ttl: 300ms, max_ttl: 1500ms")}, routes: []string{route("path: /*", "backend: web")},
				backends: []string{http1("web", webService)}})
			names.await(t, webService, 1) // how long after the load that comes is not the TTL's to say
			first := len(names.asked(webService)) - 1
			names.await(t, webService, 2)
			asked := names.asked(webService)[first:]
			for i := range 2 {
				if gap := asked[i+1].at.Sub(asked[i].at); gap < row.least*9/10 || gap > slow(row.least+450*time.Millisecond) {
					t.Errorf("lookups %v apart, want %v", gap, row.least)
				}
			}
		})
	}
}

// badServices are no service, or not all of it. The play is that of the target fails.test, or else the service's.
var badServices = map[string]struct {
	lines string
	how   play
}{
	"no such service":  {"0 0 0 .", nil},
	"no target exists": {"0 0 a gone.test, 0 0 b empty.test", nil},
	"half a record": {"0 0 a usurper.test", func(a *inquiry) {
		half := &dnsmessage.UnknownResource{Type: dnsmessage.TypeSRV, Data: []byte{0, 0, 0, 1, 0, 80}}
		a.sayInstead(func(m *dnsmessage.Message) { m.Answers[0].Body = half })
	}},
	"SERVFAIL":           {"0 0 a usurper.test", badAnswers["SERVFAIL"]},
	"NXDOMAIN":           {"0 0 a usurper.test", badAnswers["NXDOMAIN"]},
	"no record":          {"0 0 a usurper.test", badAnswers["no address"]},
	"silence":            {"0 0 a usurper.test", saysNothing},
	"an alias of itself": {"0 0 a usurper.test", badAnswers["an alias of itself"]},
	"SERVFAIL over TCP":  {"0 0 a usurper.test", badAnswers["truncated, and SERVFAIL over TCP"]},
	"not all over TCP": {"0 0 a usurper.test", func(a *inquiry) { // RFC 2181, 9
		a.sayInstead(func(m *dnsmessage.Message) { m.Truncated = true })
	}},
	// One target's failure is the service's: those that are left would get all the calls.
	"a target's SERVFAIL":         {"0 1 a usurper.test, 0 1 b fails.test", badAnswers["SERVFAIL"]},
	"a target's silence":          {"0 1 a usurper.test, 0 1 b fails.test", saysNothing},
	"a target's silence over TCP": {"0 1 a usurper.test, 0 1 b fails.test", badAnswers["truncated, and silence over TCP"]},
}

func (p *provider) check(t *testing.T, web string) (output string, code int) {
	t.Helper()
	s := setup{files: theMesh().files(), top: []string{p.asks("")}, routes: []string{route("path: /*", "backend: web")}, backends: []string{web}}
	return tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
}

func TestServicesThatCannotBeResolvedKeepTheirServers(t *testing.T) {
	t.Parallel()
	const unresolved = "backends[0].endpoints[0]: found '" + webService + "', whose name cannot be resolved ("
	for what, row := range badServices {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, "0 1 a two.test, 0 3 b two.test")
			g := resolving(t, setup{workers: 1}, p.nameServer, "protocol: http1", webService)
			c := g.client(t, "h2", common().web)
			awaitShares(t, c, "a2:2 b2:6")
			bad := p.offered(row.lines)
			if !strings.Contains(row.lines, "fails.test") {
				bad.play = row.how
			}
			p.set("fails.test", records{addresses: []string{usurperHost}, play: row.how})
			p.set(webService, bad)
			g.awaitLookups(t, "failed", 1)
			if output, code := p.check(t, http1("web", webService)); code != 2 || !strings.Contains(output, unresolved) {
				t.Errorf("check: exit %d: %s", code, output)
			}
			g.awaitLookups(t, "failed", 1)
			if counts := spread(t, c, 8); counts["a2"] != 2 || counts["b2"] != 6 || g.lookups(t, "changed") != 0 {
				t.Errorf("shares %v, %d changes", counts, g.lookups(t, "changed"))
			}
			warned := g.saying(t, "name cannot be resolved, its addresses stay")
			if len(warned) != 1 || warned[0]["level"] != "warn" || warned[0]["name"] != webService || warned[0]["problem"] == "" {
				t.Errorf("the log warns %d times: %v", len(warned), warned)
			}
			p.offer("0 1 a three.test")
			awaitShares(t, c, "a3:4")
			g.eventually(t, "name is resolved again", "name", webService)
			if n := p.at["a66"].Wire.Accepted.Load() + p.at["b66"].Wire.Accepted.Load(); n != 0 {
				t.Errorf("%d connections to the usurper", n)
			}
		})
	}
}

func TestEndpointsOfServicesAreChecked(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "0 0 a two.test")
	for web, want := range map[string]string{
		http1("web", webService, "_HTTP._TCP.Users.test"):           "",
		http1("web", webService, "127.0.0.1:1", "_web._tcp.test"):   "endpoints[2]: found '_web._tcp.test', whose name cannot be resolved (",
		http1("web", "_http.users.test"):                            "backends[0].endpoints[0]: ",
		http1("web", "http._tcp.users.test"):                        "backends[0].endpoints[0]: ",
		http1("web", webService+":"):                                "backends[0].endpoints[0]: ",
		secured("web", "h2", showing, webService):                   "backends[0].tls.server_name: ",
		secured("web", "h2", "server_name: users.test", webService): "",
		secured("web", "h2", allOf, webService):                     "",
	} {
		if output, code := p.check(t, web); (code == 0) != (want == "") || !strings.Contains(output, want) {
			t.Errorf("%s: exit %d, want %q: %s", web, code, want, output)
		}
	}
	// With a port it is a name as any other.
	p.set(webService, records{addresses: []string{"127.0.0.2"}, services: p.offered("0 0 b three.test").services})
	before := len(p.asked(webService, dnsmessage.TypeSRV))
	g := resolving(t, setup{workers: 1}, p.nameServer, "protocol: http1", webService+strings.TrimPrefix(p.at["a2"].Address, "127.0.0.2"))
	g.awaitLookups(t, "unchanged", 2)
	awaitShares(t, g.client(t, "h1", common().web), "a2:4")
	if n := len(p.asked(webService, dnsmessage.TypeSRV)) - before; n != 0 {
		t.Errorf("the service was asked for %d times", n)
	}
}

// 512 bytes have no room for so many records, and each of them has a name of its own.
func TestAServiceMayHaveHundredsOfServers(t *testing.T) {
	t.Parallel()
	const many = 200
	names, web := startNameServer(t), newTeam(t, func(address string) (*backend.Scripted, error) {
		return backend.StartScripted(address, func(p *backend.Peer) {
			for p.Request() != nil {
				p.Answer(p.LocalAddr().String())
			}
		})
	}, "0.0.0.0")
	lines := make([]string, many+10)
	for i := range lines {
		names.point(fmt.Sprintf("server%d.test", i), fmt.Sprintf("127.0.5.%d", 1+i))
		lines[i] = fmt.Sprintf("0 0 %d server%d.test", web.port, i)
	}
	names.set(webService, records{services: lines[:many]})
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", webService)
	c := g.client(t, "h2", common().web)
	if n := len(spread(t, c, many)); n != many || !slices.ContainsFunc(names.asked(webService), func(q query) bool { return q.tcp }) {
		t.Errorf("%d servers were called, want %d; asked: %v", n, many, names.asked(webService))
	}
	names.set(webService, records{services: lines[10:]})
	waitFor(t, "the others to be called", patience, func() bool {
		counts := spread(t, c, many)
		return len(counts) == many && counts[web.endpoint("127.0.5.1")] == 0
	})
}

// All of them at once would be more questions than a name server's socket holds.
func TestAServiceHasNoMoreServersThanItMay(t *testing.T) {
	t.Parallel()
	const most, addresses, atOnce = 1024, 4096, 32
	names := startNameServer(t)
	var mutex sync.Mutex
	open, longest := map[string]bool{}, 0 // questions, one that is asked again aside
	slowly := func(a *inquiry) {
		mutex.Lock()
		defer mutex.Unlock()
		name := a.truth.Questions[0].Name.String()
		open[name] = true
		longest = max(longest, len(open))
		time.AfterFunc(20*time.Millisecond, func() {
			mutex.Lock()
			delete(open, name)
			mutex.Unlock()
			tells(a)
		})
	}
	many, fat := make([]string, most+1), make([]string, addresses/2+1)
	for i := range many {
		address := fmt.Sprintf("127.0.%d.%d", 5+i/250, 1+i%250)
		names.set(fmt.Sprintf("server%d.test", i), records{addresses: []string{address}, play: slowly})
		many[i] = fmt.Sprintf("0 0 80 server%d.test", i)
	}
	for i := range fat {
		fat[i] = fmt.Sprintf("127.2.%d.%d", i/250, 1+i%250)
	}
	names.point("fat.test", fat...)
	names.set("_many._tcp.test.test", records{services: many[:most]})
	names.set("_more._tcp.test.test", records{services: many})
	names.set("_fat._tcp.test.test", records{services: []string{"0 0 80 fat.test"}})
	names.set("_fatter._tcp.test.test", records{services: []string{"0 0 80 fat.test", "0 0 81 fat.test"}})
	for service, want := range map[string]string{
		"_many._tcp.test.test":   "the configuration is good",
		"_more._tcp.test.test":   "whose name cannot be resolved (it has too many servers)",
		"_fat._tcp.test.test":    "the configuration is good",
		"_fatter._tcp.test.test": "whose name cannot be resolved (it has too many addresses)",
	} {
		s := setup{top: []string{names.asks("")}, routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", service)}}
		if output, _ := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2")); !strings.Contains(output, want) {
			t.Errorf("%s: want %q: %s", service, want, output)
		}
	}
	if mutex.Lock(); longest != atOnce {
		t.Errorf("%d questions at once", longest)
	}
	mutex.Unlock()
}

func TestServicesOfGRPCAreCalledOverTLSAndWithout(t *testing.T) {
	t.Parallel()
	const service = "_grpc._tcp." + usersName
	names, hosts := startNameServer(t), []string{"127.0.0.2", "127.0.0.3"}
	users, web := newTeam(t, speaksGRPC, hosts...), newTeam(t, speaking("h2"), hosts...)
	names.point("server.test", "127.0.0.2")
	names.set(service, records{services: []string{fmt.Sprintf("0 0 %d server.test", users.port)}})
	names.set(webService, records{services: []string{fmt.Sprintf("0 0 %d server.test", web.port)}})
	g := start(t, setup{top: []string{names.asks("min_ttl: 100ms")}, files: theMesh().files(),
		routes:   []string{route("grpc: user.*/*", "backend: users"), route("path: /*", "backend: web")},
		backends: []string{h2("users", service), secured("web", "h2", showing+", server_name: "+usersName, webService)}})
	conn, c := g.rpc(t, common().web), g.client(t, "h1", common().web)
	for _, host := range hosts {
		names.point("server.test", host)
		waitFor(t, "calls at "+host, patience, func() bool {
			wantCode(t, invoke(t, conn, login), codes.OK)
			wantStatus(t, c.get("/x"), http.StatusOK)
			return users.at[host].Journal.Count(login) > 0 && web.at[host].Journal.Count("") > 0
		})
		if call := web.at[host].Journal.Calls("")[0]; call.TLS == nil || call.TLS.ServerName != usersName {
			t.Errorf("the server at %s was called %v", host, call.TLS)
		}
	}
}

// Whom a reload, or the end, finds asked answers too late or never.
func TestALookupOfAServiceUnderWayHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for _, late := range []string{webService, "three.test"} {
		t.Run(late, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, "0 0 a two.test, 0 0 a three.test")
			g := resolving(t, setup{drain: "30s"}, p.nameServer, "protocol: http1", webService)
			c, told := g.crowd(t), make(chan struct{})
			hold := func(how play) {
				p.set(late, records{addresses: []string{"127.0.0.2"}, services: p.offered("0 0 b two.test").services, play: how})
				before := len(p.asked(late))
				waitFor(t, "the question", patience, func() bool { return len(p.asked(late)) > before })
			}
			hold(func(a *inquiry) { <-told; tells(a) })
			p.point("three.test", "127.0.0.3")
			p.offer("0 0 b three.test")
			g.reload(t)
			g.awaitAnswers(t, "b3")
			close(told)
			p.await(t, webService, 3)
			g.awaitAnswers(t, "b3")
			if g.said(`addresses="127.0.0.2`) {
				t.Error("the old answer was taken")
			}
			c.leave(t)
			hold(saysNothing)
			began := time.Now()
			g.signal(syscall.SIGTERM)
			if code := g.exitCode(10 * time.Second); code != 0 || time.Since(began) > slow(2*time.Second) {
				t.Errorf("it ended with %d after %v", code, time.Since(began))
			}
		})
	}
}
