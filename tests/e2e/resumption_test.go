package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
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

// Sessions that clients keep sealed go from gateway to gateway of a fleet that shares keys, bundle and lists; each asks
// its own policy.
func TestSealedSessionsGoThroughTheFleet(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte("0123456789abcdef"), 5)
	fleet := func(s setup) *gateway {
		s.tls = append(s.tls, "session_ticket_keys: [ticket.key, former.key]")
		s.files = map[string][]byte{"ticket.key": key, "former.key": bytes.Repeat([]byte{7}, 80)}
		if s.trust == nil {
			s.trust = pemCertificates(common().root.cert.Raw)
		}
		return answering(t, s)
	}
	first, second := fleet(setup{}), fleet(setup{})
	strict := fleet(setup{patterns: []string{"spiffe://cluster.local/ns/other/*"}})
	wider := fleet(setup{trust: pemCertificates(common().root.cert.Raw, newRoot("another").cert.Raw)})
	foreign := fleet(setup{trust: pemCertificates(newRoot("foreign").cert.Raw)})
	revoking := fleet(setup{crl: common().root.crl(common().web)})
	cache := tls.NewLRUClientSessionCache(1)
	for i, step := range []struct {
		name    string
		g       *gateway
		resumed bool
		status  int
	}{
		{"the first", first, false, 200}, {"the first again", first, true, 200}, {"the second", second, true, 200},
		{"one that does not let it in", strict, true, 403}, {"back at the second", second, true, 200},
		{"one with a wider bundle", wider, false, 200}, {"the second, with the wider one's", second, false, 200},
		{"one that trusts others", foreign, false, 403}, {"the first, which it still has one for", first, true, 200},
		{"one that revoked it", revoking, false, 403},
	} {
		config := step.g.trusting(common().web, "http/1.1")
		config.ClientSessionCache = cache
		got, resumed := step.g.comeback(t, config, "/x")
		if got.err != nil || got.status != step.status || resumed != step.resumed {
			t.Errorf("%d, %s: status %d (%v), resumed %v; want %d, %v", i, step.name, got.status, got.err, resumed, step.status, step.resumed)
		}
	}
	strict.waitForAudit(t, "the refusal of a resumed session", func(r *auditRecord) bool {
		return r.Reason == "identity_not_allowed" && r.TLS.Resumed && r.Principal == webID
	})
}

func TestSealedSessionsOutliveReloadsAndUpgradesButNotTheirKey(t *testing.T) {
	t.Parallel()
	g := replaceable(t, setup{routes: []string{marked("path: /*", "ok")}, tls: []string{"session_ticket_keys: [ticket.key]"},
		files: map[string][]byte{"ticket.key": bytes.Repeat([]byte{1}, 80)}})
	config := g.trusting(common().web, "http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	come := func(name string, want bool) {
		t.Helper()
		got, resumed := g.comeback(t, config, "/x")
		if got.status != http.StatusOK || resumed != want {
			t.Errorf("%s: status %d (%v), resumed %v", name, got.status, got.err, resumed)
		}
	}
	come("first", false)
	come("again", true)
	g.reload(t)
	come("after a reload", true)
	_ = g.upgrade(t, g.command.Process.Pid)
	come("after an upgrade", true)
	writeFile(t, g.dir, "ticket.key", bytes.Repeat([]byte{2}, 80))
	waitFor(t, "the new key to be taken up", renewal, func() bool {
		return strings.Contains(g.allSaid(), "replaced certificates are in force")
	})
	come("after its key was replaced", false)
	come("and again", true)
}

// A ticket is nothing a client waits for: alone it would cost a system call and a packet.
func TestATicketGoesWithTheFirstAnswer(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	config := g.trusting(common().web, "http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	raw := g.dialTCP(t)
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	nothing := func(when string) {
		_ = raw.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := raw.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v", when, n, err)
		}
		_ = raw.SetReadDeadline(time.Time{})
	}
	nothing("before any request")
	w := &wire{conn, t, newReader(conn)}
	w.say("GET /sleep?for=4s HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	nothing("before the answer")
	wantStatus(t, w.hear("GET"), http.StatusOK)
	_ = conn.Close()
	if got, resumed := g.comeback(t, config, "/x"); got.status != http.StatusOK || !resumed {
		t.Errorf("status %d (%v), resumed %v", got.status, got.err, resumed)
	}
}

func TestWhoAsksNothingHasTheTicketWithTheGoodbye(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	config := g.trusting(common().web, "http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	conn, err := g.dialTLS(t, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if got, resumed := g.comeback(t, config, "/x"); got.status != http.StatusOK || !resumed {
		t.Errorf("the ticket did not come with it: status %d (%v), resumed %v", got.status, got.err, resumed)
	}
}
