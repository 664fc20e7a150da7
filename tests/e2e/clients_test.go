package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// patience bounds every single exchange of a test; nothing waits for it when all is well.
var patience = slow(20 * time.Second)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// dialTCP connects to the gateway, with a deadline on everything.
func (g *gateway) dialTCP(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// tryTLS is dialTLS where nobody may be listening.
func (g *gateway) tryTLS(config *tls.Config) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", g.address, config)
}

// dialTLS connects and shakes hands; the error is the handshake's.
func (g *gateway) dialTLS(t *testing.T, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn := tls.Client(g.dialTCP(t), config)
	return conn, conn.Handshake()
}

// A wire is a raw HTTP/1.1 connection through TLS.
type wire struct {
	*tls.Conn
	t      *testing.T
	reader *bufio.Reader
}

func (g *gateway) wire(t *testing.T, cert *tls.Certificate) *wire {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(cert, "http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	return &wire{conn, t, bufio.NewReader(conn)}
}

func (w *wire) say(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

// hear reads one answer to a request of the method.
func (w *wire) hear(method string) reply {
	w.t.Helper()
	answer, err := http.ReadResponse(w.reader, &http.Request{Method: method})
	return collect(answer, err)
}

// closed tells whether the other side ends the connection without another byte.
func (w *wire) closed() bool {
	_, err := w.reader.ReadByte()
	return err != nil && !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A reply is an HTTP answer read to its end, or the error that came instead.
type reply struct {
	status          int
	protocol        string
	header, trailer http.Header
	closes          bool // it says Connection: close
	body            string
	err             error
}

func collect(answer *http.Response, err error) reply {
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Proto, answer.Header, answer.Trailer, answer.Close, string(body), err}
}

// problem returns a member of the problem JSON that refusals carry.
func (r reply) problem(member string) string {
	var members map[string]any
	if json.Unmarshal([]byte(r.body), &members) != nil {
		return "no JSON: " + r.body
	}
	text, _ := members[member].(string)
	return text
}

// echo decodes the answer of the backends' echo.
func (r reply) echo(t *testing.T) backend.Echo {
	t.Helper()
	var seen backend.Echo
	if r.err != nil || r.status != 200 {
		t.Fatalf("no echo: status %d, error %v: %s", r.status, r.err, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &seen); err != nil {
		t.Fatalf("no echo: %v: %s", err, r.body)
	}
	return seen
}

// A client is an HTTP client that has one protocol, one certificate, and follows nothing.
type client struct {
	*http.Client
	transport *http.Transport
	dials     atomic.Int64
	left      atomic.Int64 // connections over HTTP/1.1 that it closed itself, while the gateway held them
	sentAway  atomic.Int64 // answers behind which the gateway said that it would close
}

func (g *gateway) client(t *testing.T, protocol string, cert *tls.Certificate) *client {
	t.Helper()
	return g.clientWith(t, protocol, g.trusting(cert))
}

func (g *gateway) clientWith(t *testing.T, protocol string, config *tls.Config) *client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == "h1")
	protocols.SetHTTP2(protocol == "h2")
	c := &client{}
	c.transport = &http.Transport{TLSClientConfig: config, Protocols: protocols,
		DisableCompression: true, ExpectContinueTimeout: patience,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c.dials.Add(1)
			conn, err := new(net.Dialer).DialContext(ctx, network, g.address)
			if err != nil {
				return nil, err
			}
			if protocol == "h2" {
				return conn, nil
			}
			return &leavable{Conn: conn, client: c}, nil
		}}
	c.Client = &http.Client{Transport: c.transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

// request makes a request to the gateway; headers are given in pairs.
func request(method, path, body string, headers ...string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := must(http.NewRequest(method, "https://gateway.test"+path, reader))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func (c *client) do(r *http.Request) reply {
	response, err := c.Do(r)
	if err == nil && response.Close {
		c.sentAway.Add(1)
	}
	return collect(response, err)
}

// A leavable connection notes who closed it.
type leavable struct {
	net.Conn
	client *client
	held   atomic.Bool // by the gateway, before what was written last: close_notify, to which it may close at once
}

func (l *leavable) Write(bytes []byte) (int, error) {
	l.held.Store(harness.HeldByPeer(l.Conn))
	return l.Conn.Write(bytes)
}

func (l *leavable) Close() error {
	if l.held.Load() {
		l.client.left.Add(1)
	}
	return l.Conn.Close()
}

// connections is how many the gateway had the client make. On a busy machine Go's transport gives one up by itself, over
// HTTP/1.1: where its own writer has not said within 50 ms that the request was sent.
func (c *client) connections() int64 {
	return c.dials.Load() - max(0, c.left.Load()-c.sentAway.Load())
}

func (c *client) get(path string, headers ...string) reply {
	return c.do(request("GET", path, "", headers...))
}

// A rpc is a gRPC connection that remembers the last address it called from.
type rpc struct {
	*grpc.ClientConn
	local atomic.Value
}

func (g *gateway) rpc(t *testing.T, cert *tls.Certificate, options ...grpc.DialOption) *rpc {
	t.Helper()
	return g.rpcWith(t, g.trusting(cert), options...)
}

func (g *gateway) rpcWith(t *testing.T, config *tls.Config, options ...grpc.DialOption) *rpc {
	t.Helper()
	c := &rpc{}
	c.local.Store("")
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", g.address)
			if err == nil {
				c.local.Store(conn.LocalAddr().String())
			}
			return conn, err
		}))
	conn, err := grpc.NewClient("passthrough:///gateway.test", options...)
	if err != nil {
		t.Fatal(err)
	}
	c.ClientConn = conn
	t.Cleanup(func() { _ = conn.Close() })
	return c
}

// wantCode fails the test unless the error has the gRPC status code.
func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("status %v (%v), want %v", got, err, want)
	}
}

// wantStatus fails the test unless the answer came whole with the status.
func wantStatus(t *testing.T, r reply, want int) {
	t.Helper()
	if r.err != nil || r.status != want {
		t.Fatalf("status %d, error %v, body %.300q, want status %d", r.status, r.err, r.body, want)
	}
}

// wantRefusal fails the test unless the answer is a refusal for that reason.
func wantRefusal(t *testing.T, r reply, want int, reason string) {
	t.Helper()
	wantStatus(t, r, want)
	if got := r.problem("reason"); got != reason {
		t.Errorf("reason %q, want %q; body %s", got, reason, r.body)
	}
}

// --- backends bound to a test

func grpcBackend(t *testing.T) *backend.GRPC {
	t.Helper()
	b := must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(b.Stop)
	return b
}

func httpBackend(t *testing.T) *backend.HTTP {
	t.Helper()
	b := must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(b.Stop)
	return b
}

func h2cBackend(t *testing.T) *backend.HTTP {
	t.Helper()
	b := must(backend.StartHTTP("127.0.0.1:0", true))
	t.Cleanup(b.Stop)
	return b
}

func scripted(t *testing.T, script backend.Script) *backend.Scripted {
	t.Helper()
	b := must(backend.StartScripted("127.0.0.1:0", script))
	t.Cleanup(b.Stop)
	return b
}

// What tests of connections that stay go by: it counts those that the gateway ended, and no others.
func TestConnectionsTheClientGivesUpAreNotTheGateways(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{route("path: /*", "respond: {body: well}")}})
	for protocol, want := range map[string]int64{"h1": 1, "h2": 3} {
		c, stranger := g.client(t, protocol, common().web), g.client(t, protocol, common().root.svid("spiffe://other.example/x"))
		for range 3 {
			c.transport.CloseIdleConnections()
			wantStatus(t, c.get("/x"), http.StatusOK)
			wantRefusal(t, stranger.get("/x"), http.StatusForbidden, "identity_not_allowed") // and the connection ends
		}
		if n := c.connections(); n != want || c.dials.Load() != 3 {
			t.Errorf("%s: %d of %d connections", protocol, n, c.dials.Load())
		}
		if n := stranger.connections(); n != 3 {
			t.Errorf("%s, sent away: %d of %d connections", protocol, n, stranger.dials.Load())
		}
	}
}
