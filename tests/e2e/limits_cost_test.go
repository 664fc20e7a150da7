package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// Calls that cost more than a token: by what a header says, or by the length of their bodies.

const (
	byHeader = `{rate: 1/h, burst: 10, per: ["header:X-Tenant"], cost: {header: X-Cost, max: 8}}`
	byBody   = `{rate: 1/h, burst: 10, per: ["header:X-Tenant"], cost: {body: 1000, max: 8}}`
)

// wantCost makes the call of a tenant who has ten tokens, and then so many cheap ones as pass.
func wantCost(t *testing.T, c *client, cost int, tenant string, call func(path string, headers ...string) reply) {
	t.Helper()
	wantStatus(t, call("/limited/"+strconv.Itoa(cost), "X-Tenant", tenant), http.StatusOK)
	if left := granted(t, c, 11, "/limited/x", "X-Tenant", tenant, "X-Cost", "1"); left != 10-cost {
		t.Errorf("%s: %d cheap calls pass after it, want %d", tenant, left, 10-cost)
	}
}

func TestCostIsWhatTheHeaderSaysOverAllProtocols(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, byHeader)
	calls, _ := limited(t, byHeader)
	conn := calls.rpc(t, common().web)
	for what, row := range map[string]struct {
		said []string
		cost int
	}{
		"nothing": {nil, 8}, "one": {[]string{"1"}, 1}, "five": {[]string{"5"}, 5}, "the most": {[]string{"8"}, 8},
		"more": {[]string{"9"}, 8}, "none": {[]string{"0"}, 8}, "less than none": {[]string{"-3"}, 8},
		"a word": {[]string{"three"}, 8}, "a fraction": {[]string{"1.0"}, 8}, "leading zeros": {[]string{"003"}, 3},
		"a list": {[]string{"1, 1"}, 8}, "two fields": {[]string{"1", "1"}, 8}, "two fields, one empty": {[]string{"1", ""}, 8},
		"emptiness": {[]string{""}, 8}, "2^64 and one": {[]string{"18446744073709551617"}, 8}, "2^32 and one": {[]string{"4294967297"}, 8},
	} {
		t.Run(what, func(t *testing.T) {
			var pairs []string
			for _, word := range row.said {
				pairs = append(pairs, "x-cost", word)
			}
			for _, protocol := range []string{"h1", "h2"} {
				c := g.client(t, protocol, common().web)
				wantCost(t, c, row.cost, what+" over "+protocol, func(path string, headers ...string) reply {
					return c.get(path, append(headers, pairs...)...)
				})
			}
			wantPasses(t, "a call", passes(t, conn, 1, login, append(pairs, "x-tenant", what)...), 1)
			wantPasses(t, "cheap ones", passes(t, conn, 11, login, "x-tenant", what, "x-cost", "1"), 10-row.cost)
		})
	}
}

// unannounced makes a request with a body that says nothing of its length.
func unannounced(path, body string, headers ...string) *http.Request {
	r := request("POST", path, "", headers...)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
	return r
}

func TestCostIsTheAnnouncedLengthOfTheBody(t *testing.T) {
	t.Parallel()
	g, web := limitedWeb(t, byBody)
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		for bytes, cost := range map[int]int{0: 1, 1: 1, 999: 1, 1000: 1, 1001: 2, 2000: 2, 2001: 3, 7001: 8, 8001: 8, 100_000: 8} {
			wantCost(t, c, cost, fmt.Sprintf("%d bytes over %s", bytes, protocol), func(path string, headers ...string) reply {
				return c.do(request("POST", path, strings.Repeat("x", bytes), headers...))
			})
			if bytes > 0 {
				wantCost(t, c, 8, fmt.Sprintf("%d bytes, unannounced, over %s", bytes, protocol), func(path string, headers ...string) reply {
					return c.do(unannounced(path, strings.Repeat("x", bytes), headers...))
				})
			}
		}
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT"} {
			wantCost(t, c, 1, method+" without a body over "+protocol, func(path string, headers ...string) reply {
				return c.do(request(method, path, "", headers...))
			})
		}
	}
	if n := web.Journal.Count(""); n == 0 {
		t.Error("nothing reaches the backend")
	}
}

// What no library sends: framing by hand.
func TestCostOfABodyWhateverItsFraming(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, byBody)
	c, w := g.client(t, "h1", common().web), g.wire(t, common().web)
	for what, row := range map[string]struct {
		rest string
		cost int
	}{
		"no length at all":        {"\r\n", 1},
		"an empty length":         {"Content-Length: 0\r\n\r\n", 1},
		"chunks, and none":        {"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 8},
		"chunks, one byte":        {"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 8},
		"leading zeros":           {"Content-Length: 0001001\r\n\r\n" + strings.Repeat("x", 1001), 2},
		"a header that says less": {"X-Cost: 1\r\nContent-Length: 2001\r\n\r\n" + strings.Repeat("x", 2001), 3},
	} {
		wantCost(t, c, row.cost, what, func(path string, headers ...string) reply {
			w.say("POST " + path + " HTTP/1.1\r\nHost: gateway.test\r\n" + headers[0] + ": " + headers[1] + "\r\n" + row.rest)
			return w.hear("POST")
		})
	}
	// The whole head counts before the first byte of the body: nothing waits for that.
	w.say("POST /limited/x HTTP/1.1\r\nHost: gateway.test\r\nX-Tenant: patient\r\nExpect: 100-continue\r\nContent-Length: 11000\r\n\r\n")
	if line, _ := w.reader.ReadString('\n'); !strings.Contains(line, "100") {
		t.Fatalf("told to go on is %q", line)
	}
	wantPasses(t, "while the body is awaited", granted(t, c, 11, "/limited/x", "X-Tenant", "patient"), 2)
}

// A call that becomes a tunnel may carry anything, and so may a gRPC call that came to a route of paths.
func TestCostOfCallsThatAnnounceNothing(t *testing.T) {
	t.Parallel()
	web, users := httpBackend(t), grpcBackend(t)
	g := start(t, setup{routes: []string{
		route("path: /user.UserService/*", "backend: users, rate_limits: ["+byBody+"]"),
		route("path: /limited/*", "backend: web, upgrade: [websocket], rate_limits: ["+byBody+"]")},
		backends: []string{http1("web", web.Address), h2("users", users.Address)}})
	conn := g.rpc(t, common().web)
	wantPasses(t, "a gRPC call", passes(t, conn, 3, login, "x-tenant", "a"), 1)
	w := g.wire(t, common().web)
	w.say("GET /limited/x HTTP/1.1\r\nHost: gateway.test\r\nX-Tenant: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if answer, err := http.ReadResponse(bufio.NewReader(w), nil); err != nil || answer.StatusCode == http.StatusTooManyRequests {
		t.Fatalf("%v, %v", answer, err)
	}
	wantPasses(t, "after a tunnel", granted(t, g.client(t, "h1", common().web), 11, "/limited/x", "X-Tenant", "b"), 2)
}

func TestCostOfARefusedCallIsNotTaken(t *testing.T) {
	t.Parallel()
	g, web := limitedWeb(t, byHeader)
	c := g.client(t, "h2", common().web)
	ask := func(cost string) int { return granted(t, c, 1, "/limited/x", "X-Tenant", "a", "X-Cost", cost) }
	for _, step := range []struct {
		cost   string
		passes int
	}{{"7", 1}, {"4", 0}, {"8", 0}, {"", 0}, {"3", 1}, {"1", 0}} {
		wantPasses(t, "a call of "+step.cost, ask(step.cost), step.passes)
	}
	wantPasses(t, "at the backend", web.Journal.Count(""), 2)
	wantPasses(t, "another tenant", granted(t, c, 9, "/limited/x", "X-Tenant", "b", "X-Cost", "5"), 2)
}

// One limit counts calls and the other what they cost: each call pays both, or none.
func TestCostIsPaidBesideOtherLimits(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, "{rate: 1/h, burst: 4}, {rate: 1/h, burst: 10, cost: {header: x-cost, max: 8}}, "+
		"{rate: 1/h, burst: 30, cost: {body: 10, max: 30}}")
	c := g.client(t, "h1", common().web)
	ask := func(cost string, bytes int) int {
		var v verdicts
		v.count(t, c.do(request("POST", "/limited/x", strings.Repeat("x", bytes), "X-Cost", cost)))
		return v.passed.get()
	}
	wantPasses(t, "5 and 10", ask("5", 100), 1)
	wantPasses(t, "6 of 5", ask("6", 1), 0)
	wantPasses(t, "21 of 20", ask("1", 201), 0)
	wantPasses(t, "4 and 20", ask("4", 200), 1)
	wantPasses(t, "nothing of the third", ask("1", 1), 0)
	record := func(limit string) auditRecord {
		return g.waitForAudit(t, limit, func(r *auditRecord) bool { return r.MatchedRule == limit })
	}
	for limit, detail := range map[string]string{"rate_limits[1]": "1/h burst 10, by x-cost: this call costs 6",
		"rate_limits[2]": "1/h burst 30, by 10 of body: this call costs 21"} {
		if got := record(limit).Detail; got != detail {
			t.Errorf("%s: recorded is %q", limit, got)
		}
	}
}

func TestCostIsRecordedAndNotToldTheCaller(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, byHeader)
	c := g.client(t, "h1", common().web)
	wantStatus(t, c.get("/limited/x", "X-Tenant", "a", "X-Cost", "5"), http.StatusOK)
	refused := c.get("/limited/x", "X-Tenant", "a", "X-Cost", "a secret")
	wantRefusal(t, refused, http.StatusTooManyRequests, "rate_limited")
	record := g.waitForAudit(t, "the expensive call", because("rate_limited"))
	if record.MatchedRule != "rate_limits[0]" || record.Detail != "1/h burst 10 per header:x-tenant, by x-cost: this call costs 8" ||
		record.Answer.Status != http.StatusTooManyRequests || *record.Answer.RetryAfterMS <= 3*3_500_000 {
		t.Errorf("recorded is %s", record.line)
	}
	if strings.Contains(refused.body, "cost") || strings.Contains(string(record.line), "a secret") {
		t.Errorf("told is %s, recorded %s", refused.body, record.line)
	}
	g.countAudit(t, 1, because("rate_limited"))
}

// What a caller is told to wait is the wait for that call's tokens: after it the call passes.
func TestCostDecidesHowLongToWait(t *testing.T) {
	t.Parallel()
	const limit = `{rate: 4/s, burst: 8, cost: {header: x-cost, max: 8}}`
	calls, _ := limited(t, limit)
	conn := calls.rpc(t, common().web)
	for _, cost := range []int{1, 4, 8} {
		wait := 0
		for wait == 0 {
			var trailer metadata.MD
			_, err := backend.Invoke(ordering(within(t, patience), "x-cost", strconv.Itoa(cost)), conn, login, nil, grpc.Trailer(&trailer))
			if err != nil {
				wait = must(strconv.Atoi(trailer.Get("grpc-retry-pushback-ms")[0]))
			}
		}
		if wait < 1 || wait > 250*cost+1 {
			t.Errorf("pushback %d ms for a call of %d at 4/s", wait, cost)
		}
		<-time.After(time.Duration(wait) * time.Millisecond)
		wantPasses(t, fmt.Sprintf("a call of %d after %d ms", cost, wait), passes(t, conn, 1, login, "x-cost", strconv.Itoa(cost)), 1)
	}
}

func TestCostDecidesWhatRetryAfterSays(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		g, _ := limitedWeb(t, `{rate: 1/m, burst: 8, cost: {header: x-cost, max: 8}}`)
		c := g.client(t, protocol, common().web)
		wantStatus(t, c.get("/limited/x"), http.StatusOK)
		for cost := 8; cost > 0; cost-- {
			got := c.get("/limited/x", "X-Cost", strconv.Itoa(cost))
			wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
			if after := must(strconv.Atoi(got.header.Get("Retry-After"))); after > 60*cost || after < 60*cost-40 {
				t.Errorf("Retry-After of a call of %d: %d", cost, after)
			}
		}
	}
}

func TestCostIsSubtractedFromWhatIsTold(t *testing.T) {
	t.Parallel()
	g := telling(t, "both", "{rate: 60/h, burst: 9, cost: {header: x-cost, max: 9}}, {rate: 3600/h, burst: 8}")
	c := g.client(t, "h2", common().web)
	wantTold(t, "a call of five", c.get("/x", "X-Cost", "5").header,
		`ratelimit-policy: "limit-0";q=9;w=540, "limit-1";q=8;w=8`, `ratelimit: "limit-0";r=4;t=60, "limit-1";r=7;t=1`,
		"x-ratelimit-limit: 9", "x-ratelimit-remaining: 4", "x-ratelimit-reset: 300")
	wantTold(t, "one of six", c.get("/x", "X-Cost", "6").header,
		`ratelimit-policy: "limit-0";q=9;w=540`, `ratelimit: "limit-0";r=4;t=120`,
		"x-ratelimit-limit: 9", "x-ratelimit-remaining: 4", "x-ratelimit-reset: 120")
}

func TestCostOfATrialIsRecordedAndStopsNobody(t *testing.T) {
	t.Parallel()
	g, web := limitedWeb(t, "{rate: 1/h, burst: 30}, {rate: 1/h, burst: 10, shadow: true, cost: {header: x-cost, max: 8}}")
	c := g.client(t, "h1", common().web)
	for _, cost := range []string{"8", "3", "2", "1"} {
		wantStatus(t, c.get("/limited/x", "X-Cost", cost), http.StatusOK)
	}
	g.wantShadows(t, 2, func(r *auditRecord) bool {
		return r.MatchedRule == "rate_limits[1]" && (r.Detail == "1/h burst 10, by x-cost: this call costs 3" ||
			r.Detail == "1/h burst 10, by x-cost: this call costs 1")
	})
	wantPasses(t, "at the backend", web.Journal.Count(""), 4)
}

func TestCostOfOverridesIsThatOfTheLimit(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 10, per: [identity], cost: {header: x-cost, max: 8}, overrides: ["+
		"{identity: "+batchID+", rate: 1/h, burst: 20}]}")
	root := common().root
	wantPasses(t, "without an override", passes(t, g.rpc(t, common().web), 3, login, "x-cost", "5"), 2)
	wantPasses(t, "with one", passes(t, g.rpc(t, root.svid(batchID)), 5, login, "x-cost", "5"), 4)
	g.waitForAudit(t, "the override", func(r *auditRecord) bool {
		return r.MatchedRule == "rate_limits[0].overrides[0]" &&
			r.Detail == "1/h burst 20 per identity, by x-cost, for "+batchID+": this call costs 5"
	})
}

func TestCostThatComesOrChangesByAReloadKeepsTheFill(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, "{rate: 1/h, burst: 20}")
	c := g.client(t, "h2", common().web)
	ask := func(calls int, headers ...string) int { return granted(t, c, calls, "/limited/x", headers...) }
	wantPasses(t, "a token each", ask(3, "X-Cost", "5"), 3) // 17 are left
	g.rewrite(t, "burst: 20}", "burst: 20, cost: {header: x-cost, max: 4}}")
	g.reload(t)
	wantPasses(t, "three each", ask(2, "X-Cost", "3"), 2) // 11
	wantPasses(t, "four, for nothing is said", ask(1), 1) // 7
	g.rewrite(t, "max: 4", "max: 6")
	g.reload(t)
	wantPasses(t, "six of seven", ask(2), 1) // 1
	g.rewrite(t, "{header: x-cost, max: 6}", "{body: 1KiB, max: 6}")
	g.reload(t)
	wantPasses(t, "one of one", ask(2), 1) // 0
	g.rewrite(t, ", cost: {body: 1KiB, max: 6}", "")
	g.reload(t)
	wantPasses(t, "one of none", ask(2), 0)
}
