package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Retries under load, against the clock, and when somebody leaves.

// Each attempt that failed counts once against its endpoint.
func TestEveryFailedAttemptCountsOnceForEjection(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		retry string
		act   act
	}{
		"503":                       {"{on: [503], backoff: 0s}", answers(503)},
		"silence":                   {"{on: [timeout], per_try_timeout: 300ms, backoff: 0s}", keepsSilent},
		"silence that is not in on": {"{on: [503], per_try_timeout: 300ms, backoff: 0s}", keepsSilent},
		"reset":                     {"{on: [reset], backoff: 0s}", resets},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTroupe(t, "h2", 2)
			g := start(t, setup{workers: 1, backends: []string{tr.backend("h2", ", ejection: {failures: 3, base: 1h}")},
				routes: []string{route("path: /*", "backend: web, retry: "+row.retry)}})
			tr.play("/x", slices.Repeat([]act{row.act}, 6)...)
			c := g.client(t, "h2", common().web)
			for i, want := range []int{0, 1} { // of two endpoints, after two failures of each and then three
				for len(tr.at("/x")) < 4+2*i {
					_ = c.get("/x")
				}
				counts := map[string]int{}
				for _, one := range tr.at("/x") {
					counts[one.endpoint]++
				}
				if a, b := g.ejections(t, tr.addresses[0]), g.ejections(t, tr.addresses[1]); a+b != want {
					t.Errorf("ejected: %d and %d, after attempts %v of 3 that eject", a, b, counts)
				}
			}
		})
	}
}

func TestTimeoutOfOneTry(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr := newTroupe(t, up, 2)
		retry := "retry: {on: [timeout], per_try_timeout: 200ms, backoff: 0s, tries: 4}"
		g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{tr.backend(up, "")},
			routes: []string{route("path: /short", "backend: web, timeout: 500ms, "+retry), route("path: /*", "backend: web, "+retry)}})
		c := g.client(t, down, common().web)
		tr.play("/left", keepsSilent)
		wantStatus(t, c.get("/left"), 200)
		tr.play("/all", keepsSilent, keepsSilent, keepsSilent, keepsSilent)
		got := c.get("/all")
		wantStatus(t, got, 504)
		line := g.accessOf(t, "/all")
		if got.problem("reason") != "per_try_timeout" || line.text("cause") != "per_try_timeout" || line.number("retries") != 3 || len(tr.at("/all")) != 4 {
			t.Errorf("reason %q, line %v", got.problem("reason"), line.fields)
		}
		if flags := line.text("response_flags"); flags != "UT,URX" {
			t.Errorf("flags %q", flags)
		}
		tr.play("/short", keepsSilent, keepsSilent, keepsSilent, keepsSilent)
		began := time.Now()
		got = c.get("/short")
		wantStatus(t, got, 504)
		if took := time.Since(began); got.problem("reason") != "deadline_exceeded" || took < 490*time.Millisecond || took > slow(1500*time.Millisecond) || len(tr.at("/short")) < 2 || len(tr.at("/short")) > 3 {
			t.Errorf("%q after %v, %d attempts", got.problem("reason"), took, len(tr.at("/short")))
		}
		tr.play("/slow", slowly)
		if got := c.get("/slow"); got.err != nil || got.body != "0123456789" {
			t.Errorf("a slow body: %+v", got)
		}
	})
}

func TestBackoffIsAtMostWhatItSaysAndSpread(t *testing.T) {
	t.Parallel()
	g, tr := repeating(t, "h1", "{backoff: 300ms, tries: 3}")
	const callers, calls = 3, 18 // three may always repeat
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for i := caller; i < calls; i += callers {
				path := fmt.Sprintf("/%d", i)
				tr.play(path, answers(503), answers(503))
				if got := g.client(t, "h1", common().web).get(path); got.status != 200 {
					t.Errorf("%s: %+v", path, got)
				}
			}
		})
	}
	group.Wait()
	var short, long int
	for i := range calls {
		seen := tr.at(fmt.Sprintf("/%d", i))
		if len(seen) != 3 {
			t.Fatalf("%d attempts", len(seen))
		}
		second, third := seen[1].began.Sub(seen[0].began), seen[2].began.Sub(seen[1].began)
		if second > 300*time.Millisecond+slow(800*time.Millisecond) || third > 600*time.Millisecond+slow(800*time.Millisecond) {
			t.Errorf("waits of %v and %v", second, third)
		}
		if second < 150*time.Millisecond {
			short++
		} else {
			long++
		}
	}
	if short == 0 || long == 0 {
		t.Errorf("%d waits are short and %d long", short, long)
	}
}

// heldRepeats has every first attempt fail, and every other wait until it is let go.
type heldRepeats struct {
	tr           *troupe
	under, most  atomic.Int64
	let          chan struct{}
	asked, ended atomic.Int64
}

func TestBudgetBoundsTheRepeatsUnderWayAndIsGivenBack(t *testing.T) {
	t.Parallel()
	for budget, want := range map[int]int{0: 3, 100: 50} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			t.Parallel()
			g, tr := repeating(t, "h2", fmt.Sprintf("{backoff: 1ms, budget: %d}", budget))
			c := g.client(t, "h2", common().web)
			for round := range 4 {
				everyoneFails(t, tr, c, round, want, round == 2)
				waitFor(t, "all to be over", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
			}
		})
	}
}

// everyoneFails has 50 calls fail at once, of which so many are repeated; who is repeated waits till the others are over.
func everyoneFails(t *testing.T, tr *troupe, c *client, round, want int, leave bool) {
	t.Helper()
	h := &heldRepeats{tr: tr, let: make(chan struct{})}
	all := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var group sync.WaitGroup
	for i := range 50 {
		path := fmt.Sprintf("/%d/%d", round, i)
		tr.play(path, h.first(all), h.repeat)
		group.Go(func() {
			if got := c.do(request("GET", path, "").WithContext(ctx)); got.status == 503 {
				h.ended.Add(1)
			} else if got.status != 200 && !leave {
				t.Errorf("%+v", got)
			}
		})
	}
	waitFor(t, "all calls", patience, func() bool { return h.asked.Load() == 50 })
	close(all)
	waitFor(t, "repeats to be under way", patience, func() bool { return h.under.Load()+h.ended.Load() == 50 })
	if n := h.under.Load(); n != int64(want) {
		t.Errorf("round %d: %d repeats are under way, want %d", round, n, want)
	}
	if leave {
		cancel()
	}
	close(h.let)
	group.Wait()
}

func TestWaitingCallsOutliveAReloadAndADrain(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t)
	g := start(t, setup{workers: 1, drain: "8s", backends: []string{h2("web", e.addresses...)},
		routes: []string{route(`grpc: "*"`, "backend: web, retry: {backoff: 1s, budget: 100}")}})
	conn := g.rpc(t, common().web)
	const waiting = 3 // may always
	calls := func(wait string) chan error {
		ended := make(chan error, waiting)
		var turns []turn
		for range waiting {
			turns = append(turns, fails(14, "grpc-retry-pushback-ms", wait))
		}
		e.play("/svc/m", turns...)
		for range waiting {
			go func() { ended <- invoke(t, conn, "/svc/m") }()
		}
		waitFor(t, "the first attempts", patience, func() bool { return len(e.at("/svc/m")) >= waiting })
		return ended
	}
	for range 5 {
		ended := calls("700")
		g.reload(t)
		g.reload(t)
		for range waiting {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	ended := calls("1500")
	g.signal(syscall.SIGTERM)
	for range waiting {
		if err := <-ended; err != nil {
			t.Errorf("in the drain: %v", err)
		}
	}
}

// Four endpoints of changing moods, and clients that come and go.
func TestRandomMoodsOfEndpointsCrashNothing(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			tr := newTroupe(t, up, 4)
			tr.otherwise = func() act {
				return []act{nil, nil, nil, answers(503), after(100, answers(502)), resets, after(50000, resets), beginsAndResets, keepsSilent, answers(200)}[rand.IntN(10)]
			}
			g := start(t, setup{backends: []string{tr.backend(up, "")}, routes: []string{route("path: /*",
				"backend: web, timeout: 2s, retry: {on: [reset, timeout, 503, 502], tries: 4, per_try_timeout: 100ms, non_idempotent: true, backoff: 20ms, buffer: 32KiB, budget: 50}")}})
			deadline := time.Now().Add(2 * time.Second)
			var group sync.WaitGroup
			var asked atomic.Int64
			for i := range 50 {
				c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
				group.Go(func() {
					for time.Now().Before(deadline) {
						asked.Add(1)
						raging(t, c)
					}
				})
			}
			group.Wait()
			waitFor(t, "all to be over", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
			tr.mutex.Lock()
			tr.otherwise = nil
			tr.mutex.Unlock()
			waitFor(t, "all to be well", patience, func() bool { return g.client(t, "h2", common().web).get("/x").status == 200 })
			if memory := g.memory(); memory > 200<<20 && !instrumented() {
				t.Errorf("%d bytes of memory after %d requests", memory, asked.Load())
			}
		})
	}
}

// raging makes one request, which a tenth leaves again.
func raging(t *testing.T, c *client) {
	body := pattern([]int{0, 1, 1000, 32 << 10, 33 << 10, 200 << 10}[rand.IntN(6)])
	r := uploads("/x", body, rand.IntN(2) == 0)
	if rand.IntN(10) == 0 {
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(rand.IntN(100))*time.Millisecond)
		defer cancel()
		_ = c.do(r.WithContext(ctx))
		return
	}
	got := c.do(r)
	switch {
	case got.err != nil, got.status == 200, got.status >= 502 && got.status <= 504:
	default:
		t.Errorf("%+v", got)
	}
}

func (h *heldRepeats) first(all chan struct{}) act {
	return func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		<-all
		answers(503)(w, r)
	}
}

func (h *heldRepeats) repeat(w http.ResponseWriter, r *http.Request) {
	h.under.Add(1)
	<-h.let
	answers(200)(w, r)
}

// slowly takes longer for its body than a try may take to begin.
func slowly(w http.ResponseWriter, _ *http.Request) {
	pieces := time.NewTicker(60 * time.Millisecond)
	defer pieces.Stop()
	for i := range 10 {
		_, _ = fmt.Fprint(w, i)
		_ = http.NewResponseController(w).Flush()
		<-pieces.C
	}
}
