package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/websocket"

	"tollgate/tests/harness"
)

// What else may come to pass while a request waits for Redis: it ends in another way, or the ground changes below it.

// waitingAt starts a gateway before an HTTP/1.1 backend with a shared limit on every path, and stops its Redis.
func waitingAt(t *testing.T, timeout string, s setup) (*gateway, *harness.Redis, func() int) {
	t.Helper()
	redis, web := harness.StartRedis(t, harness.RedisSetup{}), httpBackend(t)
	s.top = append(s.top, store(redis.Address, "timeout: "+timeout))
	s.routes = []string{route("path: /*", "backend: web, upgrade: [websocket], rate_limits: [{rate: 1/h, burst: 50, store: redis, on_failure: deny}]")}
	s.backends = []string{http1("web", web.Address)}
	g := start(t, s)
	g.awaitConnections(t, 2)
	redis.Pause()
	return g, redis, func() int { return web.Journal.Count("") }
}

func TestBodiesThatGrowTooLargeMeanwhileAreRefused(t *testing.T) {
	t.Parallel()
	g, redis, _ := waitingAt(t, "10s", setup{listener: []string{"limits: {body_bytes: 20KiB}"}})
	w := g.wire(t, common().web)
	w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n")
	g.awaitRequests(t, 1)
	chunk := strings.Repeat("x", 4096)
	for range 6 {
		w.say(fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk))
	}
	c := g.client(t, "h2", common().web)
	r, _ := upload("/x", pattern(40<<10), false)
	var group sync.WaitGroup
	group.Go(func() { wantRefusal(t, c.do(r), http.StatusRequestEntityTooLarge, "request_too_large") })
	redis.Resume()
	wantRefusal(t, w.hear("POST"), http.StatusRequestEntityTooLarge, "request_too_large")
	group.Wait()
	g.countAudit(t, 2, because("request_too_large"))
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

// A request that is malformed further on, and one that stalls, end as they would without Redis.
func TestRequestsThatEndOtherwiseMeanwhile(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		rest   string
		status int
		reason string
	}{
		"stalls":    {"4\r\nbody\r\n", http.StatusRequestTimeout, "request_timeout"},
		"malformed": {"zz\r\n", http.StatusBadRequest, "malformed_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, redis, _ := waitingAt(t, "10s", setup{listener: []string{"timeouts: {request: 400ms}"}})
			w := g.wire(t, common().web)
			w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n" + row.rest)
			wantRefusal(t, w.hear("POST"), row.status, row.reason)
			g.awaitRequests(t, 0)
			redis.Resume()
			wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
			g.countAudit(t, 1, because(row.reason))
		})
	}
}

// Streams that are opened and reset at once leave questions behind that nobody waits for any more.
func TestStreamsThatAreResetMeanwhile(t *testing.T) {
	t.Parallel()
	g, redis, reached := waitingAt(t, "10s", setup{})
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	for i := range 30 {
		stream := uint32(2*i + 1)
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: plainGet(), EndHeaders: true, EndStream: i%2 == 0})
		if i%3 > 0 {
			_ = framer.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
	}
	g.awaitRequests(t, 10)
	_ = conn.Close()
	g.awaitRequests(t, 0)
	redis.Resume()
	wantStatus(t, g.client(t, "h2", common().web).get("/x"), http.StatusOK)
	if n := reached(); n != 1 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// plainGet is the head of GET /x in HPACK's literals.
func plainGet() []byte {
	block := []byte{0x82, 0x87} // :method GET, :scheme https
	for _, field := range [][2]string{{":path", "/x"}, {":authority", "gateway.test"}} {
		block = append(block, 0x00)
		for _, text := range field {
			block = append(append(block, byte(len(text))), text...)
		}
	}
	return block
}

func TestReloadWhileCallsWait(t *testing.T) {
	t.Parallel()
	g, redis, _ := waitingAt(t, "10s", setup{})
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() { wantStatus(t, c.get("/x"), http.StatusOK) }) // by what was in force when they came
	}
	g.awaitRequests(t, 2)
	g.rewrite(t, "burst: 50", "burst: 40")
	g.hangUp(t)
	g.rewrite(t, "backend: web, upgrade", "timeout: 1m, backend: web, upgrade")
	g.hangUp(t)
	redis.Resume()
	group.Wait()
}

func TestReloadThatTakesTheBackendOfCallsThatWait(t *testing.T) {
	t.Parallel()
	g, redis, reached := waitingAt(t, "10s", setup{})
	next := httpBackend(t)
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() { wantStatus(t, c.get("/x"), http.StatusOK) }) // where they were to go when they came
	}
	g.awaitRequests(t, 2)
	g.rewrite(t, "endpoints: [", fmt.Sprintf("endpoints: [%q]} # [", next.Address))
	g.hangUp(t)
	redis.Resume()
	group.Wait()
	if n := reached(); n != 2 {
		t.Errorf("%d requests reached the backend that was left", n)
	}
}

// The same where it led nowhere yet.
func TestReloadThatTakesANameWithoutAddressFromCallsThatWait(t *testing.T) {
	t.Parallel()
	redis, names, next := harness.StartRedis(t, harness.RedisSetup{}), startNameServer(t), httpBackend(t)
	g := start(t, setup{workers: 1, top: []string{names.asks(""), store(redis.Address, "timeout: 10s")},
		routes:   []string{route("path: /*", "backend: web, rate_limits: [{rate: 1/h, burst: 50, store: redis, on_failure: deny}]")},
		backends: []string{http1("web", "absent.test:1")}})
	g.awaitConnections(t, 1)
	redis.Pause()
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() {
			if got := c.get("/x"); got.status != http.StatusServiceUnavailable || got.problem("reason") != "connect_failed" {
				t.Errorf("status %d, %v", got.status, got.err)
			}
		})
	}
	g.awaitRequests(t, 2)
	g.rewrite(t, `"absent.test:1"`, fmt.Sprintf("%q", next.Address))
	g.hangUp(t)
	redis.Resume()
	group.Wait()
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

// Limits that leave Redis take nobody with them who is waiting: on_failure decides about him at the latest.
func TestReloadThatLeavesRedisWhileCallsWait(t *testing.T) {
	t.Parallel()
	g, redis, _ := waitingAt(t, milliseconds(time.Second), setup{})
	var all verdicts
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() { all.ask(t, c, 1, "/x") })
	}
	g.awaitRequests(t, 2)
	before := string(must(os.ReadFile(g.config)))
	g.rewrite(t, ", store: redis, on_failure: deny", "")
	g.rewrite(t, "redis: {", "#")
	g.hangUp(t)
	group.Wait()
	if all.refused.get() > 0 {
		t.Errorf("%v", &all)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK) // asks nobody
	g.awaitConnections(t, 0)
	redis.Resume()
	waitFor(t, "Redis to be left", 5*time.Second, func() bool { return redis.Clients() == 0 })
	writeFile(t, g.dir, "tollgate.yaml", []byte(before))
	g.hangUp(t)
	g.awaitConnections(t, 2)
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

func TestCallsThatWaitForAServerThatIsLeft(t *testing.T) {
	t.Parallel()
	g, redis, _ := waitingAt(t, milliseconds(time.Second), setup{})
	other := harness.StartRedis(t, harness.RedisSetup{})
	var group sync.WaitGroup
	began := time.Now()
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() { // the new server's word, or none
			if got := c.get("/x"); got.status != http.StatusOK && got.status != http.StatusServiceUnavailable {
				t.Errorf("status %d, %v", got.status, got.err)
			}
		})
	}
	g.awaitRequests(t, 2)
	g.rewrite(t, fmt.Sprintf("%q", redis.Address), fmt.Sprintf("%q", other.Address))
	g.hangUp(t)
	group.Wait()
	if took := time.Since(began); took > slow(2500*time.Millisecond) {
		t.Errorf("they waited %v", took)
	}
	waitFor(t, "the other server to be in force", 5*time.Second, func() bool {
		return g.client(t, "h1", common().web).get("/x").status == http.StatusOK
	})
	redis.Kill()
	for range 20 {
		wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
	}
}

func TestWebSocketsWaitToo(t *testing.T) {
	t.Parallel()
	g, redis, reached := waitingAt(t, "10s", setup{})
	var group sync.WaitGroup
	group.Go(func() {
		ws, err := g.websocket(t)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.Close() }()
		got := ""
		if err := websocket.Message.Send(ws, "hello"); err != nil {
			t.Error(err)
		}
		if err := websocket.Message.Receive(ws, &got); err != nil || got != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	g.awaitRequests(t, 1)
	if n := reached(); n != 0 {
		t.Errorf("%d requests went on unjudged", n)
	}
	redis.Resume()
	group.Wait()
}

// A connection that is idle but for its wait is not idle.
func TestWaitIsNoIdleness(t *testing.T) {
	t.Parallel()
	g, redis, _ := waitingAt(t, "10s", setup{listener: []string{"timeouts: {idle: 500ms, stream_idle: 5s}"}})
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		group.Go(func() { wantStatus(t, c.get("/x"), http.StatusOK) })
	}
	g.awaitRequests(t, 2)
	<-time.After(time.Second) // more than `idle`
	redis.Resume()
	group.Wait()
}

// While Redis is asked neither side of the call has anything to do: stream_idle is no limit to that, redis.timeout is.
func TestWaitForRedisIsNoIdleness(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	back := httpBackend(t)
	g := start(t, setup{top: []string{store(redis.Address, "timeout: "+milliseconds(3*time.Second))},
		listener: []string{"timeouts: {stream_idle: " + milliseconds(time.Second) + "}"}, backends: []string{http1("web", back.Address)},
		routes: []string{route("path: /*", "backend: web, rate_limits: [{rate: 1/h, burst: 4, store: redis, on_failure: allow}]")}})
	g.awaitConnections(t, 2)
	redis.Pause()
	for _, protocol := range []string{"h1", "h2"} {
		wantStatus(t, g.client(t, protocol, common().web).get("/x"), http.StatusOK)
	}
}
