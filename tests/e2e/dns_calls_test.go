package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// What calls and connections notice of a name's other addresses: those under way nothing, those to come only where they go.

func speaksHTTP(address string) (*backend.HTTP, error) { return backend.StartHTTP(address, false) }

func speaksH2C(address string) (*backend.HTTP, error) { return backend.StartHTTP(address, true) }

// speaking starts servers that want to see the gateway's certificate, and show that they are the users' by SPIFFE ID and name.
func speaking(protocol string) func(address string) (*backend.HTTP, error) {
	config := theMesh().mutual(theMesh().root.serving(uri(usersID), dns(usersName)), alpn[protocol])
	return func(address string) (*backend.HTTP, error) { return backend.StartHTTPS(address, config) }
}

// comesTo calls until the server is asked, and is answered all the while.
func (c *client) comesTo(t *testing.T, server *backend.HTTP) {
	t.Helper()
	waitFor(t, "the new address to be called", patience, func() bool {
		wantStatus(t, c.get("/x"), http.StatusOK)
		return server.Journal.Count("") > 0
	})
}

func TestStreamsGoOnWhereANameHasLeft(t *testing.T) {
	t.Parallel()
	names, users := startNameServer(t), newTeam(t, speaksGRPC, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: h2", users.endpoint(usersName))
	conn, old, young := g.rpc(t, common().web), users.at["127.0.0.2"], users.at["127.0.0.3"]
	stream := openStream(t, within(t, patience), conn, chat)
	talk := func(text string) {
		t.Helper()
		send(t, stream, text)
		if got, err := stream.Receive(); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	talk("before")
	g.change(t, names, usersName, "127.0.0.3")
	talk("just after")
	waitFor(t, "calls at the new address", patience, func() bool {
		wantCode(t, invoke(t, conn, login), codes.OK)
		return young.Journal.Count(login) > 0
	})
	before := old.Journal.Count(login)
	for i := range 5 {
		talk(fmt.Sprint("long after ", i))
		wantCode(t, invoke(t, conn, login), codes.OK)
		g.awaitLookups(t, "unchanged", 1)
	}
	if n := old.Journal.Count(login); n != before || old.Wire.Open() != 1 {
		t.Errorf("%d calls more at the old address, %d connections", n-before, old.Wire.Open())
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Errorf("after half-close: %v", err)
	}
	waitFor(t, "the connection to be closed behind the last call", patience, func() bool { return old.Wire.Open() == 0 })
}

// A download is under way when its address leaves, and another when that address is back and leaves again.
func TestDownloadsGoOnWhereANameHasLeft(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(string) (*backend.HTTP, error){"http1": speaksHTTP, "h2": speaksH2C} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, server, "127.0.0.2", "127.0.0.3")
			names.point(usersName, "127.0.0.2")
			g := resolving(t, setup{workers: 1}, names, "protocol: "+name, web.endpoint(usersName))
			got := make(chan reply, 4)
			for round := range 2 {
				for i, protocol := range []string{"h1", "h2"} {
					c := g.client(t, protocol, common().web)
					go func() { got <- c.get("/stream?n=80&size=1000&gap=20ms") }()
					waitFor(t, "the download to begin", patience, func() bool {
						return len(web.at["127.0.0.2"].Journal.Calls("GET /stream")) == 2*round+i+1
					})
				}
				g.change(t, names, usersName, "127.0.0.3")
				g.change(t, names, usersName, "127.0.0.2")
			}
			for range 4 {
				if r := <-got; r.err != nil || len(r.body) != 80*1000 {
					t.Errorf("%d bytes came, error %v", len(r.body), r.err)
				}
			}
		})
	}
}

func TestConnectionsToAddressesThatStayInANameAreKept(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		protocol string
		server   func(string) (*backend.HTTP, error)
		secured  bool
	}{
		"HTTP/1.1":          {"http1", speaksHTTP, false},
		"HTTP/2":            {"h2", speaksH2C, false},
		"HTTP/1.1 over TLS": {"http1", speaking("http1"), true},
		"HTTP/2 over TLS":   {"h2", speaking("h2"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, row.server, "127.0.0.2", "127.0.0.3", "127.0.0.4")
			names.point(usersName, "127.0.0.2", "127.0.0.3")
			s := setup{workers: 1, top: []string{names.asks("min_ttl: 100ms")}, routes: []string{route("path: /*", "backend: web")},
				backends: []string{fmt.Sprintf("{name: web, protocol: %s, endpoints: [%q]}", row.protocol, web.endpoint(usersName))}}
			if row.secured {
				s.files, s.backends = theMesh().files(), []string{secured("web", row.protocol, showing, web.endpoint(usersName))}
			}
			g := start(t, s)
			warm(t, g, 8)
			left, stays, comes := web.at["127.0.0.2"], web.at["127.0.0.3"], web.at["127.0.0.4"]
			before := stays.Wire.Accepted.Load()
			names.point(usersName, "127.0.0.4", "127.0.0.3")
			c := g.client(t, "h1", common().web)
			c.comesTo(t, comes)
			waitFor(t, "connections to the old one to close", patience, func() bool { return left.Wire.Open() == 0 })
			asked := stays.Journal.Count("")
			for range 20 {
				wantStatus(t, c.get("/x"), http.StatusOK)
			}
			if n := stays.Wire.Accepted.Load(); n != before || before == 0 || stays.Wire.Open() != int(before) || stays.Journal.Count("") != asked+10 {
				t.Errorf("%d connections to the one that stays, %d before, %d open, %d calls", n, before, stays.Wire.Open(), stays.Journal.Count("")-asked)
			}
			series := fmt.Sprintf("tollgate_upstream_connections_active{backend=%q,endpoint=%q}", "web", web.endpoint(usersName))
			if n := g.metric(t, series); n != float64(stays.Wire.Open()+comes.Wire.Open()) {
				t.Errorf("%v connections are counted, %d are there", n, stays.Wire.Open()+comes.Wire.Open())
			}
		})
	}
}

// The certificate is for the name, and has to be at every address.
func TestServersBehindANameAreKnownByIt(t *testing.T) {
	t.Parallel()
	impostor := theMesh().mutual(theMesh().root.serving(dns("other.test")), "h2")
	good := speaking("h2")
	names, web := startNameServer(t), newTeam(t, func(address string) (*backend.HTTP, error) {
		if strings.HasPrefix(address, "127.0.0.4:") {
			return backend.StartHTTPS(address, impostor)
		}
		return good(address)
	}, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	names.point(usersName, "127.0.0.2")
	g := securely(t, setup{top: []string{names.asks("min_ttl: 100ms")}}, "h2", showing, web.endpoint(usersName))
	c := g.client(t, "h1", common().web)
	wantStatus(t, c.get("/x"), http.StatusOK)
	names.point(usersName, "127.0.0.3")
	c.comesTo(t, web.at["127.0.0.3"])
	for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
		for _, call := range web.at[host].Journal.Calls("") {
			if wantKnown(t, call, "h2"); call.TLS.ServerName != usersName {
				t.Errorf("the server at %s was called %q", host, call.TLS.ServerName)
			}
		}
	}
	names.point(usersName, "127.0.0.4")
	waitFor(t, "the server of another name to be refused", patience, func() bool { return c.get("/x").status == http.StatusServiceUnavailable })
	if said := g.eventually(t, "TLS to a backend failed"); web.at["127.0.0.4"].Journal.Count("") != 0 {
		t.Errorf("the server of another name was asked; log: %v", said)
	}
}

func TestNoCallFailsWhileANamesAddressesChange(t *testing.T) {
	t.Parallel()
	hosts := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	sets := [][]string{hosts[:1], hosts[1:2], hosts, hosts[2:], hosts[:2]}
	for name, row := range map[string]struct {
		protocol string
		server   func(string) (*backend.HTTP, error)
	}{"HTTP/1.1": {"http1", speaksHTTP}, "HTTP/2": {"h2", speaksH2C}, "HTTP/2 over TLS": {"h2", speaking("h2")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names := startNameServer(t)
			web, users := newTeam(t, row.server, hosts...), newTeam(t, speaksGRPC, hosts...)
			names.point(usersName, sets[len(sets)-1]...)
			s := setup{top: []string{names.asks("min_ttl: 100ms")},
				routes: []string{route("grpc: user.*/*", "backend: users"), route("path: /*", "backend: web")},
				backends: []string{h2("users", users.endpoint(usersName)),
					fmt.Sprintf("{name: web, protocol: %s, endpoints: [%q]}", row.protocol, web.endpoint(usersName))}}
			if strings.HasSuffix(name, "TLS") {
				s.files, s.backends[1] = theMesh().files(), secured("web", row.protocol, showing, web.endpoint(usersName))
			}
			g := start(t, s)
			c := g.crowd(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for i := range 2 {
				conn := g.rpc(t, common().web)
				c.add(ctx, fmt.Sprint("grpc ", i), func() error {
					_, err := backend.Invoke(within(t, patience), conn, getUser, []byte("x"))
					return err
				})
			}
			for i := range 20 {
				names.point(usersName, sets[i%len(sets)]...)
				waitFor(t, "the change", patience, func() bool { return g.lookups(t, "changed") == i+1 })
			}
			cancel()
			c.leave(t)
			for _, host := range hosts {
				if web.at[host].Journal.Count("") == 0 || users.at[host].Journal.Count("") == 0 {
					t.Errorf("%s was never called", host)
				}
			}
			last := sets[19%len(sets)]
			waitFor(t, "no connection but to the addresses there are", patience, func() bool {
				return web.at[hosts[2]].Wire.Open() == 0 && users.at[hosts[2]].Wire.Open() == 0
			})
			g.wantChange(t, usersName, last...)
		})
	}
}

// The name's new address is nobody's: who was to go there goes to another, and no call is lost.
func TestANewAddressWhereNobodyListensCostsNoCall(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{}, names, "protocol: http1, ejection: {failures: 3}", web.endpoint(usersName))
	c := g.crowd(t)
	for range 3 {
		g.change(t, names, usersName, "127.0.0.2", "127.0.0.9")
		g.change(t, names, usersName, "127.0.0.2")
	}
	c.leave(t)
}

func TestCopiesGoToANamesNewAddress(t *testing.T) {
	t.Parallel()
	names, main, copies := startNameServer(t), httpBackend(t), newTeam(t, speaksHTTP, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := mirroring(t, setup{top: []string{names.asks("min_ttl: 100ms")}}, "", http1("main", main.Address), http1("copies", copies.endpoint(usersName)))
	c := g.client(t, "h1", common().web)
	for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
		names.point(usersName, host)
		waitFor(t, "copies to come to "+host, patience, func() bool {
			wantStatus(t, c.do(request("POST", "/x", "copied")), http.StatusOK)
			return copies.at[host].Journal.Count("POST /x") > 0
		})
	}
}

func TestConnectionsForCopiesAreKeptWhereOtherNamesChange(t *testing.T) {
	t.Parallel()
	names, main, copies, web := startNameServer(t), httpBackend(t), httpBackend(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := mirroring(t, setup{workers: 1, top: []string{names.asks("min_ttl: 100ms")}, backends: []string{http1("web", web.endpoint(usersName))},
		routes: []string{route("path: /web", "backend: web")}}, "", http1("main", main.Address), http1("copies", copies.Address))
	c := g.client(t, "h1", common().web)
	for i := range 6 {
		wantStatus(t, c.do(request("POST", "/x", "copied")), http.StatusOK)
		g.mirrored(t, "answered", i+1) // and so its connection is free
		g.change(t, names, usersName, []string{"127.0.0.3", "127.0.0.2"}[i%2])
	}
	if m, n := main.Wire.Accepted.Load(), copies.Wire.Accepted.Load(); m != 1 || n != 1 {
		t.Errorf("%d connections for requests, %d for copies, want one of each", m, n)
	}
}

// A limit counts on where it was.
func TestLimitsKeepTheirFillWhenANamesAddressesChange(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := start(t, setup{top: []string{names.asks("min_ttl: 100ms")}, backends: []string{http1("web", web.endpoint(usersName))},
		routes: []string{route("path: /*", "backend: web, rate_limits: [{rate: 1/h, burst: 6, per: [identity]}]")}})
	c := g.client(t, "h2", common().web)
	for i := range 6 {
		wantStatus(t, c.get("/x"), http.StatusOK)
		g.change(t, names, usersName, []string{"127.0.0.3", "127.0.0.2"}[i%2])
	}
	wantRefusal(t, c.get("/x"), http.StatusTooManyRequests, "rate_limited")
}

// Sessions of callers are nothing of a backend's.
func TestCallersKeepTheirConnectionsWhenANamesAddressesChange(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
	names.point(usersName, "127.0.0.2")
	g := resolving(t, setup{}, names, "protocol: http1", web.endpoint(usersName))
	one, two := g.client(t, "h1", common().web), g.client(t, "h2", common().web)
	began := time.Now()
	for i := range 5 {
		g.change(t, names, usersName, []string{"127.0.0.3", "127.0.0.2"}[i%2])
		wantStatus(t, one.get("/x"), http.StatusOK)
		wantStatus(t, two.get("/x"), http.StatusOK)
	}
	if one.connections() != 1 || two.connections() != 1 {
		t.Errorf("%d and %d connections in %v", one.connections(), two.connections(), time.Since(began))
	}
	resumed := g.trusting(common().web, "http/1.1")
	resumed.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	_, _ = g.comeback(t, resumed, "/x")
	g.change(t, names, usersName, "127.0.0.2")
	if _, again := g.comeback(t, resumed, "/x"); !again {
		t.Error("the session is forgotten")
	}
}
