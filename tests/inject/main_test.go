// Package inject runs the gateway with faults on order (program/inject.c): writes that take one byte or none, sockets that
// cannot be had, disks that refuse, memory that is not there. Clients must see every byte in its place or an honest
// end, and the gateway must go on.
package inject

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// The program stands beside the one under test: build/inject/tollgate, build/asan/inject/tollgate.
func TestMain(m *testing.M) {
	flag.Parse()
	program := filepath.Join(filepath.Dir(harness.Binary()), "inject", "tollgate")
	if _, err := os.Stat(program); err != nil {
		fmt.Fprintln(os.Stderr, "inject: the program under test is missing, make inject:", err)
		os.Exit(2)
	}
	_ = os.Setenv("TOLLGATE", program)
	os.Exit(m.Run())
}

var everything = []string{
	harness.Route(`grpc: "*"`, "backend: rpc"),
	harness.Route("path: /h2/*", "backend: h2"),
	harness.Route("path: /*", "backend: h1"),
}

// A town is a gateway with faults, and good backends of every kind.
type town struct {
	*harness.Gateway
	h1, h2 *backend.HTTP
	rpc    *backend.GRPC
}

func start(t *testing.T, faults string, listener ...string) *town {
	t.Helper()
	h1 := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(h1.Stop)
	h2 := harness.Must(backend.StartHTTP("127.0.0.1:0", true))
	t.Cleanup(h2.Stop)
	rpc := harness.Must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(rpc.Stop)
	t.Setenv("TOLLGATE_INJECT", faults)
	gateway := harness.Start(t, harness.Setup{Listener: listener, Routes: everything,
		Top: []string{"access_log: {path: access.jsonl}"},
		Backends: []string{harness.HTTP1("h1", h1.Address), harness.H2("h2", h2.Address),
			harness.H2("rpc", rpc.Address)}})
	return &town{gateway, h1, h2, rpc}
}

var told = regexp.MustCompile(`inject: (\S+ \S+) struck (\d+) of`)

// end drains the gateway, and sees that it ended well and that every fault really struck.
func (town *town) end(t *testing.T) {
	t.Helper()
	town.Signal(syscall.SIGTERM)
	if code := town.Exit(15 * time.Second); code != 0 {
		t.Errorf("exit status %d:\n%s", code, town.Said())
	}
	reports := told.FindAllStringSubmatch(town.Said(), -1)
	if len(reports) == 0 {
		t.Errorf("no word of the faults:\n%s", town.Said())
	}
	for _, report := range reports {
		if struck := harness.Must(strconv.Atoi(report[2])); struck == 0 {
			t.Errorf("%s never struck", report[1])
		}
	}
}
