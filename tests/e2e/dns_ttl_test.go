package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// How often names are looked up, and that it costs nothing but questions.

func TestNamesAreLookedUpWhenTheirTTLHasPassed(t *testing.T) {
	t.Parallel()
	const name, target = usersName, "target.test"
	for what, row := range map[string]struct {
		keys        string
		zone        map[string]records
		least, most time.Duration
	}{
		"the TTL": {"min_ttl: 100ms", map[string]records{name: {addresses: []string{"127.0.0.2"}, ttl: 1}},
			time.Second, 2 * time.Second},
		"the TTL of IPv6": {"min_ttl: 100ms", map[string]records{name: {addresses: []string{"::1"}, ttl: 1}},
			time.Second, 2 * time.Second},
		"none": {"min_ttl: 300ms", map[string]records{name: {addresses: []string{"127.0.0.2"}}},
			300 * time.Millisecond, time.Second},
		"a short one": {"min_ttl: 1200ms", map[string]records{name: {addresses: []string{"127.0.0.2"}, ttl: 1}},
			1200 * time.Millisecond, 3 * time.Second},
		"a long one": {"min_ttl: 100ms, max_ttl: 300ms", map[string]records{name: {addresses: []string{"127.0.0.2"}, ttl: 3600}},
			300 * time.Millisecond, time.Second},
		// RFC 2181, 8: no more than 31 bits count.
		"one beyond all bounds": {"min_ttl: 100ms, max_ttl: 300ms", map[string]records{name: {addresses: []string{"127.0.0.2"}, ttl: 1<<32 - 1}},
			100 * time.Millisecond, time.Second},
		"an alias that is shorter": {"min_ttl: 100ms",
			map[string]records{name: {alias: target, ttl: 1}, target: {addresses: []string{"127.0.0.2"}, ttl: 3600}},
			time.Second, 2 * time.Second},
		"an alias that is longer": {"min_ttl: 100ms",
			map[string]records{name: {alias: target, ttl: 3600}, target: {addresses: []string{"127.0.0.2"}, ttl: 1}},
			time.Second, 2 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names := startNameServer(t)
			for name, r := range row.zone {
				names.set(name, r)
			}
			start(t, setup{top: []string{names.asks(row.keys)}, routes: []string{route("path: /*", "backend: web")},
				backends: []string{http1("web", fmt.Sprintf("%s:%d", name, freePort(t)))}})
			// How long the first answer while serving comes after the load is not the TTL's to say.
			first := len(names.asked(name, dnsmessage.TypeA)) + 1
			waitFor(t, "the lookups", patience, func() bool { return len(names.asked(name, dnsmessage.TypeA)) >= first+3 })
			asked := names.asked(name, dnsmessage.TypeA)[first:]
			for i := range 2 {
				if gap := asked[i+1].at.Sub(asked[i].at); gap < row.least*9/10 || gap > slow(row.most) {
					t.Errorf("lookups %v apart, want %v", gap, row.least)
				}
			}
		})
	}
}

// Half of the addresses die the sooner: all of them are asked for then.
func TestTheShortestTTLOfANamesAddressesCounts(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.set(usersName, records{addresses: []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, ttl: 3600, play: func(a *inquiry) {
		a.sayInstead(func(m *dnsmessage.Message) {
			if len(m.Answers) == 3 {
				m.Answers[1].Header.TTL = 1
			}
		})
	}})
	start(t, setup{top: []string{names.asks("min_ttl: 100ms")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", fmt.Sprintf("%s:%d", usersName, freePort(t)))}})
	names.await(t, usersName, 3)
}

func TestAnEarlyReloadDoesNotAskTwiceAsOften(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.set(usersName, records{addresses: []string{"127.0.0.2"}, ttl: 1})
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	for range 5 {
		g.reload(t)
	}
	names.await(t, usersName, 1) // the one that is due after each load
	before := len(names.asked(usersName, dnsmessage.TypeA))
	began := time.Now()
	names.await(t, usersName, 3)
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("%d questions in %v", len(names.asked(usersName, dnsmessage.TypeA))-before, took)
	}
}

func TestLookupsOfNamesLeaveNoDescriptorsBehind(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("127.0.4.%d", i+1)
	}
	for range 2 {
		g.change(t, names, usersName, many...) // over TCP
		names.set(usersName, records{play: errs(dnsmessage.RCodeServerFailure)})
		g.awaitLookups(t, "failed", 1)
		g.change(t, names, usersName, "127.0.0.2")
	}
	before := g.metric(t, "process_open_fds")
	for range 3 {
		g.change(t, names, usersName, many...)
		names.set(usersName, records{play: errs(dnsmessage.RCodeNameError)})
		g.awaitLookups(t, "failed", 1)
		g.change(t, names, usersName, "127.0.0.2")
	}
	waitFor(t, "as many descriptors as before", patience, func() bool { return g.metric(t, "process_open_fds") <= before })
}

// A request never waits for a name, however slow the server is.
func TestNoCallWaitsForANameServer(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	names.set(usersName, records{play: saysNothing})
	names.await(t, usersName, 1)
	c := g.client(t, "h2", common().web)
	wantStatus(t, c.get("/x"), 200)
	var took []time.Duration
	for range 200 {
		began := time.Now()
		wantStatus(t, c.get("/x"), 200)
		took = append(took, time.Since(began))
	}
	if longest := slices.Max(took); longest > slow(500*time.Millisecond) {
		t.Errorf("a call took %v", longest)
	}
}
