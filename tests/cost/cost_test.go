// Package cost counts the instructions that one request costs the gateway (callgrind), and fails past five per cent more
// than the committed figure. Counted are the program and the HTTP/2 library: how many a system call, the memory
// functions or the cryptography take differs by processor. REGENERATE=1 writes the figures anew.
package cost

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

const (
	few, many = 200, 1200
	tolerance = 1.05
	figures   = "figures.json"
	// Patience with a gateway under callgrind on a machine that other tests keep busy.
	callgrind = 2 * time.Minute
)

// A table belongs to a compiler, which is half of what is measured.
type table struct {
	Compiler string         `json:"compiler"`
	Costs    map[string]int `json:"instructions"`
}

var counted = regexp.MustCompile(`/(tollgate|libnghttp2\.so[.0-9]*)$`)

// spent adds up what the counted objects did themselves.
func spent(t *testing.T, path string) (sum int) {
	t.Helper()
	file := harness.Must(os.Open(path))
	defer func() { _ = file.Close() }()
	names, wanted, called := map[string]string{}, false, false
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "ob="), strings.HasPrefix(line, "cob="):
			_, text, _ := strings.Cut(line, "=")
			number, name, named := strings.Cut(text, " ")
			if named {
				names[number] = name
			}
			if line[0] == 'o' {
				wanted = counted.MatchString(names[number])
			}
		case strings.HasPrefix(line, "calls="):
			called = true // the next line is what the called one did
		case line != "" && strings.ContainsRune("0123456789+-*", rune(line[0])):
			if words := strings.Fields(line); wanted && !called && len(words) == 2 {
				sum += harness.Must(strconv.Atoi(words[1]))
			}
			called = false
		}
	}
	if sum == 0 {
		t.Fatalf("nothing counted in %s", path)
	}
	return sum
}

// A clientOf makes what sends one request; whatever it holds beside ends with the context.
type clientOf func(ctx context.Context, g *harness.Gateway) func() error

// cost runs a gateway under callgrind for so many requests.
func cost(t *testing.T, count int, setup harness.Setup, client clientOf) int {
	t.Helper()
	out := filepath.Join(t.TempDir(), "callgrind.out")
	setup.Under = []string{"valgrind", "--tool=callgrind", "--callgrind-out-file=" + out}
	// What is folded depends on how fast requests come.
	setup.Top = append(setup.Top, "workers: 1", "audit: {path: audit.jsonl, fold_after: 1000000}")
	g := harness.Start(t, setup)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request := client(ctx, g)
	for range count {
		if err := request(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	g.Signal(syscall.SIGTERM)
	if code := g.Exit(callgrind); code != 0 {
		t.Fatalf("exit status %d:\n%s", code, g.Said())
	}
	return spent(t, out)
}

func TestARequestCostsNoMoreThanItDid(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Logf("the figures are of amd64, this is %s: nothing to compare", runtime.GOARCH)
		return
	}
	web := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(web.Stop)
	rpc := harness.Must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(rpc.Stop)
	const open, shut = "rate_limits: [{rate: 1000000/s, burst: 1000000, per: [identity]}]", "rate_limits: [{rate: 1/h, burst: 1, per: [identity]}]"
	patient := func(backend string) string { return strings.TrimSuffix(backend, "}") + ", connect_timeout: 2m}" }
	setup := func(limit string) harness.Setup {
		return harness.Setup{
			// Under callgrind a turn of the loop takes seconds where many connections come at once.
			Listener: []string{"timeouts: {handshake: 2m, request_headers: 2m, stream_idle: 1h, idle: 1h}"},
			Routes:   []string{harness.Route("grpc: user.UserService/*", "backend: rpc, "+limit), harness.Route("path: /*", "backend: web, "+limit)},
			Backends: []string{patient(harness.HTTP1("web", web.Address)), patient(harness.H2("rpc", rpc.Address))}}
	}
	get := func(want int) clientOf {
		return func(_ context.Context, g *harness.Gateway) func() error {
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
	// Calls that hang hold a connection to the backend each, and all came after the one that has room: whoever looks for
	// that one must not pass by them.
	busy := func(ctx context.Context, g *harness.Gateway) func() error {
		body, end := io.Pipe()
		first := make(chan harness.Reply, 1)
		seen := func(what string, count int) func() {
			want := web.Journal.Count(what) + count
			return func() {
				harness.WaitFor(t, what, callgrind, func() bool { return web.Journal.Count(what) >= want })
			}
		}
		unhurried := func(protocol string) *http.Client {
			client := g.Client(t, protocol)
			client.Timeout = 0
			return client
		}
		begun, held := seen("POST /echo", 1), seen("GET /sleep", 270)
		go func() {
			first <- harness.Collect(unhurried("h1").Post("https://gateway.test/echo", "text/plain", body))
		}()
		begun()
		for range 3 {
			client := unhurried("h2")
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
		return get(http.StatusOK)(ctx, g)
	}
	call := func(want codes.Code) clientOf {
		return func(_ context.Context, g *harness.Gateway) func() error {
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
	found := table{compiler(t), map[string]int{}}
	for _, one := range []struct {
		name   string
		setup  harness.Setup
		client clientOf
	}{
		{"HTTP/1.1, proxied", setup(open), get(http.StatusOK)},
		{"HTTP/1.1, proxied beside 270 busy connections", setup(open), busy},
		{"HTTP/1.1, refused", setup(shut), get(http.StatusTooManyRequests)},
		{"gRPC, proxied", setup(open), call(codes.OK)},
		{"gRPC, refused", setup(shut), call(codes.ResourceExhausted)},
	} {
		t.Run(one.name, func(t *testing.T) {
			base := cost(t, few, one.setup, one.client)
			found.Costs[one.name] = (cost(t, many, one.setup, one.client) - base) / (many - few)
		})
	}
	compare(t, found)
}

func compiler(t *testing.T) string {
	t.Helper()
	version := harness.Must(exec.Command("gcc", "-dumpversion").Output())
	return "gcc " + strings.TrimSpace(string(version))
}

func compare(t *testing.T, found table) {
	t.Helper()
	if os.Getenv("REGENERATE") != "" {
		text := harness.Must(json.MarshalIndent(found, "", "  "))
		if err := os.WriteFile(figures, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var known table
	if err := json.Unmarshal(harness.Must(os.ReadFile(figures)), &known); err != nil {
		t.Fatal(err)
	}
	if known.Compiler != found.Compiler {
		t.Logf("the figures are of %s, this is %s: nothing to compare", known.Compiler, found.Compiler)
		return
	}
	for name, was := range known.Costs {
		is := found.Costs[name]
		t.Logf("%s: %d instructions, committed %d", name, is, was)
		if float64(is) > tolerance*float64(was) {
			t.Errorf("%s costs %d instructions, %.1f %% more than the committed %d", name, is, 100*float64(is-was)/float64(was), was)
		}
		if is == 0 {
			t.Errorf("%s was not measured", name)
		}
	}
}
