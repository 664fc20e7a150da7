package e2e

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// A server that is not who it has to be gets no byte of a request.

// An impostor is a server with a certificate that must not do.
type impostor struct {
	name       string
	cert       *tls.Certificate
	host, keys string
	reason     string
	why        string // some of what the log says
}

const (
	byHost  = ""                            // the endpoint's own host has to be in the certificate
	byName  = "server_name: users.internal" // that name
	listed  = allOf + ", crl: servers.crl"  // and who is revoked
	nowhere = "spiffe://other.example/ns/users/sa/users"
)

func impostors() (rows []impostor, lists []byte) {
	add := func(reason, name, why, host, keys string, cert *tls.Certificate) {
		rows = append(rows, impostor{name, cert, host, keys, reason, why})
	}
	root, rsa, local := theMesh().root, theMesh().rsa, dns("localhost")
	stranger, gone := newRoot("a stranger"), root.serving(uri(usersID))
	lists = slices.Concat(root.crl(gone), rsa.crl())
	for kind, row := range map[string]struct {
		keys string
		name trait
	}{"by ID": {allOf, uri(usersID)}, "by host": {byHost, local}} {
		bad := func(reason, name, why string, a *authority, traits ...trait) {
			add(reason, name+", "+kind, why, "localhost", row.keys, a.serving(append([]trait{row.name}, traits...)...))
		}
		bad("certificate_untrusted", "unknown CA", "depth 0", stranger)
		bad("certificate_untrusted", "CA of the same name", "", newRoot("servers"))
		bad("certificate_untrusted", "of the gateways' CA", "", theMesh().edges)
		bad("certificate_untrusted", "of the listener's CA", "", common().root)
		bad("certificate_expired", "expired", "expired", root, expired)
		bad("certificate_not_yet_valid", "not yet valid", "not yet valid", root, notYetValid)
		bad("certificate_expired", "intermediate expired", "depth 1", root.intermediate("old", expired))
		bad("certificate_wrong_usage", "for clients alone", "serverAuth", root, extendedUsage(x509.ExtKeyUsageClientAuth))
		bad("certificate_wrong_usage", "intermediate for clients", "serverAuth", root.intermediate("clients", extendedUsage(x509.ExtKeyUsageClientAuth)))
		bad("certificate_wrong_usage", "a CA", "CA", root, asCA)
		bad("certificate_wrong_usage", "no digitalSignature", "digitalSignature", root, keyUsage(x509.KeyUsageKeyEncipherment))
		bad("certificate_weak", "RSA-1024", "", root, withKey(rsa1024()))
		bad("certificate_weak", "SHA-1", "", rsa, signedWith(crypto.SHA1), withKey(rsa2048()))
		bad("certificate_invalid", "unknown critical extension", "", root, unknownCritical)
	}
	add("certificate_revoked", "revoked", "revoked", "localhost", listed, gone)
	rows = append(rows, nameless(root)...)
	return rows, lists
}

// nameless are impostors by their names alone.
func nameless(root *authority) (rows []impostor) {
	add := func(reason, name, why, host, keys string, traits ...trait) {
		rows = append(rows, impostor{name, root.serving(traits...), host, keys, reason, why})
	}
	const no = "identity_not_allowed"
	add(no, "another SPIFFE ID", "ns/web", "localhost", allOf, uri("spiffe://cluster.local/ns/web/sa/web"))
	add(no, "another trust domain", "other.example", "localhost", allOf, uri(nowhere))
	add(no, "SPIFFE ID with more before it", "", "localhost", allOf, uri("spiffe://cluster.local/x/ns/users/sa/users"))
	add("identity_missing", "no URI", "no URI name", "localhost", allOf, dns("localhost"))
	add("identity_missing", "SPIFFE ID as a DNS name", "", "localhost", allOf, dns(usersID))
	add("identity_missing", "SPIFFE ID as the common name", "", "localhost", allOf, commonName(usersID))
	add("identity_ambiguous", "two URIs", "several URI names", "localhost", allOf, uri(usersID), uri("spiffe://cluster.local/ns/users/sa/b"))
	add("identity_ambiguous", "two SAN extensions", "", "localhost", allOf, uri(usersID), secondSAN(nowhere))
	add("identity_malformed", "SPIFFE ID with a port", "", "localhost", allOf, uri("spiffe://cluster.local:1/ns/users/sa/a"))
	add("identity_malformed", "SPIFFE ID with a line feed", "", "localhost", allOf, uri("spiffe://cluster.local/ns/users/sa/a\nb"))
	add(no, "IDs where names do not matter", "", "localhost", allOf+", server_name: users.internal", uri(nowhere), dns("users.internal"))
	add(no, "another DNS name", "not for users.internal", "localhost", byName, dns("orders.internal"))
	add(no, "the endpoint's name instead of server_name", "", "localhost", byName, dns("localhost"))
	add(no, "another host", "not for localhost", "localhost", byHost, dns("users.internal"))
	add(no, "a common name that fits", "no DNS name", "localhost", byName, commonName("users.internal"))
	add(no, "a common name that fits beside a DNS name", "", "localhost", byName, commonName("users.internal"), dns("orders.internal"))
	add(no, "a SPIFFE ID beside no DNS name", "", "localhost", byHost, uri("spiffe://localhost/ns/users/sa/users"))
	add(no, "an email", "", "localhost", byName, email("users.internal"))
	add(no, "an address nobody vouches for", "not for 127.0.0.1", "127.0.0.1", byHost, dns("localhost"))
	add(no, "another address", "", "127.0.0.1", byHost, ip("127.0.0.2"))
	add(no, "an address as a DNS name", "not for 127.0.0.1", "127.0.0.1", byHost, dns("127.0.0.1"))
	add(no, "an address as a wildcard", "", "127.0.0.1", byHost, dns("*.0.0.1"))
	add(no, "an address as the common name", "", "127.0.0.1", byHost, commonName("127.0.0.1"))
	add(no, "a wildcard of two labels", "", "localhost", "server_name: a.b.internal.test", dns("*.internal.test"))
	add(no, "a wildcard of none", "", "localhost", "server_name: internal.test", dns("*.internal.test"))
	add(no, "a wildcard of a part", "", "localhost", "server_name: users.internal.test", dns("u*.internal.test"))
	add(no, "a wildcard in the middle", "", "localhost", "server_name: a.users.internal.test", dns("a.*.internal.test"))
	add(no, "a wildcard of everything", "", "localhost", byHost, dns("*"))
	add(no, "a name with a NUL", "", "localhost", byName, dns("users.internal\x00.evil.test"))
	add(no, "a suffix", "", "localhost", byName, dns(".internal"))
	return rows
}

// A watched row: what the server got of anything, below any protocol that is in clear text.
type watched struct {
	impostor
	server   *backend.Scripted
	endpoint string
}

// suspects is one gateway with a route and two backends for each row: http1-N, h2-N.
func suspects(t *testing.T, rows []impostor, lists []byte) (*gateway, []watched) {
	t.Helper()
	s := setup{top: []string{accessLog}, files: maps.Clone(theMesh().files())}
	s.files["servers.crl"] = lists
	var all []watched
	for i, row := range rows {
		server := scripted(t, backend.OverTLS(serverOf(row.cert, "h2", "http/1.1"), backend.Good))
		w := watched{row, server, at(row.host, server.Address)}
		s.routes = append(s.routes, route(fmt.Sprintf("grpc: 'row%d.Service/*'", i), fmt.Sprintf("backend: h2-%d", i)),
			route(fmt.Sprintf("path: /%d/*", i), fmt.Sprintf("backend: http1-%d", i)))
		s.backends = append(s.backends, secured(fmt.Sprintf("http1-%d", i), "http1", row.keys, w.endpoint),
			secured(fmt.Sprintf("h2-%d", i), "h2", row.keys, w.endpoint))
		all = append(all, w)
	}
	return start(t, s), all
}

// told wants the log and the metrics to say of the backend what is wrong.
func (w *watched) told(t *testing.T, g *gateway, name string) (count int) {
	t.Helper()
	count = g.handshakes(t, name, w.endpoint, w.reason)
	said := g.eventually(t, "TLS to a backend failed", "backend", name)
	if count < 1 {
		t.Fatalf("%d failed handshakes of %s counted as %s; log: %v", count, name, w.reason, said)
	}
	for _, one := range said {
		if one["reason"] != w.reason || one["endpoint"] != w.endpoint || !strings.Contains(one["why"], w.why) || one["why"] == "" || one["level"] != "warn" {
			t.Errorf("log: %v, want %s because of %q", one, w.reason, w.why)
		}
	}
	return count
}

func TestImpostorsGetNoByteOfARequest(t *testing.T) {
	t.Parallel()
	rows, lists := impostors()
	g, all := suspects(t, rows, lists)
	h1, h2, conn := g.client(t, "h1", common().web), g.client(t, "h2", common().web), g.rpc(t, common().web)
	for i, w := range all {
		t.Run(w.name, func(t *testing.T) {
			wantRefusal(t, h1.get(fmt.Sprintf("/%d/get", i)), http.StatusServiceUnavailable, "backend_tls_failed")
			posted := h2.do(request("POST", fmt.Sprintf("/%d/post", i), "a secret"))
			wantRefusal(t, posted, http.StatusServiceUnavailable, "backend_tls_failed")
			if kind := posted.header.Get("Content-Type"); kind != "application/problem+json" || strings.Contains(posted.body, "spiffe") {
				t.Errorf("the caller is told %s %s", kind, posted.body)
			}
			_, err := backend.Invoke(within(t, patience), conn, fmt.Sprintf("/row%d.Service/Do", i), []byte("a secret"))
			wantCode(t, err, codes.Unavailable)
			if !strings.Contains(err.Error(), "backend_tls_failed") {
				t.Errorf("the caller is told %v", err)
			}
			if got := w.server.Received(); got != "" || w.server.Requests.Load() != 0 {
				t.Errorf("the server got %q", got)
			}
			counted := w.told(t, g, fmt.Sprintf("http1-%d", i)) + w.told(t, g, fmt.Sprintf("h2-%d", i))
			if accepted := int(w.server.Wire.Accepted.Load()); counted != accepted {
				t.Errorf("%d of %d handshakes are counted", counted, accepted)
			}
			for _, path := range []string{fmt.Sprintf("/%d/get", i), fmt.Sprintf("/%d/post", i), fmt.Sprintf("/row%d.Service/Do", i)} {
				if line := g.accessOf(t, path); line.text("cause") != "backend_tls_failed" || line.text("response_flags") != "UF,URX" || line.text("reason") != "" {
					t.Errorf("access log: cause %q, reason %q, flags %q", line.text("cause"), line.text("reason"), line.text("response_flags"))
				}
			}
		})
	}
}

// Since nothing was sent, even a POST is tried at another endpoint; and who fails so gets no more calls for a while.
func TestAnotherEndpointTakesOverFromAnImpostor(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			bad := scripted(t, backend.OverTLS(serverOf(newRoot("a stranger").serving(uri(usersID)), alpn[protocol]), backend.Good))
			good := httpsBackend(t, serverOf(theMesh().root.serving(uri(usersID)), alpn[protocol]))
			g := securely(t, setup{workers: 1}, protocol+", ejection: {failures: 3, base: 1h}", allOf, bad.Address, good.Address)
			c := g.client(t, "h2", common().web)
			retries := 0
			for i := range 20 {
				path := fmt.Sprintf("/%d", i)
				if seen := c.do(request("POST", path, "hello")).echo(t); string(seen.Body) != "hello" {
					t.Errorf("the server saw %+v", seen)
				}
				retries += int(g.accessOf(t, path).number("retries"))
			}
			if out := g.eventually(t, "endpoint ejected"); retries != 3 || g.ejections(t, bad.Address) != 1 || g.healthy(t, bad.Address) != 0 || len(out) != 1 {
				t.Errorf("%d calls were tried twice, want 3; log: %v", retries, out)
			}
			if n := bad.Wire.Accepted.Load(); n != 3 || bad.Received() != "" || good.Journal.Count("") != 20 {
				t.Errorf("the impostor was called %d times and got %q", n, bad.Received())
			}
		})
	}
}

// A server may refuse the gateway: under TLS 1.3 it says so behind the handshake, when a request may be on its way.
func TestServersMayRefuseTheGateway(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		version uint16
		edge    *tls.Certificate
		alert   string
	}{
		"TLS 1.2, none":     {tls.VersionTLS12, nil, "handshake_failure"},
		"TLS 1.3, none":     {tls.VersionTLS13, nil, "certificate_required"},
		"TLS 1.2, stranger": {tls.VersionTLS12, newRoot("a stranger").svid(edgeID), "unknown_ca"},
		"TLS 1.3, stranger": {tls.VersionTLS13, newRoot("a stranger").svid(edgeID), "unknown_ca"},
	} {
		for _, protocol := range []string{"http1", "h2"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				config, keys := theMesh().mutual(theMesh().root.serving(uri(usersID)), alpn[protocol]), allOf
				config.MaxVersion = row.version
				web := httpsBackend(t, config)
				s := setup{workers: 1}
				if row.edge != nil {
					keys += ", certificate_chain: gone.pem, private_key: gone.key"
				}
				g := refused(t, s, protocol, keys, row.edge, web.Address)
				for _, method := range []string{"GET", "POST"} {
					for _, down := range []string{"h1", "h2"} {
						got := g.client(t, down, common().web).do(request(method, "/"+method+down, strings.Repeat("b", 100)))
						wantRefusal(t, got, http.StatusServiceUnavailable, "backend_tls_failed")
					}
				}
				for _, one := range g.eventually(t, "TLS to a backend failed") {
					if one["reason"] != "tls_failed" || !strings.Contains(one["why"], "the server sent the alert "+row.alert) {
						t.Errorf("log: %v, want %s", one, row.alert)
					}
				}
				if n := web.Journal.Count(""); n != 0 {
					t.Errorf("%d calls", n)
				}
			})
		}
	}
}

func refused(t *testing.T, s setup, protocol, keys string, edge *tls.Certificate, address string) *gateway {
	t.Helper()
	s.files, s.top = maps.Clone(theMesh().files()), []string{accessLog}
	if edge != nil {
		s.files["gone.pem"], s.files["gone.key"] = pemCertificates(edge.Certificate...), pemKey(edge.PrivateKey)
	}
	s.routes, s.backends = []string{route("path: /*", "backend: web")}, []string{secured("web", protocol, keys, address)}
	return start(t, s)
}
