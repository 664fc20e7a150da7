package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Calls that `flow_limits` pause or end, broken off in every way.

const pausing, refusing = "{bytes: 2KiB/s, burst: 4KiB%s}", "{bytes: 2KiB/s, burst: 4KiB, on_excess: reject%s}"

// flowing starts a gateway whose paths are limited in one way each; /x is free.
func flowing(t *testing.T, backends string) *harness.Gateway {
	t.Helper()
	var routes []string
	upgrade := ""
	if strings.Contains(backends, "http1") {
		upgrade = "upgrade: [websocket], "
	}
	for path, limit := range map[string]string{"/pause-in": fmt.Sprintf(pausing, ""), "/refuse-in": fmt.Sprintf(refusing, ""),
		"/pause-out": fmt.Sprintf(pausing, ", direction: responses"), "/refuse-out": fmt.Sprintf(refusing, ", direction: responses")} {
		routes = append(routes, harness.Route("path: "+path, "backend: web, "+upgrade+"flow_limits: ["+limit+"]"))
	}
	return harness.Start(t, harness.Setup{Routes: append(routes, everything...), Backends: []string{backends}})
}

// settled: nobody is left, and the next one is served.
func settled(t *testing.T, g *harness.Gateway) {
	t.Helper()
	if got := harness.Get(g.Client(t, "h2"), "/x"); got.Err != nil || got.Status != 200 {
		t.Errorf("a good client got %d, %v", got.Status, got.Err)
	}
	harness.WaitFor(t, "requests to end", 30*time.Second, func() bool { return g.Metric("tollgate_requests_active") == 0 })
}

// leave ends a connection in one of the ways there are.
func leave(conn *tls.Conn, how int) {
	switch raw := conn.NetConn().(*net.TCPConn); how % 4 {
	case 0:
		_ = raw.SetLinger(0)
		_ = raw.Close()
	case 1:
		_ = conn.Close()
	case 2:
		_ = raw.Close()
	case 3:
		_, _ = io.WriteString(raw, "no record of TLS")
		_ = raw.Close()
	}
}

func TestPausedRequestsBrokenOffAtEveryByte(t *testing.T) {
	t.Parallel()
	back := webBackend(t)
	g := flowing(t, harness.HTTP1("web", back.Address))
	for _, path := range []string{"/pause-in", "/refuse-in", "/pause-out", "/refuse-out"} {
		chunk := strings.Repeat("b", 6000)
		whole := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n1770\r\n%s\r\n1770\r\n%s\r\n0\r\nX-T: 1\r\n\r\n", path, chunk, chunk)
		cuts := []int{len(whole)}
		for cut := 1; cut < len(whole); cut += 1 + len(whole)/40 {
			cuts = append(cuts, cut)
		}
		for cut := len(whole) - 20; cut < len(whole); cut += 3 {
			cuts = append(cuts, cut)
		}
		for i, cut := range cuts {
			wire := g.Wire(t)
			wire.Say(whole[:cut])
			leave(wire.Conn, i)
		}
		harness.WaitFor(t, "requests to end", 30*time.Second, func() bool { return g.Metric("tollgate_requests_active") == 0 })
	}
	settled(t, g)
}

// A thousand streams are paused, and their clients go.
func TestAThousandPausedStreamsAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		back := harness.Must(backend.StartHTTP("127.0.0.1:0", up == "h2"))
		t.Cleanup(back.Stop)
		g := flowing(t, map[string]func(string, string) string{"h1": harness.HTTP1, "h2": harness.H2}[up]("web", back.Address))
		for round := range 4 {
			var sessions []*session
			for range 10 {
				s := open(t, g)
				sessions = append(sessions, s)
				for i := range uint32(100) {
					path := []string{"/pause-in", "/pause-out"}[i%2]
					s.headers(2*i+1, false, asks("POST", path)...)
					for range 4 {
						_ = s.WriteData(2*i+1, false, make([]byte, 1500))
					}
				}
			}
			harness.WaitFor(t, "a thousand", 30*time.Second, func() bool { return g.Metric("tollgate_requests_active") >= 500 })
			for i, s := range sessions {
				for id := uint32(1); round == 3 && id < 200; id += 2 {
					_ = s.WriteRSTStream(id, http2.ErrCode(id%14))
				}
				leave(s.conn, i+round)
			}
			settled(t, g)
		}
		back.Stop()
	}
}

// Backends that break off while their call is paused, at any byte of what they take and of what they say.
func TestBackendsThatBreakOffPausedCalls(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var mutex sync.Mutex
	dice := func(n int) int {
		mutex.Lock()
		defer mutex.Unlock()
		return random.IntN(n)
	}
	server := harness.Must(backend.StartScripted("127.0.0.1:0", func(p *backend.Peer) {
		for {
			request, err := http.ReadRequest(p.Reader)
			if err != nil {
				return
			}
			if request.URL.Path == "/x" {
				p.Answer("good")
				continue
			}
			_, _ = io.CopyN(io.Discard, request.Body, int64(dice(9000)))
			p.Say("%s", []string{"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2328\r\n",
				"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 503 No\r\nContent-Length: 9000\r\n\r\n"}[dice(5)])
			p.Say("%s", strings.Repeat("a", dice(9500)))
			if dice(2) == 0 {
				p.Reset()
			}
			return
		}
	}))
	t.Cleanup(server.Stop)
	g := flowing(t, harness.HTTP1("web", server.Address))
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			for i := range 40 {
				path := []string{"/pause-in", "/refuse-in", "/pause-out", "/refuse-out"}[dice(4)]
				client := g.Client(t, []string{"h1", "h2"}[(worker+i)%2])
				client.Timeout = time.Duration(20+dice(300)) * time.Millisecond
				_ = harness.Ask(client, "POST", path, strings.Repeat("u", dice(9000)))
				client.CloseIdleConnections()
			}
		})
	}
	all.Wait()
	settled(t, g)
}

// Tunnels of which both directions are limited, left by either side at any moment.
func TestTunnelsBrokenOffWhilePaused(t *testing.T) {
	t.Parallel()
	server := harness.Must(backend.StartScripted("127.0.0.1:0", func(p *backend.Peer) {
		request, err := http.ReadRequest(p.Reader)
		if err != nil {
			return
		}
		if request.URL.Path == "/x" {
			p.Answer("good")
			return
		}
		p.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		p.Say("%s", strings.Repeat("a", 6000))
		switch request.Header.Get("X-Leaves") {
		case "0":
			p.Reset()
		case "1":
			p.HalfClose()
			p.Hang()
		case "2":
			p.Hang()
		}
	}))
	t.Cleanup(server.Stop)
	g := flowing(t, harness.HTTP1("web", server.Address))
	for i := range 60 {
		path := []string{"/pause-in", "/refuse-in", "/pause-out", "/refuse-out"}[i%4]
		wire := g.Wire(t)
		wire.Say(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: gateway.test\r\nX-Leaves: %d\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, i/4%4))
		if i%3 > 0 {
			_, _ = wire.Reader.ReadByte()
		}
		wire.Say(strings.Repeat("u", 1000*(i%8)))
		if i%5 == 0 {
			_ = wire.CloseWrite()
		}
		leave(wire.Conn, i/2)
	}
	settled(t, g)
}
