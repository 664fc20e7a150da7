package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// The server's address, its password, and what changes while the gateway is at work.

// hangUp has the gateway read its configuration again by signal, and waits until it has.
func (g *gateway) hangUp(t *testing.T) {
	t.Helper()
	const reloads = `tollgate_config_reloads_total{result="success"}`
	before := g.metric(t, reloads)
	g.signal(syscall.SIGHUP)
	waitFor(t, "the new configuration to be in force", 5*time.Second, func() bool { return g.metric(t, reloads) > before })
}

func TestReloadMovesToAnotherRedis(t *testing.T) {
	t.Parallel()
	first, second := harness.StartRedis(t, harness.RedisSetup{}), harness.StartRedis(t, harness.RedisSetup{TCP: true})
	g := threeWays(t, store(first.Address), setup{})
	g.awaitConnections(t, 2)
	c := g.client(t, "h1", common().web)
	new(verdicts).ask(t, c, 4, "/deny/x").want(t, "with the first", 4, 0, 0)
	g.rewrite(t, fmt.Sprintf("%q", first.Address), fmt.Sprintf("%q", second.Address))
	g.hangUp(t)
	waitFor(t, "the first to be left", 5*time.Second, func() bool { return first.Clients() == 0 })
	new(verdicts).ask(t, c, 8, "/deny/x").want(t, "with the second", 6, 2, 0)
	if calls, keys := second.Calls("evalsha")+second.Calls("eval"), second.Keys(0); calls == 0 || len(keys) != 1 {
		t.Errorf("the second was asked %d times and has the keys %q", calls, keys)
	}
	g.rewrite(t, fmt.Sprintf("%q", second.Address), fmt.Sprintf("%q", first.Address))
	g.hangUp(t)
	waitFor(t, "what the second refused to be forgotten", 2*time.Second, func() bool { return granted(t, c, 1, "/deny/x") == 1 })
	new(verdicts).ask(t, c, 8, "/deny/x").want(t, "with the first again", 1, 7, 0)
	waitFor(t, "the second to be left", 5*time.Second, func() bool { return second.Clients() == 0 })
	g.awaitConnections(t, 2)
}

func TestReloadWithoutAChangeKeepsTheConnections(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address), setup{})
	g.awaitConnections(t, 2)
	before := redis.Command("CLIENT", "LIST").(string)
	for range 3 {
		g.hangUp(t)
	}
	new(verdicts).ask(t, g.client(t, "h1", common().web), 8, "/deny/x").want(t, "after reloads", 6, 2, 0)
	for line := range strings.Lines(before) {
		id, _, _ := strings.Cut(line, " ")
		if !strings.Contains(redis.Command("CLIENT", "LIST").(string), id+" ") {
			t.Errorf("connection %s was given up for nothing", id)
		}
	}
}

func TestReloadFromADeadRedisToALivingOne(t *testing.T) {
	t.Parallel()
	first, second := harness.StartRedis(t, harness.RedisSetup{TCP: true}), harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(first.Address), setup{})
	g.awaitConnections(t, 2)
	first.Kill()
	c := g.client(t, "h2", common().web)
	wantRefusal(t, c.get("/deny/x"), http.StatusServiceUnavailable, "overloaded")
	g.rewrite(t, fmt.Sprintf("%q", first.Address), fmt.Sprintf("%q", second.Address))
	g.hangUp(t)
	inForce(t, c)
	new(verdicts).ask(t, c, 8, "/deny/x").want(t, "with the second", 6, 2, 0)
}

func TestTimeoutIsLive(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address, "timeout: 1m"), setup{})
	g.awaitConnections(t, 2)
	redis.Pause()
	g.rewrite(t, "timeout: 1m", "timeout: 50ms")
	g.hangUp(t)
	began := time.Now()
	wantRefusal(t, g.client(t, "h1", common().web).get("/deny/x"), http.StatusServiceUnavailable, "overloaded")
	if took := time.Since(began); took > slow(2*time.Second) {
		t.Errorf("the call waited %v", took)
	}
}

// A reload takes the limit to Redis and back.
func TestReloadChangesWhereALimitIsCounted(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	const local, shared = "rate_limits: [{rate: 1/h, burst: 4}]", "rate_limits: [{rate: 1/h, burst: 4, store: redis}]"
	g := start(t, setup{routes: []string{route("path: /*", `respond: {status: 200, body: "ok"}, `+local)}})
	c := g.client(t, "h1", common().web)
	wantPasses(t, "local", granted(t, c, 6, "/x"), 4)
	plain := string(must(os.ReadFile(g.config)))
	g.rewrite(t, local, shared)
	g.rewrite(t, "listeners:", store(redis.Address)+"\nlisteners:")
	g.hangUp(t)
	g.awaitConnections(t, 2)
	wantPasses(t, "in Redis", granted(t, c, 6, "/x"), 4)
	writeFile(t, g.dir, "tollgate.yaml", []byte(plain))
	g.hangUp(t)
	waitFor(t, "Redis to be left", 5*time.Second, func() bool { return redis.Clients() == 0 })
	if n := granted(t, c, 6, "/x"); n > 4 {
		t.Errorf("local again: %d pass", n)
	}
}

func TestPasswordsAndUsers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		setup       harness.RedisSetup
		wrong, good string
	}{
		"password": {harness.RedisSetup{Password: markedPassword}, "password: wrong-" + markedPassword, "password: " + markedPassword},
		"none, though one is needed": {harness.RedisSetup{Password: markedPassword, TCP: true}, "database: 0",
			"database: 0, password: " + markedPassword},
		"user": {harness.RedisSetup{User: "tollgate", Password: markedPassword}, "username: nobody, password: " + markedPassword,
			"username: tollgate, password: " + markedPassword},
		"user's password": {harness.RedisSetup{User: "tollgate", Password: markedPassword, TCP: true},
			"username: tollgate, password: wrong-" + markedPassword, "username: tollgate, password: " + markedPassword},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, row.setup)
			g := threeWays(t, store(redis.Address, row.wrong), setup{})
			c := g.client(t, "h1", common().web)
			began := time.Now()
			new(verdicts).ask(t, c, 5, "/local/x", "X-Tenant", "a").want(t, "local", 3, 2, 0)
			new(verdicts).ask(t, c, 5, "/allow/x", "X-Tenant", "a").want(t, "allow", 5, 0, 0)
			new(verdicts).ask(t, c, 5, "/deny/x", "X-Tenant", "a").want(t, "deny", 0, 0, 5)
			if took := time.Since(began); took > slow(5*time.Second) {
				t.Errorf("calls of a refused client waited %v", took)
			}
			if record := g.waitForAudit(t, "denial", because("overloaded")); record.Detail == "" {
				t.Errorf("%s", record.line)
			}
			waitFor(t, "the log to say why", 5*time.Second, func() bool { return g.said("the server refuses the password") })
			g.rewrite(t, row.wrong, row.good)
			g.hangUp(t)
			inForce(t, c)
			new(verdicts).ask(t, c, 8, "/local/x", "X-Tenant", "b").want(t, "with the right words", 6, 2, 0)
			g.tellsNoPassword(t)
		})
	}
}

// tellsNoPassword looks for the password wherever the gateway says or writes anything.
func (g *gateway) tellsNoPassword(t *testing.T) {
	t.Helper()
	_, config := g.adminGet("/config")
	if !strings.Contains(config, "<redacted>") {
		t.Errorf("/config has no word of the password:\n%s", config)
	}
	for _, path := range []string{"/config", "/limits", "/metrics", "/status", "/audit", "/certificates", "/", "/readyz"} {
		_, body := g.adminGet(path)
		wantNoSecret(t, path, body)
	}
	g.stop()
	for _, path := range must(filepath.Glob(filepath.Join(g.dir, "*.jsonl"))) {
		wantNoSecret(t, path, string(must(os.ReadFile(path))))
	}
	wantNoSecret(t, "the log", g.stderr.String())
}

// A password that the server has changed is no reason to lose the connection, but one to be refused after the next.
func TestPasswordThatChangesBelowTheGateway(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{User: "tollgate", Password: "first"})
	g := threeWays(t, store(redis.Address, "username: tollgate, password: first"), setup{})
	g.awaitConnections(t, 2)
	c := g.client(t, "h1", common().web)
	new(verdicts).ask(t, c, 2, "/deny/x").want(t, "at first", 2, 0, 0)
	redis.Command("ACL", "SETUSER", "tollgate", "resetpass", ">second")
	redis.Command("CLIENT", "KILL", "USER", "tollgate")
	waitFor(t, "the gateway to be refused", 5*time.Second, func() bool {
		return c.get("/deny/x", "X-Tenant", "probe").status == http.StatusServiceUnavailable
	})
	g.rewrite(t, "password: first", "password: second")
	g.hangUp(t)
	inForce(t, c)
	new(verdicts).ask(t, c, 8, "/deny/x").want(t, "with the new password", 4, 4, 0)
}

// asking is a limit that nobody reaches, and that refuses whom the server does not answer.
func asking(redis string) setup {
	return setup{top: []string{redis}, routes: []string{
		route("path: /*", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 100000/s, burst: 100000, store: redis, on_failure: deny}]`)}}
}

// A living Redis is no reason to refuse anybody, whatever the gateway is at.
func TestUpgradeUnderLoadFailsNoCallOfASharedLimit(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := replaceable(t, asking(store(redis.Address)))
	g.awaitConnections(t, 2)
	c := g.crowd(t)
	process := g.command.Process.Pid
	for range 2 {
		process = g.upgrade(t, process)
	}
	c.leave(t)
}

func TestReloadsUnderLoadFailNoCallOfASharedLimit(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := start(t, asking(store(redis.Address)))
	g.awaitConnections(t, 2)
	c := g.crowd(t)
	for i := range 20 {
		g.rewrite(t, fmt.Sprintf("burst: %d", 100000+i), fmt.Sprintf("burst: %d", 100001+i))
		g.hangUp(t)
	}
	c.leave(t)
}

func TestReloadToAnotherRedisUnderLoadFailsNoCall(t *testing.T) {
	t.Parallel()
	first, second := harness.StartRedis(t, harness.RedisSetup{}), harness.StartRedis(t, harness.RedisSetup{})
	g := start(t, asking(store(first.Address)))
	g.awaitConnections(t, 2)
	c := g.crowd(t)
	for range 5 {
		for _, way := range [][2]*harness.Redis{{first, second}, {second, first}} {
			g.rewrite(t, fmt.Sprintf("%q", way[0].Address), fmt.Sprintf("%q", way[1].Address))
			g.hangUp(t)
			before := c.calls.Load()
			waitFor(t, "some calls", 5*time.Second, func() bool { return c.calls.Load() > before+20 })
		}
	}
	c.leave(t)
}
