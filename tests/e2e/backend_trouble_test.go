package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// What goes wrong with a backend while something else goes on: found by reading the code as a stranger.

// A holdup answers GETs, and resets POSTs once it is told to.
type holdup struct {
	*backend.Scripted
	entered, release chan struct{}
}

func newHoldup(t *testing.T) *holdup {
	t.Helper()
	h := &holdup{entered: make(chan struct{}, 10), release: make(chan struct{})}
	h.Scripted = scripted(t, func(p *backend.Peer) {
		for r := p.Request(); r != nil; r = p.Request() {
			if r.Method != "POST" {
				p.Answer("ok")
				continue
			}
			h.entered <- struct{}{}
			<-h.release
			p.Reset()
			return
		}
	})
	return h
}

// A call from before a reload that fails after it is nobody's business but its own.
func TestCallThatFailsAfterAReloadRevivesNothing(t *testing.T) {
	t.Parallel()
	late, gone, here := newHoldup(t), httpBackend(t), httpBackend(t)
	g := start(t, setup{workers: 1, backends: []string{http1("web", late.Address, gone.Address)}, routes: []string{route("path: /*", "backend: web")}})
	answers := make(chan reply, 2)
	for range 2 { // one for each endpoint
		c := g.client(t, "h1", common().web)
		go func() { answers <- c.do(request("POST", "/echo", "x")) }()
	}
	<-late.entered
	wantStatus(t, <-answers, http.StatusOK)
	g.rewrite(t, fmt.Sprintf("%q", gone.Address), fmt.Sprintf("%q", here.Address))
	g.hangUp(t)
	waitFor(t, "the endpoint to be forgotten", patience, func() bool { return g.healthy(t, gone.Address) == 0 })
	warm(t, g, 8)
	close(late.release)
	wantStatus(t, <-answers, http.StatusBadGateway)
	before := here.Wire.Accepted.Load()
	g.hangUp(t)
	for range 6 {
		wantStatus(t, g.client(t, "h1", common().web).get("/echo"), http.StatusOK)
	}
	if n := here.Wire.Accepted.Load() - before; n != 0 || g.healthy(t, gone.Address) > 0 {
		t.Errorf("%d new connections after a reload, and %d workers use an endpoint that is gone", n, g.healthy(t, gone.Address))
	}
}

// Over TLS 1.3 a server refuses our certificate when we have begun to speak: what had not left by then is sent elsewhere.
func TestCallsThatNeverLeftAreSentElsewhere(t *testing.T) {
	t.Parallel()
	m := theMesh()
	good := httpsBackend(t, m.mutual(m.root.serving(dns("localhost")), "h2"))
	strict := serverOf(m.root.serving(dns("localhost")), "h2")
	strict.ClientAuth = tls.RequireAndVerifyClientCert // and trusts nobody
	bad := scripted(t, func(p *backend.Peer) { _ = p.Secure(strict) })
	g := start(t, setup{workers: 1, files: m.files(), backends: []string{secured("web", "h2", "server_name: localhost, "+showing, bad.Address, good.Address)},
		routes: []string{route("path: /*", "backend: web")}})
	c := g.client(t, "h2", common().web)
	const calls = 20
	var all sync.WaitGroup
	var failed counter
	for range calls {
		all.Go(func() {
			if c.do(request("POST", "/echo", "x")).status != http.StatusOK {
				failed.add(1)
			}
		})
	}
	all.Wait()
	if n, tried := failed.get(), int(bad.Wire.Accepted.Load()); n > tried {
		t.Errorf("%d of %d calls failed with %d connections that were refused", n, calls, tried)
	}
}

func TestServersAreToldWhyAndWhenWeGo(t *testing.T) {
	t.Parallel()
	m := theMesh()
	for name, row := range map[string]struct {
		cert *tls.Certificate
		want func(error) bool
	}{
		"an alert":     {common().root.issue(dns("localhost")), func(err error) bool { return strings.Contains(err.Error(), "unknown certificate authority") }},
		"close_notify": {m.root.serving(dns("localhost")), func(err error) bool { return errors.Is(err, io.EOF) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard := make(chan error, 10)
			config := serverOf(row.cert, "http/1.1")
			config.MaxVersion = tls.VersionTLS12 // OpenSSL sends the alert of TLS 1.3 in clear text, which Go does not take
			server := scripted(t, func(p *backend.Peer) {
				if err := p.Secure(config); err != nil {
					heard <- err
					return
				}
				p.Request()
				p.Answer("hi")
				_, err := p.Read(make([]byte, 1))
				heard <- err
			})
			g := start(t, setup{workers: 1, files: m.files(), backends: []string{secured("web", "http1", "server_name: localhost", server.Address)},
				routes: []string{route("path: /*", "backend: web")}})
			g.client(t, "h1", common().web).get("/x")
			g.hangUp(t) // what is idle is given up
			select {
			case err := <-heard:
				if !row.want(err) {
					t.Errorf("the server heard %v", err)
				}
			case <-time.After(patience):
				t.Error("the server heard nothing")
			}
		})
	}
}

// While a client keeps its request back, a silent backend does nothing wrong.
func TestSlowClientTakesNoConnectionOutOfService(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]string{
		"per_try_timeout": "retry: {on: [503], per_try_timeout: 150ms}",
		"timeout":         "timeout: 150ms",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := h2cBackend(t)
			g := start(t, setup{workers: 1, backends: []string{h2("web", web.Address)}, routes: []string{route("path: /slow", "backend: web, "+rest), route("path: /*", "backend: web")}})
			c := g.client(t, "h2", common().web)
			wantStatus(t, c.get("/echo"), http.StatusOK)
			for range 3 {
				body, more := io.Pipe()
				r := request("POST", "/slow", "")
				r.Body, r.ContentLength = body, -1
				go func() { _, _ = more.Write([]byte("x")) }()
				wantStatus(t, c.do(r), http.StatusGatewayTimeout)
				_ = more.Close()
				wantStatus(t, c.get("/echo"), http.StatusOK)
			}
			if n := web.Wire.Accepted.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// An answer that is there is worth more than an attempt that comes too late.
func TestAnswerIsNotDroppedForAnAttemptThatComesTooLate(t *testing.T) {
	t.Parallel()
	tr := newTroupe(t, "h1", 2)
	const timeout = 2 * time.Second // a wait of up to ten seconds is mostly more
	g := start(t, setup{workers: 1, backends: []string{tr.backend("h1", "")},
		routes: []string{route("path: /*", fmt.Sprintf("backend: web, timeout: %dms, retry: {on: [503], backoff: 10s}", timeout.Milliseconds()))}})
	late := 0
	for i := 0; i < 30 && late == 0; i++ {
		path := fmt.Sprint("/", i)
		tr.play(path, answers(503))
		began := time.Now()
		if got := g.client(t, "h1", common().web).get(path); got.status == http.StatusServiceUnavailable && time.Since(began) < timeout/2 {
			late++
		} else if got.status != http.StatusOK && got.status != http.StatusGatewayTimeout { // it came, maybe with little time left
			t.Errorf("%d after %v", got.status, time.Since(began))
		}
	}
	if late == 0 {
		t.Error("no answer was passed on at once")
	}
}
