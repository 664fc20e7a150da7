package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"
)

// An authority can issue certificates; its chain is what its leaves send along, the root left out.
type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain [][]byte
}

// A draft is a certificate about to be signed: the template, and what crypto/x509 will not do.
type draft struct {
	x509.Certificate
	key    crypto.Signer
	names  [][]byte // DER GeneralNames of the SAN extension, raw so that they can be malformed
	weak   crypto.Hash
	padded [][]byte // extra certificates sent after the chain
}

// A trait changes a draft, for good or ill.
type trait func(*draft)

var serial = struct {
	sync.Mutex
	last int64
}{last: 1000}

func nextSerial() *big.Int {
	serial.Lock()
	defer serial.Unlock()
	serial.last++
	return big.NewInt(serial.last)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newECDSA() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// RSA keys are slow to make and never the thing under test, so each size has one.
var (
	rsa1024 = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	rsa2048 = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsa4096 = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 4096)) })
)

func newDraft(cn string, traits []trait) *draft {
	d := &draft{Certificate: x509.Certificate{
		SerialNumber: nextSerial(),
		Subject:      pkix.Name{CommonName: cn},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
	}}
	for _, apply := range traits {
		apply(d)
	}
	if d.key == nil {
		d.key = newECDSA()
	}
	if d.names != nil {
		san := sanExtension(d.names)
		san.Critical = d.Subject.CommonName == "" // RFC 5280, 4.2.1.6
		d.ExtraExtensions = append(d.ExtraExtensions, san)
	}
	return d
}

// isAuthority comes first, so that the traits given can undo it.
func isAuthority(d *draft) {
	d.IsCA = true
	d.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

func newRoot(cn string, traits ...trait) *authority {
	d := newDraft(cn, append([]trait{isAuthority}, traits...))
	der := must(x509.CreateCertificate(rand.Reader, &d.Certificate, &d.Certificate, d.key.Public(), d.key))
	return &authority{cert: must(x509.ParseCertificate(der)), key: d.key}
}

func (a *authority) sign(d *draft) []byte {
	signer := a.key
	if d.weak != 0 {
		signer = weakSigner{a.key.(*rsa.PrivateKey), d.weak}
		d.SignatureAlgorithm = x509.SHA256WithRSA
	}
	parent := *a.cert
	der := must(x509.CreateCertificate(rand.Reader, &d.Certificate, &parent, d.key.Public(), a.key))
	if d.weak != 0 {
		der = weaken(der, signer.(weakSigner))
	}
	return der
}

func (a *authority) intermediate(cn string, traits ...trait) *authority {
	d := newDraft(cn, append([]trait{isAuthority}, traits...))
	der := a.sign(d)
	// Not parsed strictly: some of these are made to be refused.
	cert := d.Certificate
	cert.Raw, cert.RawSubject = der, nil
	if parsed, err := x509.ParseCertificate(der); err == nil {
		cert = *parsed
	}
	return &authority{cert: &cert, key: d.key, chain: append([][]byte{der}, a.chain...)}
}

// issue makes a client certificate: a good X.509-SVID of no name yet, but for the traits.
func (a *authority) issue(traits ...trait) *tls.Certificate {
	good := func(d *draft) {
		d.KeyUsage = x509.KeyUsageDigitalSignature
		d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	d := newDraft("client", append([]trait{good}, traits...))
	chain := append([][]byte{a.sign(d)}, a.chain...)
	return &tls.Certificate{Certificate: append(chain, d.padded...), PrivateKey: d.key}
}

// svid issues a good client certificate with this SPIFFE ID.
func (a *authority) svid(id string, traits ...trait) *tls.Certificate {
	return a.issue(append([]trait{uri(id)}, traits...)...)
}

func (a *authority) server(names ...string) *tls.Certificate {
	return a.issue(func(d *draft) {
		d.Subject.CommonName = names[0]
		d.DNSNames = names
		d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
}

func (a *authority) crl(revoked ...*tls.Certificate) []byte {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour),
		NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: leafOf(cert).SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	der := must(x509.CreateRevocationList(rand.Reader, list, a.cert, a.key))
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func leafOf(cert *tls.Certificate) *x509.Certificate {
	return must(x509.ParseCertificate(cert.Certificate[0]))
}

func pemCertificates(ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

func pemKey(key crypto.PrivateKey) []byte {
	der := must(x509.MarshalPKCS8PrivateKey(key))
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// --- what crypto/x509 refuses to make

func generalName(tag int, value []byte) []byte {
	return must(asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value}))
}

func sanExtension(names [][]byte) pkix.Extension {
	value := must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true,
		Bytes: bytes.Join(names, nil)}))
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}
}

type weakSigner struct {
	*rsa.PrivateKey
	hash crypto.Hash
}

// weaken turns a sha256WithRSA certificate into one signed over a broken hash. The object
// identifiers have one length and differ in the last byte alone, so they are exchanged in place.
func weaken(der []byte, signer weakSigner) []byte {
	prefix := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01}
	last := map[crypto.Hash]byte{crypto.SHA1: 5, crypto.MD5: 4}[signer.hash]
	der = bytes.ReplaceAll(der, append(prefix, 11), append(prefix[:8:8], last))
	var parts struct {
		Signed    asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		panic(err)
	}
	digest := signer.hash.New()
	digest.Write(parts.Signed.FullBytes)
	signature := must(rsa.SignPKCS1v15(rand.Reader, signer.PrivateKey, signer.hash, digest.Sum(nil)))
	parts.Signature = asn1.BitString{Bytes: signature, BitLength: len(signature) * 8}
	return must(asn1.Marshal(parts))
}

var _ = sha1.New // linked in for crypto.SHA1

// --- the PKI most tests share

type commonPKI struct {
	root, rsaRoot  *authority
	gateway, other *tls.Certificate // served names: gateway.test, other.test
	web            *tls.Certificate // spiffe://cluster.local/ns/web/sa/web
}

const webID = "spiffe://cluster.local/ns/web/sa/web"

var common = sync.OnceValue(func() *commonPKI {
	root := newRoot("tollgate test root")
	return &commonPKI{root: root, rsaRoot: newRoot("tollgate RSA root", withKey(rsa2048())),
		gateway: root.server("gateway.test", "localhost"), other: root.server("other.test"),
		web: root.svid(webID)}
})

func TestPKIMakesTheFlawsItPromises(t *testing.T) {
	weak := leafOf(common().rsaRoot.svid(webID, signedWith(crypto.SHA1)))
	if weak.SignatureAlgorithm != x509.SHA1WithRSA {
		t.Errorf("signed with %v, not SHA-1", weak.SignatureAlgorithm)
	}
	if key := leafOf(common().root.svid(webID, withKey(rsa1024()))).PublicKey; key.(*rsa.PublicKey).Size() != 128 {
		t.Errorf("key is not RSA-1024")
	}
	if _, ok := leafOf(common().root.svid(webID, withKey(newEd25519()))).PublicKey.(ed25519.PublicKey); !ok {
		t.Errorf("key is not Ed25519")
	}
}

func poolOf(pem []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

func TestPKIWritesNamesAsTheyAre(t *testing.T) {
	for _, cn := range []string{"plain", "", "line\nfeed", "\xff\xfe not UTF-8", "nul\x00"} {
		der := common().root.svid(webID, commonName(cn)).Certificate[0]
		if !bytes.Contains(der, []byte(cn)) {
			t.Errorf("the certificate has no common name %q", cn)
		}
	}
	if rows := len(badCertificates().rows); rows < 60 {
		t.Errorf("only %d bad certificates", rows)
	}
}
