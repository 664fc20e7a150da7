package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
)

// Calls that a backend over HTTP/2 turns away unprocessed, as those that are about to go do, behind their bodies.

// readsWhole takes the rest of a request that has a body.
func readsWhole(framer *http2.Framer, stream uint32) bool {
	for {
		switch frame, err := framer.ReadFrame(); f := frame.(type) {
		case *http2.DataFrame:
			if n := len(f.Data()); n > 0 {
				_ = framer.WriteWindowUpdate(0, uint32(n))
			}
			if f.StreamID == stream && f.StreamEnded() {
				return true
			}
		case *http2.HeadersFrame:
			if f.StreamID == stream && f.StreamEnded() { // trailers
				return true
			}
		default:
			if err != nil {
				return false
			}
		}
	}
}

var turnsAway = map[string]func(framer *http2.Framer, stream uint32) bool{
	"by a reset": func(framer *http2.Framer, stream uint32) bool {
		return framer.WriteRSTStream(stream, http2.ErrCodeRefusedStream) == nil
	},
	"by GOAWAY": func(framer *http2.Framer, stream uint32) bool {
		return framer.WriteGoAway(stream-1, http2.ErrCodeNo, nil) == nil
	},
	"by GOAWAY and the end": func(framer *http2.Framer, stream uint32) bool {
		_ = framer.WriteGoAway(stream-1, http2.ErrCodeNo, nil)
		return false
	},
}

// turning is a gateway whose backend has one endpoint that answers, and before it in the row one that turns away all that
// it has read.
func turning(t *testing.T, how func(framer *http2.Framer, stream uint32) bool, more string) (*gateway, *troupe) {
	t.Helper()
	bad := scripted(t, overHTTP2(func(_ *backend.Peer, framer *http2.Framer, stream uint32) bool {
		return readsWhole(framer, stream) && how(framer, stream)
	}))
	tr := newTroupe(t, "h2", 1)
	tr.addresses = append(tr.addresses, bad.Address)
	return start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{tr.backend("h2", "")},
		routes: []string{route("path: /*", "backend: web"+more)}}), tr
}

func TestCallsTurnedAwayBehindTheirBodiesGoElsewhere(t *testing.T) {
	t.Parallel()
	for name, how := range turnsAway {
		for _, down := range []string{"h1", "h2"} {
			t.Run(name+", "+down, func(t *testing.T) {
				t.Parallel()
				g, tr := turning(t, how, "")
				c, retries, calls := g.client(t, down, common().web), 0, 0
				for _, size := range []int{1, 4, 1000, 16 << 10} {
					for _, known := range []bool{true, false} {
						path, body := fmt.Sprint("/", calls), pattern(size)
						wantStatus(t, c.do(uploads(path, body, known)), http.StatusOK)
						if seen := tr.at(path); len(seen) != 1 || !bytes.Equal(seen[0].body, body) {
							t.Errorf("of %d bytes the other had %+v", size, seen)
						}
						retries += int(g.accessOf(t, path).number("retries"))
						calls++
					}
				}
				if retries != calls/2 || g.repeats(t, "") != 0 {
					t.Errorf("%d of %d calls had another attempt, %d are counted as repeats", retries, calls, g.repeats(t, ""))
				}
			})
		}
	}
}

// By the configuration it came by, though the connection it was on is one of the next by now.
func TestACallTurnedAwayMayGoWhereAReloadLeadsNobody(t *testing.T) {
	t.Parallel()
	for _, down := range []string{"h1", "h2"} {
		t.Run(down, func(t *testing.T) {
			t.Parallel()
			arrived, leave := make(chan struct{}), make(chan struct{})
			g, tr := turning(t, func(framer *http2.Framer, stream uint32) bool {
				close(arrived)
				<-leave
				return turnsAway["by a reset"](framer, stream)
			}, "")
			c := g.client(t, down, common().web)
			var group sync.WaitGroup
			for range 2 { // one to each endpoint
				group.Go(func() { wantStatus(t, c.do(uploads("/x", pattern(1000), true)), http.StatusOK) })
			}
			<-arrived
			g.rewrite(t, fmt.Sprintf("%q, ", tr.addresses[0]), "")
			g.hangUp(t)
			close(leave)
			group.Wait()
			if n := len(tr.at("/x")); n != 2 {
				t.Errorf("%d calls were answered by the endpoint that is left", n)
			}
		})
	}
}

// What the gateway does not keep, and what the route does not want kept, is told as it was.
func TestCallsTurnedAwayBehindMoreThanIsKeptFail(t *testing.T) {
	t.Parallel()
	for more, size := range map[string]int{"": 16<<10 + 1, ", retry: {tries: 2, buffer: 0}": 1, ", retry: {tries: 2, buffer: 1KiB}": 1025} {
		t.Run(more, func(t *testing.T) {
			t.Parallel()
			g, tr := turning(t, turnsAway["by a reset"], more)
			c, failed := g.client(t, "h2", common().web), 0
			for i := range 4 {
				path, body := fmt.Sprint("/", i), pattern(size)
				got := c.do(uploads(path, body, true))
				if got.status == http.StatusServiceUnavailable && got.problem("reason") == "backend_refused" && len(tr.at(path)) == 0 {
					failed++
					continue
				}
				wantStatus(t, got, http.StatusOK)
				if seen := tr.at(path); len(seen) != 1 || !bytes.Equal(seen[0].body, body) {
					t.Errorf("of %d bytes the other had %+v", size, seen)
				}
			}
			if failed != 2 {
				t.Errorf("%d of 4 calls failed, want 2", failed)
			}
		})
	}
}

// A window that was opened once is not opened again for what is sent again.
func TestCallsTurnedAwayLeaveTheWindowAsItIs(t *testing.T) {
	t.Parallel()
	g, tr := turning(t, turnsAway["by a reset"], "")
	const calls = 40
	c, body := g.client(t, "h2", common().web), pattern(16<<10)
	for i := range calls { // ten times the connection's window
		path := fmt.Sprint("/", i)
		wantStatus(t, c.do(uploads(path, body, true)), http.StatusOK)
		if seen := tr.at(path); len(seen) != 1 || !bytes.Equal(seen[0].body, body) {
			t.Errorf("call %d: the other had %+v", i, seen)
		}
	}
	if n := c.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Over HTTP/1.1 a connection that was stale has told nothing; what may be done twice goes elsewhere, body and all.
func TestIdempotentBodiesOnStaleConnectionsAreSentAgain(t *testing.T) {
	t.Parallel()
	stale := scripted(t, func(p *backend.Peer) {
		request, err := http.ReadRequest(p.Reader)
		if err != nil {
			return
		}
		p.Answer(string(must(io.ReadAll(request.Body))))
		p.Request()
	})
	g := start(t, setup{workers: 1, backends: []string{http1("web", stale.Address)}, routes: []string{route("path: /*", "backend: web")}})
	c := g.client(t, "h2", common().web)
	for i := range 4 {
		path, body := fmt.Sprint("/", i), "body of "+fmt.Sprint(i)
		if got := c.do(request(http.MethodPut, path, body)); got.status != http.StatusOK || got.body != body {
			t.Errorf("call %d: %d %v %q", i, got.status, got.err, got.body)
		}
	}
	if got := c.do(request(http.MethodPost, "/post", "body")); got.status == http.StatusOK {
		t.Error("a POST was sent twice")
	}
}
