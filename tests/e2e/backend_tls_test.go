package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"tollgate/tests/backend"
)

// TLS towards backends: both sides know each other before a request is on its way.

const (
	usersID = "spiffe://cluster.local/ns/users/sa/users"
	edgeID  = "spiffe://cluster.local/ns/edge/sa/gateway"
	allOf   = "match_subject_alt_names: [\"spiffe://cluster.local/ns/users/*\"]" // of a backend's tls
	showing = "certificate_chain: edge.pem, private_key: edge.key"
)

// A mesh is what servers of backends and the gateway's certificate towards them come from; none of it is trusted by
// the listener, nor the listener's by them.
type mesh struct {
	root, rsa *authority // of servers
	edges     *authority // of gateways
	edge      *tls.Certificate
}

var theMesh = sync.OnceValue(func() *mesh {
	f := &mesh{root: newRoot("servers"), rsa: newRoot("RSA servers", withKey(rsa2048())), edges: newRoot("gateways")}
	f.edge = f.edges.svid(edgeID)
	return f
})

// files are what the gateway's configuration names: servers.pem, edge.pem, edge.key.
func (f *mesh) files() map[string][]byte {
	return map[string][]byte{"servers.pem": pemCertificates(f.root.cert.Raw, f.rsa.cert.Raw),
		"edge.pem": pemCertificates(f.edge.Certificate...), "edge.key": pemKey(f.edge.PrivateKey)}
}

// serving issues a server's certificate.
func (a *authority) serving(traits ...trait) *tls.Certificate {
	return a.issue(append([]trait{extendedUsage(x509.ExtKeyUsageServerAuth)}, traits...)...)
}

// serverOf is the TLS of a server that asks for no certificate.
func serverOf(cert *tls.Certificate, protocols ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: protocols, MinVersion: tls.VersionTLS12}
}

// mutual is the TLS of a server that takes gateways alone.
func (f *mesh) mutual(cert *tls.Certificate, protocols ...string) *tls.Config {
	config := serverOf(cert, protocols...)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, poolOf(pemCertificates(f.edges.cert.Raw))
	return config
}

func httpsBackend(t *testing.T, config *tls.Config) *backend.HTTP {
	t.Helper()
	b := must(backend.StartHTTPS("127.0.0.1:0", config))
	t.Cleanup(b.Stop)
	return b
}

func grpcsBackend(t *testing.T, config *tls.Config) *backend.GRPC {
	t.Helper()
	b := must(backend.StartGRPC("127.0.0.1:0", grpc.Creds(credentials.NewTLS(config))))
	t.Cleanup(b.Stop)
	return b
}

// secured writes a backend with these keys of `tls`; trusted_ca is there already. The protocol may be followed by more
// keys of the backend: "h2, connect_timeout: 2s".
func secured(name, protocol, keys string, endpoints ...string) string {
	return fmt.Sprintf("{name: %s, protocol: %s, endpoints: [%s], tls: {trusted_ca: servers.pem, %s}}", name, protocol, quoted(endpoints), keys)
}

// securely is a gateway that sends every path to one such backend, "web".
func securely(t *testing.T, s setup, protocol, keys string, endpoints ...string) *gateway {
	t.Helper()
	s.files = theMesh().files()
	s.top = append(s.top, accessLog)
	s.routes = append(s.routes, route("path: /*", "backend: web"))
	s.backends = append(s.backends, secured("web", protocol, keys, endpoints...))
	return start(t, s)
}

func (g *gateway) handshakes(t *testing.T, name, endpoint, result string) int {
	t.Helper()
	return int(g.metric(t, fmt.Sprintf("tollgate_upstream_tls_handshakes_total{backend=%q,endpoint=%q,result=%q}", name, endpoint, result)))
}

// eventually returns the events of that name once there are some: the log may come a moment after the answer.
func (g *gateway) eventually(t *testing.T, name string, pairs ...string) (found []event) {
	t.Helper()
	waitFor(t, "the log to tell of "+name, patience, func() bool {
		found = slices.DeleteFunc(g.saying(t, name), func(e event) bool { return len(pairs) > 0 && e[pairs[0]] != pairs[1] })
		return len(found) > 0
	})
	return found
}

var alpn = map[string]string{"http1": "http/1.1", "h2": "h2"}

// wantKnown fails the test unless the server met the gateway, and was asked over that protocol.
func wantKnown(t *testing.T, call backend.Call, protocol string) {
	t.Helper()
	if call.TLS == nil {
		t.Fatalf("%s came in clear text, or not as https", call.Method)
	}
	if names := call.TLS.PeerCertificates; len(names) != 1 || len(names[0].URIs) != 1 || names[0].URIs[0].String() != edgeID {
		t.Errorf("the server was shown %d certificates, not the gateway's", len(names))
	}
	if call.TLS.NegotiatedProtocol != alpn[protocol] || call.TLS.DidResume {
		t.Errorf("agreed on %q, resumed: %v", call.TLS.NegotiatedProtocol, call.TLS.DidResume)
	}
	if xfcc := strings.Join(call.Metadata["X-Forwarded-Client-Cert"], "") + strings.Join(call.Metadata["x-forwarded-client-cert"], ""); !strings.Contains(xfcc, "URI="+webID) {
		t.Errorf("the server is told of the caller %q", xfcc)
	}
}

func TestServersAreAskedOverMutualTLS(t *testing.T) {
	t.Parallel()
	const size = 5 << 20
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			web := httpsBackend(t, theMesh().mutual(theMesh().root.serving(uri(usersID)), alpn[protocol]))
			g := securely(t, setup{}, protocol, allOf+", "+showing, web.Address)
			for _, down := range []string{"h1", "h2"} {
				c := g.client(t, down, common().web)
				if seen := c.do(request("POST", "/echo", "hello")).echo(t); string(seen.Body) != "hello" || seen.Host != "gateway.test" {
					t.Errorf("the server saw %+v", seen)
				}
				if got := c.do(request("POST", "/sink", strings.Repeat("u", size))); got.body != fmt.Sprint(size) {
					t.Errorf("of %d bytes arrived %s, error %v", size, got.body, got.err)
				}
				if got := c.get(fmt.Sprintf("/big?n=%d", size)); got.err != nil || got.body != strings.Repeat("b", size) {
					t.Errorf("%d of %d bytes came back, error %v", len(got.body), size, got.err)
				}
				if got := c.do(request("POST", "/trailers", "t", "Te", "trailers")); got.body != "t" || got.trailer.Get("X-Sum") != "42" {
					t.Errorf("trailers %v, body %q", got.trailer, got.body)
				}
			}
			for _, call := range web.Journal.Calls("") {
				wantKnown(t, call, protocol)
			}
			if ok, accepted := g.handshakes(t, "web", web.Address, "ok"), web.Wire.Accepted.Load(); ok < 1 || ok != int(accepted) {
				t.Errorf("%d handshakes counted, %d made", ok, accepted)
			}
		})
	}
}

func TestGRPCIsSpokenOverMutualTLS(t *testing.T) {
	t.Parallel()
	users := grpcsBackend(t, theMesh().mutual(theMesh().root.serving(uri(usersID))))
	g := securely(t, setup{}, "h2", allOf+", "+showing, users.Address)
	large := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20))
	conn, ctx := g.rpc(t, common().web, large), within(t, patience)
	text := bytes.Repeat([]byte("m"), 4<<20)
	if out, err := backend.Invoke(ctx, conn, login, text); err != nil || !bytes.Equal(out, text) {
		t.Errorf("%d bytes of %d came back, %v", len(out), len(text), err)
	}
	stream := openStream(t, ctx, conn, chat)
	for i := range 100 {
		want := fmt.Sprint("message ", i)
		send(t, stream, want)
		if got, err := stream.Receive(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Errorf("after half-close: %v", err)
	}
	_, err := backend.Invoke(ordering(ctx, backend.DoFail, "5", "x-trailer-a", "b"), conn, login, nil)
	wantCode(t, err, codes.NotFound)
	for _, call := range users.Journal.Calls("") {
		wantKnown(t, call, "h2")
	}
	if n := users.Wire.Accepted.Load(); n > 2 {
		t.Errorf("%d connections for three calls", n)
	}
}

// at gives the endpoint another host that leads to the same place.
func at(host, address string) string {
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort(host, port)
}

func TestServersAreToldTheirNameAndNeverAnAddress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ host, keys, want string }{
		{"127.0.0.1", "", ""},
		{"localhost", "", "localhost"},
		{"127.0.0.1", "server_name: users.internal, ", "users.internal"},
		{"localhost", "server_name: users.internal, ", "users.internal"},
		{"127.0.0.1", "server_name: 10.1.2.3, ", ""},
		{"localhost", "server_name: '2001:db8::1', ", ""},
	} {
		for _, protocol := range []string{"http1", "h2"} {
			t.Run(fmt.Sprint(protocol, " ", row.host, " ", row.keys), func(t *testing.T) {
				t.Parallel()
				web := httpsBackend(t, serverOf(theMesh().root.serving(uri(usersID)), alpn[protocol]))
				g := securely(t, setup{}, protocol, row.keys+allOf, at(row.host, web.Address))
				wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
				if calls := web.Journal.Calls(""); len(calls) != 1 || calls[0].TLS == nil || calls[0].TLS.ServerName != row.want {
					t.Errorf("%d calls, the first with SNI %q, want %q", len(calls), calls[0].TLS.ServerName, row.want)
				}
			})
		}
	}
}

// Who the server may be, and is.
func TestServersAreKnownByWhatTheirCertificateSays(t *testing.T) {
	t.Parallel()
	root := theMesh().root
	for name, row := range map[string]struct {
		cert       *tls.Certificate
		host, keys string
	}{
		"SPIFFE ID":                       {root.serving(uri(usersID)), "127.0.0.1", `match_subject_alt_names: ["` + usersID + `"]`},
		"SPIFFE ID by a pattern":          {root.serving(uri(usersID)), "127.0.0.1", allOf},
		"SPIFFE ID by the second pattern": {root.serving(uri(usersID)), "127.0.0.1", `match_subject_alt_names: ["spiffe://other.example/*", "` + usersID + `"]`},
		"SPIFFE ID beside DNS names":      {root.serving(uri(usersID), dns("a.test"), dns("b.test")), "127.0.0.1", allOf},
		"SPIFFE ID, server_name is SNI":   {root.serving(uri(usersID), dns("a.test")), "127.0.0.1", allOf + ", server_name: b.test"},
		"DNS name of server_name":         {root.serving(dns("users.internal")), "127.0.0.1", "server_name: users.internal"},
		"the second DNS name":             {root.serving(dns("a.test"), dns("users.internal")), "127.0.0.1", "server_name: users.internal"},
		"DNS name in capitals":            {root.serving(dns("Users.INTERNAL")), "127.0.0.1", "server_name: users.internal"},
		"DNS name of the endpoint":        {root.serving(dns("localhost")), "localhost", ""},
		"DNS wildcard":                    {root.serving(dns("*.internal.test")), "127.0.0.1", "server_name: users.internal.test"},
		"DNS name beside two URIs":        {root.serving(dns("localhost"), uri(usersID), uri("https://a.example/")), "localhost", ""},
		"IP address of the endpoint":      {root.serving(ip("127.0.0.1")), "127.0.0.1", ""},
		"IP address of server_name":       {root.serving(ip("10.1.2.3")), "localhost", "server_name: 10.1.2.3"},
		"RSA":                             {theMesh().rsa.serving(dns("localhost"), withKey(rsa2048())), "localhost", ""},
		"Ed25519":                         {root.serving(dns("localhost"), withKey(newEd25519())), "localhost", ""},
		"P-384":                           {root.serving(dns("localhost"), withKey(newP384())), "localhost", ""},
		"any extended usage":              {root.serving(dns("localhost"), extendedUsage(x509.ExtKeyUsageAny)), "localhost", ""},
		"no extended usage":               {root.serving(dns("localhost"), extendedUsage()), "localhost", ""},
		"no key usage":                    {root.serving(dns("localhost"), keyUsage(0)), "localhost", ""},
		"no subject":                      {root.serving(dns("localhost"), commonName("")), "localhost", ""},
		"much sent along":                 {root.serving(dns("localhost"), padding(40<<10)), "localhost", ""},
		"through an intermediate":         {root.intermediate("middle").serving(dns("localhost")), "localhost", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httpsBackend(t, serverOf(row.cert, "h2", "http/1.1"))
			g := securely(t, setup{}, "h2", row.keys, at(row.host, web.Address))
			wantStatus(t, g.client(t, "h2", common().web).get("/x"), http.StatusOK)
		})
	}
}

func TestOnlyWhoSpeaksAnOldVersionIsRefusedForIt(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		old := serverOf(theMesh().root.serving(dns("localhost")), alpn[protocol])
		old.MaxVersion = tls.VersionTLS12
		web := httpsBackend(t, old)
		g := securely(t, setup{}, protocol, "", at("localhost", web.Address))
		wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
		if calls := web.Journal.Calls(""); calls[0].TLS == nil || calls[0].TLS.Version != tls.VersionTLS12 {
			t.Errorf("%+v", calls)
		}
		strict := securely(t, setup{}, protocol, `min_version: "1.3"`, at("localhost", web.Address))
		wantRefusal(t, strict.client(t, "h1", common().web).get("/y"), http.StatusServiceUnavailable, "backend_tls_failed")
		if said := strict.eventually(t, "TLS to a backend failed"); said[0]["reason"] != "tls_failed" || !strings.Contains(said[0]["why"], "protocol_version") {
			t.Errorf("log: %v", said)
		}
		if n := web.Journal.Count(""); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	}
}

// HTTP/2 has to be agreed on; HTTP/1.1 is what is spoken where nothing is.
func TestProtocolsAreAgreedOn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		protocol string
		offers   []string
		good     bool
		why      string
	}{
		{"h2", []string{"h2"}, true, ""},
		{"h2", []string{"http/1.1", "h2"}, true, ""},
		{"h2", nil, false, "did not agree on HTTP/2"},
		{"h2", []string{"http/1.1"}, false, "no_application_protocol"},
		{"http1", nil, true, ""},
		{"http1", []string{"h2", "http/1.1"}, true, ""},
		{"http1", []string{"h2"}, true, ""}, // Go's server agrees on nothing then, and speaks HTTP/1.1
		{"http1", []string{"acme-tls/1"}, false, "no_application_protocol"},
	} {
		t.Run(fmt.Sprint(row.protocol, " to ", row.offers), func(t *testing.T) {
			t.Parallel()
			web := httpsBackend(t, serverOf(theMesh().root.serving(dns("localhost")), row.offers...))
			g := securely(t, setup{}, row.protocol, "", at("localhost", web.Address))
			got := g.client(t, "h1", common().web).get("/x")
			if row.good {
				wantStatus(t, got, http.StatusOK)
				return
			}
			wantRefusal(t, got, http.StatusServiceUnavailable, "backend_tls_failed")
			if said := g.eventually(t, "TLS to a backend failed"); !strings.Contains(said[0]["why"], row.why) {
				t.Errorf("log: %v", said)
			}
			if n := web.Journal.Count(""); n != 0 {
				t.Errorf("%d calls", n)
			}
		})
	}
}
