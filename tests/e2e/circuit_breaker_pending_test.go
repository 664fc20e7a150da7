package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Calls that wait for a connection of a backend with `circuit_breaker`.

// wantBusy fails the test unless a call was refused because the backend's connections are all busy, and may come again.
func (g *gateway) wantBusy(t *testing.T, got reply) {
	t.Helper()
	wantRefusal(t, got, http.StatusServiceUnavailable, "overloaded")
	if got.header.Get("Retry-After") == "" || got.header.Get("Content-Type") != "application/problem+json" || got.closes {
		t.Errorf("answered %v, closes %v", got.header, got.closes)
	}
	g.wantBusyRecord(t)
}

func (g *gateway) wantBusyRecord(t *testing.T) auditRecord {
	t.Helper()
	record := g.waitForAudit(t, "overloaded", because("overloaded"))
	if !strings.Contains(record.Detail, "connections") || !strings.Contains(record.Detail, "busy") || record.MatchedRule != "circuit_breaker" {
		t.Errorf("rule %q, detail %q", record.MatchedRule, record.Detail)
	}
	return record
}

// tokens tells how many calls have paid.
func (g *gateway) tokens(t *testing.T) int {
	t.Helper()
	return int(g.metric(t, `tollgate_rate_limit_decisions_total{route="/*",limit="rate_limits[0]",decision="allowed"}`))
}

func (g *gateway) overloaded(t *testing.T) int {
	t.Helper()
	return int(g.metric(t, `tollgate_rejections_total{listener="edge",reason="overloaded"}`))
}

func TestCircuitBreakerServesFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			b := newInns(t, up, 1, opening{streams: 1})
			g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, "")
			g.meet(t, b)
			clients := map[int]*client{0: g.client(t, "h1", common().web), 1: g.client(t, "h2", common().web)}
			answers, want := []<-chan reply{b.keep(t, clients[0], "/0")}, []string{"/meet", "/0"}
			for i := 1; i <= 10; i++ {
				want = append(want, fmt.Sprint("/", i))
				answers = append(answers, g.waits(t, clients[i/2%2], request("GET", want[i+1], "")))
			}
			for i, answer := range answers {
				b.awaitKept(t, 1)
				if got := b.came(); !slices.Equal(got, want[:i+2]) {
					t.Fatalf("came %v, want %v", got, want[:i+2])
				}
				b.release(t)
				wantAnswers(t, http.StatusOK, answer)
			}
			g.wantOutcomes(t, outcomes{served: 10})
			b.wantAtMost(t, g, 1)
		})
	}
}

func TestCircuitBreakerRefusesAtOnceWhenTheQueueIsFull(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		for more, pending := range map[string]int{"": 0, ", balance: least_requests": 2, ", balance: hash, hash_by: identity": 0, ", balance: hash, hash_by: source_ip": 2,
			", proxy_protocol: v1": 0, ", proxy_protocol: v2": 2} {
			b := newInns(t, up, 1, opening{streams: 1, proxied: strings.Contains(more, "proxy")})
			g := breaking(t, setup{}, b, fmt.Sprintf("connections: 1, pending: %d, pending_timeout: 5m", pending), more)
			busy, c := g.client(t, "h2", common().web), g.client(t, down, common().web)
			g.meet(t, b, busy)
			answers := []<-chan reply{b.keep(t, busy, "/first")}
			for range pending {
				answers = append(answers, g.waits(t, busy, request("GET", "/x", "")))
			}
			before, refused := g.tokens(t), 0
			for _, r := range []*http.Request{request("GET", "/x", ""), request("POST", "/x", "body"), request("GET", "/x", "")} {
				g.wantBusy(t, c.do(r))
				refused++
			}
			if paid, rejected := g.tokens(t)-before, g.overloaded(t); paid != 0 || rejected != refused {
				t.Errorf("%q: %d of %d refused calls have paid, %d are counted", more, paid, refused, rejected)
			}
			if n := c.connections(); n != 1 {
				t.Errorf("%d connections, want one that stays", n)
			}
			g.countAudit(t, refused, because("overloaded"))
			b.releaseAll()
			wantAnswers(t, http.StatusOK, answers...)
			g.wantOutcomes(t, outcomes{served: pending, refused: refused})
			wantStatus(t, c.get("/x"), http.StatusOK)
		}
	})
}

func TestCircuitBreakerLetsAHundredWaitUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 1, opening{})
	g := breaking(t, setup{}, b, "connections: 1, pending_timeout: 5m", "")
	answers := slices.Concat(g.client(t, "h2", common().web).crowded(55), g.client(t, "h2", common().web).crowded(55))
	b.awaitKept(t, 1)
	g.wantOutcomes(t, outcomes{refused: 9})
	g.awaitWaiting(t, 100)
	b.releaseAll()
	found := map[int]int{}
	for _, answer := range answers {
		found[(<-answer).status]++
	}
	if found[200] != 101 || found[503] != 9 {
		t.Errorf("answers %v", found)
	}
}

func TestCircuitBreakerRefusesWhoWaitedTooLong(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		for keys, wait := range map[string]time.Duration{", pending_timeout: 300ms": 300 * time.Millisecond, "": time.Second} {
			b := newInns(t, up, 1, opening{streams: 1})
			g := breaking(t, setup{}, b, "connections: 1"+keys, "")
			g.meet(t, b)
			c := g.client(t, down, common().web)
			first, before := b.keep(t, g.client(t, "h2", common().web), "/first"), g.tokens(t)
			for i, r := range []*http.Request{request("GET", "/x", ""), uploads("/x", pattern(100), false)} {
				began := time.Now()
				g.wantBusy(t, c.do(r))
				if took := time.Since(began); took < wait {
					t.Errorf("it waited for %v of %v", took, wait)
				}
				if paid, rejected := g.tokens(t)-before, g.overloaded(t); paid != i+1 || rejected != i+1 {
					t.Errorf("%d calls have paid, %d are counted as refused, want %d", paid, rejected, i+1)
				}
			}
			g.countAudit(t, 2, because("overloaded"))
			b.releaseAll()
			wantAnswers(t, http.StatusOK, first)
			wantStatus(t, c.get("/x"), http.StatusOK)
			g.wantOutcomes(t, outcomes{timedOut: 2})
			if came := b.came(); !slices.Equal(came, []string{"/meet", "/first", "/x"}) {
				t.Errorf("came %v", came)
			}
		}
	})
}

// busyUsers is a gateway before a gRPC backend that takes one call at a time, and has one.
func busyUsers(t *testing.T, breaker, rest string) (g *gateway, users *backend.GRPC, leave func()) {
	t.Helper()
	users = must(backend.StartGRPC("127.0.0.1:0", grpc.MaxConcurrentStreams(1)))
	t.Cleanup(users.Stop)
	g = start(t, setup{workers: 1, routes: []string{route(`grpc: user.UserService/ListUsers`, "backend: web"), route(`grpc: "user.*/*"`, "backend: web"+rest)},
		backends: []string{strings.TrimSuffix(h2("web", users.Address), "}") + ", circuit_breaker: {connections: 1, " + breaker + "}}"}})
	conn := g.rpc(t, common().web)
	wantCode(t, invoke(t, conn, getUser), codes.OK)
	ctx, cancel := context.WithCancel(ordering(context.Background(), backend.DoSleep, "1h"))
	t.Cleanup(cancel)
	stream := openStream(t, ctx, conn, listUsers)
	send(t, stream, "x")
	_ = stream.CloseSend()
	until(t, users.Journal, patience, listUsers, began)
	return g, users, cancel
}

func grpcStatus(r reply) string { return r.header.Get("Grpc-Status") + r.trailer.Get("Grpc-Status") }

func TestCircuitBreakerTellsGRPCCallsByTheirStatus(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		breaker, rest, timeout, status string
		refused                        bool
		want                           outcomes
	}{
		"the queue is full":        {"pending: 0", "", "", "14", true, outcomes{refused: 1}},
		"it waited too long":       {"pending_timeout: 200ms", "", "", "14", true, outcomes{timedOut: 1}},
		"the caller's time is up":  {"pending_timeout: 5m", "", "300m", "4", false, outcomes{left: 1}},
		"the route's time is up":   {"pending_timeout: 5m", ", timeout: 300ms", "", "4", false, outcomes{left: 1}},
		"the shorter of the times": {"pending_timeout: 5m", ", timeout: 300ms", "1H", "4", false, outcomes{left: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, users, leave := busyUsers(t, row.breaker, row.rest)
			r := grpcRequest(getUser)
			if row.timeout != "" {
				r.Header.Set("Grpc-Timeout", row.timeout)
			}
			got := g.client(t, "h2", common().web).do(r)
			if wantStatus(t, got, http.StatusOK); grpcStatus(got) != row.status {
				t.Errorf("grpc-status %q, want %s: %v", grpcStatus(got), row.status, got.header)
			}
			if row.refused {
				if record := g.wantBusyRecord(t); record.RPCMethod != getUser || record.Answer.GRPCStatus == nil || *record.Answer.GRPCStatus != 14 {
					t.Errorf("record %s", record.line)
				}
			}
			g.wantOutcomes(t, row.want)
			g.awaitWaiting(t, 0)
			if users.Journal.Count(getUser) != 1 {
				t.Error("the call reached the backend")
			}
			leave()
			waitFor(t, "another call to pass", patience, func() bool { return invoke(t, g.rpc(t, common().web), login) == nil })
		})
	}
}

// What a call of gRPC sends while it waits is there when it is served.
func TestCircuitBreakerKeepsMessagesOfCallsThatWait(t *testing.T) {
	t.Parallel()
	g, users, leave := busyUsers(t, patientBreaker, "")
	stream := openStream(t, within(t, patience), g.rpc(t, common().web), chat)
	const count = 50
	for i := range count {
		send(t, stream, fmt.Sprint("message ", i))
	}
	g.awaitWaiting(t, 1)
	if users.Journal.Count(chat) != 0 {
		t.Error("the call reached the backend")
	}
	leave()
	for i := range count {
		if got, err := stream.Receive(); err != nil || string(got) != fmt.Sprint("message ", i) {
			t.Fatalf("message %d: %q, %v", i, got, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Error(err)
	}
}

func TestCircuitBreakerEndsCallsAtTheRoutesTimeout(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g := breaking(t, setup{routes: []string{route("path: /short", "backend: web, timeout: 300ms")}}, b, "connections: 1, "+patientBreaker, "")
		g.meet(t, b)
		first := b.keep(t, g.client(t, "h2", common().web), "/first")
		for _, r := range []*http.Request{request("GET", "/short", ""), uploads("/short", pattern(100), true)} {
			got := g.client(t, down, common().web).do(r)
			if wantStatus(t, got, http.StatusGatewayTimeout); got.problem("reason") == "overloaded" {
				t.Error(got.body)
			}
		}
		g.wantOutcomes(t, outcomes{left: 2})
		b.releaseAll()
		wantAnswers(t, http.StatusOK, first)
		b.wantAtMost(t, g, 1)
	})
}

// Whoever leaves the queue makes room in it, and those behind move up.
func TestCircuitBreakerForgetsWhoLeavesTheQueue(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		b := newInns(t, up, 1, opening{streams: 1})
		g := breaking(t, setup{}, b, "connections: 1, pending: 4, pending_timeout: 5m", "")
		g.meet(t, b)
		c := g.client(t, down, common().web)
		answers := []<-chan reply{b.keep(t, c, "/0")}
		leave := map[int]context.CancelFunc{}
		for i := 1; i <= 4; i++ {
			ctx, cancel := context.WithCancel(t.Context())
			leave[i] = cancel
			r := request("GET", fmt.Sprint("/", i), "")
			if i == 3 {
				r = uploads("/3", pattern(map[string]int{"h1": 40_000, "h2": 200_000}[down]), true) // more hides the end of HTTP/1.1
			}
			answers = append(answers, g.waits(t, c, r.WithContext(ctx)))
		}
		leave[1]()
		leave[3]()
		g.awaitWaiting(t, 2)
		g.wantOutcomes(t, outcomes{left: 2})
		for _, path := range []string{"/5", "/6"} { // there is room for two
			answers = append(answers, g.waits(t, c, request("GET", path, "")))
		}
		g.wantBusy(t, g.client(t, down, common().web).get("/x"))
		b.releaseAll()
		for i, answer := range answers {
			if got := <-answer; (got.err == nil) == (i == 1 || i == 3) {
				t.Errorf("call %d: %+v", i, got)
			}
		}
		if came := b.came(); !slices.Equal(came, []string{"/meet", "/0", "/2", "/4", "/5", "/6"}) {
			t.Errorf("came %v", came)
		}
		g.wantOutcomes(t, outcomes{served: 4, left: 2, refused: 1})
	})
}

// caller is a client whose connections to the inns are in its name alone.
func (b *inns) caller(t *testing.T, g *gateway, protocol string) (c *client, ask func() (connection int)) {
	t.Helper()
	c, from := g.located(t, protocol)
	return c, func() int {
		t.Helper()
		wantStatus(t, c.get("/x"), http.StatusOK)
		last := b.last(t)
		if last.from != from() {
			t.Errorf("a call of %s came in the name of %s", from(), last.from)
		}
		return last.connection
	}
}

func TestCircuitBreakerClosesTheConnectionInAnothersNameThatIsIdleLongest(t *testing.T) {
	t.Parallel()
	for _, pending := range []string{"pending: 1000", "pending: 0"} {
		everyUp(t, func(t *testing.T, up string) {
			b := newInns(t, up, 1, opening{proxied: true})
			g := breaking(t, setup{}, b, "connections: 2, pending_timeout: 5m, "+pending, ", proxy_protocol: v1")
			b.releaseAll()
			_, one := b.caller(t, g, "h1")
			_, two := b.caller(t, g, "h2")
			_, three := b.caller(t, g, "h1")
			for i, step := range []struct {
				ask  func() int
				want int
			}{{one, 1}, {two, 2}, {one, 1}, {two, 2}, {three, 3}, {two, 2}, {three, 3}, {two, 2}, {one, 4}, {two, 2}, {one, 4}, {three, 5}, {one, 4}, {two, 6}} {
				if got := step.ask(); got != step.want {
					t.Fatalf("%s, call %d came over connection %d, want %d", pending, i, got, step.want)
				}
			}
			if _, _, accepted := b.houses[0].connections(); accepted != 6 {
				t.Errorf("%d connections were made", accepted)
			}
			b.wantAtMost(t, g, 2)
			g.awaitWaiting(t, 0)
		})
	}
}

func TestCircuitBreakerHasConnectionsInAnothersNameWaitedFor(t *testing.T) {
	t.Parallel()
	everyUp(t, func(t *testing.T, up string) {
		b := newInns(t, up, 1, opening{proxied: true, streams: 1})
		g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, ", proxy_protocol: v1")
		one, from := g.located(t, "h2")
		answers := []<-chan reply{b.keep(t, one, "/0"), g.waits(t, one, request("GET", "/1", ""))}
		for i, protocol := range []string{"h1", "h2"} {
			c, _ := g.located(t, protocol)
			answers = append(answers, g.waits(t, c, request("GET", fmt.Sprint("/", 2+i), "")))
		}
		answers = append(answers, g.waits(t, one, request("GET", "/4", "")))
		for i, answer := range answers {
			b.awaitKept(t, 1)
			last := b.last(t)
			if own := i < 2 || i == 4; last.path != fmt.Sprint("/", i) || own != (last.from == from()) || own && i < 2 && last.connection != 1 {
				t.Fatalf("%s came of %s over connection %d", last.path, last.from, last.connection)
			}
			b.release(t)
			wantAnswers(t, http.StatusOK, answer)
		}
		if _, _, accepted := b.houses[0].connections(); accepted != 4 {
			t.Errorf("%d connections were made", accepted)
		}
		b.wantAtMost(t, g, 1)
	})
}
