package hostile

import (
	"io"
	"strings"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Requests that mean one thing to a route and another to the backend, or that pay for what they did not get.

// Which of two content types a backend goes by cannot be known: a call that is gRPC by either is held to the routes of
// gRPC.
func TestASecondContentTypeEscapesNoRouteOfGRPC(t *testing.T) {
	t.Parallel()
	const method = "/user.UserService/GetUser"
	back := harness.Must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Backends: []string{harness.H2("users", back.Address)}, Routes: []string{
		harness.Route("grpc: user.UserService/*", `backend: users, allow: ["spiffe://cluster.local/ns/none/*"]`),
		harness.Route("path: /*", "backend: users")}})
	s := open(t, g)
	for i, types := range [][]string{
		{"content-type", "application/grpc"},
		{"content-type", "text/plain", "content-type", "application/grpc"},
		{"content-type", "application/grpc", "content-type", "text/plain"},
	} {
		id := uint32(1 + 2*i)
		s.headers(id, false, append(asks("POST", method, types...), "te", "trailers")...)
		_ = s.WriteData(id, true, []byte{0, 0, 0, 0, 0})
		s.await(id)
	}
	if n := back.Journal.Count(method); n != 0 {
		t.Errorf("the backend served %d calls that the route refuses", n)
	}
}

// A refused call takes no token, whatever it was refused for; and an empty bucket is told first, for that holds whatever
// the caller sends next.
func TestWhatTheRouteDoesNotTakeTakesNoToken(t *testing.T) {
	t.Parallel()
	large := "POST /echo HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)
	upgrade := "GET /echo HTTP/1.1\r\nHost: gateway.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for name, limits := range map[string]string{"one bucket": "{rate: 1/h, burst: 1}", "of each caller": "{rate: 1/h, burst: 1, per: [identity]}",
		"both": "{rate: 1/h, burst: 2}, {rate: 2/h, burst: 1, per: [identity]}"} {
		for what, try := range map[string]struct {
			request string
			status  int
		}{"a body over the bound": {large, 413}, "an upgrade": {upgrade, 403}} {
			t.Run(what+", "+name, func(t *testing.T) {
				t.Parallel()
				back := webBackend(t)
				g := harness.Start(t, harness.Setup{Listener: []string{"limits: {body_bytes: 100}"},
					Routes:   []string{harness.Route("path: /*", "backend: web, rate_limits: ["+limits+"]")},
					Backends: []string{harness.HTTP1("web", back.Address)}})
				ask := func(want int) {
					t.Helper()
					w := g.Wire(t)
					if w.Say(try.request); w.Hear("POST").Status != want {
						t.Errorf("want %d", want)
					}
				}
				ask(try.status)
				ask(try.status)
				c := g.Client(t, "h1")
				if got := harness.Get(c, "/echo"); got.Status != 200 {
					t.Errorf("a refused call took the token: %+v", got)
				}
				ask(429)
			})
		}
	}
}

// What a tunnel carries is nobody's body.
func TestABoundOfBodiesDoesNotCutATunnel(t *testing.T) {
	t.Parallel()
	back := harness.Must(backend.StartScripted("127.0.0.1:0", func(p *backend.Peer) {
		p.Request()
		p.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(p, p.Reader)
	}))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Listener: []string{"limits: {body_bytes: 100}"},
		Routes:   []string{harness.Route("path: /*", "backend: web, upgrade: [websocket]")},
		Backends: []string{harness.HTTP1("web", back.Address)}})
	w := g.Wire(t)
	w.Say("GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		if line := harness.Must(w.Reader.ReadString('\n')); line == "\r\n" {
			break
		}
	}
	sent := strings.Repeat("0123456789", 100)
	w.Say(sent)
	echo := make([]byte, len(sent))
	if n, err := io.ReadFull(w.Reader, echo); err != nil || string(echo) != sent {
		t.Errorf("%d of %d bytes came back, then %v", n, len(sent), err)
	}
}
