package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// What comes to pass while a call waits between two attempts.

const longWait = 3 * time.Second // at most; most waits are long enough for what is tried meanwhile

// meanwhile has calls wait for their second attempt until one waited for as long as try took, which then must have
// gone well, and makes sure that no other attempt comes.
func meanwhile(t *testing.T, tr *troupe, try func(path string) error) {
	t.Helper()
	for i := range 8 {
		path := fmt.Sprint("/while/", i)
		tr.play(path, after(1, answers(503)))
		err := try(path)
		if len(tr.at(path)) > 1 {
			continue
		}
		if err != nil {
			t.Error(err)
		}
		ended := time.Now()
		waitFor(t, "the wait to be over", longWait, func() bool { return time.Since(ended) > longWait })
		if n := len(tr.at(path)); n != 1 {
			t.Errorf("%d attempts", n)
		}
		return
	}
	t.Error("another attempt came each time")
}

// failed waits until the first attempt at the path did.
func (tr *troupe) failed(t *testing.T, g *gateway, path string, before int) {
	t.Helper()
	tr.await(t, path, 1)
	waitFor(t, "the first attempt to fail", patience, func() bool { return g.repeats(t, "") > before })
}

// over tells what of the gateway is left of calls that have ended.
func (g *gateway) over(t *testing.T) error {
	t.Helper()
	for _, series := range []string{"tollgate_requests_active", `tollgate_upstream_concurrency_active{backend="web"}`} {
		waitFor(t, series+" to be 0", patience, func() bool { return g.metric(t, series) == 0 })
	}
	return nil
}

// hesitant is a gateway whose repeats take their time.
func hesitant(t *testing.T, s setup, up, more string) (*gateway, *troupe) {
	t.Helper()
	tr := newTroupe(t, up, 2)
	s.workers, s.top = 1, []string{accessLog}
	s.backends = append(s.backends, tr.backend(up, ", concurrency: {limit: 1}"))
	s.routes = append(s.routes, route("path: /*", "backend: web, retry: {non_idempotent: true, tries: 3, backoff: "+longWait.String()+"}"+more))
	return start(t, s), tr
}

func TestClientThatLeavesMeanwhileIsForgotten(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := hesitant(t, setup{}, up, ", call_limits: [{calls: 1}]")
		c := g.client(t, down, common().web)
		meanwhile(t, tr, func(path string) error {
			ctx, cancel := context.WithCancel(t.Context())
			ended, before := make(chan reply, 1), g.repeats(t, "")
			go func() { ended <- c.do(request("POST", path, "body").WithContext(ctx)) }()
			tr.failed(t, g, path, before)
			held, refused := g.underWay(t, "web"), g.client(t, down, common().web).get("/x")
			cancel()
			_ = g.over(t)
			if got := <-ended; got.err == nil || held != 1 || refused.problem("reason") != "overloaded" {
				return fmt.Errorf("%v places were held, another was told %+v, then %+v", held, refused, got)
			}
			return nil
		})
		wantStatus(t, c.get("/x"), 200)
		if n := c.connections(); down == "h2" && n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Over HTTP/1.1 that cannot be told from leaving.
func TestClientThatEndsItsSideMeanwhileIsForgotten(t *testing.T) {
	t.Parallel()
	g, tr := hesitant(t, setup{}, "h1", "")
	meanwhile(t, tr, func(path string) error {
		w, before := g.wire(t, common().web), g.repeats(t, "")
		w.say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		tr.failed(t, g, path, before)
		_ = w.CloseWrite()
		_ = g.over(t)
		if got := w.hear("GET"); got.status == 200 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), 200)
}

// wantOnce looks at the refusal of what a client sent meanwhile.
func wantOnce(t *testing.T, g *gateway, path string, got reply, want int, reason string) error {
	t.Helper()
	line := g.accessOf(t, path)
	if got.status != want || got.problem("reason") != reason || line.number("status") != float64(want) || line.number("retries") != 0 {
		return fmt.Errorf("%+v, %v", got, line.fields)
	}
	return nil
}

func TestBodyThatGrowsTooLargeMeanwhileIsRefusedOnce(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := hesitant(t, setup{listener: []string{"limits: {body_bytes: 1000}"}}, up, "")
		c := g.client(t, down, common().web)
		var last string
		meanwhile(t, tr, func(path string) error {
			last = path
			before := g.repeats(t, "")
			d := c.drips(uploads(path, nil, false))
			_, _ = d.Write(pattern(10))
			tr.failed(t, g, path, before)
			_, _ = d.Write(pattern(990))
			_, _ = d.Write(pattern(1)) // the one too many
			got := <-d.answer
			_ = d.Close()
			_ = g.over(t)
			return wantOnce(t, g, path, got, 413, "request_too_large")
		})
		records := func() (count int) {
			for _, record := range g.audit(t) {
				if record.Reason == "request_too_large" && record.Request.Path == last {
					count += record.times()
				}
			}
			return count
		}
		waitFor(t, "the refusal to be recorded", 2*time.Second, func() bool { return records() > 0 })
		wantStatus(t, c.get("/x"), 200)
		if n := records(); n != 1 {
			t.Errorf("%d refusals are recorded, want 1", n)
		}
	})
}

func TestTimeOfTheWholeRequestPassesMeanwhile(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := hesitant(t, setup{listener: []string{"timeouts: {request: 600ms}"}}, up, "")
		c := g.client(t, down, common().web)
		meanwhile(t, tr, func(path string) error {
			before := g.repeats(t, "")
			d := c.drips(uploads(path, nil, false))
			_, _ = d.Write(pattern(10))
			tr.failed(t, g, path, before)
			got := <-d.answer
			_ = d.Close()
			_ = g.over(t)
			return wantOnce(t, g, path, got, 408, "request_timeout")
		})
		wantStatus(t, c.get("/x"), 200)
	})
}

// waitingCall is a gRPC call that was told to wait so many milliseconds for its second attempt; it tells how it ends.
func waitingCall(t *testing.T, g *gateway, e *ensemble, conn *rpc, method, wait string) chan error {
	t.Helper()
	before, ended := g.repeats(t, ""), make(chan error, 1)
	e.play(method, fails(14, "grpc-retry-pushback-ms", wait))
	go func() { ended <- invoke(t, conn, method) }()
	waitFor(t, "the first attempt to fail", patience, func() bool { return g.repeats(t, "") > before })
	return ended
}

func TestDrainThatIsShorterThanTheWaitIsKept(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t)
	g := start(t, setup{workers: 1, drain: "1s", keepErrors: true, backends: []string{h2("web", e.addresses...)},
		routes: []string{route(`grpc: "*"`, "backend: web, retry: {backoff: 1s}")}})
	ended := waitingCall(t, g, e, g.rpc(t, common().web), "/svc/m", "9000")
	asked := time.Now()
	g.signal(syscall.SIGTERM)
	g.exitCode(4 * time.Second)
	if took := time.Since(asked); took < 900*time.Millisecond {
		t.Errorf("the call was given %v of 1 s", took)
	}
	if err := <-ended; err == nil || len(e.at("/svc/m")) != 1 {
		t.Errorf("%v after %d attempts", err, len(e.at("/svc/m")))
	}
	g.noSanitizerReport()
}

func TestCallThatWaitsKeepsItsConfigurationOverReloads(t *testing.T) {
	t.Parallel()
	e, other := newEnsemble(t), newEnsemble(t)
	const whole = "backend: web, retry: {backoff: 1s}"
	backends := map[string][]string{"web": {h2("web", e.addresses...)}, "other": {h2("other", other.addresses...)}}
	g := start(t, setup{workers: 1, backends: backends["web"], routes: []string{route(`grpc: "*"`, whole)}})
	conn := g.rpc(t, common().web)
	become := func(rest, backend string) {
		g.setup.routes, g.setup.backends = []string{route(`grpc: "*"`, rest)}, backends[backend]
		writeFile(t, g.dir, "tollgate.yaml", []byte(g.setup.yaml(g.address, g.admin)))
		g.reload(t)
	}
	for change, backend := range map[string]string{"backend: web": "web", "backend: other, retry: {backoff: 1s}": "other",
		"respond: {status: 503}": ""} { // its `retry` goes, its backend, all
		ended := waitingCall(t, g, e, conn, "/svc/m", "1500")
		become(change, backend)
		become(change, backend)
		e.mutex.Lock()
		e.turns["/svc/now"], e.seen["/svc/now"] = []turn{fails(14), fails(14)}, nil
		e.mutex.Unlock()
		if err := invoke(t, conn, "/svc/now"); (err == nil) != (backend == "other") || len(e.at("/svc/now")) > 1 {
			t.Errorf("%s: another call: %v after %d attempts", change, err, len(e.at("/svc/now")))
		}
		if err := <-ended; err != nil || len(e.at("/svc/m")) != 2 {
			t.Errorf("%s: %v after %d attempts", change, err, len(e.at("/svc/m")))
		}
		waitFor(t, "all to be over", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
		become(whole, "web")
	}
}

// The body of an upload ends, with its trailers, while nobody is asked.
func TestUploadThatEndsMeanwhileIsRepeatedWhole(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := hesitant(t, setup{}, up, "")
		tr.play("/x", after(1, answers(503)))
		r, before := uploads("/x", nil, false), g.repeats(t, "")
		r.Trailer = http.Header{"X-Sum": {"42"}}
		d := g.client(t, down, common().web).drips(r)
		_, _ = d.Write(pattern(10))
		tr.failed(t, g, "/x", before)
		_, _ = io.WriteString(d, "the end")
		_ = d.Close()
		wantStatus(t, <-d.answer, 200)
		if seen := tr.at("/x"); len(seen) != 2 || string(seen[1].body) != string(pattern(10))+"the end" || seen[1].trailer.Get("X-Sum") != "42" {
			t.Errorf("attempts %+v", seen)
		}
		_ = g.over(t)
	})
}

// While nobody is asked nobody is idle: a wait that is worth making is not cut short.
func TestWaitThatIsLongerThanStreamIdleIsNotCutShort(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t)
	g := start(t, setup{workers: 1, top: []string{accessLog}, listener: []string{"timeouts: {stream_idle: 600ms}"}, backends: []string{h2("web", e.addresses...)},
		routes: []string{route(`grpc: "*"`, "backend: web, retry: {backoff: 1s}")}})
	if err := <-waitingCall(t, g, e, g.rpc(t, common().web), "/svc/m", "1500"); err != nil || len(e.at("/svc/m")) != 2 {
		t.Errorf("%v after %d attempts: %v", err, len(e.at("/svc/m")), g.accessOf(t, "/svc/m").fields)
	}
}
