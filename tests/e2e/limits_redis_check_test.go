package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// What `check` says of shared limits, and what metrics and the audit log tell of them.

// checked returns what `check` says of a configuration with these lines at the top and this limit.
func checked(t *testing.T, top, limit string) (output string, code int) {
	t.Helper()
	s := setup{routes: []string{route("path: /*", `respond: {status: 200, body: "ok"}, rate_limits: [`+limit+"]")}}
	if top != "" {
		s.top = []string{top}
	}
	return tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
}

func TestCheckRefusesSharedLimitsThatCannotBe(t *testing.T) {
	t.Parallel()
	const good, shared = "redis: {address: 127.0.0.1:6379}", "{rate: 5/s, burst: 10, store: redis}"
	for name, row := range map[string]struct{ top, limit, key, hint string }{
		"no server":                     {"", shared, "listeners[0].routes[0].rate_limits[0].store", "redis"},
		"no address":                    {"redis: {timeout: 20ms}", shared, "redis", "address"},
		"an address without a port":     {"redis: {address: 127.0.0.1}", shared, "redis.address", ""},
		"a timeout of nothing":          {"redis: {address: 127.0.0.1:1, timeout: 0s}", shared, "redis.timeout", ""},
		"a timeout without end":         {"redis: {address: 127.0.0.1:1, timeout: 1h}", shared, "redis.timeout", ""},
		"a database below none":         {"redis: {address: 127.0.0.1:1, database: -1}", shared, "redis.database", ""},
		"a user without a password":     {"redis: {address: 127.0.0.1:1, username: tollgate}", shared, "redis", "password"},
		"TLS":                           {"redis: {address: 127.0.0.1:1, tls: {}}", shared, "redis.tls", "not supported"},
		"TLS, with more":                {"redis: {address: 127.0.0.1:1, tls: {trusted_ca: ca.pem}}", shared, "redis.tls", "not supported"},
		"sentinel":                      {"redis: {address: 127.0.0.1:1, sentinel: {master: a}}", shared, "redis.sentinel", "not supported"},
		"cluster":                       {"redis: {address: 127.0.0.1:1, cluster: true}", shared, "redis.cluster", "not supported"},
		"a lease of nothing":            {good, "{rate: 5/s, burst: 10, store: redis, lease: 0}", "rate_limits[0].lease", ""},
		"a lease of a local limit":      {"", "{rate: 5/s, burst: 10, lease: 2}", "rate_limits[0].lease", "redis"},
		"a lease of a limit said local": {"", "{rate: 5/s, burst: 10, store: local, lease: 2}", "rate_limits[0].lease", "redis"},
		"a failure of a local limit":    {"", "{rate: 5/s, burst: 10, on_failure: deny}", "rate_limits[0].on_failure", "redis"},
		"a failure of one said local":   {"", "{rate: 5/s, burst: 10, store: local, on_failure: local}", "rate_limits[0].on_failure", "redis"},
		"an unknown failure":            {good, "{rate: 5/s, burst: 10, store: redis, on_failure: refuse}", "rate_limits[0].on_failure", "deny"},
		"an unknown store":              {good, "{rate: 5/s, burst: 10, store: memcached}", "rate_limits[0].store", "redis"},
		"a fleet larger than its burst": {good, "{rate: 5/s, burst: 10, store: redis, fleet: 11}", "rate_limits[0].fleet", "expected at most 10"},
		"the same, counted locally":     {"", "{rate: 5/s, burst: 10, fleet: 11}", "rate_limits[0].fleet", "expected at most 10"},
		"a fleet where nobody counts":   {good, "{rate: 5/s, burst: 10, store: redis, on_failure: deny, fleet: 2}", "rate_limits[0].fleet", "no effect"},
		"a lease larger than the burst": {good, "{rate: 5/s, burst: 10, store: redis, lease: 11}", "rate_limits[0].lease", "10"},
		"a fleet of nobody":             {"", "{rate: 5/s, burst: 10, fleet: 0}", "rate_limits[0].fleet", ""},
		"a key misspelt":                {"redis: {adress: 127.0.0.1:1}", shared, "redis.adress", "address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, code := checked(t, row.top, row.limit)
			want := regexp.MustCompile(`(?m)^\S+:\d+:\d+: \S*` + regexp.QuoteMeta(row.key) + `\S*: .*` + regexp.QuoteMeta(row.hint))
			if code != 2 || !want.MatchString(output) {
				t.Errorf("exit %d, want %s, got\n%s", code, want, output)
			}
		})
	}
}

func TestCheckTellsWhatToDoInsteadOfTLS(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"tls: {}", "sentinel: {}", "cluster: true"} {
		output, _ := checked(t, "redis: {address: 127.0.0.1:1, "+key+"}", "{rate: 5/s, burst: 10, store: redis}")
		if n := strings.Count(output, "\n"); n != 1 {
			t.Errorf("%s: %d problems instead of one:\n%s", key, n, output)
		}
		_, said, found := strings.Cut(output, "not supported")
		if !found || len(said) < 20 {
			t.Errorf("%s: nothing to do instead: %s", key, output)
		}
	}
}

func TestCheckPassesSharedLimits(t *testing.T) {
	t.Parallel()
	for _, top := range []string{
		"redis: {address: 127.0.0.1:6379}", `redis: {address: "[::1]:6379", timeout: 1ms}`, "redis: {address: unix:/run/redis/redis.sock, timeout: 1m}",
		"redis: {address: 127.0.0.1:1, username: tollgate, password: secret, database: 15}", "redis: {address: localhost:6379, password: secret}",
	} {
		for _, limit := range []string{"{rate: 5/s, burst: 10, per: [identity], store: redis, lease: 1, on_failure: local, fleet: 2}",
			"{rate: 5/s, burst: 10, store: redis, lease: 10, on_failure: deny}", "{rate: 5/s, burst: 1, store: redis, on_failure: allow}"} {
			if output, code := checked(t, top, limit); code != 0 {
				t.Errorf("%s %s: exit %d: %s", top, limit, code, output)
			}
		}
	}
	if output, code := checked(t, "", "{rate: 5/s, burst: 10, store: local, fleet: 10}"); code != 0 {
		t.Errorf("a local limit of a fleet: exit %d: %s", code, output)
	}
}

// A gateway of three that counts alone has a third, rounded down, of the burst and of the rate.
func TestLocalLimitOfAFleetIsItsShare(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{
		route("path: /burst", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 3/h, burst: 11, fleet: 3}]`),
		route("path: /rate", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 30/m, burst: 3, store: local, fleet: 3}]`)}})
	c := g.client(t, "h1", common().web)
	wantPasses(t, "a third of 11", granted(t, c, 9, "/burst"), 3)
	wantPasses(t, "a third of 3", granted(t, c, 1, "/rate"), 1)
	got := c.get("/rate")
	wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
	if after, _ := strconv.Atoi(got.header.Get("Retry-After")); after < 4 || after > 6 { // one in six seconds
		t.Errorf("Retry-After %d at a third of 30/m", after)
	}
}

func TestMetricsOfSharedLimitsTellAKnownStory(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address), setup{})
	g.awaitConnections(t, 2)
	c := g.client(t, "h2", common().web)
	for _, tenant := range []string{"a", "b", "c"} {
		new(verdicts).ask(t, c, 7, "/allow/x", "X-Tenant", tenant).want(t, tenant, 6, 1, 0)
	}
	new(verdicts).ask(t, c, 5, "/allow/x", "X-Tenant", "c").want(t, "remembered", 0, 5, 0)
	decisions := func(way, decision string) string {
		return fmt.Sprintf(`tollgate_rate_limit_decisions_total{route="/%s/*",limit="rate_limits[0]",decision=%q}`, way, decision)
	}
	answers := func(result string) string {
		return fmt.Sprintf(`tollgate_limit_store_answers_total{result=%q}`, result)
	}
	figures := func(want map[string]float64) {
		t.Helper()
		for series, value := range want {
			if got := g.metric(t, series); got != value {
				t.Errorf("%s is %v, want %v", series, got, value)
			}
		}
	}
	figures(map[string]float64{answers("granted"): 18, answers("refused"): 3, answers("timeout"): 0, answers("disconnected"): 0, answers("error"): 0,
		"tollgate_limit_store_duration_seconds_count": 21, decisions("allow", "allowed"): 18, decisions("allow", "refused"): 8,
		decisions("allow", "failed"): 0})
	redis.Set("maxmemory", "1")
	new(verdicts).ask(t, c, 1, "/allow/x", "X-Tenant", "d").want(t, "an error", 1, 0, 0)
	figures(map[string]float64{answers("error"): 1, decisions("allow", "failed"): 1})
	redis.Kill()
	g.awaitConnections(t, 0)
	new(verdicts).ask(t, c, 4, "/deny/x").want(t, "deny", 0, 0, 4)
	new(verdicts).ask(t, c, 4, "/local/x").want(t, "local", 3, 1, 0)
	figures(map[string]float64{answers("disconnected"): 8, decisions("deny", "failed"): 4, decisions("deny", "allowed"): 0,
		`tollgate_rejections_total{listener="edge",reason="overloaded"}`: 4})
	if n := g.metric(t, decisions("local", "failed")); n < 1 || n > 4 {
		t.Errorf("of the stand-in %v calls are counted as failed", n)
	}
}

func TestTimeoutsAreCounted(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address, "timeout: 50ms"), setup{})
	g.awaitConnections(t, 2)
	redis.Pause()
	wantStatus(t, g.client(t, "h1", common().web).get("/allow/x"), http.StatusOK)
	if n := g.metric(t, `tollgate_limit_store_answers_total{result="timeout"}`); n != 1 {
		t.Errorf("%v timeouts", n)
	}
}

// notes returns the details of the audit's notes of that name.
func (g *gateway) notes(t *testing.T, event string) (details []string) {
	t.Helper()
	for _, record := range g.audit(t) {
		if record.Event == event {
			details = append(details, record.Detail)
		}
	}
	return details
}

func TestAuditTellsOfEachLossAndReturn(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ begin, end func(*harness.Redis) }{
		"killed":        {(*harness.Redis).Kill, func(r *harness.Redis) { r.Start() }},
		"paused":        {(*harness.Redis).Pause, (*harness.Redis).Resume},
		"out of memory": {func(r *harness.Redis) { r.Set("maxmemory", "1") }, func(r *harness.Redis) { r.Set("maxmemory", "0") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{TCP: name == "killed"})
			g := threeWays(t, store(redis.Address, "timeout: 100ms"), setup{workers: 1})
			g.awaitConnections(t, 1)
			c := g.client(t, "h1", common().web)
			for round := 1; round <= 2; round++ {
				row.begin(redis)
				for range 3 {
					wantRefusal(t, c.get("/deny/x"), http.StatusServiceUnavailable, "overloaded")
				}
				waitFor(t, "a note of the loss", 5*time.Second, func() bool { return len(g.notes(t, "limit_store_lost")) == round })
				row.end(redis)
				waitFor(t, "a note of the return", 5*time.Second, func() bool {
					_ = c.get("/deny/x", "X-Tenant", "probe")
					return len(g.notes(t, "limit_store_restored")) == round
				})
				inForce(t, c)
			}
			for _, event := range []string{"limit_store_lost", "limit_store_restored"} {
				notes := g.notes(t, event)
				if len(notes) != 2 {
					t.Errorf("%s is noted %d times: %q", event, len(notes), notes)
				}
				for _, detail := range notes {
					if !strings.Contains(detail, redis.Address) || event == "limit_store_lost" && len(detail) < len(redis.Address)+5 {
						t.Errorf("%s: %q", event, detail)
					}
				}
			}
			for _, record := range g.refusals(t, because("overloaded")) {
				if !strings.Contains(record.Detail, "limit store") || record.MatchedRule != "rate_limits[0]" || record.PolicyName != "edge//deny/*" {
					t.Errorf("%s", record.line)
				}
			}
		})
	}
}

func TestEachWorkerNotesItsOwnLoss(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address), setup{workers: 3})
	g.awaitConnections(t, 3)
	redis.Kill()
	waitFor(t, "three notes", 5*time.Second, func() bool { return len(g.notes(t, "limit_store_lost")) == 3 })
	redis.Start()
	waitFor(t, "three notes", 5*time.Second, func() bool { return len(g.notes(t, "limit_store_restored")) == 3 })
}

// A server that is there and answers with errors decides about nobody either: all that passes then passes unnoticed otherwise.
func TestErrorsOfRedisAreNotedOnce(t *testing.T) {
	t.Parallel()
	for reply, means := range map[string]string{
		"-CLUSTERDOWN Hash slot not served\r\n":                              "the server is a cluster",
		"-CROSSSLOT Keys in request don't hash to the same slot\r\n":         "the server is a cluster",
		"-MOVED 3999 127.0.0.1:6381\r\n":                                     "the server is a cluster",
		"-NOPERM this user has no permissions to access one of the keys\r\n": "forbids",
		"-OOM command not allowed when used memory > 'maxmemory'\r\n":        "out of memory",
		"-ERR \"}\x1b[2J\x00\",\"event\":\"forged\"\r\n":                     "an error",
		"+OK\r\n": "none",
	} {
		t.Run(means, func(t *testing.T) {
			t.Parallel()
			server := scripted(t, polite(func(p *backend.Peer) {
				_, _ = io.WriteString(p, reply)
				replying(reply)(p)
			}))
			g := threeWays(t, store(server.Address, "timeout: 10s"), setup{workers: 1})
			g.awaitConnections(t, 1)
			new(verdicts).ask(t, g.client(t, "h1", common().web), 9, "/allow/x").want(t, "allow", 9, 0, 0)
			waitFor(t, "a note of the errors", 5*time.Second, func() bool { return len(g.notes(t, "limit_store_lost")) > 0 })
			if notes := g.notes(t, "limit_store_lost"); len(notes) != 1 || !strings.Contains(notes[0], means) {
				t.Errorf("%q is noted as %q", reply, notes)
			}
		})
	}
}
