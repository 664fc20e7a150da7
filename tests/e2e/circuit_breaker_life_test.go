package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Ceilings and queues of `circuit_breaker` while the gateway's configuration changes, while it ends, and while backends do.

// full is a gateway whose one endpoint has as many calls as it takes, and has so many wait. The answers are in order.
func full(t *testing.T, s setup, b *inns, connections, waiting int, breaker, more string) (g *gateway, c *client, answers []<-chan reply) {
	t.Helper()
	g = breaking(t, s, b, fmt.Sprintf("connections: %d, %s", connections, breaker), more)
	g.meet(t, b)
	c = g.client(t, "h2", common().web)
	for i := range connections {
		answers = append(answers, b.keep(t, c, fmt.Sprint("/", i)))
	}
	for i := range waiting {
		answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/", connections+i), "")))
	}
	return g, c, answers
}

// everyUp runs the check for h1 and h2 behind the gateway.
func everyUp(t *testing.T, check func(t *testing.T, up string)) {
	t.Helper()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			check(t, up)
		})
	}
}

func TestCircuitBreakerThatIsRaisedLetsMoreIn(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g, c, answers := full(t, setup{}, b, 1, 4, patientBreaker, "")
		g.rewrite(t, "connections: 1", "connections: 3")
		g.hangUp(t)
		b.awaitKept(t, 3) // two of those who wait
		answers = append(answers, g.waits(t, c, request("GET", "/5", "")))
		g.awaitWaiting(t, 3)
		b.releaseAll()
		wantAnswers(t, http.StatusOK, answers...)
		b.wantAtMost(t, g, 3)
		g.wantOutcomes(t, outcomes{served: 5})
	})
}

// What is open stays open; what comes after it keeps to the new ceiling, for those who wait already, too.
func TestCircuitBreakerThatIsLoweredHoldsForNewConnections(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 1, opening{streams: 1, parts: true})
		g, c, answers := full(t, setup{}, b, 3, 2, patientBreaker, "")
		g.rewrite(t, "connections: 3", "connections: 1")
		g.hangUp(t)
		answers = append(answers, g.waits(t, c, request("GET", "/5", "")))
		b.awaitKept(t, 3)
		for range 3 {
			b.release(t)
		}
		wantAnswers(t, http.StatusOK, answers[:3]...)
		for i, answer := range answers[3:] {
			b.awaitKept(t, 1)
			if came := b.last(t).path; came != fmt.Sprint("/", 3+i) || g.waiting(t) != 2-i {
				t.Fatalf("%s came, %d wait, after %v", came, g.waiting(t), b.came())
			}
			b.release(t)
			wantAnswers(t, http.StatusOK, answer)
		}
		b.wantAtMost(t, g, 3)
		waitFor(t, "no connection to be counted", patience, func() bool { return g.connectionsTo(t, b.houses[0].address) == 0 })
		b.houses[0].forget()
		answers = c.crowded(3)
		b.awaitKept(t, 1)
		g.awaitWaiting(t, 2)
		b.releaseAll()
		wantAnswers(t, http.StatusOK, answers...)
		b.wantAtMost(t, g, 1)
	})
}

// Connections of a configuration that was replaced go on counting, though no new call goes there: over TLS, with a PROXY
// header of another version.
func TestCircuitBreakerCountsConnectionsOfReplacedConfigurations(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		for name, row := range map[string]struct {
			o              opening
			more, from, to string
		}{
			"TLS":   {opening{tls: serverOf(theMesh().root.serving(dns("localhost")), alpn[map[string]string{"h1": "http1", "h2": "h2"}[up]])}, ", tls: {trusted_ca: servers.pem, server_name: localhost}", "path: /*", "path: /*"},
			"PROXY": {opening{proxied: true}, ", proxy_protocol: v1", "proxy_protocol: v1", "proxy_protocol: v2"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				row.o.streams = 1
				b := newInns(t, up, 1, row.o)
				g, c, answers := full(t, setup{files: theMesh().files()}, b, 2, 1, patientBreaker, row.more)
				for round := range 3 {
					g.rewrite(t, row.from, row.to)
					g.hangUp(t)
					row.from, row.to = row.to, row.from
					answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/", 3+round), "")))
				}
				if b.keeps() != 2 || g.waiting(t) != 4 {
					t.Errorf("%d calls are at the endpoint, %d wait", b.keeps(), g.waiting(t))
				}
				for range 4 {
					b.release(t)
					b.awaitKept(t, 2)
				}
				b.releaseAll()
				wantAnswers(t, http.StatusOK, answers...)
				b.wantAtMost(t, g, 2)
			})
		}
	})
}

// Who waits goes on waiting in its place, whatever else changes.
func TestCircuitBreakerKeepsWhoWaitsOverReloads(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g, c, answers := full(t, setup{}, b, 1, 2, "pending: 10, pending_timeout: 5m", "")
		for i, change := range [][2]string{{"path: /*", "path: /*"}, {"pending: 10", "pending: 11"}, {"rate: 1000/s", "rate: 999/s"}, {"pending: 11", "pending: 12"}} {
			g.rewrite(t, change[0], change[1])
			g.hangUp(t)
			answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/", 3+i), "")))
		}
		if b.keeps() != 1 || g.waiting(t) != 6 {
			t.Errorf("%d calls are at the endpoint, %d wait", b.keeps(), g.waiting(t))
		}
		for _, answer := range answers {
			b.awaitKept(t, 1)
			b.release(t)
			wantAnswers(t, http.StatusOK, answer)
		}
		if came := b.came(); !slices.Equal(came, []string{"/meet", "/0", "/1", "/2", "/3", "/4", "/5", "/6"}) {
			t.Errorf("came %v", came)
		}
		b.wantAtMost(t, g, 1)
	})
}

func TestCircuitBreakerThatIsRemovedHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g, c, answers := full(t, setup{}, b, 1, 3, patientBreaker, "")
		g.rewrite(t, ", circuit_breaker: {connections: 1, "+patientBreaker+"}", "")
		g.hangUp(t)
		for i := range 3 { // new ones go at once
			answer := c.later(request("GET", fmt.Sprint("/new/", i), ""))
			waitFor(t, "a new call to come", patience, func() bool { return slices.Contains(b.came(), fmt.Sprint("/new/", i)) })
			answers = append(answers, answer)
		}
		for i := 1; g.waiting(t) > 0; i++ { // if any wait still, each gets the place of one that is served
			b.release(t)
			waitFor(t, "who waits to come", patience, func() bool { return slices.Contains(b.came(), fmt.Sprint("/", i)) })
		}
		b.releaseAll()
		wantAnswers(t, http.StatusOK, answers...)
		g.awaitWaiting(t, 0)
	})
}

// The backend of who waits is not the route's any more, or has another endpoint.
func TestCircuitBreakerServesWhoWaitsForWhatIsGone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"another backend":  {"backend: web, rate", "backend: next, rate"},
		"another endpoint": {`endpoints: ["OLD"]`, `endpoints: ["NEW"]`},
		"no endpoint less": {`endpoints: ["OLD"]`, `endpoints: ["NEW", "OLD"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, next := newInns(t, "h1", 1, opening{}), newInns(t, "h1", 1, opening{})
			next.releaseAll()
			s := setup{backends: []string{http1("next", next.houses[0].address)}, routes: []string{route("path: /next", "backend: next"), route("path: /old", "backend: web")}}
			g, c, answers := full(t, s, b, 1, 3, patientBreaker, "")
			places := strings.NewReplacer("OLD", b.houses[0].address, "NEW", next.houses[0].address)
			g.rewrite(t, places.Replace(change[0]), places.Replace(change[1]))
			g.hangUp(t)
			wantStatus(t, c.get("/new"), http.StatusOK) // goes on to the other, which has room
			g.hangUp(t)
			b.releaseAll()
			wantAnswers(t, http.StatusOK, answers...)
			b.wantAtMost(t, g, 1)
			g.awaitWaiting(t, 0)
		})
	}
}

// An endpoint that goes and comes back, as those of a name do whose answers take turns, is the same.
func TestCircuitBreakerHoldsForEndpointsThatComeBack(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b, next := newInns(t, up, 1, opening{streams: 1}), newInns(t, up, 1, opening{})
		next.releaseAll()
		g, c, answers := full(t, setup{}, b, 1, 0, patientBreaker, "")
		for range 2 {
			g.rewrite(t, b.houses[0].address, next.houses[0].address)
			g.hangUp(t)
			wantStatus(t, c.get("/elsewhere"), http.StatusOK)
			g.rewrite(t, next.houses[0].address, b.houses[0].address)
			g.hangUp(t)
			answers = append(answers, g.waits(t, c, request("GET", "/x", "")))
		}
		for range answers {
			b.awaitKept(t, 1)
			b.release(t)
		}
		wantAnswers(t, http.StatusOK, answers...)
		b.wantAtMost(t, g, 1)
	})
}

func TestCircuitBreakerServesWhoWaitsWhileItDrains(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g, _, answers := full(t, setup{drain: "2m"}, b, 1, 2, patientBreaker, "")
		c, body := g.client(t, down, common().web), pattern(300_000)
		answers = append(answers, g.waits(t, c, request("GET", "/3", "")))
		upload := g.waits(t, c, uploads("/4", body, true))
		g.signal(syscall.SIGTERM)
		g.refusesConnections(t)
		for _, answer := range answers {
			b.awaitKept(t, 1)
			b.release(t)
			wantAnswers(t, http.StatusOK, answer)
		}
		b.releaseAll()
		if got := <-upload; got.status != http.StatusOK || got.body != receipt(body) {
			t.Errorf("%d %v %s", got.status, got.err, got.body)
		}
		if code := g.exitCode(10 * time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestCircuitBreakerKeepsNoDrainBeyondItsTimeout(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g, _, answers := full(t, setup{drain: "500ms", keepErrors: true}, b, 1, 3, patientBreaker, "")
		g.signal(syscall.SIGTERM)
		g.exitCode(6 * time.Second)
		g.noSanitizerReport()
		for _, answer := range answers {
			if got := <-answer; got.status == http.StatusOK {
				t.Errorf("%+v", got)
			}
		}
	})
}

func TestCircuitBreakerTellsWhoWaitsThatTheBackendDied(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g, _, answers := full(t, setup{}, b, 1, 3, patientBreaker, "")
		c := g.client(t, down, common().web)
		for _, r := range []*http.Request{request("GET", "/4", ""), uploads("/5", pattern(100), true)} {
			answers = append(answers, g.waits(t, c, r))
		}
		b.houses[0].stop()
		for i, answer := range answers {
			if got := <-answer; got.status != http.StatusBadGateway && got.status != http.StatusServiceUnavailable || got.problem("reason") == "overloaded" {
				t.Errorf("call %d: %d %v %s", i, got.status, got.err, got.body)
			}
		}
		g.awaitWaiting(t, 0)
		waitFor(t, "no connection to be counted", patience, func() bool { return g.connectionsTo(t, b.houses[0].address) == 0 })
		b.begin(t, b.houses[0])
		again := b.keep(t, c, "/again")
		other := g.waits(t, c, request("GET", "/other", ""))
		b.releaseAll()
		wantAnswers(t, http.StatusOK, again, other)
	})
}

func TestCircuitBreakerHasTheEndpointThatLivesServeWhoWaits(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 2, opening{streams: 1})
		g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, "")
		c := g.client(t, "h2", common().web)
		b.releaseAll()
		for range 4 {
			wantStatus(t, c.get("/meet"), http.StatusOK)
		}
		b.shut()
		answers := []<-chan reply{b.keep(t, c, "/0"), b.keep(t, c, "/1")}
		for i := range 6 {
			answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/", 2+i), "")))
		}
		b.houses[0].stop()
		b.releaseAll()
		well := 0
		for i, answer := range answers {
			switch got := <-answer; got.status {
			case http.StatusOK:
				well++
			case http.StatusBadGateway, http.StatusServiceUnavailable:
			default:
				t.Errorf("call %d: %d %v %s", i, got.status, got.err, got.body)
			}
		}
		if well == 0 {
			t.Error("nobody was served")
		}
		g.awaitWaiting(t, 0)
		for range 10 {
			wantStatus(t, c.get("/x"), http.StatusOK)
		}
		b.wantAtMost(t, g, 1)
	})
}

// Callers that belong to an endpoint are not lost with it.
func TestCircuitBreakerSendsCallersElsewhereWhenTheirEndpointDied(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 2, opening{streams: 1})
		g, c, answers := full(t, setup{}, b, 1, 6, patientBreaker, ", balance: hash, hash_by: identity")
		own := b.last(t).house
		own.stop()
		b.releaseAll()
		for i, answer := range answers {
			if got := <-answer; got.status != http.StatusOK && got.status != http.StatusBadGateway && got.status != http.StatusServiceUnavailable {
				t.Errorf("call %d: %d %v %s", i, got.status, got.err, got.body)
			}
		}
		g.awaitWaiting(t, 0)
		for range 10 {
			wantStatus(t, c.get("/x"), http.StatusOK)
		}
		if b.last(t).house == own {
			t.Error("who was stopped still answers")
		}
		b.wantAtMost(t, g, 1)
	})
}
