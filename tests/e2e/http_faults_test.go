package e2e

import (
	"net/http"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// Backends that are down, slow or broken: the right 5xx, and a pool that is healthy afterwards.

func scriptedWeb(t *testing.T, script backend.Script, more string) (*gateway, *backend.Scripted) {
	t.Helper()
	broken := scripted(t, script)
	return start(t, setup{routes: []string{route("path: /*", "backend: web"+more)},
		backends: []string{http1("web", broken.Address)}}), broken
}

func TestBrokenAnswersCostOnlyTheirOwnClient(t *testing.T) {
	t.Parallel()
	g, back := scriptedWeb(t, backend.Good, "")
	for name, fault := range backend.Faults {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				back.Play(fault)
				back.Wire.KillAll(false) // idle connections still play the old script
				waitFor(t, "connections to end", patience, func() bool { return back.Wire.Open() == 0 })
				got := g.client(t, protocol, common().web).do(request("POST", "/x", "p"))
				if got.err == nil && got.status < 500 {
					t.Errorf("broken answer looks whole: status %d, body %.100q", got.status, got.body)
				}
				if got.err == nil && got.status != http.StatusBadGateway && got.status != http.StatusServiceUnavailable {
					t.Errorf("status %d, want 502", got.status)
				}
				back.Play(backend.Good)
				for range 3 {
					after := g.client(t, protocol, common().web).get("/x")
					if after.body != "good\n" {
						t.Errorf("the next client got %+v", after)
					}
				}
			})
		}
	}
}

func TestTwoAnswersNeverReachTheNextClient(t *testing.T) {
	t.Parallel()
	const one = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"
	const stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
	g, _ := scriptedWeb(t, func(p *backend.Peer) {
		for p.Request() != nil {
			p.Say("%s", one+stray)
		}
	}, "")
	for range 20 {
		if got := g.client(t, "h1", common().web).get("/x"); got.err == nil && got.status == 200 && got.body != "mine" {
			t.Fatalf("a client got the stray answer: %+v", got)
		}
	}
}

func TestDeadHTTPBackend(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", address)}})
	for _, protocol := range []string{"h1", "h2"} {
		got := g.client(t, protocol, common().web).get("/x")
		if got.err != nil || (got.status != 502 && got.status != 503) {
			t.Errorf("%s: status %d, %v", protocol, got.status, got.err)
		}
	}
	back := must(backend.StartHTTP(address, false))
	t.Cleanup(back.Stop)
	waitFor(t, "service to be back with its backend", 5*time.Second, func() bool {
		return g.client(t, "h1", common().web).get("/x").status == http.StatusOK
	})
}

func TestRouteTimeoutIs504(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]backend.Script{
		"no answer": backend.Silent,
		"half an answer head": func(p *backend.Peer) {
			p.Request()
			p.Say("HTTP/1.1 200 OK\r\nX-Slow: ")
			p.Hang()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, back := scriptedWeb(t, script, ", timeout: 300ms")
			for _, protocol := range []string{"h1", "h2"} {
				began := time.Now()
				wantStatus(t, g.client(t, protocol, common().web).get("/x"), http.StatusGatewayTimeout)
				if took := time.Since(began); took > slow(5*time.Second) || took < 250*time.Millisecond {
					t.Errorf("took %v", took)
				}
			}
			back.Play(backend.Good)
			wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
		})
	}
}

func TestRouteTimeoutInTheMiddleOfABodyIsVisible(t *testing.T) {
	t.Parallel()
	g, _ := scriptedWeb(t, func(p *backend.Peer) {
		p.Request()
		p.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		p.Hang()
	}, ", timeout: 500ms")
	for _, protocol := range []string{"h1", "h2"} {
		if got := g.client(t, protocol, common().web).get("/x"); got.err == nil {
			t.Errorf("%s: a body cut short looks whole: %q", protocol, got.body)
		}
	}
}

func TestStalePooledConnectionCostsAGetNoError(t *testing.T) {
	t.Parallel()
	for _, reset := range []bool{false, true} {
		g, back := scriptedWeb(t, backend.Good, "")
		c := g.client(t, "h1", common().web)
		for range 30 {
			wantStatus(t, c.get("/x"), http.StatusOK)
			back.Wire.KillAll(reset) // just before, or while, the next request is written
		}
	}
}

func TestBackendThatClosesOnTheSecondRequestCostsAGetNoError(t *testing.T) {
	t.Parallel()
	g, back := scriptedWeb(t, func(p *backend.Peer) {
		if p.Request() != nil {
			p.Answer("good\n")
			p.Request() // read, and closed without an answer: the request may safely be tried anew
		}
	}, "")
	c := g.client(t, "h1", common().web)
	for range 10 {
		wantStatus(t, c.get("/x"), http.StatusOK)
	}
	if back.Wire.Accepted.Load() < 10 {
		t.Error("the backend's second requests did not come")
	}
}

func TestAnswerBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	g, back := scriptedWeb(t, func(p *backend.Peer) {
		for {
			line, err := p.Reader.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		p.Say("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate")
		p.Hang()
	}, "")
	w := g.wire(t, common().web)
	w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000000\r\n\r\nonly the beginning")
	if got := w.hear("POST"); got.status != 413 || got.body != "late" {
		t.Errorf("got %+v", got)
	}
	back.Play(backend.Good)
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

func TestSlowReaderOfAnHTTPBodyIsBounded(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		before := p.g.memory()
		c := p.client(t)
		answer, err := c.Get("https://gateway.test/big?n=268435456")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		sent := steady(t, func() int { return p.back.Journal.Calls("GET /big")[0].SentBytes })
		if sent > 24<<20 { // 16 MiB, and what the kernel and Go's client hold
			t.Errorf("backend got %d KiB ahead", sent>>10)
		}
		if grown := p.g.memory() - before; grown > 32<<20 {
			t.Errorf("gateway grew by %d KiB", grown>>10)
		}
	})
}
