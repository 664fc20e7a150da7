// Package hostile attacks the gateway: the public h2spec suite, ambiguous HTTP in both directions, floods, stalls, and
// running out of things. Every test has its own gateway.
package hostile

import (
	"flag"
	"fmt"
	"os"
	"syscall"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := os.Stat(harness.Binary()); err != nil {
		fmt.Fprintln(os.Stderr, "hostile: the program under test is missing, build it or set TOLLGATE:", err)
		os.Exit(2)
	}
	var limit syscall.Rlimit // thousands of connections at once, on both sides
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	os.Exit(m.Run())
}

// everything leads to the one backend.
var everything = []string{harness.Route("path: /*", "backend: web")}

// scripted starts a raw backend, and a gateway that sends everything there.
func scripted(t *testing.T, script backend.Script, listener ...string) (*harness.Gateway, *backend.Scripted) {
	t.Helper()
	back := harness.Must(backend.StartScripted("127.0.0.1:0", script))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Listener: listener, Routes: everything,
		Backends: []string{harness.HTTP1("web", back.Address)}})
	return g, back
}

// webBackend starts a good HTTP/1.1 backend.
func webBackend(t *testing.T) *backend.HTTP {
	t.Helper()
	back := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(back.Stop)
	return back
}

// web starts a good backend of the protocol, "h1" or "h2", and a gateway that sends everything there.
func web(t *testing.T, protocol string, listener ...string) (*harness.Gateway, *backend.HTTP) {
	t.Helper()
	back := harness.Must(backend.StartHTTP("127.0.0.1:0", protocol == "h2"))
	t.Cleanup(back.Stop)
	line := harness.HTTP1("web", back.Address)
	if protocol == "h2" {
		line = harness.H2("web", back.Address)
	}
	return harness.Start(t, harness.Setup{Listener: listener, Routes: everything, Backends: []string{line}}), back
}
