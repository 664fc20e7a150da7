package e2e

import (
	"crypto/tls"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"tollgate/tests/backend"
)

// TLS towards backends over time: connections that are kept, files that are replaced, certificates that end.

// renewing is the TLS of a server whose certificate is whichever is in the pointer when somebody calls.
func renewing(cert *atomic.Pointer[tls.Certificate], config *tls.Config) *tls.Config {
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.Load(), nil }
	return config
}

func TestManyCallsShareAHandshake(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		web := httpsBackend(t, serverOf(theMesh().root.serving(uri(usersID)), alpn[protocol]))
		g := securely(t, setup{workers: 1}, protocol, allOf, web.Address)
		for _, down := range []string{"h1", "h2"} {
			c := g.client(t, down, common().web)
			for range 50 {
				wantStatus(t, c.get("/x"), http.StatusOK)
			}
		}
		if n := web.Wire.Accepted.Load(); n != 1 || g.handshakes(t, "web", web.Address, "ok") != 1 {
			t.Errorf("%s: %d connections for 100 calls", protocol, n)
		}
	}
}

// RFC 5280 (4.1.2.5) has a date for certificates that never end: one that no clock in nanoseconds reaches.
func TestServersWhoseCertificateNeverEndsAreKept(t *testing.T) {
	t.Parallel()
	for _, ends := range []time.Time{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, protocol := range []string{"http1", "h2"} {
			t.Run(fmt.Sprint(protocol, " until ", ends.Year()), func(t *testing.T) {
				t.Parallel()
				never := func(d *draft) { d.NotAfter = ends }
				root := newRoot("for ever", never)
				web := httpsBackend(t, serverOf(root.serving(uri(usersID), never), alpn[protocol]))
				s := setup{workers: 1, files: map[string][]byte{"servers.pem": pemCertificates(root.cert.Raw)},
					routes: []string{route("path: /*", "backend: web")}, backends: []string{secured("web", protocol, allOf, web.Address)}}
				c := start(t, s).client(t, "h2", common().web)
				for range 20 {
					wantStatus(t, c.get("/x"), http.StatusOK)
				}
				if n := web.Wire.Accepted.Load(); n != 1 {
					t.Errorf("%d connections for 20 calls", n)
				}
			})
		}
	}
}

// A server may end a connection it kept at any time, whether it says goodbye or not, and with a request on its way.
func TestServersThatHangUpCostNoCallAnError(t *testing.T) {
	t.Parallel()
	late := func(leave backend.Script) backend.Script {
		return func(p *backend.Peer) { p.Request(); leave(p) }
	}
	goodbye, reset := func(p *backend.Peer) { p.Farewell() }, func(p *backend.Peer) { p.Reset() }
	for name, leave := range map[string]backend.Script{
		"with a goodbye":                  goodbye,
		"without":                         func(*backend.Peer) {},
		"by a reset":                      reset,
		"asked again, with a goodbye":     late(goodbye),
		"asked again, without":            late(func(*backend.Peer) {}),
		"asked again, by a reset":         late(reset),
		"asked again, in the clear":       late(func(p *backend.Peer) { _, _ = p.Below().Write([]byte("\x15\x03\x03\x00\x02\x01\x00")) }),
		"asked again, by an alert unread": late(func(p *backend.Peer) { _, _ = p.Below().Write([]byte("\x15\x03\x03\x00\x02\x02\x50")) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := scripted(t, backend.OverTLS(serverOf(theMesh().root.serving(uri(usersID)), "http/1.1"), func(p *backend.Peer) {
				if p.Conn.(*tls.Conn).ConnectionState().DidResume {
					t.Error("a session was taken up again, without a look at the certificate")
				}
				if p.Request() != nil {
					p.Answer("good\n")
					leave(p)
				}
			}))
			g := securely(t, setup{workers: 1}, "http1", allOf, server.Address)
			c := g.client(t, "h2", common().web)
			for range 100 {
				wantStatus(t, c.get("/x"), http.StatusOK)
			}
			if said := g.saying(t, "TLS to a backend failed"); len(said) > 0 {
				t.Errorf("log: %v", said)
			}
		})
	}
}

func TestCopiesGoOverTLSToo(t *testing.T) {
	t.Parallel()
	main := httpBackend(t)
	copies := httpsBackend(t, theMesh().mutual(theMesh().root.serving(uri(usersID)), "h2"))
	impostor := scripted(t, backend.OverTLS(serverOf(common().root.serving(uri(usersID)), "h2"), backend.Good))
	g := mirroring(t, setup{files: theMesh().files()}, "", http1("main", main.Address), secured("copies", "h2", allOf+", "+showing, copies.Address))
	wantStatus(t, g.client(t, "h1", common().web).do(request("POST", "/x", "copied")), http.StatusOK)
	wantKnown(t, until(t, copies.Journal, patience, "POST /x", whole), "h2")
	g.mirrored(t, "answered", 1)
	bad := mirroring(t, setup{files: theMesh().files()}, "", http1("main", main.Address), secured("copies", "h2", allOf, impostor.Address))
	wantStatus(t, bad.client(t, "h1", common().web).do(request("POST", "/y", "copied")), http.StatusOK)
	waitFor(t, "the failure to be told", patience, func() bool { return len(bad.saying(t, "TLS to a backend failed")) > 0 })
	if got := impostor.Received(); got != "" {
		t.Errorf("the impostor got %q", got)
	}
}

func TestHealthIsAskedForOverTLS(t *testing.T) {
	t.Parallel()
	for kind, protocols := range map[string][]string{"path: /healthz": {"http1", "h2"}, "grpc: ''": {"h2"}, "tcp: true": {"http1", "h2"}} {
		for _, protocol := range protocols {
			t.Run(kind+" "+protocol, func(t *testing.T) {
				t.Parallel()
				good, bad := theMesh().root.serving(uri(usersID)), common().root.serving(uri(usersID))
				addresses := make([]string, 0, 2)
				for _, cert := range []*tls.Certificate{good, bad} {
					if config := theMesh().mutual(cert, alpn[protocol]); strings.HasPrefix(kind, "grpc") {
						b := grpcsBackend(t, config)
						b.Health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
						addresses = append(addresses, b.Address)
					} else {
						addresses = append(addresses, httpsBackend(t, config).Address)
					}
				}
				g := securely(t, setup{workers: 1}, fmt.Sprintf("%s, health_check: {%s, %s}", protocol, kind, quickly), allOf+", "+showing, addresses...)
				g.waitHealthy(t, addresses[1], 0)
				checks := fmt.Sprintf("tollgate_upstream_health_checks_total{backend=%q,endpoint=%q,result=%%q}", "web", addresses[0])
				waitFor(t, "good checks", patience, func() bool { return g.metric(t, fmt.Sprintf(checks, "success")) > 3 })
				if n := g.metric(t, fmt.Sprintf(checks, "failure")); n != 0 || g.healthy(t, addresses[0]) != 1 {
					t.Errorf("%v bad checks of the good server", n)
				}
				if out := g.eventually(t, "endpoint is unhealthy"); len(out) != 1 || out[0]["endpoint"] != addresses[1] || !strings.Contains(fmt.Sprint(out[0]), "tls_failed") {
					t.Errorf("log: %v", out)
				}
				if said := g.eventually(t, "TLS to a backend failed"); said[0]["reason"] != "certificate_untrusted" {
					t.Errorf("log: %v", said)
				}
				if ok, wrong := g.handshakes(t, "web", addresses[0], "ok"), g.handshakes(t, "web", addresses[1], "certificate_untrusted"); ok < 3 || wrong < 2 {
					t.Errorf("%d good handshakes, %d bad ones", ok, wrong)
				}
			})
		}
	}
}

// What the gateway shows and whom it trusts is replaced while it is called, and no call is lost.
func TestFilesOfBackendsAreTakenUpUnderLoad(t *testing.T) {
	t.Parallel()
	m, serving := theMesh(), atomic.Pointer[tls.Certificate]{}
	serving.Store(m.root.serving(uri(usersID)))
	web := httpsBackend(t, renewing(&serving, m.mutual(serving.Load(), "h2")))
	g := securely(t, setup{}, "h2", allOf+", "+showing, web.Address)
	c := g.crowd(t)
	shown := func() *big.Int {
		calls := web.Journal.Calls("")
		if len(calls) == 0 {
			return new(big.Int)
		}
		return calls[len(calls)-1].TLS.PeerCertificates[0].SerialNumber
	}
	for range 3 {
		renewed := m.edges.svid(edgeID)
		writeFile(t, g.dir, "edge.key", pemKey(renewed.PrivateKey))
		writeFile(t, g.dir, "edge.pem", pemCertificates(renewed.Certificate...))
		waitFor(t, "the new certificate to be shown", renewal, func() bool { return shown().Cmp(leafOf(renewed).SerialNumber) == 0 })
	}
	next := newRoot("the next root of servers")
	writeFile(t, g.dir, "servers.pem", pemCertificates(m.root.cert.Raw, next.cert.Raw))
	waitFor(t, "the next root to be known", renewal, func() bool {
		_, text := g.adminGet("/certificates")
		return strings.Contains(text, "the next root of servers")
	})
	serving.Store(next.serving(uri(usersID)))
	writeFile(t, g.dir, "servers.pem", pemCertificates(next.cert.Raw))
	before := web.Wire.Accepted.Load()
	waitFor(t, "calls over new connections", renewal, func() bool { return web.Wire.Accepted.Load() > before })
	c.leave(t)
	for _, one := range g.saying(t, "TLS to a backend failed") {
		t.Errorf("log: %v", one)
	}
}

// Who is no longer trusted gets no more calls, whatever connections there are.
func TestWithdrawnTrustEndsCallsToTheServer(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cert := theMesh().root.serving(uri(usersID))
			web := httpsBackend(t, serverOf(cert, alpn[protocol]))
			for what, withdraw := range map[string]func(*gateway){
				"root":     func(g *gateway) { writeFile(t, g.dir, "servers.pem", pemCertificates(common().root.cert.Raw)) },
				"revoking": func(g *gateway) { writeFile(t, g.dir, "edge.pem", theMesh().root.crl(cert)) },
			} {
				keys := allOf
				if what == "revoking" {
					keys += ", crl: edge.pem"
				}
				s := setup{files: maps.Clone(theMesh().files())}
				s.files["edge.pem"] = theMesh().root.crl()
				s.routes, s.backends = []string{route("path: /*", "backend: web")}, []string{secured("web", protocol, keys, web.Address)}
				g := start(t, s)
				c := g.client(t, "h2", common().web)
				wantStatus(t, c.get("/x"), http.StatusOK)
				withdraw(g)
				waitFor(t, what+" to hold", renewal, func() bool { return c.get("/x").status == http.StatusServiceUnavailable })
				before := web.Journal.Count("")
				wantRefusal(t, c.get("/x"), http.StatusServiceUnavailable, "backend_tls_failed")
				if web.Journal.Count("") != before {
					t.Error("it was asked once more")
				}
			}
		})
	}
}

func TestCertificatesOfBackendsAreListed(t *testing.T) {
	t.Parallel()
	web := httpsBackend(t, theMesh().mutual(theMesh().root.serving(uri(usersID)), "h2"))
	g := securely(t, setup{}, "h2", allOf+", "+showing, web.Address)
	if _, text := g.adminGet("/certificates"); !strings.Contains(text, `"backend/web":[{"role":"certificate"`) || !strings.Contains(text, "CN=servers") {
		t.Errorf("/certificates: %s", text)
	}
	if _, text := g.adminGet("/metrics"); !strings.Contains(text, `tollgate_certificate_expiry_timestamp_seconds{listener="backend/web",role="certificate"`) ||
		!strings.Contains(text, `tollgate_certificate_expiry_timestamp_seconds{listener="backend/web",role="trusted_ca"`) {
		t.Error("/metrics does not tell when they end")
	}
	if _, text := g.adminGet("/config"); strings.Contains(text, "PRIVATE KEY") || !strings.Contains(text, "server") {
		t.Errorf("/config: %s", text)
	}
	ending := theMesh().edges.svid(edgeID, valid(-10*time.Hour, time.Hour))
	writeFile(t, g.dir, "edge.key", pemKey(ending.PrivateKey))
	writeFile(t, g.dir, "edge.pem", pemCertificates(ending.Certificate...))
	waitFor(t, "the warning", renewal, func() bool {
		for _, one := range g.saying(t, "a served certificate expires soon") {
			if one["listener"] == "backend/web" {
				return true
			}
		}
		return false
	})
}

// The certificate of a server ends under its connection: calls go over a new one from then on.
func TestNoCallGoesToAServerWhoseCertificateEnded(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		for _, renews := range []bool{true, false} {
			t.Run(fmt.Sprint(protocol, ", renewed: ", renews), func(t *testing.T) {
				t.Parallel()
				serving := atomic.Pointer[tls.Certificate]{}
				serving.Store(theMesh().root.serving(uri(usersID), valid(-time.Hour, slow(4*time.Second))))
				ends := leafOf(serving.Load()).NotAfter
				web := httpsBackend(t, renewing(&serving, serverOf(serving.Load(), alpn[protocol])))
				g := securely(t, setup{workers: 1}, protocol, allOf, web.Address)
				c := g.client(t, "h2", common().web)
				wantStatus(t, c.get("/x"), http.StatusOK)
				if renews {
					serving.Store(theMesh().root.serving(uri(usersID)))
				}
				waitFor(t, "the end", slow(10*time.Second), func() bool {
					if got := c.get("/x"); time.Now().Before(ends) || renews {
						wantStatus(t, got, http.StatusOK)
					}
					return time.Now().After(ends)
				})
				before, asked := web.Wire.Accepted.Load(), web.Journal.Count("")
				if got := c.get("/x"); renews {
					wantStatus(t, got, http.StatusOK)
					if n := web.Wire.Accepted.Load(); n != 2 {
						t.Errorf("%d connections, want 2", n)
					}
				} else {
					wantRefusal(t, got, http.StatusServiceUnavailable, "backend_tls_failed")
					if web.Wire.Accepted.Load() == before || web.Journal.Count("") != asked {
						t.Errorf("no new handshake, or another call to who is not known any more")
					}
					if said := g.eventually(t, "TLS to a backend failed"); said[0]["reason"] != "certificate_expired" {
						t.Errorf("log: %v", said)
					}
				}
			})
		}
	}
}

func TestBackendsTLSIsChecked(t *testing.T) {
	t.Parallel()
	const at = "backends[0].tls"
	wantBackendsRefused(t, map[string]string{
		"tls: {}":                                                 at + ".trusted_ca: is missing",
		"tls: {server_name: a.test}":                              at + ".trusted_ca: is missing",
		"tls: {trusted_ca: none.pem}":                             at + ".trusted_ca: ",
		"tls: {trusted_ca: gateway.key}":                          at + ".trusted_ca: ",
		"tls: {trusted_ca: ca.pem, crl: none.crl}":                at + ".crl: ",
		"tls: {trusted_ca: ca.pem, crl: ca.pem}":                  at + ".crl: ",
		"tls: {trusted_ca: ca.pem, private_key: other.key}":       at + ".certificate_chain: is missing beside private_key",
		"tls: {trusted_ca: ca.pem, certificate_chain: other.pem}": at + ".private_key: is missing beside certificate_chain",
		"tls: {trusted_ca: ca.pem, certificate_chain: other.pem, private_key: gateway.key}":      at,
		"tls: {trusted_ca: ca.pem, server_name: 'a b'}":                                          at + ".server_name: found 'a b'",
		"tls: {trusted_ca: ca.pem, server_name: 'http://x'}":                                     at + ".server_name: found 'http://x'",
		"tls: {trusted_ca: ca.pem, server_name: 'a.test:443'}":                                   at + ".server_name: found 'a.test:443'",
		"tls: {trusted_ca: ca.pem, server_name: '*.test'}":                                       at + ".server_name: found '*.test'",
		"tls: {trusted_ca: ca.pem, server_name: '[::1]'}":                                        at + ".server_name: found '[::1]'",
		"tls: {trusted_ca: ca.pem, server_name: ''}":                                             at + ".server_name: ",
		"tls: {trusted_ca: ca.pem, server_name: '" + strings.Repeat("a", 254) + "'}":             at + ".server_name: ",
		"tls: {trusted_ca: ca.pem, match_subject_alt_names: []}":                                 at + ".match_subject_alt_names: ",
		"tls: {trusted_ca: ca.pem, match_subject_alt_names: ['https://a/b']}":                    at + ".match_subject_alt_names[0]: ",
		"tls: {trusted_ca: ca.pem, match_subject_alt_names: ['spiffe://a/b', 'users.internal']}": at + ".match_subject_alt_names[1]: ",
		"tls: {trusted_ca: ca.pem, min_version: '1.1'}":                                          at + ".min_version: found '1.1'",
		"tls: {trusted_ca: ca.pem, sni: a.test}":                                                 at + ".sni: ",
		"tls: {trusted_ca: ca.pem, trusted_sa: ca.pem}":                                          at + ".trusted_sa: ",
		"tls: yes": at + ": ",
	})
	for keys, good := range map[string]bool{"": false, ", server_name: users.internal": true, ", match_subject_alt_names: ['spiffe://a/*']": true} {
		s := setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{"{name: web, endpoints: [unix:/run/web.sock], tls: {trusted_ca: ca.pem" + keys + "}}"}}
		output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
		if (code == 0) != good || !good && !strings.Contains(output, at+".server_name: ") {
			t.Errorf("unix socket%s: exit %d: %s", keys, code, output)
		}
	}
}
