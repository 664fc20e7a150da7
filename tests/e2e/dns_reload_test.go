package e2e

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Names, and the configuration that has them: it changes, is refused, or ends while somebody is asked.

func TestAReloadAsksOtherNameServers(t *testing.T) {
	t.Parallel()
	one, two, web := startNameServer(t), startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	one.point(usersName, "127.0.0.2")
	two.point(usersName, "127.0.0.3")
	g := resolving(t, setup{}, one, "protocol: http1", web.endpoint(usersName))
	g.awaitAnswers(t, "127.0.0.2")
	g.rewrite(t, one.address, two.address)
	g.hangUp(t)
	g.awaitAnswers(t, "127.0.0.3")
	two.await(t, usersName, 1)
	before := len(one.asked(usersName))
	two.point(usersName, "127.0.0.4")
	g.awaitAnswers(t, "127.0.0.4")
	two.await(t, usersName, 3)
	if n := len(one.asked(usersName)) - before; n != 0 {
		t.Errorf("the old server was asked %d times more", n)
	}
}

func TestNamesComeAndGoWithAReload(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	names.point("other.test", "127.0.0.3")
	g := start(t, setup{top: []string{names.asks("min_ttl: 100ms")},
		routes:   []string{route("path: /other", "backend: other"), route("path: /*", "backend: web")},
		backends: []string{http1("other", web.endpoint("other.test")), http1("web", web.endpoint("127.0.0.3"))}})
	for range 2 {
		g.rewrite(t, web.endpoint("127.0.0.3"), web.endpoint(usersName))
		g.hangUp(t)
		g.awaitAnswers(t, "127.0.0.2")
		names.point(usersName, "127.0.0.3")
		g.awaitAnswers(t, "127.0.0.3")
		names.point(usersName, "127.0.0.2")
		g.awaitAnswers(t, "127.0.0.2")
		g.rewrite(t, web.endpoint(usersName), web.endpoint("127.0.0.3"))
		g.hangUp(t)
		g.awaitAnswers(t, "127.0.0.3")
		before := len(names.asked(usersName))
		names.await(t, "other.test", 5)
		if n := len(names.asked(usersName)) - before; n != 0 {
			t.Errorf("the name that is gone was asked for %d times", n)
		}
	}
}

// Answers take their time, so that every reload finds a lookup under way.
func TestReloadsWhileNamesAreLookedUpLoseNothing(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	late := func(a *inquiry) { time.AfterFunc(slow(150*time.Millisecond), func() { tells(a) }) }
	names.set(usersName, records{addresses: []string{"127.0.0.2"}, play: late})
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	c := g.crowd(t)
	for i := range 5 {
		names.await(t, usersName, 1)
		if i%2 == 0 {
			g.hangUp(t)
		} else {
			g.reload(t)
		}
	}
	names.set(usersName, records{addresses: []string{"127.0.0.3"}, play: late})
	g.awaitAnswers(t, "127.0.0.3")
	c.leave(t)
	if n := g.lookups(t, "failed"); n != 0 {
		t.Errorf("%d lookups failed", n)
	}
}

// The answer to a question from before the reload comes after it, and is out of date.
func TestAnAnswerFromBeforeAReloadIsNotTaken(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	told := make(chan struct{})
	names.set(usersName, records{addresses: []string{"127.0.0.2"}, play: func(a *inquiry) {
		<-told
		tells(a)
	}})
	names.await(t, usersName, 1)
	names.point(usersName, "127.0.0.3")
	g.reload(t)
	g.awaitAnswers(t, "127.0.0.3")
	close(told)
	names.await(t, usersName, 3)
	g.awaitAnswers(t, "127.0.0.3")
	for _, one := range g.saying(t, "backend addresses changed") {
		if strings.Contains(one["addresses"], "127.0.0.2") {
			t.Errorf("the old answer was taken: %v", one)
		}
	}
}

// What was found while serving is no part of the file, and outlives whatever the gateway reads anew but that.
func TestAddressesFoundMeanwhileStay(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change  func(t *testing.T, g *gateway)
		problem string
	}{
		"a certificate is replaced": {func(t *testing.T, g *gateway) {
			renewed := common().root.server("gateway.test")
			inPlace(t, g.dir, 0, pemCertificates(renewed.Certificate...), pemKey(renewed.PrivateKey))
			g.serves(t, renewed)
		}, ""},
		"a certificate towards the servers is replaced": {func(t *testing.T, g *gateway) {
			writeFile(t, g.dir, "servers.pem", pemCertificates(theMesh().root.cert.Raw))
			waitFor(t, "the bundle to be taken up", renewal, func() bool { return g.said("replaced certificates are in force") })
		}, ""},
		"a list is replaced": {func(t *testing.T, g *gateway) {
			writeFile(t, g.dir, "ca.crl", common().root.crl(common().root.svid(webID)))
			waitFor(t, "the list to be taken up", renewal, func() bool { return g.said("replaced certificates are in force") })
		}, ""},
		"a reload is refused": {func(t *testing.T, g *gateway) {
			g.rewrite(t, "routes:", "rotes:")
			if status, said := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(said, "rotes") {
				t.Errorf("POST /reload: %d %s", status, said)
			}
		}, "problem in the configuration"},
		"a reload finds nobody who tells the name": {func(t *testing.T, g *gateway) {
			g.rewrite(t, "protocol: h2", "protocol: h2, connect_timeout: 2s")
			g.reload(t)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, speaking("h2"), "127.0.0.2", "127.0.0.3")
			names.point(usersName, "127.0.0.2")
			g := securely(t, setup{crl: common().root.crl(), top: []string{names.asks("min_ttl: 100ms")}}, "h2", showing, web.endpoint(usersName))
			c := g.client(t, "h1", common().web)
			wantStatus(t, c.get("/x"), http.StatusOK)
			names.point(usersName, "127.0.0.3")
			c.comesTo(t, web.at["127.0.0.3"])
			// From now on nobody tells the address again.
			names.set(usersName, records{play: errs(dnsmessage.RCodeServerFailure)})
			g.awaitLookups(t, "failed", 1)
			before := web.at["127.0.0.2"].Journal.Count("")
			row.change(t, g)
			warm(t, g, 8)
			g.awaitLookups(t, "failed", 2)
			warm(t, g, 8)
			if n := web.at["127.0.0.2"].Journal.Count("") - before; n != 0 {
				t.Errorf("%d calls to the address of the file", n)
			}
			names.point(usersName, "127.0.0.2")
			waitFor(t, "names to be looked up as ever", patience, func() bool {
				wantStatus(t, c.get("/x"), http.StatusOK)
				return web.at["127.0.0.2"].Journal.Count("") > before
			})
		})
	}
}

func TestAReloadAfterNewAddressesOfANameCostsNoConnection(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, speaksHTTP, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	names.point(usersName, "127.0.0.2", "127.0.0.3")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	g.change(t, names, usersName, "127.0.0.3", "127.0.0.4")
	warm(t, g, 8)
	stays := []string{"127.0.0.3", "127.0.0.4"}
	before := map[string]int64{}
	for _, host := range stays {
		before[host] = web.at[host].Wire.Accepted.Load()
	}
	g.rewrite(t, "protocol: http1", "protocol: http1, balance: least_requests")
	for range 3 {
		g.hangUp(t)
	}
	c := g.client(t, "h2", common().web)
	for range 20 {
		wantStatus(t, c.get("/x"), http.StatusOK)
	}
	for _, host := range stays {
		if n := web.at[host].Wire.Accepted.Load(); n != before[host] {
			t.Errorf("%d connections to %s, %d before", n, host, before[host])
		}
	}
}

func TestALookupUnderWayHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]play{"over UDP": saysNothing, "over TCP": truncatedThen(saysNothing)} {
		for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(name+", "+how.String(), func(t *testing.T) {
				t.Parallel()
				names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
				names.point(usersName, "127.0.0.2")
				g := resolving(t, setup{drain: "30s"}, names, "protocol: http1", web.endpoint(usersName))
				names.set(usersName, records{play: answer})
				waitFor(t, "the question", patience, func() bool {
					asked := names.asked(usersName)
					return len(asked) > 0 && (name != "over TCP" || slices.ContainsFunc(asked, func(q query) bool { return q.tcp }))
				})
				names.await(t, usersName, 1)
				began := time.Now()
				g.signal(how)
				if code := g.exitCode(10 * time.Second); code != 0 || time.Since(began) > slow(2*time.Second) {
					t.Errorf("it ended with %d after %v", code, time.Since(began))
				}
			})
		}
	}
}

// A drain goes on as long as calls do, and so do lookups; then all of it ends.
func TestADrainEndsWhereANameHasLeft(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, speaksHTTP, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
	c, got := g.client(t, "h1", common().web), make(chan reply, 1)
	go func() { got <- c.do(request("POST", "/slowread", "text")) }()
	waitFor(t, "the call to be there", patience, func() bool { return web.at["127.0.0.2"].Journal.Count("") == 1 })
	g.change(t, names, usersName, "127.0.0.3")
	g.signal(syscall.SIGTERM)
	waitFor(t, "the drain to begin", patience, func() bool { return g.said(`msg="draining"`) })
	web.at["127.0.0.2"].Release()
	wantStatus(t, <-got, http.StatusOK)
	if code := g.exitCode(5 * time.Second); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

func TestAnUpgradeLooksUpNamesItself(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	names.point(usersName, "127.0.0.2")
	g := replaceable(t, setup{top: []string{names.asks("min_ttl: 100ms")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", web.endpoint(usersName))}})
	names.point(usersName, "127.0.0.3")
	g.awaitAnswers(t, "127.0.0.3")
	c := g.crowd(t)
	g.upgrade(t, g.command.Process.Pid)
	c.leave(t)
	g.awaitAnswers(t, "127.0.0.3")
	names.point(usersName, "127.0.0.4")
	g.awaitAnswers(t, "127.0.0.4")
}
