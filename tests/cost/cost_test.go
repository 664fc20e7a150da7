// Package cost counts what one request costs the gateway: instructions and allocations under callgrind, system calls
// under strace. It fails where that is more than the committed figure. REGENERATE=1 writes the figures anew.
package cost

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// With a gateway under callgrind, on a machine that other tests keep busy.
const patience = 2 * time.Minute

// A clientOf opens a connection, and makes what sends one request on it.
type clientOf func(t *testing.T, g *harness.Gateway) func() error

// A load is what a gateway is measured with.
type load struct {
	name   string
	setup  harness.Setup
	client clientOf
	beside func(ctx context.Context, t *testing.T, g *harness.Gateway) // what is under way meanwhile, nil: nothing
}

// run starts a gateway under the command, has so many clients make so many requests between them, and ends it.
func run(t *testing.T, one load, under []string, clients, count int) {
	t.Helper()
	setup := one.setup
	setup.Under = under
	// What is folded depends on how fast requests come.
	setup.Top = append(setup.Top, "workers: 1", "audit: {path: audit.jsonl, fold_after: 1000000}")
	g := harness.Start(t, setup)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if one.beside != nil {
		one.beside(ctx, t, g)
	}
	requests := make([]func() error, clients)
	for i := range requests {
		requests[i] = one.client(t, g)
	}
	failed := make(chan error, clients)
	var all sync.WaitGroup
	for _, request := range requests {
		all.Go(func() {
			for range count / clients {
				if err := request(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	cancel()
	ended(t, g)
}

func get(want int) clientOf {
	return func(t *testing.T, g *harness.Gateway) func() error {
		client := g.Client(t, "h1")
		harness.Get(client, "/x")
		return func() error {
			if got := harness.Get(client, "/x"); got.Status != want {
				return fmt.Errorf("got %+v, want %d", got, want)
			}
			return nil
		}
	}
}

func call(want codes.Code) clientOf {
	return func(t *testing.T, g *harness.Gateway) func() error {
		conn := g.GRPC(t)
		login := func() error {
			_, err := backend.Invoke(context.Background(), conn, "/user.UserService/Login", []byte("who"))
			return err
		}
		_ = login()
		return func() error {
			if err := login(); status.Code(err) != want {
				return fmt.Errorf("got %v, want %v", err, want)
			}
			return nil
		}
	}
}

// busy has calls that hang hold a connection to the backend each, and all came after the one that has room: whoever
// looks for that one must not pass by them.
func busy(web *backend.HTTP) func(context.Context, *testing.T, *harness.Gateway) {
	return func(ctx context.Context, t *testing.T, g *harness.Gateway) {
		body, end := io.Pipe()
		first := make(chan harness.Reply, 1)
		seen := func(what string, count int) func() {
			want := web.Journal.Count(what) + count
			return func() {
				harness.WaitFor(t, what, patience, func() bool { return web.Journal.Count(what) >= want })
			}
		}
		patient := func(protocol string) *http.Client {
			client := g.Client(t, protocol)
			client.Timeout = 0
			return client
		}
		begun, held := seen("POST /echo", 1), seen("GET /sleep", 270)
		go func() {
			first <- harness.Collect(patient("h1").Post("https://gateway.test/echo", "text/plain", body))
		}()
		begun()
		for range 3 {
			client := patient("h2")
			harness.Get(client, "/x") // or every one of the 90 brings a handshake of its own
			for range 90 {
				go func() {
					request := harness.Must(http.NewRequestWithContext(ctx, "GET", "https://gateway.test/sleep?for=1h", nil))
					harness.Collect(client.Do(request))
				}()
			}
		}
		held()
		_ = end.Close()
		if got := <-first; got.Status != http.StatusOK {
			t.Errorf("the one with room: %+v", got)
		}
	}
}

func loads(t *testing.T) []load {
	t.Helper()
	web := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(web.Stop)
	rpc := harness.Must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(rpc.Stop)
	const open, shut = "{rate: 1000000/s, burst: 1000000, per: [identity]}", "{rate: 1/h, burst: 1, per: [identity]}"
	unhurried := func(backend string) string { return strings.TrimSuffix(backend, "}") + ", connect_timeout: 2m}" }
	setup := func(limit string) harness.Setup {
		to := func(backend string) string { return fmt.Sprintf("backend: %s, rate_limits: [%s]", backend, limit) }
		return harness.Setup{
			// Under callgrind a turn of the loop takes seconds where many connections come at once.
			Listener: []string{"timeouts: {handshake: 2m, request_headers: 2m, stream_idle: 1h, idle: 1h}"},
			Routes:   []string{harness.Route("grpc: user.UserService/*", to("rpc")), harness.Route("path: /*", to("web"))},
			Backends: []string{unhurried(harness.HTTP1("web", web.Address)), unhurried(harness.H2("rpc", rpc.Address))}}
	}
	return []load{
		{"HTTP/1.1, proxied", setup(open), get(http.StatusOK), nil},
		{"HTTP/1.1, proxied beside 270 busy connections", setup(open), get(http.StatusOK), busy(web)},
		{"HTTP/1.1, refused", setup(shut), get(http.StatusTooManyRequests), nil},
		{"gRPC, proxied", setup(open), call(codes.OK), nil},
		{"gRPC, refused", setup(shut), call(codes.ResourceExhausted), nil},
	}
}

func TestARequestCostsNoMoreThanItDid(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Logf("the figures are of amd64, this is %s: nothing to compare", runtime.GOARCH)
		return
	}
	// A peer with one processor writes an answer, or a request, in one piece; else it races its own writer, and how often
	// the gateway must read is chance.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	found := table{compiler(t), map[string]int{}, map[string]split{}, map[string]split{}, map[string]split{}}
	for _, one := range loads(t) {
		t.Run(one.name, func(t *testing.T) {
			less, more := counted(t, few, one), counted(t, many, one)
			found.Costs[one.name] = (more.instructions - less.instructions) / (many - few)
			found.Allocations[one.name] = perRequest(less.allocations, more.allocations, many-few)
			found.Turns[one.name] = perRequest(asked(t, few, 1, one), asked(t, many, 1, one), many-few)
			found.Crowd[one.name] = perRequest(asked(t, brief, flight, one), asked(t, long, flight, one), long-brief)
		})
	}
	compare(t, found)
}
