package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
)

// Answers that a route's `retry` drops: by what name they are counted, and that nothing of them is left.

// repeats is what tollgate_upstream_retries_total comes to, with those labels where any are given.
func (g *gateway) repeats(t *testing.T, labels string) (sum int) {
	t.Helper()
	_, text := g.adminGet("/metrics")
	for _, found := range regexp.MustCompile(`(?m)^tollgate_upstream_retries_total\{(.*)\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(found[1], labels) {
			sum += must(strconv.Atoi(found[2]))
		}
	}
	return sum
}

// overHTTP2 has the script play each request's head, frame by frame; false ends the connection.
func overHTTP2(play func(p *backend.Peer, framer *http2.Framer, stream uint32) bool) backend.Script {
	return func(p *backend.Peer) {
		_, _ = io.CopyN(io.Discard, p.Reader, int64(len(http2.ClientPreface)))
		framer := http2.NewFramer(p, p.Reader)
		_ = framer.WriteSettings()
		for frame, err := framer.ReadFrame(); err == nil; frame, err = framer.ReadFrame() {
			if head, ok := frame.(*http2.HeadersFrame); ok && !play(p, framer, head.StreamID) {
				return
			}
		}
	}
}

func resetsStream(code http2.ErrCode) backend.Script {
	return overHTTP2(func(_ *backend.Peer, framer *http2.Framer, stream uint32) bool {
		return framer.WriteRSTStream(stream, code) == nil
	})
}

func answers503(p *backend.Peer) {
	for p.Request() != nil {
		p.Say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
	}
}

func TestRepeatsAreCountedByWhatWasWrong(t *testing.T) {
	t.Parallel()
	silent := func(p *backend.Peer) { p.Request(); p.Hang() }
	hangsUp := overHTTP2(func(*backend.Peer, *http2.Framer, uint32) bool { return false })
	for name, row := range map[string]struct {
		up, on string
		script backend.Script
		cause  string // "": it is sent again whatever `retry` says
	}{
		"closed":         {"h1", "reset", backend.AfterRequest(""), "backend_closed"},
		"closed by TCP":  {"h1", "reset", backend.ResetAfterRequest, "backend_closed"},
		"half a head":    {"h1", "reset", backend.AfterRequest("HTTP/1.1 200 OK\r\nContent-Le"), "backend_closed"},
		"closed, h2":     {"h2", "reset", hangsUp, "backend_closed"},
		"stream reset":   {"h2", "reset", resetsStream(http2.ErrCodeInternal), "backend_reset"},
		"stream refused": {"h2", "reset", resetsStream(http2.ErrCodeRefusedStream), ""},
		"garbage":        {"h1", "reset", backend.AfterRequest("this is not HTTP\r\n\r\n"), "backend_protocol_error"},
		"status":         {"h1", "503", answers503, "retriable_status"},
		"silence":        {"h1", "timeout", silent, "per_try_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, bad := newTroupe(t, row.up, 1), scripted(t, row.script)
			tr.addresses = append(tr.addresses, bad.Address)
			g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{tr.backend(row.up, "")}, routes: []string{
				route("path: /*", fmt.Sprintf("backend: web, retry: {on: [%s], per_try_timeout: 1s, non_idempotent: true, backoff: 0s}", row.on))}})
			c, retries := g.client(t, "h2", common().web), 0
			for i := range 4 {
				path := fmt.Sprint("/", i)
				wantStatus(t, c.do(request("POST", path, "body")), 200)
				retries += int(g.accessOf(t, path).number("retries"))
			}
			want := map[bool]int{false: 2, true: 0}[row.cause == ""]
			if g.retries(t, bad.Address, row.cause) != want || g.repeats(t, "") != want || retries != 2 {
				t.Errorf("%d counted as %q of %d, %d logged, want %d", g.retries(t, bad.Address, row.cause), row.cause, g.repeats(t, ""), retries, want)
			}
		})
	}
}

// With TLS 1.3 a server refuses our certificate behind the handshake; with a certificate of its own that is not
// trusted it certainly has read nothing.
func TestServersWhoseTLSFailsAreRepeatedElsewhere(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"refuses us": 2, "is not trusted": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := theMesh().root.serving(uri(usersID))
			wary, good := theMesh().mutual(cert, "http/1.1"), httpsBackend(t, theMesh().mutual(cert, "http/1.1"))
			if wary.ClientCAs = poolOf(pemCertificates(common().root.cert.Raw)); want == 0 {
				wary = serverOf(newRoot("stranger").serving(uri(usersID)), "http/1.1")
			}
			bad := httpsBackend(t, wary)
			g := securely(t, setup{workers: 1, routes: []string{route("path: /x/*", "backend: web, retry: {on: [reset], non_idempotent: true, backoff: 0s}")}},
				"http1", allOf+", "+showing, bad.Address, good.Address)
			for i := range 4 {
				wantStatus(t, g.client(t, "h1", common().web).do(request("POST", fmt.Sprint("/x/", i), "body")), 200)
			}
			if n := g.retries(t, bad.Address, "backend_tls_failed"); n != want || g.repeats(t, "") != want {
				t.Errorf("%d are counted, want %d", n, want)
			}
		})
	}
}

const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

// dropped are answers, over HTTP/1.1, of which the client is to see nothing; false: the connection is not used again.
var dropped = map[string]func(p *backend.Peer) bool{
	"short": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n%s", len(poison), poison)
		return true
	},
	"empty": func(p *backend.Peer) bool { p.Say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"); return true },
	"chunked": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n")
		p.Say("0\r\nX-Trailer: poison\r\n\r\n")
		return true
	},
	"large": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n", 1<<20)
		_, err := io.WriteString(p, strings.Repeat(poison, 1<<20/len(poison)+1)[:1<<20])
		return err == nil
	},
	"endless": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n")
		for err := error(nil); err == nil; _, err = io.WriteString(p, "6\r\npoison\r\n") {
		}
		return false
	},
	"stalled": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\npoison")
		p.Hang()
		return false
	},
	"to the end": func(p *backend.Peer) bool { p.Say("HTTP/1.1 503 No\r\n\r\n%s", poison); return false },
	"that closes": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 6\r\n\r\npoison")
		return false
	},
	"cut": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\npoison")
		return false
	},
	"hinted": func(p *backend.Peer) bool {
		p.Say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 6\r\n\r\npoison")
		return true
	},
}

// forgetful drops the first answer to a path by its last element, and then tells the path.
func forgetful() backend.Script {
	var seen sync.Map
	return func(p *backend.Peer) {
		for r := p.Request(); r != nil; r = p.Request() {
			path := r.URL.Path
			if _, before := seen.LoadOrStore(r.Method+path, true); before && r.Method == "HEAD" {
				p.Say("HTTP/1.1 200 OK\r\nX-Path: %s\r\nContent-Length: 1000\r\n\r\n", path)
			} else if before {
				p.Say("HTTP/1.1 200 OK\r\nX-Path: %s\r\nContent-Length: %d\r\n\r\n%s", path, len(path), path)
			} else if r.Method == "HEAD" {
				p.Say("HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\n")
			} else if !dropped[path[strings.LastIndexByte(path, '/')+1:]](p) {
				return
			}
		}
	}
}

func TestNothingOfADroppedAnswerIsLeft(t *testing.T) {
	t.Parallel()
	for _, down := range []string{"h1", "h2"} {
		t.Run(down, func(t *testing.T) {
			t.Parallel()
			script := forgetful()
			a, b := scripted(t, script), scripted(t, script)
			g := start(t, setup{workers: 1, backends: []string{http1("web", a.Address, b.Address)},
				routes: []string{route("path: /*", "backend: web, retry: {on: [503], non_idempotent: true, backoff: 0s}")}})
			c := g.client(t, down, common().web)
			for round := range 12 {
				for kind := range dropped {
					for _, method := range []string{"GET", "POST", "HEAD"} {
						path := fmt.Sprintf("/%d/%s/%s", round, method, kind)
						got := c.do(request(method, path, strings.Repeat("b", map[string]int{"POST": 100 * round}[method])))
						wantStatus(t, got, 200)
						if got.header.Get("X-Path") != path || method != "HEAD" && got.body != path || len(got.trailer) != 0 {
							t.Fatalf("%s: %+v", path, got)
						}
					}
				}
			}
			if n := g.repeats(t, "retriable_status"); n != 12*3*len(dropped) || c.connections() != 1 {
				t.Errorf("%d repeats, %d connections", n, c.connections())
			}
		})
	}
}

func TestNothingOfADroppedAnswerIsLeftOverHTTP2(t *testing.T) {
	t.Parallel()
	g, tr := repeating(t, "h2", "{on: [503], tries: 3, non_idempotent: true, backoff: 0s}")
	var left atomic.Int64
	begins := func(bytes int) act {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Poison")
			w.WriteHeader(103)
			w.WriteHeader(503)
			for sent := 0; sent < bytes && r.Context().Err() == nil; sent += len(poison) {
				_, _ = io.WriteString(w, poison)
			}
			w.Header().Set("X-Poison", "poison")
			left.Add(1)
		}
	}
	tells := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }
	const rounds = 40
	for _, down := range []string{"h1", "h2"} {
		c := g.client(t, down, common().web)
		for i := range rounds {
			path := fmt.Sprintf("/%s/%d", down, i)
			tr.play(path, begins(1<<uint(i%21)), begins(1<<40), tells)
			if got := c.do(request("POST", path, path)); got.status != 200 || got.body != path || len(got.trailer) != 0 {
				t.Fatalf("%+v", got)
			}
			if seen := tr.at(path); len(seen) != 3 {
				t.Errorf("%d attempts", len(seen))
			}
		}
	}
	waitFor(t, "endless answers to end", patience, func() bool { return left.Load() == 4*rounds })
}

func TestInterimAnswersPassBeforeARepeat(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := repeating(t, up, "{on: [503], tries: 3, backoff: 0s}")
		hints := func(status int) act {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", fmt.Sprintf("</%d>", status))
				w.WriteHeader(103)
				w.WriteHeader(status)
			}
		}
		tr.play("/x", hints(503), hints(503), hints(200))
		var links []string
		r := request("GET", "/x", "")
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				links = append(links, fmt.Sprint(code, header["Link"]))
				return nil
			}}))
		got := g.client(t, down, common().web).do(r)
		wantStatus(t, got, 200)
		if fmt.Sprint(links) != "[103 [</503>] 103 [</503>] 103 [</200>]]" || fmt.Sprint(got.header["Link"]) != "[</200>]" {
			t.Errorf("interim answers %v, then %v", links, got.header)
		}
	})
}

// One call after the other needs one connection to each endpoint, or two, whatever was repeated.
func TestConnectionsToBackendsDoNotPileUpWithRepeats(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"short", "empty", "chunked", "large", "endless", "stalled", "hinted", "HEAD"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			script := forgetful()
			a, b := scripted(t, script), scripted(t, script)
			g := start(t, setup{workers: 1, backends: []string{http1("web", a.Address, b.Address)},
				routes: []string{route("path: /*", "backend: web, retry: {on: [503], backoff: 0s}")}})
			c, method := g.client(t, "h1", common().web), map[bool]string{true: "HEAD", false: "GET"}[kind == "HEAD"]
			for i := range 100 {
				wantStatus(t, c.do(request(method, fmt.Sprintf("/%d/%s", i, kind), "")), 200)
			}
			waitFor(t, fmt.Sprintf("no more than 4 connections, of %d", a.Wire.Open()+b.Wire.Open()), 2*time.Second, func() bool {
				return a.Wire.Open()+b.Wire.Open() <= 4
			})
		})
	}
}
