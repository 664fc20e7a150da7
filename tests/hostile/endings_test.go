package hostile

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Connections that end in the middle: what was cut short never looks whole, and whoever broke a rule hears it.

// inOne keeps what is written until it is let go, so that it leaves in one segment.
type inOne struct {
	net.Conn
	holds bool
	kept  bytes.Buffer
}

func (c *inOne) Write(data []byte) (int, error) {
	if c.holds {
		return c.kept.Write(data)
	}
	return c.Conn.Write(data)
}

// awaitHandshakes waits until the gateway, too, is done with that many.
func awaitHandshakes(t *testing.T, g *harness.Gateway, count int) {
	t.Helper()
	harness.WaitFor(t, "the handshake", 5*time.Second, func() bool {
		return int(g.Metric("tollgate_tls_handshakes_total")) == count
	})
}

// A record that does not decrypt ends the connection with an alert, also where it comes in one segment with a request
// whose answer is being written.
func TestABrokenRecordEndsTheConnectionAtOnce(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Setup{Routes: []string{harness.Route("path: /*", "respond: {status: 200}")}})
	handshakes := 0
	for name, first := range map[string]string{"alone": "", "behind a request": "GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			raw := &inOne{Conn: g.DialTCP(t)}
			_ = raw.SetDeadline(time.Now().Add(harness.Slow(5 * time.Second)))
			conn := tls.Client(raw, harness.ClientTLS("http/1.1"))
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			handshakes++
			awaitHandshakes(t, g, handshakes)
			raw.holds = true
			_, _ = io.WriteString(conn, first)
			raw.kept.WriteString("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))
			_, _ = raw.Conn.Write(raw.kept.Bytes())
			said, err := io.ReadAll(conn)
			if err == nil || !strings.Contains(err.Error(), "bad record MAC") {
				t.Errorf("%q, then %v", said, err)
			}
		})
	}
}

// The end of the connection alone delimits an answer to HTTP/1.0 (RFC 9112, 8): whoever cuts it short, the client can see
// that.
func TestAnAnswerUntilTheEndThatIsCutShortLooksBroken(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]struct {
		fields string
		cut    func(g *harness.Gateway, w *harness.Wire, leave func())
	}{
		"by the backend":              {"", func(_ *harness.Gateway, _ *harness.Wire, leave func()) { leave() }},
		"by the backend, called gRPC": {"Content-Type: application/grpc\r\n", func(_ *harness.Gateway, _ *harness.Wire, leave func()) { leave() }},
		"by the client's half-close":  {"", func(_ *harness.Gateway, w *harness.Wire, _ func()) { _ = w.CloseWrite() }},
		"by the end of the drain":     {"", func(g *harness.Gateway, _ *harness.Wire, _ func()) { g.Signal(syscall.SIGTERM) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			g, _ := scripted(t, func(p *backend.Peer) {
				p.Request()
				p.Say("%s%s\r\n\r\n5\r\nfirst\r\n", ok, chunked)
				<-over
			})
			w := g.Wire(t)
			w.Say("GET / HTTP/1.0\r\n" + try.fields + "\r\n")
			seen := ""
			for part := make([]byte, 4096); !strings.Contains(seen, "first"); {
				n, err := w.Reader.Read(part)
				if seen += string(part[:n]); err != nil {
					t.Fatalf("%q, then %v", seen, err)
				}
			}
			var left bool
			leave := func() {
				if !left {
					close(over)
				}
				left = true
			}
			try.cut(g, w, leave)
			if rest, err := w.Rest(); err == nil {
				t.Errorf("looks whole: %q", seen+rest)
			}
			leave()
		})
	}
}

// Whoever was refused and has not asked for anything when the gateway stops is on the record like any other.
func TestAStopKeepsTheRecordOfWhoeverHadNotAskedYet(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	config := harness.ClientTLS("http/1.1")
	config.Certificates = nil
	conn := tls.Client(g.DialTCP(t), config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	awaitHandshakes(t, g, 1)
	g.Signal(syscall.SIGTERM)
	g.Signal(syscall.SIGINT) // the second one ends it at once
	g.Exit(5 * time.Second)
	if n := g.Audit("certificate_missing"); n != 1 {
		t.Errorf("%d records", n)
	}
}
