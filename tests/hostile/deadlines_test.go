package hostile

import (
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/harness"
)

// hurry begins calls that have no time, fifty at once, until the connection ends; it returns how many came to an end.
func hurry(s *session, first, most uint32) (ended int) {
	for id := first; id < first+2*most && !s.gone(); id += 100 {
		for n := id; n < id+100; n += 2 {
			s.headers(n, true, asks("POST", "/sleep?for=1h", "content-type", "application/grpc", "te", "trailers", "grpc-timeout", "1n")...)
		}
		for n := id; n < id+100; n += 2 {
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
	if ended := hurry(s, 1, 1000); ended > 600 || !s.gone() {
		t.Errorf("%d calls of one connection were begun and dropped at the backend", ended)
	}
	s.mutex.Lock()
	if s.goaway == nil || *s.goaway != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("ended with %v", s.over)
	}
	s.mutex.Unlock()
	harness.WaitFor(t, "a record", 2*time.Second, func() bool { return g.Audit("protocol_violation") == 1 })
	some := open(t, g)
	if ended := hurry(some, 1, 100); ended != 100 {
		t.Errorf("%d of a hundred calls ended", ended)
	}
	some.get(301, "/x")
	if got := some.await(301); got.value(":status") != "200" {
		t.Errorf("the next call got %v", got)
	}
}
