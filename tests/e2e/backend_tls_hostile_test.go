package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Servers, and who sits between, that do not keep to TLS: no caller hangs, and nobody takes a part for the whole.

// helloOf is the first flight of a server: its ServerHello and what comes with it.
func helloOf(p *backend.Peer) []byte {
	recorded := &recordedConn{Conn: p.Below()}
	_ = recorded.SetReadDeadline(time.Now().Add(patience))
	server := tls.Server(recorded, serverOf(theMesh().root.serving(dns("localhost")), "h2", "http/1.1"))
	recorded.done = func() { _ = recorded.SetReadDeadline(time.Now()) } // nothing more is waited for
	_ = server.Handshake()
	_ = p.Below().SetReadDeadline(time.Time{})
	return recorded.said.Bytes()
}

// A recordedConn keeps what is said to itself.
type recordedConn struct {
	net.Conn
	said bytes.Buffer
	done func()
}

func (c *recordedConn) Write(data []byte) (int, error) {
	c.done()
	return c.said.Write(data)
}

func says(text string) backend.Script { return func(p *backend.Peer) { hears(p); p.Say("%s", text) } }

// hears takes the ClientHello, so that the end is no reset.
func hears(p *backend.Peer) { _, _ = p.Below().Read(make([]byte, 16<<10)) }

// thenHangs goes on in silence.
func thenHangs(script backend.Script) backend.Script {
	return func(p *backend.Peer) { script(p); p.Hang() }
}

func halfAHello(p *backend.Peer) {
	hello := helloOf(p)
	_, _ = p.Below().Write(hello[:len(hello)/2])
}

func firstBytes(n int) backend.Script {
	return func(p *backend.Peer) { _, _ = p.Below().Write(helloOf(p)[:n]) }
}

// forEver says the text until nobody takes it.
func forEver(text string) backend.Script {
	return func(p *backend.Peer) {
		hears(p)
		for many := strings.Repeat(text, 1000); ; {
			if _, err := p.Below().Write([]byte(many)); err != nil {
				return
			}
		}
	}
}

const (
	failed      = "backend_tls_failed"
	timeout     = "connect_timeout"
	unconnected = "connect_failed" // where the reset is quicker than the news of the connection
)

func TestNoHandshakeLeavesACallerHanging(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		script backend.Script
		cause  string // or either, with | between
		why    string
	}{
		"plain HTTP":                  {says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), failed, ""},
		"plain HTTP that stays":       {thenHangs(says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")), failed, ""},
		"plain HTTP/2":                {thenHangs(says("\x00\x00\x00\x04\x00\x00\x00\x00\x00")), failed + "|" + timeout, ""},
		"garbage":                     {thenHangs(says("\xff\x00\x13 what is this \x00\x01" + strings.Repeat("\xa5", 5000))), failed, ""},
		"closes at once":              {func(*backend.Peer) {}, failed, ""},
		"closes when it was greeted":  {hears, failed, "ended within the handshake"},
		"resets at once":              {backend.ResetAtOnce, failed + "|" + unconnected, ""},
		"resets when it was greeted":  {func(p *backend.Peer) { hears(p); p.Reset() }, failed, "ended within the handshake"},
		"silent":                      {backend.Silent, timeout, ""},
		"one byte of a hello":         {thenHangs(firstBytes(1)), timeout, ""},
		"half a hello":                {thenHangs(halfAHello), timeout, ""},
		"half a hello, then the end":  {halfAHello, failed, "ended within the handshake"},
		"an alert":                    {says("\x15\x03\x03\x00\x02\x02\x50"), failed, "the server sent the alert internal_error"},
		"an alert nobody knows":       {says("\x15\x03\x03\x00\x02\x02\xc8"), failed, "the server sent the alert"},
		"a goodbye":                   {thenHangs(says("\x15\x03\x03\x00\x02\x01\x00")), failed, ""},
		"a record too long":           {thenHangs(says("\x16\x03\x03\xff\xff" + strings.Repeat("x", 65535))), failed, ""},
		"a message too long":          {thenHangs(says("\x16\x03\x03\x00\x04\x02\xff\xff\xff")), failed, ""},
		"an old version":              {thenHangs(says("\x16\x03\x00\x00\x2c\x02\x00\x00\x28\x03\x00" + strings.Repeat("r", 32) + "\x00\x00\x2f\x00\x00\x00")), failed, ""},
		"a ClientHello":               {func(p *backend.Peer) { _ = tls.Client(p.Below(), &tls.Config{InsecureSkipVerify: true}).Handshake() }, failed, ""},
		"application data":            {thenHangs(says("\x17\x03\x03\x00\x05hello")), failed, ""},
		"empty records for ever":      {forEver("\x16\x03\x03\x00\x00"), failed, ""},
		"cipher changes for ever":     {forEver("\x14\x03\x03\x00\x01\x01"), failed, ""},
		"warnings for ever":           {forEver("\x15\x03\x03\x00\x02\x01\x5a"), failed, ""},
		"requests to greet for ever":  {forEver("\x16\x03\x03\x00\x04\x00\x00\x00\x00"), failed + "|" + timeout, ""},
		"certificates without number": {backend.OverTLS(serverOf(theMesh().root.serving(dns("localhost"), padding(200<<10)), "h2", "http/1.1"), backend.Good), failed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := scripted(t, row.script)
			ends := func(protocol string) string {
				return secured(protocol, protocol+", connect_timeout: 300ms", "server_name: localhost", server.Address)
			}
			g := start(t, setup{workers: 1, files: theMesh().files(), top: []string{accessLog}, routes: []string{route("path: /http1/*", "backend: http1"),
				route("path: /h2/*", "backend: h2")}, backends: []string{ends("http1"), ends("h2")}})
			for _, up := range []string{"http1", "h2"} {
				for _, down := range []string{"h1", "h2"} {
					got := g.client(t, down, common().web).do(request("POST", "/"+up+"/"+down, strings.Repeat("b", 100<<10)))
					want := map[string]int{failed: http.StatusServiceUnavailable, unconnected: http.StatusServiceUnavailable, timeout: http.StatusGatewayTimeout}[got.problem("reason")]
					if want == 0 || got.status != want || !strings.Contains(row.cause, got.problem("reason")) {
						t.Errorf("%s over %s: status %d, error %v, %s; want %s", down, up, got.status, got.err, got.body, row.cause)
					}
				}
			}
			wantBlamed(t, g, row.why, row.cause == failed)
		})
	}
}

// wantBlamed wants the log to tell of failed handshakes for that reason, if it must tell of any.
func wantBlamed(t *testing.T, g *gateway, why string, must bool) {
	t.Helper()
	said := g.saying(t, "TLS to a backend failed")
	if must {
		said = g.eventually(t, "TLS to a backend failed")
	}
	for _, one := range said {
		if one["reason"] != "tls_failed" && one["reason"] != "certificate_invalid" || !strings.Contains(one["why"], why) || one["why"] == "" {
			t.Errorf("log: %v, want %q", one, why)
		}
	}
}

// spent is the processor time the gateway had so far.
func (g *gateway) spent(t *testing.T) time.Duration {
	t.Helper()
	_, rest, _ := strings.Cut(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.command.Process.Pid)))), ") ")
	words := strings.Fields(rest)
	ticks := must(strconv.Atoi(words[11])) + must(strconv.Atoi(words[12]))
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Requests that wait for a handshake cost nothing meanwhile, and end when their callers do.
func TestWaitingForAHandshakeIsIdle(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			server := scripted(t, thenHangs(halfAHello))
			g := securely(t, setup{workers: 1}, protocol+", connect_timeout: 2s", "server_name: localhost", server.Address)
			answers := make(chan reply, 4)
			for i := range cap(answers) {
				c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
				go func() { answers <- c.do(request("POST", "/x", strings.Repeat("b", 200<<10))) }()
			}
			waitFor(t, "a handshake", patience, func() bool { return server.Wire.Accepted.Load() > 0 })
			before := g.spent(t)
			wantRefusal(t, <-answers, http.StatusGatewayTimeout, timeout)
			if cost := g.spent(t) - before; cost > slow(500*time.Millisecond) {
				t.Errorf("two seconds of waiting cost %v", cost)
			}
			for range cap(answers) - 1 {
				wantRefusal(t, <-answers, http.StatusGatewayTimeout, timeout)
			}
		})
	}
}

// Without close_notify nobody knows whether the answer was whole; a bare FIN anybody can send.
func TestTruncatedAnswersAreNeverTakenForWhole(t *testing.T) {
	t.Parallel()
	const text = "the first half, and "
	fin := func(*backend.Peer) {}
	goodbye := func(p *backend.Peer) { p.Farewell() }
	reset := func(p *backend.Peer) { p.Reset() }
	nonsense := func(p *backend.Peer) {
		_, _ = p.Below().Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("n", 32)))
	}
	inClear := func(p *backend.Peer) { _, _ = p.Below().Write([]byte("\x15\x03\x03\x00\x02\x01\x00")) }
	for name, row := range map[string]struct {
		head  string
		end   backend.Script
		whole bool
	}{
		"until the end, FIN alone":        {"HTTP/1.1 200 OK\r\n\r\n", fin, false},
		"HTTP/1.0, FIN alone":             {"HTTP/1.0 200 OK\r\n\r\n", fin, false},
		"announced, FIN alone":            {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", fin, false},
		"until the end, reset":            {"HTTP/1.1 200 OK\r\n\r\n", reset, false},
		"until the end, nonsense":         {"HTTP/1.1 200 OK\r\n\r\n", nonsense, false},
		"until the end, goodbye in clear": {"HTTP/1.1 200 OK\r\n\r\n", inClear, false},
		"until the end, goodbye":          {"HTTP/1.1 200 OK\r\n\r\n", goodbye, true},
		"HTTP/1.0, goodbye":               {"HTTP/1.0 200 OK\r\n\r\n", goodbye, true},
		"of known length, FIN alone":      {fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(text)), fin, true},
		"of known length, nonsense":       {fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(text)), nonsense, true},
		"too short, goodbye":              {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text)+1), goodbye, false},
		"too short, nonsense":             {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text)+1), nonsense, false},
	} {
		for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
			t.Run(name+", "+version, func(t *testing.T) {
				t.Parallel()
				config := serverOf(theMesh().root.serving(dns("localhost")), "http/1.1")
				config.MaxVersion = number
				server := scripted(t, backend.OverTLS(config, func(p *backend.Peer) {
					if p.Request() != nil {
						p.Say("%s%s", row.head, text)
						row.end(p)
					}
				}))
				g := securely(t, setup{workers: 1}, "http1", "", at("localhost", server.Address))
				for _, down := range []string{"h1", "h2"} {
					got := g.client(t, down, common().web).do(request("POST", "/x", "b"))
					if whole := got.err == nil && got.status == http.StatusOK; whole != row.whole || whole && got.body != text {
						t.Errorf("%s: status %d, error %v, %q; want it whole: %v", down, got.status, got.err, got.body, row.whole)
					}
				}
				if n := g.handshakes(t, "web", at("localhost", server.Address), "ok"); n != 2 {
					t.Errorf("%d good handshakes, want 2", n)
				}
			})
		}
	}
}

// What breaks off after the server was heard is told as that, and is no failed handshake.
func TestAConnectionThatBreaksOffIsToldApart(t *testing.T) {
	t.Parallel()
	server := scripted(t, backend.OverTLS(serverOf(theMesh().root.serving(dns("localhost"))), func(p *backend.Peer) {
		if p.Request() != nil {
			p.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			_, _ = p.Below().Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("n", 32)))
			p.Hang()
		}
	}))
	endpoint := at("localhost", server.Address)
	g := securely(t, setup{workers: 1}, "http1", "", endpoint)
	if got := g.client(t, "h2", common().web).get("/x"); got.err == nil {
		t.Errorf("the answer is whole: %+v", got)
	}
	broke := g.eventually(t, "TLS to a backend broke off")
	if len(broke) != 1 || broke[0]["reason"] != "tls_failed" || broke[0]["endpoint"] != endpoint || broke[0]["why"] == "" {
		t.Errorf("log: %v", broke)
	}
	if n := g.handshakes(t, "web", endpoint, "tls_failed"); n != 0 || g.handshakes(t, "web", endpoint, "ok") != 1 {
		t.Errorf("%d failed handshakes", n)
	}
	if line := g.accessOf(t, "/x"); line.text("cause") != "backend_closed" || line.text("response_flags") != "UC" {
		t.Errorf("access log: cause %q, flags %q", line.text("cause"), line.text("response_flags"))
	}
}

// A gRPC server that dies in the middle of its stream has ended no call well.
func TestTruncatedStreamsFail(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "reset"} {
		users := grpcsBackend(t, serverOf(theMesh().root.serving(uri(usersID))))
		g := securely(t, setup{}, "h2", allOf, users.Address)
		ctx := ordering(within(t, patience), backend.DoDie, how, backend.DoDieAfter, "3", backend.DoCount, "5")
		stream := openStream(t, ctx, g.rpc(t, common().web), listUsers)
		send(t, stream, "x")
		_ = stream.CloseSend()
		_, err := drain(stream)
		wantCode(t, err, codes.Unavailable)
	}
}

// OpenSSL's server does what Go's cannot: it asks for renegotiation, and updates its keys on and on.
func TestServersMayNotWearTheGatewayOut(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		version, command, message string
		times                     int
		why                       string
	}{
		"renegotiation": {"-tls1_2", "R", "HelloRequest", 1, "the server asked for renegotiation"},
		"key updates":   {"-tls1_3", "k", "KeyUpdate", 40, "the server sent a flood of key updates"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, dir, address := theMesh().root.serving(uri(usersID)), t.TempDir(), freeAddress(t)
			writeFile(t, dir, "server.pem", append(pemCertificates(cert.Certificate...), pemKey(cert.PrivateKey)...))
			server := exec.Command("openssl", "s_server", row.version, "-accept", address, "-cert", filepath.Join(dir, "server.pem"), "-naccept", "1", "-msg")
			said := &lockedBuffer{}
			server.Stdout, server.Stderr = said, said
			server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			orders := must(server.StdinPipe())
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
			waitFor(t, "the server", patience, func() bool { return strings.Contains(said.String(), "ACCEPT") })
			g := securely(t, setup{workers: 1}, "http1", allOf, address)
			answer, c := make(chan reply, 1), g.client(t, "h1", common().web)
			go func() { answer <- c.do(request("POST", "/x", "b")) }()
			waitFor(t, "the request", patience, func() bool { return strings.Contains(said.String(), "POST /x HTTP/1.1") })
			for done := range row.times {
				_, _ = io.WriteString(orders, row.command+"\n")
				waitFor(t, fmt.Sprint("order ", done), patience, func() bool {
					return strings.Count(said.String(), row.message) > done || len(answer) > 0
				})
			}
			if got := <-answer; got.err != nil || got.status != http.StatusBadGateway && got.status != http.StatusServiceUnavailable {
				t.Errorf("status %d, error %v, %s", got.status, got.err, got.body)
			}
			if log := g.eventually(t, "TLS to a backend failed"); len(log) != 1 || log[0]["why"] != row.why {
				t.Errorf("log: %v, want %q", log, row.why)
			}
		})
	}
}

// Behind the handshake a server may have read the request before the connection broke: it is sent to nobody else.
func TestNoRequestIsSentTwiceWhereTLSBreaks(t *testing.T) {
	t.Parallel()
	nonsense := "\x17\x03\x03\x00\x20" + strings.Repeat("n", 32)
	for name, ending := range map[string]string{"nonsense": nonsense, "an alert in the clear": "\x15\x03\x03\x00\x02\x02\x50", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := backend.OverTLS(serverOf(theMesh().root.serving(uri(usersID)), "http/1.1"), func(p *backend.Peer) {
				if p.Request() != nil {
					_, _ = p.Below().Write([]byte(ending))
				}
			})
			one, two := scripted(t, script), scripted(t, script)
			g := securely(t, setup{workers: 1}, "http1", allOf, one.Address, two.Address)
			for _, down := range []string{"h1", "h2"} {
				got := g.client(t, down, common().web).do(request("POST", "/x", "b"))
				if got.err != nil || got.status != http.StatusBadGateway && got.status != http.StatusServiceUnavailable {
					t.Errorf("%s: status %d, error %v", down, got.status, got.err)
				}
			}
			if n := one.Requests.Load() + two.Requests.Load(); n != 2 {
				t.Errorf("two requests were sent %d times", n)
			}
		})
	}
}
