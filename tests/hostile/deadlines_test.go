package hostile

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/harness"
)

// hurry begins calls that have next to no time, so many at once, until the connection ends; it returns how many came to an end.
func hurry(s *session, timeout string, first, most, atOnce uint32) (ended int) {
	for id := first; id < first+2*most && !s.gone(); id += 2 * atOnce {
		for n := id; n < id+2*atOnce; n += 2 {
			s.headers(n, true, asks("POST", "/sleep?for=1h", "content-type", "application/grpc", "te", "trailers", "grpc-timeout", timeout)...)
		}
		for n := id; n < id+2*atOnce; n += 2 {
			if got := s.await(n); got.ended {
				ended++
			}
		}
	}
	return ended
}

// A call whose deadline has passed before a backend can do anything is a reset in other words: the backend gets both.
func TestDeadlinesAreNoWayAroundTheBudgetOfResets(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h2")
	s := open(t, g)
	if ended := hurry(s, "1n", 1, 1000, 50); ended > 600 || !s.gone() {
		t.Errorf("%d calls of one connection were begun and dropped at the backend", ended)
	}
	s.mutex.Lock()
	if s.goaway == nil || *s.goaway != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("ended with %v", s.over)
	}
	s.mutex.Unlock()
	harness.WaitFor(t, "a record", 2*time.Second, func() bool { return g.Audit("protocol_violation") == 1 })
	some := open(t, g)
	if ended := hurry(some, "1n", 1, 100, 50); ended != 100 {
		t.Errorf("%d of a hundred calls ended", ended)
	}
	some.get(301, "/x")
	if got := some.await(301); got.value(":status") != "200" {
		t.Errorf("the next call got %v", got)
	}
}

// Silence of a millisecond is no sign of a dead connection, which others would have to do without.
func TestDeadlinesThatAreNoneLeaveTheConnectionToOthers(t *testing.T) {
	t.Parallel()
	g, back := web(t, "h2")
	s := open(t, g)
	s.get(1, "/x")
	s.await(1)
	before, began := back.Wire.Accepted.Load(), time.Now()
	if ended := hurry(s, "1n", 3, 100, 5); ended != 100 {
		t.Errorf("%d of a hundred calls ended", ended)
	}
	if more, took := back.Wire.Accepted.Load()-before, time.Since(began); more > 1+int64(took/(100*time.Millisecond)) {
		t.Errorf("%d more connections to the backend in %v", more, took)
	}
}

func TestDeadlinesThatAreNoneCostAnHTTP1Connection(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h2")
	for timeout, last := range map[string]bool{"1n": true, "1H": false} {
		w := g.Wire(t)
		w.Say("POST /sleep?for=20ms HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/grpc\r\nGrpc-Timeout: " + timeout + "\r\nContent-Length: 0\r\n\r\n")
		w.Hear("POST")
		if !last {
			w.Say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		}
		if got := w.Hear("GET"); (got.Status == 200) == last || errors.Is(got.Err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: then came %+v", timeout, got)
		}
	}
}

// A backend that answers none of many calls in the time they have is slow; their clients did nothing wrong, and have other
// calls on the connection.
func TestCallsThatRunOutOfHonestTimeLeaveTheConnection(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h2")
	s := open(t, g)
	if ended := hurry(s, "20m", 1, 1000, 50); ended != 1000 || s.gone() {
		t.Errorf("%d of a thousand calls ended", ended)
	}
	s.get(2001, "/x")
	if got := s.await(2001); got.value(":status") != "200" {
		t.Errorf("the next call got %v", got)
	}
}
