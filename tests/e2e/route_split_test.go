package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// `backends` of a route: requests are shared out by weight, and each stays where it went.

const shareRequests = 1000

// ask makes requests, several at a time, and counts their statuses.
func (c *client) ask(n int, path string) map[int]int {
	var mutex sync.Mutex
	var all sync.WaitGroup
	found := map[int]int{}
	for i := range 10 {
		all.Go(func() {
			for range (n + 9 - i) / 10 {
				got := c.get(path)
				mutex.Lock()
				found[got.status]++
				mutex.Unlock()
			}
		})
	}
	all.Wait()
	return found
}

// wantAbout: six standard deviations of 1000 draws are 57 at 0.1, 95 at 0.5.
func wantAbout(t *testing.T, what string, got, want, within int) {
	t.Helper()
	if got < want-within || got > want+within {
		t.Errorf("%s: %d of %d, want about %d", what, got, shareRequests, want)
	}
}

func TestRequestsAreSharedOutByWeight(t *testing.T) {
	t.Parallel()
	old, canary, idle := httpBackend(t), h2cBackend(t), httpBackend(t)
	g := start(t, setup{top: []string{accessLog},
		routes: []string{route("path: /*",
			"backends: [{name: idle, weight: 0}, {name: old, weight: 900}, {name: canary, weight: 100}]")},
		backends: []string{http1("old", old.Address), h2("canary", canary.Address), http1("idle", idle.Address)}})
	for _, protocol := range []string{"h2", "h1"} {
		old.Journal.Reset()
		canary.Journal.Reset()
		if found := g.client(t, protocol, common().web).ask(shareRequests, "/x"); found[200] != shareRequests {
			t.Fatalf("answers %v", found)
		}
		wantAbout(t, protocol+" to canary", canary.Journal.Count(""), 100, 57)
		if sum := old.Journal.Count("") + canary.Journal.Count(""); sum != shareRequests {
			t.Errorf("%d requests arrived", sum)
		}
	}
	if n := idle.Journal.Count(""); n != 0 {
		t.Errorf("a backend of weight 0 got %d requests", n)
	}
	taken := map[string]int{}
	waitFor(t, "all access lines", patience, func() bool {
		clear(taken)
		lines := accessLines(t, filepath.Join(g.dir, "access.jsonl"))
		for _, line := range lines {
			taken[line.text("backend")]++
		}
		return len(lines) == 2*shareRequests
	})
	_, metrics := g.adminGet("/metrics")
	for name, address := range map[string]string{"old": old.Address, "canary": canary.Address} {
		counted := fmt.Sprintf(`tollgate_upstream_requests_total{backend=%q,endpoint=%q,code="200"} %d`, name, address, taken[name])
		if !strings.Contains(metrics, counted) {
			t.Errorf("access lines of %s: %d; metrics lack %s", name, taken[name], counted)
		}
	}
	if taken["canary"]-canary.Journal.Count("") < 100-57 { // those over HTTP/2, whose journal is gone
		t.Errorf("access lines %v", taken)
	}
}

// A request whose backend is down fails there: another attempt is not another draw.
func TestFurtherAttemptsStayWithTheBackend(t *testing.T) {
	t.Parallel()
	alive := httpBackend(t)
	g := start(t, setup{top: []string{accessLog},
		routes:   []string{route("path: /*", "backends: [{name: dead, weight: 1}, {name: alive, weight: 1}]")},
		backends: []string{http1("dead", freeAddress(t), freeAddress(t)), http1("alive", alive.Address)}})
	found := g.client(t, "h2", common().web).ask(shareRequests, "/x")
	if found[200] != alive.Journal.Count("") || found[200]+found[503] != shareRequests {
		t.Fatalf("answers %v, %d calls", found, alive.Journal.Count(""))
	}
	wantAbout(t, "503", found[503], 500, 95)
	waitFor(t, "all access lines", patience, func() bool {
		return len(accessLines(t, filepath.Join(g.dir, "access.jsonl"))) == shareRequests
	})
	for _, line := range accessLines(t, filepath.Join(g.dir, "access.jsonl")) {
		want := map[string][2]float64{"dead": {503, 2}, "alive": {200, 0}}[line.text("backend")]
		if line.number("status") != want[0] || line.number("retries") != want[1] {
			t.Fatalf("line %v", line.fields)
		}
	}
}

func TestGRPCCallsAreSharedOutWhole(t *testing.T) {
	t.Parallel()
	old, canary := grpcBackend(t), grpcBackend(t)
	g := start(t, setup{
		routes:   []string{route("grpc: user.UserService/*", "backends: [{name: old, weight: 1}, {name: canary, weight: 1}]")},
		backends: []string{h2("old", old.Address), h2("canary", canary.Address)}})
	conn := g.rpc(t, common().web)
	const calls = 40
	for range calls {
		stream, err := backend.Open(within(t, patience), conn, chat)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"a", "b", "c"} {
			if err := stream.Send([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if got, err := stream.Receive(); err != nil || string(got) != text {
				t.Fatalf("%q, %v", got, err)
			}
		}
		_ = stream.CloseSend()
		_, _ = stream.Receive()
	}
	for _, back := range []*backend.GRPC{old, canary} {
		for _, call := range back.Journal.Calls("") {
			if call.Received != 3 || call.Code != codes.OK {
				t.Errorf("call %+v", call)
			}
		}
	}
	// That one gets none of 40 happens once in 10^12.
	if a, b := old.Journal.Count(""), canary.Journal.Count(""); a+b != calls || a == 0 || b == 0 {
		t.Errorf("%d and %d calls", a, b)
	}
}

func TestReloadChangesTheWeights(t *testing.T) {
	t.Parallel()
	old, canary := httpBackend(t), httpBackend(t)
	g := start(t, setup{
		routes:   []string{route("path: /*", "backends: [{name: old, weight: 1}, {name: canary, weight: 0}]")},
		backends: []string{http1("old", old.Address), http1("canary", canary.Address)}})
	c := g.client(t, "h2", common().web)
	c.ask(20, "/x")
	g.rewrite(t, "name: old, weight: 1", "name: old, weight: 0")
	g.rewrite(t, "name: canary, weight: 0", "name: canary, weight: 1")
	g.reload(t)
	c.ask(30, "/x")
	if a, b := old.Journal.Count(""), canary.Journal.Count(""); a != 20 || b != 30 {
		t.Errorf("%d and %d requests", a, b)
	}
	g.rewrite(t, "name: canary, weight: 1", "name: canary, weight: 0")
	if status, _ := g.post(t, "/reload"); status/100 == 2 {
		t.Error("weights of nothing were taken")
	}
	wantStatus(t, c.get("/x"), http.StatusOK)
}

func TestWebSocketsAreSharedOutToo(t *testing.T) {
	t.Parallel()
	a, b := httpBackend(t), httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /*", "upgrade: [websocket], backends: [{name: a, weight: 1}, {name: b, weight: 0}]")},
		backends: []string{http1("a", a.Address), http1("b", b.Address)}})
	ws, err := g.websocket(t)
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.Close()
	if a.Journal.Count("GET /ws") != 1 || b.Journal.Count("") != 0 {
		t.Errorf("calls %v, %v", a.Journal.Calls(""), b.Journal.Calls(""))
	}
}
