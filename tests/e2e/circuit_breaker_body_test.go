package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
)

// What calls that wait for a connection of a backend with `circuit_breaker` send meanwhile, and where they go then.

func TestCircuitBreakerSendsUploadsThatWaitedWhole(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b, other := newInns(t, up, 1, opening{streams: 1}), newInns(t, up, 1, opening{})
		other.releaseAll()
		s := setup{backends: []string{map[string]func(string, ...string) string{"h1": http1, "h2": h2}[up]("other", other.addresses()...)},
			routes: []string{route("path: /other", "backend: other")}}
		g := breaking(t, s, b, "connections: 1, "+patientBreaker, "")
		g.meet(t, b)
		c, body := g.client(t, down, common().web), pattern(3<<20)
		for _, stated := range []bool{true, false} {
			first := b.keep(t, c, "/first")
			var answers []<-chan reply
			for _, size := range []int{0, 1, 100, 64 << 10, len(body), len(body)} {
				answers = append(answers, g.waits(t, c, uploads("/x", body[:size], stated)))
			}
			// They are in nobody's way on their connection.
			if got := c.do(uploads("/other", body, stated)); got.status != http.StatusOK || got.body != receipt(body) {
				t.Errorf("beside them: %d %v %s", got.status, got.err, got.body)
			}
			g.awaitWaiting(t, len(answers))
			b.releaseAll()
			wantAnswers(t, http.StatusOK, first)
			for i, size := range []int{0, 1, 100, 64 << 10, len(body), len(body)} {
				if got := <-answers[i]; got.status != http.StatusOK || got.body != receipt(body[:size]) {
					t.Errorf("%d bytes: %d %v %s", size, got.status, got.err, got.body)
				}
			}
			b.shut()
		}
		b.wantAtMost(t, g, 1)
	})
}

func TestCircuitBreakerTakesNoMoreOfAnUploadThatWaitsThanFlowControlLets(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, "")
		g.meet(t, b)
		c, body := g.client(t, down, common().web), pattern(3<<20)
		first := b.keep(t, c, "/first")
		taken := func() int { return int(g.metric(t, `tollgate_network_bytes_total{side="client",direction="in"}`)) }
		before := taken()
		answer := g.waits(t, c, uploads("/x", body, true))
		waitFor(t, "the body to arrive", patience, func() bool { return taken()-before > 30<<10 })
		if n := steady(t, taken) - before; n > 1<<20 {
			t.Errorf("%d bytes were taken of a body that waits", n)
		}
		b.releaseAll()
		wantAnswers(t, http.StatusOK, first)
		if got := <-answer; got.body != receipt(body) {
			t.Errorf("%d %v %s", got.status, got.err, got.body)
		}
	})
}

// The body of an upload comes to its end, with its trailers, while the call waits.
func TestCircuitBreakerKeepsTheEndOfUploadsThatWait(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, "")
		g.meet(t, b)
		c := g.client(t, down, common().web)
		first, r := b.keep(t, c, "/first"), uploads("/x", nil, false)
		r.Trailer = http.Header{"X-Trailer": {"42"}}
		d := c.drips(r)
		_, _ = d.Write(pattern(10))
		g.awaitWaiting(t, 1)
		_, _ = io.WriteString(d, "the end")
		_ = d.Close()
		b.releaseAll()
		wantAnswers(t, http.StatusOK, first)
		if got := <-d.answer; got.body != receipt(append(pattern(10), "the end"...)) || got.header.Get("X-Trailer") != "42" {
			t.Errorf("%d %v %s %v", got.status, got.err, got.body, got.header)
		}
	})
}

// A request behind one that waits, on the same connection.
func TestCircuitBreakerAnswersPipelinedCallsInOrder(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 1, opening{})
	g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, "")
	first := b.keep(t, g.client(t, "h2", common().web), "/first")
	w := g.wire(t, common().web)
	w.say("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1\r\n\r\naGET /b HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	g.awaitWaiting(t, 1)
	b.releaseAll()
	wantAnswers(t, http.StatusOK, first)
	for _, body := range []string{"a", ""} {
		if got := w.hear("POST"); got.body != receipt([]byte(body)) {
			t.Errorf("%+v", got)
		}
	}
	if came := b.came(); !slices.Equal(came, []string{"/first", "/a", "/b"}) {
		t.Errorf("came %v", came)
	}
}

// Nobody stands still who waits for us. The clock is a client that does.
func TestCircuitBreakerKeepsWhoWaitsLongerThanStreamIdle(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		idler, b := httpBackend(t), newInns(t, up, 1, opening{streams: 1})
		s := setup{listener: []string{"timeouts: {stream_idle: " + milliseconds(2*time.Second) + "}"},
			backends: []string{http1("idler", idler.Address)}, routes: []string{route("path: /idle", "backend: idler")}}
		g := breaking(t, s, b, "connections: 1, "+patientBreaker, "")
		g.meet(t, b)
		c, body := g.client(t, down, common().web), pattern(3<<20)
		first := b.keep(t, c, "/drip")
		get, upload := g.waits(t, c, request("GET", "/x", "")), g.waits(t, c, uploads("/x", body, true))
		for range 2 {
			w := g.wire(t, common().web)
			w.say("POST /idle HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 2\r\n\r\nx")
			wantRefusal(t, w.hear("POST"), http.StatusRequestTimeout, "request_timeout")
		}
		g.awaitWaiting(t, 2)
		b.releaseAll()
		wantAnswers(t, http.StatusOK, first, get)
		if got := <-upload; got.status != http.StatusOK || got.body != receipt(body) {
			t.Errorf("%d %v %s", got.status, got.err, got.body)
		}
	})
}

func TestCircuitBreakerGivesWhoWaitsTheEndpointThatHasRoomFirst(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"round_robin", "least_requests"} {
		for _, up := range []string{"h1", "h2"} {
			t.Run(balance+" "+up, func(t *testing.T) {
				t.Parallel()
				b := newInns(t, up, 3, opening{streams: 1})
				g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, ", balance: "+balance)
				c := g.client(t, "h2", common().web)
				b.releaseAll()
				for range 6 { // all are met
					wantStatus(t, c.get("/meet"), http.StatusOK)
				}
				b.shut()
				var answers []<-chan reply
				for range b.houses {
					answers = append(answers, b.keep(t, c, "/first"))
				}
				for i := range 9 {
					answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/", i), "")))
				}
				for i, at := range []int{2, 2, 0, 0, 0, 1, 2, 1, 0} {
					b.release(t, b.houses[at])
					b.awaitKept(t, 3)
					waitFor(t, "the next to come", patience, func() bool { return b.last(t).path == fmt.Sprint("/", i) })
					if last := b.last(t); last.house != b.houses[at] {
						t.Errorf("%s went elsewhere", last.path)
					}
				}
				b.releaseAll()
				wantAnswers(t, http.StatusOK, answers...)
				b.wantAtMost(t, g, 1)
			})
		}
	}
}

// Callers that belong to an endpoint wait for that one, and hold up none that belong to another.
func TestCircuitBreakerKeepsCallersAtTheirEndpoint(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			b := newInns(t, up, 2, opening{streams: 1})
			g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, ", balance: hash, hash_by: 'header:x-user'")
			c := g.client(t, "h2", common().web)
			user := map[*house]string{}
			b.releaseAll()
			for i := 0; len(user) < 2; i++ {
				name := fmt.Sprint("user", i)
				wantStatus(t, c.get("/meet", "X-User", name), http.StatusOK)
				user[b.last(t).house] = name
			}
			b.shut()
			one, other := b.houses[0], b.houses[1]
			answers := []<-chan reply{b.keep(t, c, "/one/0", "X-User", user[one])}
			for i := 1; i <= 3; i++ {
				answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/one/", i), "", "X-User", user[one])))
			}
			answers = append(answers, b.keep(t, c, "/other/0", "X-User", user[other])) // at once: there is room
			g.awaitWaiting(t, 3)
			answers = append(answers, g.waits(t, c, request("GET", "/other/1", "", "X-User", user[other])))
			b.release(t, other)
			waitFor(t, "who waits for the other", patience, func() bool { return b.last(t).path == "/other/1" })
			g.awaitWaiting(t, 3)
			b.release(t, other) // whose connection is idle now, and nobody's
			for i := 1; i <= 3; i++ {
				b.release(t, one)
				waitFor(t, "the next", patience, func() bool { return b.last(t).path == fmt.Sprint("/one/", i) })
				g.awaitWaiting(t, 3-i)
			}
			b.releaseAll()
			wantAnswers(t, http.StatusOK, answers...)
			b.mutex.Lock()
			defer b.mutex.Unlock()
			for _, guest := range b.guests {
				if path := guest.path; path != "/meet" && (path[:4] == "/one") != (guest.house == one) {
					t.Errorf("%s came to the other endpoint", path)
				}
			}
		})
	}
}

// However full the queue is.
func TestCircuitBreakerRefusesNobodyWhoseEndpointHasRoom(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		for _, pending := range []int{0, 1} {
			b := newInns(t, up, 2, opening{streams: 1})
			g := breaking(t, setup{}, b, fmt.Sprintf("connections: 1, pending: %d, pending_timeout: 5m", pending), ", balance: hash, hash_by: 'header:x-user'")
			c := g.client(t, "h2", common().web)
			user := map[*house]string{}
			b.releaseAll()
			for i := 0; len(user) < 2; i++ {
				name := fmt.Sprint("user", i)
				wantStatus(t, c.get("/meet", "X-User", name), http.StatusOK)
				user[b.last(t).house] = name
			}
			b.shut()
			one, other := user[b.houses[0]], user[b.houses[1]]
			answers, before := []<-chan reply{b.keep(t, c, "/one", "X-User", one)}, g.tokens(t)
			for range pending {
				answers = append(answers, g.waits(t, c, request("GET", "/one", "", "X-User", one)))
			}
			g.wantBusy(t, c.get("/one", "X-User", one))
			answers = append(answers, b.keep(t, c, "/other", "X-User", other))
			if paid := g.tokens(t) - before; paid != pending+1 {
				t.Errorf("%d calls have paid, want %d", paid, pending+1)
			}
			b.releaseAll()
			wantAnswers(t, http.StatusOK, answers...)
		}
	}
}

// A further attempt waits like any other call: behind those who were there before it.
func TestCircuitBreakerHasRetriesWait(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 2, opening{streams: 1})
		g := breaking(t, setup{routes: []string{route("path: /retried", "backend: web, retry: {on: [503], non_idempotent: true, backoff: 0s}")}}, b,
			"connections: 1, "+patientBreaker, "")
		c := g.client(t, down, common().web)
		b.releaseAll()
		for range 4 {
			wantStatus(t, c.get("/meet"), http.StatusOK)
		}
		b.shut()
		body := pattern(20_000)
		r := uploads("/retried", body, true)
		r.Header.Set("X-First", "503")
		retried := c.later(r)
		b.awaitKept(t, 1)
		at := b.last(t).house
		busy, waits := b.keep(t, c, "/busy"), g.waits(t, c, request("GET", "/waits", ""))
		b.release(t, at) // with 503
		waitFor(t, "who waits to come", patience, func() bool { return b.last(t).path == "/waits" })
		g.awaitWaiting(t, 1)
		if b.last(t).house != at {
			t.Error("who waits went elsewhere")
		}
		elsewhere := b.houses[0]
		if at == elsewhere {
			elsewhere = b.houses[1]
		}
		b.release(t, elsewhere)
		waitFor(t, "the other attempt", patience, func() bool { return b.last(t).path == "/retried" })
		b.releaseAll()
		wantAnswers(t, http.StatusOK, busy, waits)
		if got := <-retried; got.status != http.StatusOK || got.body != receipt(body) {
			t.Errorf("%d %v %s", got.status, got.err, got.body)
		}
		b.wantAtMost(t, g, 1)
		g.wantOutcomes(t, outcomes{served: 2})
	})
}

// A caller's deadline holds while its further attempt waits, too.
func TestCircuitBreakerEndsRetriesThatWaitAtTheirDeadline(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 1, opening{})
	g := breaking(t, setup{routes: []string{route("path: /retried", "backend: web, timeout: "+milliseconds(2*time.Second)+", retry: {on: [503], backoff: 0s}")}}, b,
		"connections: 1, "+patientBreaker, "")
	c, began := g.client(t, "h2", common().web), time.Now()
	retried := b.keep(t, c, "/retried", "X-First", "503")
	waits := g.waits(t, c, request("GET", "/waits", ""))
	b.release(t)
	got := <-retried
	if wantStatus(t, got, http.StatusGatewayTimeout); time.Since(began) < 1900*time.Millisecond {
		t.Errorf("ended after %v: %s", time.Since(began), got.body)
	}
	b.releaseAll()
	wantAnswers(t, http.StatusOK, waits)
	g.awaitWaiting(t, 0)
}

// Whoever asks first whether to send its body is told before it is served; where it is refused, before it sends.
func TestCircuitBreakerTellsWhoWaitsToContinue(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 1, opening{})
	g := breaking(t, setup{}, b, "connections: 1, pending: 1, pending_timeout: 5m", "")
	first := b.keep(t, g.client(t, "h2", common().web), "/first")
	const head = "POST /x HTTP/1.1\r\nHost: gateway.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	waits, refused := g.wire(t, common().web), g.wire(t, common().web)
	waits.say(head)
	if got := waits.hear("POST"); got.status != http.StatusContinue {
		t.Fatalf("%+v", got)
	}
	g.awaitWaiting(t, 1)
	refused.say(head)
	wantRefusal(t, refused.hear("POST"), http.StatusServiceUnavailable, "overloaded")
	waits.say("12345")
	b.releaseAll()
	wantAnswers(t, http.StatusOK, first)
	if got := waits.hear("POST"); got.status != http.StatusOK || got.body != receipt([]byte("12345")) {
		t.Errorf("%+v", got)
	}
}
