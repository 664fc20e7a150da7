package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

func narrow(backendLine, concurrency string) string {
	return strings.TrimSuffix(backendLine, "}") + ", concurrency: " + concurrency + "}"
}

// narrowWeb starts a gateway with one worker and a backend that takes as many calls as told. Routes are by priority.
func narrowWeb(t *testing.T, concurrency string) (*gateway, *backend.HTTP) {
	t.Helper()
	web := httpBackend(t)
	return start(t, setup{workers: 1,
		routes: []string{
			route("path: /low/*", "backend: web, priority: low"),
			route("path: /high/*", "backend: web, priority: high"),
			route("path: /sleep", "backend: web, priority: high"),
			route("path: /ws", "backend: web, upgrade: [websocket]"),
			route("path: /*", "backend: web, rate_limits: [{rate: 1000/s, burst: 100000}]")},
		backends: []string{narrow(http1("web", web.Address), concurrency)}}), web
}

func (g *gateway) underWay(t *testing.T, name string) float64 {
	t.Helper()
	return g.metric(t, fmt.Sprintf("tollgate_upstream_concurrency_active{backend=%q}", name))
}

func (g *gateway) limitOf(t *testing.T, name string) float64 {
	t.Helper()
	return g.metric(t, fmt.Sprintf("tollgate_upstream_concurrency_limit{backend=%q}", name))
}

func (g *gateway) waitUnderWay(t *testing.T, name string, want float64) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%v calls under way", want), patience, func() bool { return g.underWay(t, name) == want })
}

// occupy has a call under way at the backend until the test lets go of it.
func (g *gateway) occupy(t *testing.T, c *client, before float64) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.do(request("GET", "/sleep?for=1h", "").WithContext(ctx))
	}()
	g.waitUnderWay(t, "web", before+1)
	leave = func() {
		cancel()
		<-ended
	}
	t.Cleanup(leave)
	return leave
}

func TestWhatABackendHasNoRoomForIsToldSoAtOnce(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g, web := narrowWeb(t, "{limit: 2}")
			busy, c := g.client(t, "h2", common().web), g.client(t, protocol, common().web)
			_, leave := g.occupy(t, busy, 0), g.occupy(t, busy, 1)
			for range 3 {
				got := c.get("/x")
				wantRefusal(t, got, http.StatusServiceUnavailable, "overloaded")
				if got.header.Get("Retry-After") != "1" || got.closes {
					t.Errorf("Retry-After %q, closes %v", got.header.Get("Retry-After"), got.closes)
				}
			}
			if web.Journal.Count("GET /x") != 0 {
				t.Error("a call that was shed reached the backend")
			}
			record := g.waitForAudit(t, "shed", because("overloaded"))
			if record.MatchedRule != "concurrency" || record.PolicyName != "edge//*" ||
				record.Detail != "the backend is at its concurrency limit (priority normal)" {
				t.Errorf("record %+v", record)
			}
			if got := g.metric(t, `tollgate_upstream_shed_total{backend="web",priority="normal"}`); got != 3 {
				t.Errorf("%v calls counted as shed, want 3", got)
			}
			// Who was shed has paid nothing.
			if got := g.metric(t, `tollgate_rate_limit_decisions_total{route="/*",limit="rate_limits[0]",decision="allowed"}`); got != 0 {
				t.Errorf("%v calls took a token, want none", got)
			}
			leave()
			g.waitUnderWay(t, "web", 1)
			wantStatus(t, c.get("/x"), http.StatusOK)
			if dials := c.connections(); dials != 1 {
				t.Errorf("%d connections, want one that stays", dials)
			}
		})
	}
}

func TestAShedGRPCCallIsUnavailable(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route(`grpc: "user.*/*"`, "backend: users")},
		backends: []string{narrow(h2("users", users.Address), "{limit: 1}")}})
	conn := g.rpc(t, common().web)
	ctx, cancel := context.WithCancel(ordering(context.Background(), backend.DoSleep, "1h"))
	defer cancel()
	go func() { _, _ = backend.Invoke(ctx, conn, getUser, []byte("x")) }()
	g.waitUnderWay(t, "users", 1)
	wantCode(t, invoke(t, conn, getUser), codes.Unavailable)
	record := g.waitForAudit(t, "shed", because("overloaded"))
	if record.RPCMethod != getUser || record.Answer.GRPCStatus == nil || *record.Answer.GRPCStatus != int(codes.Unavailable) {
		t.Errorf("record %+v", record)
	}
	cancel()
	g.waitUnderWay(t, "users", 0)
	wantCode(t, invoke(t, conn, getUser), codes.OK)
}

func TestLowPrioritiesAreShedFirstAndHighOnesLast(t *testing.T) {
	t.Parallel()
	g, _ := narrowWeb(t, "{limit: 4}")
	busy, c := g.client(t, "h2", common().web), g.client(t, "h2", common().web)
	for busyNow, step := range []struct{ low, normal, high int }{
		{200, 200, 200}, {200, 200, 200}, {200, 200, 200}, {503, 200, 200}, {503, 503, 200}, {503, 503, 503}} {
		for path, want := range map[string]int{"/low/x": step.low, "/x": step.normal, "/high/x": step.high} {
			if got := c.get(path); got.status != want {
				t.Errorf("%d under way, GET %s: %d, want %d", busyNow, path, got.status, want)
			}
			g.waitUnderWay(t, "web", float64(busyNow))
		}
		if busyNow < 5 {
			g.occupy(t, busy, float64(busyNow))
		}
	}
	for priority, want := range map[string]float64{"low": 3, "normal": 2, "high": 1} {
		if got := g.metric(t, fmt.Sprintf("tollgate_upstream_shed_total{backend=\"web\",priority=%q}", priority)); got != want {
			t.Errorf("%v of priority %s shed, want %v", got, priority, want)
		}
	}
}

func TestStreamsAndTunnelsHoldNoPlaceOnceTheyAreAnswered(t *testing.T) {
	t.Parallel()
	g, _ := narrowWeb(t, "{limit: 1}")
	c := g.client(t, "h1", common().web)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 5 {
		answer, err := c.Do(request("GET", "/stream?n=1000&gap=1h", "").WithContext(ctx))
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatal(answer, err)
		}
		defer func() { _ = answer.Body.Close() }()
	}
	ws, err := g.websocket(t)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	if err := websocket.Message.Send(ws, "hello"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, c.get("/x"), http.StatusOK)
	if got := g.underWay(t, "web"); got != 0 {
		t.Errorf("%v calls under way, want none", got)
	}
}

func TestABidiCallHoldsNoPlaceOnceItIsAnswered(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route(`grpc: "user.*/*"`, "backend: users")},
		backends: []string{narrow(h2("users", users.Address), "{limit: 1}")}})
	conn := g.rpc(t, common().web)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 3 {
		stream := openStream(t, ctx, conn, chat)
		send(t, stream, "hello")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, invoke(t, conn, getUser), codes.OK)
}

func TestASlowUploadHoldsItsPlaceForASecondOnly(t *testing.T) {
	t.Parallel()
	g, _ := narrowWeb(t, "{limit: 1}")
	c := g.client(t, "h1", common().web)
	body, feed := io.Pipe()
	answered := make(chan reply, 1)
	upload := must(http.NewRequest("POST", "https://gateway.test/sink", body))
	go func() { answered <- c.do(upload) }()
	g.waitUnderWay(t, "web", 1)
	wantRefusal(t, c.get("/x"), http.StatusServiceUnavailable, "overloaded")
	waitFor(t, "the others to pass", patience, func() bool { return c.get("/x").status == http.StatusOK })
	// Once it is whole it counts again, and is not refused after all.
	_, _ = io.WriteString(feed, "12345")
	_ = feed.Close()
	if got := <-answered; got.status != http.StatusOK || got.body != "5" {
		t.Errorf("upload: %+v", got)
	}
	g.waitUnderWay(t, "web", 0)
}

// What ends a call in any other way gives its place back, too.
func TestEveryPlaceIsGivenBack(t *testing.T) {
	t.Parallel()
	g, web := narrowWeb(t, "{limit: 1}")
	c := g.client(t, "h1", common().web)
	for _, path := range []string{"/close", "/status/503", "/status/204", "/cut", "/hints", "/status/404", "/trailers"} {
		if got := c.get(path); got.status == http.StatusServiceUnavailable && path != "/status/503" {
			t.Errorf("GET %s: %d %s", path, got.status, got.body)
		}
		g.waitUnderWay(t, "web", 0)
	}
	web.Stop()
	for range 3 {
		if got := c.get("/x"); got.problem("reason") == "overloaded" {
			t.Error("a backend that is gone is told as overloaded")
		}
	}
	g.waitUnderWay(t, "web", 0)
}

func TestAReloadKeepsThePlacesAndTheLimit(t *testing.T) {
	t.Parallel()
	g, _ := narrowWeb(t, "{limit: 2}")
	busy, c := g.client(t, "h2", common().web), g.client(t, "h1", common().web)
	leave := g.occupy(t, busy, 0)
	g.occupy(t, busy, 1)
	g.reload(t)
	wantRefusal(t, c.get("/x"), http.StatusServiceUnavailable, "overloaded")
	g.setup.backends[0] = strings.Replace(g.setup.backends[0], "{limit: 2}", "{limit: 1}", 1)
	writeFile(t, g.dir, "tollgate.yaml", []byte(g.setup.yaml(g.address, g.admin)))
	g.reload(t)
	waitFor(t, "the new limit", patience, func() bool { return g.limitOf(t, "web") == 1 })
	wantStatus(t, c.get("/x"), http.StatusOK) // those before it hold places of the limit that was
	leave()
	g.waitUnderWay(t, "web", 1)
}

// overload asks for /served by the clock, so many times as fast as it is answered, and returns how long the answers
// of the last part took, by status.
func overload(c *client, times int, last, total time.Duration) map[int][]time.Duration {
	every := backend.ServedTime / backend.Desks / time.Duration(times)
	took := map[int][]time.Duration{}
	var mutex sync.Mutex
	var group sync.WaitGroup
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < total; {
		<-ticker.C
		counts := time.Since(began) >= total-last
		group.Go(func() {
			asked := time.Now()
			got := c.get("/served")
			mutex.Lock()
			defer mutex.Unlock()
			if counts {
				took[got.status] = append(took[got.status], time.Since(asked))
			}
		})
	}
	group.Wait()
	return took
}

func TestTheLimitFollowsWhatTheBackendCanDo(t *testing.T) { // alone: others would be the load
	g, _ := narrowWeb(t, "{min: 1}")
	c := g.client(t, "h2", common().web)
	const last = 2 * time.Second
	// An instrumented gateway has no time for more: it would be the slow one itself.
	times := max(2, int(5/slowness()))
	took := overload(c, times, last, 7*time.Second)
	answered := took[http.StatusOK]
	slices.Sort(answered)
	capacity := int(last / backend.ServedTime * backend.Desks)
	// A busy machine asks for less, and at times for nothing.
	offered := 0
	for _, some := range took {
		offered += len(some)
	}
	if len(answered) < min(capacity, offered)*6/10 {
		t.Errorf("%d answers of %d, the backend can give %d", len(answered), offered, capacity)
	}
	if len(answered) > 0 {
		if median := answered[len(answered)/2]; median > 3*slow(backend.ServedTime) {
			t.Errorf("half of the answers took longer than %v, unloaded it is %v", median, backend.ServedTime)
		}
	}
	if shed := len(took[http.StatusServiceUnavailable]); shed < (offered-capacity)/2 {
		t.Errorf("only %d calls were shed of %d, the backend can give %d", shed, offered, capacity)
	}
	limit := g.limitOf(t, "web")
	if limit < 2 || limit > 5*backend.Desks {
		t.Errorf("the limit is %v, the backend does %d at a time", limit, backend.Desks)
	}
	g.reload(t)
	if after := g.limitOf(t, "web"); after != limit {
		t.Errorf("the limit was %v, after a reload it is %v", limit, after)
	}
}

func TestLongStreamsDoNotLookLikeASlowBackend(t *testing.T) {
	t.Parallel()
	g, _ := narrowWeb(t, "{}")
	before := g.limitOf(t, "web")
	c := g.client(t, "h2", common().web)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 60 { // twice what the limit begins with
		answer, err := c.Do(request("GET", "/stream?n=1000&gap=1h", "").WithContext(ctx))
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %v, %v", i, answer, err)
		}
		defer func() { _ = answer.Body.Close() }()
		wantStatus(t, c.get("/x"), http.StatusOK)
	}
	if after := g.limitOf(t, "web"); after < before {
		t.Errorf("the limit was %v and is %v", before, after)
	}
}
