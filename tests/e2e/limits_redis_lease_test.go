package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// What shared limits cost Redis, and what waits and keys come of it.

// limitedBy starts one gateway of one worker that answers /limited/* itself.
func limitedBy(t *testing.T, redis, limit string) *gateway {
	t.Helper()
	g := start(t, setup{workers: 1, top: []string{redis}, routes: []string{
		route("path: /limited/*", `respond: {status: 200, body: "ok"}, rate_limits: [`+strictly(limit)+"]"), marked("path: /*", "free")}})
	g.awaitConnections(t, 1)
	return g
}

func TestLeaseSavesCommands(t *testing.T) {
	t.Parallel()
	for lease, most := range map[int]int{1: 50, 5: 10, 50: 1} {
		t.Run(fmt.Sprint(lease), func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			g := limitedBy(t, store(redis.Address), fmt.Sprintf("{rate: 1/h, burst: 50, store: redis, lease: %d}", lease))
			c := g.client(t, "h2", common().web)
			wantPasses(t, "a burst", granted(t, c, 50, "/limited/x"), 50)
			// One more that finds the server without the script.
			if calls := redis.Calls("evalsha") + redis.Calls("eval"); calls < most || calls > most+2 {
				t.Errorf("%d scripts were run for 50 calls, want %d", calls, most)
			}
			wantPasses(t, "after it", granted(t, c, 5, "/limited/x"), 0)
		})
	}
}

func TestLeasesOfAFleetGrantNoMoreThanTheBurst(t *testing.T) {
	t.Parallel()
	const burst, lease, gateways, workers = 60, 4, 2, 2
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, gateways, store(redis.Address), "{rate: 1/h, burst: 60, per: [identity], store: redis, lease: 4}")
	var all verdicts
	var group sync.WaitGroup
	for i := range 12 {
		c := f.gateways[i%gateways].client(t, []string{"h1", "h2"}[i/2%2], common().web)
		for range 3 {
			group.Go(func() { all.ask(t, c, 10, "/limited/x") })
		}
	}
	group.Wait()
	// A worker may be left with tokens that nobody asks it for any more.
	if n := all.passed.get(); n > burst || n < burst-gateways*workers*(lease-1) {
		t.Errorf("of a burst of %d: %v", burst, &all)
	}
}

// Kept tokens lapse, and what gateways keep while the bucket refills is all that they can be ahead.
func TestKeptTokensStayWithinTheBound(t *testing.T) {
	t.Parallel()
	const burst, rate, lease = 10, 10, 5
	redis := harness.StartRedis(t, harness.RedisSetup{})
	limit := "{rate: 10/s, burst: 10, store: redis, lease: 5}"
	var clients []*client
	for range 2 {
		clients = append(clients, limitedBy(t, store(redis.Address), limit).client(t, "h1", common().web))
	}
	for _, c := range clients {
		wantPasses(t, "one, and four are kept", granted(t, c, 1, "/limited/x"), 1)
	}
	waitFor(t, "the bucket to be full again", 5*time.Second, func() bool { return len(redis.Keys(0)) == 0 })
	began, passed := time.Now(), 0
	for range 20 {
		for _, c := range clients {
			passed += granted(t, c, 1, "/limited/x")
		}
	}
	if most := burst + rate*time.Since(began).Seconds() + 2*lease; float64(passed) > most || passed < burst {
		t.Errorf("%d granted, %.2f are the most", passed, most)
	}
}

// A bucket that nobody asks for is refilled no faster than one that is.
func TestIdleBucketHoldsWhatWasRefilled(t *testing.T) {
	t.Parallel()
	const burst, rate = 20, 20
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 20/s, burst: 20, store: redis}")
	one, other := f.gateways[0].client(t, "h1", common().web), f.gateways[1].client(t, "h1", common().web)
	began := time.Now()
	passed := 0
	for granted(t, one, 1, "/limited/x") == 1 {
		passed++
	}
	emptied := time.Now()
	<-time.After(420 * time.Millisecond)
	rested := time.Now()
	for granted(t, other, 1, "/limited/x") == 1 { // it has not heard of a refusal
		passed++
	}
	most, least := burst+rate*time.Since(began).Seconds(), burst+rate*rested.Sub(emptied).Seconds()-1
	if got := float64(passed); got > most || got < least {
		t.Errorf("%v granted, at least %.2f and at most %.2f were to be", got, least, most)
	}
}

func TestHammeringCallersCostRedisNothing(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), "{rate: 1/h, burst: 2, per: [identity], store: redis}")
	c := g.client(t, "h2", common().web)
	wantPasses(t, "the burst", granted(t, c, 3, "/limited/x"), 2)
	redis.ResetCalls()
	began := time.Now()
	wantPasses(t, "afterwards", granted(t, c, 400, "/limited/x"), 0)
	if calls, most := redis.Calls("evalsha"), 1+int(time.Since(began)/time.Second); calls > most {
		t.Errorf("%d scripts were run for 400 refusals in %v", calls, time.Since(began))
	}
	g.countAudit(t, 401, because("rate_limited"))
	other := g.client(t, "h2", common().root.svid("spiffe://cluster.local/other"))
	wantPasses(t, "another caller", granted(t, other, 3, "/limited/x"), 2)
}

// A refusal is remembered for a second at most: what a reset of the bucket gives is seen then.
func TestRefusalIsNotRememberedForever(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), "{rate: 1/h, burst: 2, store: redis}")
	c := g.client(t, "h1", common().web)
	wantPasses(t, "the burst", granted(t, c, 3, "/limited/x"), 2)
	redis.Command("FLUSHALL")
	since := time.Now()
	waitFor(t, "a call to pass", 2*time.Second, func() bool { return granted(t, c, 1, "/limited/x") == 1 })
	if took := time.Since(since); took > slow(1200*time.Millisecond) {
		t.Errorf("remembered for %v", took)
	}
}

func TestPushbackOfASharedLimitIsTheTrueWait(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 4/s, burst: 1, store: redis}")
	one, other := f.gateways[0].rpc(t, common().web), f.gateways[1].rpc(t, common().web)
	for range 3 {
		var trailer metadata.MD
		var err error
		for err == nil {
			_, err = backend.Invoke(within(t, patience), one, login, nil, grpc.Trailer(&trailer))
		}
		pushback := trailer.Get("grpc-retry-pushback-ms")
		if len(pushback) != 1 {
			t.Fatalf("trailer %v, %v", trailer, err)
		}
		wait := must(strconv.Atoi(pushback[0]))
		if wait < 1 || wait > 251 {
			t.Errorf("pushback %d ms at 4/s", wait)
		}
		<-time.After(time.Duration(wait) * time.Millisecond)
		if err := invoke(t, other, login); err != nil { // it did not see the refusal
			t.Errorf("elsewhere after %d ms: %v", wait, err)
		}
	}
	for _, record := range f.gateways[0].refusals(t, because("rate_limited")) {
		if ms := record.Answer.RetryAfterMS; ms == nil || *ms < 1 || *ms > 251 || record.Detail != "4/s burst 1, in redis" {
			t.Errorf("%s", record.line)
		}
	}
}

func TestRetryAfterOfASharedLimitIsTheTrueWaitRoundedUp(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string][2]int{"rate: 1/m, burst: 1": {57, 60}, "rate: 1/h, burst: 3": {3595, 3600},
		"rate: 7/m, burst: 2": {6, 9}, "rate: 2/s, burst: 1": {1, 1}} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			f := fleetOf(t, 2, store(redis.Address), "{"+limit+", store: redis}")
			for protocol, g := range map[string]*gateway{"h1": f.gateways[0], "h2": f.gateways[1]} {
				c := g.client(t, protocol, common().web)
				got := c.get("/limited/x")
				for got.status == http.StatusOK {
					got = c.get("/limited/x")
				}
				for range 2 { // Redis' answer, and the remembered one
					wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
					after, err := strconv.Atoi(got.header.Get("Retry-After"))
					if err != nil || after < want[0] || after > want[1] {
						t.Errorf("Retry-After %q, want %v", got.header.Get("Retry-After"), want)
					}
					if strings.Contains(got.body, "burst") || strings.Contains(got.body, "redis") {
						t.Errorf("the answer describes the policy: %s", got.body)
					}
					if got = c.get("/limited/x"); got.status == http.StatusOK {
						break // it was refilled
					}
				}
			}
		})
	}
}

// A remembered refusal tells the wait that is left, not the one of then.
func TestRememberedRefusalsWaitShrinks(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 2/s, burst: 1, store: redis}")
	conn := f.gateways[0].rpc(t, common().web)
	for invoke(t, conn, login) == nil {
	}
	began, last := time.Now(), 501
	for {
		var trailer metadata.MD
		if _, err := backend.Invoke(within(t, patience), conn, login, nil, grpc.Trailer(&trailer)); err == nil {
			break
		}
		wait := must(strconv.Atoi(trailer.Get("grpc-retry-pushback-ms")[0]))
		if wait > last {
			t.Errorf("pushback %d ms after %d ms", wait, last)
		}
		last = wait
	}
	if took := time.Since(began); took > slow(700*time.Millisecond) {
		t.Errorf("the next token took %v at 2/s", took)
	}
}

// Nothing is left in Redis of buckets that are full again.
func TestKeysEndWhenTheirBucketIsFull(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address, "database: 3"), `{rate: 10/s, burst: 10, per: ["header:X-Tenant"], store: redis}`)
	c := g.client(t, "h1", common().web)
	for i := range 10 {
		wantPasses(t, "a tenant", granted(t, c, 3, "/limited/x", "X-Tenant", strconv.Itoa(i)), 3)
	}
	if others := redis.Keys(0); len(others) != 0 {
		t.Errorf("keys in another database: %q", others)
	}
	names := redis.Keys(3)
	if len(names) == 0 {
		t.Error("there are no keys")
	}
	redis.Command("SELECT", "3")
	for _, name := range names {
		ms := redis.Command("PTTL", name).(int64)
		if !strings.HasPrefix(name, "tollgate:") || ms == -1 || ms > 1001 { // -2: it has ended meanwhile
			t.Errorf("%q ends in %d ms", name, ms)
		}
	}
	waitFor(t, "the keys to end", 3*time.Second, func() bool { return len(redis.Keys(3)) == 0 })
}

func TestManyCallersGainNothing(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), `{rate: 1/h, burst: 2, per: ["header:X-Tenant"], store: redis, on_failure: local, max_keys: 8}`)
	c := g.client(t, "h1", common().web)
	for round := range 4 {
		for i := range 80 {
			got := granted(t, c, 1, "/limited/x", "X-Tenant", strconv.Itoa(i))
			if want := []int{1, 1, 0, 0}[round]; got != want {
				t.Fatalf("round %d: tenant %d: %d pass", round, i, got)
			}
		}
	}
	redis.Kill() // from here on only this process counts, with room for eight
	passed := 0
	for i := range 320 {
		passed += granted(t, c, 1, "/limited/x", "X-Tenant", "other "+strconv.Itoa(i%80))
	}
	if passed > 2*9 || passed == 0 {
		t.Errorf("%d pass of eight buckets of 2, and the one that the others share", passed)
	}
}

func TestManyCallersGainNothingFromLeases(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), `{rate: 1/h, burst: 6, per: ["header:X-Tenant"], store: redis, max_keys: 8, lease: 3}`)
	c := g.client(t, "h2", common().web)
	passed := make(map[int]int)
	for i := range 800 {
		passed[i%80] += granted(t, c, 1, "/limited/x", "X-Tenant", strconv.Itoa(i%80))
	}
	for tenant, n := range passed { // what was kept for a tenant may be lost to make room, never doubled
		if n > 6 || n < 2 {
			t.Errorf("tenant %d: %d pass", tenant, n)
		}
	}
}

// What a gateway remembers of callers stays within bounds however many there are, and however long their names.
func TestManyLongKeysCostNoMemory(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), `{rate: 1/h, burst: 2, per: ["header:X-Tenant"], store: redis, max_keys: 100, lease: 2}`)
	c, filler := g.client(t, "h1", common().web), strings.Repeat("x", 16<<10)
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			wantPasses(t, "a tenant", granted(t, c, 1, "/limited/x", "X-Tenant", strconv.Itoa(i)+filler), 1)
		}
	}
	ask(0, 200)
	before := g.memory()
	ask(200, 1500)
	if grown := g.memory() - before; grown > 8<<20 && !instrumented() {
		t.Errorf("1300 tenants, 20 MiB of names, cost %d KiB", grown>>10)
	}
}
