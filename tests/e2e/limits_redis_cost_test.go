package e2e

import (
	"fmt"
	"math/rand"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Calls that cost more than a token, of limits that gateways share in Redis: what the fleet grants is counted in tokens.

// sharedCost is a limit of such calls, in which anything from one to nine may be asked for.
func sharedCost(rate string, burst int, more ...string) string {
	return fmt.Sprintf("{rate: %s, burst: %d, store: redis, cost: {header: x-cost, max: 9}%s}", rate, burst,
		strings.Join(append([]string{""}, more...), ", "))
}

func wantTokens(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d tokens are granted, want %d", what, got, want)
	}
}

// spend makes one call of that cost, and counts the tokens that it was granted.
func spend(t *testing.T, c *client, cost int) int {
	t.Helper()
	return cost * granted(t, c, 1, "/limited/x", "X-Cost", strconv.Itoa(cost))
}

// spendAll makes calls of any cost from one to nine over several clients of each gateway, and counts the tokens.
func (f *fleet) spendAll(t *testing.T, calls int) int {
	t.Helper()
	var tokens counter
	var group sync.WaitGroup
	for i := range 8 {
		c, random := f.gateways[i%len(f.gateways)].client(t, []string{"h1", "h2"}[i/2%2], common().web), rand.New(rand.NewSource(int64(i)))
		group.Go(func() {
			for range calls {
				tokens.add(spend(t, c, 1+random.Intn(9)))
			}
		})
	}
	group.Wait()
	return tokens.get()
}

func TestCostsOfAFleetAddUpToTheBurst(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), sharedCost("1/h", 100))
	tokens := f.spendAll(t, 8)
	if tokens > 100 || tokens <= 100-9 {
		t.Errorf("%d tokens are granted of a burst of 100", tokens)
	}
	c := f.gateways[0].client(t, "h1", common().web)
	for range 9 {
		tokens += spend(t, c, 1)
	}
	wantTokens(t, "in all, with the cheapest calls last", tokens, 100)
}

func TestCostsOfAFleetsCallsOverGRPC(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{TCP: true})
	f := fleetOf(t, 2, store(redis.Address), sharedCost("1/h", 40))
	one, other := f.gateways[0].rpc(t, common().web), f.gateways[1].rpc(t, common().web)
	wantPasses(t, "seven each", passes(t, one, 3, login, "x-cost", "7"), 3) // 19 are left
	wantPasses(t, "nine each, for nothing is said", passes(t, other, 3, login), 2)
	wantPasses(t, "two of one", passes(t, one, 1, login, "x-cost", "2"), 0)
	wantPasses(t, "one of one", passes(t, one, 2, login, "x-cost", "1"), 1)
	record := f.gateways[1].waitForAudit(t, "a call of nine", because("rate_limited"))
	if record.MatchedRule != "rate_limits[0]" || record.Detail != "1/h burst 40, by x-cost, in redis: this call costs 9" {
		t.Errorf("recorded is %s", record.line)
	}
}

func TestCostsOfAFleetStayWithinBurstAndRefill(t *testing.T) {
	t.Parallel()
	const burst, rate = 30, 40
	for _, lease := range []int{1, 4, 20} {
		t.Run(fmt.Sprint(lease), func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			f := fleetOf(t, 2, store(redis.Address), sharedCost("40/s", burst, fmt.Sprint("lease: ", lease)))
			began, tokens := time.Now(), 0
			for time.Since(began) < 600*time.Millisecond {
				tokens += f.spendAll(t, 4)
			}
			most := burst + rate*time.Since(began).Seconds()
			if float64(tokens) > most || tokens == 0 || lease == 1 && tokens < burst {
				t.Errorf("%d tokens are granted, the most are %.2f", tokens, most)
			}
		})
	}
}

// What is leased pays for calls that need no more of it, and no token is granted twice.
func TestCostsFromLeasesAddUpToTheBurst(t *testing.T) {
	t.Parallel()
	const burst, gateways, workers = 100, 2, 2
	for _, lease := range []int{2, 5, 20} {
		t.Run(fmt.Sprint(lease), func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			f := fleetOf(t, gateways, store(redis.Address), sharedCost("1/h", burst, fmt.Sprint("lease: ", lease)))
			tokens := f.spendAll(t, 8)
			for _, g := range f.gateways {
				c := g.client(t, "h1", common().web)
				for range 30 {
					tokens += spend(t, c, 1)
				}
			}
			// A worker may be left with tokens that nobody asks it for any more.
			if tokens > burst || tokens < burst-gateways*workers*(lease-1) {
				t.Errorf("%d tokens are granted of a burst of %d", tokens, burst)
			}
		})
	}
}

func TestCostAndLeaseSayHowOftenRedisIsAsked(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ lease, cost, passed, scripts int }{
		{1, 5, 12, 12},
		{4, 5, 12, 12}, // a lease of less than a call is none
		{5, 5, 12, 12},
		{20, 5, 12, 3},
		{20, 9, 6, 3}, // two calls, and two tokens are over; at last 6 are left in Redis
	} {
		t.Run(fmt.Sprintf("%d by %d", row.cost, row.lease), func(t *testing.T) {
			t.Parallel()
			redis := harness.StartRedis(t, harness.RedisSetup{})
			g := limitedBy(t, store(redis.Address), sharedCost("1/h", 60, fmt.Sprint("lease: ", row.lease)))
			c := g.client(t, "h2", common().web)
			tokens := 0
			for range row.passed {
				tokens += spend(t, c, row.cost)
			}
			wantTokens(t, "so many calls", tokens, row.passed*row.cost)
			// One more that finds the server without the script.
			if calls := redis.Calls("evalsha") + redis.Calls("eval"); calls < row.scripts || calls > row.scripts+2 {
				t.Errorf("%d scripts were run, want %d", calls, row.scripts)
			}
			for range 60 {
				tokens += spend(t, c, 1)
			}
			wantTokens(t, "in all, with the cheapest calls last", tokens, 60)
		})
	}
}

// A refusal is remembered for calls of that cost alone.
func TestCostThatIsRefusedLeavesCheaperCallsAlone(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), sharedCost("60/h", 10))
	c := g.client(t, "h2", common().web)
	wantTokens(t, "six of ten", spend(t, c, 6), 6)
	for _, step := range []struct{ cost, minutes int }{{9, 5}, {9, 5}, {5, 1}, {9, 5}, {7, 3}, {7, 3}} {
		got := c.get("/limited/x", "X-Cost", strconv.Itoa(step.cost))
		wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
		if after := must(strconv.Atoi(got.header.Get("Retry-After"))); after > 60*step.minutes || after < 60*step.minutes-40 {
			t.Errorf("Retry-After of a call of %d: %d", step.cost, after)
		}
	}
	wantTokens(t, "three of four", spend(t, c, 3), 3)
	wantTokens(t, "two of one", spend(t, c, 2), 0)
	wantTokens(t, "one of one", spend(t, c, 1), 1)
	redis.ResetCalls()
	began := time.Now()
	for range 200 {
		spend(t, c, 9)
	}
	if calls, most := redis.Calls("evalsha"), 1+int(time.Since(began)/time.Second); calls > most {
		t.Errorf("%d scripts were run for 200 refusals of one cost in %v", calls, time.Since(began))
	}
}

// Redis granted, and then a limit of this process refuses: the tokens are there for others.
func TestCostsThatAreGivenBackAreNotLost(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), sharedCost("1/h", 60)+`, {rate: 1/h, burst: 10, per: ["header:X-Tenant"], `+
		"cost: {header: x-cost, max: 9}}")
	c := f.gateways[0].client(t, "h2", common().web)
	var first, rest counter
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			first.add(granted(t, c, 1, "/limited/x", "X-Cost", "5", "X-Tenant", []string{"a", "b"}[i%2]))
		})
	}
	group.Wait()
	wantPasses(t, "two tenants", first.get(), 4)
	for i := range 20 {
		rest.add(granted(t, c, 1, "/limited/x", "X-Cost", "5", "X-Tenant", strconv.Itoa(i)))
	}
	wantPasses(t, "others", rest.get(), 60/5-4)
}

func TestCostIsTheSameWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), sharedCost("1/h", 20, "on_failure: local", "fleet: 2"))
	c := g.client(t, "h1", common().web)
	wantTokens(t, "Redis' bucket", spend(t, c, 9)+spend(t, c, 9), 18)
	redis.Kill()
	for _, step := range []struct{ cost, tokens int }{{8, 8}, {3, 0}, {9, 0}, {2, 2}, {1, 0}} {
		wantTokens(t, fmt.Sprint("a call of ", step.cost, " from this gateway's half"), spend(t, c, step.cost), step.tokens)
	}
	g.countAudit(t, 3, because("rate_limited"))
}

// A reload that brings the cost finds the bucket in Redis as it was, and so does the gateway that has not heard of it.
func TestCostThatComesByAReloadKeepsTheFleetsFill(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 1/h, burst: 20, store: redis}")
	one, other := f.gateways[0].client(t, "h1", common().web), f.gateways[1].client(t, "h1", common().web)
	wantPasses(t, "one token", granted(t, one, 1, "/limited/x", "X-Cost", "9"), 1)
	for range 2 { // the routes of both protocols have such a limit
		f.gateways[0].rewrite(t, "burst: 20, store: redis, on_failure", "burst: 20, cost: {header: x-cost, max: 9}, store: redis, on_failure")
	}
	f.gateways[0].reload(t)
	wantTokens(t, "nine tokens", spend(t, one, 9), 9)
	wantPasses(t, "a token each", granted(t, other, 4, "/limited/x", "X-Cost", "9"), 4)
	wantTokens(t, "seven of six", spend(t, one, 7), 0)
	wantTokens(t, "six of six", spend(t, one, 6), 6)
	wantPasses(t, "one of none", granted(t, other, 1, "/limited/x"), 0)
}

// A trial in Redis takes its cost where that is there, and not a part of it.
func TestCostOfASharedTrial(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := limitedBy(t, store(redis.Address), sharedCost("1/h", 10, "shadow: true"))
	c := g.client(t, "h1", common().web)
	for _, cost := range []int{7, 4, 9, 3, 1} {
		wantTokens(t, fmt.Sprint("a call of ", cost), spend(t, c, cost), cost)
	}
	g.wantShadows(t, 3, func(r *auditRecord) bool {
		detail, cost, _ := strings.Cut(r.Detail, ": ")
		return detail == "1/h burst 10, by x-cost, in redis" &&
			(cost == "this call costs 4" || cost == "this call costs 9" || cost == "this call costs 1")
	})
}

// A server that grants less than a call costs has granted nothing: on_failure decides.
func TestCostThatRedisGrantsInPartIsNotGranted(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]int{
		"*4\r\n:1\r\n:4\r\n:6\r\n:1000000\r\n": http.StatusServiceUnavailable,
		"*4\r\n:1\r\n:0\r\n:6\r\n:1000000\r\n": http.StatusServiceUnavailable,
		"*4\r\n:1\r\n:5\r\n:6\r\n:1000000\r\n": http.StatusOK,
		"*4\r\n:1\r\n:6\r\n:6\r\n:1000000\r\n": http.StatusOK,
	} {
		server := scripted(t, saying(reply))
		g := limitedBy(t, store(server.Address), sharedCost("1/h", 10))
		wantStatus(t, g.client(t, "h1", common().web).get("/limited/x", "X-Cost", "5"), want)
	}
}
