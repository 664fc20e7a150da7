package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// Material that changes while the gateway runs, sessions that are resumed, and what only OpenSSL's
// own client can do.

const renewal = 5 * time.Second // the contract's bound for new material to take effect

func TestReplacedServerCertificateTakesEffect(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	renewed := common().root.server("gateway.test", "renewed.test")
	writeFile(t, g.dir, "gateway.key", pemKey(renewed.PrivateKey))
	writeFile(t, g.dir, "gateway.pem", pemCertificates(renewed.Certificate...))
	serial := leafOf(renewed).SerialNumber
	waitFor(t, "renewed certificate to be served", renewal, func() bool {
		conn, err := g.dialTLS(t, g.trusting(common().web))
		return err == nil && conn.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(serial) == 0
	})
}

func TestHalfAReplacementIsNotServed(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	old := leafOf(common().gateway).SerialNumber
	writeFile(t, g.dir, "gateway.key", pemKey(newECDSA())) // no longer the certificate's key
	writeFile(t, g.dir, "other.pem", []byte("no certificate at all"))
	until := time.Now().Add(renewal)
	waitFor(t, "all of the time a reload may take", 2*renewal, func() bool {
		conn, err := g.dialTLS(t, g.trusting(common().web))
		if err != nil || conn.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(old) != 0 {
			t.Fatalf("the old certificate is not served: %v", err)
		}
		_ = conn.Close()
		return time.Now().After(until)
	})
}

func TestReplacedBundleTakesEffect(t *testing.T) {
	t.Parallel()
	old, renewed := newRoot("old root"), newRoot("new root")
	g := answering(t, setup{trust: pemCertificates(old.cert.Raw)})
	oldClient, newClient := old.svid(webID), renewed.svid(webID)
	resuming := g.trusting(oldClient, "http/1.1")
	resuming.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	wantStatus(t, g.once(t, resuming), http.StatusOK)
	wantRefusal(t, g.once(t, g.trusting(newClient, "http/1.1")), 403, "certificate_untrusted")

	writeFile(t, g.dir, "ca.pem", pemCertificates(renewed.cert.Raw))
	waitFor(t, "new bundle to be trusted", renewal, func() bool {
		return g.once(t, g.trusting(newClient, "http/1.1")).status == http.StatusOK
	})
	waitFor(t, "old bundle to be forgotten", renewal, func() bool {
		return g.once(t, g.trusting(oldClient, "http/1.1")).status == http.StatusForbidden
	})
	// The session was made when the client was good; it is not good now.
	wantRefusal(t, g.once(t, resuming), 403, "certificate_untrusted")
}

func TestReplacedCRLTakesEffect(t *testing.T) {
	t.Parallel()
	root := newRoot("revoking root")
	g := answering(t, setup{trust: pemCertificates(root.cert.Raw), crl: root.crl()})
	one, other := root.svid(webID), root.svid(webID)
	wantStatus(t, g.once(t, g.trusting(one, "http/1.1")), http.StatusOK)
	writeFile(t, g.dir, "ca.crl", root.crl(one))
	waitFor(t, "revocation", renewal, func() bool {
		return g.once(t, g.trusting(one, "http/1.1")).status == http.StatusForbidden
	})
	g.waitForAudit(t, "revocation", because("certificate_revoked"))
	wantStatus(t, g.once(t, g.trusting(other, "http/1.1")), http.StatusOK)
}

// once makes one HTTP/1.1 request over a new connection.
func (g *gateway) once(t *testing.T, config *tls.Config) reply {
	t.Helper()
	got, _ := g.comeback(t, config, "/x")
	return got
}

func TestMissingListDoesNotLockOutOthers(t *testing.T) {
	t.Parallel()
	listed, unlisted := newRoot("listed"), newRoot("unlisted")
	gone := listed.svid(webID)
	g := answering(t, setup{trust: pemCertificates(listed.cert.Raw, unlisted.cert.Raw), crl: listed.crl(gone)})
	wantStatus(t, g.once(t, g.trusting(listed.svid(webID), "http/1.1")), http.StatusOK)
	wantRefusal(t, g.once(t, g.trusting(gone, "http/1.1")), 403, "certificate_revoked")
}

func TestResumedSessionsAreHeldToTheVerdict(t *testing.T) {
	t.Parallel()
	g, _, back := guarded(t, setup{})
	for name, version := range versions {
		for who, cert := range map[string]*tls.Certificate{"good": common().web,
			"without certificate": nil, "untrusted": newRoot("stranger").svid(webID),
			"not allowed": common().root.svid("spiffe://other.example/x"), "expired": common().root.svid(webID, expired)} {
			t.Run(name+" "+who, func(t *testing.T) {
				config := g.trusting(cert, "http/1.1")
				config.MaxVersion = version
				config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
				for range 4 {
					got := g.once(t, config)
					if who != "good" {
						wantStatus(t, got, http.StatusForbidden)
					} else if seen := got.echo(t); !strings.Contains(seen.Headers.Get("X-Forwarded-Client-Cert"), "URI="+webID) {
						t.Errorf("identity header %q", seen.Headers["X-Forwarded-Client-Cert"])
					}
				}
			})
		}
	}
	if n := back.Journal.Count(""); n != 8 {
		t.Errorf("%d requests reached the backend", n)
	}
}

func TestResumptionDoesNotOutliveTheCertificate(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	config := g.trusting(common().root.svid(webID, valid(-time.Hour, 2*time.Second)), "http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	wantStatus(t, g.once(t, config), http.StatusOK)
	waitFor(t, "refusal after notAfter", 5*time.Second, func() bool { return g.once(t, config).status == 403 })
	g.waitForAudit(t, "expired", because("certificate_expired"))
}

// openssl runs s_client against the gateway with a good certificate, typing the input.
func (g *gateway) openssl(t *testing.T, input string, arguments ...string) string {
	t.Helper()
	writeFile(t, g.dir, "web.pem", pemCertificates(common().web.Certificate...))
	writeFile(t, g.dir, "web.key", pemKey(common().web.PrivateKey))
	command := exec.Command("openssl", append([]string{"s_client", "-connect", g.address,
		"-servername", "gateway.test", "-CAfile", g.dir + "/ca.pem",
		"-cert", g.dir + "/web.pem", "-key", g.dir + "/web.key"}, arguments...)...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	stdin := must(command.StdinPipe())
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(stdin, input)
	done := make(chan struct{})
	go func() { _ = command.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		_ = command.Process.Kill()
		<-done
		t.Errorf("openssl s_client hangs:\n%s", output.String())
	}
	return output.String()
}

const closingRequest = "GET /x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n"

func TestTLS12HasSecureRenegotiationAndExtendedMasterSecret(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	output := g.openssl(t, closingRequest, "-tls1_2", "-ign_eof")
	for _, want := range []string{"Secure Renegotiation IS supported", "Compression: NONE", "200 OK"} {
		if !strings.Contains(output, want) {
			t.Errorf("no %q in:\n%s", want, output)
		}
	}
	if !regexp.MustCompile(`Extended master secret: *yes`).MatchString(output) {
		t.Errorf("no extended master secret:\n%s", output)
	}
}

func TestClientCannotRenegotiate(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	output := g.openssl(t, "R\n"+closingRequest, "-tls1_2")
	if !strings.Contains(output, "RENEGOTIATING") {
		t.Fatalf("openssl did not try:\n%s", output)
	}
	if !strings.Contains(output, "no renegotiation") && !strings.Contains(output, "handshake failure") &&
		!strings.Contains(output, "unexpected message") {
		t.Errorf("renegotiation was not refused:\n%s", output)
	}
	wantStatus(t, g.once(t, g.trusting(common().web)), http.StatusOK)
}

func TestFallbackSignalIsHonoured(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	if output := g.openssl(t, closingRequest, "-tls1_2", "-fallback_scsv", "-ign_eof"); !strings.Contains(output, "inappropriate fallback") {
		t.Errorf("fallback was not refused:\n%s", output)
	}
}

func TestEarlyDataIsNotAgreedTo(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	if output := g.openssl(t, closingRequest, "-tls1_3", "-ign_eof"); strings.Contains(output, "Early data was accepted") ||
		regexp.MustCompile(`Max Early Data: *[1-9]`).MatchString(output) {
		t.Errorf("early data is offered:\n%s", output)
	}
}

func TestBrokenRecordInTheMiddleEndsTheConnection(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, version := range versions {
		under := g.dialTCP(t)
		config := g.trusting(common().web, "http/1.1")
		config.MaxVersion = version
		conn := tls.Client(under, config)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprint(under, "\x17\x03\x03\x00\x20", strings.Repeat("z", 32))
		if _, err := io.ReadAll(conn); isTimeout(err) {
			t.Errorf("%s: connection stays open", tls.VersionName(version))
		}
	}
}

func TestConnectionIsDrainedWhenItsCertificateExpires(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	w := g.wire(t, common().root.svid(webID, valid(-time.Hour, 3*time.Second)))
	w.say("GET /hello HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	wantStatus(t, w.hear("GET"), http.StatusOK)
	began := time.Now()
	if !w.closed() || time.Since(began) > slow(10*time.Second) {
		t.Errorf("connection lives on %v after its certificate expired", time.Since(began))
	}
}

// The second that not_after names is the first one in which the certificate is good no more, for newcomers and for those
// who are there already.
func TestDrainForAnExpiredCertificateBeginsAtNotAfter(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	for protocol, row := range map[string]struct {
		hello string
		ends  func(*tls.Conn) error // returns when it has been told
		at    time.Duration         // after not_after
	}{
		"http/1.1": {"", func(conn *tls.Conn) error {
			_, err := io.Copy(io.Discard, conn)
			return err
		}, time.Second}, // the last call of idle clients
		"h2": {http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", func(conn *tls.Conn) error {
			for framer := http2.NewFramer(io.Discard, conn); ; {
				frame, err := framer.ReadFrame()
				if _, ok := frame.(*http2.GoAwayFrame); ok || err != nil {
					return err
				}
			}
		}, 0},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cert := common().root.svid(webID, valid(-time.Hour, 3*time.Second))
			notAfter := leafOf(cert).NotAfter
			conn := must(g.dialTLS(t, g.trusting(cert, protocol)))
			_, _ = io.WriteString(conn, row.hello)
			if err := row.ends(conn); err != nil {
				t.Fatal(err)
			}
			if late := time.Since(notAfter) - row.at; late < -50*time.Millisecond || late > slow(700*time.Millisecond) {
				t.Errorf("told %v late", late)
			}
		})
	}
}
