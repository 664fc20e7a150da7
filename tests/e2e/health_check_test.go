package e2e

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Endpoints are asked whether they are well, and those that are not get no requests.

const quickly = "interval: 30ms, timeout: 1s, unhealthy: 2, healthy: 2"

// A patient answers requests well, and questions about its health as it is told.
type patient struct {
	*backend.Scripted
	health          atomic.Pointer[string]
	checks, callers atomic.Int64
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	b := &patient{}
	b.feel("200 OK")
	started := make(chan struct{})
	b.Scripted = scripted(t, func(p *backend.Peer) {
		<-started
		for r := p.Request(); r != nil; r = p.Request() {
			if r.URL.Path != "/healthz" {
				b.callers.Add(1)
				if r.URL.Path == "/hang" {
					p.Hang()
				}
				p.Answer(b.Address)
				continue
			}
			if r.Host != b.Address || r.UserAgent() != "tollgate-health-check" || r.URL.RawQuery != "deep=1" {
				p.Say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			b.checks.Add(1)
			switch health := *b.health.Load(); health {
			case "silent":
				p.Hang()
			case "closes":
				return
			case "nonsense":
				p.Say("no HTTP at all\r\n\r\n")
			case "endless":
				p.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
				p.Hang()
			default:
				p.Say("HTTP/1.1 %s\r\nContent-Length: 5\r\n\r\nhello", health)
			}
		}
	})
	close(started)
	return b
}

func (b *patient) feel(health string) { b.health.Store(&health) }

func (g *gateway) waitHealthy(t *testing.T, endpoint string, workers int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s to be healthy for %d workers", endpoint, workers), patience, func() bool {
		return g.healthy(t, endpoint) == workers
	})
}

func TestUnhealthyEndpointGetsNoRequests(t *testing.T) {
	t.Parallel()
	for _, illness := range []string{"500 Internal Server Error", "302 Found", "404 Not Found", "closes", "nonsense", "silent", "endless"} {
		t.Run(illness, func(t *testing.T) {
			t.Parallel()
			sick, well := newPatient(t), newPatient(t)
			g := balanced(t, setup{}, []string{sick.Address, well.Address},
				fmt.Sprintf("health_check: {path: '/healthz?deep=1', interval: 30ms, timeout: %dms, unhealthy: 2}",
					slow(300*time.Millisecond).Milliseconds()))
			g.waitHealthy(t, sick.Address, 2)
			c := g.client(t, "h1", common().web)
			if n := spread(t, c, 10)[sick.Address]; n != 5 {
				t.Errorf("%d of the first 10, want 5", n)
			}
			sick.feel(illness)
			g.waitHealthy(t, sick.Address, 0)
			before := sick.callers.Load()
			for _, protocol := range []string{"h1", "h2"} {
				spread(t, g.client(t, protocol, common().web), 10)
			}
			if sick.callers.Load() != before {
				t.Errorf("it was asked %d times", sick.callers.Load()-before)
			}
			sick.feel("200 OK")
			g.waitHealthy(t, sick.Address, 2)
			if n := spread(t, g.client(t, "h1", common().web), 10)[sick.Address]; n != 5 {
				t.Errorf("%d of 10 after it was well again, want 5", n)
			}
			if out := g.saying(t, "endpoint is unhealthy"); len(out) != 2 || out[0]["endpoint"] != sick.Address || out[0]["worker"] == out[1]["worker"] {
				t.Errorf("log: %v", out)
			}
			if in := g.saying(t, "endpoint is healthy"); len(in) != 2 {
				t.Errorf("log: %v", in)
			}
			checks := fmt.Sprintf("tollgate_upstream_health_checks_total{backend=%q,endpoint=%q,result=%%q}", "web", sick.Address)
			if good, bad := g.metric(t, fmt.Sprintf(checks, "success")), g.metric(t, fmt.Sprintf(checks, "failure")); good < 4 || bad < 4 {
				t.Errorf("%v good checks and %v bad ones", good, bad)
			}
		})
	}
}

// gate is a TCP listener in front of an endpoint that can be shut: nobody listens there then.
type gate struct {
	address  string
	listener net.Listener
}

func (d *gate) open(t *testing.T, to string) {
	t.Helper()
	d.listener = must(net.Listen("tcp", d.address))
	listener := d.listener
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				inner, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = inner.Close() }()
				go func() { _, _ = inner.(*net.TCPConn).ReadFrom(conn); _ = inner.Close() }()
				_, _ = conn.(*net.TCPConn).ReadFrom(inner)
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
}

func TestConnectionsAloneAreACheck(t *testing.T) {
	t.Parallel()
	_, addresses := severalNamed(t, 2)
	door := &gate{address: freeAddress(t)}
	door.open(t, addresses[0])
	g := balanced(t, setup{top: []string{accessLog}}, []string{door.address, addresses[1]}, "health_check: {tcp: true, "+quickly+"}")
	waitFor(t, "some checks", patience, func() bool {
		return g.metric(t, fmt.Sprintf("tollgate_upstream_health_checks_total{backend=%q,endpoint=%q,result=%q}", "web", door.address, "success")) > 3
	})
	g.waitHealthy(t, door.address, 2)
	_ = door.listener.Close()
	g.waitHealthy(t, door.address, 0)
	c := g.client(t, "h1", common().web)
	for i := range 10 {
		path := fmt.Sprintf("/%d", i)
		wantStatus(t, c.get(path), 200)
		if line := g.accessOf(t, path); line.number("retries") != 0 {
			t.Errorf("tried twice: %v", line.fields)
		}
	}
	door.open(t, addresses[0])
	g.waitHealthy(t, door.address, 2)
}

func TestHealthServiceOfGRPCIsAsked(t *testing.T) {
	t.Parallel()
	for service, other := range map[string]string{"": "user.UserService", "user.UserService": ""} {
		t.Run("service "+service, func(t *testing.T) {
			t.Parallel()
			one, two := grpcBackend(t), grpcBackend(t)
			for _, b := range []*backend.GRPC{one, two} {
				b.Health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
				b.Health.SetServingStatus("user.UserService", healthpb.HealthCheckResponse_SERVING)
			}
			g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: web")},
				backends: []string{fmt.Sprintf("{name: web, protocol: h2, endpoints: [%q, %q], health_check: {grpc: %q, %s}}",
					one.Address, two.Address, service, quickly)}})
			g.waitHealthy(t, one.Address, 2)
			one.Health.SetServingStatus(service, healthpb.HealthCheckResponse_NOT_SERVING)
			two.Health.SetServingStatus(other, healthpb.HealthCheckResponse_NOT_SERVING) // nobody asks for that
			g.waitHealthy(t, one.Address, 0)
			conn := g.rpc(t, common().web)
			for range 20 {
				_, err := backend.Invoke(within(t, patience), conn, login, nil)
				wantCode(t, err, codes.OK)
			}
			if n := one.Journal.Count(login); n != 0 || two.Journal.Count(login) != 20 {
				t.Errorf("%d calls went to the endpoint that serves nobody", n)
			}
			if g.healthy(t, two.Address) != 2 {
				t.Error("the other is not healthy either")
			}
			one.Health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
			g.waitHealthy(t, one.Address, 2)
			if service != "" {
				one.Health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVICE_UNKNOWN)
				g.waitHealthy(t, one.Address, 0)
			}
		})
	}
}

// A server that does not know the service, or the health service at all, is not healthy.
func TestUnknownServiceIsUnhealthy(t *testing.T) {
	t.Parallel()
	knows, plain := grpcBackend(t), h2cBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route("grpc: user.UserService/*", "backend: web")},
		backends: []string{fmt.Sprintf("{name: web, protocol: h2, endpoints: [%q, %q], health_check: {grpc: no.Such, %s}}",
			knows.Address, plain.Address, quickly)}})
	g.waitHealthy(t, knows.Address, 0)
	g.waitHealthy(t, plain.Address, 0)
}

// Over HTTP/2 a path is asked for as over HTTP/1.1.
func TestPathIsAskedForOverHTTP2(t *testing.T) {
	t.Parallel()
	b := h2cBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route("path: /*", "backend: web")},
		backends: []string{fmt.Sprintf("{name: web, protocol: h2, endpoints: [%q], health_check: {path: /status/200, %s}}", b.Address, quickly)}})
	call := must(b.Journal.Wait(within(t, patience), "GET /status/200", func(c backend.Call) bool { return c.Done }))
	if call.Cancelled {
		t.Errorf("the check was broken off: %+v", call)
	}
	waitFor(t, "good checks", patience, func() bool {
		return g.metric(t, fmt.Sprintf("tollgate_upstream_health_checks_total{backend=%q,endpoint=%q,result=%q}", "web", b.Address, "success")) > 2
	})
	g.rewrite(t, "/status/200", "/status/503")
	g.reload(t)
	g.waitHealthy(t, b.Address, 0)
}

// Where none is healthy all are asked: something may be better than nothing.
func TestAllAreAskedWhenNoneIsHealthy(t *testing.T) {
	t.Parallel()
	one, two := newPatient(t), newPatient(t)
	g := balanced(t, setup{workers: 1}, []string{one.Address, two.Address}, "health_check: {path: '/healthz?deep=1', "+quickly+"}")
	one.feel("503 Busy")
	two.feel("503 Busy")
	g.waitHealthy(t, one.Address, 0)
	g.waitHealthy(t, two.Address, 0)
	if counts := spread(t, g.client(t, "h1", common().web), 20); counts[one.Address] != 10 || counts[two.Address] != 10 {
		t.Errorf("answers came from %v", counts)
	}
	if panics := g.saying(t, "every endpoint is out, so all are asked"); len(panics) != 1 {
		t.Errorf("log: %v", panics)
	}
	two.feel("200 OK")
	g.waitHealthy(t, two.Address, 1)
	if counts := spread(t, g.client(t, "h1", common().web), 20); counts[two.Address] != 20 {
		t.Errorf("answers came from %v", counts)
	}
}

// A reload forgets neither who is unhealthy nor how to ask, and ends the checks it no longer wants.
func TestHealthOutlivesReloads(t *testing.T) {
	t.Parallel()
	sick, well := newPatient(t), newPatient(t)
	sick.feel("503 Busy")
	g := balanced(t, setup{workers: 1}, []string{sick.Address, well.Address}, "health_check: {path: '/healthz?deep=1', interval: 30ms, unhealthy: 2}")
	g.waitHealthy(t, sick.Address, 0)
	hanging := g.wire(t, common().web) // a call that the replaced configuration has to live on for
	hanging.say("GET /hang HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	waitFor(t, "the call to arrive", patience, func() bool { return well.callers.Load() == 1 })
	t.Cleanup(func() { _ = hanging.Close() })
	g.rewrite(t, "interval: 30ms", "interval: 1h")
	g.reload(t)
	c := g.client(t, "h1", common().web)
	last, since := int64(-1), time.Now()
	waitFor(t, "the checks of the old configuration to end", patience, func() bool {
		spread(t, c, 1)
		if now := sick.checks.Load() + well.checks.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > slow(500*time.Millisecond)
	})
	if n := sick.callers.Load(); n != 0 {
		t.Errorf("the unhealthy one was asked %d times", n)
	}
	g.rewrite(t, ", health_check: {path: '/healthz?deep=1', interval: 1h, unhealthy: 2}", "")
	g.reload(t)
	g.waitHealthy(t, sick.Address, 1)
	waitFor(t, "requests to go there", patience, func() bool { return spread(t, c, 10)[sick.Address] == 5 })
}

// Checks under way hold up no drain, and are not made in step: the first of every worker comes at its own time.
func TestChecksAreSpreadAndHoldUpNoDrain(t *testing.T) {
	t.Parallel()
	arrived := make(chan time.Time, 100)
	b := scripted(t, func(p *backend.Peer) {
		if p.Request() != nil {
			arrived <- time.Now()
			p.Hang()
		}
	})
	g := balanced(t, setup{workers: 8}, []string{b.Address}, "health_check: {path: /x, interval: 600ms, timeout: 1h}")
	first := <-arrived
	var last time.Time
	for range 7 {
		select {
		case last = <-arrived:
		case <-time.After(patience):
			t.Fatal("some worker does not ask")
		}
	}
	if took := last.Sub(first); took < 100*time.Millisecond {
		t.Errorf("all eight came within %v", took)
	}
	began := time.Now()
	g.stop()
	if took := time.Since(began); took > slow(2*time.Second) {
		t.Errorf("the end took %v", took)
	}
}

func TestChecksAreChecked(t *testing.T) {
	t.Parallel()
	wantBackendsRefused(t, map[string]string{
		"health_check: {interval: 1s}":          "backends[0].health_check: names no way to ask",
		"health_check: {grpc: a.B}":             "backends[0].health_check.grpc: needs a backend that speaks h2",
		"health_check: {tcp: true, path: /}":    "backends[0].health_check: names several ways",
		"health_check: {path: /, unhealthy: 0}": "backends[0].health_check.unhealthy: found '0'",
		"ejection: {failures: 0}":               "backends[0].ejection.failures: found '0'",
	})
}
