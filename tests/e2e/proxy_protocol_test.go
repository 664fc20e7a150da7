package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Load balancers in front say where a client really comes from (PROXY protocol).

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// proxied is a header of version 2.
func proxied(command, family byte, body []byte) string {
	head := append([]byte(signature), command, family, byte(len(body)>>8), byte(len(body)))
	return string(append(head, body...))
}

func addresses4(client string) []byte {
	return append(net.ParseIP(client).To4(), 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb) // port 56324
}

func addresses6(client string) []byte {
	return append(append(net.ParseIP(client).To16(), net.ParseIP("2001:db8::1").To16()...), 0xdc, 0x04, 0x01, 0xbb)
}

// behind runs a gateway that trusts balancers on loopback, and echoes through a backend.
func behind(t *testing.T, s setup) *gateway {
	t.Helper()
	web := httpBackend(t)
	s.listener = append(s.listener, `proxy_protocol: {trusted: ["127.0.0.0/8"]}`)
	s.backends = append(s.backends, http1("web", web.Address))
	s.routes = append(s.routes, route("path: /*", "backend: web"))
	return start(t, s)
}

// through connects as a balancer that begins with the header, in pieces of so many bytes; 0: with what comes next.
func (g *gateway) through(t *testing.T, header string, piece int, protocol string) (*tls.Conn, error) {
	t.Helper()
	raw := g.dialTCP(t)
	if piece > 0 {
		for len(header) > 0 {
			n := min(piece, len(header))
			if _, err := io.WriteString(raw, header[:n]); err != nil {
				return nil, err
			}
			header = header[n:]
		}
	}
	conn := tls.Client(&gathering{Conn: raw, first: header}, g.trusting(common().web, protocol))
	return conn, conn.Handshake()
}

// A gathering connection sends something in front of its first bytes, in one segment with them.
type gathering struct {
	net.Conn
	first string
}

func (c *gathering) Write(data []byte) (int, error) {
	if c.first == "" {
		return c.Conn.Write(data)
	}
	whole := append([]byte(c.first), data...)
	c.first = ""
	if _, err := c.Conn.Write(whole); err != nil {
		return 0, err
	}
	return len(data), nil
}

func askOver(t *testing.T, conn *tls.Conn) reply {
	t.Helper()
	transport := &http.Transport{DialTLS: func(string, string) (net.Conn, error) { return conn, nil }}
	t.Cleanup(transport.CloseIdleConnections)
	return collect((&http.Client{Transport: transport}).Get("https://gateway.test/echo"))
}

func TestClientIsWhoTheBalancerSays(t *testing.T) {
	t.Parallel()
	g := behind(t, setup{})
	tlvs := append(addresses4("192.0.2.7"), 0x04, 0x00, 0x03, 1, 2, 3) // NOOP
	for name, row := range map[string]struct{ header, want string }{
		"version 1, TCP4":              {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7"},
		"version 1, TCP6":              {"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7"},
		"version 1, UNKNOWN":           {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"version 1, UNKNOWN with more": {"PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535\r\n", "127.0.0.1"},
		"version 2, TCP4":              {proxied(0x21, 0x11, addresses4("192.0.2.7")), "192.0.2.7"},
		"version 2, TCP6":              {proxied(0x21, 0x21, addresses6("2001:db8::7")), "2001:db8::7"},
		"version 2, TCP6 of IPv4":      {proxied(0x21, 0x21, addresses6("::ffff:192.0.2.7")), "192.0.2.7"},
		"version 2, extensions":        {proxied(0x21, 0x11, tlvs), "192.0.2.7"},
		"version 2, LOCAL":             {proxied(0x20, 0x00, nil), "127.0.0.1"},
		"version 2, LOCAL with more":   {proxied(0x20, 0x11, addresses4("192.0.2.7")), "127.0.0.1"},
		"version 2, unix":              {proxied(0x21, 0x31, make([]byte, 216)), "127.0.0.1"},
		"version 2, 2048 bytes":        {proxied(0x21, 0x11, append(addresses4("192.0.2.7"), make([]byte, 2048-16-12)...)), "192.0.2.7"},
	} {
		for _, piece := range []int{0, 1, 7, 1000} {
			t.Run(fmt.Sprintf("%s in %d", name, piece), func(t *testing.T) {
				t.Parallel()
				conn, err := g.through(t, row.header, piece, "http/1.1")
				if err != nil {
					t.Fatal(err)
				}
				got := askOver(t, conn)
				wantStatus(t, got, http.StatusOK)
				if from := got.echo(t).Headers.Values("X-Forwarded-For"); len(from) != 1 || from[0] != row.want {
					t.Errorf("the backend was told %q, want %s", from, row.want)
				}
			})
		}
	}
}

func TestBrokenProxyHeadersAreRefusedAndRecorded(t *testing.T) {
	t.Parallel()
	g := behind(t, setup{})
	for name, row := range map[string]struct{ bytes, detail string }{
		"TLS at once":      {string([]byte{0x16, 3, 1, 2, 0, 1}), "it does not begin with a PROXY header"},
		"HTTP":             {"GET / HTTP/1.1\r\n\r\n", "it does not begin with a PROXY header"},
		"small letters":    {"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n", "it does not begin with a PROXY header"},
		"a bare line feed": {"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", "its PROXY line is not of version 1"},
		"two spaces":       {"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", "its PROXY line is not of version 1"},
		"a word too many":  {"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", "its PROXY line is not of version 1"},
		"a word too few":   {"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", "its PROXY line is not of version 1"},
		"the wrong family": {"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", "its PROXY line is not of version 1"},
		"a mapped address": {"PROXY TCP4 ::ffff:192.0.2.7 198.51.100.1 1 2\r\n", "its PROXY line is not of version 1"},
		"an odd address":   {"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", "its PROXY line is not of version 1"},
		"a port too large": {"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n", "its PROXY line is not of version 1"},
		"a padded port":    {"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", "its PROXY line is not of version 1"},
		"UDP":              {"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", "its PROXY line is not of version 1"},
		"a NUL":            {"PROXY TCP4 192.0.2.7\x00 198.51.100.1 1 2\r\n", "its PROXY line is not of version 1"},
		"no end":           {"PROXY TCP4 " + strings.Repeat("1", 200), "its PROXY line does not end within 107 bytes"},
		"version 3":        {proxied(0x31, 0x11, addresses4("192.0.2.7")), "its PROXY header has a version or command nobody knows"},
		"command 2":        {proxied(0x22, 0x11, addresses4("192.0.2.7")), "its PROXY header has a version or command nobody knows"},
		"too short":        {proxied(0x21, 0x11, addresses4("192.0.2.7")[:11]), "its PROXY header is too short for its addresses"},
		"too short, IPv6":  {proxied(0x21, 0x21, addresses6("2001:db8::7")[:35]), "its PROXY header is too short for its addresses"},
		"too long":         {proxied(0x21, 0x11, make([]byte, 2033)), "its PROXY header is longer than 2048 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := g.dialTCP(t)
			_, _ = io.WriteString(conn, row.bytes)
			rest, err := io.ReadAll(conn)
			if len(rest) > 0 || isTimeout(err) {
				t.Errorf("it was answered %q, %v", rest, err)
			}
			record := g.waitForAudit(t, "refusal", from(conn.LocalAddr().String()))
			if record.Reason != "tls_failed" || record.Detail != row.detail {
				t.Errorf("%s", record.line)
			}
		})
	}
}

func TestHeaderOfAStrangerIsNoHeader(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{listener: []string{`proxy_protocol: {trusted: ["127.0.0.2", "10.0.0.0/8", "fd00::/8"]}`},
		backends: []string{http1("web", web.Address)}, routes: []string{route("path: /*", "backend: web")}})
	direct := g.client(t, "h1", common().web).get("/echo")
	wantStatus(t, direct, http.StatusOK)
	if from := direct.echo(t).Headers.Get("X-Forwarded-For"); from != "127.0.0.1" {
		t.Errorf("a direct client came from %q", from)
	}
	conn := g.dialTCP(t)
	_, _ = io.WriteString(conn, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n")
	_, _ = io.ReadAll(conn)
	if record := g.waitForAudit(t, "refusal", from(conn.LocalAddr().String())); record.Reason != "tls_failed" {
		t.Errorf("%s", record.line)
	}
}

// What counts by address counts the client's, not the balancer's.
func TestLimitsAndRecordsGoByTheClientsAddress(t *testing.T) {
	t.Parallel()
	g := behind(t, setup{listener: []string{"limits: {connections_per_address: 2}"},
		routes: []string{route("path: /paid", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 1/h, burst: 1, per: [source_ip]}]`)}})
	ask := func(client string) reply {
		conn, err := g.through(t, "PROXY TCP4 "+client+" 198.51.100.1 56324 443\r\n", 0, "http/1.1")
		if err != nil {
			return reply{err: err}
		}
		w := &wire{conn, t, nil}
		w.say("GET /paid HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(w)
		var status int
		_, _ = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
		return reply{status: status}
	}
	for client, want := range map[string]int{"192.0.2.1": 200, "192.0.2.2": 200, "192.0.2.3": 200} {
		if got := ask(client); got.status != want {
			t.Errorf("%s: %d, %v", client, got.status, got.err)
		}
	}
	if got := ask("192.0.2.1"); got.status != http.StatusTooManyRequests {
		t.Errorf("the second call of one client: %d", got.status)
	}
	if record := g.waitForAudit(t, "refusal", because("rate_limited")); record.Client.Address != "192.0.2.1:56324" || !strings.HasPrefix(record.Client.Proxy, "127.0.0.1:") {
		t.Errorf("%s", record.line)
	}
	var held []*tls.Conn
	for range 2 {
		held = append(held, must(g.through(t, proxied(0x21, 0x11, addresses4("192.0.2.9")), 1, "http/1.1")))
	}
	third, err := g.through(t, proxied(0x21, 0x11, addresses4("192.0.2.9")), 1, "http/1.1")
	if err == nil {
		wantRefusal(t, askOver(t, third), http.StatusServiceUnavailable, "overloaded")
	}
	if record := g.waitForAudit(t, "ceiling", because("overloaded")); record.Client.Address != "192.0.2.9:56324" {
		t.Errorf("%s", record.line)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	waitFor(t, "room for that address again", patience, func() bool { return ask("192.0.2.9").status == 200 })
}

func TestHeaderThatDoesNotComeIsCutOffWithTheHandshake(t *testing.T) {
	t.Parallel()
	g := behind(t, setup{listener: []string{"timeouts: {handshake: 300ms}"}})
	for _, begun := range []string{"", "PRO", "PROXY TCP4 192.0.2.7", signature, proxied(0x21, 0x11, addresses4("192.0.2.7"))[:20]} {
		conn := g.dialTCP(t)
		_, _ = io.WriteString(conn, begun)
		began := time.Now()
		if _, err := io.ReadAll(conn); isTimeout(err) || time.Since(began) > slow(5*time.Second) {
			t.Errorf("%q: %v after %v", begun, err, time.Since(began))
		}
		if record := g.waitForAudit(t, "refusal", from(conn.LocalAddr().String())); record.Detail != "the handshake took too long" {
			t.Errorf("%s", record.line)
		}
	}
}

// Balancers look in every few seconds; that is nobody's refusal.
func TestProbesOfABalancerLeaveNoRecord(t *testing.T) {
	t.Parallel()
	g := behind(t, setup{})
	for _, probe := range []string{"", "PROXY UNKNOWN\r\n", proxied(0x20, 0, nil)} {
		conn := g.dialTCP(t)
		_, _ = io.WriteString(conn, probe)
		_ = conn.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
			t.Errorf("%q: %q, %v", probe, rest, err)
		}
	}
	conn := g.dialTCP(t)
	_, _ = io.WriteString(conn, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n")
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.ReadAll(conn)
	g.waitForAudit(t, "a client who hung up", from("192.0.2.7:56324"))
	if n := len(g.audit(t)); n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestProxyHeadersAcrossProtocolsAndReloads(t *testing.T) {
	t.Parallel()
	g := behind(t, setup{})
	conn, err := g.through(t, proxied(0x21, 0x11, addresses4("192.0.2.7")), 0, "h2")
	if err != nil || conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Fatal(err)
	}
	g.rewrite(t, "127.0.0.0/8", "127.0.0.8/32")
	g.hangUp(t)
	wantStatus(t, g.client(t, "h2", common().web).get("/echo"), http.StatusOK) // without a header now
	g.rewrite(t, "127.0.0.8/32", "0.0.0.0/0")
	g.hangUp(t)
	again, err := g.through(t, proxied(0x21, 0x11, addresses4("192.0.2.8")), 3, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	if from := askOver(t, again).echo(t).Headers.Get("X-Forwarded-For"); from != "192.0.2.8" {
		t.Errorf("it came from %q", from)
	}
}

func TestNetworksThatAreNone(t *testing.T) {
	t.Parallel()
	for network, want := range map[string]string{
		"10.0.0.1/8":   "found '10.0.0.1/8', which has bits beyond its prefix",
		"10.0.0.0/33":  "found '10.0.0.0/33', whose prefix is not from 0 to 32",
		"fd00::/129":   "found 'fd00::/129', whose prefix is not from 0 to 128",
		"10.0.0.0/":    "found '10.0.0.0/', whose prefix is not from 0 to 32",
		"balancer":     "found 'balancer', which is no IP network",
		"10.0.0/8":     "found '10.0.0/8', which is no IP network",
		"[fd00::]/8":   "found '[fd00::]/8', which is no IP network",
		"10.0.0.0/ 8":  "found '10.0.0.0/ 8', whose prefix is not from 0 to 32",
		"10.0.0.0/+8":  "found '10.0.0.0/+8', whose prefix is not from 0 to 32",
		"10.0.0.0/8/8": "found '10.0.0.0/8/8', whose prefix is not from 0 to 32",
		"unix":         "can have no effect: the listener's address is none of a unix socket; expected IP networks",
		// An IPv4 client is one of IPv4, also on a socket of both.
		"::ffff:10.0.0.0/104": "found '::ffff:10.0.0.0/104', which is an IPv4 network written as one of IPv6",
	} {
		s := setup{listener: []string{fmt.Sprintf("proxy_protocol: {trusted: [%q]}", network)},
			routes: []string{route("path: /*", `respond: {status: 200}`)}}
		s.fill()
		_, output, code := check(t, s.yaml("127.0.0.1:8443", "127.0.0.1:9901"))
		if code != 2 || !strings.Contains(output, "listeners[0].proxy_protocol.trusted[0]: "+want) {
			t.Errorf("%s: exit %d\n%s", network, code, output)
		}
	}
}
