package e2e

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// answering starts a gateway that needs no backend.
func answering(t *testing.T, s setup) *gateway {
	t.Helper()
	s.routes = append(s.routes, route("path: /*", `respond: {status: 200, body: "ok\n"}`))
	return start(t, s)
}

func TestALPNIsAgreedUpon(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, row := range []struct {
		offered []string
		agreed  string
	}{
		{[]string{"h2"}, "h2"},
		{[]string{"http/1.1"}, "http/1.1"},
		{[]string{"h2", "http/1.1"}, "h2"},
		{[]string{"http/1.1", "h2"}, "h2"},
		{[]string{"spdy/3", "http/1.1"}, "http/1.1"},
		{nil, ""},
	} {
		t.Run(strings.Join(row.offered, " "), func(t *testing.T) {
			for _, version := range versions {
				config := g.trusting(common().web, row.offered...)
				config.MinVersion, config.MaxVersion = version, version
				conn, err := g.dialTLS(t, config)
				if err != nil {
					t.Fatal(err)
				}
				got := conn.ConnectionState().NegotiatedProtocol
				if got != row.agreed && (len(row.offered) < 2 || !slices.Contains(row.offered, got)) {
					t.Errorf("agreed upon %q, want %q", got, row.agreed)
				}
			}
		})
	}
}

func TestWithoutALPNHTTP11IsSpoken(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	config := g.trusting(common().web)
	for _, version := range versions {
		config.MaxVersion = version
		conn, err := g.dialTLS(t, config)
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{conn, t, newReader(conn)}
		w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		wantStatus(t, w.hear("GET"), http.StatusOK)
	}
}

func TestUnknownALPNIsAlerted(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, offered := range []string{"spdy/3", "h3", "HTTP/1.1", "http/1.0", "H2"} {
		conn, err := g.dialTLS(t, g.trusting(common().web, offered))
		if alertIn(err) != 120 {
			t.Errorf("%s: %v, want the alert no_application_protocol", offered, err)
		}
		record := g.waitForAudit(t, offered, from(conn.LocalAddr().String()))
		if record.Reason != "tls_failed" {
			t.Errorf("audit record %s", record.line)
		}
	}
}

func TestWhatWasAgreedIsSpoken(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for agreed, bytes := range map[string]string{
		"h2":       "GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
		"http/1.1": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	} {
		conn, err := g.dialTLS(t, g.trusting(common().web, agreed))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, bytes)
		answer, err := io.ReadAll(conn)
		if isTimeout(err) || strings.Contains(string(answer), "200 OK") {
			t.Errorf("%s: answered %q, %v", agreed, answer, err)
		}
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	strict := answering(t, setup{minVersion: "1.3"})
	for _, row := range []struct {
		g       *gateway
		version uint16
		good    bool
	}{{g, tls.VersionTLS10, false}, {g, tls.VersionTLS11, false}, {g, tls.VersionTLS12, true},
		{g, tls.VersionTLS13, true}, {strict, tls.VersionTLS12, false}, {strict, tls.VersionTLS13, true}} {
		config := row.g.trusting(common().web)
		config.MinVersion, config.MaxVersion = row.version, row.version
		conn, err := row.g.dialTLS(t, config)
		if row.good {
			if err != nil {
				t.Errorf("%s: %v", tls.VersionName(row.version), err)
			}
			continue
		}
		if alert := alertIn(err); alert != 70 && alert != 40 {
			t.Errorf("%s: %v", tls.VersionName(row.version), err)
		}
		record := row.g.waitForAudit(t, "old version", from(conn.LocalAddr().String()))
		if record.Reason != "tls_failed" {
			t.Errorf("audit record %s", record.line)
		}
	}
}

func TestWeakSuitesAreRefused(t *testing.T) {
	t.Parallel()
	p := common()
	served := p.root.issue(func(d *draft) {
		d.key, d.DNSNames = rsa2048(), []string{"gateway.test"}
		d.KeyUsage |= x509.KeyUsageKeyEncipherment
		d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	g := answering(t, setup{served: []servedPair{pair("rsa", served)}})
	weak := tls.InsecureCipherSuites()
	for _, suite := range tls.CipherSuites() {
		if strings.HasPrefix(suite.Name, "TLS_RSA_") {
			weak = append(weak, suite)
		}
	}
	for _, suite := range weak {
		if strings.HasSuffix(suite.Name, "ECDHE_RSA_WITH_AES_128_CBC_SHA256") || strings.Contains(suite.Name, "_ECDSA_") {
			continue // CBC is old but not forbidden; ECDSA suites cannot be agreed upon with this key
		}
		config := g.trusting(p.web)
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		if _, err := g.dialTLS(t, config); err == nil {
			t.Errorf("%s is accepted", suite.Name)
		}
	}
}

func pair(name string, cert *tls.Certificate) servedPair {
	return servedPair{name, pemCertificates(cert.Certificate...), pemKey(cert.PrivateKey)}
}

func TestServedKeyTypes(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]crypto.Signer{"P-256": newECDSA(), "P-384": newP384(),
		"RSA-2048": rsa2048(), "Ed25519": newEd25519()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := common().root.issue(withKey(key), func(d *draft) { d.DNSNames = []string{"gateway.test"} },
				extendedUsage(x509.ExtKeyUsageServerAuth))
			g := answering(t, setup{served: []servedPair{pair("served", served)}})
			for _, version := range versions {
				wantStatus(t, g.try(t, version, "h1", common().web).reply, http.StatusOK)
			}
		})
	}
}

func TestSNIPicksTheCertificate(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for sni, want := range map[string]string{"gateway.test": "gateway.test", "other.test": "other.test",
		"OTHER.test": "other.test", "unknown.test": "gateway.test", "": "gateway.test"} {
		config := g.trusting(common().web)
		config.ServerName, config.InsecureSkipVerify = sni, true
		conn, err := g.dialTLS(t, config)
		if err != nil {
			t.Errorf("%q: %v", sni, err)
			continue
		}
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("SNI %q is served the certificate of %q", sni, got)
		}
	}
}

func TestPossessionOfTheKeyMustBeProved(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"forbid", "alert"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			g, users, back := guarded(t, setup{mode: mode})
			stolen := &tls.Certificate{Certificate: common().web.Certificate, PrivateKey: newECDSA()}
			everyWay(t, func(t *testing.T, version uint16, protocol string) {
				got := g.try(t, version, protocol, stolen)
				if got.err == nil {
					t.Errorf("let in: status %d", got.status)
				}
				_ = g.recordOf(t, "stolen certificate", got)
			})
			wantUntouched(t, users, back)
		})
	}
}

func TestGarbageEndsTheConnection(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{listener: []string{"timeouts: {handshake: 1s}"}})
	hello := recordedHello(t, g)
	for name, bytes := range map[string]string{
		"plaintext HTTP":       "GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
		"plaintext HTTP/2":     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"zeros":                strings.Repeat("\x00", 1000),
		"ones":                 strings.Repeat("\xff", 1000),
		"SSL 2 hello":          "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80" + strings.Repeat("a", 34),
		"alert first":          "\x15\x03\x01\x00\x02\x02\x28",
		"application data":     "\x17\x03\x03\x00\x05hello",
		"oversized record":     "\x16\x03\x01\xff\xff" + strings.Repeat("x", 70000),
		"hello cut short":      hello[:len(hello)/2],
		"hello with bad bytes": hello[:len(hello)-20] + strings.Repeat("\xee", 20),
		"hello twice":          hello + hello,
		"empty records":        strings.Repeat("\x16\x03\x01\x00\x00", 2000),
		"nothing":              "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := g.dialTCP(t)
			began := time.Now()
			_, _ = io.WriteString(conn, bytes)
			answer, err := io.ReadAll(conn)
			if isTimeout(err) || time.Since(began) > slow(4*time.Second) {
				t.Errorf("connection still open after %v", time.Since(began))
			}
			if strings.Contains(string(answer), "200 OK") {
				t.Errorf("answered %q", answer)
			}
			record := g.waitForAudit(t, name, from(conn.LocalAddr().String()))
			if record.Reason != "tls_failed" {
				t.Errorf("audit record %s", record.line)
			}
		})
	}
}

// recordedHello returns the bytes of a good ClientHello.
func recordedHello(t *testing.T, g *gateway) string {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, g.trusting(common().web)).Handshake() }()
	buffer := make([]byte, 16<<10)
	n := must(far.Read(buffer))
	_ = far.Close()
	return string(buffer[:n])
}

func TestHandshakeHasOneDeadlineHoweverDripped(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{listener: []string{"timeouts: {handshake: 1s}"}})
	hello := recordedHello(t, g)
	conn := g.dialTCP(t)
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn)
	}()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ended:
			if took := time.Since(began); took < 900*time.Millisecond || took > slow(3*time.Second) {
				t.Errorf("ended after %v, want 1 s", took)
			}
			return
		case <-ticker.C:
			_, _ = io.WriteString(conn, hello[i%len(hello):i%len(hello)+1])
		}
	}
}

func TestEndIsAnnouncedWithCloseNotify(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	recorder := &recordingConn{Conn: g.dialTCP(t)}
	config := g.trusting(common().web)
	config.MaxVersion = tls.VersionTLS12 // where the type of a record can be seen
	conn := tls.Client(recorder, config)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "200 OK") {
		t.Fatalf("%q, %v", answer, err)
	}
	if last := lastRecord(recorder.bytes()); last != 21 {
		t.Errorf("the last record is of type %d, not an alert", last)
	}
}

type recordingConn struct {
	net.Conn
	mutex sync.Mutex
	read  []byte
}

func (c *recordingConn) Read(buffer []byte) (int, error) {
	n, err := c.Conn.Read(buffer)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.read = append(c.read, buffer[:n]...)
	return n, err
}

func (c *recordingConn) bytes() []byte {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return slices.Clone(c.read)
}

func lastRecord(stream []byte) (kind byte) {
	for len(stream) >= 5 {
		kind = stream[0]
		stream = stream[min(len(stream), 5+int(stream[3])<<8+int(stream[4])):]
	}
	return kind
}
