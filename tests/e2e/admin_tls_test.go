package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// admin.tls: HTTPS, a certificate from everybody, and the same reasons as on the data path.

const operatorID = "spiffe://cluster.local/ns/ops/sa/anna"

// An office is a gateway with its admin listener as before, and a second one of its own making: the
// address that `start` knows stays plain HTTP, so the file is changed and the process begun anew.
type office struct {
	*gateway
	operator *tls.Certificate
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{operator: common().root.svid(operatorID)}
	g := launch(t, setup{keepErrors: true, routes: []string{route("path: /*", "respond: {status: 204}")}})
	g.kill()
	g.rewrite(t, fmt.Sprintf("admin: {address: %q}", g.admin), fmt.Sprintf("admin: {address: %q, tls: {certificate_chain: admin.pem, "+
		"private_key: admin.key, trusted_ca: operators.pem, match_subject_alt_names: [\"spiffe://cluster.local/ns/ops/*\"]}}", g.admin))
	o.gateway = g
	o.serve(t, common().root.server("admin.test"))
	writeFile(t, g.dir, "operators.pem", pemCertificates(common().root.cert.Raw))
	o.open(t)
	t.Cleanup(func() {
		g.stop()
		if output, code := tollgate(t, "audit", "verify", g.auditPath()); code != 0 {
			t.Errorf("audit verify: exit %d: %s", code, output)
		}
	})
	return o
}

// Not stopped before it is ready: TSan loses signals that find the main thread at work.
func (o *office) open(t *testing.T) {
	t.Helper()
	o.run()
	waitFor(t, "the admin listener", 20*time.Second, func() bool {
		return o.ask(o.operator, "GET", "/readyz").status == http.StatusOK || !o.running()
	})
	if !o.running() {
		t.Fatal(o.stderr)
	}
}

func (o *office) serve(t *testing.T, pair *tls.Certificate) {
	t.Helper()
	writeFile(t, o.dir, "admin.key", pemKey(pair.PrivateKey))
	writeFile(t, o.dir, "admin.pem", pemCertificates(pair.Certificate...))
}

func (o *office) config(cert *tls.Certificate) *tls.Config {
	config := o.trusting(cert)
	config.ServerName = "admin.test"
	return config
}

// ask makes one request on a connection of its own.
func (o *office) ask(cert *tls.Certificate, method, path string, headers ...string) reply {
	transport := &http.Transport{TLSClientConfig: o.config(cert), DisableKeepAlives: true}
	r := must(http.NewRequest(method, "https://"+o.admin+path, nil))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return collect((&http.Client{Transport: transport, Timeout: slow(5 * time.Second)}).Do(r))
}

func TestOperatorsShowACertificate(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, path := range []string{"/", "/status", "/metrics", "/config", "/certificates", "/limits", "/audit", "/healthz"} {
		wantStatus(t, o.ask(o.operator, "GET", path), http.StatusOK)
	}
	if got := o.ask(o.operator, "GET", "/certificates"); !strings.Contains(got.body, `"admin":[{"role":"certificate"`) {
		t.Errorf("/certificates: %s", got.body)
	}
	if got := o.ask(o.operator, "GET", "/metrics"); !strings.Contains(got.body, `tollgate_certificate_expiry_timestamp_seconds{listener="admin",role="certificate"`) {
		t.Error("the expiry of its certificate is not told")
	}
	rsa := common().rsaRoot
	for reason, cert := range map[string]*tls.Certificate{
		"certificate_missing":   nil,
		"certificate_untrusted": rsa.svid(operatorID), // whom the listener trusts, and the admin listener does not
		"certificate_expired":   common().root.svid(operatorID, valid(-2*time.Hour, -time.Hour)),
		"identity_missing":      common().root.issue(),
		"identity_not_allowed":  common().web,
	} {
		t.Run(reason, func(t *testing.T) {
			for _, request := range []string{"GET /config", "POST /drain", "GET /nothing"} {
				method, path, _ := strings.Cut(request, " ")
				got := o.ask(cert, method, path)
				wantRefusal(t, got, http.StatusForbidden, reason)
				if strings.Contains(got.body, "spiffe") || strings.Contains(got.body, "listeners") {
					t.Errorf("the refused is told %s", got.body)
				}
			}
			o.countAudit(t, 3, because(reason))
		})
	}
	for _, record := range o.audit(t) {
		if record.Listener != "admin" || record.Authorized == nil || *record.Authorized || record.Answer.Status != http.StatusForbidden || record.PolicyName != "admin" ||
			record.Client.Address == "" || record.TLS.Version != "TLSv1.3" || record.Request.Path == "" {
			t.Errorf("the record is %+v", record)
		}
		if (record.Reason == "identity_not_allowed") != (record.Principal == webID) {
			t.Errorf("%s names the principal %q", record.Reason, record.Principal)
		}
	}
	if got := o.ask(o.operator, "GET", "/metrics"); !strings.Contains(got.body, `tollgate_rejections_total{listener="admin",reason="identity_not_allowed"} 3`) {
		t.Error("the refusals are not counted")
	}
	wantStatus(t, o.ask(o.operator, "GET", "/readyz"), http.StatusOK) // nobody drained it
}

func TestTheAdminDoorHasNoGaps(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	t.Run("plain HTTP", func(t *testing.T) {
		conn := must(net.Dial("tcp", o.admin))
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, "GET /config HTTP/1.1\r\nHost: localhost\r\n\r\n")
		said, _ := io.ReadAll(conn)
		if strings.Contains(string(said), "HTTP/1.1 200") || strings.Contains(string(said), "version:") {
			t.Errorf("answered: %q", said)
		}
		o.countAudit(t, 1, because("tls_failed"))
	})
	t.Run("a look whether the port is open", func(t *testing.T) {
		_ = must(net.Dial("tcp", o.admin)).Close()
		o.countAudit(t, 1, because("tls_failed"))
	})
	t.Run("a refused caller without a request", func(t *testing.T) {
		conn := tls.Client(must(net.Dial("tcp", o.admin)), o.config(nil))
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		o.countAudit(t, 1, because("certificate_missing"))
	})
	t.Run("h2 is not spoken", func(t *testing.T) {
		config := o.config(o.operator)
		config.NextProtos = []string{"h2", "http/1.1"}
		conn := must(tls.Dial("tcp", o.admin, config))
		if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			t.Errorf("agreed on %q", got)
		}
		_ = conn.Close()
	})
	t.Run("strangers who fill the house", func(t *testing.T) {
		known := tls.Client(must(net.Dial("tcp", o.admin)), o.config(o.operator))
		defer func() { _ = known.Close() }()
		asked := func() int {
			_ = known.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(known, "GET /readyz HTTP/1.1\r\nHost: admin.test\r\n\r\n")
			answer, err := http.ReadResponse(bufio.NewReader(known), nil)
			if err != nil {
				return 0
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			return answer.StatusCode
		}
		if got := asked(); got != http.StatusOK {
			t.Fatal(got)
		}
		for range 150 { // more than twice as many as it takes
			conn := must(net.Dial("tcp", o.admin))
			defer func() { _ = conn.Close() }()
			_, _ = conn.Write([]byte("\x16\x03\x01"))
		}
		began := time.Now()
		wantStatus(t, o.ask(o.operator, "GET", "/readyz"), http.StatusOK)
		if took := time.Since(began); took > slow(3*time.Second) {
			t.Errorf("an operator waited %v behind strangers", took)
		}
		if got := asked(); got != http.StatusOK {
			t.Errorf("who was there before them got %d", got)
		}
	})
	t.Run("another page's POST", func(t *testing.T) {
		wantStatus(t, o.ask(o.operator, "POST", "/drain", "Origin", "https://evil.example"), http.StatusForbidden)
		wantStatus(t, o.ask(o.operator, "POST", "/drain", "Origin", "http://"+o.admin), http.StatusForbidden)
		wantStatus(t, o.ask(o.operator, "GET", "/readyz"), http.StatusOK)
		wantStatus(t, o.ask(o.operator, "POST", "/reload", "Origin", "https://"+o.admin), http.StatusOK)
	})
}

// What is replaced on disk or in the configuration holds for who comes then, and who is there has to come again.
func TestTheAdminListenerFollowsItsFiles(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	config := o.config(o.operator)
	kept := tls.Client(must(net.Dial("tcp", o.admin)), config)
	if err := kept.Handshake(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	_ = kept.SetDeadline(time.Now().Add(slow(8 * time.Second)))
	renewed := common().root.server("admin.test")
	o.serve(t, renewed)
	served := func() string {
		conn, err := tls.Dial("tcp", o.admin, o.config(o.operator))
		if err != nil {
			return ""
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	waitFor(t, "the new certificate", 5*time.Second, func() bool { return served() == leafOf(renewed).SerialNumber.String() })
	if _, err := kept.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("who came under the old certificate was told %v", err)
	}
	stranger := newRoot("other operators")
	writeFile(t, o.dir, "operators.pem", pemCertificates(stranger.cert.Raw))
	other := stranger.svid(operatorID)
	waitFor(t, "the new trust", 5*time.Second, func() bool { return o.ask(other, "GET", "/readyz").status == http.StatusOK })
	wantRefusal(t, o.ask(o.operator, "GET", "/readyz"), http.StatusForbidden, "certificate_untrusted")
	o.rewrite(t, "spiffe://cluster.local/ns/ops/*", "spiffe://cluster.local/ns/night/*")
	wantStatus(t, o.ask(other, "POST", "/reload"), http.StatusOK)
	wantRefusal(t, o.ask(other, "GET", "/config"), http.StatusForbidden, "identity_not_allowed")
	wantStatus(t, o.ask(stranger.svid("spiffe://cluster.local/ns/night/sa/bob"), "GET", "/config"), http.StatusOK)
}

func TestWhatTheAdminListenerServesIsWarnedOfToo(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.serve(t, common().root.issue(valid(-10*time.Hour, time.Hour), commonName("night desk"), extendedUsage(x509.ExtKeyUsageServerAuth),
		func(d *draft) { d.DNSNames = []string{"admin.test"} }))
	wantStatus(t, o.ask(o.operator, "POST", "/reload"), http.StatusOK)
	waitFor(t, "the warning", 5*time.Second, func() bool {
		found := o.saying(t, "a served certificate expires soon")
		return len(found) == 1 && found[0]["listener"] == "admin" && found[0]["name"] == "CN=night desk"
	})
	if output, code := tollgate(t, "check", "--config", o.gateway.config); code != 0 || strings.Count(output, ": warning: ") != 1 || !strings.Contains(output, "(CN=night desk), ends 20") {
		t.Errorf("check: exit %d: %s", code, output)
	}
	o.stop()
	o.open(t)
	waitFor(t, "it to be named at the start", 20*time.Second, func() bool {
		for _, serving := range o.saying(t, "serving") {
			if serving["listener"] == "admin" && serving["name"] == "CN=night desk" {
				return true
			}
		}
		return false
	})
}

func TestAnAdminAddressThatOthersReachIsShoutedAbout(t *testing.T) {
	t.Parallel()
	g := launch(t, setup{keepErrors: true, routes: []string{route("path: /*", "respond: {status: 204}")}})
	g.kill()
	_, port, _ := net.SplitHostPort(g.admin)
	quoted := fmt.Sprintf("admin: {address: %q}", g.admin)
	everywhere := "0.0.0.0:" + port
	g.rewrite(t, quoted, fmt.Sprintf("admin: {address: %q}", everywhere))
	if said, code := tollgate(t, "check", "--config", g.config); code != 2 || !strings.Contains(said, "allow_remote: true") || !strings.Contains(said, "tls") {
		t.Errorf("check: %d %s", code, said)
	}
	for _, row := range []struct{ rest, wanted string }{
		{", allow_remote: true}", "neither TLS nor a password"},
		{", tls: {certificate_chain: gateway.pem, private_key: gateway.key, trusted_ca: ca.pem, match_subject_alt_names: [\"spiffe://cluster.local/*\"]}}", ""},
	} {
		writeFile(t, g.dir, "tollgate.yaml", []byte(strings.Replace(g.setup.yaml(g.address, g.admin), quoted,
			fmt.Sprintf("admin: {address: %q%s", everywhere, row.rest), 1)))
		if said, code := tollgate(t, "check", "--config", g.config); code != 0 {
			t.Fatalf("check: %d %s", code, said)
		}
		g.run()
		waitFor(t, "the start", 20*time.Second, func() bool { return strings.Contains(g.stderr.String(), "msg=\"ready\"") || !g.running() })
		if shouted := strings.Contains(g.stderr.String(), "neither TLS nor a password"); shouted != (row.wanted != "") {
			t.Errorf("with %s the log says\n%s", row.rest, g.stderr)
		}
		g.stop()
	}
	if _, err := os.Stat(filepath.Join(g.dir, "audit.jsonl")); err != nil {
		t.Error(err)
	}
}
