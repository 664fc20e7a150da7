package faults

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Backends that go and come back under load.

// The pools of both workers are filled with connections; then all of them are stale: each is read from once more, and
// closed without an answer.
func TestManyStalePooledConnectionsCostAGetNoError(t *testing.T) {
	t.Parallel()
	const connections = 24
	var arrived atomic.Int64
	var stale atomic.Bool
	full := make(chan struct{})
	back := scripted(t, func(p *backend.Peer) {
		for old := !stale.Load(); p.Request() != nil && !(old && stale.Load()); {
			if arrived.Add(1) == connections {
				close(full)
			}
			<-full // all at once, so that none shares a connection
			p.Answer("good\n")
		}
	})
	g := before(t, "http1", back, "")
	var all sync.WaitGroup
	for range connections {
		all.Go(func() { httpCaller("h1", "GET").want(t, g, "/warm", "200") })
	}
	all.Wait()
	stale.Store(true)
	for i := range connections {
		for _, protocol := range []string{"h1", "h2"} {
			httpCaller(protocol, "GET").want(t, g, fmt.Sprint("/stale", i), "200")
		}
	}
}

// A tally counts outcomes by what was asked for.
type tally struct {
	mutex  sync.Mutex
	counts map[string]map[outcome]int
}

func (y *tally) add(name string, got outcome) {
	y.mutex.Lock()
	defer y.mutex.Unlock()
	if y.counts[name] == nil {
		y.counts[name] = map[outcome]int{}
	}
	y.counts[name][got]++
}

// loop makes calls over one client connection until told to stop.
func loop(t *testing.T, g *harness.Gateway, c string, stop chan struct{}, y *tally) {
	h1, h2, conn := g.Client(t, "h1"), g.Client(t, "h2"), g.GRPC(t)
	for {
		select {
		case <-stop:
			return
		default:
		}
		switch c {
		case "h1 GET":
			y.add(c, httpOutcome(harness.Get(h1, "/web")))
		case "h2 GET":
			y.add(c, httpOutcome(harness.Get(h2, "/web")))
		case "h1 POST":
			y.add(c, httpOutcome(harness.Ask(h1, "POST", "/web", "body")))
		case "h2 POST":
			y.add(c, httpOutcome(harness.Ask(h2, "POST", "/web", "body")))
		case "gRPC unary":
			_, err := backend.Invoke(within(t), conn, unary, nil)
			y.add(c, grpcOutcome(err))
		}
	}
}

// wholly is what a call may come to while its backend comes and goes: never broken, never hanging, never nonsense.
var wholly = map[outcome]bool{"200": true, "OK": true, "502": true, "503": true, unavailable: true}

func TestBackendsThatRestartUnderLoad(t *testing.T) {
	t.Parallel()
	web, calls := harness.FreeAddress(t), harness.FreeAddress(t)
	g := harness.Start(t, harness.Setup{Top: []string{accessLog},
		Routes:   []string{harness.Route(`grpc: "*"`, "backend: calls"), harness.Route("path: /*", "backend: web")},
		Backends: []string{harness.HTTP1("web", web), harness.H2("calls", calls)}})
	stop, y := make(chan struct{}), &tally{counts: map[string]map[outcome]int{}}
	var loops sync.WaitGroup
	for _, c := range []string{"h1 GET", "h2 GET", "h1 POST", "h2 POST", "gRPC unary"} {
		for range 2 {
			loops.Go(func() { loop(t, g, c, stop, y) })
		}
	}
	for round := range 6 {
		good := harness.Must(backend.StartHTTP(web, false))
		users := harness.Must(backend.StartGRPC(calls))
		path := fmt.Sprint("/back", round) // the very next GET; others may meet a connection that is just being lost
		httpCaller("h1", "GET").want(t, g, path, "200")
		httpCaller("h2", "GET").want(t, g, path, "200")
		harness.WaitFor(t, "calls to go through", 2*time.Second, func() bool {
			return callUnary(t, g, unary) == "OK" && httpCaller("h1", "POST").call(t, g, "/web") == "200"
		})
		harness.WaitFor(t, "load on the backends", 5*time.Second, func() bool {
			return good.Journal.Count("GET /web") > 20 && users.Journal.Count(unary) > 20
		})
		good.Stop()
		users.Stop()
	}
	close(stop)
	loops.Wait()
	for c, counts := range y.counts {
		for got, n := range counts {
			if !wholly[got] {
				t.Errorf("%s: %d times %s", c, n, got)
			}
		}
	}
	if t.Failed() {
		t.Log(y.counts)
	}
}

// A recycler is a backend that keeps its listener and cuts connections that have served before.
type recycler struct {
	mutex sync.Mutex
	used  map[*backend.Peer]bool
}

func (r *recycler) change(change func()) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	change()
}

func (r *recycler) script(p *backend.Peer) {
	defer r.change(func() { delete(r.used, p) })
	for count := 0; p.Request() != nil; count++ {
		if count > 0 { // the first answer has arrived for sure
			r.change(func() { r.used[p] = true })
		}
		p.Answer("good\n")
	}
}

func (r *recycler) cut(reset bool) (count int) {
	r.change(func() {
		for p := range r.used {
			if reset {
				p.Reset()
			} else {
				_ = p.Close()
			}
		}
		count = len(r.used)
		clear(r.used)
	})
	return count
}

func TestReusedConnectionsThatAreCutUnderLoadCostAGetNoError(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]bool{"closed": false, "reset": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recycler{used: map[*backend.Peer]bool{}}
			g := before(t, "http1", scripted(t, r.script), "")
			stop, y := make(chan struct{}), &tally{counts: map[string]map[outcome]int{}}
			var loops sync.WaitGroup
			for _, c := range []string{"h1 GET", "h2 GET", "h1 GET", "h2 GET"} {
				loops.Go(func() { loop(t, g, c, stop, y) })
			}
			for range 40 {
				harness.WaitFor(t, "a connection to be reused", 5*time.Second, func() bool { return r.cut(reset) > 0 })
			}
			close(stop)
			loops.Wait()
			for c, counts := range y.counts {
				if len(counts) != 1 || counts["200"] == 0 {
					t.Errorf("%s: %v", c, counts)
				}
			}
		})
	}
}
