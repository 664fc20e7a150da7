package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Limits that gateways share in Redis: what the fleet grants together.

// store is the line of a configuration that names the server; a timeout that no busy machine exceeds, unless told.
func store(address string, more ...string) string {
	if !slices.ContainsFunc(more, func(line string) bool { return strings.HasPrefix(line, "timeout:") }) {
		more = append(more, "timeout: 10s")
	}
	return fmt.Sprintf("redis: {address: %q, %s}", address, strings.Join(more, ", "))
}

// milliseconds writes a duration, stretched as the test's own, as configurations have it.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", slow(d).Milliseconds()) }

// A fleet is several gateways of one configuration before the same backends.
type fleet struct {
	gateways []*gateway
	users    *backend.GRPC
	web      *backend.HTTP
}

// strictly has a limit refuse whom the store does not answer, so that no stand-in is taken for it, unless the limit says
// what it wants.
func strictly(limits string) string {
	if strings.Contains(limits, "on_failure") {
		return limits
	}
	return strings.ReplaceAll(limits, "store: redis", "store: redis, on_failure: deny")
}

// fleetOf starts gateways that limit user.UserService/Login and /limited/* as told, each by a bucket of its own, and
// waits until their workers have the server's ear: before, on_failure decides.
func fleetOf(t *testing.T, n int, redis, limits string) *fleet {
	t.Helper()
	f := &fleet{users: grpcBackend(t), web: h2cBackend(t)}
	limits = strictly(limits)
	for range n {
		f.gateways = append(f.gateways, start(t, setup{top: []string{redis}, routes: []string{
			route("grpc: user.UserService/Login", "backend: users, rate_limits: ["+limits+"]"),
			route("grpc: user.UserService/*", "backend: users"),
			route("path: /limited/*", "backend: web, rate_limits: ["+limits+"]"),
			route("path: /*", "backend: web")},
			backends: []string{h2("users", f.users.Address), h2("web", f.web.Address)}}))
	}
	for _, g := range f.gateways {
		g.awaitConnections(t, 2)
	}
	return f
}

// verdicts counts what became of calls.
type verdicts struct {
	passed, refused, overloaded counter
	mutex                       sync.Mutex
	longest                     time.Duration
}

func (v *verdicts) String() string {
	return fmt.Sprintf("%d passed, %d refused, %d overloaded", v.passed.get(), v.refused.get(), v.overloaded.get())
}

// count files an answer, over HTTP or as the head of a gRPC call, by its status.
func (v *verdicts) count(t *testing.T, r reply) {
	t.Helper()
	grpc := r.header.Get("Grpc-Status")
	switch {
	case r.err != nil:
		t.Error(r.err)
	case r.status == http.StatusTooManyRequests || grpc == "8":
		v.refused.add(1)
	case r.status == http.StatusServiceUnavailable || grpc == "14":
		v.overloaded.add(1)
	case r.status == http.StatusOK:
		v.passed.add(1)
	default:
		t.Errorf("status %d: %.200q", r.status, r.body)
	}
}

// ask makes calls one after the other.
func (v *verdicts) ask(t *testing.T, c *client, calls int, path string, headers ...string) *verdicts {
	t.Helper()
	for range calls {
		began := time.Now()
		v.count(t, c.get(path, headers...))
		took := time.Since(began)
		v.mutex.Lock()
		v.longest = max(v.longest, took)
		v.mutex.Unlock()
	}
	return v
}

// granted makes calls one after the other and counts those that pass.
func granted(t *testing.T, c *client, calls int, path string, headers ...string) int {
	t.Helper()
	v := new(verdicts).ask(t, c, calls, path, headers...)
	if v.overloaded.get() > 0 {
		t.Errorf("%s: %v", path, v)
	}
	return v.passed.get()
}

func TestFleetSharesABurstExactlyOverAllProtocols(t *testing.T) {
	t.Parallel()
	const burst, connections, calls = 37, 8, 6
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 1/h, burst: 37, per: [identity], store: redis}")
	var all verdicts
	var group sync.WaitGroup
	for _, g := range f.gateways {
		for i := range connections {
			c := g.client(t, []string{"h1", "h2", "h2", "h2"}[i%4], common().root.svid(webID))
			headers := [][]string{nil, nil, {"Content-Type", "application/grpc", "Te", "trailers"}, nil}[i%4]
			for range calls {
				method := []string{"GET", "POST", "POST", "PUT"}[i%4]
				group.Go(func() { all.count(t, c.do(request(method, "/limited/"+method, "", headers...))) })
			}
		}
	}
	group.Wait()
	if all.passed.get() != burst || all.refused.get() != 2*connections*calls-burst {
		t.Errorf("of a burst of %d: %v", burst, &all)
	}
	wantPasses(t, "at the backend", f.web.Journal.Count(""), burst)
	recorded := 0
	for _, g := range f.gateways {
		refused := g.metric(t, `tollgate_rejections_total{listener="edge",reason="rate_limited"}`)
		g.countAudit(t, int(refused), because("rate_limited"))
		recorded += int(refused)
	}
	if recorded != all.refused.get() {
		t.Errorf("%d refusals are recorded, %d were answered", recorded, all.refused.get())
	}
}

func TestFleetSharesABurstOfCallsExactly(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{TCP: true})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 1/h, burst: 25, per: [identity], store: redis}")
	var passed counter
	var group sync.WaitGroup
	for _, g := range f.gateways {
		for range 6 {
			conn := g.rpc(t, common().web)
			for range 6 {
				group.Go(func() { passed.add(passes(t, conn, 1, login)) })
			}
		}
	}
	group.Wait()
	wantPasses(t, "all together", passed.get(), 25)
	wantPasses(t, "at the backend", f.users.Journal.Count(login), 25)
	wantPasses(t, "another method", passes(t, f.gateways[1].rpc(t, common().web), 30, getUser), 30)
}

func TestFleetKeepsIdentitiesApart(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 1/h, burst: 4, per: [identity], store: redis}")
	root := common().root
	for _, id := range []string{webID, webID + "x", "spiffe://cluster.local/ns/web/sa/other"} {
		wantPasses(t, id, granted(t, f.gateways[0].client(t, "h1", root.svid(id)), 3, "/limited/x"), 3)
		wantPasses(t, id+" elsewhere", granted(t, f.gateways[1].client(t, "h2", root.svid(id)), 3, "/limited/x"), 1)
	}
	wantPasses(t, "another route", passes(t, f.gateways[1].rpc(t, common().web), 6, login), 4)
	if keys := redis.Keys(0); len(keys) != 4 {
		t.Errorf("four buckets are in use, but the keys are %q", keys)
	}
}

func TestFleetKeepsKeysApartWhateverTheyAre(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), `{rate: 1/h, burst: 2, per: ["header:X-Tenant", method], store: redis}`)
	for _, tenant := range []string{"a", "a:b", "{a}", "*", "a b", `"`, `\r\n`, "\xff\xfe", strings.Repeat("a", 5000), strings.Repeat("a", 5001)} {
		wantPasses(t, fmt.Sprintf("%.20q", tenant), granted(t, f.gateways[0].client(t, "h1", common().web), 1, "/limited/x", "X-Tenant", tenant), 1)
		wantPasses(t, fmt.Sprintf("%.20q elsewhere", tenant), granted(t, f.gateways[1].client(t, "h1", common().web), 3, "/limited/x", "X-Tenant", tenant), 1)
	}
	for _, name := range redis.Keys(0) {
		if !strings.HasPrefix(name, "tollgate:") || len(name) > 1024 {
			t.Errorf("a key of %d bytes: %.100q", len(name), name)
		}
	}
}

// Callers that want more than there is take exactly what is refilled, however they are spread.
func TestFleetRefillsContinuously(t *testing.T) {
	t.Parallel()
	const burst, rate = 5, 20
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 20/s, burst: 5, per: [identity], store: redis}")
	var passed counter
	var group sync.WaitGroup
	first := make(chan time.Time, 1)
	began := time.Now()
	for i := range 4 {
		c := f.gateways[i%2].client(t, "h1", common().web)
		group.Go(func() {
			for time.Since(began) < 800*time.Millisecond {
				passed.add(granted(t, c, 1, "/limited/x"))
				select {
				case first <- time.Now():
				default:
				}
			}
		})
	}
	group.Wait()
	c, last := f.gateways[0].client(t, "h1", common().web), time.Now()
	for granted(t, c, 1, "/limited/x") == 1 { // what gathered while the callers ended
		passed.add(1)
		last = time.Now()
	}
	most := burst + rate*time.Since(began).Seconds()
	least := burst + rate*last.Sub(<-first).Seconds() - 2 // the one being refilled, and one a gateway still thinks is
	if got := float64(passed.get()); got > most || got < least {
		t.Errorf("%v granted, at least %.2f and at most %.2f were to be", got, least, most)
	}
}

func TestSharedLimitsOfARouteAreAllChargedOrNone(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), `{rate: 1/h, burst: 5, per: [identity], store: redis}, `+
		`{rate: 1/h, burst: 3, per: ["header:X-Tenant"], store: redis}`)
	one, other := f.gateways[0].client(t, "h1", common().web), f.gateways[1].client(t, "h2", common().web)
	wantPasses(t, "until the second limit refuses", granted(t, one, 10, "/limited/x", "X-Tenant", "a"), 3)
	wantPasses(t, "the second limit, elsewhere", granted(t, other, 10, "/limited/x", "X-Tenant", "a"), 0)
	wantPasses(t, "what is left of the first", granted(t, other, 10, "/limited/x", "X-Tenant", "b"), 2)
	wantPasses(t, "nothing was taken from the second meanwhile", granted(t, f.gateways[1].client(t, "h1",
		common().root.svid("spiffe://cluster.local/other")), 10, "/limited/x", "X-Tenant", "b"), 1)
	record := f.gateways[0].waitForAudit(t, "second limit", because("rate_limited"))
	if record.MatchedRule != "rate_limits[1]" || record.Detail != "1/h burst 3 per header:x-tenant, in redis" {
		t.Errorf("the first refusal is put on %q, %q", record.MatchedRule, record.Detail)
	}
}

func TestLocalAndSharedLimitsAreAllChargedOrNone(t *testing.T) {
	t.Parallel()
	const local, shared = `per: ["header:X-Tenant"]`, "per: [identity], store: redis"
	for name, limits := range map[string]string{
		"shared first": "{rate: 1/h, burst: 5, " + shared + "}, {rate: 1/h, burst: 3, " + local + "}",
		"local first":  "{rate: 1/h, burst: 3, " + local + "}, {rate: 1/h, burst: 5, " + shared + "}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			f := fleetOf(t, 2, store(redis.Address), limits)
			one, other := f.gateways[0].client(t, "h1", common().web), f.gateways[1].client(t, "h1", common().web)
			wantPasses(t, "until the local limit refuses", granted(t, one, 10, "/limited/x", "X-Tenant", "a"), 3)
			wantPasses(t, "what is left of the shared one", granted(t, other, 10, "/limited/x", "X-Tenant", "b"), 2)
			third := f.gateways[1].client(t, "h1", common().root.svid("spiffe://cluster.local/other"))
			wantPasses(t, "what is left of the local one", granted(t, third, 10, "/limited/x", "X-Tenant", "b"), 1)
			wantPasses(t, "and elsewhere", granted(t, f.gateways[0].client(t, "h1",
				common().root.svid("spiffe://cluster.local/other")), 10, "/limited/x", "X-Tenant", "b"), 3)
		})
	}
}

// Concurrent callers that need two limits never leave one charged for nothing.
func TestConcurrentCallersOfTwoSharedLimitsLoseNoToken(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), `{rate: 1/h, burst: 30, per: [identity], store: redis}, `+
		`{rate: 1/h, burst: 10, per: ["header:X-Tenant"], store: redis}`)
	var all verdicts
	var group sync.WaitGroup
	for i := range 40 { // 20 of a tenant each, who may have 10
		c := f.gateways[i%2].client(t, []string{"h1", "h2"}[i/2%2], common().web)
		group.Go(func() { all.ask(t, c, 1, "/limited/x", "X-Tenant", []string{"a", "b"}[i/4%2]) })
	}
	group.Wait()
	wantPasses(t, "two tenants", all.passed.get(), 20)
	c := f.gateways[0].client(t, "h1", common().web)
	wantPasses(t, "a third", granted(t, c, 20, "/limited/x", "X-Tenant", "c"), 10)
	wantPasses(t, "a fourth", granted(t, c, 20, "/limited/x", "X-Tenant", "d"), 0)
}

// Answers go to those who asked: with many questions under way at once, each tenant gets what is his.
func TestManyKeysAtOnceAreEachExact(t *testing.T) {
	t.Parallel()
	const tenants, burst = 25, 5
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), `{rate: 1/h, burst: 5, per: ["header:X-Tenant"], store: redis}`)
	var passed [tenants]counter
	var group sync.WaitGroup
	for i := range 6 {
		c := f.gateways[i%2].client(t, "h2", common().web)
		for tenant := range tenants {
			group.Go(func() {
				passed[tenant].add(granted(t, c, 1+(tenant+i)%4, "/limited/x", "X-Tenant", fmt.Sprint(tenant)))
			})
		}
	}
	group.Wait()
	for tenant := range passed {
		asked := 0
		for i := range 6 {
			asked += 1 + (tenant+i)%4
		}
		wantPasses(t, fmt.Sprint("tenant ", tenant), passed[tenant].get(), min(burst, asked))
	}
}

func TestRefusedCallsNeverReachTheBackend(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 1/h, burst: 1, store: redis}")
	conn := f.gateways[0].rpc(t, common().web)
	wantPasses(t, "Login", passes(t, conn, 20, login), 1)
	err := invoke(t, conn, login)
	if got := status.Convert(err); got.Code() != codes.ResourceExhausted || got.Message() != "rate limit exceeded" {
		t.Errorf("status %v", got)
	}
	c := f.gateways[0].client(t, "h1", common().web)
	wantStatus(t, c.get("/limited/x"), http.StatusOK)
	wantRefusal(t, c.get("/limited/x"), http.StatusTooManyRequests, "rate_limited")
	if calls, requests := f.users.Journal.Count(login), f.web.Journal.Count(""); calls != 1 || requests != 1 {
		t.Errorf("%d calls and %d requests reached the backends", calls, requests)
	}
}
