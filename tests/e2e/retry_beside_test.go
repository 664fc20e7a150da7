package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tollgate/tests/backend"
)

// A route's `retry` beside all else that a call meets: one call stays one, whatever its attempts.

func TestLimitsAreForTheCallWhateverItsAttempts(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr := newTroupe(t, up, 2)
		g := start(t, setup{workers: 1, backends: []string{tr.backend(up, ", concurrency: {limit: 1}")}, routes: []string{route("path: /*",
			"backend: web, rate_limits: [{rate: 1/h, burst: 4}], call_limits: [{calls: 1}], retry: {tries: 4, backoff: 2ms}")}})
		c := g.client(t, down, common().web)
		for i, want := range []int{200, 200, 503, 200} {
			path := fmt.Sprint("/", i)
			tr.play(path, []act{answers(503), answers(502), answers(503), map[int]act{503: answers(503)}[want]}...)
			wantStatus(t, c.get(path), want)
			if n := len(tr.at(path)); n != 4 {
				t.Errorf("%d attempts", n)
			}
			g.waitUnderWay(t, "web", 0)
		}
		wantRefusal(t, c.get("/5"), 429, "rate_limited")
		if n := g.metric(t, `tollgate_rate_limit_decisions_total{route="/*",limit="rate_limits[0]",decision="allowed"}`); n != 4 {
			t.Errorf("%v calls have paid", n)
		}
	})
}

const handshake = "GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func TestUpgradesAreNotRepeated(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		script backend.Script
		status int
	}{
		"refused":      {answers503, 503},
		"closed":       {backend.AfterRequest(""), 502},
		"reset":        {backend.ResetAfterRequest, 502},
		"up and reset": {func(p *backend.Peer) { tunnels(p); p.Reset() }, 101},
		"up and ended": {tunnels, 101},
		"silent":       {backend.Silent, 504},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := scripted(t, row.script), scripted(t, row.script)
			g := start(t, setup{workers: 1, top: []string{accessLog}, listener: []string{"timeouts: {stream_idle: 900ms}"}, backends: []string{http1("web", a.Address, b.Address)}, routes: []string{
				route("path: /*", "backend: web, upgrade: [websocket], retry: {on: [reset, timeout, 503, 502], per_try_timeout: 200ms, tries: 4, non_idempotent: true, backoff: 0s}")}})
			w := g.wire(t, common().web)
			w.say(handshake)
			if got := w.hear("GET"); got.status != row.status {
				t.Fatalf("%+v", got)
			}
			if row.status == 101 {
				w.say("ping\n")
				if line, _ := w.reader.ReadString('\n'); name == "up and ended" && line != "pong\n" || !w.closed() {
					t.Errorf("%q in the tunnel, or no end of it", line)
				}
			}
			line := g.accessOf(t, "/ws")
			if n := strings.Count(a.Received()+b.Received(), "GET /ws"); n != 1 || g.repeats(t, "") != 0 || line.number("retries") != 0 {
				t.Errorf("%d handshakes, %v", n, line.fields)
			}
		})
	}
}

// tunnels takes an upgrade, and one line in the tunnel.
func tunnels(p *backend.Peer) {
	p.Request()
	p.Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	if line, _ := p.Reader.ReadString('\n'); line == "ping\n" {
		p.Say("pong\n")
	}
}

func TestClientThatWaitsFor100GetsItOnce(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		g, tr := repeating(t, up, "{non_idempotent: true, tries: 4, backoff: 1ms}")
		w, body := g.wire(t, common().web), pattern(50000)
		for i, first := range []act{answers(503), after(1, answers(503)), after(len(body), answers(503)), after(1, resets)} {
			path := fmt.Sprint("/", i)
			tr.play(path, first, after(10, answers(502)))
			w.say(fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: gateway.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, len(body)))
			if got, err := http.ReadResponse(w.reader, nil); err != nil || got.StatusCode != 100 {
				t.Fatalf("%+v, %v", got, err)
			}
			w.say(string(body))
			wantStatus(t, w.hear("PUT"), 200)
			if seen := tr.at(path); len(seen) != 3 || string(seen[2].body) != string(body) {
				t.Errorf("%d attempts, the last of %d bytes", len(seen), len(seen[len(seen)-1].body))
			}
		}
	}
}

func TestCopyOfARepeatedRequestIsSentOnce(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr, copies := newTroupe(t, up, 2), httpBackend(t)
		g := start(t, setup{workers: 1, backends: []string{tr.backend(up, ""), http1("copies", copies.Address)}, routes: []string{
			route("path: /*", "backend: web, mirror: {backend: copies}, retry: {non_idempotent: true, tries: 4, backoff: 1ms}")}})
		c, body := g.client(t, down, common().web), string(pattern(30000))
		for i, first := range []act{answers(503), after(1, answers(503)), after(len(body), resets), after(1, resets), nil} {
			path := fmt.Sprint("/", i)
			tr.play(path, first, first, first)
			wantStatus(t, c.do(request("POST", path, body)), 200)
			if copied := until(t, copies.Journal, patience, "POST "+path, whole); copied.ReceivedBytes != len(body) {
				t.Errorf("%d bytes were copied", copied.ReceivedBytes)
			}
			g.mirrored(t, "answered", i+1)
			if n := copies.Journal.Count(""); n != i+1 {
				t.Errorf("%d copies of %d requests", n, i+1)
			}
		}
	})
}

func TestRepeatsStayWithTheBackendThatWasDrawn(t *testing.T) {
	t.Parallel()
	a, b := newTroupe(t, "h1", 2), newTroupe(t, "h2", 2)
	g := start(t, setup{workers: 1, backends: []string{a.backend("h1", ""), strings.Replace(b.backend("h2", ""), "web", "canary", 1)}, routes: []string{
		route("path: /*", "backends: [{name: web, weight: 1}, {name: canary, weight: 1}], retry: {tries: 3, budget: 100, backoff: 0s}")}})
	c, at := g.client(t, "h2", common().web), map[int]int{}
	for i := range 60 {
		path := fmt.Sprint("/", i)
		a.play(path, answers(503), answers(503))
		b.play(path, answers(503), answers(503))
		wantStatus(t, c.get(path), 200)
		at[len(a.at(path))]++
		if n := len(a.at(path)) + len(b.at(path)); n != 3 {
			t.Errorf("%d attempts", n)
		}
	}
	if at[0]+at[3] != 60 || at[0] == 0 || at[3] == 0 {
		t.Errorf("calls by their attempts at one of two backends: %v", at)
	}
	if web, canary := g.repeats(t, `backend="web"`), g.repeats(t, `backend="canary"`); web != 2*at[3] || canary != 2*at[0] {
		t.Errorf("%d and %d repeats are counted, %v", web, canary, at)
	}
}

func TestCallersComeHomeAfterARepeat(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		tr := newTroupe(t, up, 3)
		g := start(t, setup{workers: 1, backends: []string{tr.backend(up, ", balance: hash, hash_by: 'header:x-user'")},
			routes: []string{route("path: /*", "backend: web, retry: {tries: 3, backoff: 0s}")}})
		c := g.client(t, "h2", common().web)
		for user := range 20 {
			home, path := c.get("/x", "X-User", fmt.Sprint(user)).body, fmt.Sprint("/", user)
			tr.play(path, answers(503), answers(503))
			wantStatus(t, c.get(path, "X-User", fmt.Sprint(user)), 200)
			seen := tr.at(path)
			if len(seen) != 3 || seen[0].endpoint != home || seen[1].endpoint == home || seen[2].endpoint == home || seen[1].endpoint == seen[2].endpoint {
				t.Errorf("home is %s, attempts %+v", home, seen)
			}
			if again := c.get("/x", "X-User", fmt.Sprint(user)).body; again != home {
				t.Errorf("%s was home, then %s", home, again)
			}
		}
	}
}

// here is the endpoint that a request came to.
func here(r *http.Request) string {
	return r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
}

// sicken has one endpoint of the troupe answer 503 to everything.
func (tr *troupe) sicken(endpoint string) {
	tr.mutex.Lock()
	defer tr.mutex.Unlock()
	tr.otherwise = func() act {
		return func(w http.ResponseWriter, r *http.Request) {
			answers(map[bool]int{true: 503, false: 200}[here(r) == endpoint])(w, r)
		}
	}
}

func TestEndpointThatIsOutGetsNoRepeats(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]string{"ejected": "ejection: {failures: 3, base: 1h}",
		"unhealthy": "health_check: {path: /healthz, interval: 50ms, timeout: 5s, unhealthy: 1}"} {
		for _, up := range []string{"h1", "h2"} {
			t.Run(name+" "+up, func(t *testing.T) {
				t.Parallel()
				tr := newTroupe(t, up, 2)
				tr.sicken(tr.addresses[0])
				g := start(t, setup{workers: 1, backends: []string{tr.backend(up, ", "+rest)},
					routes: []string{route("path: /*", "backend: web, retry: {tries: 3, backoff: 0s}")}})
				c := g.client(t, "h2", common().web)
				waitFor(t, "the endpoint to be out", patience, func() bool {
					wantStatus(t, c.get("/before"), 200)
					return g.healthy(t, tr.addresses[0]) == 0
				})
				before := g.repeats(t, "")
				tr.play("/second", answers(503)) // all that is left is asked again
				for _, path := range []string{"/first", "/second", "/third"} {
					wantStatus(t, c.get(path), 200)
				}
				for _, one := range append(append(tr.at("/first"), tr.at("/second")...), tr.at("/third")...) {
					if one.endpoint != tr.addresses[1] {
						t.Errorf("%+v", one)
					}
				}
				if n := g.repeats(t, "") - before; n != 1 || len(tr.at("/second")) != 2 {
					t.Errorf("%d repeats, %d attempts", n, len(tr.at("/second")))
				}
			})
		}
	}
}

// Endpoints that always answer see each attempt, and every place that counts them tells the same.
func TestSumsAgreeAfterAStorm(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			tr := newTroupe(t, up, 4)
			tr.otherwise = func() act { return []act{nil, nil, answers(503), answers(502), answers(404)}[rand.IntN(5)] }
			g := start(t, setup{top: []string{accessLog}, backends: []string{tr.backend(up, ", concurrency: {limit: 1000}")}, routes: []string{
				route("path: /*", "backend: web, retry: {on: [503, 502], tries: 4, non_idempotent: true, backoff: 10ms, budget: 40}")}})
			const callers, calls = 40, 40
			var group sync.WaitGroup
			var good atomic.Int64
			for caller := range callers {
				c := g.client(t, []string{"h1", "h2"}[caller%2], common().web)
				group.Go(func() {
					for i := range calls {
						got := c.do(request([]string{"GET", "POST"}[i%2], "/x", []string{"", "body"}[i%2]))
						if got.err != nil {
							t.Error(got.err)
						} else if got.status == 200 {
							good.Add(1)
						}
					}
				})
			}
			group.Wait()
			_ = g.over(t)
			tr.agree(t, g, callers*calls, int(good.Load()))
		})
	}
}

// agree compares what the endpoints saw with the metrics, /status and the access log.
func (tr *troupe) agree(t *testing.T, g *gateway, calls, good int) {
	t.Helper()
	attempts, traces := map[string]int{}, map[string]string{}
	for _, one := range tr.at("/x") {
		attempts[one.id]++
		trace := one.header.Get("Traceparent")
		if before, ok := traces[one.id]; trace == "" || ok && before != trace {
			t.Errorf("trace %q, then %q", before, trace)
		}
		traces[one.id] = trace
	}
	seen, repeats, logged := len(tr.at("/x")), g.repeats(t, ""), 0
	waitFor(t, "all access lines", patience, func() bool { return len(accessLines(t, filepath.Join(g.dir, "access.jsonl"))) == calls })
	for _, line := range accessLines(t, filepath.Join(g.dir, "access.jsonl")) {
		logged += int(line.number("retries"))
		if n := attempts[line.text("request_id")]; n != 1+int(line.number("retries")) {
			t.Errorf("%d attempts of %v", n, line.fields)
		}
	}
	var now statusReport
	g.json(t, "/status", &now)
	status := map[string]int{}
	for _, name := range []string{"requests_total", "upstream_requests_total", "upstream_retries_total"} {
		for _, one := range now.Series[name] {
			status[name] += int(one["value"].(float64))
			if one["code"] == "200" && name == "requests_total" {
				good -= int(one["value"].(float64))
			}
		}
	}
	if seen != calls+repeats || logged != repeats || status["requests_total"] != calls || good != 0 || len(attempts) != calls || repeats == 0 {
		t.Errorf("%d attempts of %d calls (%d), %d repeats are counted, %d logged, /status: %v, %d good ones uncounted", seen, calls, len(attempts), repeats, logged, status, good)
	}
}
