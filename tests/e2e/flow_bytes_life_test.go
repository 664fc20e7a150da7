package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// What else happens to calls that are paused.

// A byte a second, behind the burst.
const crawling = "{bytes: 60/m, burst: 1000}"

func (g *gateway) awaitPauses(t *testing.T, path string, n float64) {
	t.Helper()
	waitFor(t, "pauses", patience, func() bool {
		return g.metric(t, fmt.Sprintf(`tollgate_flow_limit_events_total{route=%q,limit="flow_limits[0]",event="paused"}`, path)) >= n
	})
}

func TestPausedUploadEndsWithItsRequestsTimeout(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h1", setup{listener: []string{"timeouts: {request: 1s, stream_idle: 60s}"}}, map[string]string{"/in": crawling})
	for _, down := range []string{"h1", "h2"} {
		since := time.Now()
		got := g.client(t, down, common().web).do(uploads("/in", pattern(200_000), false))
		if got.err != nil && down == "h1" {
			continue // it is still sending when the connection is closed
		}
		wantRefusal(t, got, http.StatusRequestTimeout, "request_timeout")
		wantTook(t, since, time.Second)
	}
	g.awaitRequests(t, 0)
}

func TestPausedCallEndsWithItsRoutesTimeout(t *testing.T) {
	t.Parallel()
	d := newDepot(t, "h2")
	g := start(t, setup{backends: []string{h2("web", d.address)},
		routes: []string{route("path: /*", "backend: web, timeout: 1s, flow_limits: ["+crawling+"]")}})
	since := time.Now()
	got := g.client(t, "h2", common().web).do(uploads("/in", pattern(2000), true))
	wantStatus(t, got, http.StatusGatewayTimeout)
	wantTook(t, since, time.Second)
	g.awaitRequests(t, 0)
}

// A pause of seconds is no stream that stands still.
func TestPausesOfBytesOutlastStreamIdle(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, d := limitedBytes(t, up, setup{listener: []string{"timeouts: {stream_idle: 900ms}"}},
			map[string]string{"/in": crawling, "/out": strings.Replace(crawling, "{", "{direction: responses, ", 1)})
		c, m := g.client(t, down, common().web), d.expect("/in", newMeter(1, 1000))
		wantStatus(t, c.do(uploads("/in", pattern(1002), true)), 200)
		m.wantMet(t, "up", pattern(1002))
		d.content = pattern(1002)
		began := time.Now()
		got := c.get("/out?stated")
		if wantStatus(t, got, 200); got.body != string(d.content) || time.Since(began) < 2*time.Second {
			t.Errorf("%d bytes after %v", len(got.body), time.Since(began))
		}
	})
}

// But a client that does not send is one, whatever the limits.
func TestStreamIdleStillEndsWhoSendsNothing(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h1", setup{listener: []string{"timeouts: {stream_idle: 500ms}"}}, map[string]string{"/in": crawling})
	w := g.wire(t, common().web)
	w.say("POST /in HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 2000\r\n\r\n" + string(pattern(1001)))
	wantRefusal(t, w.hear("POST"), http.StatusRequestTimeout, "request_timeout")
}

func TestClientsThatLeaveWhilePausedLeaveNothing(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, d := limitedBytes(t, up, setup{}, map[string]string{"/in": crawling, "/out": strings.Replace(crawling, "{", "{direction: responses, ", 1)})
		d.content = pattern(300_000)
		d.expect("/in", newMeter(1, 1000))
		// More than is read of a paused upload over HTTP/1.1 hides the end of the connection.
		for _, size := range []int{2000, map[string]int{"h1": 40_000, "h2": 300_000}[down]} {
			c := g.patiently(t, down)
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan struct{}, 2)
			for _, r := range []*http.Request{uploads("/in", pattern(size), true), request("GET", "/out", "")} {
				go func() { _ = c.do(r.WithContext(ctx)); ended <- struct{}{} }()
			}
			g.awaitRequests(t, 2)
			g.awaitPauses(t, "/in", 1)
			g.awaitPauses(t, "/out", 1)
			cancel()
			<-ended
			<-ended
			g.awaitRequests(t, 0)
		}
	})
}

func TestBackendsThatDieWhileTheirCallIsPaused(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, d := limitedBytes(t, up, setup{}, map[string]string{"/in": crawling, "/out": strings.Replace(crawling, "{", "{direction: responses, ", 1)})
		d.content = pattern(20_000) // behind more than 64 KiB nobody hears a backend of HTTP/1.1 go
		m := d.expect("/in", newMeter(1, 1000))
		c := g.patiently(t, down)
		answers := make(chan reply, 2)
		go func() { answers <- c.do(uploads("/in", pattern(2000), true)) }()
		go func() { answers <- c.get("/out?endless") }()
		waitFor(t, "the burst to pass", patience, func() bool { return m.count() >= 999 })
		g.awaitPauses(t, "/out", 1)
		_ = d.server.Close()
		for range 2 {
			if got := <-answers; got.err == nil && got.status != http.StatusBadGateway {
				t.Errorf("status %d, %d bytes", got.status, len(got.body))
			}
		}
		g.awaitRequests(t, 0)
	})
}

// What was said of its end stays true: the answer is whole at the gateway when its backend goes.
func TestAnswersThatAreHeldWholeOutliveTheirBackend(t *testing.T) {
	t.Parallel()
	for _, down := range []string{"h1", "h2"} {
		g, back := scriptedWeb(t, func(p *backend.Peer) {
			p.Request()
			p.Say("HTTP/1.1 200 OK\r\nContent-Length: 1002\r\n\r\n%s", pattern(1002))
		}, ", flow_limits: ["+strings.Replace(crawling, "{", "{direction: responses, ", 1)+"]")
		got := g.client(t, down, common().web).get("/")
		if wantStatus(t, got, 200); got.body != string(pattern(1002)) {
			t.Errorf("%d bytes, %v", len(got.body), got.err)
		}
		back.Stop()
	}
}

func TestRequestsBehindAPausedOneAreServed(t *testing.T) {
	t.Parallel()
	g, d := limitedBytes(t, "h1", setup{}, map[string]string{"/in": crawling})
	m := d.expect("/in", newMeter(1, 1000))
	w := g.wire(t, common().web)
	const head = "POST %s HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: %d\r\n\r\n%s"
	w.say(fmt.Sprintf(head, "/in", 1001, pattern(1001)) + fmt.Sprintf(head, "/next", 5, "hello") + "GET /none HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	for _, want := range []string{"1001", "5", ""} {
		if got := w.hear("POST"); got.status != 200 || got.body != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	m.wantMet(t, "the paused one", pattern(1001))
	w.say(fmt.Sprintf(head, "/in", 1, "x") + fmt.Sprintf(head, "/next", 2, "hi"))
	for _, want := range []string{"1", "2"} {
		if got := w.hear("POST"); got.body != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
}

// The bucket is empty, and these take nothing from it.
func TestCallsWithoutBodiesNeitherPayNorWait(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr := newTroupe(t, up, 1)
		answer := func(status int) act {
			return func(w http.ResponseWriter, _ *http.Request) {
				if status == 200 {
					w.Header().Set("Content-Length", "5000")
				}
				w.WriteHeader(status)
			}
		}
		for path, status := range map[string]int{"/head": 200, "/204": 204, "/304": 304} {
			tr.play(path, answer(status), answer(status), answer(status))
		}
		tr.play("/empty", func(http.ResponseWriter, *http.Request) {})
		tr.play("/fill", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pattern(10)) })
		g := start(t, setup{backends: []string{map[string]func(string, ...string) string{"h1": http1, "h2": h2}[up]("web", tr.addresses[0])},
			routes: []string{route("path: /*", "backend: web, flow_limits: [{bytes: 1/h, burst: 10, on_excess: reject}, {bytes: 1/h, burst: 10, direction: responses, on_excess: reject}]")}})
		c := g.client(t, down, common().web)
		wantStatus(t, c.do(uploads("/fill", pattern(10), true)), 200)
		wantStatus(t, c.do(request("HEAD", "/head", "")), 200)
		wantStatus(t, c.get("/204"), 204)
		wantStatus(t, c.get("/304"), 304)
		wantStatus(t, c.do(uploads("/empty", nil, true)), 200)
	})
}

// A body that is sent once more has been paid for.
func TestRepeatsPayNothingMore(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr := newTroupe(t, up, 2)
		g := start(t, setup{backends: []string{tr.backend(up, "")},
			routes: []string{route("path: /*", "backend: web, retry: {on: [503, reset], tries: 4, non_idempotent: true, backoff: 5ms}, flow_limits: [{bytes: 1/m, burst: 3000}]")}})
		for i, first := range [][]act{{answers(503)}, {after(1000, answers(503)), after(1000, answers(503))}, {after(500, resets), after(1, resets)}} {
			path := fmt.Sprintf("/%d", i)
			tr.play(path, first...)
			wantStatus(t, g.client(t, down, common().web).do(uploads(path, pattern(1000), i != 1)), 200)
			seen := tr.at(path)
			if last := seen[len(seen)-1]; len(seen) != len(first)+1 || !bytes.Equal(last.body, pattern(1000)) {
				t.Errorf("%d attempts, the last of %d bytes", len(seen), len(last.body))
			}
		}
	})
}

// And one of which a part is still held loses nothing, and gains nothing.
func TestRepeatsOfPausedBodiesAreWhole(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr := newTroupe(t, up, 1)
		g := start(t, setup{backends: []string{tr.backend(up, "")},
			routes: []string{route("path: /*", "backend: web, retry: {on: [503, reset], tries: 4, non_idempotent: true, backoff: 5ms}, flow_limits: [{bytes: 20000/s, burst: 5000}]")}})
		tr.play("/x", after(100, answers(503)), after(4000, resets), after(9000, answers(503)))
		began := time.Now()
		wantStatus(t, g.client(t, down, common().web).do(uploads("/x", pattern(25000), true)), 200)
		if took := time.Since(began); took < time.Second {
			t.Errorf("took %v", took)
		}
		seen := tr.at("/x")
		if last := seen[len(seen)-1]; len(seen) != 4 || !bytes.Equal(last.body, pattern(25000)) {
			t.Errorf("%d attempts, the last of %d bytes", len(seen), len(last.body))
		}
	})
}

// Pauses go on under the configuration they began with; what is left in the bucket is carried over.
func TestReloadsWhilePaused(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]string{"other numbers": "{bytes: 100KiB/s, burst: 2000}", "none": "", "keyed": "{bytes: 60/m, burst: 1000, per: [identity]}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, d := limitedBytes(t, "h1", setup{}, map[string]string{"/in": "{bytes: 300/m, burst: 1000}"})
			d.expect("/in", newMeter(5, 1000))
			answer := make(chan reply, 1)
			go func() { answer <- g.patiently(t, "h2").do(uploads("/in", pattern(1010), true)) }()
			g.awaitPauses(t, "/in", 1)
			g.rewrite(t, "{bytes: 300/m, burst: 1000}", to)
			g.reload(t)
			if got := <-answer; got.body != "1010" {
				t.Errorf("answered %+v", got)
			}
			if got := g.client(t, "h1", common().web).do(uploads("/in", pattern(900), true)); got.body != "900" {
				t.Errorf("answered %+v", got)
			}
		})
	}
}

// Who waits for us says nothing of the backend's connection, which goes on.
func TestPausesOfBytesSayNothingOfTheBackend(t *testing.T) {
	t.Parallel()
	back := h2cBackend(t)
	g := start(t, setup{workers: 1, backends: []string{h2("web", back.Address)}, routes: []string{
		route("path: /sink", "backend: web, timeout: 500ms, flow_limits: ["+crawling+"]"), route("path: /*", "backend: web")}})
	c := g.client(t, "h2", common().web)
	wantStatus(t, c.get("/status/200"), 200)
	for range 2 {
		wantStatus(t, c.do(uploads("/sink", pattern(1100), true)), http.StatusGatewayTimeout)
		wantStatus(t, c.get("/status/200"), 200)
	}
	if n := back.Wire.Accepted.Load(); n != 1 {
		t.Errorf("%d connections to the backend", n)
	}
}

// Nor is it at work for them: like requests that are still coming they count for a second.
func TestPausedCallsTakeNoPlacesAtTheBackend(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{workers: 1, backends: []string{narrow(http1("web", back.Address), "{limit: 3}")}, routes: []string{
		route("path: /sink", "backend: web, flow_limits: ["+crawling+"]"), route("path: /*", "backend: web")}})
	c := g.client(t, "h1", common().web)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { _ = c.do(uploads("/sink", pattern(1010), true).WithContext(ctx)) })
	}
	g.awaitPauses(t, "/sink", 3)
	waitFor(t, "a place", 5*time.Second, func() bool { return c.get("/status/200").status == 200 })
	g.awaitRequests(t, 3)
	cancel()
	all.Wait()
}

// But once it has all it is.
func TestCallsTakeAPlaceWhenTheirPauseIsOver(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{workers: 1, backends: []string{narrow(http1("web", back.Address), "{limit: 3}")}, routes: []string{
		route("path: /slowread", "backend: web, flow_limits: [{bytes: 100/s, burst: 10}]"), route("path: /*", "backend: web")}})
	c := g.client(t, "h1", common().web)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { wantStatus(t, c.do(uploads("/slowread", pattern(90), true)), 200) })
	}
	g.awaitPauses(t, "/slowread", 3)
	waitFor(t, "no place to be left", patience, func() bool { return g.underWay(t, "web") == 3 && c.get("/status/200").status == 503 })
	back.Release()
	all.Wait()
	wantStatus(t, c.get("/status/200"), 200)
}
