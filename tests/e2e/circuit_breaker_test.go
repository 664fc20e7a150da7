package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// `circuit_breaker` of a backend: how many connections its endpoints get, whatever comes. What becomes of those who
// wait is in circuit_breaker_pending_test.go, and what of it all over reloads and deaths in circuit_breaker_life_test.go.

const patientBreaker = "pending: 1000, pending_timeout: 5m" // nothing is refused

// breaking is a gateway in front of inns, of one worker unless it has more. Every path leads to them.
func breaking(t *testing.T, s setup, b *inns, breaker, more string) *gateway {
	t.Helper()
	s.workers = or(s.workers, 1)
	s.backends = append(s.backends, b.backend(breaker, more))
	s.routes = append(s.routes, route("path: /*", "backend: web, rate_limits: [{rate: 1000/s, burst: 100000}]"))
	return start(t, s)
}

// meet makes a call that is answered, so that the gateway knows the endpoint: how many streams it takes.
func (g *gateway) meet(t *testing.T, b *inns, by ...*client) {
	t.Helper()
	b.mutex.Lock()
	b.open = true
	b.mutex.Unlock()
	for _, c := range append(by, g.client(t, "h1", common().web))[:1] {
		wantStatus(t, c.get("/meet"), http.StatusOK)
	}
	b.shut()
}

// later makes a request whose answer is to come.
func (c *client) later(r *http.Request) <-chan reply {
	answer := make(chan reply, 1)
	go func() { answer <- c.do(r) }()
	return answer
}

func wantAnswers(t *testing.T, want int, answers ...<-chan reply) {
	t.Helper()
	for _, answer := range answers {
		wantStatus(t, <-answer, want)
	}
}

// keep has a call be kept at the inns.
func (b *inns) keep(t *testing.T, c *client, path string, headers ...string) <-chan reply {
	t.Helper()
	before := b.keeps()
	answer := c.later(request("GET", path, "", headers...))
	b.awaitKept(t, before+1)
	return answer
}

func (g *gateway) waiting(t *testing.T) int {
	t.Helper()
	return int(g.metric(t, `tollgate_upstream_pending_calls{backend="web"}`))
}

func (g *gateway) awaitWaiting(t *testing.T, want int) {
	t.Helper()
	waitFor(t, fmt.Sprint(want, " calls to wait"), patience, func() bool { return g.waiting(t) == want })
}

// waits has a call come and wait.
func (g *gateway) waits(t *testing.T, c *client, r *http.Request) <-chan reply {
	t.Helper()
	before := g.waiting(t)
	answer := c.later(r)
	g.awaitWaiting(t, before+1)
	return answer
}

// crowded has so many calls come at once.
func (c *client) crowded(calls int) (answers []<-chan reply) {
	for i := range calls {
		answers = append(answers, c.later(request("GET", fmt.Sprint("/crowd/", i), "")))
	}
	return answers
}

// apart has so many calls come at once over connections of their own, so that each worker gets some of many.
func (g *gateway) apart(t *testing.T, calls int) (answers []<-chan reply) {
	t.Helper()
	for range calls {
		answers = append(answers, g.client(t, "h1", common().web).crowded(1)...)
	}
	return answers
}

// outcomes are what became of those who had to wait.
type outcomes struct{ served, refused, timedOut, left int }

func (g *gateway) wantOutcomes(t *testing.T, want outcomes) {
	t.Helper()
	var got outcomes
	waitFor(t, fmt.Sprintf("outcomes to be %+v", want), patience, func() bool {
		of := func(outcome string) int {
			return int(g.metric(t, fmt.Sprintf(`tollgate_upstream_pending_total{backend="web",outcome=%q}`, outcome)))
		}
		got = outcomes{of("served"), of("refused"), of("timed_out"), of("left")}
		return got == want
	})
}

// whileAsked checks until all are answered, and returns how.
func whileAsked(t *testing.T, answers []<-chan reply, check func()) (got []reply) {
	t.Helper()
	waitFor(t, "all to be answered", 2*time.Minute, func() bool {
		check()
		for len(got) < len(answers) {
			select {
			case one := <-answers[len(got)]:
				got = append(got, one)
			default:
				return false
			}
		}
		return true
	})
	return got
}

func TestCircuitBreakerKeepsConnectionsWithinTheCeiling(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		const calls, most, streams = 50, 3, 4
		b := newInns(t, up, 1, opening{streams: streams})
		g := breaking(t, setup{}, b, fmt.Sprintf("connections: %d, %s", most, patientBreaker), "")
		answers := g.client(t, down, common().web).crowded(calls)
		room := map[string]int{"h1": most, "h2": most * streams}[up]
		b.awaitKept(t, room)
		g.awaitWaiting(t, calls-room)
		b.wantAtMost(t, g, most)
		b.releaseAll()
		for _, got := range whileAsked(t, answers, func() { b.wantAtMost(t, g, most) }) {
			wantStatus(t, got, http.StatusOK)
		}
		g.awaitWaiting(t, 0)
	})
}

func TestCircuitBreakerIsDividedAmongWorkers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ workers, connections, most, pending, waiting int }{
		"alike":           {2, 4, 4, 20, 20},
		"one has more":    {2, 3, 3, 7, 7},
		"three":           {3, 7, 7, 8, 8},
		"at least one":    {2, 1, 2, 1, 2},
		"nobody may wait": {2, 2, 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const calls = 60
			b := newInns(t, "h1", 1, opening{})
			g := breaking(t, setup{workers: row.workers}, b, fmt.Sprintf("connections: %d, pending: %d, pending_timeout: 5m", row.connections, row.pending), "")
			answers := g.apart(t, calls)
			refused := calls - row.most - row.waiting
			g.wantOutcomes(t, outcomes{refused: refused})
			b.awaitKept(t, row.most)
			g.awaitWaiting(t, row.waiting)
			b.releaseAll()
			found := map[int]int{}
			for _, answer := range answers {
				found[(<-answer).status]++
			}
			if found[200] != calls-refused || found[503] != refused {
				t.Errorf("answers %v, want %d refusals of %d", found, refused, calls)
			}
			b.wantAtMost(t, g, row.most)
			g.wantOutcomes(t, outcomes{refused: refused, served: row.waiting})
		})
	}
}

func TestCircuitBreakerCountsEachEndpointByItself(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 3, opening{})
	g := breaking(t, setup{}, b, "connections: 2, "+patientBreaker, "")
	answers := g.client(t, "h2", common().web).crowded(10)
	for _, h := range b.houses {
		b.awaitKept(t, 2, h)
	}
	g.awaitWaiting(t, 4)
	b.releaseAll()
	wantAnswers(t, http.StatusOK, answers...)
	b.wantAtMost(t, g, 2)
}

// Whoever would be next by weight or load.
func TestCircuitBreakerSendsCallsWhereThereIsRoomBeforeTheyWait(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"weights: [100, 1]", "balance: least_requests, weights: [100, 1]"} {
		for _, up := range []string{"h1", "h2"} {
			t.Run(balance+" "+up, func(t *testing.T) {
				t.Parallel()
				b := newInns(t, up, 2, opening{streams: 1})
				g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, ", "+balance)
				g.meet(t, b)
				c := g.client(t, "h2", common().web)
				for range 5 {
					one, other := b.keep(t, c, "/one"), b.keep(t, c, "/other")
					third := g.waits(t, c, request("GET", "/third", ""))
					for _, h := range b.houses {
						b.awaitKept(t, 1, h)
					}
					b.releaseAll()
					wantAnswers(t, http.StatusOK, one, other, third)
					b.shut()
				}
				b.wantAtMost(t, g, 1)
			})
		}
	}
}

func TestCircuitBreakerLeavesHealthChecksTheirConnections(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		b := newInns(t, up, 1, opening{streams: 1})
		g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, ", health_check: {path: /healthz, interval: 30ms}")
		c := g.client(t, "h2", common().web)
		checks := func() int {
			b.mutex.Lock()
			defer b.mutex.Unlock()
			return b.checks
		}
		waitFor(t, "checks", patience, func() bool { return checks() > 0 })
		first := b.keep(t, c, "/first")
		second := g.waits(t, c, request("GET", "/second", ""))
		before := checks()
		waitFor(t, "checks to go on", patience, func() bool { return checks() > before+3 })
		if b.keeps() != 1 || g.waiting(t) != 1 || g.healthy(t, b.houses[0].address) != 1 {
			t.Errorf("%d calls are there, %d wait, %d workers find the endpoint healthy", b.keeps(), g.waiting(t), g.healthy(t, b.houses[0].address))
		}
		b.releaseAll()
		wantAnswers(t, http.StatusOK, first, second)
	}
}

// One of a mirror is as good as a call's, for the count; a copy that finds no room is none.
func TestCircuitBreakerCountsConnectionsOfMirrors(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			main, b := httpBackend(t), newInns(t, up, 1, opening{streams: 1})
			s := setup{backends: []string{http1("main", main.Address)}, routes: []string{route("path: /copied", "backend: main, mirror: {backend: web}")}}
			g := breaking(t, s, b, "connections: 1, "+patientBreaker, "")
			c := g.client(t, "h2", common().web)
			result := func(result string) int {
				return int(g.metric(t, fmt.Sprintf(`tollgate_mirrored_requests_total{backend="web",result=%q}`, result)))
			}
			b.releaseAll()
			wantStatus(t, c.get("/copied"), http.StatusOK) // whose connection tells how many streams it takes
			waitFor(t, "a copy to be answered", patience, func() bool { return result("answered") == 1 })
			b.shut()
			wantStatus(t, c.get("/copied"), http.StatusOK)
			b.awaitKept(t, 1)
			for range 4 {
				wantStatus(t, c.get("/copied"), http.StatusOK)
			}
			waitFor(t, "copies to be dropped", patience, func() bool { return result("dropped") == 4 })
			call := g.waits(t, c, request("GET", "/call", ""))
			b.release(t)
			waitFor(t, "the copy to be answered", patience, func() bool { return result("answered") == 2 })
			b.awaitKept(t, 1) // the call, though the mirror's connection could stay
			wantStatus(t, c.get("/copied"), http.StatusOK)
			waitFor(t, "copies to be dropped", patience, func() bool { return result("dropped") == 5 })
			b.release(t)
			wantAnswers(t, http.StatusOK, call)
			b.wantAtMost(t, g, 1)
		})
	}
}

// A connection that is a tunnel, or whose answer goes on, counts until it is closed.
func TestCircuitBreakerCountsTunnelsAndStreams(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route("path: /ws", "backend: web, upgrade: [websocket]"), route("path: /*", "backend: web")},
		backends: []string{strings.TrimSuffix(http1("web", web.Address), "}") + ", circuit_breaker: {connections: 1, " + patientBreaker + "}}"}})
	c := g.client(t, "h2", common().web)
	for range 3 {
		ws, err := g.websocket(t)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if websocket.Message.Send(ws, "hello") != nil || websocket.Message.Receive(ws, &got) != nil || got != "hello" {
			t.Fatalf("heard %q", got)
		}
		call := g.waits(t, c, request("GET", "/x", ""))
		_ = ws.Close()
		wantAnswers(t, http.StatusOK, call)

		ctx, cancel := context.WithCancel(t.Context())
		stream, err := c.Do(request("GET", "/stream?n=1000&gap=1h", "").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		call = g.waits(t, c, request("GET", "/x", ""))
		cancel()
		_ = stream.Body.Close()
		wantAnswers(t, http.StatusOK, call)
	}
	ctx, cancel := context.WithCancel(t.Context()) // and a tunnel waits as a call does
	defer cancel()
	stream, err := c.Do(request("GET", "/stream?n=1000&gap=1h", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		ws, err := g.websocket(t)
		if err == nil {
			err = errors.Join(websocket.Message.Send(ws, "hello"), websocket.Message.Receive(ws, new(string)), ws.Close())
		}
		opened <- err
	}()
	g.awaitWaiting(t, 1)
	cancel()
	_ = stream.Body.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
