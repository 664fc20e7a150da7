package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"tollgate/tests/harness"
)

// What the tests of `circuit_breaker` have behind the gateway.

// Inns are the endpoints of a backend: they count who is connected, and keep their callers until they are told to let
// them go.
type inns struct {
	up     string
	houses []*house
	mutex  sync.Mutex
	open   bool     // nobody is kept
	guests []*guest // all that ever came, in that order
	checks int      // for /healthz
}

// A house is one endpoint.
type house struct {
	opening
	address  string
	server   *http.Server
	begun    int // connections that came as far as HTTP; of its server alone
	mutex    sync.Mutex
	lines    map[*line]bool
	most     int // connections at once
	accepted int
}

// A line is a connection.
type line struct {
	*net.TCPConn
	house *house
}

// A guest is a call that came to an endpoint.
type guest struct {
	house      *house
	path, from string // who asks: the gateway, or by the PROXY protocol its client
	connection int    // numbered by endpoint, from 1
	let        chan struct{}
	kept       bool
}

// An opening is what a test wants of its inns.
type opening struct {
	streams int         // of an HTTP/2 connection; 0: many
	proxied bool        // by the PROXY protocol
	tls     *tls.Config // or none
	parts   bool        // from each connection after one answer, and says so
	idle    time.Duration
}

func newInns(t *testing.T, up string, endpoints int, o opening) *inns {
	t.Helper()
	b := &inns{up: up}
	for range endpoints {
		h := &house{address: freeAddress(t), opening: o, lines: map[*line]bool{}}
		b.begin(t, h)
		t.Cleanup(h.stop)
		b.houses = append(b.houses, h)
	}
	return b
}

// begin has the endpoint serve, again after it was stopped.
func (b *inns) begin(t *testing.T, h *house) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(b.up == "h1")
	protocols.SetHTTP2(b.up == "h2" && h.tls != nil)
	protocols.SetUnencryptedHTTP2(b.up == "h2" && h.tls == nil)
	var listener net.Listener = &counting{listening(t, h.address), h}
	if h.proxied {
		listener = &proxyproto.Listener{Listener: listener, ReadHeaderTimeout: patience}
	}
	if h.tls != nil {
		listener = tls.NewListener(listener, h.tls)
	}
	server := &http.Server{Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: h.streams}, IdleTimeout: h.idle,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			h.begun++
			return context.WithValue(ctx, numbered{}, h.begun)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serve(h, w, r) })}
	h.server = server
	go func() { _ = server.Serve(listener) }()
}

func (b *inns) addresses() (all []string) {
	for _, h := range b.houses {
		all = append(all, h.address)
	}
	return all
}

// backend is the inns' line of the configuration.
func (b *inns) backend(breaker, more string) string {
	protocol := map[string]string{"h1": "http1", "h2": "h2"}[b.up]
	return fmt.Sprintf("{name: web, protocol: %s, endpoints: [%s], circuit_breaker: {%s}%s}", protocol, quoted(b.addresses()), breaker, more)
}

type counting struct {
	net.Listener
	house *house
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	one := &line{conn.(*net.TCPConn), c.house}
	c.house.mutex.Lock()
	defer c.house.mutex.Unlock()
	c.house.lines[one] = true
	c.house.accepted++
	c.house.most = max(c.house.most, c.house.count())
	return one, nil
}

// count leaves out what the far end has closed, whoever has heard of that yet.
func (h *house) count() (open int) {
	for one := range h.lines {
		if harness.HeldByPeer(one) {
			open++
		}
	}
	return open
}

func (l *line) Close() error {
	l.house.mutex.Lock()
	delete(l.house.lines, l)
	l.house.mutex.Unlock()
	return l.TCPConn.Close()
}

// connections tells how many are open, were at most, and have been made.
func (h *house) connections() (open, most, accepted int) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.count(), h.most, h.accepted
}

// forget begins to count anew what is open at most.
func (h *house) forget() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.most = h.count()
}

// hangUp ends all connections.
func (h *house) hangUp() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for one := range h.lines {
		delete(h.lines, one)
		_ = one.TCPConn.Close()
	}
}

// stop ends the endpoint as a crash does.
func (h *house) stop() {
	_ = h.server.Close()
	h.hangUp()
}

// wantAtMost fails the test if an endpoint ever had more connections, or the gateway thinks that it has.
func (b *inns) wantAtMost(t *testing.T, g *gateway, most int) {
	t.Helper()
	for _, h := range b.houses {
		if _, had, _ := h.connections(); had > most {
			t.Errorf("%s had %d connections at once, %d are the most", h.address, had, most)
		}
		if counted := g.connectionsTo(t, h.address); counted > most {
			t.Errorf("%d connections to %s are counted, %d are the most", counted, h.address, most)
		}
	}
}

func (g *gateway) connectionsTo(t *testing.T, address string) int {
	t.Helper()
	return int(g.metric(t, fmt.Sprintf("tollgate_upstream_connections_active{backend=%q,endpoint=%q}", "web", address)))
}

// serve answers with what came of the body: its length and its sum.
func (b *inns) serve(h *house, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		b.mutex.Lock()
		b.checks++
		b.mutex.Unlock()
		return
	}
	if h.parts {
		w.Header().Set("Connection", "close") // GOAWAY, over HTTP/2
	}
	one, first := b.arrive(h, r)
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if r.URL.Path == "/drip" {
		drip(one, w, r)
	}
	select {
	case <-one.let:
	case <-r.Context().Done():
	}
	b.mutex.Lock()
	one.kept = false
	b.mutex.Unlock()
	if err != nil || r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Trailer", r.Trailer.Get("X-Trailer"))
	if status, err := strconv.Atoi(r.Header.Get("X-First")); err == nil && first {
		w.WriteHeader(status)
	}
	_, _ = fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
}

// drip answers byte by byte, so that no stream is idle, until the guest is let go.
func drip(one *guest, w http.ResponseWriter, r *http.Request) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, _ = io.WriteString(w, ".")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ticker.C:
		case <-one.let:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// receipt is what is answered to the body.
func receipt(body []byte) string { return fmt.Sprintf("%d %x", len(body), sha256.Sum256(body)) }

func (b *inns) arrive(h *house, r *http.Request) (one *guest, first bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	one = &guest{house: h, path: r.URL.Path, from: r.RemoteAddr, let: make(chan struct{}), kept: !b.open,
		connection: r.Context().Value(numbered{}).(int)}
	if b.open {
		close(one.let)
	}
	first = true
	for _, earlier := range b.guests {
		first = first && earlier.path != one.path
	}
	b.guests = append(b.guests, one)
	return one, first
}

// came returns which paths were asked for so far, in that order.
func (b *inns) came() (paths []string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, one := range b.guests {
		paths = append(paths, one.path)
	}
	return paths
}

// keeps tells how many calls are kept at the endpoints; at all of them if none is given.
func (b *inns) keeps(at ...*house) (n int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, one := range b.guests {
		if one.kept && (len(at) == 0 || one.house == at[0]) {
			n++
		}
	}
	return n
}

func (b *inns) awaitKept(t *testing.T, want int, at ...*house) {
	t.Helper()
	waitFor(t, fmt.Sprint(want, " calls to be kept"), patience, func() bool { return b.keeps(at...) == want })
}

// last is who came last.
func (b *inns) last(t *testing.T) guest {
	t.Helper()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if len(b.guests) == 0 {
		t.Fatal("nobody came")
	}
	return *b.guests[len(b.guests)-1]
}

// release lets the one go that came first of those that are kept, at the endpoint if one is given.
func (b *inns) release(t *testing.T, at ...*house) {
	t.Helper()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, one := range b.guests {
		if one.kept && (len(at) == 0 || one.house == at[0]) {
			one.kept = false
			close(one.let)
			return
		}
	}
	t.Fatal("nobody is kept")
}

// releaseAll lets everybody go, and keeps nobody until it is shut again.
func (b *inns) releaseAll() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.open = true
	for _, one := range b.guests {
		if one.kept {
			one.kept = false
			close(one.let)
		}
	}
}

func (b *inns) shut() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.open = false
}
