package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// What /metrics says to Prometheus' own tool, and what it never says.

// busy starts a gateway with a bit of everything, and a function that gives it traffic of all kinds: let in and refused
// for many reasons, over every protocol, to backends that answer, fail and are not there.
func busy(t *testing.T) (*gateway, func()) {
	t.Helper()
	users, web := grpcBackend(t), httpBackend(t)
	g := start(t, setup{crl: common().root.crl(),
		top:      []string{"access_log: {path: access.jsonl}", "redis: {address: " + freeAddress(t) + "}"},
		listener: []string{"limits: {body_bytes: 1KiB}"},
		routes: []string{
			route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 1, per: [identity]}]"),
			route("grpc: user.UserService/*", "backend: users"),
			route("path: /dead", "backend: dead"), route("path: /sealed", "backend: sealed"),
			route("path: /others", `allow: ["spiffe://cluster.local/ns/other/*"], backend: web`),
			route("path: /healthz", `respond: {status: 200, body: "ok\n"}`),
			route("path: /shared", "respond: {status: 204}, rate_limits: [{rate: 9/s, burst: 9, store: redis, on_failure: allow}]"),
			route("path: /web/*", "backend: web"), route("path: /status/*", "backend: web")},
		backends: []string{h2("users", users.Address), narrow(http1("web", web.Address), "{limit: 1000}"),
			strings.TrimSuffix(http1("dead", freeAddress(t)), "}") + ", circuit_breaker: {connections: 1000}}",
			fmt.Sprintf("{name: sealed, endpoints: [%q], tls: {trusted_ca: ca.pem}}", web.Address)}})
	h1, h2, conn := g.client(t, "h1", common().web), g.client(t, "h2", common().web), g.rpc(t, common().web)
	stranger := newRoot("stranger").svid(webID)
	return g, func() {
		for _, c := range []*client{h1, h2} {
			for path, want := range map[string]int{"/web/x": 200, "/healthz": 200, "/shared": 204, "/dead": 503, "/sealed": 503, "/others": 403,
				"/nowhere": 404, "/web/%2f": 400, "/status/500": 500, "/status/404": 404} {
				wantStatus(t, c.get(path), want)
			}
			wantStatus(t, c.do(request("POST", "/web/x", strings.Repeat("x", 2048))), 413)
		}
		_, _ = invoke(t, conn, login), invoke(t, conn, login)
		_ = invoke(t, conn, "/user.UserService/Other")
		for _, cert := range []*tls.Certificate{nil, stranger} {
			_ = g.try(t, versions["TLS1.3"], "h1", cert)
		}
		garbage := g.dialTCP(t)
		_, _ = garbage.Write([]byte("no handshake\r\n\r\n"))
		_, _ = io.Copy(io.Discard, garbage)
	}
}

func TestPromtoolHasNothingToSayAgainstTheMetrics(t *testing.T) {
	t.Parallel()
	g, traffic := busy(t)
	traffic()
	g.reload(t)
	g.rewrite(t, "routes:", "rotes:")
	_, _ = g.post(t, "/reload")
	_, text := g.adminGet("/metrics")
	command := exec.Command("promtool", "check", "metrics")
	command.Stdin = strings.NewReader(text)
	if output, err := command.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("%v\n%s", err, output)
	}
	for series, want := range map[string]float64{
		`tollgate_config_reloads_total{result="success"}`: 1, `tollgate_config_reloads_total{result="failure"}`: 1,
		"tollgate_workers": 2, `tollgate_certificate_reloads_total{result="failure"}`: 0} {
		if got := g.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	if age := float64(time.Now().Unix()) - g.metric(t, "tollgate_config_last_reload_success_timestamp_seconds"); age < -1 || age > 60 {
		t.Errorf("the configuration was taken %v s ago", age)
	}
}

// Scrapers say what they would like: OpenMetrics and protobuf before the text. They get the text, and are told which.
func TestEveryScraperGetsTheTextFormat(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, accept := range []string{"", "*/*", "text/plain",
		"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;q=0.8,text/plain;version=0.0.4;q=0.3"} {
		r := must(http.NewRequest("GET", "http://"+g.admin+"/metrics", nil))
		if r.Header.Set("Accept", accept); accept == "" {
			r.Header.Del("Accept")
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text := string(must(io.ReadAll(answer.Body)))
		_ = answer.Body.Close()
		if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") || strings.Contains(text, "# EOF") {
			t.Errorf("Accept: %s is answered with %s", accept, kind)
		}
	}
}

func TestMetricsOfTheProcessAreTheKernels(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{under: []string{"prlimit", "--nofile=300:300"}})
	pid := strconv.Itoa(g.command.Process.Pid)
	if got := g.metric(t, "process_max_fds"); got != 300 {
		t.Errorf("%v descriptors at most", got)
	}
	waitFor(t, "the open descriptors to be those of /proc", patience, func() bool {
		// The scrape's own connection is one that is gone when we look.
		return math.Abs(g.metric(t, "process_open_fds")-float64(len(must(os.ReadDir("/proc/"+pid+"/fd"))))) <= 1
	})
	resident := float64(g.memory())
	if got := g.metric(t, "process_resident_memory_bytes"); got < resident/2 || got > resident*2 {
		t.Errorf("%v bytes are resident, /proc says %v", got, resident)
	}
	if g.metric(t, "process_virtual_memory_bytes") < resident {
		t.Error("less virtual than resident memory")
	}
	if age := float64(time.Now().Unix()) - g.metric(t, "process_start_time_seconds"); age < -2 || age > 120 {
		t.Errorf("the process began %v s ago", age)
	}
	before := g.metric(t, "process_cpu_seconds_total")
	waitFor(t, "the time at work to grow", patience, func() bool {
		_ = g.once(t, g.trusting(common().web, "http/1.1"))
		return g.metric(t, "process_cpu_seconds_total") > before
	})
}

func TestRequestsAndBackendConnectionsUnderWayAreCounted(t *testing.T) {
	t.Parallel()
	back := scripted(t, backend.Silent)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	connections := `tollgate_upstream_connections_active{backend="web",endpoint="` + back.Address + `"}`
	for range 3 {
		w := g.wire(t, common().web)
		w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		t.Cleanup(func() { _ = w.Close() })
		defer func() { _ = w.Close() }()
	}
	waitFor(t, "three requests under way", patience, func() bool {
		return g.metric(t, "tollgate_requests_active") == 3 && g.metric(t, connections) == 3
	})
	back.Wire.KillAll(false)
	waitFor(t, "none under way", patience, func() bool {
		return g.metric(t, "tollgate_requests_active") == 0 && g.metric(t, connections) == 0
	})
}

// Both sides of a large body are as long as it is, and a little more.
func TestBytesOnTheWireAreCounted(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", web.Address)}})
	const size = 3 << 20
	wantStatus(t, g.client(t, "h2", common().web).do(request("POST", "/x", strings.Repeat("x", size))), 200)
	for _, series := range []string{`{side="client",direction="in"}`, `{side="backend",direction="out"}`} {
		waitFor(t, series, patience, func() bool {
			got := g.metric(t, "tollgate_network_bytes_total"+series)
			return got > size && got < size*11/10
		})
	}
	for _, series := range []string{`{side="client",direction="out"}`, `{side="backend",direction="in"}`} {
		if got := g.metric(t, "tollgate_network_bytes_total"+series); got == 0 {
			t.Errorf("%s is nothing", series)
		}
	}
}

// series returns which there are.
func (g *gateway) series(t *testing.T) map[string]bool {
	t.Helper()
	_, text := g.adminGet("/metrics")
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			found[line[:strings.LastIndexByte(line, ' ')]] = true
		}
	}
	return found
}

func TestCallersAddNoSeries(t *testing.T) {
	t.Parallel()
	g, traffic := busy(t)
	c, plain := g.client(t, "h2", common().web), g.client(t, "h1", common().web)
	play := func(n int) {
		r := request(fmt.Sprint("METHOD", n), fmt.Sprint("/web/", n, "?", n), "", "X-"+fmt.Sprint(n), "x", "User-Agent", fmt.Sprint(n))
		r.Host = fmt.Sprintf("host%d.example", n)
		_ = c.do(r)
		_ = plain.get(fmt.Sprint("/nowhere/", n))
		if n%20 == 0 { // a handshake each
			config := g.trusting(common().root.svid(fmt.Sprintf("spiffe://cluster.local/caller/%d", n)), "http/1.1")
			config.ServerName, config.InsecureSkipVerify = fmt.Sprintf("sni%d.example", n), true
			_ = g.once(t, config)
		}
	}
	traffic()
	play(0)
	before := g.series(t)
	for n := range 1000 {
		play(n)
	}
	for name := range g.series(t) {
		if !before[name] {
			t.Errorf("new: %s", name)
		}
	}
	// Statuses come from backends: those that are none share one word, so there are never more than there are statuses.
	for status := 200; status <= 999; status += 3 {
		_ = plain.get(fmt.Sprint("/status/", status))
	}
	added := 0
	for name := range g.series(t) {
		if !before[name] {
			added++
			if !strings.Contains(name, `code="`) {
				t.Errorf("new: %s", name)
			}
		}
	}
	if added > 2*(400/3+2) {
		t.Errorf("%d series more by statuses", added)
	}
}

// What reloads no longer name goes, however often they rename everything; what they keep goes on counting.
func TestRenamedRoutesLeaveTheMetrics(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /kept", "backend: web"), route("path: /name0/*", "backend: web")},
		backends: []string{http1("web", web.Address)}})
	for round := range 30 {
		if round > 0 {
			g.rewrite(t, fmt.Sprintf("/name%d/*", round-1), fmt.Sprintf("/name%d/*", round))
			g.signal(syscall.SIGHUP)
			waitFor(t, "the reload", patience, func() bool {
				return g.metric(t, `tollgate_config_reloads_total{result="success"}`) == float64(round)
			})
		}
		c := g.client(t, "h1", common().web)
		waitFor(t, "the new route", patience, func() bool { return c.get(fmt.Sprintf("/name%d/x", round)).status == 200 })
		wantStatus(t, c.get("/kept"), 200)
		c.transport.CloseIdleConnections()
	}
	kept := `tollgate_requests_total{listener="edge",route="/kept",protocol="http1",code="200"}`
	if got := g.metric(t, kept); got != 30 {
		t.Errorf("what is kept counted %v", got)
	}
	waitFor(t, "old names to go", patience, func() bool {
		old := 0
		for name := range g.series(t) {
			if strings.Contains(name, `route="/name`) && !strings.Contains(name, `route="/name29/*"`) {
				old++
			}
		}
		return old == 0
	})
}

// A gauge that is missing is no 0 to a rule or a panel: what the configuration names is told before anybody came.
func TestGaugesOfWhatIsConfiguredAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	g := start(t, setup{top: []string{"redis: {address: " + freeAddress(t) + "}"},
		routes: []string{route("path: /*", `respond: {status: 200}, rate_limits: [{rate: 1/s, burst: 1, store: redis}]`)}})
	there := func(yes, no string) func() bool {
		return func() bool {
			series := g.series(t)
			return series["tollgate_limit_store_connections_active"] && series["tollgate_connections_active{listener=\""+yes+"\"}"] &&
				!series["tollgate_connections_active{listener=\""+no+"\"}"]
		}
	}
	waitFor(t, "the gauges", patience, there("edge", "renamed"))
	g.rewrite(t, "name: edge", "name: renamed")
	g.reload(t)
	waitFor(t, "those of the other name", patience, there("renamed", "edge"))
}
