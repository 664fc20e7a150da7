package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Who is let in (BEHAVIOUR, section 1): what the tables of good and bad certificates leave out.

func extra(critical bool, value []byte, oid ...int) trait {
	return func(d *draft) {
		d.ExtraExtensions = append(d.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
	}
}

// general adds a name of any type to the SAN extension, raw.
func general(tag int, value string) trait {
	return func(d *draft) { d.names = append(d.names, generalName(tag, []byte(value))) }
}

func constructed(tag int, value string) trait {
	return func(d *draft) {
		d.names = append(d.names, must(asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag,
			IsCompound: true, Bytes: []byte(value)})))
	}
}

func change(apply func(d *draft)) trait { return apply }

func within4(address string) *net.IPNet {
	_, network, err := net.ParseCIDR(address)
	return must(network, err)
}

func sha1Root(cn string) *authority {
	d := newDraft(cn, []trait{isAuthority, withKey(rsa2048())})
	self := &authority{cert: &d.Certificate, key: d.key}
	d.weak = crypto.SHA1
	der := self.sign(d)
	return &authority{cert: must(x509.ParseCertificate(der)), key: d.key}
}

// again issues the certificate of an authority once more, by another one.
func (a *authority) again(other *authority) *authority {
	der := a.sign(&draft{Certificate: *other.cert, key: other.key})
	return &authority{cert: other.cert, key: other.key, chain: append([][]byte{der}, a.chain...)}
}

func TestCertificatesOnTheEdge(t *testing.T) {
	t.Parallel()
	root, stranger, old := common().root, newRoot("a stranger"), newRoot("old", expired)
	sha1 := sha1Root("signed by itself over SHA-1")
	shared := newRoot("cross-signed")
	both := root.again(shared)
	other := stranger.again(shared)
	trust := pemCertificates(root.cert.Raw, common().rsaRoot.cert.Raw, sha1.cert.Raw, old.cert.Raw)
	g, users, back := guarded(t, setup{trust: trust, patterns: []string{
		"spiffe://cluster.local/*", "spiffe://1.2.3.4/*", "spiffe://_a-b.c_/*", "spiffe://x/*"}})

	i, j := root.intermediate("i"), root.intermediate("j")
	disorder := i.intermediate("below i").svid(webID)
	disorder.Certificate = [][]byte{disorder.Certificate[0], j.cert.Raw, root.cert.Raw, disorder.Certificate[2],
		disorder.Certificate[1], disorder.Certificate[1]}
	ofBoth := shared.svid(webID)
	ofBoth.Certificate = append(ofBoth.Certificate, other.chain[0], both.chain[0])
	ofOther := shared.svid(webID)
	ofOther.Certificate = append(ofOther.Certificate, other.chain[0], shared.cert.Raw)
	escort := stranger.svid(webID)
	escort.Certificate = append(escort.Certificate, root.cert.Raw)
	unrelated := root.svid("spiffe://cluster.local/first")
	unrelated.Certificate = append(unrelated.Certificate, root.svid("spiffe://cluster.local/admin").Certificate...)
	pss := common().rsaRoot.svid(webID, change(func(d *draft) { d.SignatureAlgorithm = x509.SHA256WithRSAPSS }))
	rsa3072 := must(rsa.GenerateKey(rand.Reader, 3072))
	usages := asn1.ObjectIdentifier{2, 5, 29, 15}

	const in, invalid, usage, untrusted = "", "certificate_invalid", "certificate_wrong_usage", "certificate_untrusted"
	for _, row := range []struct {
		name, reason string
		cert         *tls.Certificate
	}{
		{"root signed by itself over SHA-1", in, sha1.svid(webID)},
		{"RSA-3072", in, root.svid(webID, withKey(rsa3072))},
		{"RSA-PSS signature", in, pss},
		{"SHA-512 with RSA", in, common().rsaRoot.svid(webID, change(func(d *draft) { d.SignatureAlgorithm = x509.SHA512WithRSA }))},
		{"chain out of order, doubled, with the root", in, disorder},
		{"one of two cross-signed roads is good", in, ofBoth},
		{"until the end of time", in, root.svid(webID, change(func(d *draft) { d.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }))},
		{"since 1950", in, root.svid(webID, change(func(d *draft) { d.NotBefore = time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC) }))},
		{"until 2049", in, root.svid(webID, change(func(d *draft) { d.NotAfter = time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC) }))},
		{"no basic constraints", in, root.svid(webID, change(func(d *draft) { d.BasicConstraintsValid = false }))},
		{"unknown extension that is not critical", in, root.svid(webID, extra(false, []byte("\x05\x00"), 1, 3, 9999, 7))},
		{"any extended usage", in, root.svid(webID, extendedUsage(x509.ExtKeyUsageAny))},
		{"any extended usage beside another", in, root.svid(webID, extendedUsage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny))},
		{"intermediate for any extended usage", in, root.intermediate("any", extendedUsage(x509.ExtKeyUsageAny)).svid(webID)},
		{"intermediate for clients", in, root.intermediate("clients", extendedUsage(x509.ExtKeyUsageClientAuth)).svid(webID)},
		{"registered id and directory name beside", in, root.svid(webID, general(8, "\x2a\x03\x04"), constructed(4, "\x30\x00"))},
		{"other name beside", in, root.svid(webID, constructed(0, "\x06\x03\x2a\x03\x04\xa0\x02\x05\x00"))},
		{"a hundred DNS names beside", in, root.svid(webID, change(func(d *draft) {
			for range 100 {
				dns(strings.Repeat("n", 60) + ".example")(d)
			}
		}))},
		{"IP address as trust domain", in, root.svid("spiffe://1.2.3.4/x")},
		{"underscores and dashes in the trust domain", in, root.svid("spiffe://_a-b.c_/x")},
		{"shortest ID", in, root.svid("spiffe://x/y")},
		{"three dots", in, root.svid("spiffe://cluster.local/...")},
		{"a thousand segments", in, root.svid("spiffe://cluster.local" + strings.Repeat("/x", 1000))},
		{"permitted by all kinds of constraints", in, root.intermediate("permitting", onlyURIDomain("cluster.local"), change(func(d *draft) {
			d.PermittedDNSDomains, d.PermittedEmailAddresses = []string{"a.example"}, []string{"a.example"}
			d.PermittedIPRanges = []*net.IPNet{within4("10.0.0.0/8")}
		})).svid(webID, dns("x.a.example"), email("me@a.example"), ip("10.1.2.3"))},

		{"only the road of a stranger", untrusted, ofOther},
		{"stranger that sends our root along", untrusted, escort},
		{"the identity is the first one's", in, unrelated},
		{"expired root in the bundle", "certificate_expired", old.svid(webID)},
		{"key usage twice", invalid, root.svid(webID, extra(true, []byte("\x03\x02\x07\x80"), usages...), extra(true, []byte("\x03\x02\x07\x80"), usages...))},
		{"extended key usage twice", invalid, root.svid(webID, extra(false, []byte("\x30\x0a\x06\x08+\x06\x01\x05\x05\x07\x03\x02"), 2, 5, 29, 37), extra(false, []byte("\x30\x0a\x06\x08+\x06\x01\x05\x05\x07\x03\x02"), 2, 5, 29, 37))},
		{"basic constraints twice", invalid, root.svid(webID, extra(true, []byte("\x30\x00"), 2, 5, 29, 19), extra(true, []byte("\x30\x00"), 2, 5, 29, 19))},
		{"basic constraints that do not parse", invalid, root.svid(webID, change(func(d *draft) { d.BasicConstraintsValid = false }),
			extra(true, []byte("\x04\x00"), 2, 5, 29, 19))},
		{"empty key usage", usage + "|" + invalid, root.svid(webID, keyUsage(0), extra(true, []byte("\x03\x01\x00"), usages...))},
		{"contentCommitment alone", usage, root.svid(webID, keyUsage(x509.KeyUsageContentCommitment))},
		{"empty extended usage", usage + "|" + invalid, root.svid(webID, extendedUsage(), extra(false, []byte("\x30\x00"), 2, 5, 29, 37))},
		{"unknown extended usage", usage, root.svid(webID, extendedUsage(), change(func(d *draft) { d.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }))},
		{"intermediate for code", usage, root.intermediate("code", extendedUsage(x509.ExtKeyUsageCodeSigning)).svid(webID)},
		{"upper intermediate for servers", usage, root.intermediate("s", extendedUsage(x509.ExtKeyUsageServerAuth)).intermediate("t").svid(webID)},
		{"DNS name not permitted", invalid, root.intermediate("d", change(func(d *draft) { d.PermittedDNSDomains = []string{"a.example"} })).svid(webID, dns("b.example"))},
		{"DNS name excluded", invalid, root.intermediate("e", change(func(d *draft) { d.ExcludedDNSDomains = []string{"a.example"} })).svid(webID, dns("x.a.example"))},
		{"email not permitted", invalid, root.intermediate("m", change(func(d *draft) { d.PermittedEmailAddresses = []string{"a.example"} })).svid(webID, email("x@b.example"))},
		{"address excluded", invalid, root.intermediate("p", change(func(d *draft) { d.ExcludedIPRanges = []*net.IPNet{within4("10.0.0.0/8")} })).svid(webID, ip("10.1.2.3"))},
		{"constraint two levels up", invalid, root.intermediate("u", onlyURIDomain("elsewhere.example")).intermediate("v").svid(webID)},
		{"constraint by a trusted root", invalid, root.intermediate("w", excludedURIDomain(".local")).svid(webID)},
		{"path length two levels up", invalid, root.intermediate("1", pathLength(1)).intermediate("2").intermediate("3").svid(webID)},
		{"another certificate's ID in a SAN that is empty", "identity_missing", root.issue(extra(false, []byte("\x30\x00"), 2, 5, 29, 17))},
		{"URI of another type of string", "identity_missing|certificate_invalid", root.issue(extra(false, []byte("\x30\x0f\x0c\x0dspiffe://x/yz"), 2, 5, 29, 17))},
		{"issuer alternative name", "identity_missing", root.issue(extra(false, append([]byte("\x30\x0f\x86\x0d"), "spiffe://x/yz"...), 2, 5, 29, 18))},
		{"ID by IP address", "identity_missing", root.issue(ip("127.0.0.1"))},
		{"other name with the ID", "identity_missing", root.issue(constructed(0, "\x06\x03\x2a\x03\x04\xa0\x0e\x0c\x0cspiffe://x/y"))},
		{"trust domain with a final dot", "identity_not_allowed", root.svid("spiffe://cluster.local./x")},
		{"trust domain with a leading dot", "identity_not_allowed", root.svid("spiffe://.cluster.local/x")},
		{"trust domain that holds ours as path", "identity_not_allowed", root.svid("spiffe://evil/cluster.local/x")},
		{"carriage return at the end", "identity_malformed", root.svid("spiffe://cluster.local/x\r")},
		{"escape of a letter", "identity_malformed", root.svid("spiffe://cluster.local/%61")},
		{"delete", "identity_malformed", root.svid("spiffe://cluster.local/x\x7f")},
		{"Latin-1", "identity_malformed", root.svid("spiffe://cluster.local/\xe9")},
		{"full-width slash", "identity_malformed", root.svid("spiffe://cluster.local／x")},
		{"bracketed", "identity_malformed", root.svid("spiffe://[::1]/x")},
		{"comma", "identity_malformed", root.svid("spiffe://cluster.local/a,b")},
		{"equals", "identity_malformed", root.svid("spiffe://cluster.local/URI=b")},
		{"plus", "identity_malformed", root.svid("spiffe://cluster.local/a+b")},
		{"colon in the path", "identity_malformed", root.svid("spiffe://cluster.local/a:b")},
		{"at in the path", "identity_malformed", root.svid("spiffe://cluster.local/a@b")},
		{"exclamation", "identity_malformed", root.svid("spiffe://cluster.local/a!b")},
		{"three slashes", "identity_malformed", root.svid("spiffe:////cluster.local/x")},
		{"backslashes", "identity_malformed", root.svid(`spiffe:\\cluster.local\x`)},
		{"mixed-case scheme", "identity_malformed", root.svid("Spiffe://cluster.local/x")},
		{"scheme spiffes", "identity_malformed", root.svid("spiffes://cluster.local/x")},
		{"urn", "identity_malformed", root.svid("urn:spiffe:cluster.local:x")},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, protocol := range []string{"h1", "h2"} {
				got := g.try(t, versions[map[string]string{"h1": "TLS1.2", "h2": "TLS1.3"}[protocol]], protocol, row.cert)
				if row.reason == in {
					wantStatus(t, got.reply, 200)
					continue
				}
				wantStatus(t, got.reply, 403)
				if reason := got.problem("reason"); !strings.Contains("|"+row.reason+"|", "|"+reason+"|") {
					t.Errorf("refused for %s, want %s", reason, row.reason)
				}
				_ = g.recordOf(t, row.name, got)
			}
		})
	}
	if users.Wire.Bytes.Load() != 0 {
		t.Error("the gRPC backend was touched")
	}
	for _, call := range back.Journal.Calls("") {
		if strings.Contains(strings.Join(call.Metadata["X-Forwarded-Client-Cert"], ""), "admin") {
			t.Errorf("the second certificate's identity was told: %v", call.Metadata)
		}
	}
}

func listOf(a *authority, change func(*x509.RevocationList), revoked ...*tls.Certificate) []byte {
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: leafOf(cert).SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	change(template)
	der := must(x509.CreateRevocationList(rand.Reader, template, a.cert, a.key))
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func TestRevocationLists(t *testing.T) {
	t.Parallel()
	root, other, listless := newRoot("root with a list"), newRoot("other root with one"), newRoot("root without")
	with, without := root.intermediate("with a list"), root.intermediate("without a list")
	revoked, held, late, ofOther, below := root.svid(webID), root.svid(webID), root.svid(webID), other.svid(webID), with.svid(webID)
	fallen := other.intermediate("fallen")
	sameSerial := listless.svid(webID, change(func(d *draft) { d.SerialNumber = leafOf(revoked).SerialNumber }))
	unchanged := func(*x509.RevocationList) {}
	crl := append(listOf(root, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries[1].ReasonCode = 6 // certificateHold
	}, revoked, held), listOf(with, unchanged, below)...)
	crl = append(crl, listOf(other, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Minute) }, ofOther,
		&tls.Certificate{Certificate: fallen.chain})...)
	crl = append(crl, listOf(newRoot("of nobody here"), unchanged, revoked)...)
	g := answering(t, setup{crl: crl, trust: pemCertificates(root.cert.Raw, other.cert.Raw, listless.cert.Raw)})
	for name, row := range map[string]struct {
		cert *tls.Certificate
		in   bool
	}{
		"revoked": {revoked, false}, "on hold": {held, false}, "revoked by an intermediate": {below, false},
		"revoked by a list out of date": {ofOther, false}, "below an intermediate that a list out of date revokes": {fallen.svid(webID), false},
		"not revoked": {late, true}, "below an intermediate with a list": {with.svid(webID), true},
		"below one without a list":        {without.svid(webID), true},
		"two below one without a list":    {without.intermediate("x").svid(webID), true},
		"of a root without a list":        {listless.svid(webID), true},
		"of another list's issuer":        {other.svid(webID), true},
		"the serial another root revoked": {sameSerial, true},
	} {
		got := g.once(t, g.trusting(row.cert, "http/1.1"))
		if row.in {
			wantStatus(t, got, 200)
		} else {
			wantRefusal(t, got, 403, "certificate_revoked")
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
	// An older and a newer list of one issuer: the newer one holds; and what is no list leaves it in force.
	newer := listOf(root, func(l *x509.RevocationList) { l.Number, l.ThisUpdate = big.NewInt(2), time.Now().Add(-time.Minute) }, revoked, held, late)
	writeFile(t, g.dir, "ca.crl", append(crl, newer...))
	waitFor(t, "the newer list to hold", renewal, func() bool { return g.once(t, g.trusting(late, "http/1.1")).status == 403 })
	writeFile(t, g.dir, "ca.crl", []byte("nonsense"))
	waitFor(t, "two looks at nonsense", renewal, func() bool {
		return strings.Count(g.stderr.String(), "do not load") > 0
	})
	wantRefusal(t, g.once(t, g.trusting(late, "http/1.1")), 403, "certificate_revoked")
}

// Every way in which operators and their tools replace files.
func TestEveryWayOfReplacingFiles(t *testing.T) {
	t.Parallel()
	old := newRoot("root of yesterday")
	for name, replace := range map[string]func(t *testing.T, dir string, files map[string][]byte){
		"in place": func(t *testing.T, dir string, files map[string][]byte) {
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"in place, in pieces": func(t *testing.T, dir string, files map[string][]byte) {
			for name, content := range files {
				file := must(os.Create(filepath.Join(dir, name)))
				for part := range 4 {
					_, _ = file.Write(content[len(content)*part/4 : len(content)*(part+1)/4])
					pause()
				}
				_ = file.Close()
			}
		},
		"removed, then made again": func(t *testing.T, dir string, files map[string][]byte) {
			for name := range files {
				_ = os.Remove(filepath.Join(dir, name))
			}
			<-time.After(1200 * time.Millisecond) // long enough for a look at nothing
			for name, content := range files {
				writeFile(t, dir, name, content)
			}
		},
		"by links, with an old date": func(t *testing.T, dir string, files map[string][]byte) {
			for name, content := range files {
				path := filepath.Join(dir, "real "+name)
				writeFile(t, dir, "real "+name, content)
				_ = os.Chtimes(path, time.Unix(1000000000, 0), time.Unix(1000000000, 0))
				_ = os.Symlink(path, path+".link")
				_ = os.Rename(path+".link", filepath.Join(dir, name))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, setup{trust: pemCertificates(old.cert.Raw)})
			before, after := old.svid(webID), common().root.svid(webID)
			wantStatus(t, g.once(t, g.trusting(before, "http/1.1")), 200)
			renewed := common().root.server("gateway.test")
			replace(t, g.dir, map[string][]byte{"ca.pem": pemCertificates(common().root.cert.Raw),
				"gateway.pem": pemCertificates(renewed.Certificate...), "gateway.key": pemKey(renewed.PrivateKey)})
			waitFor(t, "all of it to be in force", renewal, func() bool {
				conn, err := g.dialTLS(t, g.trusting(after, "http/1.1"))
				if err != nil {
					return false
				}
				defer func() { _ = conn.Close() }()
				served := conn.ConnectionState().PeerCertificates[0].SerialNumber
				return served.Cmp(leafOf(renewed).SerialNumber) == 0 &&
					g.once(t, g.trusting(after, "http/1.1")).status == 200
			})
			wantRefusal(t, g.once(t, g.trusting(before, "http/1.1")), 403, "certificate_untrusted")
		})
	}
}
