package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// Places that `circuit_breaker` counts, where everything goes wrong at once: none is lost, and none is taken twice.

// Whose connections end after each answer, with a word or without.
func TestCircuitBreakerOutlivesConnectionsThatEnd(t *testing.T) {
	t.Parallel()
	const most = 2
	curt := scripted(t, func(p *backend.Peer) {
		if p.Request() != nil {
			p.Answer("good\n")
		}
	})
	breaker := fmt.Sprintf("connections: %d, %s", most, patientBreaker)
	for name, b := range map[string]*inns{"HTTP/1.1, said": newInns(t, "h1", 1, opening{parts: true}), "HTTP/1.1, when idle": newInns(t, "h1", 1, opening{idle: time.Millisecond}),
		"HTTP/1.1, unsaid": {up: "h1", houses: []*house{{address: curt.Address}}}, "HTTP/2, GOAWAY": newInns(t, "h2", 1, opening{parts: true, streams: 2})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := breaking(t, setup{}, b, breaker, "")
			b.releaseAll()
			var group sync.WaitGroup
			for i := range 20 {
				c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
				group.Go(func() {
					for range 5 {
						got := c.get("/x")
						// GOAWAY may cross a call on its way, and once more its other attempt.
						if got.status != http.StatusOK && (b.up == "h1" || got.problem("reason") != "backend_refused") {
							t.Errorf("%d %v %s", got.status, got.err, got.body)
						}
					}
				})
			}
			group.Wait()
			g.awaitWaiting(t, 0)
			wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
			b.wantAtMost(t, g, most)
		})
	}
}

// syncing returns the sockets that wait for the endpoint to answer at all, as the kernel tells; while it does, some come
// and go.
func syncing(address string) (sockets map[string]bool) {
	var port int
	_, _ = fmt.Sscanf(address, "127.0.0.1:%d", &port)
	sockets = map[string]bool{}
	for line := range strings.Lines(string(must(os.ReadFile("/proc/net/tcp")))) {
		// sl, ours, theirs, state, …; 02 is SYN_SENT
		if words := strings.Fields(line); words[2] == fmt.Sprintf("0100007F:%04X", port) && words[3] == "02" {
			sockets[words[1]] = true
		}
	}
	return sockets
}

// atOnce counts those that were there both times, and so together.
func atOnce(before, now map[string]bool) (n int) {
	for socket := range now {
		if before[socket] {
			n++
		}
	}
	return n
}

func TestCircuitBreakerGivesPlacesBackThatLedNowhere(t *testing.T) {
	t.Parallel()
	const most, calls = 2, 12
	t.Run("nobody answers", func(t *testing.T) {
		t.Parallel()
		b := &inns{up: "h1", houses: []*house{{address: fullBacklog(t)}}}
		g := breaking(t, setup{}, b, fmt.Sprintf("connections: %d, %s", most, patientBreaker), ", connect_timeout: 200ms")
		answers := g.client(t, "h2", common().web).crowded(calls)
		var before map[string]bool
		for _, got := range whileAsked(t, answers, func() {
			now := syncing(b.houses[0].address)
			if n := max(atOnce(before, now), g.connectionsTo(t, b.houses[0].address)); n > most {
				t.Errorf("%d connections are being made, %d are the most", n, most)
			}
			before = now
		}) {
			if got.status != http.StatusGatewayTimeout || got.problem("reason") != "connect_timeout" {
				t.Errorf("%d %v %s", got.status, got.err, got.body)
			}
		}
		g.awaitWaiting(t, 0)
		waitFor(t, "no connection to be counted", patience, func() bool { return g.connectionsTo(t, b.houses[0].address) == 0 })
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		b := newInns(t, "h1", 1, opening{})
		h := b.houses[0]
		h.stop()
		g := breaking(t, setup{}, b, fmt.Sprintf("connections: %d, %s", most, patientBreaker), "")
		c := g.client(t, "h2", common().web)
		wantAnswers(t, http.StatusServiceUnavailable, c.crowded(calls)...)
		g.awaitWaiting(t, 0)
		b.begin(t, h)
		full := []<-chan reply{b.keep(t, c, "/1"), b.keep(t, c, "/2"), g.waits(t, c, request("GET", "/3", ""))}
		b.releaseAll()
		wantAnswers(t, http.StatusOK, full...)
		b.wantAtMost(t, g, most)
	})
}

func storm(t *testing.T, g *gateway, addresses []string, most int) {
	t.Helper()
	var group sync.WaitGroup
	for i := range 20 {
		c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
		group.Go(func() {
			for range 15 {
				raging(t, c)
			}
		})
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	waitFor(t, "the storm to end", 5*time.Minute, func() bool {
		for _, address := range addresses {
			if n := g.connectionsTo(t, address); n > most {
				t.Errorf("%d connections to %s, %d are the most", n, address, most)
			}
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	waitFor(t, "all to be over", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
	g.awaitWaiting(t, 0)
}

// Backends that reset, break off, keep silent and talk nonsense, and clients that leave.
func TestCircuitBreakerLosesNoPlaceInAStorm(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			const most = 3
			tr := newTroupe(t, up, 2)
			tr.otherwise = func() act {
				return []act{nil, nil, answers(503), after(100, answers(502)), resets, after(50000, resets), beginsAndResets, keepsSilent}[rand.IntN(8)]
			}
			g := start(t, setup{workers: 1, backends: []string{tr.backend(up, fmt.Sprintf(", circuit_breaker: {connections: %d, pending: 10, pending_timeout: 300ms}", most))},
				routes: []string{route("path: /full", "backend: web"), route("path: /crowd/*", "backend: web"), route("path: /*", "backend: web, timeout: 1s, retry: {on: [reset, 503], non_idempotent: true, tries: 3, per_try_timeout: 300ms, backoff: 5ms, budget: 50}")}})
			storm(t, g, tr.addresses, most)
			tr.mutex.Lock()
			tr.otherwise = nil
			tr.mutex.Unlock()
			c := g.client(t, "h2", common().web)
			if up == "h2" { // a connection has room for all
				wantAnswers(t, http.StatusOK, c.crowded(20)...)
				return
			}
			let, kept := make(chan struct{}), counter{}
			tr.play("/full", func() (acts []act) {
				for range 2 * most {
					acts = append(acts, func(http.ResponseWriter, *http.Request) { kept.add(1); <-let })
				}
				return acts
			}()...)
			var calls []<-chan reply
			waitFor(t, "every place to be taken", patience, func() bool {
				if len(calls) < 2*most {
					calls = append(calls, c.later(request("GET", "/full", "")))
				}
				return kept.get() == 2*most
			})
			close(let)
			wantAnswers(t, http.StatusOK, calls...)
		})
	}
}

// Ceilings that change while they are reached: nobody is left behind.
func TestCircuitBreakerServesEverybodyWhileReloadsComeAndGo(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 2, opening{streams: 1})
		b.releaseAll()
		g := breaking(t, setup{workers: 2}, b, "connections: 2, "+patientBreaker, "")
		all, ctx := newCrowd()
		for i := range 24 {
			c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
			all.add(ctx, fmt.Sprint("caller ", i), func() error { return wantOK(c.do(uploads("/x", pattern(1000), true))) })
		}
		for i := range 20 {
			before := all.calls.Load()
			waitFor(t, "calls to be served", patience, func() bool { return all.calls.Load() > before+20 })
			from, to := fmt.Sprintf("connections: %d,", 2+i%3), fmt.Sprintf("connections: %d,", 2+(i+1)%3)
			g.rewrite(t, from, to)
			g.hangUp(t)
		}
		all.leave(t)
		g.awaitWaiting(t, 0)
		b.wantAtMost(t, g, 4)
	})
}
