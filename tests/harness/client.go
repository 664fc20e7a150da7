package harness

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Patience bounds every single exchange of a test; nothing waits for it when all is well.
var Patience = Slow(5 * time.Second)

// DialTCP connects to the gateway, with a deadline on everything.
func (g *Gateway) DialTCP(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.Address, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(Patience))
	return conn
}

// DialTLS connects with the good certificate.
func (g *Gateway) DialTLS(t *testing.T, protocol string) *tls.Conn {
	t.Helper()
	conn := tls.Client(g.DialTCP(t), ClientTLS(protocol))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A Wire is a raw HTTP/1.1 connection through TLS.
type Wire struct {
	*tls.Conn
	Reader *bufio.Reader
	t      *testing.T
}

// Wire opens a raw HTTP/1.1 connection.
func (g *Gateway) Wire(t *testing.T) *Wire {
	t.Helper()
	conn := g.DialTLS(t, "http/1.1")
	return &Wire{conn, bufio.NewReader(conn), t}
}

// Say writes in one piece; the other side may have shut the door already.
func (w *Wire) Say(text string) { _, _ = io.WriteString(w, text) }

// Drip writes every byte in a TLS record of its own.
func (w *Wire) Drip(text string) {
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
	}
}

// A Reply is an answer read to its end, or the error that came instead.
type Reply struct {
	Status int
	Header http.Header
	Body   string
	Err    error
}

// Collect reads an answer to its end.
func Collect(answer *http.Response, err error) Reply {
	if err != nil {
		return Reply{Err: err}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return Reply{answer.StatusCode, answer.Header, string(body), err}
}

// Hear reads one answer to a request of the method.
func (w *Wire) Hear(method string) Reply {
	answer, err := http.ReadResponse(w.Reader, &http.Request{Method: method})
	return Collect(answer, err)
}

// Rest reads until the other side ends the connection; the error is nil after a proper end of TLS.
func (w *Wire) Rest() (string, error) {
	rest, err := io.ReadAll(w.Reader)
	return string(rest), err
}

// Client is an HTTP client of one protocol, "h1" or "h2", with the good certificate.
func (g *Gateway) Client(t *testing.T, protocol string) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == "h1")
	protocols.SetHTTP2(protocol == "h2")
	transport := &http.Transport{TLSClientConfig: ClientTLS(), Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, g.Address)
		}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Get asks for a path.
func Get(client *http.Client, path string) Reply {
	return Collect(client.Get("https://gateway.test" + path))
}

// Ask makes a request with a body.
func Ask(client *http.Client, method, path, body string) Reply {
	return Collect(client.Do(Must(http.NewRequest(method, "https://gateway.test"+path, strings.NewReader(body)))))
}
