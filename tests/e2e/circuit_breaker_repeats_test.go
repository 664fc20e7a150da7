package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// What is asked once more, and connections that are there and good for nothing.

// While it waits there is no try that could take too long.
func TestCircuitBreakerRepeatThatWaitsHasNoTryToTimeOut(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"timeout", "503"} {
		b := newInns(t, "h1", 1, opening{})
		g := breaking(t, setup{routes: []string{
			route("path: /retried", fmt.Sprintf("backend: web, retry: {on: [%s], per_try_timeout: 900ms, tries: 3}", on)),
			route("path: /clock", "backend: web, timeout: 1s")}}, b, "connections: 1, "+patientBreaker, "")
		c := g.client(t, "h2", common().web)
		b.releaseAll()
		wantStatus(t, c.get("/meet"), http.StatusOK)
		b.shut()
		retried := b.keep(t, c, "/retried")
		other := g.waits(t, c, request("GET", "/other", ""))
		before := len(b.came())
		b.houses[0].hangUp()
		waitFor(t, "the other to come", patience, func() bool { return len(b.came()) == before+1 })
		g.awaitWaiting(t, 1)
		wantStatus(t, c.get("/clock"), http.StatusGatewayTimeout) // longer than a try
		b.releaseAll()
		wantAnswers(t, http.StatusOK, other, retried)
	}
}

// It says nothing of the endpoint that the connection was stale, and there is room there alone.
func TestCircuitBreakerStaleConnectionsEndpointServesTheCallAgain(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 2, opening{})
	g := breaking(t, setup{}, b, "connections: 1, "+patientBreaker, "")
	c := g.client(t, "h2", common().web)
	b.releaseAll()
	for range 4 {
		wantStatus(t, c.get("/meet"), http.StatusOK)
	}
	b.shut()
	one := b.keep(t, c, "/one")
	at := b.last(t).house
	other := b.keep(t, c, "/other")
	before := len(b.came())
	at.hangUp()
	waitFor(t, "the one to come again", patience, func() bool { return len(b.came()) == before+1 })
	if again := b.last(t); again.house != at {
		t.Error("it went elsewhere")
	}
	b.releaseAll()
	wantAnswers(t, http.StatusOK, one, other)
}

// A call that an endpoint has failed waits for the other, and newcomers need not.
func TestCircuitBreakerRepeatsDoNotHoldUpWhoFindsRoom(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 2, opening{})
	g := breaking(t, setup{routes: []string{route("path: /retried", "backend: web, retry: {on: [503], backoff: 0s}")}}, b,
		"connections: 1, pending: 1, pending_timeout: 5m", "")
	c := g.client(t, "h2", common().web)
	retried := b.keep(t, c, "/retried", "X-First", "503")
	at := b.last(t).house
	other := b.keep(t, c, "/other")
	b.release(t, at)
	g.awaitWaiting(t, 1)
	b.mutex.Lock()
	b.open = true
	b.mutex.Unlock()
	for range 3 {
		wantStatus(t, c.get("/new"), http.StatusOK)
	}
	if n := g.waiting(t); n != 1 {
		t.Errorf("%d wait", n)
	}
	b.releaseAll()
	wantAnswers(t, http.StatusOK, retried, other)
}

// Wherever a call may go an idle connection in another's name gives way to it, whichever endpoint was its turn.
func TestCircuitBreakerMakesRoomAtAnyEndpoint(t *testing.T) {
	t.Parallel()
	for _, pending := range []string{"pending: 10", "pending: 0"} {
		b := newInns(t, "h1", 2, opening{proxied: true})
		g := breaking(t, setup{}, b, "connections: 1, pending_timeout: 5m, "+pending, ", proxy_protocol: v1")
		one := b.keep(t, g.client(t, "h2", common().web), "/one")
		b.mutex.Lock()
		b.open = true
		b.mutex.Unlock()
		for range 6 {
			wantStatus(t, g.client(t, "h2", common().web).get("/another"), http.StatusOK)
		}
		b.wantAtMost(t, g, 1)
		b.releaseAll()
		wantAnswers(t, http.StatusOK, one)
	}
}

// Nobody would use it again, and it would keep its place for a minute.
func TestCircuitBreakerHasIdleConnectionsGiveWayWhenTheirCertificateHasEnded(t *testing.T) {
	t.Parallel()
	serving := atomic.Pointer[tls.Certificate]{}
	serving.Store(theMesh().root.serving(uri(usersID), valid(-time.Hour, 4*time.Second)))
	ends := leafOf(serving.Load()).NotAfter
	web := httpsBackend(t, renewing(&serving, serverOf(serving.Load(), alpn["http1"])))
	g := start(t, setup{workers: 1, files: theMesh().files(), routes: []string{route("path: /*", "backend: web")},
		backends: []string{strings.TrimSuffix(secured("web", "http1", allOf, web.Address), "}") + ", circuit_breaker: {connections: 1, " + patientBreaker + "}}"}})
	c := g.client(t, "h2", common().web)
	wantStatus(t, c.get("/x"), http.StatusOK)
	serving.Store(theMesh().root.serving(uri(usersID)))
	waitFor(t, "its end", patience, func() bool { return time.Now().After(ends.Add(time.Second)) })
	for range 4 {
		wantStatus(t, c.get("/x"), http.StatusOK)
	}
}

// The repeat was all that held the pool of a configuration that had been replaced.
func TestCircuitBreakerTurnsAwayTheRepeatOfAReplacedConfiguration(t *testing.T) {
	t.Parallel()
	e := &ensemble{addresses: []string{freeAddress(t)}, turns: map[string][]turn{}, seen: map[string][]call{}}
	server := grpc.NewServer(grpc.MaxConcurrentStreams(1), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		return e.take(e.addresses[0], stream)
	}))
	listener := listening(t, e.addresses[0])
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	g := start(t, setup{workers: 1, routes: []string{route(`grpc: "*"`, "backend: web, retry: {backoff: 1s}")},
		backends: []string{strings.TrimSuffix(h2("web", e.addresses...), "}") + ", circuit_breaker: {connections: 1, pending: 0}}"}})
	conn := g.rpc(t, common().web)
	wantCode(t, invoke(t, conn, "/svc/meet"), codes.OK)
	ended := waitingCall(t, g, e, conn, "/svc/m", fmt.Sprint(min(slow(3*time.Second).Milliseconds(), 9000))) // to reload, and to be busy
	g.rewrite(t, "pending: 0", "pending: 0, pending_timeout: 7s")
	g.reload(t)
	e.play("/svc/busy", waitsForever)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _, _ = backend.Invoke(ctx, conn, "/svc/busy", nil) }()
	waitFor(t, "the connection to be busy", patience, func() bool { return len(e.at("/svc/busy")) == 1 })
	wantCode(t, <-ended, codes.Unavailable)
	g.countAudit(t, 1, because("overloaded"))
	if n := len(e.at("/svc/m")); n != 1 {
		t.Errorf("%d attempts", n)
	}
	cancel()
	waitFor(t, "all to be over", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
	wantCode(t, invoke(t, conn, "/svc/after"), codes.OK)
}

// A pause of the request's that ends meanwhile begins no try either.
func TestCircuitBreakerCallThatWaitsMayBePausedBesides(t *testing.T) {
	t.Parallel()
	b := newInns(t, "h1", 1, opening{})
	g := breaking(t, setup{routes: []string{
		route("path: /slow", "backend: web, retry: {on: [timeout], per_try_timeout: 300ms, non_idempotent: true}, flow_limits: [{bytes: 2KiB/s, burst: 1KiB}]"),
		route("path: /clock", "backend: web, timeout: 2s")}}, b, "connections: 1, "+patientBreaker, "")
	c := g.client(t, "h2", common().web)
	first := b.keep(t, c, "/first")
	slow := g.waits(t, c, uploads("/slow", pattern(1536), true))
	g.awaitPauses(t, "/slow", 1)
	wantStatus(t, c.get("/clock"), http.StatusGatewayTimeout) // longer than the pause and a try
	b.releaseAll()
	wantAnswers(t, http.StatusOK, first, slow)
}
