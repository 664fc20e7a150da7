package faults

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// A backend connection breaks in every way at every stage of a request.

// A stage leads a connection to the moment of the fault, which it calls.
type stage struct {
	name     string
	answered bool // the client has the answer's head by then
	bodied   bool // there must be a body
	play     func(p *backend.Peer, strike func(*speaker))
}

func readHead(p *backend.Peer) (request *http.Request) {
	request, _ = http.ReadRequest(p.Reader)
	return request
}

// http1Stage makes a stage from what is said once the request's head is read.
func http1Stage(name, say string) stage {
	return stage{name: name, answered: say != "", play: func(p *backend.Peer, strike func(*speaker)) {
		if request := readHead(p); request != nil {
			p.Say("%s", say)
			strike(&speaker{Peer: p})
		}
	}}
}

const chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

var http1Stages = []stage{
	{name: "after accept", play: func(p *backend.Peer, strike func(*speaker)) { strike(&speaker{Peer: p}) }},
	http1Stage("after the request's head", ""),
	{name: "in the request's body", bodied: true, play: func(p *backend.Peer, strike func(*speaker)) {
		if request := readHead(p); request != nil {
			_, _ = io.CopyN(io.Discard, request.Body, 1000)
			strike(&speaker{Peer: p})
		}
	}},
	http1Stage("after the answer's head", chunkedHead),
	http1Stage("in the answer's body", chunkedHead+"4\r\ngood\r\n5\r\nba"),
	http1Stage("before the last chunk", chunkedHead+"4\r\ngood\r\n"),
	http1Stage("between trailers", chunkedHead+"4\r\ngood\r\n0\r\nX-One: 1\r\n"),
}

// h2Stage makes a stage from what is done once the request's head is read.
func h2Stage(name string, answered bool, do func(s *speaker)) stage {
	return stage{name: name, answered: answered, play: func(p *backend.Peer, strike func(*speaker)) {
		if s := greet(p); s.request() {
			do(s)
			strike(s)
		}
	}}
}

var h2Stages = []stage{
	{name: "after accept", play: func(p *backend.Peer, strike func(*speaker)) { strike(&speaker{Peer: p}) }},
	{name: "after the settings", play: func(p *backend.Peer, strike func(*speaker)) { strike(greet(p)) }},
	h2Stage("after the request's head", false, func(*speaker) {}),
	{name: "in the request's body", bodied: true, play: func(p *backend.Peer, strike func(*speaker)) {
		if s := greet(p); s.request() && s.read(func() bool { return s.newest.bytes > 1000 }) {
			strike(s)
		}
	}},
	h2Stage("after the answer's head", true, func(s *speaker) { s.answerHead(s.newest) }),
	h2Stage("in the answer's body", true, func(s *speaker) { s.answerHead(s.newest); s.answerBody(s.newest) }),
	h2Stage("between trailers", true, func(s *speaker) {
		s.answerHead(s.newest)
		s.answerBody(s.newest)
		s.headers(s.newest, false, true, "x-one", "1") // a CONTINUATION must follow
	}),
}

// strikes are the ways to break. The connection stays open where the backend does not end it itself: the gateway must.
var strikes = map[string]func(*speaker){
	"resets":      func(s *speaker) { s.Reset() },
	"half-closes": func(s *speaker) { s.HalfClose() },
	"closes":      func(s *speaker) { _ = s.Close() },
	"says garbage": func(s *speaker) {
		s.Say("%s", "zz\x00\xff\xfe no protocol at all\r\n\r\n"+strings.Repeat("\xee", 64))
	},
}

// causes are the words of the access log for them.
var causes = map[string]bool{"backend_closed": true, "backend_reset": true, "backend_protocol_error": true, "backend_refused": true, "connect_failed": true}

func expected(c caller, s stage) []outcome {
	switch {
	case c.grpc():
		return []outcome{unavailable}
	case s.answered:
		return []outcome{"broken"}
	}
	return []outcome{"502", "503"}
}

// strikeAt has the backend break at the stage, sees what it costs the caller, and that it costs the next nothing.
func strikeAt(t *testing.T, g *harness.Gateway, back *backend.Scripted, s stage, strike func(*speaker), c caller, good backend.Script) {
	path := "/fault.Service/" + strings.ReplaceAll(t.Name(), "/", ".")
	back.Play(func(p *backend.Peer) {
		s.play(p, strike)
		p.Hang()
	})
	c.want(t, g, path, expected(c, s)...)
	back.Play(good)
	if cause := lineOf(t, g, path).Cause; !causes[cause] {
		t.Errorf("the access log gives the cause %q", cause)
	}
	harness.WaitFor(t, "the gateway to drop the broken connection", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
	c.want(t, g, path+".next", c.good())
	harness.WaitFor(t, "the good connection to end", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
}

func strikeEverywhere(t *testing.T, protocol string, stages []stage, callers []caller, good backend.Script) {
	back := scripted(t, good)
	g := before(t, protocol, back, "")
	failed := 0
	for _, s := range stages {
		for name, strike := range strikes {
			for _, c := range callers {
				if s.bodied && !c.body {
					continue
				}
				t.Run(s.name+" it "+name+" on "+c.name, func(t *testing.T) { strikeAt(t, g, back, s, strike, c, good) })
				failed++
			}
		}
	}
	var counted float64
	for cause := range causes {
		counted += g.Metric(fmt.Sprintf("tollgate_upstream_requests_total{backend=\"web\",endpoint=%q,code=%q}", back.Address, cause))
	}
	if int(counted) != failed {
		t.Errorf("the metric counts %v failures of the backend, want %d", counted, failed)
	}
	if records := harness.Read[harness.Record](t, g.Path("audit.jsonl")); len(records) > 0 {
		t.Errorf("a backend's failure is no refusal, but recorded: %+v", records[0])
	}
}

func TestBackendThatBreaksAtAnyStageOverHTTP1(t *testing.T) {
	t.Parallel()
	strikeEverywhere(t, "http1", http1Stages, webCallers, onceHTTP1)
}

func TestBackendThatBreaksAtAnyStageOverHTTP2(t *testing.T) {
	t.Parallel()
	strikeEverywhere(t, "h2", h2Stages, append(webCallers, grpcCallers...), onceH2)
}

func TestStreamThatABackendResetsIsThatStreamsAlone(t *testing.T) {
	t.Parallel()
	back := scripted(t, goodH2)
	g := before(t, "h2", back, "")
	for _, s := range h2Stages[2:6] {
		for _, c := range append(webCallers, grpcCallers...) {
			if s.bodied && !c.body {
				continue
			}
			t.Run(s.name+" on "+c.name, func(t *testing.T) {
				back.Play(func(p *backend.Peer) {
					s.play(p, func(s *speaker) {
						_ = s.framer.WriteRSTStream(s.newest.id, http2.ErrCodeInternal)
						delete(s.calls, s.newest.id)
						for c := s.wholeCall(); c != nil; c = s.wholeCall() {
							s.answer(c)
						}
					})
				})
				path := "/fault.Service/" + strings.ReplaceAll(t.Name(), "/", ".")
				c.want(t, g, path, expected(c, s)...)
				if cause := lineOf(t, g, path).Cause; !causes[cause] {
					t.Errorf("the access log gives the cause %q", cause)
				}
				accepted := back.Wire.Accepted.Load()
				back.Play(goodH2)
				c.want(t, g, path+".next", c.good())
				if back.Wire.Accepted.Load() > accepted+1 { // the other worker may dial its own
					t.Error("the connection was given up for one stream")
				}
				back.Wire.KillAll(false)
				harness.WaitFor(t, "the connections to end", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
			})
		}
	}
}

func TestPooledConnectionThatBreaksCostsNobodyAnything(t *testing.T) {
	t.Parallel()
	for protocol, good := range map[string]backend.Script{"http1": onceHTTP1, "h2": onceH2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			back := scripted(t, good)
			g := before(t, protocol, back, "")
			for name, strike := range strikes {
				for _, c := range append(webCallers, grpcCallers...) {
					if c.grpc() && protocol == "http1" {
						continue
					}
					t.Run("it "+name+" before "+c.name, func(t *testing.T) { strikeIdle(t, g, back, protocol, strike, c, good) })
				}
			}
		})
	}
}

// strikeIdle breaks a connection that rests in the pool.
func strikeIdle(t *testing.T, g *harness.Gateway, back *backend.Scripted, protocol string, strike func(*speaker), c caller, good backend.Script) {
	idle, broken := make(chan struct{}), make(chan struct{})
	back.Play(func(p *backend.Peer) {
		s := &speaker{Peer: p}
		if protocol == "h2" {
			s = greet(p)
			if found := s.wholeCall(); found != nil {
				s.answer(found)
			}
		} else if p.Request() != nil {
			p.Answer("good\n")
		}
		<-idle
		strike(s)
		close(broken)
		p.Hang()
	})
	c.want(t, g, "/fault.Service/First", c.good())
	back.Play(good)
	close(idle)
	<-broken
	harness.WaitFor(t, "the gateway to drop the broken connection", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
	c.want(t, g, "/fault.Service/Next", c.good())
	harness.WaitFor(t, "the good connection to end", 2*time.Second, func() bool { return back.Wire.Open() == 0 })
}
