package e2e

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Overrides of `call_limits` and `flow_limits`; those of `rate_limits` are with the kinds of those.

// staying opens so many streams that stay, and counts those that find a place.
func staying(t *testing.T, g *gateway, id string, calls int) (n int) {
	t.Helper()
	conn := g.rpc(t, common().root.svid(id))
	for range calls {
		switch err := chatting(within(t, 4*patience), conn); status.Code(err) {
		case codes.OK:
			n++
		case codes.Unavailable:
		default:
			t.Fatal(err)
		}
	}
	return n
}

func TestOverridesOfACallLimitGiveSomeIdentitiesAnotherNumber(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		per                                 string
		batch, batches, another, web, other int
	}{
		"one count for each":               {per: ", per: [identity]", batch: 4, batches: 2, another: 2, web: 1, other: 1},
		"one for all whom a number is for": {per: "", batch: 4, batches: 2, another: 0, web: 1, other: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := trying(t, "call_limits: [{calls: 1"+row.per+", overrides: ["+
				"{identity: "+batchID+", calls: 4}, {identity: 'spiffe://cluster.local/ns/batch/*', calls: 2}]}]")
			wantPasses(t, "an override for one", staying(t, g, batchID, 6), row.batch)
			wantPasses(t, "an override for a pattern", staying(t, g, otherID, 6), row.batches)
			wantPasses(t, "another of the same pattern", staying(t, g, otherID+"s", 6), row.another)
			wantPasses(t, "whoever no override is for", staying(t, g, webID, 3), row.web)
			wantPasses(t, "another of those", staying(t, g, "spiffe://cluster.local/other", 3), row.other)
			g.countAudit(t, 2, func(r *auditRecord) bool {
				return r.Reason == "overloaded" && r.MatchedRule == "call_limits[0].overrides[0]" && r.Principal == batchID
			})
			// Whoever it is for, it is the one limit.
			refused := 24 - row.batch - row.batches - row.another - row.web - row.other
			if n := g.callEvents(t, "user.*/*", "refused"); int(n) != refused {
				t.Errorf("%v refusals are counted, want %d", n, refused)
			}
		})
	}
}

func TestReloadKnowsTheCallsOfOverrides(t *testing.T) {
	t.Parallel()
	g, _ := trying(t, "call_limits: [{calls: 9, overrides: [{identity: "+batchID+", calls: 3}]}]")
	wantPasses(t, "before", staying(t, g, batchID, 2), 2)
	g.rewrite(t, "overrides: [", "overrides: [{identity: "+otherID+", calls: 1}, ")
	g.reload(t)
	wantPasses(t, "after another was put before it", staying(t, g, batchID, 4), 1)
	wantPasses(t, "the new one", staying(t, g, otherID, 4), 1)
}

func TestOverridesOfAFlowLimitGiveSomeIdentitiesOtherNumbers(t *testing.T) {
	t.Parallel()
	g, _, _ := flowing(t, "{messages: 1/h, burst: 2, on_excess: reject, per: [identity], overrides: ["+
		"{identity: "+batchID+", messages: 1/h, burst: 5}, {identity: 'spiffe://cluster.local/ns/batch/*', messages: 1/h, burst: 3}]}")
	for id, want := range map[string]int{batchID: 5, otherID: 3, otherID + "s": 3, webID: 2} {
		wantPasses(t, id, passes(t, g.rpc(t, common().root.svid(id)), 7, login), want)
	}
	g.countAudit(t, 2, func(r *auditRecord) bool {
		return r.MatchedRule == "flow_limits[0].overrides[0]" && r.Principal == batchID &&
			r.Detail == "1/h messages burst 5 of requests per identity, for "+batchID
	})
	if n := g.flowEvents(t, 0, "refused"); n != 28-13 {
		t.Errorf("%v refusals are counted, want 15", n)
	}
}

func TestOverridesOfAFlowLimitOfBytes(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, _ := limitedBytes(t, up, setup{}, map[string]string{"/in": "{bytes: 1/h, burst: 10KiB, on_excess: reject, per: [identity], overrides: [" +
			"{identity: " + batchID + ", bytes: 1/h, burst: 40KiB}]}"})
		batch := func() *client { return g.client(t, down, common().root.svid(batchID)) }
		wantStatus(t, batch().do(uploads("/in", pattern(30<<10), true)), http.StatusOK)
		wantStatus(t, g.client(t, down, common().web).do(uploads("/in", pattern(11<<10), true)), http.StatusTooManyRequests)
		g.rewrite(t, "burst: 40KiB", "burst: 60KiB")
		g.reload(t)
		// What it had left, not what it could have had.
		wantStatus(t, batch().do(uploads("/in", pattern(10<<10), true)), http.StatusOK)
		wantStatus(t, batch().do(uploads("/in", pattern(1<<10), true)), http.StatusTooManyRequests)
		g.countAudit(t, 1, func(r *auditRecord) bool {
			return r.MatchedRule == "flow_limits[0].overrides[0]" && r.Principal == batchID
		})
		g.countAudit(t, 1, func(r *auditRecord) bool { return r.MatchedRule == "flow_limits[0]" && r.Principal == webID })
	})
}

// A trial of the numbers that some would have: the record names the override.
func TestShadowsOfOverrides(t *testing.T) {
	t.Parallel()
	g, _ := trying(t, "call_limits: [{calls: 9, shadow: true, overrides: [{identity: "+batchID+", calls: 1}]}], "+
		"flow_limits: [{messages: 1/m, burst: 99, shadow: true, overrides: [{identity: "+batchID+", messages: 1/m, burst: 3}]}]")
	wantPasses(t, "an override", staying(t, g, batchID, 4), 4)
	wantPasses(t, "whoever it is not for", staying(t, g, webID, 4), 4)
	seen := map[string]int{}
	g.wantShadows(t, 4, func(r *auditRecord) bool {
		seen[r.MatchedRule]++
		return r.Principal == batchID && *r.Authorized
	})
	if seen["call_limits[0].overrides[0]"] != 3 || seen["flow_limits[0].overrides[0]"] != 1 {
		t.Errorf("recorded is %v", seen)
	}
}
