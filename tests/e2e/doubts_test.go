package e2e

import (
	"strings"
	"testing"
)

// The first mistake of whoever comes from a gateway that asks for `http2_protocol_options`: it loads, and no call succeeds.
func TestGRPCRoutesToBackendsOfHTTP1AreDoubted(t *testing.T) {
	t.Parallel()
	const doubt = "gRPC calls go to a backend that is spoken to in HTTP/1.1"
	for name, row := range map[string]struct {
		route, other string
		keys         []string
	}{
		"one backend":       {route(`grpc: "user.Users/*"`, "backend: one"), "", []string{"listeners[0].routes[0].backend"}},
		"one of two":        {route(`grpc: "*"`, "backends: [{name: two, weight: 1}, {name: one, weight: 1}]"), "", []string{"listeners[0].routes[0].backends[1].name"}},
		"both of two":       {route(`grpc: "*"`, "backends: [{name: one, weight: 1}, {name: third, weight: 1}]"), http1("third", "127.0.0.1:3"), []string{"listeners[0].routes[0].backends[0].name", "listeners[0].routes[0].backends[1].name"}},
		"a server of h2":    {route(`grpc: "*"`, "backend: two"), "", nil},
		"a path":            {route("path: /0", "backend: one"), "", nil},
		"the gateway alone": {route(`grpc: "*"`, "respond: {status: 503}"), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup{routes: []string{row.route, route("path: /1", "backend: one"), route("path: /2", "backend: two")},
				backends: []string{http1("one", "127.0.0.1:1"), h2("two", "127.0.0.1:2")}}
			if row.other != "" {
				s.backends = append(s.backends, row.other)
			}
			g := start(t, s)
			output, code := tollgate(t, "check", "--config", g.dir+"/tollgate.yaml")
			if code != 0 || strings.Count(output, doubt) != len(row.keys) || strings.Count(output, ": warning: ") != len(row.keys) {
				t.Errorf("check: exit %d: %s", code, output)
			}
			told := func(times int) bool { return strings.Count(g.stderr.String(), doubt) == times }
			waitFor(t, "the start to tell", patience, func() bool { return told(len(row.keys)) })
			g.reload(t)
			waitFor(t, "the reload to tell", patience, func() bool { return told(2 * len(row.keys)) })
			for _, key := range row.keys {
				if !strings.Contains(output, key+": ") || !strings.Contains(g.stderr.String(), "key="+key) {
					t.Errorf("%s is not named: %s", key, output)
				}
			}
		})
	}
}
