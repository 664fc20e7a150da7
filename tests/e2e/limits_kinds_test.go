package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	batchID = "spiffe://cluster.local/ns/batch/sa/nightly"
	otherID = "spiffe://cluster.local/ns/batch/sa/other"
)

// wantShadows waits for as many records of event `shadowed`, each of which must be as told.
func (g *gateway) wantShadows(t *testing.T, want int, right func(*auditRecord) bool) {
	t.Helper()
	shadows := func() (found []auditRecord) {
		for _, record := range g.audit(t) {
			if record.Event == "shadowed" {
				found = append(found, record)
			}
		}
		return found
	}
	waitFor(t, "the records of a shadow", 5*time.Second, func() bool { return len(shadows()) >= want })
	for _, record := range shadows() {
		if !right(&record) {
			t.Errorf("recorded is %+v", record)
		}
	}
	if n := len(shadows()); n != want {
		t.Errorf("%d shadows are recorded, want %d", n, want)
	}
}

func TestOverridesGiveSomeIdentitiesOtherNumbers(t *testing.T) {
	t.Parallel()
	g, users := limited(t, "{rate: 1/h, burst: 2, per: [identity], overrides: ["+
		"{identity: "+batchID+", rate: 1/h, burst: 5}, {identity: 'spiffe://cluster.local/ns/batch/*', rate: 1/h, burst: 3}]}")
	root := common().root
	wantPasses(t, "an override for one", passes(t, g.rpc(t, root.svid(batchID)), 9, login), 5)
	wantPasses(t, "an override for a pattern", passes(t, g.rpc(t, root.svid(otherID)), 9, login), 3)
	wantPasses(t, "another of the same pattern", passes(t, g.rpc(t, root.svid(otherID+"s")), 9, login), 3)
	wantPasses(t, "whoever no override is for", passes(t, g.rpc(t, common().web), 9, login), 2)
	wantPasses(t, "at the backend", users.Journal.Count(login), 5+3+3+2)
	g.countAudit(t, 4, func(r *auditRecord) bool {
		return r.MatchedRule == "rate_limits[0].overrides[0]" && r.Principal == batchID &&
			r.Detail == "1/h burst 5 per identity, for "+batchID
	})
}

func TestOverrideWithoutIdentityInPerIsSharedByItsCallers(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 2, overrides: [{identity: 'spiffe://cluster.local/ns/batch/*', rate: 1/h, burst: 4}]}")
	root := common().root
	wantPasses(t, "one of them", passes(t, g.rpc(t, root.svid(batchID)), 3, login), 3)
	wantPasses(t, "another", passes(t, g.rpc(t, root.svid(otherID)), 3, login), 1)
	wantPasses(t, "all others", passes(t, g.rpc(t, common().web), 3, login), 2)
}

func TestReloadKeepsTheFillOfOverrides(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 2, per: [identity], overrides: [{identity: "+batchID+", rate: 1/h, burst: 5}]}")
	conn := g.rpc(t, common().root.svid(batchID))
	wantPasses(t, "before", passes(t, conn, 4, login), 4)
	g.rewrite(t, "overrides: [", "overrides: [{identity: "+otherID+", rate: 1/h, burst: 3}, ")
	g.reload(t)
	wantPasses(t, "after another was put before it", passes(t, conn, 4, login), 1)
	wantPasses(t, "the new one", passes(t, g.rpc(t, common().root.svid(otherID)), 4, login), 3)
}

func TestShadowLetsPassWhatItWouldRefuse(t *testing.T) {
	t.Parallel()
	g, web := limitedWeb(t, "{rate: 1/h, burst: 6}, {rate: 1/h, burst: 2, per: [identity], shadow: true}")
	client := g.client(t, "http/1.1", common().web)
	for range 6 {
		wantStatus(t, client.get("/limited/x"), http.StatusOK)
	}
	wantRefusal(t, client.get("/limited/x"), http.StatusTooManyRequests, "rate_limited")
	if got := len(web.Journal.Calls("")); got != 6 {
		t.Errorf("%d requests reach the backend, want 6", got)
	}
	g.wantShadows(t, 4, func(r *auditRecord) bool {
		return *r.Authorized && r.Reason == "rate_limited" && r.MatchedRule == "rate_limits[1]" &&
			r.Detail == "1/h burst 2 per identity" && r.Answer.Status == 0 && *r.Answer.RetryAfterMS > 3_500_000
	})
	g.countAudit(t, 1, because("rate_limited"))
	const decisions = `tollgate_rate_limit_decisions_total{route="/limited/*",limit="rate_limits[1]",decision=`
	if allowed, would := g.metric(t, decisions+`"allowed"}`), g.metric(t, decisions+`"would_refuse"}`); allowed != 2 || would != 4 {
		t.Errorf("the shadow allowed %v and would have refused %v, want 2 and 4", allowed, would)
	}
	if n := g.metric(t, `tollgate_rejections_total{listener="edge",reason="rate_limited"}`); n != 1 {
		t.Errorf("%v refusals are counted, want 1", n)
	}
}

func TestShadowTakesNothingOfCallsThatAreRefused(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, "{rate: 1/h, burst: 1, per: [identity]}, {rate: 1/h, burst: 3, shadow: true}")
	for _, id := range []string{webID, batchID, otherID} {
		client := g.client(t, "h2", common().root.svid(id))
		wantStatus(t, client.get("/limited/x"), http.StatusOK)
		wantStatus(t, client.get("/limited/x"), http.StatusTooManyRequests)
	}
	g.countAudit(t, 3, because("rate_limited"))
	g.wantShadows(t, 0, nil)
}

func TestFleetDividesALimitAmongGateways(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 11, fleet: 3, per: [identity]}")
	wantPasses(t, "a third, rounded down", passes(t, g.rpc(t, common().web), 9, login), 3)
	g.countAudit(t, 6, func(r *auditRecord) bool { return strings.HasSuffix(r.Detail, ", divided by 3") })
}
