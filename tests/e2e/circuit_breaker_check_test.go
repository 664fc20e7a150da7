package e2e

import (
	"strings"
	"testing"
)

func TestCircuitBreakerIsChecked(t *testing.T) {
	t.Parallel()
	const at = "backends[0].circuit_breaker"
	wantBackendsRefused(t, map[string]string{
		"circuit_breaker: {}":                                         at + ".connections",
		"circuit_breaker: {pending: 1}":                               at + ".connections",
		"circuit_breaker: {connections: 0}":                           at + ".connections",
		"circuit_breaker: {connections: 1000001}":                     at + ".connections",
		"circuit_breaker: {connections: -1}":                          at + ".connections",
		"circuit_breaker: {connections: 1, pending: 1000001}":         at + ".pending",
		"circuit_breaker: {connections: 1, pending: -1}":              at + ".pending",
		"circuit_breaker: {connections: 1, pending_timeout: 0s}":      at + ".pending_timeout",
		"circuit_breaker: {connections: 1, pending_timeout: 999us}":   at + ".pending_timeout",
		"circuit_breaker: {connections: 1, pending_timeout: 301s}":    at + ".pending_timeout",
		"circuit_breaker: {connections: 1, requests: 1}":              at + ".requests",
		"circuit_breaker: {connections: 1, connections: 1}":           at + ".connections",
		"circuit_breaker: [1]":                                        at,
		"circuit_breaker: 1":                                          at,
		"circuit_breaker: {connections: 1}, circuit_breakers: {a: 1}": "backends[0].circuit_breakers",
	})
	for _, good := range []string{"connections: 1", "connections: 1000000, pending: 0, pending_timeout: 1ms", "connections: 1, pending: 1000000, pending_timeout: 5m"} {
		s := setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{(&inns{}).backend(good, "")}}
		s.backends[0] = strings.Replace(s.backends[0], "endpoints: []", "endpoints: ['127.0.0.1:1']", 1)
		s.backends[0] = strings.Replace(s.backends[0], "protocol: ,", "protocol: h2,", 1)
		if output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2")); code != 0 {
			t.Errorf("%s: exit %d: %s", good, code, output)
		}
	}
}
