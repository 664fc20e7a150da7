package e2e

import (
	"bytes"
	"context"
	big "encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What only hellos written byte by byte can ask for (BEHAVIOUR, section 3).

type extension struct {
	kind uint16
	data []byte
}

// A hello is a ClientHello; what is left empty has a value that works with TLS 1.2.
type hello struct {
	record, version uint16
	session         []byte
	suites          []uint16
	compressions    []byte
	extensions      []extension
	bare            bool // without extensions of its own
}

func u16(n int) []byte { return big.BigEndian.AppendUint16(nil, uint16(n)) }

func block16(data []byte) []byte { return append(u16(len(data)), data...) }

func block8(data []byte) []byte { return append([]byte{byte(len(data))}, data...) }

func words(values ...uint16) (out []byte) {
	for _, value := range values {
		out = big.BigEndian.AppendUint16(out, value)
	}
	return out
}

const (
	extensionGroups       = 10
	extensionPoints       = 11
	extensionSignatures   = 13
	extensionALPN         = 16
	extensionHeartbeat    = 15
	extensionEMS          = 23
	extensionVersions     = 43
	extensionRenegotiated = 0xff01
)

var ecdheSuites = []uint16{0xc02b, 0xc02f}

func (h hello) bytes() []byte {
	body := append(words(or(h.version, 0x0303)), bytes.Repeat([]byte{7}, 32)...)
	body = append(body, block8(h.session)...)
	if h.suites == nil {
		h.suites = ecdheSuites
	}
	body = append(body, block16(words(h.suites...))...)
	if h.compressions == nil {
		h.compressions = []byte{0}
	}
	body = append(body, block8(h.compressions)...)
	all := h.extensions
	if !h.bare {
		all = append([]extension{
			{extensionGroups, block16(words(29, 23, 24))}, {extensionPoints, block8([]byte{0})},
			{extensionSignatures, block16(words(0x0403, 0x0804, 0x0401))}}, all...)
	}
	var extensions []byte
	for _, e := range all {
		extensions = append(append(extensions, words(e.kind)...), block16(e.data)...)
	}
	body = append(body, block16(extensions)...)
	message := append([]byte{1, 0}, block16(body)...)
	return append(append([]byte{22}, words(or(h.record, 0x0301))...), block16(message)...)
}

// A welcome is what the gateway says to a hello: a ServerHello or an alert.
type welcome struct {
	alert       int // -1: none
	version     uint16
	session     []byte
	random      []byte
	suite       uint16
	compression byte
	extensions  map[uint16][]byte
}

// greet sends the hello and reads the first record of the answer; nil when there is none at all.
func (g *gateway) greet(t *testing.T, raw []byte) *welcome {
	t.Helper()
	conn := g.dialTCP(t)
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write(raw)
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		if isTimeout(err) {
			t.Error("the hello is left unanswered")
		}
		return nil
	}
	body := make([]byte, big.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Errorf("half a record: %v", err)
		return nil
	}
	if head[0] == 21 {
		return &welcome{alert: int(body[1])}
	}
	return readWelcome(t, body)
}

func readWelcome(t *testing.T, body []byte) *welcome {
	t.Helper()
	if len(body) < 40 || body[0] != 2 {
		t.Errorf("no ServerHello: %x", body)
		return nil
	}
	body = body[4 : 4+int(body[2])<<8+int(body[3])]
	w := &welcome{alert: -1, version: big.BigEndian.Uint16(body), random: body[2:34], extensions: map[uint16][]byte{}}
	n := int(body[34])
	w.session, body = body[35:35+n], body[35+n:]
	w.suite, w.compression = big.BigEndian.Uint16(body), body[2]
	if len(body) < 5 {
		return w
	}
	for rest := body[5:]; len(rest) >= 4; {
		n := 4 + int(big.BigEndian.Uint16(rest[2:]))
		w.extensions[big.BigEndian.Uint16(rest)] = rest[4:n]
		rest = rest[n:]
	}
	return w
}

// rsaServing has a key that suites of every kind of RSA could use.
func rsaServing(t *testing.T, s setup) *gateway {
	t.Helper()
	served := common().root.issue(withKey(rsa2048()), func(d *draft) { d.DNSNames = []string{"gateway.test"} },
		keyUsage(5), extendedUsage(1)) // digitalSignature and keyEncipherment, serverAuth
	s.served = []servedPair{pair("rsa", served)}
	return answering(t, s)
}

func TestNoSuiteOfOldIsChosen(t *testing.T) {
	t.Parallel()
	g := rsaServing(t, setup{})
	for name, suite := range map[string]uint16{
		"NULL_WITH_NULL_NULL": 0x0000, "RSA_NULL_MD5": 0x0001, "RSA_NULL_SHA": 0x0002, "RSA_EXPORT_RC4_40_MD5": 0x0003,
		"RSA_RC4_128_MD5": 0x0004, "RSA_RC4_128_SHA": 0x0005, "RSA_EXPORT_RC2_CBC_40": 0x0006, "RSA_IDEA": 0x0007,
		"RSA_EXPORT_DES40": 0x0008, "RSA_DES_CBC": 0x0009, "RSA_3DES": 0x000a, "DH_DSS_3DES": 0x000d,
		"DHE_RSA_EXPORT_DES40": 0x0014, "DHE_RSA_DES": 0x0015, "DHE_RSA_3DES": 0x0016, "DH_anon_EXPORT_RC4": 0x0017,
		"DH_anon_RC4": 0x0018, "DH_anon_DES": 0x001a, "DH_anon_3DES": 0x001b, "KRB5_RC4": 0x0020,
		"PSK_NULL": 0x002c, "DHE_PSK_NULL": 0x002d, "RSA_PSK_NULL": 0x002e, "RSA_AES128_CBC": 0x002f,
		"DHE_RSA_AES128_CBC": 0x0033, "DH_anon_AES128_CBC": 0x0034, "RSA_AES256_CBC": 0x0035, "RSA_NULL_SHA256": 0x003b,
		"RSA_AES128_CBC_SHA256": 0x003c, "RSA_CAMELLIA": 0x0041, "DH_anon_AES256_CBC_SHA256": 0x006d, "PSK_RC4": 0x008a,
		"PSK_3DES": 0x008b, "PSK_AES128_CBC": 0x008c, "DHE_PSK_AES128": 0x0090, "RSA_PSK_AES128": 0x0094, "RSA_SEED": 0x0096,
		"RSA_AES128_GCM": 0x009c, "RSA_AES256_GCM": 0x009d, "DH_anon_AES128_GCM": 0x00a6, "PSK_AES128_GCM": 0x00a8,
		"DHE_PSK_AES128_GCM": 0x00aa, "RSA_PSK_AES128_GCM": 0x00ac, "ECDH_RSA_AES128_CBC": 0xc00e, "ECDHE_RSA_NULL": 0xc010,
		"ECDHE_RSA_RC4": 0xc011, "ECDHE_RSA_3DES": 0xc012, "ECDH_anon_NULL": 0xc015, "ECDH_anon_RC4": 0xc016,
		"ECDH_anon_3DES": 0xc017, "ECDH_anon_AES128": 0xc018, "SRP_SHA_AES128": 0xc01d, "SRP_SHA_RSA_AES128": 0xc01e,
		"ECDH_RSA_AES128_GCM": 0xc031, "ECDHE_PSK_RC4": 0xc033, "ECDHE_PSK_AES128_CBC": 0xc035, "ECDHE_PSK_NULL": 0xc039,
		"RSA_AES128_CCM": 0xc09c, "PSK_AES128_CCM": 0xc0a4, "PSK_CHACHA20": 0xccab, "ECDHE_PSK_CHACHA20": 0xccac,
		"RSA_PSK_CHACHA20": 0xccae, "ECDHE_PSK_AES128_GCM": 0xd001, "GOST": 0x0081,
		"TLS 1.3 suite in TLS 1.2": 0x1301, "integrity only": 0xc0b4,
	} {
		if got := g.greet(t, hello{suites: []uint16{suite}}.bytes()); got == nil || got.alert != 40 {
			t.Errorf("%s: %+v, want the alert handshake_failure", name, got)
		}
	}
	for _, version := range []uint16{0xc0b4, 0xc0b5, 0x00c6} { // and not in TLS 1.3 either
		raw := hello{suites: []uint16{version}, extensions: []extension{{extensionVersions, block8(words(0x0304))}}}
		if got := g.greet(t, raw.bytes()); got == nil || got.alert < 0 {
			t.Errorf("TLS 1.3 with suite %04x: %+v", version, got)
		}
	}
	if got := g.greet(t, hello{suites: append([]uint16{0x0004, 0x002f, 0x00a8}, ecdheSuites...)}.bytes()); got == nil || got.suite != 0xc02f {
		t.Errorf("a good suite among bad ones: %+v", got)
	}
}

func TestVersionsAreNeverTakenBelowTLS12(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	versions := func(list ...uint16) []extension { return []extension{{extensionVersions, block8(words(list...))}} }
	for name, row := range map[string]struct {
		hello hello
		alert int
	}{ // SSL 3.0 has no alert protocol_version
		"SSL 3.0":                              {hello{version: 0x0300}, 40},
		"SSL 3.0 in an SSL 3.0 record":         {hello{record: 0x0300, version: 0x0300}, 40},
		"SSL 3.0 without extensions":           {hello{version: 0x0300, bare: true}, 40},
		"TLS 1.0":                              {hello{version: 0x0301}, 70},
		"TLS 1.1":                              {hello{version: 0x0302}, 70},
		"SSL 2.0 as a version":                 {hello{version: 0x0002}, 70},
		"only TLS 1.1 listed":                  {hello{extensions: versions(0x0302)}, 70},
		"only unknown versions listed":         {hello{extensions: versions(0x0a0a, 0x0305)}, 70},
		"a draft of TLS 1.3":                   {hello{extensions: versions(0x7f1c)}, 70},
		"TLS 1.2":                              {hello{}, -1},
		"TLS 1.2 in a record that says 1.2":    {hello{record: 0x0303}, -1},
		"TLS 1.2 listed among what we lack":    {hello{extensions: versions(0x0a0a, 0x0303, 0x0302)}, -1},
		"a version of the future, unlisted":    {hello{version: 0x0399}, -1},
		"TLS 1.3 claimed where none is listed": {hello{version: 0x0304}, -1},
		"fallback":                             {hello{suites: append([]uint16{0x5600}, ecdheSuites...)}, 86},
		"fallback that lists TLS 1.2 alone":    {hello{suites: append(ecdheSuites[:2:2], 0x5600), extensions: versions(0x0303)}, 86},
		"no null compression":                  {hello{compressions: []byte{1}}, 50},
		"no compression at all":                {hello{compressions: []byte{}}, 50},
		"DEFLATE and null":                     {hello{compressions: []byte{1, 0}}, -1},
		"LZS, DEFLATE and null":                {hello{compressions: []byte{64, 1, 0}}, -1},
	} {
		got := g.greet(t, row.hello.bytes())
		switch {
		case got == nil:
			t.Errorf("%s: no answer", name)
		case row.alert == 50 && (got.alert == 50 || got.alert == 47): // decode_error or illegal_parameter
		case got.alert != row.alert:
			t.Errorf("%s: alert %d, want %d", name, got.alert, row.alert)
		case got.alert < 0 && (got.version != 0x0303 || got.compression != 0):
			t.Errorf("%s: version %04x, compression %d", name, got.version, got.compression)
		}
	}
}

func TestServerHelloSaysWhatItMust(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	renegotiation := extension{extensionRenegotiated, []byte{0}}
	signal := append(ecdheSuites[:2:2], 0x00ff)
	for name, h := range map[string]hello{
		"renegotiation by signal":    {suites: signal},
		"renegotiation by extension": {extensions: []extension{renegotiation}},
		"renegotiation by both":      {suites: signal, extensions: []extension{renegotiation}},
	} {
		got := g.greet(t, h.bytes())
		if got == nil || !bytes.Equal(got.extensions[extensionRenegotiated], []byte{0}) {
			t.Errorf("%s: not answered: %+v", name, got)
		}
	}
	verifyData := extension{extensionRenegotiated, block8([]byte("verify data!"))}
	if got := g.greet(t, hello{extensions: []extension{verifyData}}.bytes()); got == nil || got.alert != 40 && got.alert != 47 {
		t.Errorf("verify data in a first hello: %+v", got)
	}
	if got := g.greet(t, hello{extensions: []extension{{extensionEMS, nil}}}.bytes()); got == nil || got.extensions[extensionEMS] == nil {
		t.Errorf("extended master secret is not agreed to: %+v", got)
	}
	for _, mode := range []byte{1, 2} {
		got := g.greet(t, hello{extensions: []extension{{extensionHeartbeat, []byte{mode}}}}.bytes())
		if got == nil || got.alert >= 0 || got.extensions[extensionHeartbeat] != nil {
			t.Errorf("heartbeat mode %d: %+v", mode, got)
		}
	}
	session := bytes.Repeat([]byte{9}, 32)
	ticket := extension{35, bytes.Repeat([]byte{8}, 200)}
	got := g.greet(t, hello{session: session, extensions: []extension{ticket, {extensionEMS, nil}}}.bytes())
	if got == nil || got.alert >= 0 || bytes.Equal(got.session, session) || got.extensions[35] != nil {
		t.Errorf("a made-up session and ticket: %+v", got)
	}
	if got == nil || string(got.random[24:31]) != "DOWNGRD" || got.random[31] != 1 {
		t.Errorf("no downgrade mark: %+v", got)
	}
}

func TestBrokenHellosAreAlerted(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	good := hello{}.bytes()
	changed := func(at int, to byte) []byte { raw := bytes.Clone(good); raw[at] = to; return raw }
	alpn := func(data string) []byte { return hello{extensions: []extension{{extensionALPN, []byte(data)}}}.bytes() }
	for name, raw := range map[string][]byte{
		"session id of 33 bytes":         hello{session: make([]byte, 33)}.bytes(),
		"odd number of suite bytes":      changed(9+2+32+1+1, 3),
		"no suites":                      hello{suites: []uint16{}}.bytes(),
		"extension twice":                hello{extensions: []extension{{extensionEMS, nil}, {extensionEMS, nil}}}.bytes(),
		"extended master secret + data":  hello{extensions: []extension{{extensionEMS, []byte{1}}}}.bytes(),
		"extensions longer than told":    changed(54, 0xff),
		"ALPN list empty":                alpn("\x00\x00"),
		"ALPN name empty":                alpn("\x00\x01\x00"),
		"ALPN name beyond the list":      alpn("\x00\x03\x08h2"),
		"ALPN empty":                     alpn(""),
		"server name of no length":       hello{extensions: []extension{{0, []byte{}}}}.bytes(),
		"two server names":               hello{extensions: []extension{{0, block16([]byte("\x00\x00\x01a\x00\x00\x01b"))}}}.bytes(),
		"server name with NUL":           hello{extensions: []extension{{0, block16([]byte("\x00\x00\x03a\x00b"))}}}.bytes(),
		"signature algorithms odd":       hello{bare: true, extensions: []extension{{extensionSignatures, []byte{0, 3, 4, 3, 8}}}}.bytes(),
		"heartbeat record first":         {24, 3, 3, 0, 3, 1, 0x40, 0},
		"change cipher spec first":       {20, 3, 3, 0, 1, 1},
		"ServerHello from the client":    {22, 3, 3, 0, 4, 2, 0, 0, 0},
		"TLS 1.3 without key share data": hello{extensions: []extension{{extensionVersions, block8(words(0x0304))}, {51, nil}}}.bytes(),
	} {
		if got := g.greet(t, raw); got != nil && got.alert < 0 {
			t.Errorf("%s: taken: %+v", name, got)
		}
	}
	if got := g.greet(t, good); got == nil || got.alert >= 0 {
		t.Errorf("the good hello: %+v", got)
	}
}

// opensslServer runs OpenSSL's own server, whose tickets and early data the gateway never granted.
func opensslServer(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, "openssl", append([]string{"s_server", "-accept", address, "-quiet", "-www",
		"-cert", filepath.Join(dir, "gateway.pem"), "-key", filepath.Join(dir, "gateway.key")}, arguments...)...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = command.Wait() })
	waitFor(t, "openssl s_server", 10*time.Second, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

func TestForeignSessionsEarlyDataAndKeysGiveAWholeHandshake(t *testing.T) {
	t.Parallel()
	g, back := web(t, "h1")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(g.dir, "session"+version)
		server := opensslServer(t, g.dir, version, "-max_early_data", "16384")
		command := exec.Command("openssl", "s_client", "-connect", server, version, "-sess_out", session, "-ign_eof")
		command.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		output := g.openssl(t, closingRequest, version, "-sess_in", session, "-ign_eof")
		if !strings.Contains(output, "200 OK") || strings.Contains(output, "Reused, TLS") {
			t.Errorf("%s: a foreign session: %s", version, output)
		}
	}
	early := filepath.Join(g.dir, "early")
	if err := os.WriteFile(early, []byte("GET /early HTTP/1.1\r\nHost: gateway.test\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	output := g.openssl(t, closingRequest, "-sess_in", filepath.Join(g.dir, "session-tls1_3"), "-early_data", early, "-ign_eof")
	if !strings.Contains(output, "Early data was rejected") || !strings.Contains(output, "200 OK") {
		t.Errorf("early data: %s", output)
	}
	if n := back.Journal.Count("GET /early"); n != 0 {
		t.Errorf("early data reached the backend %d times", n)
	}
	output = g.openssl(t, closingRequest, "-psk", "00112233445566778899aabbccddeeff", "-psk_identity", "web", "-ign_eof")
	if !strings.Contains(output, "200 OK") || strings.Contains(output, "Reused, TLS") {
		t.Errorf("an external key in TLS 1.3: %s", output)
	}
	output = g.openssl(t, closingRequest, "-tls1_2", "-cipher", "PSK", "-psk", "00112233445566778899aabbccddeeff", "-ign_eof")
	if !strings.Contains(output, "handshake failure") {
		t.Errorf("an external key in TLS 1.2: %s", output)
	}
	if n := back.Journal.Count(""); n != 4 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// A handshake whose records hold one byte each is slow, and a handshake all the same.
func TestHandshakeInRecordsOfOneByte(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	message := hello{}.bytes()[5:]
	var raw []byte
	for _, b := range message {
		raw = append(raw, 22, 3, 1, 0, 1, b)
	}
	if got := g.greet(t, raw); got == nil || got.alert >= 0 {
		t.Errorf("answered %+v", got)
	}
}
