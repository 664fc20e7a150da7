package e2e

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
)

// A badRow is a certificate that must be refused. Where the contract leaves it open which of two
// words fits, both stand.
type badRow struct {
	name    string
	cert    *tls.Certificate
	reasons []string
	alerts  []int // in alert mode; empty: any that speaks of the certificate
}

func (r badRow) grpcCode() codes.Code {
	if r.reasons[0] == "identity_not_allowed" {
		return codes.PermissionDenied
	}
	return codes.Unauthenticated
}

type badTable struct {
	rows       []badRow
	crl, trust []byte
}

func (b *badTable) add(reason, name string, cert *tls.Certificate, alerts ...int) {
	b.rows = append(b.rows, badRow{name, cert, strings.Split(reason, "|"), alerts})
}

var badCertificates = sync.OnceValue(func() *badTable {
	b := &badTable{trust: pemCertificates(common().root.cert.Raw, common().rsaRoot.cert.Raw)}
	b.add("certificate_missing", "none", nil, 116)
	b.untrusted()
	b.outOfTime()
	b.wrongUsage()
	b.weak()
	b.invalid()
	b.revoked()
	b.identities()
	b.malformed()
	return b
})

func (b *badTable) untrusted() {
	root := common().root
	stranger := newRoot("stranger")
	double := newRoot(root.cert.Subject.CommonName, sameKeyID(root))
	b.add("certificate_untrusted", "unknown CA", stranger.svid(webID), 48)
	b.add("certificate_untrusted|certificate_invalid", "CA of the same name and key id", double.svid(webID), 42, 48, 51)
	b.add("certificate_untrusted", "unknown CA through an intermediate", stranger.intermediate("i").svid(webID), 48)
	missing := root.intermediate("missing")
	missing.chain = nil
	b.add("certificate_untrusted", "intermediate not sent", missing.svid(webID), 48)
	self := newRoot("self-signed", uri(webID), notCA, keyUsage(x509.KeyUsageDigitalSignature))
	b.add("certificate_untrusted", "self-signed",
		&tls.Certificate{Certificate: [][]byte{self.cert.Raw}, PrivateKey: self.key}, 48)
	// The identity is always the first certificate's, whatever good ones come after it.
	escorted := stranger.svid(webID)
	escorted.Certificate = append(escorted.Certificate, common().web.Certificate...)
	b.add("certificate_untrusted", "good certificate in second place", escorted, 48)
}

func (b *badTable) outOfTime() {
	root := common().root
	b.add("certificate_expired", "expired", root.svid(webID, expired), 45)
	b.add("certificate_expired", "expired intermediate", root.intermediate("old", expired).svid(webID), 45)
	b.add("certificate_not_yet_valid", "not yet valid", root.svid(webID, notYetValid), 42, 45, 46)
	b.add("certificate_not_yet_valid", "intermediate not yet valid",
		root.intermediate("young", notYetValid).svid(webID), 42, 45, 46)
}

func (b *badTable) wrongUsage() {
	root := common().root
	signature := x509.KeyUsageDigitalSignature
	const usage, either = "certificate_wrong_usage", "certificate_wrong_usage|certificate_invalid"
	b.add(usage, "server usage only", root.svid(webID, extendedUsage(x509.ExtKeyUsageServerAuth)))
	b.add(usage, "code signing only", root.svid(webID, extendedUsage(x509.ExtKeyUsageCodeSigning)))
	b.add(usage, "no digitalSignature", root.svid(webID, keyUsage(x509.KeyUsageKeyEncipherment)))
	b.add(either, "no key usage at all", root.svid(webID, keyUsage(0)))
	b.add(either, "leaf with keyCertSign", root.svid(webID, keyUsage(signature|x509.KeyUsageCertSign)))
	b.add(either, "leaf with cRLSign", root.svid(webID, keyUsage(signature|x509.KeyUsageCRLSign)))
	b.add(either, "leaf is a CA", root.svid(webID, asCA))
	b.add(either, "leaf is a CA with all usages", root.svid(webID, asCA,
		keyUsage(signature|x509.KeyUsageCertSign|x509.KeyUsageCRLSign)))
	b.add(usage, "intermediate for servers only",
		root.intermediate("servers", extendedUsage(x509.ExtKeyUsageServerAuth)).svid(webID))
}

func (b *badTable) weak() {
	p := common()
	b.add("certificate_weak", "RSA-1024", p.root.svid(webID, withKey(rsa1024())))
	b.add("certificate_weak", "SHA-1 signature", p.rsaRoot.svid(webID, signedWith(crypto.SHA1)))
	b.add("certificate_weak", "MD5 signature", p.rsaRoot.svid(webID, signedWith(crypto.MD5)))
	b.add("certificate_weak", "intermediate with RSA-1024",
		p.root.intermediate("small", withKey(rsa1024())).svid(webID))
	b.add("certificate_weak", "intermediate with SHA-1 signature",
		p.rsaRoot.intermediate("sha1", withKey(rsa2048()), signedWith(crypto.SHA1)).svid(webID))
}

func (b *badTable) invalid() {
	root := common().root
	const invalid, untrusted = "certificate_invalid", "certificate_invalid|certificate_untrusted"
	b.add(invalid, "path too long", root.intermediate("zero", pathLength(0)).intermediate("one").svid(webID))
	b.add(invalid, "name not permitted",
		root.intermediate("elsewhere", onlyURIDomain("elsewhere.example")).svid(webID))
	b.add(invalid, "name excluded",
		root.intermediate("excluding", excludedURIDomain("cluster.local")).svid(webID))
	b.add(invalid, "unknown critical extension", root.svid(webID, unknownCritical))
	b.add(invalid, "intermediate with unknown critical extension",
		root.intermediate("critical", unknownCritical).svid(webID))
	b.add(untrusted+"|certificate_wrong_usage", "issued by a leaf", root.intermediate("no CA", notCA,
		keyUsage(x509.KeyUsageDigitalSignature)).svid(webID))
	b.add(untrusted+"|certificate_wrong_usage", "issuer without keyCertSign", root.intermediate("no sign",
		keyUsage(x509.KeyUsageDigitalSignature)).svid(webID))
	tampered := root.svid(webID)
	der := append([]byte(nil), tampered.Certificate[0]...)
	der[len(der)-1] ^= 1
	tampered.Certificate = [][]byte{der}
	b.add(untrusted, "broken signature", tampered, 42, 48, 50, 51)
}

func (b *badTable) revoked() {
	root := common().root
	gone := root.svid(webID)
	fallen := root.intermediate("fallen")
	fallenLeaf := fallen.svid(webID)
	b.crl = append(root.crl(gone, &tls.Certificate{Certificate: fallen.chain}),
		common().rsaRoot.crl()...)
	// An intermediate without a list of its own does not lock its good clients out, so it has one.
	b.crl = append(b.crl, fallen.crl()...)
	b.add("certificate_revoked", "revoked", gone, 44)
	b.add("certificate_revoked", "revoked intermediate", fallenLeaf, 44)
}

func (b *badTable) identities() {
	root := common().root
	b.add("identity_missing", "no SAN", root.issue())
	b.add("identity_missing", "DNS name only", root.issue(dns("cluster.local")))
	b.add("identity_missing", "DNS name that looks like a SPIFFE ID", root.issue(dns(webID)))
	b.add("identity_missing", "email that looks like a SPIFFE ID", root.issue(email(webID)))
	b.add("identity_missing", "common name only", root.issue(commonName(webID)))
	b.add("identity_ambiguous", "two URIs", root.issue(uri(webID), uri("spiffe://cluster.local/other")))
	b.add("identity_ambiguous", "the same URI twice", root.issue(uri(webID), uri(webID)))
	b.add("identity_ambiguous", "SPIFFE ID and another URI", root.issue(uri(webID), uri("https://a.example/")))
	b.add("identity_ambiguous|certificate_invalid", "two SAN extensions",
		root.svid(webID, secondSAN("spiffe://cluster.local/other")))
	b.add("identity_not_allowed", "other trust domain", root.svid("spiffe://other.example/ns/x/sa/y"))
	b.add("identity_not_allowed", "trust domain as a prefix", root.svid("spiffe://cluster.local.evil/ns/x"))
	b.add("identity_not_allowed", "trust domain as a suffix", root.svid("spiffe://evil.cluster.local/ns/x"))
	b.add("identity_not_allowed", "trust domain one letter longer", root.svid("spiffe://cluster.locale/ns/x"))
}

func (b *badTable) malformed() {
	for name, id := range map[string]string{
		"upper-case trust domain":    "spiffe://Cluster.local/ns/web",
		"upper-case scheme":          "SPIFFE://cluster.local/ns/web",
		"other scheme":               "https://cluster.local/ns/web",
		"scheme alone":               "spiffe:",
		"no trust domain":            "spiffe:///ns/web",
		"one slash":                  "spiffe:/cluster.local/ns/web",
		"port":                       "spiffe://cluster.local:443/ns/web",
		"empty port":                 "spiffe://cluster.local:/ns/web",
		"user info":                  "spiffe://user@cluster.local/ns/web",
		"user and password":          "spiffe://u:p@cluster.local/ns/web",
		"query":                      "spiffe://cluster.local/ns/web?x=1",
		"empty query":                "spiffe://cluster.local/ns/web?",
		"fragment":                   "spiffe://cluster.local/ns/web#x",
		"empty fragment":             "spiffe://cluster.local/ns/web#",
		"escape":                     "spiffe://cluster.local/ns%2fweb",
		"escape in the trust domain": "spiffe://cluster%2elocal/ns/web",
		"trailing slash":             "spiffe://cluster.local/ns/web/",
		"only a slash":               "spiffe://cluster.local/",
		"empty segment":              "spiffe://cluster.local/ns//web",
		"empty first segment":        "spiffe://cluster.local//ns/web",
		"dot segment":                "spiffe://cluster.local/ns/./web",
		"dot-dot segment":            "spiffe://cluster.local/ns/../web",
		"final dot-dot":              "spiffe://cluster.local/ns/..",
		"NUL":                        "spiffe://cluster.local/ns/web\x00",
		"NUL and more":               "spiffe://cluster.local/ns/web\x00.evil",
		"NUL in the trust domain":    "spiffe://cluster.local\x00.evil/ns/web",
		"line feed":                  "spiffe://cluster.local/ns/web\n",
		"tab":                        "spiffe://cluster.local/ns/\tweb",
		"space":                      "spiffe://cluster.local/ns/a web",
		"leading space":              " spiffe://cluster.local/ns/web",
		"tilde":                      "spiffe://cluster.local/ns/~web",
		"star":                       "spiffe://cluster.local/ns/*",
		"backslash":                  `spiffe://cluster.local/ns\web`,
		"semicolon":                  "spiffe://cluster.local/ns;URI=x",
		"quote":                      `spiffe://cluster.local/ns"web`,
		"UTF-8":                      "spiffe://cluster.local/ns/wéb",
		"plus in the trust domain":   "spiffe://cluster+local/ns/web",
		"2049 bytes":                 "spiffe://cluster.local/" + strings.Repeat("x", 2049-23),
	} {
		b.add("identity_malformed", name, common().root.svid(id))
	}
	b.add("identity_malformed|identity_missing", "empty URI", common().root.svid(""))
	b.add("identity_malformed|identity_not_allowed", "trust domain alone", common().root.svid("spiffe://cluster.local"))
}
