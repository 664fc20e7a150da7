package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
)

// comeback asks once over a new connection that may take up the session of the one before.
func (g *gateway) comeback(t *testing.T, config *tls.Config, path string) (got reply, resumed bool) {
	t.Helper()
	conn, err := g.dialTLS(t, config)
	if err != nil {
		return reply{err: err}, false
	}
	defer func() { _ = conn.Close() }()
	w := &wire{conn, t, newReader(conn)}
	w.say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
	got = w.hear("GET")
	_, _ = io.Copy(io.Discard, w.reader) // session tickets come in their own time
	return got, conn.ConnectionState().DidResume
}

// A client that comes back is spared the certificates, by whichever worker it is met; what it may do is asked anew.
func TestAResumedSessionIsHeldToThePolicyAsAnyOther(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{routes: []string{
		route("path: /theirs", `backend: web, allow: ["spiffe://cluster.local/ns/other/*"]`),
		route("path: /seldom", "backend: web, rate_limits: [{rate: 1/h, burst: 1, per: [identity]}]"),
		marked("path: /mark", "old"),
		route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	config := g.trusting(common().web, "http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 12 {
		got, resumed := g.comeback(t, config, "/echo")
		wantStatus(t, got, http.StatusOK)
		if resumed != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, resumed)
		}
	}
	for _, step := range []struct {
		path   string
		status int
		reason string
	}{{"/theirs", 403, "route_not_allowed"}, {"/seldom", 200, ""}, {"/seldom", 429, "rate_limited"}} {
		got, resumed := g.comeback(t, config, step.path)
		wantStatus(t, got, step.status)
		if !resumed {
			t.Errorf("%s: not resumed", step.path)
		}
		if step.reason != "" {
			g.waitForAudit(t, step.reason, func(r *auditRecord) bool {
				return r.Reason == step.reason && r.TLS.Resumed && r.Principal == webID
			})
		}
	}

	g.rewrite(t, `body: "old"`, `body: "new"`)
	g.reload(t)
	waitFor(t, "the new configuration", patience, func() bool {
		got, _ := g.comeback(t, g.trusting(common().web, "http/1.1"), "/mark")
		return got.body == "new"
	})
	got, resumed := g.comeback(t, config, "/echo")
	wantStatus(t, got, http.StatusOK)
	if resumed {
		t.Error("a session outlived its configuration")
	}
}

func TestNoSessionForTLS12NorForTheRefused(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for name, try := range map[string]struct {
		cert    *tls.Certificate
		version uint16
		status  int
	}{
		"TLS 1.2":   {common().web, tls.VersionTLS12, 200},
		"nobody":    {nil, tls.VersionTLS13, 403},
		"untrusted": {newRoot("stranger").svid(webID), tls.VersionTLS13, 403},
	} {
		t.Run(name, func(t *testing.T) {
			config := g.trusting(try.cert, "http/1.1")
			config.MaxVersion = try.version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for range 3 {
				got, resumed := g.comeback(t, config, "/x")
				wantStatus(t, got, try.status)
				if resumed {
					t.Error("resumed")
				}
			}
		})
	}
}
