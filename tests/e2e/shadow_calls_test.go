package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Trials of `call_limits`.

const triedCalls = "call_limits: [{calls: 1, per: [identity], shadow: true}]"

// trying starts a gateway with these limits on the way to a gRPC backend.
func trying(t *testing.T, limits string) (*gateway, *rpc) {
	t.Helper()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route(`grpc: "user.*/*"`, "backend: users, "+limits)},
		backends: []string{h2("users", users.Address)}})
	return g, g.rpc(t, common().web)
}

func (g *gateway) callEvents(t *testing.T, route, event string) float64 {
	t.Helper()
	return g.metric(t, fmt.Sprintf(`tollgate_call_limit_events_total{route=%q,limit="call_limits[0]",event=%q}`, route, event))
}

func byCallShadow(r *auditRecord) bool {
	return *r.Authorized && r.Reason == "overloaded" && r.MatchedRule == "call_limits[0]" && r.Principal == webID &&
		r.Detail == "1 calls at once per identity" && r.Answer.Status == 0
}

func TestShadowOfACallLimitLetsPassWhatItWouldRefuse(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			web := httpBackend(t)
			g := start(t, setup{routes: []string{route("path: /*", "backend: web, "+triedCalls)}, backends: []string{http1("web", web.Address)}})
			client, other := g.client(t, protocol, common().web), g.client(t, protocol, common().root.svid(otherID))
			ctx, cancel := context.WithCancel(t.Context())
			go g.client(t, protocol, common().web).do(request("GET", "/sleep?for=20s", "").WithContext(ctx))
			g.awaitRequests(t, 1)
			wantStatus(t, other.get("/ok"), http.StatusOK)
			for range 3 {
				wantStatus(t, client.get("/ok"), http.StatusOK)
			}
			g.wantShadows(t, 3, byCallShadow)
			cancel()
			g.awaitRequests(t, 0)
			wantStatus(t, client.get("/ok"), http.StatusOK)
			if n := g.callEvents(t, "/*", "would_refuse"); n != 3 {
				t.Errorf("%v calls are counted, want 3", n)
			}
			if n := g.metric(t, `tollgate_rejections_total{listener="edge",reason="overloaded"}`); n != 0 {
				t.Errorf("%v refusals are counted", n)
			}
			g.countAudit(t, 0, because("overloaded"))
		})
	}
}

// A call that would have been refused is not among those that others are counted with.
func TestCallsOverAShadowAreNotUnderWay(t *testing.T) {
	t.Parallel()
	g, conn := trying(t, triedCalls)
	counted, leave := context.WithCancel(within(t, 4*patience))
	over := within(t, 4*patience)
	wantCode(t, chatting(counted, conn), codes.OK)
	wantCode(t, chatting(over, conn), codes.OK)
	g.wantShadows(t, 1, byCallShadow)
	leave()
	g.awaitRequests(t, 1)
	wantCode(t, invoke(t, conn, login), codes.OK)
	wantCode(t, chatting(over, conn), codes.OK)
	wantCode(t, invoke(t, conn, login), codes.OK)
	g.wantShadows(t, 2, byCallShadow)
}

func TestShadowOfACallLimitThatEndsRefusesAtOnce(t *testing.T) {
	t.Parallel()
	g, conn := trying(t, triedCalls)
	counted, leave := context.WithCancel(within(t, 4*patience))
	wantCode(t, chatting(counted, conn), codes.OK)
	wantCode(t, chatting(within(t, 4*patience), conn), codes.OK)
	g.rewrite(t, ", shadow: true", "")
	g.reload(t)
	wantCode(t, invoke(t, conn, login), codes.Unavailable)
	g.countAudit(t, 1, func(r *auditRecord) bool { return r.Reason == "overloaded" && r.MatchedRule == "call_limits[0]" })
	if refused, would := g.callEvents(t, "user.*/*", "refused"), g.callEvents(t, "user.*/*", "would_refuse"); refused != 1 || would != 1 {
		t.Errorf("%v calls were refused and %v would have been, want 1 and 1", refused, would)
	}
	leave()
	g.awaitRequests(t, 1)
	wantCode(t, invoke(t, conn, login), codes.OK)
}

// Whom anything else refuses no shadow falls on: by the process's own buckets, or by the fleet's.
func TestCallsThatAreRefusedCastNoShadowOfACallLimit(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	for name, kept := range map[string]string{"by a bucket of this process": "", "by one in Redis": ", store: redis"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := grpcBackend(t)
			g := start(t, setup{top: []string{store(redis.Address)}, backends: []string{h2("users", users.Address)}, routes: []string{
				route("grpc: user.UserService/*", triedCalls+", backend: users, rate_limits: [{rate: 1/h, burst: 3"+kept+"}]"),
				route("path: /*", "respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 3, store: redis}]")}})
			g.awaitConnections(t, 2)
			conn := g.rpc(t, common().web)
			wantCode(t, chatting(within(t, 4*patience), conn), codes.OK)
			wantPasses(t, "beside one that stays", passes(t, conn, 9, login), 2)
			wantPasses(t, "at the backend", users.Journal.Count(login), 2)
			g.countAudit(t, 7, func(r *auditRecord) bool { return r.MatchedRule == "rate_limits[0]" })
			g.wantShadows(t, 2, byCallShadow)
			const decisions = `tollgate_rate_limit_decisions_total{route="user.UserService/*",limit="rate_limits[0]",decision=`
			if allowed, would := g.metric(t, decisions+`"allowed"}`), g.metric(t, decisions+`"would_refuse"}`); allowed != 3 || would != 0 {
				t.Errorf("the rate limit allowed %v and would have refused %v, want 3 and 0", allowed, would)
			}
		})
	}
}

func TestShadowOfACallLimitStandsBesideOneInForce(t *testing.T) {
	t.Parallel()
	g, conn := trying(t, "call_limits: [{calls: 1, per: [identity], shadow: true}, {calls: 2}]")
	for range 2 {
		wantCode(t, chatting(within(t, 4*patience), conn), codes.OK)
	}
	for range 3 {
		wantCode(t, invoke(t, conn, login), codes.Unavailable)
	}
	g.countAudit(t, 3, func(r *auditRecord) bool { return r.MatchedRule == "call_limits[1]" && r.Detail == "2 calls at once" })
	g.wantShadows(t, 1, byCallShadow)
}

// A call may be over several kinds of limit, each of which says so.
func TestShadowsOfAllKindsAreRecorded(t *testing.T) {
	t.Parallel()
	g, conn := trying(t, triedCalls+", rate_limits: [{rate: 1/h, burst: 1, shadow: true}], "+
		"flow_limits: [{messages: 1/h, burst: 1, on_excess: reject, shadow: true}]")
	wantCode(t, chatting(within(t, 4*patience), conn), codes.OK)
	stream := openStream(t, within(t, patience), conn, chat)
	sayAndHear(t, stream, 4)
	seen := map[string]int{}
	g.wantShadows(t, 3, func(r *auditRecord) bool {
		seen[r.MatchedRule+" "+r.Reason]++
		return *r.Authorized && r.RPCMethod == chat
	})
	if len(seen) != 3 || seen["call_limits[0] overloaded"] != 1 || seen["rate_limits[0] rate_limited"] != 1 || seen["flow_limits[0] rate_limited"] != 1 {
		t.Errorf("recorded is %v", seen)
	}
}

// sayAndHear has so many messages echoed.
func sayAndHear(t *testing.T, stream backend.Stream, messages int) {
	t.Helper()
	for i := range messages {
		send(t, stream, fmt.Sprint("message ", i))
		if got, err := stream.Receive(); err != nil || string(got) != fmt.Sprint("message ", i) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}
