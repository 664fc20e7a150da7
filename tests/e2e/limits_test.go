package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

// limited starts a gateway that limits user.UserService/Login as told, and nothing else.
func limited(t *testing.T, limits string) (*gateway, *backend.GRPC) {
	t.Helper()
	users := grpcBackend(t)
	g := start(t, setup{
		routes: []string{
			route("grpc: user.UserService/Login", "backend: users, rate_limits: ["+limits+"]"),
			route("grpc: user.UserService/*", "backend: users")},
		backends: []string{h2("users", users.Address)}})
	return g, users
}

// limitedWeb starts a gateway that limits /limited/* as told.
func limitedWeb(t *testing.T, limits string) (*gateway, *backend.HTTP) {
	t.Helper()
	web := httpBackend(t)
	g := start(t, setup{
		routes: []string{route("path: /limited/*", "backend: web, rate_limits: ["+limits+"]"),
			route("path: /*", "backend: web")},
		backends: []string{http1("web", web.Address)}})
	return g, web
}

func invoke(t *testing.T, conn grpc.ClientConnInterface, method string, pairs ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ordering(context.Background(), pairs...), patience)
	defer cancel()
	_, err := backend.Invoke(ctx, conn, method, []byte("x"))
	return err
}

// passes makes the calls one after the other and counts those that pass; the rest must be refused
// by a rate limit.
func passes(t *testing.T, conn grpc.ClientConnInterface, calls int, method string, pairs ...string) (n int) {
	t.Helper()
	for range calls {
		switch err := invoke(t, conn, method, pairs...); status.Code(err) {
		case codes.OK:
			n++
		case codes.ResourceExhausted:
		default:
			t.Fatal(err)
		}
	}
	return n
}

func wantPasses(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d calls pass, want %d", what, got, want)
	}
}

func TestBurstIsExactOverConnectionsAndWorkers(t *testing.T) {
	t.Parallel()
	g, users := limited(t, "{rate: 1/m, burst: 25, per: [identity]}")
	const connections, calls = 20, 15
	var group sync.WaitGroup
	var passed counter
	for range connections {
		conn := g.rpc(t, common().web)
		for range calls {
			group.Go(func() { passed.add(passes(t, conn, 1, login)) })
		}
	}
	group.Wait()
	wantPasses(t, "all together", passed.get(), 25)
	wantPasses(t, "at the backend", users.Journal.Count(login), 25)
	wantPasses(t, "another method", passes(t, g.rpc(t, common().web), 10, getUser), 10)
	g.countAudit(t, connections*calls-25, because("rate_limited"))
}

func TestBucketBelongsToTheIdentity(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/m, burst: 4, per: [identity]}")
	root := common().root
	wantPasses(t, "first certificate", passes(t, g.rpc(t, root.svid(webID)), 2, login), 2)
	wantPasses(t, "renewed certificate, other key", passes(t, g.rpc(t, root.svid(webID, withKey(rsa2048()))), 2, login), 2)
	wantPasses(t, "through an intermediate", passes(t, g.rpc(t, root.intermediate("i").svid(webID)), 2, login), 0)
	wantPasses(t, "other headers", passes(t, g.rpc(t, root.svid(webID)), 2, login, "x-forwarded-for", "1.2.3.4"), 0)
	other := root.svid("spiffe://cluster.local/ns/web/sa/other")
	wantPasses(t, "another identity", passes(t, g.rpc(t, other), 9, login), 4)
}

func TestLimitPerMethod(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{backends: []string{h2("users", users.Address)}, routes: []string{
		route("grpc: user.UserService/*", "backend: users, rate_limits: [{rate: 1/m, burst: 3, per: [method]}]")}})
	conn := g.rpc(t, common().web)
	wantPasses(t, "Login", passes(t, conn, 9, login), 3)
	wantPasses(t, "GetUser", passes(t, conn, 9, getUser), 3)
	other := g.rpc(t, common().root.svid("spiffe://cluster.local/other"))
	wantPasses(t, "Login of another identity", passes(t, other, 3, login), 0)
}

func TestLimitPerIdentityAndMethod(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{backends: []string{h2("users", users.Address)}, routes: []string{route(
		"grpc: user.UserService/*", "backend: users, rate_limits: [{rate: 1/m, burst: 3, per: [identity, method]}]")}})
	other := common().root.svid("spiffe://cluster.local/other")
	for _, method := range []string{login, getUser} {
		wantPasses(t, method, passes(t, g.rpc(t, common().web), 9, method), 3)
		wantPasses(t, method+" of another identity", passes(t, g.rpc(t, other), 9, method), 3)
	}
}

func TestLimitWithoutPerIsSharedByAll(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/m, burst: 5}")
	passed := 0
	for i := range 4 {
		conn := g.rpc(t, common().root.svid(fmt.Sprint("spiffe://cluster.local/client/", i)))
		passed += passes(t, conn, 3, login)
	}
	wantPasses(t, "all together", passed, 5)
}

func TestLimitPerSourceAddress(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, "{rate: 1/m, burst: 3, per: [source_ip]}")
	for _, source := range []string{"127.0.0.1", "127.0.0.9"} {
		passed := 0
		for range 6 {
			got := g.clientFrom(t, source).get("/limited/x", "X-Forwarded-For", "10.0.0.1")
			if got.status == http.StatusOK {
				passed++
			}
		}
		wantPasses(t, source, passed, 3)
	}
}

func TestLimitPerHeader(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, `{rate: 1/m, burst: 3, per: ["header:X-Tenant"]}`)
	conn := g.rpc(t, common().web)
	wantPasses(t, "tenant a", passes(t, conn, 6, login, "x-tenant", "a"), 3)
	wantPasses(t, "tenant b", passes(t, conn, 6, login, "x-tenant", "b"), 3)
	wantPasses(t, "no tenant", passes(t, conn, 6, login), 3)
	wantPasses(t, "tenant a again", passes(t, conn, 2, login, "x-tenant", "a"), 0)
}

// The host is a header that HTTP/2 has no field for, and has more than one spelling.
func TestLimitPerHost(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, `{rate: 1/m, burst: 3, per: ["header:Host"]}`)
	passed := map[string]int{}
	for _, protocol := range []string{"h1", "h2"} {
		for range 3 {
			for host, is := range map[string]string{"a.test": "a", "A.test.:8443": "a", "b.test": "b", "c.test": "c"} {
				r := request("GET", "/limited/x", "")
				r.Host = host
				if g.client(t, protocol, common().web).do(r).status == http.StatusOK {
					passed[is]++
				}
			}
		}
	}
	for _, host := range []string{"a", "b", "c"} {
		wantPasses(t, host, passed[host], 3)
	}
}

func TestCyclingThroughKeysGainsNothing(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, `{rate: 1/h, burst: 1, per: ["header:X-Tenant"], max_keys: 4}`)
	conn := g.rpc(t, common().web)
	passed := 0
	for i := range 60 {
		passed += passes(t, conn, 1, login, "x-tenant", strconv.Itoa(i%30))
	}
	if passed > 5 || passed == 0 { // four keys, and the overflow bucket that the others share
		t.Errorf("%d calls pass", passed)
	}
}

func TestAllLimitsOrNoneAreCharged(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, `{rate: 1/m, burst: 5, per: [identity]}, {rate: 1/m, burst: 3, per: ["header:X-Tenant"]}`)
	conn := g.rpc(t, common().web)
	wantPasses(t, "until the second limit refuses", passes(t, conn, 20, login, "x-tenant", "a"), 3)
	wantPasses(t, "what is left of the first", passes(t, conn, 20, login, "x-tenant", "b"), 2)
	record := g.waitForAudit(t, "second limit", because("rate_limited"))
	if record.MatchedRule != "rate_limits[1]" {
		t.Errorf("the first refusal is put on %q", record.MatchedRule)
	}
}

func TestRefusedCallsNeitherCostTokensNorReachTheBackend(t *testing.T) {
	t.Parallel()
	g, users := limited(t, "{rate: 2/s, burst: 2, per: [identity]}")
	conn := g.rpc(t, common().web)
	_ = passes(t, conn, 2, login)
	refusedUntil := time.Now().Add(300 * time.Millisecond)
	for time.Now().Before(refusedUntil) { // were these charged, there would never be a token again
		_ = invoke(t, conn, login)
	}
	waitFor(t, "a token to come back", 700*time.Millisecond, func() bool { return invoke(t, conn, login) == nil })
	ok := 0
	for _, call := range users.Journal.Calls(login) {
		if call.Code == codes.OK {
			ok++
		}
	}
	if n := users.Journal.Count(login); n != ok || n > 5 {
		t.Errorf("%d calls reached the backend", n)
	}
}

func TestStreamCostsOneToken(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{backends: []string{h2("users", users.Address)}, routes: []string{
		route("grpc: user.UserService/Chat", "backend: users, rate_limits: [{rate: 1/m, burst: 2}]")}})
	conn := g.rpc(t, common().web)
	for range 2 {
		stream := openStream(t, within(t, patience), conn, chat)
		for range 20 {
			send(t, stream, "x")
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := openStream(t, within(t, patience), conn, chat).Receive()
	wantCode(t, err, codes.ResourceExhausted)
}

func TestRefusedGRPCCallIsToldSoTrailersOnly(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 2/s, burst: 1, per: [identity]}")
	conn := g.rpc(t, common().web)
	var header, trailer metadata.MD
	var err error
	for err == nil {
		_, err = backend.Invoke(within(t, patience), conn, login, nil, grpc.Header(&header), grpc.Trailer(&trailer))
	}
	got := status.Convert(err)
	if got.Code() != codes.ResourceExhausted || got.Message() != "rate limit exceeded" {
		t.Errorf("status %v", got)
	}
	pushback := trailer.Get("grpc-retry-pushback-ms")
	if len(pushback) != 1 {
		t.Fatalf("trailer %v", trailer)
	}
	wait := must(strconv.Atoi(pushback[0]))
	if wait < 1 || wait > 501 {
		t.Errorf("pushback %d ms at 2/s", wait)
	}
	<-time.After(time.Duration(wait) * time.Millisecond)
	if err := invoke(t, conn, login); err != nil {
		t.Errorf("after the pushback: %v", err)
	}
	raw := g.client(t, "h2", common().web).do(request("POST", login, "\x00\x00\x00\x00\x00",
		"Content-Type", "application/grpc", "TE", "trailers"))
	if raw.status != 200 || raw.header.Get("Grpc-Status") != "8" || raw.body != "" || len(raw.trailer) != 0 {
		t.Errorf("no trailers-only answer: %+v", raw)
	}
}

func TestRefusedRequestIsTold429(t *testing.T) {
	t.Parallel()
	g, web := limitedWeb(t, "{rate: 1/s, burst: 1}")
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			c := g.client(t, protocol, common().web)
			var got reply
			for got = c.get("/limited/x"); got.status == http.StatusOK; got = c.get("/limited/x") {
			}
			wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("content type %q", kind)
			}
			for _, member := range []string{"title", "request_id"} {
				if got.problem(member) == "" {
					t.Errorf("no %s in %s", member, got.body)
				}
			}
			after, err := strconv.Atoi(got.header.Get("Retry-After"))
			if err != nil || after < 1 || after > 2 {
				t.Fatalf("Retry-After %q", got.header.Get("Retry-After"))
			}
			wantStatus(t, c.get("/free"), http.StatusOK)
			<-time.After(time.Duration(after) * time.Second)
			wantStatus(t, c.get("/limited/x"), http.StatusOK)
		})
	}
	for _, call := range web.Journal.Calls("") {
		if call.Code != codes.OK {
			t.Errorf("backend saw %+v", call)
		}
	}
}

func TestOtherSpellingsShareTheBucket(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, "{rate: 1/m, burst: 2}")
	c := g.client(t, "h1", common().web)
	passed := 0
	for _, path := range []string{"/limited/x", "/limited/%78", "/limited/x?again", "/free/../limited/x",
		"/./limited/x", "/%6cimited/x"} {
		if c.get(path).status == http.StatusOK {
			passed++
		}
	}
	wantPasses(t, "all spellings", passed, 2)
}

func TestRefillNeverGoesAboveTheBurst(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 20/m, burst: 4}")
	conn := g.rpc(t, common().web)
	<-time.After(500 * time.Millisecond) // a bucket that overflowed would hold more by now
	wantPasses(t, "after a rest", passes(t, conn, 12, login), 4)
}

func TestReloadKeepsTheBuckets(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/m, burst: 4, per: [identity]}")
	conn := g.rpc(t, common().web)
	wantPasses(t, "before", passes(t, conn, 3, login), 3)
	g.reload(t)
	wantPasses(t, "after", passes(t, g.rpc(t, common().web), 5, login), 1)
}
