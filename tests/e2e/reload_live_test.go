package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Reloads while the gateway is at work: nobody loses a call, listeners come and go, trust ends where it was withdrawn.

func TestHundredReloadsUnderLoadFailNoCall(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route(`grpc: "user.*/*"`, "backend: users"), marked("path: /*", "0")},
		backends: []string{h2("users", users.Address)}})
	c := g.crowd(t)
	for i := range 100 {
		g.rewrite(t, fmt.Sprintf("body: %q", fmt.Sprint(i)), fmt.Sprintf("body: %q", fmt.Sprint(i+1)))
		g.reload(t)
	}
	if got := g.client(t, "h1", common().web).get("/x"); got.body != "100" {
		t.Errorf("after the last reload: %+v", got)
	}
	c.leave(t)
}

// second is the configuration's listener once more, under another name, at another address.
func (g *gateway) second(t *testing.T, name, config string) (address, text string) {
	t.Helper()
	address = freeAddress(t)
	begin := strings.Index(config, "  - name: edge")
	end := strings.Index(config, "backends:")
	if end < begin {
		end = len(config)
	}
	text = strings.Replace(config[begin:end], "name: edge", "name: "+name, 1)
	return address, strings.ReplaceAll(text, g.address, address)
}

func TestListenersComeAndGoWithAReload(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{marked("path: /*", "ok")}})
	c := g.crowd(t)
	first := string(must(os.ReadFile(g.config)))
	address, text := g.second(t, "inner", first)
	both := strings.Replace(first, "listeners:\n", "listeners:\n"+text, 1) // in front: the other's index changes
	elsewhere := &gateway{t: t, setup: g.setup, address: address}
	for range 2 {
		writeFile(t, g.dir, "tollgate.yaml", []byte(both))
		g.reload(t)
		kept := elsewhere.client(t, "h2", common().web)
		wantStatus(t, kept.get("/x"), http.StatusOK)
		idle := elsewhere.wire(t, common().web)
		idle.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		wantStatus(t, idle.hear("GET"), http.StatusOK)
		waitFor(t, "its connections to be counted", 5*time.Second, func() bool {
			return g.metric(t, `tollgate_connections_active{listener="inner"}`) == 2
		})
		writeFile(t, g.dir, "tollgate.yaml", []byte(first))
		g.reload(t)
		elsewhere.refusesConnections(t)
		if !idle.closed() {
			t.Error("a connection outlives its listener")
		}
		waitFor(t, "its connections to be gone", 5*time.Second, func() bool {
			return g.metric(t, `tollgate_connections_active{listener="inner"}`) == 0
		})
	}
	c.leave(t)
}

func TestListenerThatCannotBeHadLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{marked("path: /*", "old")}})
	taken := start(t, setup{routes: []string{marked("path: /*", "other")}})
	first := string(must(os.ReadFile(g.config)))
	_, free := g.second(t, "free", first)
	address, text := g.second(t, "taken", first)
	both := strings.Replace(first, "listeners:\n", "listeners:\n"+free+strings.ReplaceAll(text, address, taken.address), 1)
	writeFile(t, g.dir, "tollgate.yaml", []byte(strings.ReplaceAll(both, `"old"`, `"new"`)))
	status, said := g.post(t, "/reload")
	if status != http.StatusConflict || !strings.Contains(said, "listeners[1].address: cannot listen on "+taken.address) {
		t.Errorf("POST /reload: %d %s", status, said)
	}
	if got := g.client(t, "h1", common().web).get("/x"); got.body != "old" {
		t.Errorf("not the old configuration: %+v", got)
	}
	writeFile(t, g.dir, "tollgate.yaml", []byte(first))
}

// The kernel knows no way to move who is just connecting, so that the first attempts may fail.
func TestAddressMayWidenAtTheSamePort(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{marked("path: /*", "ok")}})
	narrow, wide := g.address, strings.Replace(g.address, "127.0.0.1:", "0.0.0.0:", 1)
	beside := &gateway{t: t, setup: g.setup, address: strings.Replace(g.address, "127.0.0.1:", "127.0.0.2:", 1)}
	listens := func(g *gateway) bool {
		conn, err := g.tryTLS(g.trusting(common().web))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	for range 2 {
		g.rewrite(t, narrow, wide)
		g.reload(t)
		waitFor(t, "the wide address to be listened to", 5*time.Second, func() bool { return listens(beside) })
		wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
		g.rewrite(t, wide, narrow)
		g.reload(t)
		waitFor(t, "the narrow one alone", 5*time.Second, func() bool { return !listens(beside) && listens(g) })
		wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
	}
}

// A narrow address beside a wide one at its port gets what comes to it, in whatever order they stand: after a start just as after
// a reload, or the next restart would be an outage.
func TestListenersMayShareAPort(t *testing.T) {
	t.Parallel()
	for _, wide := range []string{"0.0.0.0", "[::]"} {
		for _, front := range []bool{true, false} {
			t.Run(fmt.Sprint(wide, " in front: ", front), func(t *testing.T) {
				t.Parallel()
				g := start(t, setup{routes: []string{marked("path: /*", "narrow")}})
				first := string(must(os.ReadFile(g.config)))
				address, text := g.second(t, "wide", first)
				text = strings.ReplaceAll(text, address, strings.Replace(g.address, "127.0.0.1", wide, 1))
				text = strings.ReplaceAll(text, `"narrow"`, `"wide"`)
				both := strings.TrimSuffix(first, "\n") + "\n" + text
				if front {
					both = strings.Replace(first, "listeners:\n", "listeners:\n"+text, 1)
				}
				writeFile(t, g.dir, "tollgate.yaml", []byte(both))
				elsewhere := &gateway{t: t, setup: g.setup, address: strings.Replace(g.address, "127.0.0.1", "127.0.0.2", 1)}
				answers := func() {
					t.Helper()
					for listener, want := range map[*gateway]string{g: "narrow", elsewhere: "wide"} {
						if got := listener.client(t, "h1", common().web).get("/x"); got.body != want {
							t.Errorf("%s answers %+v, want %q", listener.address, got, want)
						}
					}
				}
				g.reload(t)
				answers()
				g.stop()
				g.run()
				if !g.becomesReady() {
					t.Fatalf("what a reload took does not start:\n%s", g.stderr)
				}
				answers()
			})
		}
	}
}

// Nobody asks for anything: the connections are looked for.
func TestWithdrawnTrustDrainsOpenConnections(t *testing.T) {
	t.Parallel()
	root := newRoot("revoking root")
	reasons := map[string]string{"by the list": "certificate_revoked", "by the bundle": "certificate_untrusted",
		"by the patterns": "identity_not_allowed"}
	for name, withdraw := range map[string]func(*testing.T, *gateway, *tls.Certificate){
		"by the list": func(t *testing.T, g *gateway, bad *tls.Certificate) {
			writeFile(t, g.dir, "ca.crl", root.crl(bad))
		},
		"by the bundle": func(t *testing.T, g *gateway, _ *tls.Certificate) {
			writeFile(t, g.dir, "ca.pem", pemCertificates(common().root.cert.Raw))
		},
		"by the patterns": func(t *testing.T, g *gateway, _ *tls.Certificate) {
			g.rewrite(t, "spiffe://cluster.local/*", "spiffe://cluster.local/ns/other/*")
			g.reload(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, setup{trust: pemCertificates(root.cert.Raw, common().root.cert.Raw), crl: root.crl()})
			bad, good := root.svid(webID), common().root.svid("spiffe://cluster.local/ns/other/sa/good")
			gone := g.wire(t, bad)
			gone.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
			wantStatus(t, gone.hear("GET"), http.StatusOK)
			goaway := g.awaitGoAway(t, bad)
			stays := g.client(t, "h2", good)
			wantStatus(t, stays.get("/x"), http.StatusOK)
			withdraw(t, g, bad)
			if !gone.closed() {
				t.Error("the HTTP/1.1 connection is kept")
			}
			goaway(t)
			wantStatus(t, stays.get("/x"), http.StatusOK)
			if n := stays.connections(); n != 1 {
				t.Errorf("a client in good standing had to dial %d times", n)
			}
			waitFor(t, "a record of each", 5*time.Second, func() bool {
				return len(g.refusals(t, func(r *auditRecord) bool { return r.Reason == reasons[name] })) == 2
			})
		})
	}
}

// awaitGoAway opens an HTTP/2 connection, and returns what waits for the GOAWAY on it.
func (g *gateway) awaitGoAway(t *testing.T, cert *tls.Certificate) func(*testing.T) {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(cert, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	return func(t *testing.T) {
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Errorf("no GOAWAY, but %v", err)
				return
			}
			if goaway, ok := frame.(*http2.GoAwayFrame); ok {
				if goaway.ErrCode != http2.ErrCodeNo {
					t.Errorf("GOAWAY says %v", goaway.ErrCode)
				}
				return
			}
		}
	}
}

// A call under way may finish, though no other follows.
func TestWithdrawnTrustLetsCallsFinishWithinTheDrainTimeout(t *testing.T) {
	t.Parallel()
	root := newRoot("revoking root")
	cert := root.svid(webID)
	g, _, _ := passing(t, setup{drain: "2s", trust: pemCertificates(root.cert.Raw, common().root.cert.Raw)})
	stream := openStream(t, within(t, patience), g.rpc(t, cert), chat)
	send(t, stream, "x")
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, g.dir, "ca.pem", pemCertificates(common().root.cert.Raw))
	waitFor(t, "the bundle to be taken up", renewal, func() bool {
		return strings.Contains(g.stderr.String(), "replaced certificates are in force")
	})
	send(t, stream, "still heard")
	if got, err := stream.Receive(); err != nil || string(got) != "still heard" {
		t.Errorf("got %q, %v", got, err)
	}
	began := time.Now()
	if _, err := stream.Receive(); err == nil || time.Since(began) > 8*time.Second {
		t.Errorf("the call without end ended with %v after %v", err, time.Since(began))
	}
}

func TestChangedConfigurationIsTakenUpByItselfWhereAsked(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"asked": true, "not asked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, setup{top: []string{fmt.Sprint("watch_config: ", asked)}, routes: []string{marked("path: /*", "old")}})
			c := g.client(t, "h1", common().web)
			body := func() string { return c.get("/x").body }
			began := time.Now()
			g.rewrite(t, `body: "old"`, `body: "new"`)
			if !asked {
				waitFor(t, "three looks at the file", patience, func() bool { return time.Since(began) > 3500*time.Millisecond })
				if got := body(); got != "old" {
					t.Errorf("the configuration in force is %q", got)
				}
				return
			}
			waitFor(t, "the new configuration", 5*time.Second, func() bool { return body() == "new" })
			g.rewrite(t, "routes:", "rotes:")
			waitFor(t, "the refusal", 5*time.Second, func() bool { return g.metric(t, reloadSuccess) == 0 })
			if got := body(); got != "new" {
				t.Errorf("after a broken one %q is in force", got)
			}
			g.rewrite(t, "rotes:", "routes:")
			g.rewrite(t, `body: "new"`, `body: "mended"`)
			waitFor(t, "the mended configuration", 5*time.Second, func() bool { return body() == "mended" })
		})
	}
}

// Connections are told of a reload a few at a time, so the first heads behind it may still pass.
func TestCeilingsOfHeadsThatAReloadBringsHoldForOpenConnections(t *testing.T) {
	t.Parallel()
	for name, ceiling := range map[string][2]string{"fields": {"header_fields: 100", "header_fields: 20"},
		"bytes": {"header_bytes: 60KiB", "header_bytes: 1KiB"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, setup{listener: []string{"limits: {" + ceiling[0] + "}"}, routes: []string{marked("path: /*", "ok")}})
			w, c := g.wire(t, common().web), g.client(t, "h2", common().web)
			asks := map[string]func() reply{
				"h1": func() reply {
					w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n" + strings.Repeat("X-Field: "+strings.Repeat("x", 60)+"\r\n", 30) + "\r\n")
					return w.hear("GET")
				},
				"h2": func() reply {
					r := request("GET", "/x", "")
					for i := range 30 {
						r.Header.Set(fmt.Sprint("X-Field-", i), strings.Repeat("x", 60))
					}
					return c.do(r)
				},
			}
			for _, ask := range asks {
				wantStatus(t, ask(), http.StatusOK)
			}
			g.rewrite(t, ceiling[0], ceiling[1])
			g.reload(t)
			for protocol, ask := range asks {
				waitFor(t, protocol+" to be held to the new ceiling", patience, func() bool {
					return ask().status == http.StatusRequestHeaderFieldsTooLarge
				})
			}
			if n := g.metric(t, `tollgate_tls_handshakes_total{listener="edge",result="ok"}`); n != 2 {
				t.Errorf("%v connections were made", n)
			}
		})
	}
}

func TestIdleTimeOfAReloadHoldsForOpenConnections(t *testing.T) {
	t.Parallel()
	for _, former := range []string{"idle: 60s", "idle: 0s"} {
		t.Run(former, func(t *testing.T) {
			t.Parallel()
			g, _ := timed(t, former)
			w, c := g.wire(t, common().web), g.client(t, "h2", common().web)
			w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
			wantStatus(t, w.hear("GET"), http.StatusOK)
			wantStatus(t, c.get("/x"), http.StatusOK)
			g.rewrite(t, former, "idle: 200ms")
			g.reload(t)
			waitFor(t, "both to be closed", patience, func() bool {
				return g.metric(t, `tollgate_connections_active{listener="edge"}`) == 0
			})
			if !w.closed() {
				t.Error("something came before the end")
			}
		})
	}
}
