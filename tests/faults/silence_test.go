package faults

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Backends that are not there, or are and do nothing: no client waits for ever.

func TestBackendThatRefusesConnections(t *testing.T) {
	t.Parallel()
	for protocol, good := range map[string]backend.Script{"http1": backend.Good, "h2": goodH2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			address := harness.FreeAddress(t)
			line := map[string]string{"http1": harness.HTTP1("web", address), "h2": harness.H2("web", address)}[protocol]
			g := harness.Start(t, harness.Setup{Top: []string{accessLog}, Routes: everything(""), Backends: []string{line}})
			callers := webCallers
			if protocol == "h2" {
				callers = append(callers, grpcCallers...)
			}
			for i, c := range callers {
				path, want := fmt.Sprint("/fault.Service/", i), outcome("503")
				if c.grpc() {
					want = unavailable
				}
				c.want(t, g, path, want)
				if line := lineOf(t, g, path); line.Cause != "connect_failed" {
					t.Errorf("%s: the access log gives the cause %q", c.name, line.Cause)
				}
			}
			if n := g.Metric(fmt.Sprintf("tollgate_upstream_requests_total{backend=\"web\",endpoint=%q,code=\"connect_failed\"}", address)); int(n) != len(callers) {
				t.Errorf("the metric counts %v of %d", n, len(callers))
			}
			back := harness.Must(backend.StartScripted(address, good))
			t.Cleanup(back.Stop)
			for i, c := range callers { // the very next call, without a pause
				c.want(t, g, fmt.Sprint("/fault.Service/back", i), c.good())
			}
		})
	}
}

// fullBacklog is the address of a socket that nobody accepts from and whose queue is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	socket := harness.Must(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	name := harness.Must(syscall.Getsockname(socket)).(*syscall.SockaddrInet4)
	for range 4 { // more than it takes
		client := harness.Must(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0))
		t.Cleanup(func() { _ = syscall.Close(client) })
		_ = syscall.Connect(client, name)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.Port)
}

func TestBackendThatDoesNotAcceptIsGivenTheConnectTimeout(t *testing.T) {
	t.Parallel()
	address := fullBacklog(t)
	backends := []string{fmt.Sprintf("{name: web, protocol: http1, endpoints: [%q], connect_timeout: 200ms}", address),
		fmt.Sprintf("{name: calls, protocol: h2, endpoints: [%q], connect_timeout: 200ms}", address)}
	routes := []string{harness.Route("grpc: \"*\"", "backend: calls"), harness.Route("path: /*", "backend: web")}
	g := harness.Start(t, harness.Setup{Top: []string{accessLog}, Routes: routes, Backends: backends})
	for i, c := range append(webCallers, grpcCallers...) {
		path, want, began := fmt.Sprint("/fault.Service/", i), outcome("504"), time.Now()
		if c.grpc() {
			want = unavailable
		}
		c.want(t, g, path, want)
		if took := time.Since(began); took < 200*time.Millisecond || took > harness.Slow(3*time.Second) {
			t.Errorf("%s took %v", c.name, took)
		}
		if line := lineOf(t, g, path); line.Cause != "connect_timeout" {
			t.Errorf("%s: the access log gives the cause %q", c.name, line.Cause)
		}
	}
}

// silences are moments after which a backend says nothing more.
var silences = map[string][]stage{"http1": {http1Stages[0], http1Stages[1], http1Stages[2]},
	"h2": {h2Stages[0], h2Stages[1], h2Stages[2], h2Stages[3]}}

func noStrike(s *speaker) { s.Hang() }

// quiet sees what a silent backend costs each caller, and that service is back with the backend's voice.
func quiet(t *testing.T, protocol, route, listener string, web, grpc outcome, causes ...string) {
	for _, s := range silences[protocol] {
		t.Run(protocol+" silent "+s.name, func(t *testing.T) {
			t.Parallel()
			good := map[string]backend.Script{"http1": backend.Good, "h2": goodH2}[protocol]
			back := scripted(t, good)
			g := before(t, protocol, back, route, listener)
			callers := webCallers
			if protocol == "h2" {
				callers = append(callers, grpcCallers...)
			}
			for i, c := range callers {
				if s.bodied && !c.body {
					continue
				}
				back.Play(func(p *backend.Peer) { s.play(p, noStrike) })
				path, began := fmt.Sprint("/fault.Service/", i), time.Now()
				want := web
				if c.grpc() {
					want = grpc
				}
				c.want(t, g, path, want)
				if took := time.Since(began); took < 250*time.Millisecond || took > harness.Slow(3*time.Second) {
					t.Errorf("%s took %v", c.name, took)
				}
				if line := lineOf(t, g, path); !strings.Contains(strings.Join(causes, " "), line.Cause) || line.Cause == "" {
					t.Errorf("%s: the access log gives the cause %q, want %s", c.name, line.Cause, causes)
				}
				back.Play(good)
				c.want(t, g, path+".next", c.good())
				back.Wire.KillAll(false)
				harness.WaitFor(t, "the connections to end", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
			}
		})
	}
}

func TestSilentBackendIsGivenTheRoutesTimeout(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		quiet(t, protocol, ", timeout: 300ms", "timeouts: {stream_idle: 30s}", "504", outcome(codes.DeadlineExceeded.String()), "deadline_exceeded")
	}
}

func TestSilentBackendIsGivenStreamIdleWhereNoTimeoutIsSet(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		quiet(t, protocol, "", "timeouts: {stream_idle: 300ms}", "504", unavailable, "backend_stalled")
	}
}

// A backend behind a dead network: what was agreed long ago on the pooled connection is all it ever says.
func TestWedgedHTTP2ConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	var wedged atomic.Bool
	back := scripted(t, func(p *backend.Peer) {
		s := greet(p)
		for c := s.wholeCall(); c != nil; c = s.wholeCall() {
			last := wedged.Load()
			s.answer(c)
			if last {
				<-t.Context().Done() // reads nothing more, answers nothing more
			}
		}
	})
	g := before(t, "h2", back, ", timeout: 300ms")
	one, lost := grpcCallers[0], 0
	wedged.Store(true)
	one.want(t, g, "/fault.Service/Last", "OK")
	wedged.Store(false)
	for i := range 16 { // the other worker has a connection of its own
		switch got := one.call(t, g, fmt.Sprint("/fault.Service/Next", i)); got {
		case "OK":
		case outcome(codes.DeadlineExceeded.String()):
			lost++
		default:
			t.Errorf("%s", got)
		}
	}
	if lost > 1 {
		t.Errorf("%d calls were lost to one dead connection", lost)
	}
}

func TestBackendThatNeverOpensItsWindowsCostsNoOtherCall(t *testing.T) {
	t.Parallel()
	var deaf atomic.Bool
	deaf.Store(true)
	back := scripted(t, func(p *backend.Peer) {
		s := greet(p)
		s.deaf = deaf.Load()
		for c := s.wholeCall(); c != nil; c = s.wholeCall() {
			s.answer(c)
		}
	})
	g := before(t, "h2", back, "", "timeouts: {stream_idle: 300ms}")
	ask := func(protocol, path string) outcome {
		return httpOutcome(harness.Ask(g.Client(t, protocol), "POST", path, strings.Repeat(large, 4)))
	}
	for _, protocol := range []string{"h1", "h2"} {
		path := "/" + protocol
		if got := ask(protocol, path); got != "504" {
			t.Errorf("%s: an upload that the backend does not take: %s, want 504", protocol, got)
		}
		if line := lineOf(t, g, path); line.Cause != "backend_stalled" {
			t.Errorf("%s: the access log gives the cause %q", protocol, line.Cause)
		}
	}
	deaf.Store(false)
	for _, protocol := range []string{"h1", "h2", "h1", "h2"} {
		if got := ask(protocol, "/next"); got != "200" {
			t.Errorf("%s: the next upload: %s", protocol, got)
		}
	}
	unharmed(t, g, "/small")
}

func TestUploadThatABackendDoesNotReadIsGivenStreamIdle(t *testing.T) {
	t.Parallel()
	for protocol, script := range map[string]backend.Script{
		"http1": func(p *backend.Peer) {
			if readHead(p) != nil {
				<-t.Context().Done()
			}
		},
		"h2": func(p *backend.Peer) {
			if greet(p).request() {
				<-t.Context().Done()
			}
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := before(t, protocol, scripted(t, script), "", "timeouts: {stream_idle: 300ms}")
			before, body := g.Memory(), strings.Repeat(large, 600) // 36 MB
			if got := httpOutcome(harness.Ask(g.Client(t, "h2"), "POST", "/upload", body)); got != "504" {
				t.Errorf("%s, want 504", got)
			}
			if line := lineOf(t, g, "/upload"); line.Cause != "backend_stalled" {
				t.Errorf("the access log gives the cause %q", line.Cause)
			}
			if grown := g.Memory() - before; grown > 8<<20 && !harness.Instrumented() {
				t.Errorf("the gateway grew by %d KiB", grown>>10)
			}
			if status, _ := g.Ask("GET", "/healthz"); status != 200 {
				t.Errorf("/healthz: %d", status)
			}
		})
	}
}

func TestGoAwayLetsCallsFinishAndSendsNewOnesElsewhere(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	back := scripted(t, func(p *backend.Peer) {
		connections.Add(1)
		s := greet(p)
		for c := s.wholeCall(); c != nil; c = s.wholeCall() {
			_ = s.framer.WriteGoAway(c.id, http2.ErrCodeNo, nil)
			s.answer(c)
		}
	})
	g := before(t, "h2", back, "")
	callers := append(webCallers, grpcCallers...)
	for i, c := range callers {
		c.want(t, g, fmt.Sprint("/fault.Service/", i), c.good())
	}
	if int(connections.Load()) != len(callers) {
		t.Errorf("%d connections for %d calls, each of which had a goodbye", connections.Load(), len(callers))
	}
	harness.WaitFor(t, "the connections to be closed", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
}

func TestCallThatAGoAwayLeavesOutIsMadeElsewhere(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]http2.ErrCode{"gracefully": http2.ErrCodeNo, "angrily": http2.ErrCodeEnhanceYourCalm} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back := scripted(t, goodH2)
			g := before(t, "h2", back, "")
			for i, c := range append(webCallers, grpcCallers...) {
				var struck atomic.Bool
				back.Play(func(p *backend.Peer) {
					if struck.Swap(true) {
						onceH2(p)
						return
					}
					s := greet(p)
					s.request()
					_ = s.framer.WriteGoAway(0, code, nil) // nothing was acted on, not even a POST
					p.Hang()
				})
				want := []outcome{c.good()}
				if c.body { // some of it has left already and is not kept
					want = append(want, "502", "503", unavailable)
				}
				c.want(t, g, fmt.Sprint("/fault.Service/", i), want...)
				harness.WaitFor(t, "the connections to end", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
			}
		})
	}
}
