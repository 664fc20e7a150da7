package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// One worker's thread stands still, as it would behind a page that does not come in. The others go on.

// freeze stops one thread until the returned function is called.
func freeze(t *testing.T, thread int) (thaw func()) {
	t.Helper()
	done, frozen, thawed := make(chan struct{}), make(chan error), make(chan error)
	go func() {
		runtime.LockOSThread() // a tracer is a thread
		defer runtime.UnlockOSThread()
		if err := unix.PtraceSeize(thread); err != nil {
			frozen <- err
			return
		}
		err := unix.PtraceInterrupt(thread)
		if err == nil {
			_, err = unix.Wait4(thread, nil, unix.WALL, nil)
		}
		frozen <- err
		for waiting := true; waiting; time.Sleep(time.Millisecond) {
			select {
			case <-done:
				waiting = false
			default: // should the process end, its threads must be waited for
				_, _ = unix.Wait4(thread, nil, unix.WALL|unix.WNOHANG, nil)
			}
		}
		thawed <- unix.PtraceDetach(thread)
	}()
	if err := <-frozen; err != nil {
		t.Skipf("this machine does not let a thread be stopped: %v", err)
	}
	return func() {
		close(done)
		if err := <-thawed; err != nil && err != unix.ESRCH {
			t.Errorf("the thread does not go on: %v", err)
		}
	}
}

// worked tells how many nanoseconds each thread has run so far.
func worked(t *testing.T, g *harness.Gateway) map[int]int {
	t.Helper()
	threads := map[int]int{}
	for _, path := range harness.Must(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", g.Pid()))) {
		fields := strings.Fields(string(harness.Must(os.ReadFile(path))))
		threads[harness.Must(strconv.Atoi(filepath.Base(filepath.Dir(path))))] = harness.Must(strconv.Atoi(fields[0]))
	}
	return threads
}

// ask makes a request on the wire.
func ask(w *harness.Wire, path string) harness.Reply {
	w.Say("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
	return w.Hear("GET")
}

// threadOf finds the worker that serves the wire: the one that works most while it does.
func threadOf(t *testing.T, g *harness.Gateway, w *harness.Wire) (thread int) {
	t.Helper()
	before := worked(t, g)
	for range 100 {
		if got := ask(w, "/ok"); got.Status != http.StatusOK {
			t.Fatalf("got %+v", got)
		}
	}
	most := 0
	for id, ran := range worked(t, g) {
		if ran -= before[id]; id != g.Pid() && ran > most {
			thread, most = id, ran
		}
	}
	if thread == 0 {
		t.Fatal("no thread worked for the requests")
	}
	return thread
}

// A pair of wires, each on a worker of its own.
type pair struct {
	g            *harness.Gateway
	stuck, going *harness.Wire
	thread       int // of the stuck one
}

func newPair(t *testing.T, top ...string) (*pair, *backend.Scripted) {
	t.Helper()
	back := scripted(t, backend.Silent)
	g := harness.Start(t, harness.Setup{Top: append(top, accessLog), Backends: []string{harness.HTTP1("web", back.Address)}, Routes: []string{
		harness.Route("path: /limited", "respond: {status: 200, body: ok}, rate_limits: [{rate: 1/h, burst: 10}]"),
		harness.Route("path: /silent", "backend: web, timeout: 300ms"),
		harness.Route("path: /*", `respond: {status: 200, body: "ok\n"}`)}})
	p := &pair{g: g, stuck: g.Wire(t)}
	p.thread = threadOf(t, g, p.stuck)
	for p.going == nil {
		if other := g.Wire(t); threadOf(t, g, other) != p.thread {
			p.going = other
		}
	}
	return p, back
}

func TestStalledWorkerHoldsUpItsOwnConnectionsOnly(t *testing.T) {
	t.Parallel()
	p, back := newPair(t)
	p.stuck.Say("GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
	harness.WaitFor(t, "the request to arrive", 2*time.Second, func() bool { return back.Wire.Bytes.Load() > 0 })
	thaw := freeze(t, p.thread)
	granted := 0
	for began := time.Now(); time.Since(began) < 600*time.Millisecond; { // past the deadline of the one that is stuck
		httpWant(t, ask(p.going, "/ok"), http.StatusOK)
		if got := ask(p.going, "/limited"); got.Status == http.StatusOK {
			granted++
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/limits", "/config"} {
		if status, _ := p.g.Ask("GET", path); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	if granted != 10 {
		t.Errorf("%d requests were let through, 10 are allowed", granted)
	}
	thaw()
	httpWant(t, p.stuck.Hear("GET"), http.StatusGatewayTimeout)
	httpWant(t, ask(p.stuck, "/limited"), http.StatusTooManyRequests)
	httpWant(t, ask(p.stuck, "/ok"), http.StatusOK)
	if line := lineOf(t, p.g, "/silent"); line.Status != http.StatusGatewayTimeout || line.Cause != "deadline_exceeded" {
		t.Errorf("the access log says %+v", line)
	}
	if n := p.g.Metric(`tollgate_requests_total{listener="edge",route="/silent"`); n != 1 {
		t.Errorf("the one late request is counted %v times", n)
	}
	unharmed(t, p.g, "/ok")
}

func TestStalledWorkerTakesUpAReloadWhenItGoesOn(t *testing.T) {
	t.Parallel()
	p, _ := newPair(t)
	thaw := freeze(t, p.thread)
	rename(t, p.g, `body: "ok\n"`, `body: "new\n"`)
	if status, said := p.g.Ask("POST", "/reload"); status/100 != 2 {
		t.Errorf("POST /reload: %d %s", status, said)
	}
	harness.WaitFor(t, "the other worker to have it", 2*time.Second, func() bool { return ask(p.going, "/ok").Body == "new\n" })
	thaw()
	harness.WaitFor(t, "this one to have it", 2*time.Second, func() bool { return ask(p.stuck, "/ok").Body == "new\n" })
}

func TestStalledWorkerDoesNotOutliveTheDrainTimeout(t *testing.T) {
	t.Parallel()
	p, _ := newPair(t, "drain_timeout: 500ms")
	_ = ask(p.going, "/a%2Fb")
	defer freeze(t, p.thread)()
	p.g.Signal(syscall.SIGTERM)
	if code := p.g.Exit(5 * time.Second); code == 0 {
		t.Error("that was no clean end")
	}
	if records := harness.Read[harness.Record](t, p.g.Path("audit.jsonl")); refusals(records, "malformed_request") != 1 {
		t.Errorf("the refusal is not recorded: %+v", records)
	}
	verified(t, p.g.Path("audit.jsonl"))
}
