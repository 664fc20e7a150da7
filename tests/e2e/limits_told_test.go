package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// telling starts a gateway that tells callers what they have left, before a backend with fields of
// the same names.
func telling(t *testing.T, how, limits string) *gateway {
	t.Helper()
	web, users := httpBackend(t), grpcBackend(t)
	return start(t, setup{listener: []string{"rate_limit_headers: " + how},
		routes: []string{
			route("grpc: user.UserService/*", "backend: users, rate_limits: ["+limits+"]"),
			route("path: /own/*", "respond: {status: 200}, rate_limits: ["+limits+"]"),
			route("path: /free", "respond: {status: 200}"),
			route("path: /*", "backend: web, rate_limits: ["+limits+"]")},
		backends: []string{http1("web", web.Address), h2("users", users.Address)}})
}

// told reads what an answer says, one line a field: "ratelimit: …".
func told(header http.Header) string {
	var lines []string
	for _, name := range []string{"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
		for _, value := range header.Values(name) {
			lines = append(lines, strings.ToLower(name)+": "+value)
		}
	}
	return strings.Join(lines, "\n")
}

func wantTold(t *testing.T, what string, header http.Header, want ...string) {
	t.Helper()
	if got := told(header); got != strings.Join(want, "\n") {
		t.Errorf("%s: told is\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
	}
}

func TestAnswersTellWhatIsLeft(t *testing.T) {
	t.Parallel()
	const slow = "{rate: 60/h, burst: 3}" // a token a minute: three minutes for all
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			for how, want := range map[string][2][]string{
				"off": {},
				"standard": {{`ratelimit-policy: "limit-0";q=3;w=180`, `ratelimit: "limit-0";r=2;t=60`},
					{`ratelimit-policy: "limit-0";q=3;w=180`, `ratelimit: "limit-0";r=0;t=60`}},
				"legacy": {{"x-ratelimit-limit: 3", "x-ratelimit-remaining: 2", "x-ratelimit-reset: 60"},
					{"x-ratelimit-limit: 3", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 60"}},
			} {
				g := telling(t, how, slow)
				client := g.client(t, protocol, common().web)
				for _, path := range []string{"/x", "/own/x"} {
					first := client.get(path)
					wantStatus(t, first, http.StatusOK)
					wantTold(t, how+" "+path, first.header, want[0]...)
					client.get(path)
					client.get(path)
					refused := client.get(path)
					wantRefusal(t, refused, http.StatusTooManyRequests, "rate_limited")
					wantTold(t, how+" "+path+" refused", refused.header, want[1]...)
				}
				wantTold(t, "a route without limits", client.get("/free").header)
				wantTold(t, "no route", client.get("//..").header)
			}
		})
	}
}

func TestAnswersTellOfEveryLimitAndOfTheTightest(t *testing.T) {
	t.Parallel()
	g := telling(t, "both", "{rate: 60/h, burst: 9}, {rate: 1/h, burst: 5, shadow: true}, {rate: 3600/h, burst: 4, per: [identity]}")
	client := g.client(t, "h2", common().web)
	client.get("/x")
	wantTold(t, "the second answer", client.get("/x").header,
		`ratelimit-policy: "limit-0";q=9;w=540, "limit-2";q=4;w=4`, `ratelimit: "limit-0";r=7;t=60, "limit-2";r=2;t=1`,
		"x-ratelimit-limit: 4", "x-ratelimit-remaining: 2", "x-ratelimit-reset: 2")
}

// A gateway of two gets a token every two minutes.
func TestAnswersTellWhenThisGatewayHasMore(t *testing.T) {
	t.Parallel()
	client := telling(t, "both", "{rate: 60/h, burst: 8, fleet: 2}").client(t, "h2", common().web)
	client.get("/x")
	wantTold(t, "the second answer", client.get("/x").header,
		`ratelimit-policy: "limit-0";q=8;w=480`, `ratelimit: "limit-0";r=2;t=120`,
		"x-ratelimit-limit: 8", "x-ratelimit-remaining: 2", "x-ratelimit-reset: 240")
}

func TestFieldsOfABackendGiveWayToOurs(t *testing.T) {
	t.Parallel()
	theirs := scripted(t, func(conn *backend.Peer) {
		conn.Request()
		conn.Say("HTTP/1.1 200 OK\r\nRateLimit: \"theirs\";r=1\r\nX-RateLimit-Reset: 7\r\nContent-Length: 0\r\n\r\n")
	})
	for how, want := range map[string][]string{
		"off":      {`ratelimit: "theirs";r=1`, "x-ratelimit-reset: 7"},
		"standard": {`ratelimit-policy: "limit-0";q=3;w=180`, `ratelimit: "limit-0";r=2;t=60`, "x-ratelimit-reset: 7"},
		"legacy":   {`ratelimit: "theirs";r=1`, "x-ratelimit-limit: 3", "x-ratelimit-remaining: 2", "x-ratelimit-reset: 60"},
	} {
		g := start(t, setup{listener: []string{"rate_limit_headers: " + how}, backends: []string{http1("web", theirs.Address)},
			routes: []string{route("path: /*", "backend: web, rate_limits: [{rate: 60/h, burst: 3}]")}})
		wantTold(t, how, g.client(t, "http/1.1", common().web).get("/x").header, want...)
	}
}

func TestGRPCCallersAreToldInMetadata(t *testing.T) {
	t.Parallel()
	g := telling(t, "standard", "{rate: 60/h, burst: 1}")
	conn := g.rpc(t, common().web)
	for _, want := range []struct {
		code codes.Code
		left string
	}{{codes.OK, `"limit-0";r=0;t=60`}, {codes.ResourceExhausted, `"limit-0";r=0;t=60`}} {
		var header, trailer metadata.MD
		_, err := backend.Invoke(within(t, patience), conn, login, []byte("x"), grpc.Header(&header), grpc.Trailer(&trailer))
		wantCode(t, err, want.code)
		if got := append(header.Get("ratelimit"), trailer.Get("ratelimit")...); len(got) != 1 || got[0] != want.left {
			t.Errorf("%v: told is %q, want %q", want.code, got, want.left)
		}
	}
}

func TestWhatIsToldIsTheTrueWait(t *testing.T) {
	t.Parallel()
	g := telling(t, "both", "{rate: 30/m, burst: 1}") // a token every two seconds
	client := g.client(t, "http/1.1", common().web)
	wantStatus(t, client.get("/x"), http.StatusOK)
	since := time.Now()
	refused := client.get("/x")
	wantStatus(t, refused, http.StatusTooManyRequests)
	for _, name := range []string{"Retry-After", "X-RateLimit-Reset"} {
		if got := must(strconv.Atoi(refused.header.Get(name))); got != 2 {
			t.Errorf("%s is %d, want 2", name, got)
		}
	}
	waitFor(t, "a token", patience, func() bool { return client.get("/x").status == http.StatusOK })
	if waited := time.Since(since); waited < 1900*time.Millisecond || waited > 2*time.Second+patience/4 {
		t.Errorf("there is a token after %v, want about two seconds", waited)
	}
}

// gRPC's own retries wait as long as they are told to, and then pass.
func TestRetriesOfGRPCHonourThePushback(t *testing.T) {
	t.Parallel()
	g, users := limited(t, "{rate: 2/s, burst: 1, per: [identity]}")
	conn := g.rpc(t, common().web, grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
		"retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}`))
	since := time.Now()
	for range 3 {
		wantCode(t, invoke(t, conn, login), codes.OK)
	}
	if took := time.Since(since); took < 950*time.Millisecond {
		t.Errorf("three calls of a bucket of one, two a second, took %v", took)
	}
	wantPasses(t, "at the backend", users.Journal.Count(login), 3)
	g.countAudit(t, 2, because("rate_limited"))
}
