package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"tollgate/tests/backend"
)

// What holds of backends in clear text holds over TLS: tunnels, slow sides, early answers, drains, reloads.

func TestWebSocketsGoOverTLS(t *testing.T) {
	t.Parallel()
	web := httpsBackend(t, theMesh().mutual(theMesh().root.serving(uri(usersID)), "http/1.1"))
	g := start(t, setup{files: theMesh().files(), routes: []string{route("path: /*", "backend: web, upgrade: [websocket]")},
		backends: []string{secured("web", "http1", allOf+", "+showing, web.Address)}})
	ws, err := g.websocket(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"hello", strings.Repeat("x", 1<<20), "bye"} {
		if err := websocket.Message.Send(ws, text); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(text); { // the echo may come in several frames
			var part []byte
			if err := websocket.Message.Receive(ws, &part); err != nil {
				t.Fatal(err)
			}
			got += len(part)
		}
	}
	_ = ws.Close()
	wantKnown(t, until(t, web.Journal, patience, "GET /ws", func(c backend.Call) bool { return c.Done }), "http1")
}

// A backend that reads slowly slows its caller, and the gateway gathers nothing.
func TestSlowServersSlowTheirCallersOverTLS(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			web := httpsBackend(t, serverOf(theMesh().root.serving(uri(usersID)), alpn[protocol]))
			g := securely(t, setup{workers: 1}, protocol, allOf, web.Address)
			wantStatus(t, g.client(t, "h2", common().web).get("/x"), http.StatusOK)
			before, answer := g.memory(), make(chan reply, 1)
			go func() {
				answer <- g.client(t, "h2", common().web).do(request("POST", "/slowread", strings.Repeat("b", size)))
			}()
			until(t, web.Journal, patience, "POST /slowread", began)
			last, since := int64(-1), time.Now()
			waitFor(t, "the upload to stall", patience, func() bool {
				if now := web.Wire.Bytes.Load(); now != last {
					last, since = now, time.Now()
				}
				return time.Since(since) > 300*time.Millisecond
			})
			if grown := g.memory() - before; last > size/2 || (grown > 24<<20 && !instrumented()) {
				t.Errorf("%d bytes arrived, memory grew by %d", last, grown)
			}
			web.Release()
			if got := <-answer; got.body != fmt.Sprint(size) {
				t.Errorf("of %d bytes arrived %q, error %v", size, got.body, got.err)
			}
		})
	}
}

// A server may answer before it has read, and hang up: what it said counts.
func TestEarlyAnswersCountOverTLS(t *testing.T) {
	t.Parallel()
	for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			config := serverOf(theMesh().root.serving(uri(usersID)), "http/1.1")
			config.MaxVersion = number
			server := scripted(t, backend.OverTLS(config, func(p *backend.Peer) {
				for line, err := p.Reader.ReadString('\n'); err == nil && line != "\r\n"; line, err = p.Reader.ReadString('\n') {
				}
				p.Say("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate")
				p.Farewell()
			}))
			g := securely(t, setup{workers: 1}, "http1", allOf, server.Address)
			for range 10 {
				w := g.wire(t, common().web)
				w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 10000000\r\n\r\n" + strings.Repeat("b", 1000))
				if got := w.hear("POST"); got.status != 413 || got.body != "late" {
					t.Errorf("status %d, %q, error %v", got.status, got.body, got.err)
				}
				_ = w.Close()
			}
		})
	}
}

// A dribble says every byte for itself.
type dribble struct{ net.Conn }

func (d dribble) Write(data []byte) (int, error) {
	for i := range data {
		if _, err := d.Conn.Write(data[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(data), nil
}

func TestHandshakesInSingleBytesAreGood(t *testing.T) {
	t.Parallel()
	for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		config := serverOf(theMesh().root.serving(uri(usersID), padding(3000)), "http/1.1")
		config.MaxVersion = number
		server := scripted(t, func(p *backend.Peer) {
			conn := tls.Server(dribble{p.Below()}, config)
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ndribbled")
				_ = conn.Close()
			}
		})
		g := securely(t, setup{workers: 1}, "http1, connect_timeout: 10s", allOf, server.Address)
		if got := g.client(t, "h2", common().web).get("/x"); got.body != "dribbled" {
			t.Errorf("%s: status %d, %q, error %v", version, got.status, got.body, got.err)
		}
	}
}

func TestNothingIsKeptOfFailedHandshakes(t *testing.T) {
	t.Parallel()
	server := scripted(t, backend.OverTLS(serverOf(common().root.serving(uri(usersID)), "h2", "http/1.1"), backend.Good))
	g := securely(t, setup{workers: 1}, "h2", allOf, server.Address)
	c := g.client(t, "h2", common().web)
	ask := func(times int) {
		for range times {
			wantRefusal(t, c.get("/x"), http.StatusServiceUnavailable, "backend_tls_failed")
		}
	}
	ask(50)
	descriptors, memory := g.descriptors(t), g.memory()
	ask(1000)
	waitFor(t, "descriptors to be given back", patience, func() bool { return g.descriptors(t) <= descriptors+2 })
	if grown := g.memory() - memory; grown > 4<<20 && !instrumented() {
		t.Errorf("memory grew by %d bytes", grown)
	}
	if open := g.metric(t, fmt.Sprintf("tollgate_upstream_connections_active{backend=%q,endpoint=%q}", "web", server.Address)); open != 0 {
		t.Errorf("%v connections are counted", open)
	}
}

func TestADrainWaitsForNoHandshake(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			server := scripted(t, thenHangs(halfAHello))
			g := securely(t, setup{drain: "1s"}, protocol+", connect_timeout: 1m, health_check: {tcp: true, interval: 30ms, timeout: 1m}", allOf, server.Address)
			answer := make(chan reply, 1)
			c := g.client(t, "h1", common().web)
			go func() { answer <- c.get("/x") }()
			waitFor(t, "the call and the checks", patience, func() bool { return server.Wire.Accepted.Load() > 2 })
			g.signal(syscall.SIGTERM)
			if code := g.exitCode(5 * time.Second); code != 0 {
				t.Errorf("it ended with %d", code)
			}
			if got := <-answer; got.err == nil && got.status == http.StatusOK {
				t.Errorf("the call was answered: %+v", got)
			}
		})
	}
}

// A reload may bring TLS to a backend, take it away, or change who its servers are.
func TestReloadsBringTLSAndTakeItAway(t *testing.T) {
	t.Parallel()
	clear, web := httpBackend(t), httpsBackend(t, serverOf(theMesh().root.serving(uri(usersID)), "http/1.1"))
	inClear, overTLS := http1("web", clear.Address), secured("web", "http1", allOf, web.Address)
	g := start(t, setup{files: theMesh().files(), routes: []string{route("path: /*", "backend: web")}, backends: []string{inClear}})
	c := g.crowd(t)
	for range 3 {
		g.rewrite(t, inClear, overTLS)
		g.reload(t)
		before := web.Journal.Count("")
		waitFor(t, "calls over TLS", patience, func() bool { return web.Journal.Count("") > before })
		g.rewrite(t, overTLS, inClear)
		g.reload(t)
		before = clear.Journal.Count("")
		waitFor(t, "calls in clear text", patience, func() bool { return clear.Journal.Count("") > before })
	}
	g.rewrite(t, inClear, overTLS)
	g.reload(t)
	c.leave(t)
	wantStatus(t, g.client(t, "h2", common().web).get("/x"), http.StatusOK)
	g.rewrite(t, "ns/users/*", "ns/others/*")
	g.reload(t)
	wantRefusal(t, g.client(t, "h2", common().web).get("/x"), http.StatusServiceUnavailable, "backend_tls_failed")
}

// Files by links into a directory of the time, as Kubernetes and spiffe-helper have them, in a directory of their own.
func TestLinkedFilesOfBackendsAreTakenUp(t *testing.T) {
	t.Parallel()
	m := theMesh()
	web := httpsBackend(t, m.mutual(m.root.serving(uri(usersID)), "http/1.1"))
	identity := t.TempDir()
	byLink(t, identity, 0, pemCertificates(m.edge.Certificate...), pemKey(m.edge.PrivateKey))
	g := securely(t, setup{workers: 1}, "http1", fmt.Sprintf("%s, certificate_chain: %q, private_key: %q", allOf,
		filepath.Join(identity, "gateway.pem"), filepath.Join(identity, "gateway.key")), web.Address)
	c := g.client(t, "h1", common().web)
	for round := range 3 {
		renewed := m.edges.svid(edgeID)
		byLink(t, identity, round+1, pemCertificates(renewed.Certificate...), pemKey(renewed.PrivateKey))
		waitFor(t, "the new certificate to be shown", renewal, func() bool {
			wantStatus(t, c.get("/x"), http.StatusOK)
			calls := web.Journal.Calls("")
			return calls[len(calls)-1].TLS.PeerCertificates[0].SerialNumber.Cmp(leafOf(renewed).SerialNumber) == 0
		})
	}
}

// What is half replaced or bad is not taken up, and what was good goes on.
func TestABadPairTowardsBackendsIsNotTakenUp(t *testing.T) {
	t.Parallel()
	web := httpsBackend(t, theMesh().mutual(theMesh().root.serving(uri(usersID)), "http/1.1"))
	g := securely(t, setup{workers: 1}, "http1", allOf+", "+showing, web.Address)
	c := g.client(t, "h1", common().web)
	writeFile(t, g.dir, "edge.key", pemKey(newECDSA()))
	waitFor(t, "the failure to be counted", renewal, func() bool {
		wantStatus(t, c.get("/x"), http.StatusOK)
		return g.metric(t, `tollgate_certificate_reloads_total{result="failure"}`) > 0
	})
	waitFor(t, "the log to say what is wrong", renewal, func() bool {
		return g.said("edge.key") && g.said("does not belong to the certificate")
	})
	wantStatus(t, c.get("/x"), http.StatusOK)
}

// A key that others can read is none to serve with, towards backends neither.
func TestKeysTowardsBackendsAreClosedToOthers(t *testing.T) {
	t.Parallel()
	s := setup{files: maps.Clone(theMesh().files()), routes: []string{route("path: /*", "backend: web")},
		backends: []string{secured("web", "h2", allOf+", "+showing, "127.0.0.1:1")}}
	dir := t.TempDir()
	config := s.write(t, dir, "127.0.0.1:1", "127.0.0.1:2")
	if output, code := tollgate(t, "check", "--config", config); code != 0 {
		t.Fatalf("check: exit %d: %s", code, output)
	}
	for name, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, filepath.Join(dir, "edge.key"): 0o644} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	if output, code := tollgate(t, "check", "--config", config); code != 2 || !strings.Contains(output, "backends[0].tls") {
		t.Errorf("check: exit %d: %s", code, output)
	}
}

// An answer that is cut proves nobody well.
func TestTruncatedAnswersAreNoGoodHealth(t *testing.T) {
	t.Parallel()
	var addresses []string
	for _, end := range []backend.Script{func(*backend.Peer) {}, func(p *backend.Peer) { p.Farewell() }} {
		addresses = append(addresses, scripted(t, backend.OverTLS(serverOf(theMesh().root.serving(uri(usersID))), func(p *backend.Peer) {
			if p.Request() != nil {
				p.Say("HTTP/1.0 200 OK\r\n\r\nwell, as far as")
				end(p)
			}
		})).Address)
	}
	g := securely(t, setup{workers: 1}, "http1, health_check: {path: /healthz, "+quickly+"}", allOf, addresses...)
	g.waitHealthy(t, addresses[0], 0)
	waitFor(t, "good checks", patience, func() bool {
		return g.metric(t, fmt.Sprintf("tollgate_upstream_health_checks_total{backend=%q,endpoint=%q,result=%q}", "web", addresses[1], "success")) > 3
	})
	if g.healthy(t, addresses[1]) != 1 {
		t.Error("who says goodbye is not well")
	}
}
