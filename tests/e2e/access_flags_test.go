package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
)

// flagged waits until a line of the path has these flags.
func (g *gateway) flagged(t *testing.T, path, want string) {
	t.Helper()
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("%s: %q", path, got)
		}
	}()
	waitFor(t, path+" to be flagged "+want, 5*time.Second, func() bool {
		got = got[:0]
		for _, line := range accessLines(t, filepath.Join(g.dir, "access.jsonl")) {
			if line.text("path") == path {
				got = append(got, line.text("response_flags"))
			}
		}
		return len(got) > 0
	})
	for _, flags := range got {
		if flags != want {
			t.Errorf("%s has flags %q, want %q", path, got, want)
		}
	}
}

// Each row of the table of flags, as a caller or a backend brings it about.
func TestResponseFlagsAreEnvoys(t *testing.T) {
	t.Parallel()
	web, modern := httpBackend(t), h2cBackend(t)
	silent, mad := scripted(t, backend.Silent), scripted(t, backend.Faults["garbage"])
	g := start(t, setup{top: []string{accessLog}, listener: []string{"timeouts: {stream_idle: 1s}"},
		backends: []string{http1("web", web.Address), h2("modern", modern.Address), http1("dead", freeAddress(t)),
			http1("mad", mad.Address), http1("silent", silent.Address)},
		routes: []string{route("path: /dead", "backend: dead"), route("path: /mad", "backend: mad"),
			route("path: /late", "backend: silent, timeout: 50ms"), route("path: /silent", "backend: silent"),
			route("path: /limited", "respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 1}]"),
			route("path: /others", `backend: web, allow: ["spiffe://cluster.local/other"]`),
			route("path: /cut", "backend: modern"), route("path: /*", "backend: web")}})
	c := g.client(t, "h2", common().web)
	_ = c.get("/limited?first")
	seen := map[string]bool{}
	for path, row := range map[string]struct {
		flags string
		ask   func() reply
		want  int // 0: none, it breaks off
	}{
		"/dead":         {"UF,URX", nil, http.StatusServiceUnavailable},
		"/close":        {"UC", func() reply { return c.do(request("POST", "/close", "x")) }, http.StatusBadGateway},
		"/cut":          {"UR", nil, 0},
		"/mad":          {"UPE", nil, http.StatusBadGateway},
		"/late":         {"UT", nil, http.StatusGatewayTimeout},
		"/silent":       {"SI", nil, http.StatusGatewayTimeout},
		"/limited":      {"RL", nil, http.StatusTooManyRequests},
		"/others":       {"UAEX", nil, http.StatusForbidden},
		"/nobody":       {"UAEX", func() reply { return g.client(t, "h1", nil).get("/nobody") }, http.StatusForbidden},
		"/a%2Fb":        {"DPE", nil, http.StatusBadRequest},
		"/status/500":   {"", nil, http.StatusInternalServerError},
		"/status/404":   {"", nil, http.StatusNotFound},
		"/half-a-body":  {"SI", func() reply { return g.half(t, "/half-a-body") }, http.StatusRequestTimeout},
		"/trailers?all": {"", nil, http.StatusOK},
	} {
		ask := row.ask
		if ask == nil {
			ask = func() reply { return c.get(path) }
		}
		if got := ask(); row.want != 0 && got.status != row.want {
			t.Errorf("%s: %+v", path, got)
		}
		g.flagged(t, path, row.flags)
		for _, flag := range strings.Split(row.flags, ",") {
			seen[flag] = true
		}
	}
	g.leaves(t, web, seen)
	for _, letters := range defined("response_flag.def", "RESPONSE_FLAG") {
		if letters != "OM" && letters != "NR" && letters != "LR" && !seen[letters] { // those are below
			t.Errorf("no request had %s", letters)
		}
	}
}

// half sends half a body and waits.
func (g *gateway) half(t *testing.T, path string) reply {
	w := g.wire(t, common().web)
	w.say("POST " + path + " HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 10\r\n\r\n12345")
	return w.hear("POST")
}

// leaves has clients go while their answer is awaited: from the stream, and from the connection.
func (g *gateway) leaves(t *testing.T, web *backend.HTTP, seen map[string]bool) {
	t.Helper()
	asked := func() func() {
		before := web.Journal.Count("GET /sleep")
		return func() {
			waitFor(t, "the call", patience, func() bool { return web.Journal.Count("GET /sleep") > before })
		}
	}
	ctx, leave := context.WithCancel(context.Background())
	went, arrived := make(chan struct{}), asked()
	go func() {
		defer close(went)
		_ = g.client(t, "h2", common().web).do(request("GET", "/sleep?for=3s&reset", "").WithContext(ctx))
	}()
	arrived()
	leave()
	<-went
	g.flagged(t, "/sleep?for=3s&reset", "DR")
	arrived = asked()
	w := g.wire(t, common().web)
	w.say("GET /sleep?for=3s&left HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	arrived()
	_ = w.Close()
	g.flagged(t, "/sleep?for=3s&left", "DC")
	seen["DR"], seen["DC"] = true, true
	arrived = asked()
	g.frames(t, func(framer *http2.Framer) {
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
			BlockFragment: block(":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/sleep?for=3s&broke")})
		arrived()
		_ = framer.WriteData(0, true, nil) // which ends the connection
	})
	g.flagged(t, "/sleep?for=3s&broke", "DPE")
	if cause := g.accessOf(t, "/sleep?for=3s&broke").text("cause"); cause != "protocol_violation" {
		t.Errorf("cause %q of a call that was cut with its connection", cause)
	}
}

func TestCallsCutWithAHeadThatStallsSayWhy(t *testing.T) {
	t.Parallel()
	g := start(t, setup{top: []string{accessLog}, listener: []string{"timeouts: {request_headers: 700ms}"},
		backends: []string{http1("web", scripted(t, backend.Silent).Address)}, routes: []string{route("path: /*", "backend: web")}})
	g.frames(t, func(framer *http2.Framer) {
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
			BlockFragment: block(":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/x")})
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block(":method", "GET")}) // and no more
	})
	g.flagged(t, "/x", "LR")
	if cause := g.accessOf(t, "/x").text("cause"); cause != "request_timeout" {
		t.Errorf("cause %q of a call that was cut with its connection", cause)
	}
}

func TestResponseFlagsOfAGatewayAtItsEnd(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{top: []string{accessLog}, keepErrors: true, drain: "100ms", listener: []string{"limits: {connections: 1}"},
		backends: []string{http1("web", web.Address)}, routes: []string{route("path: /sleep", "backend: web")}})
	w := g.wire(t, common().web)
	w.say("GET /nowhere HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	wantRefusal(t, w.hear("GET"), http.StatusNotFound, "no_route")
	g.flagged(t, "/nowhere", "NR")
	wantRefusal(t, g.client(t, "h1", common().web).get("/over"), http.StatusServiceUnavailable, "overloaded")
	g.flagged(t, "/over", "OM")
	w.say("GET /sleep?for=4s HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	waitFor(t, "the call", patience, func() bool { return web.Journal.Count("GET /sleep") > 0 })
	g.signal(syscall.SIGTERM)
	_ = g.exitCode(10 * time.Second)
	g.flagged(t, "/sleep?for=4s", "LR")
	if cause := g.accessOf(t, "/sleep?for=4s").text("cause"); cause != "gateway_left" {
		t.Errorf("cause %q", cause)
	}
}

// The whole connection is lost with it: heads that follow cannot be read.
var badCompression = overHTTP2(func(_ *backend.Peer, framer *http2.Framer, stream uint32) bool {
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: []byte{0x80}}) == nil
})

// What a backend does at each try tells the flag of the last; URX, that there were others.
func TestTriesThatAllFailedAreFlagged(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		up            func(name string, addresses ...string) string
		on            string
		script        backend.Script
		status        int
		reason, flags string
	}{
		"silent":     {http1, "timeout", backend.Silent, http.StatusGatewayTimeout, "per_try_timeout", "UT,URX"},
		"impatient":  {http1, "reset", backend.Silent, http.StatusGatewayTimeout, "per_try_timeout", "UT"},
		"mad":        {http1, "reset", backend.Faults["garbage"], http.StatusBadGateway, "backend_protocol_error", "UPE,URX"},
		"hanging up": {http1, "reset", backend.AfterRequest(""), http.StatusBadGateway, "backend_closed", "UC,URX"},
		"resetting":  {h2, "reset", resetsStream(http2.ErrCodeInternal), http.StatusBadGateway, "backend_reset", "UR,URX"},
		"unreadable": {h2, "reset", badCompression, http.StatusBadGateway, "backend_protocol_error", "UPE,URX"},
		"refusing":   {h2, "reset", resetsStream(http2.ErrCodeRefusedStream), http.StatusServiceUnavailable, "backend_refused", "UR,URX"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, setup{top: []string{accessLog}, backends: []string{row.up("web", scripted(t, row.script).Address)},
				routes: []string{route("path: /*", fmt.Sprintf("backend: web, retry: {on: [%s], per_try_timeout: 200ms, backoff: 0s}", row.on))}})
			if got := g.client(t, "h1", common().web).get("/x"); got.status != row.status || got.problem("reason") != row.reason {
				t.Errorf("%+v", got)
			}
			g.flagged(t, "/x", row.flags)
		})
	}
}
