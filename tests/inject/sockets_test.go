package inject

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Whoever cannot be taken in waits in the queue, and is served as soon as he can be.
func TestAcceptRecoversByItself(t *testing.T) {
	for name, faults := range map[string]string{
		"no descriptors in the process": "accept4:EMFILE:2",
		"no descriptors in the system":  "accept4:ENFILE:2",
		"no memory":                     "accept4:ENOMEM:2",
		"an aborted connection":         "accept4:ECONNABORTED:2",
		"a signal":                      "accept4:EINTR:2",
		"one connection after another":  "accept4:EMFILE:1:8",
	} {
		t.Run(name, func(t *testing.T) {
			town := start(t, faults)
			for i := range 12 {
				if reply := harness.Get(town.Client(t, "h1"), "/"); reply.Status != http.StatusOK {
					t.Fatalf("client %d: %+v", i, reply)
				}
			}
			town.end(t)
		})
	}
}

// A backend that cannot even be dialled is 503, told to the access log; the next try may do.
func TestDialThatFailsAtOnceIs503(t *testing.T) {
	town := start(t, "uv_tcp_connect:EADDRNOTAVAIL:1")
	for _, path := range []string{"/h1/x", "/h2/x"} {
		for _, protocol := range []string{"h1", "h2"} {
			reply := harness.Get(town.Client(t, protocol), path)
			if reply.Status != http.StatusServiceUnavailable || !strings.Contains(reply.Body, "connect_failed") {
				t.Errorf("%s over %s: %+v", path, protocol, reply)
			}
		}
	}
	town.end(t)
	for _, line := range harness.Read[harness.Line](t, town.Path("access.jsonl")) {
		if line.Status != http.StatusServiceUnavailable || line.Cause != "connect_failed" {
			t.Errorf("the access log says %+v", line)
		}
	}
}

func TestDialIsTriedAgain(t *testing.T) {
	town := start(t, "uv_tcp_connect:ECONNREFUSED:2")
	for i := range 6 {
		reply := harness.Ask(town.Client(t, "h1"), "POST", "/h1/x", "body")
		if reply.Status != http.StatusOK {
			t.Errorf("request %d: %+v", i, reply)
		}
		town.h1.Wire.KillAll(false) // so that the next is dialled
	}
	town.end(t)
}

// A socket that libuv will not take costs its own connection, and at most the handshake's time.
func TestSocketThatCannotBeUsedCostsOnlyItself(t *testing.T) {
	for name, faults := range map[string]string{
		"it cannot be opened": "uv_tcp_open:ENOMEM:3:4:6",
		"it cannot be read":   "uv_read_start:ENOTCONN:3:4:6",
	} {
		t.Run(name, func(t *testing.T) {
			town := start(t, faults, "timeouts: {handshake: 500ms, stream_idle: 500ms, idle: 1s}")
			served := 0
			for range 12 {
				began := time.Now()
				if harness.Get(town.Client(t, "h1"), "/").Status == http.StatusOK {
					served++
				}
				if took := time.Since(began); took > harness.Slow(3*time.Second) {
					t.Errorf("a client waited %v", took)
				}
			}
			if served < 4 {
				t.Errorf("%d of 12 clients were served", served)
			}
			// The faults are over by now, and nothing is left of whom they struck.
			harness.WaitFor(t, "all connections to be gone", 20*time.Second, func() bool {
				_, metrics := town.Ask("GET", "/metrics")
				return strings.Contains(metrics, "tollgate_connections_active{listener=\"edge\"} 0\n")
			})
			town.end(t)
		})
	}
}
