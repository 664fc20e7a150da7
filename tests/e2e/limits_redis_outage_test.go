package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Redis is away, or does not want to: on_failure decides, nobody waits long, and the limit is in force again afterwards.

// threeWays starts a gateway whose routes /local/*, /allow/* and /deny/* have a limit of 6 by tenant each, and differ in
// on_failure; a fleet of two leaves 3 where it counts alone.
func threeWays(t *testing.T, redis string, s setup) *gateway {
	t.Helper()
	s.top = append(s.top, redis)
	for _, way := range []string{"local, fleet: 2", "allow", "deny"} {
		name, _, _ := strings.Cut(way, ",")
		s.routes = append(s.routes, route("path: /"+name+"/*", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 1/h, burst: 6, `+
			`per: ["header:X-Tenant"], store: redis, on_failure: `+way+"}]"))
	}
	s.routes = append(s.routes, marked("path: /*", "free"))
	return start(t, s)
}

// want tells what n calls were to come to.
func (v *verdicts) want(t *testing.T, what string, passed, refused, overloaded int) {
	t.Helper()
	if v.passed.get() != passed || v.refused.get() != refused || v.overloaded.get() != overloaded {
		t.Errorf("%s: %v; want %d, %d, %d", what, v, passed, refused, overloaded)
	}
}

// inForce waits until Redis decides for this client again, which a tenant of nobody's asks.
func inForce(t *testing.T, c *client) {
	t.Helper()
	waitFor(t, "the shared limit to be in force", 5*time.Second, func() bool {
		return c.get("/deny/x", "X-Tenant", "probe").status != http.StatusServiceUnavailable
	})
}

// awaitConnections waits until each worker has its connection to Redis.
func (g *gateway) awaitConnections(t *testing.T, want float64) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%v connections to Redis", want), 5*time.Second, func() bool {
		return g.metric(t, "tollgate_limit_store_connections_active") == want
	})
}

type outage struct {
	name       string
	begin, end func(*testing.T, *harness.Redis)
	waits      bool // the first call has to wait to learn of it
	forgets    bool // the buckets are gone afterwards
}

var outages = []outage{
	{"killed", func(_ *testing.T, r *harness.Redis) { r.Kill() }, func(_ *testing.T, r *harness.Redis) { r.Start() }, false, true},
	{"paused", func(_ *testing.T, r *harness.Redis) { r.Pause() }, func(_ *testing.T, r *harness.Redis) { r.Resume() }, true, false},
	{"paused, then killed", func(_ *testing.T, r *harness.Redis) { r.Pause() }, func(_ *testing.T, r *harness.Redis) { r.Kill(); r.Start() }, true, true},
	{"out of memory", func(_ *testing.T, r *harness.Redis) { r.Set("maxmemory", "1") },
		func(_ *testing.T, r *harness.Redis) { r.Set("maxmemory", "0") }, false, false},
	{"a replica", func(_ *testing.T, r *harness.Redis) { r.Command("REPLICAOF", "127.0.0.1", "1") },
		func(_ *testing.T, r *harness.Redis) { r.Command("REPLICAOF", "NO", "ONE") }, false, false},
	{"a replica without data", func(_ *testing.T, r *harness.Redis) {
		r.Set("replica-serve-stale-data", "no")
		r.Command("REPLICAOF", "127.0.0.1", "1")
	}, func(_ *testing.T, r *harness.Redis) { r.Command("REPLICAOF", "NO", "ONE") }, false, false},
	{"without replicas to write to", func(_ *testing.T, r *harness.Redis) { r.Set("min-replicas-to-write", "1") },
		func(_ *testing.T, r *harness.Redis) { r.Set("min-replicas-to-write", "0") }, false, false},
	{"busy with a script", busies, func(_ *testing.T, r *harness.Redis) { r.Command("SCRIPT", "KILL") }, false, false},
	{"frozen for writes", func(_ *testing.T, r *harness.Redis) { r.Command("CLIENT", "PAUSE", "60000", "WRITE") },
		func(_ *testing.T, r *harness.Redis) { r.Command("CLIENT", "UNPAUSE") }, true, false},
	{"loading", loads, func(_ *testing.T, r *harness.Redis) { r.Kill(); r.Start() }, false, false},
}

// loads has the server start with data that it takes forty seconds to load, and answer -LOADING until then.
func loads(t *testing.T, r *harness.Redis) {
	r.Set("rdbcompression", "no")
	r.Command("EVAL", "for i = 1, 2000 do redis.call('SET', 'filling:' .. i, string.rep('x', 1100)) end", "0")
	r.Command("SAVE")
	r.Kill()
	r.Start("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
	if _, err := r.Try("GET", "x"); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
		t.Fatalf("it is no longer loading: %v", err)
	}
}

// busies has the server run a script of somebody else's without end, and answer -BUSY.
func busies(t *testing.T, r *harness.Redis) {
	r.Set("busy-reply-threshold", "1")
	network, address := harness.NetworkOf(r.Address)
	conn := must(net.Dial(network, address))
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, harness.Command("EVAL", "while true do end", "0"))
	waitFor(t, "the server to be busy", 5*time.Second, func() bool {
		_, err := r.Try("GET", "x")
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
}

func TestOnFailureDecidesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	timeout := slow(800 * time.Millisecond)
	for _, row := range outages {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			g := threeWays(t, store(redis.Address, "timeout: "+milliseconds(800*time.Millisecond)), setup{})
			g.awaitConnections(t, 2)
			c := g.client(t, "h1", common().web)
			for _, way := range []string{"local", "allow", "deny"} {
				new(verdicts).ask(t, c, 2, "/"+way+"/x", "X-Tenant", "a").want(t, way+" before", 2, 0, 0)
			}
			row.begin(t, redis)
			waited := time.Now()
			first := c.get("/deny/x", "X-Tenant", "a")
			wantRefusal(t, first, http.StatusServiceUnavailable, "overloaded")
			if after, err := strconv.Atoi(first.header.Get("Retry-After")); err != nil || after < 1 {
				t.Errorf("Retry-After %q", first.header.Get("Retry-After"))
			}
			if took := time.Since(waited); row.waits && took < timeout*9/10 || took > timeout*2 || !row.waits && took > timeout*9/10 {
				t.Errorf("the first call waited %v", took)
			}
			most := timeout * 3 / 4
			if row.name == "frozen for writes" { // which shows only when a new connection is asked for more than a greeting
				most = timeout * 2
			}
			for way, want := range map[string][3]int{"local": {3, 5, 0}, "allow": {8, 0, 0}, "deny": {0, 0, 8}} {
				v := new(verdicts).ask(t, c, 8, "/"+way+"/x", "X-Tenant", "a")
				if v.want(t, way, want[0], want[1], want[2]); v.longest > most {
					t.Errorf("%s: a call waited %v, though it is known", way, v.longest)
				}
			}
			if status, _ := g.adminGet("/readyz"); status != http.StatusOK {
				t.Errorf("/readyz: %d", status)
			}
			g.countAudit(t, 9, because("overloaded"))
			row.end(t, redis)
			inForce(t, c)
			for _, way := range []string{"local", "allow", "deny"} {
				new(verdicts).ask(t, c, 8, "/"+way+"/x", "X-Tenant", "b").want(t, way+" afterwards", 6, 2, 0)
			}
			if n := granted(t, c, 8, "/deny/x", "X-Tenant", "a"); !row.forgets && n > 4 || n > 6 {
				t.Errorf("%d pass of a bucket from which 2 were taken", n)
			}
		})
	}
}

// Callers that are there at the same time wait at the same time.
func TestManyCallersWaitForRedisOnceTogether(t *testing.T) {
	t.Parallel()
	timeout := slow(800 * time.Millisecond)
	redis := harness.StartRedis(t, harness.RedisSetup{TCP: true})
	g := threeWays(t, store(redis.Address, "timeout: "+milliseconds(800*time.Millisecond)), setup{})
	g.awaitConnections(t, 2)
	var clients []*client
	for i := range 6 {
		c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
		wantStatus(t, c.get("/free"), http.StatusOK)
		clients = append(clients, c)
	}
	redis.Pause()
	var group sync.WaitGroup
	ways := map[string]*verdicts{"local": {}, "allow": {}, "deny": {}}
	began := time.Now()
	for way, v := range ways {
		for i := range 30 {
			group.Go(func() { v.ask(t, clients[i%6], 1, "/"+way+"/x", "X-Tenant", "a") })
		}
	}
	group.Wait()
	if took := time.Since(began); took < timeout*9/10 || took > timeout*3 {
		t.Errorf("90 calls at once waited %v", took)
	}
	ways["local"].want(t, "local", 3, 27, 0)
	ways["allow"].want(t, "allow", 30, 0, 0)
	ways["deny"].want(t, "deny", 0, 0, 30)
	redis.Resume()
	g.awaitConnections(t, 2)
	for _, c := range clients {
		inForce(t, c)
	}
}

// Calls of gRPC are told in its own terms.
func TestCallsAreUnavailableWhereAStoreIsNeeded(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 1/h, burst: 3, store: redis, on_failure: deny}")
	conn := f.gateways[0].rpc(t, common().web)
	wantPasses(t, "before", passes(t, conn, 1, login), 1)
	redis.Kill()
	err := invoke(t, conn, login)
	wantCode(t, err, 14)
	record := f.gateways[0].waitForAudit(t, "denial", because("overloaded"))
	if !strings.Contains(record.Detail, "limit store") || record.Answer.GRPCStatus == nil || *record.Answer.GRPCStatus != 14 ||
		record.MatchedRule != "rate_limits[0]" {
		t.Errorf("%s", record.line)
	}
	redis.Start()
	waitFor(t, "calls to pass", 5*time.Second, func() bool { return invoke(t, conn, login) == nil })
	wantPasses(t, "afterwards", passes(t, conn, 9, login), 2)
	wantPasses(t, "at the backend", f.users.Journal.Count(login), 4)
}

func TestGatewayStartsAndServesWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{TCP: true})
	redis.Kill()
	g := threeWays(t, store(redis.Address), setup{}) // is ready
	c := g.client(t, "h2", common().web)
	began := time.Now()
	new(verdicts).ask(t, c, 5, "/local/x").want(t, "local", 3, 2, 0)
	new(verdicts).ask(t, c, 5, "/allow/x").want(t, "allow", 5, 0, 0)
	new(verdicts).ask(t, c, 5, "/deny/x").want(t, "deny", 0, 0, 5)
	if took := time.Since(began); took > slow(5*time.Second) {
		t.Errorf("without a connection nobody was to wait: %v", took)
	}
	redis.Start()
	inForce(t, c)
	new(verdicts).ask(t, c, 8, "/local/x").want(t, "afterwards", 6, 2, 0)
}

// A server that drops out for a moment again and again costs nobody a call, and never makes room for more than its
// own bucket and the stand-in's.
func TestFlappingServerKeepsToTheBounds(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address, "timeout: "+milliseconds(100*time.Millisecond)), setup{})
	g.awaitConnections(t, 2)
	ended := make(chan struct{})
	var group sync.WaitGroup
	var local, allow, deny verdicts
	for i := range 3 {
		c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
		group.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					local.ask(t, c, 1, "/local/x")
					allow.ask(t, c, 1, "/allow/x")
					deny.ask(t, c, 1, "/deny/x")
				}
			}
		})
	}
	for range 4 {
		before := allow.passed.get() + allow.refused.get()
		redis.Pause()
		waitFor(t, "some calls", 5*time.Second, func() bool { return allow.passed.get()+allow.refused.get() > before+20 })
		redis.Resume()
		g.awaitConnections(t, 2)
	}
	close(ended)
	group.Wait()
	if local.passed.get() > 9 || local.overloaded.get() > 0 { // six of Redis, three of its stand-in
		t.Errorf("local: %v", &local)
	}
	if allow.overloaded.get() > 0 || allow.passed.get() < 6 {
		t.Errorf("allow: %v", &allow)
	}
	if deny.passed.get() > 6 {
		t.Errorf("deny: %v", &deny)
	}
	if most := slow(time.Second); local.longest > most || allow.longest > most || deny.longest > most {
		t.Errorf("calls waited for %v, %v, %v", local.longest, allow.longest, deny.longest)
	}
}

func TestFlushedBucketsAreFullAndScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address), setup{})
	g.awaitConnections(t, 2)
	c := g.client(t, "h2", common().web)
	new(verdicts).ask(t, c, 4, "/deny/x").want(t, "before", 4, 0, 0)
	redis.Command("FLUSHALL")
	new(verdicts).ask(t, c, 4, "/deny/x").want(t, "a full bucket", 4, 0, 0)
	redis.Command("SCRIPT", "FLUSH")
	new(verdicts).ask(t, c, 4, "/deny/x").want(t, "as if nothing had been", 2, 2, 0)
	var all verdicts
	var group sync.WaitGroup
	for i := range 5 {
		redis.Command("SCRIPT", "FLUSH")
		for range 20 { // all of them may find no script
			group.Go(func() { all.ask(t, c, 1, "/deny/x", "X-Tenant", strconv.Itoa(i)) })
		}
	}
	group.Wait()
	all.want(t, "five tenants", 30, 70, 0)
	if n := g.metric(t, `tollgate_limit_store_answers_total{result="error"}`); n != 0 {
		t.Errorf("%v errors", n)
	}
}
