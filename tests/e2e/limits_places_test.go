package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

// chatting opens a stream that stays open until its context ends; an error is what the gateway said of it.
func chatting(ctx context.Context, conn *rpc) error {
	stream, err := backend.Open(ctx, conn, chat)
	if err != nil {
		return err
	}
	if err := stream.Send([]byte("x")); err != nil {
		_, err = stream.Receive()
		return err
	}
	_, err = stream.Receive()
	return err
}

func TestCallsAtOnceAreLimitedPerIdentity(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{backends: []string{h2("users", users.Address)}, routes: []string{route(
		"grpc: user.UserService/*", "backend: users, call_limits: [{calls: 3, per: [identity]}]")}})
	ctx, cancel := context.WithCancel(within(t, 4*patience))
	for range 3 {
		wantCode(t, chatting(ctx, g.rpc(t, common().web)), codes.OK)
	}
	fourth := g.rpc(t, common().web)
	for range 2 { // the connection stays: it is the call that is shed
		wantCode(t, chatting(within(t, patience), fourth), codes.Unavailable)
	}
	other := common().root.svid("spiffe://cluster.local/other")
	wantCode(t, chatting(ctx, g.rpc(t, other)), codes.OK)
	g.countAudit(t, 2, func(r *auditRecord) bool {
		return r.Reason == "overloaded" && r.MatchedRule == "call_limits[0]" && r.Detail == "3 calls at once per identity" &&
			*r.Answer.GRPCStatus == int(codes.Unavailable)
	})
	cancel()
	waitFor(t, "room for another", patience, func() bool {
		return status.Code(chatting(within(t, patience), fourth)) == codes.OK
	})
	if n := users.Journal.Count(chat); n > 6 {
		t.Errorf("%d calls reach the backend, want 3, 1 and the last", n)
	}
}

func TestPlaceOfACallIsGivenBackHoweverItEnds(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{backends: []string{http1("web", web.Address)}, routes: []string{
		route("path: /limited", "backend: web, call_limits: [{calls: 1}], rate_limits: [{rate: 1/h, burst: 30}]"),
		route("path: /none", "backend: web, call_limits: [{calls: 1}], rate_limits: [{rate: 1/h, burst: 1}]"),
		route("path: /*", "backend: web, call_limits: [{calls: 1}]")}})
	for _, protocol := range []string{"http/1.1", "h2"} {
		client := g.client(t, protocol, common().web)
		for range 3 {
			wantStatus(t, client.get("/ok"), http.StatusOK)
			wantStatus(t, client.get("/limited"), http.StatusOK)
			if r := client.get("/none"); r.status != http.StatusOK {
				wantRefusal(t, r, http.StatusTooManyRequests, "rate_limited")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			client.do(request("GET", "/sleep?for=20s", "").WithContext(ctx))
			cancel()
			waitFor(t, "the place of a call that was given up", patience, func() bool {
				return client.get("/ok").status == http.StatusOK
			})
		}
	}
}

func TestWhoFindsNoPlacePaysNoToken(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{backends: []string{h2("users", users.Address)}, routes: []string{route(
		"grpc: user.UserService/*", "backend: users, call_limits: [{calls: 1}], rate_limits: [{rate: 1/h, burst: 3}]")}})
	conn := g.rpc(t, common().web)
	ctx, cancel := context.WithCancel(within(t, 4*patience))
	wantCode(t, chatting(ctx, conn), codes.OK)
	for range 5 {
		wantCode(t, invoke(t, conn, login), codes.Unavailable)
	}
	cancel()
	waitFor(t, "the place", patience, func() bool { return status.Code(invoke(t, conn, login)) == codes.OK })
	wantCode(t, invoke(t, conn, login), codes.OK)
	wantCode(t, invoke(t, conn, login), codes.ResourceExhausted)
}

func TestConnectionsOfOneIdentityAreLimited(t *testing.T) {
	t.Parallel()
	g := start(t, setup{workers: 2, listener: []string{"limits: {connections_per_identity: 3}"},
		routes: []string{route("path: /*", "respond: {status: 200}")}})
	var in []*client
	for range 3 {
		c := g.client(t, "http/1.1", common().web)
		wantStatus(t, c.get("/"), http.StatusOK)
		in = append(in, c)
	}
	fourth := g.client(t, "http/1.1", common().web).get("/")
	wantRefusal(t, fourth, http.StatusServiceUnavailable, "overloaded")
	if fourth.header.Get("Retry-After") == "" || !fourth.closes {
		t.Errorf("the fourth is told %v", fourth.header)
	}
	wantStatus(t, g.client(t, "h2", common().root.svid("spiffe://cluster.local/other")).get("/"), http.StatusOK)
	g.countAudit(t, 1, func(r *auditRecord) bool {
		return r.Reason == "overloaded" && strings.Contains(r.Detail, "limits.connections_per_identity") && r.Principal == webID
	})
	in[0].transport.CloseIdleConnections()
	waitFor(t, "room for another", patience, func() bool {
		return g.client(t, "h2", common().web).get("/").status == http.StatusOK
	})
}

func TestConnectionsFromOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	g := start(t, setup{listener: []string{"limits: {connections_per_address: 2}"},
		routes: []string{route("path: /*", "respond: {status: 200}")}})
	first, second := g.clientFrom(t, "127.0.0.2"), g.clientFrom(t, "127.0.0.2")
	wantStatus(t, first.get("/"), http.StatusOK)
	wantStatus(t, second.get("/"), http.StatusOK)
	wantRefusal(t, g.clientFrom(t, "127.0.0.2").get("/"), http.StatusServiceUnavailable, "overloaded")
	wantStatus(t, g.clientFrom(t, "127.0.0.3").get("/"), http.StatusOK)
	// A flood from there finds the door shut, on the record, and hurts nobody else.
	for range 60 {
		g.dialTCP(t)
	}
	waitFor(t, "a door that is shut", patience, func() bool { return g.clientFrom(t, "127.0.0.1").get("/").err != nil })
	wantStatus(t, g.clientFrom(t, "127.0.0.4").get("/"), http.StatusOK)
	wantStatus(t, first.get("/"), http.StatusOK)
	waitFor(t, "its record", patience, func() bool {
		return len(g.refusals(t, func(r *auditRecord) bool {
			return r.Reason == "overloaded" && strings.Contains(r.Detail, "limits.connections_per_address") && r.Answer.Status == 0
		})) > 0
	})
}
