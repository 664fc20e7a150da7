package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// What happens to a request while the answer of Redis is awaited.

// awaitRequests waits until that many requests are under way.
func (g *gateway) awaitRequests(t *testing.T, want float64) {
	t.Helper()
	waitFor(t, "requests under way", 5*time.Second, func() bool { return g.metric(t, "tollgate_requests_active") == want })
}

// A body that tells when the client has begun to send it.
type toldBody struct {
	io.Reader
	once  sync.Once
	begun chan struct{}
}

func (b *toldBody) Read(buffer []byte) (int, error) {
	b.once.Do(func() { close(b.begun) })
	return b.Reader.Read(buffer)
}

// await waits until the body is asked for, which is after the head was sent.
func (b *toldBody) await(t *testing.T) {
	t.Helper()
	select {
	case <-b.begun:
	case <-time.After(patience):
		t.Fatal("the body is never sent")
	}
}

func pattern(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7 >> (i % 5))
	}
	return body
}

// upload is a request with a body of that size, with or without a stated length.
func upload(path string, body []byte, stated bool) (*http.Request, *toldBody) {
	told := &toldBody{Reader: bytes.NewReader(body), begun: make(chan struct{})}
	r := must(http.NewRequest("POST", "https://gateway.test"+path, told))
	if stated {
		r.ContentLength = int64(len(body))
	}
	return r, told
}

func TestBodiesThatArriveMeanwhileArePassedOnWhole(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 1/h, burst: 20, store: redis}")
	g, body := f.gateways[0], pattern(1<<20)
	redis.Pause()
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		for _, stated := range []bool{true, false} {
			r, told := upload("/limited/echo", body, stated)
			group.Go(func() {
				got := g.client(t, protocol, common().web).do(r)
				if seen := got.echo(t).Body; !bytes.Equal(seen, body) {
					t.Errorf("%s: %d bytes arrived, or others", protocol, len(seen))
				}
			})
			told.await(t)
		}
	}
	conn := g.rpc(t, common().web)
	group.Go(func() {
		got, err := backend.Invoke(within(t, patience), conn, login, body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("gRPC: %d bytes, %v", len(got), err)
		}
	})
	g.awaitRequests(t, 5)
	if n := f.web.Journal.Count("") + f.users.Journal.Count(""); n != 0 {
		t.Errorf("%d requests went on unjudged", n)
	}
	redis.Resume()
	group.Wait()
	if n := f.web.Journal.Count("") + f.users.Journal.Count(""); n != 5 {
		t.Errorf("%d requests reached the backends", n)
	}
}

func TestBodiesOfCallsThatAreThenRefusedGoNowhere(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 2, store(redis.Address), "{rate: 1/h, burst: 1, store: redis}")
	g, other := f.gateways[0], f.gateways[1]
	wantPasses(t, "elsewhere", granted(t, other.client(t, "h1", common().web), 1, "/limited/x"), 1)
	wantPasses(t, "elsewhere", passes(t, other.rpc(t, common().web), 1, login), 1)
	redis.Pause()
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		r, told := upload("/limited/echo", pattern(1<<20), true)
		c := g.client(t, protocol, common().web)
		group.Go(func() {
			got := c.do(r)
			if got.err == nil || protocol == "h2" { // Go's HTTP/1.1 client may give up over its unread body
				wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
			}
			wantStatus(t, c.get("/free"), http.StatusOK)
		})
		told.await(t)
	}
	group.Go(func() {
		_, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), login, pattern(1<<20))
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("gRPC: %v", err)
		}
	})
	g.awaitRequests(t, 3)
	redis.Resume()
	group.Wait()
	if calls, uploads := f.users.Journal.Count(login), f.web.Journal.Count("POST /limited/echo"); calls != 1 || uploads != 0 {
		t.Errorf("%d calls and %d uploads reached the backends", calls, uploads)
	}
	g.countAudit(t, 3, because("rate_limited"))
}

// A client that asks first sends nothing until the verdict, and nothing at all where it is a refusal.
func TestContinueIsSaidAfterTheVerdict(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), `{rate: 1/h, burst: 1, per: ["header:X-Tenant"], store: redis}`)
	g := f.gateways[0]
	w := g.wire(t, common().web)
	head := "POST /limited/echo HTTP/1.1\r\nHost: gateway.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	redis.Pause()
	w.say(head)
	g.awaitRequests(t, 1)
	if n := f.web.Journal.Count(""); n != 0 {
		t.Errorf("%d requests went on unjudged", n)
	}
	redis.Resume()
	if line, err := w.reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := w.reader.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	w.say("body")
	if got := w.hear("POST").echo(t); string(got.Body) != "body" {
		t.Errorf("the backend saw %q", got.Body)
	}
	w.say(head)
	wantRefusal(t, w.hear("POST"), http.StatusTooManyRequests, "rate_limited")
	wantPasses(t, "at the backend", f.web.Journal.Count(""), 1)
}

func TestPipelinedRequestsWaitTheirTurn(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 1/h, burst: 2, store: redis}")
	g := f.gateways[0]
	w := g.wire(t, common().web)
	redis.Pause()
	for _, path := range []string{"/limited/1", "/limited/2", "/free/3", "/limited/4", "/free/5"} {
		w.say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	}
	g.awaitRequests(t, 1)
	redis.Resume()
	for _, path := range []string{"/limited/1", "/limited/2", "/free/3"} {
		if got := w.hear("GET").echo(t); got.Target != path {
			t.Errorf("the answer to %s is one to %s", path, got.Target)
		}
	}
	wantRefusal(t, w.hear("GET"), http.StatusTooManyRequests, "rate_limited")
	if got := w.hear("GET").echo(t); got.Target != "/free/5" {
		t.Errorf("the answer to /free/5 is one to %s", got.Target)
	}
}

func TestClientsThatLeaveMeanwhileLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 1/h, burst: 100, store: redis}")
	g := f.gateways[0]
	descriptors := g.descriptors(t)
	redis.Pause()
	ctx, leave := context.WithCancel(t.Context())
	var clients []*client
	var group sync.WaitGroup
	const each = 8
	for i := range each {
		// Over HTTP/1.1 who leaves is seen once all that he has sent was read.
		for protocol, size := range map[string]int{"h1": 1 << 10, "h2": 300 << 10} {
			c := g.client(t, protocol, common().web)
			clients = append(clients, c)
			group.Go(func() {
				r, _ := upload("/limited/echo", pattern(size), i%2 == 0)
				if got := c.do(r.WithContext(ctx)); got.err == nil {
					t.Errorf("%s: status %d", protocol, got.status)
				}
			})
		}
		conn := g.rpc(t, common().web)
		group.Go(func() {
			if _, err := backend.Invoke(ctx, conn, login, pattern(300<<10)); status.Code(err) != codes.Canceled {
				t.Errorf("gRPC: %v", err)
			}
			_ = conn.Close()
		})
	}
	g.awaitRequests(t, 3*each)
	leave()
	group.Wait()
	waitFor(t, "those who left to be forgotten", 5*time.Second, func() bool {
		for _, c := range clients {
			c.transport.CloseIdleConnections()
		}
		return g.metric(t, "tollgate_requests_active") == 0 && g.metric(t, `tollgate_connections_active{listener="edge"}`) == 0
	})
	redis.Resume()
	c := g.client(t, "h1", common().web)
	wantStatus(t, c.get("/limited/x"), http.StatusOK)
	wantPasses(t, "Login", passes(t, g.rpc(t, common().web), 1, login), 1)
	if calls, requests := f.users.Journal.Count(""), f.web.Journal.Count(""); calls != 1 || requests != 1 {
		t.Errorf("%d calls and %d requests of those who left reached the backends", calls, requests)
	}
	c.transport.CloseIdleConnections()
	waitFor(t, "descriptors to be given back", 5*time.Second, func() bool { // kept are those to the backends
		return g.descriptors(t) <= descriptors+5
	})
}

func (g *gateway) descriptors(t *testing.T) int {
	t.Helper()
	return len(must(os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.pid()))))
}

// A deadline of the caller's ends the wait as it ends all else.
func TestDeadlineOfACallEndsTheWait(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	f := fleetOf(t, 1, store(redis.Address), "{rate: 1/h, burst: 9, store: redis}")
	g := f.gateways[0]
	redis.Pause()
	began := time.Now()
	_, err := backend.Invoke(within(t, slow(200*time.Millisecond)), g.rpc(t, common().web), login, nil)
	wantCode(t, err, codes.DeadlineExceeded)
	if took := time.Since(began); took > slow(2*time.Second) {
		t.Errorf("the call took %v", took)
	}
	g.awaitRequests(t, 0)
	redis.Resume()
	wantPasses(t, "afterwards", passes(t, g.rpc(t, common().web), 1, login), 1)
	wantPasses(t, "at the backend", f.users.Journal.Count(""), 1)
}

func TestDrainEndsInTimeWhileRedisStandsStill(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address, "timeout: "+milliseconds(time.Second)), setup{drain: "30s"})
	g.awaitConnections(t, 2)
	redis.Pause()
	var group sync.WaitGroup
	for way, want := range map[string]int{"local": 200, "allow": 200, "deny": 503} {
		for _, protocol := range []string{"h1", "h2"} {
			c := g.client(t, protocol, common().web)
			group.Go(func() { wantStatus(t, c.get("/"+way+"/x"), want) })
		}
	}
	g.awaitRequests(t, 6)
	began := time.Now()
	g.signal(syscall.SIGTERM)
	group.Wait()
	if code := g.exitCode(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > slow(3*time.Second) {
		t.Errorf("the drain took %v", took)
	}
}

func TestDrainTimeoutCutsTheWaitForRedis(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := threeWays(t, store(redis.Address, "timeout: 1m"), setup{drain: "300ms", keepErrors: true})
	g.awaitConnections(t, 2)
	redis.Pause()
	c := g.client(t, "h2", common().web)
	asked := make(chan struct{})
	go func() {
		_ = c.get("/allow/x")
		close(asked)
	}()
	g.awaitRequests(t, 1)
	g.signal(syscall.SIGTERM)
	g.exitCode(5 * time.Second)
	<-asked
	g.noSanitizerReport()
}

func TestUpgradeEndsInTimeWhileRedisStandsStill(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g := replaceable(t, setup{drain: "30s", top: []string{store(redis.Address, "timeout: "+milliseconds(time.Second))}, routes: []string{
		route("path: /allow/*", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 1/h, burst: 4, store: redis, on_failure: allow}]`),
		route("path: /deny/*", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 1/h, burst: 4, per: ["header:X-Tenant"], store: redis, on_failure: deny}]`)}})
	g.awaitConnections(t, 2)
	wantPasses(t, "before", granted(t, g.client(t, "h1", common().web), 3, "/deny/x"), 3)
	redis.Pause()
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() { wantStatus(t, c.get("/allow/x"), http.StatusOK) })
	}
	g.awaitRequests(t, 2)
	began := time.Now()
	_ = g.upgrade(t, g.command.Process.Pid)
	if took := time.Since(began); took > slow(6*time.Second) {
		t.Errorf("the upgrade took %v", took)
	}
	group.Wait()
	redis.Resume()
	g.awaitConnections(t, 2)
	c := g.client(t, "h1", common().web)
	inForce(t, c)
	wantPasses(t, "of a bucket of 4 from which 3 were taken", granted(t, c, 5, "/deny/x"), 1)
}
