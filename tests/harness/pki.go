// Package harness starts the real gateway for tests that attack it: a throwaway PKI, a configuration, the process, and
// raw connections through TLS.
package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"sync"
	"time"
)

// Must panics on an error that only a broken machine can cause.
func Must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

type pki struct {
	root            *x509.Certificate
	key             *ecdsa.PrivateKey
	gateway, client *tls.Certificate
}

// Identity is the SPIFFE ID of the one client certificate.
const Identity = "spiffe://cluster.local/ns/web/sa/web"

func newKey() *ecdsa.PrivateKey { return Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true}
}

func (p *pki) issue(template *x509.Certificate) *tls.Certificate {
	key := newKey()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der := Must(x509.CreateCertificate(rand.Reader, template, p.root, key.Public(), p.key))
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var authority = sync.OnceValue(func() *pki {
	p := &pki{key: newKey()}
	root := template(1, "hostile root")
	root.IsCA, root.KeyUsage = true, x509.KeyUsageCertSign
	p.root = Must(x509.ParseCertificate(Must(x509.CreateCertificate(rand.Reader, root, root, p.key.Public(), p.key))))

	server := template(2, "gateway.test")
	server.DNSNames = []string{"gateway.test"}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	p.gateway = p.issue(server)

	client := template(3, "web")
	client.URIs = []*url.URL{Must(url.Parse(Identity))}
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	p.client = p.issue(client)
	return p
})

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pemKey(key any) []byte { return pemOf("PRIVATE KEY", Must(x509.MarshalPKCS8PrivateKey(key))) }

// ClientTLS is the configuration of a client with a good certificate that offers these protocols.
func ClientTLS(protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(authority().root)
	return &tls.Config{RootCAs: roots, ServerName: "gateway.test", NextProtos: protocols,
		Certificates: []tls.Certificate{*authority().client}}
}
