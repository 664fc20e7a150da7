package packaging

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Key material is what parses as such, or encrypted text that says it is: the words of a PEM header in a source are text.
var (
	header = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----`)
	// What stands between the lines of a PEM text that was made a string of some language.
	between = regexp.MustCompile(`["']\s*\+\s*["']|\\n|\\r|[\s"'\\,;]`)
	base64s = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)
	lines   = regexp.MustCompile(`[A-Za-z0-9+/=]{16,}(?:(?:\\n|\\r|[\s"'+\\,;])+[A-Za-z0-9+/=]{16,})*`)
)

// secretsIn names what keys and certificates stand in the bytes: as DER, as base64 with or without PEM's lines, in gzip.
func secretsIn(data []byte) []string {
	found := derIn(data)
	for _, at := range header.FindAllIndex(data, -1) {
		after := data[at[1]:min(at[1]+400, len(data))]
		if end := bytes.Index(after, []byte("-----")); end >= 0 {
			after = after[:end]
		}
		if base64s.Match(between.ReplaceAll(after, nil)) {
			found = append(found, string(data[at[0]:at[1]]))
		}
	}
	for _, text := range lines.FindAll(data, -1) {
		text = bytes.TrimRight(between.ReplaceAll(text, nil), "=")
		for shift := 0; shift < 4 && shift < len(text); shift++ { // where a word stands before it in the same run
			decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
			n, _ := base64.RawStdEncoding.Decode(decoded, text[shift:])
			inner := derIn(decoded[:n])
			if header.Match(decoded[:n]) { // a Kubernetes secret holds the base64 of PEM
				inner = append(inner, secretsIn(decoded[:n])...)
			}
			for _, secret := range inner {
				found = append(found, "base64 of "+secret)
			}
		}
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		if reader, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			plain, _ := io.ReadAll(reader)
			for _, inner := range secretsIn(plain) {
				found = append(found, "gzip of "+inner)
			}
		}
	}
	return found
}

// derIn looks for a SEQUENCE at every place, and asks the parsers what it is.
func derIn(data []byte) []string {
	var found []string
	for at := 0; at+16 < len(data); at++ {
		if data[at] != 0x30 {
			continue
		}
		size, head := 0, 2
		switch {
		case data[at+1] == 0x82:
			size, head = int(binary.BigEndian.Uint16(data[at+2:])), 4
		case data[at+1] == 0x81:
			size, head = int(data[at+2]), 3
		case data[at+1] < 0x80:
			size = int(data[at+1])
		}
		// A certificate begins with another SEQUENCE, a key with its version.
		if first := data[at+head]; size < 32 || at+head+size > len(data) || first != 0x30 && first != 0x02 {
			continue
		}
		if kind := kindOf(data[at : at+head+size]); kind != "" {
			found = append(found, fmt.Sprintf("%s at byte %d", kind, at))
		}
	}
	return found
}

func kindOf(der []byte) string {
	if _, err := x509.ParseCertificate(der); err == nil {
		return "a certificate"
	}
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return "a private key (PKCS 8)"
	}
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return "a private key (RSA)"
	}
	if _, err := x509.ParseECPrivateKey(der); err == nil {
		return "a private key (EC)"
	}
	if list, err := x509.ParseRevocationList(der); err == nil && list.Issuer.String() != "" {
		return "a revocation list"
	}
	return ""
}

func refuseSecrets(t *testing.T, directory string, names []string) {
	t.Helper()
	if len(names) == 0 {
		t.Fatal("there is nothing to look at")
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(directory, name))
		if os.IsNotExist(err) {
			continue // removed, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secretsIn(data) {
			t.Errorf("%s holds %s", name, secret)
		}
	}
}

func TestNoKeyOrCertificateIsInTheProgram(t *testing.T) {
	t.Parallel()
	refuseSecrets(t, root, []string{"build/tollgate", "build/tollgate.debug"})
}

func TestNoKeyOrCertificateIsInThePackage(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	run(t, root, "dpkg-deb", "-R", debianPackage(t), tree)
	refuseSecrets(t, tree, files(t, tree))
}

func TestNoKeyOrCertificateIsInTheRepository(t *testing.T) {
	t.Parallel()
	listed, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	refuseSecrets(t, root, strings.Split(strings.TrimRight(string(listed), "\x00"), "\x00"))
}

type material struct{ certificate, pkcs8, pkcs1, ec, ed25519 []byte }

func newMaterial() material {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	return material{
		certificate: must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), crypto.Signer(key))),
		pkcs8:       must(x509.MarshalPKCS8PrivateKey(key)),
		pkcs1:       x509.MarshalPKCS1PrivateKey(rsaKey),
		ec:          must(x509.MarshalECPrivateKey(key)),
		ed25519:     must(x509.MarshalPKCS8PrivateKey(edwards)),
	}
}

func gzipped(text []byte) []byte {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(text)
	_ = writer.Close()
	return out.Bytes()
}

// Planted in a copy of the program, of a source and of a page, each kind is found; and the copies as they are hold nothing.
func TestPlantedKeysAndCertificatesAreFound(t *testing.T) {
	t.Parallel()
	m := newMaterial()
	program := []byte(read(t, root+"/build/tollgate"))
	source := []byte(read(t, root+"/gateway/main.c"))
	if found := append(secretsIn(program), secretsIn(source)...); found != nil {
		t.Fatalf("before anything was planted: %v", found)
	}
	armour := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	inC := func(text []byte) []byte {
		return []byte(`"` + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\\n\"\n\t\"") + "\\n\"")
	}
	base := func(der []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(der)) }
	random := make([]byte, 300)
	_, _ = rand.Read(random)
	into := func(host, plant []byte) []byte {
		middle := min(len(host), len(host)/2|1)
		return append(append(append([]byte{}, host[:middle]...), plant...), host[middle:]...)
	}
	for name, c := range map[string]struct{ host, plant []byte }{
		"a certificate, DER":          {program, m.certificate},
		"PKCS 8, DER":                 {program, m.pkcs8},
		"RSA, DER":                    {program, m.pkcs1},
		"EC, DER":                     {program, m.ec},
		"Ed25519, DER":                {program, m.ed25519},
		"a key, PEM":                  {program, armour("PRIVATE KEY", m.pkcs8)},
		"a certificate, PEM":          {source, armour("CERTIFICATE", m.certificate)},
		"a certificate as C":          {source, inC(armour("CERTIFICATE", m.certificate))},
		"a key as C":                  {source, inC(armour("EC PRIVATE KEY", m.ec))},
		"an encrypted key":            {source, armour("ENCRYPTED PRIVATE KEY", random)},
		"an OpenSSH key":              {source, armour("OPENSSH PRIVATE KEY", append([]byte("openssh-key-v1\x00"), random...))},
		"base64 on one line":          {source, append([]byte("\nkey: "), base(m.pkcs8)...)},
		"base64 in a Kubernetes file": {source, append([]byte("\n  tls.crt: "), base(armour("CERTIFICATE", m.certificate))...)},
		"a compressed page":           {nil, gzipped(into(source, armour("RSA PRIVATE KEY", m.pkcs1)))},
	} {
		if planted := into(c.host, c.plant); len(secretsIn(planted)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	for name, text := range map[string]string{
		"a header as text":    `if (!strstr(text, "-----BEGIN PRIVATE KEY-----") && !strstr(text, "-----END PRIVATE KEY-----"))`,
		"hashes":              strings.Repeat("h1:"+string(base(random[:32]))+"\n", 50),
		"a header and dashes": "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n",
	} {
		if found := secretsIn([]byte(text)); found != nil {
			t.Errorf("%s is taken for %v", name, found)
		}
	}
}
