// Package faults runs the real gateway against everything around it that breaks: backends, names, disks, clocks,
// signals, its own threads, and its own sudden death.
package faults

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := os.Stat(harness.Binary()); err != nil {
		fmt.Fprintln(os.Stderr, "faults: the program under test is missing, build it or set TOLLGATE:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

const unary, chat = "/user.UserService/Login", "/user.UserService/Chat"

// accessLog is the line that turns it on.
const accessLog = "access_log: {path: access.jsonl}"

// everything leads to the one backend.
func everything(more string) []string {
	return []string{harness.Route("path: /*", "backend: web"+more)}
}

// scripted starts a raw backend.
func scripted(t *testing.T, script backend.Script) *backend.Scripted {
	t.Helper()
	back := harness.Must(backend.StartScripted("127.0.0.1:0", script))
	t.Cleanup(back.Stop)
	return back
}

// before starts a gateway in front of the raw backend, which is called "web" and speaks "http1" or "h2".
func before(t *testing.T, protocol string, back *backend.Scripted, route string, listener ...string) *harness.Gateway {
	t.Helper()
	line := harness.HTTP1("web", back.Address)
	if protocol == "h2" {
		line = harness.H2("web", back.Address)
	}
	return harness.Start(t, harness.Setup{Top: []string{accessLog}, Listener: listener, Routes: everything(route), Backends: []string{line}})
}

// respond is a route that the gateway answers itself.
var respond = []string{harness.Route("path: /*", `respond: {status: 200, body: "ok\n"}`)}

// An outcome is what a client saw of its call, in one word: a status, a gRPC code, or "broken".
type outcome string

func httpOutcome(got harness.Reply) outcome {
	if got.Err != nil {
		return "broken"
	}
	return outcome(fmt.Sprint(got.Status))
}

func grpcOutcome(err error) outcome { return outcome(status.Code(err).String()) }

// A caller makes one call, and a body goes with it where there can be one.
type caller struct {
	name string
	call func(t *testing.T, g *harness.Gateway, path string) outcome
	body bool
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	return ctx
}

// large is more than a head's packet and less than a window.
var large = strings.Repeat("0123456789abcdef", 3800)

func httpCaller(protocol, method string) caller {
	return caller{protocol + " " + method, func(t *testing.T, g *harness.Gateway, path string) outcome {
		if method == "GET" {
			return httpOutcome(harness.Get(g.Client(t, protocol), path))
		}
		return httpOutcome(harness.Ask(g.Client(t, protocol), method, path, large))
	}, method == "POST"}
}

func callUnary(t *testing.T, g *harness.Gateway, path string) outcome {
	_, err := backend.Invoke(within(t), g.GRPC(t), path, []byte(large))
	return grpcOutcome(err)
}

// callStream sends a message, and takes what comes until the end.
func callStream(t *testing.T, g *harness.Gateway, path string) outcome {
	stream, err := backend.Open(within(t), g.GRPC(t), path)
	if err != nil {
		return grpcOutcome(err)
	}
	_ = stream.Send([]byte(large)) // an error shows in Receive
	_ = stream.CloseSend()
	for {
		if _, err := stream.Receive(); err == io.EOF {
			return grpcOutcome(nil)
		} else if err != nil {
			return grpcOutcome(err)
		}
	}
}

var webCallers = []caller{httpCaller("h1", "GET"), httpCaller("h1", "POST"), httpCaller("h2", "GET"), httpCaller("h2", "POST")}

var grpcCallers = []caller{{"gRPC unary", callUnary, true}, {"gRPC stream", callStream, true}}

var unavailable = outcome(codes.Unavailable.String())

func (c caller) grpc() bool { return strings.HasPrefix(c.name, "gRPC") }

// good is what the caller sees when all is well.
func (c caller) good() outcome {
	if c.grpc() {
		return "OK"
	}
	return "200"
}

func (c caller) want(t *testing.T, g *harness.Gateway, path string, wants ...outcome) {
	t.Helper()
	if got := c.call(t, g, path); !slices.Contains(wants, got) {
		t.Errorf("%s of %s: %s, want %s", c.name, path, got, wants)
	}
}

// lineOf waits for the access log's line of a request to the path.
func lineOf(t *testing.T, g *harness.Gateway, path string) (line harness.Line) {
	t.Helper()
	harness.WaitFor(t, "the access line of "+path, 5*time.Second, func() bool {
		lines := harness.Read[harness.Line](t, g.Path("access.jsonl"))
		at := slices.IndexFunc(lines, func(l harness.Line) bool { return l.Path == path })
		if at >= 0 {
			line = lines[at]
		}
		return at >= 0
	})
	return line
}

// verified sees that the files hold one whole chain.
func verified(t *testing.T, paths ...string) {
	t.Helper()
	if output, code := harness.Tollgate(t, append([]string{"audit", "verify"}, paths...)...); code != 0 {
		t.Errorf("audit verify: exit %d: %s", code, output)
	}
}

// refusals counts the audit records for the reason, folded ones by their count.
func refusals(records []harness.Record, reason string) (count int) {
	for _, record := range records {
		if record.Reason == reason {
			count += max(1, record.Count)
		}
	}
	return count
}

// unharmed sees that the gateway serves a new client.
func unharmed(t *testing.T, g *harness.Gateway, path string) {
	t.Helper()
	for _, protocol := range []string{"h1", "h2"} {
		if got := harness.Get(g.Client(t, protocol), path); got.Err != nil || got.Status != http.StatusOK {
			t.Errorf("the next client over %s got %+v", protocol, got)
		}
	}
}

// needRoot skips a test where the machine does not let it make the fault.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
}
