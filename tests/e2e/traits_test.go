package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"strings"
	"time"
)

// Tags of GeneralName.
const (
	tagEmail = 1
	tagDNS   = 2
	tagURI   = 6
	tagIP    = 7
)

func uri(id string) trait {
	return func(d *draft) { d.names = append(d.names, generalName(tagURI, []byte(id))) }
}

func dns(name string) trait {
	return func(d *draft) { d.names = append(d.names, generalName(tagDNS, []byte(name))) }
}

func email(name string) trait {
	return func(d *draft) { d.names = append(d.names, generalName(tagEmail, []byte(name))) }
}

func ip(address string) trait {
	return func(d *draft) { d.names = append(d.names, generalName(tagIP, net.ParseIP(address).To4())) }
}

// secondSAN adds another whole SAN extension, which RFC 5280 forbids.
func secondSAN(id string) trait {
	return func(d *draft) {
		d.ExtraExtensions = append(d.ExtraExtensions, sanExtension([][]byte{generalName(tagURI, []byte(id))}))
	}
}

// commonName is written as it is, valid UTF-8 or not.
func commonName(cn string) trait {
	text := must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(cn)}))
	name := pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{FullBytes: text}}}}
	if cn == "" {
		name = nil
	}
	return func(d *draft) {
		d.Subject.CommonName = cn
		d.RawSubject = must(asn1.Marshal(name))
	}
}

func withKey(key crypto.Signer) trait { return func(d *draft) { d.key = key } }

func signedWith(hash crypto.Hash) trait { return func(d *draft) { d.weak = hash } }

func newEd25519() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

func newP384() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) }

func valid(from, to time.Duration) trait {
	return func(d *draft) { d.NotBefore, d.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

var (
	expired     = valid(-2*time.Hour, -time.Minute)
	notYetValid = valid(12*time.Hour, 24*time.Hour) // however long the tests take
)

func keyUsage(usage x509.KeyUsage) trait { return func(d *draft) { d.KeyUsage = usage } }

func extendedUsage(usages ...x509.ExtKeyUsage) trait {
	return func(d *draft) { d.ExtKeyUsage = usages }
}

func asCA(d *draft) { d.IsCA = true }

func notCA(d *draft) { d.IsCA = false }

func pathLength(n int) trait {
	return func(d *draft) { d.MaxPathLen, d.MaxPathLenZero = n, n == 0 }
}

func onlyURIDomain(domain string) trait {
	return func(d *draft) { d.PermittedDNSDomainsCritical, d.PermittedURIDomains = true, []string{domain} }
}

func excludedURIDomain(domain string) trait {
	return func(d *draft) { d.PermittedDNSDomainsCritical, d.ExcludedURIDomains = true, []string{domain} }
}

func unknownCritical(d *draft) {
	d.ExtraExtensions = append(d.ExtraExtensions, pkix.Extension{Critical: true,
		Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: []byte{5, 0}})
}

func sameKeyID(as *authority) trait { return func(d *draft) { d.SubjectKeyId = as.cert.SubjectKeyId } }

// padding sends so many bytes of certificates that belong to nothing after the chain.
func padding(bytes int) trait {
	return func(d *draft) {
		stranger := newRoot("padding", commonName("padding "+strings.Repeat("p", 4000)))
		for sent := 0; sent < bytes; sent += len(stranger.cert.Raw) {
			d.padded = append(d.padded, stranger.cert.Raw)
		}
	}
}

// fat makes the certificate itself so many bytes larger.
func fat(bytes int) trait {
	return func(d *draft) {
		d.ExtraExtensions = append(d.ExtraExtensions, pkix.Extension{
			Id:    asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 2},
			Value: must(asn1.Marshal(make([]byte, bytes)))})
	}
}
