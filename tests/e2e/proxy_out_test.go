package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// Backends with `proxy_protocol` are told by the PROXY protocol whose a connection is.

// A townHall takes only connections that begin with a PROXY header, reads it as go-proxyproto does, and answers with what
// that says and the number of the connection.
type townHall struct {
	address string
	mutex   sync.Mutex
	headers []proxyproto.Header
	ended   int
}

type numbered struct{}

func newTownHall(t *testing.T, protocol string, config *tls.Config) *townHall {
	t.Helper()
	b := &townHall{}
	plain := must(net.Listen("tcp", "127.0.0.1:0"))
	b.address = plain.Addr().String()
	required := func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil }
	var listener net.Listener = &proxyproto.Listener{Listener: plain, ConnPolicy: required, ReadHeaderTimeout: patience}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == "http1")
	protocols.SetHTTP2(protocol == "h2" && config != nil)
	protocols.SetUnencryptedHTTP2(protocol == "h2" && config == nil)
	server := &http.Server{Protocols: protocols, ReadHeaderTimeout: patience, ConnContext: b.enter, ConnState: b.leave,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			number := r.Context().Value(numbered{}).(int)
			said := b.header(number)
			_, _ = fmt.Fprintf(w, "%d %v %v", number, said.SourceAddr, said.DestinationAddr)
		})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return b
}

func (b *townHall) enter(ctx context.Context, conn net.Conn) context.Context {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	header := conn.(*proxyproto.Conn).ProxyHeader()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if header == nil {
		header = &proxyproto.Header{}
	}
	b.headers = append(b.headers, *header)
	return context.WithValue(ctx, numbered{}, len(b.headers)-1)
}

func (b *townHall) leave(_ net.Conn, state http.ConnState) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if state == http.StateClosed {
		b.ended++
	}
}

func (b *townHall) header(number int) proxyproto.Header {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.headers[number]
}

func (b *townHall) connections() (begun, ended int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return len(b.headers), b.ended
}

// vouching is a backend of the configuration that is told.
func vouching(version, protocol, address string, more ...string) string {
	return fmt.Sprintf("{name: web, protocol: %s, proxy_protocol: %s, endpoints: [%q]%s}",
		protocol, version, address, strings.Join(append([]string{""}, more...), ", "))
}

// heardOf is what the answers say: from which connection, about whom.
func heardOf(t *testing.T, got reply) (connection, client, gateway string) {
	t.Helper()
	wantStatus(t, got, http.StatusOK)
	words := strings.Fields(got.body)
	if len(words) != 3 {
		t.Fatalf("got %q", got.body)
	}
	return words[0], words[1], words[2]
}

// located is a client that remembers where it connected from.
func (g *gateway) located(t *testing.T, protocol string) (c *client, from func() string) {
	t.Helper()
	var conns []net.Conn
	c = g.client(t, protocol, common().web)
	c.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, g.address)
		conns = append(conns, conn)
		return conn, err
	}
	return c, func() string {
		if len(conns) != 1 {
			t.Fatalf("the client made %d connections", len(conns))
		}
		return conns[0].LocalAddr().String()
	}
}

func TestBackendsAreToldWhoseAConnectionIs(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		for _, protocol := range []string{"http1", "h2"} {
			for _, encrypted := range []bool{false, true} {
				t.Run(fmt.Sprint(version, " ", protocol, " TLS ", encrypted), func(t *testing.T) {
					t.Parallel()
					var config *tls.Config
					var more []string
					if encrypted {
						alpn := map[string]string{"http1": "http/1.1", "h2": "h2"}[protocol]
						config = serverOf(theMesh().root.serving(uri(usersID)), alpn)
						more = []string{"tls: {trusted_ca: servers.pem, " + allOf + "}"}
					}
					hall := newTownHall(t, protocol, config)
					g := start(t, setup{files: theMesh().files(), routes: []string{route("path: /*", "backend: web")},
						backends: []string{vouching(version, protocol, hall.address, more...)}})
					for _, spoken := range []string{"h1", "h2"} {
						c, from := g.located(t, spoken)
						for range 3 {
							_, client, gateway := heardOf(t, c.get("/x"))
							if client != from() || gateway != g.address {
								t.Errorf("over %s it is told of %s at %s, not of %s at %s", spoken, client, gateway, from(), g.address)
							}
						}
					}
					if begun, _ := hall.connections(); begun != 2 {
						t.Errorf("two clients have %d connections", begun)
					}
				})
			}
		}
	}
}

func TestAConnectionInSomebodysNameCarriesNobodyElse(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			hall := newTownHall(t, protocol, nil)
			g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{vouching("v2", protocol, hall.address)}})
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					c, from := g.located(t, "h2")
					var own []string
					for range 30 {
						connection, client, _ := heardOf(t, c.get("/x"))
						if client != from() {
							t.Errorf("a request of %s goes in the name of %s", from(), client)
						}
						if !slices.Contains(own, connection) {
							own = append(own, connection)
						}
					}
					if len(own) != 1 {
						t.Errorf("requests one after the other took %d connections", len(own))
					}
				})
			}
			group.Wait()
		})
	}
}

func TestAConnectionInSomebodysNameEndsWithTheirs(t *testing.T) {
	t.Parallel()
	hall := newTownHall(t, "http1", nil)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{vouching("v1", "http1", hall.address)}})
	gone, _ := g.located(t, "h1")
	stays, from := g.located(t, "h1")
	heardOf(t, gone.get("/x"))
	first, _, _ := heardOf(t, stays.get("/x"))
	gone.transport.CloseIdleConnections()
	waitFor(t, "the connection of who is gone to end", 5*time.Second, func() bool { _, ended := hall.connections(); return ended == 1 })
	if second, client, _ := heardOf(t, stays.get("/x")); second != first || client != from() {
		t.Errorf("who stays is moved from connection %s to %s", first, second)
	}
}

func TestWhoTheBalancerSaysIsToldOn(t *testing.T) {
	t.Parallel()
	hall := newTownHall(t, "http1", nil)
	g := start(t, setup{listener: []string{`proxy_protocol: {trusted: ["127.0.0.0/8"]}`}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{vouching("v1", "http1", hall.address)}})
	port := g.address[strings.LastIndexByte(g.address, ':')+1:]
	for name, row := range map[string]struct{ header, client, gateway string }{
		"IPv4":                  {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7:56324", g.address},
		"IPv6, reached by IPv4": {"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "[2001:db8::7]:56324", "127.0.0.1:" + port},
	} {
		conn, err := g.through(t, row.header, 0, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		if _, client, gateway := heardOf(t, askOver(t, conn)); client != row.client || gateway != row.gateway {
			t.Errorf("%s: told is %s at %s", name, client, gateway)
		}
	}
}

func TestHealthChecksSpeakForNobody(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		hall := newTownHall(t, "http1", nil)
		g := start(t, setup{routes: []string{route("path: /*", "backend: web")},
			backends: []string{vouching(version, "http1", hall.address, "health_check: {path: /healthz, interval: 30ms}")}})
		waitFor(t, "a check to be answered", 5*time.Second, func() bool {
			begun, ended := hall.connections()
			return begun > 0 && ended > 0
		})
		if header := hall.header(0); header.TransportProtocol != proxyproto.UNSPEC || (version == "v2" && !header.Command.IsLocal()) {
			t.Errorf("%s: a check says %+v", version, header)
		}
		wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
	}
}

func TestAReloadKeepsConnectionsInSomebodysNameUnlessTheVersionChanges(t *testing.T) {
	t.Parallel()
	hall := newTownHall(t, "h2", nil)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{vouching("v1", "h2", hall.address)}})
	c, from := g.located(t, "h2")
	first, _, _ := heardOf(t, c.get("/x"))
	g.rewrite(t, "path: /*", "path: /x")
	g.reload(t)
	if again, _, _ := heardOf(t, c.get("/x")); again != first {
		t.Errorf("connection %s became %s", first, again)
	}
	g.rewrite(t, "proxy_protocol: v1", "proxy_protocol: v2")
	g.reload(t)
	waitFor(t, "the other version", 5*time.Second, func() bool {
		connection, client, _ := heardOf(t, c.get("/x"))
		return connection != first && client == from() && hall.header(1).Version == 2
	})
	if hall.header(0).Version != 1 {
		t.Errorf("the first was of version %d", hall.header(0).Version)
	}
}

func TestCopiesAreNotSentInSomebodysName(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	s := setup{routes: []string{route("path: /*", "backend: plain, mirror: {backend: web}")},
		backends: []string{http1("plain", web.Listener.Addr().String()), vouching("v2", "http1", web.Listener.Addr().String())}}
	dir := t.TempDir()
	s.write(t, dir, freeAddress(t), freeAddress(t))
	said, code := tollgate(t, "check", "--config", filepath.Join(dir, "tollgate.yaml"))
	if code == 0 || !strings.Contains(said, "copies share theirs; expected a backend without it") {
		t.Errorf("check: %d %s", code, said)
	}
}

// A backend that does not expect a header sees nonsense; that is told as any backend's fault.
func TestABackendThatExpectsNoHeaderIsNotHarmed(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{vouching("v1", "http1", web.Address)}})
	got := g.client(t, "h1", common().web).get("/x")
	if got.err != nil && !errors.Is(got.err, io.EOF) || got.status/100 == 2 {
		t.Errorf("got %+v", got)
	}
}
