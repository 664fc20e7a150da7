package script

import (
	"fmt"
	"strconv"
	"testing"

	"tollgate/tests/harness"
)

// server is a Redis of the test's own.
type server struct {
	t     *testing.T
	redis *harness.Redis
}

func start(t *testing.T) *server {
	t.Helper()
	return &server{t, harness.StartRedis(t, harness.RedisSetup{})}
}

func (s *server) ask(words ...string) any {
	s.t.Helper()
	return s.redis.Command(words...)
}

func (s *server) number(words ...string) int64 {
	s.t.Helper()
	return whole(s.t, s.ask(words...))
}

func (s *server) numbers(words ...string) []int64 {
	s.t.Helper()
	list, _ := s.ask(words...).([]any)
	numbers := make([]int64, len(list))
	for i := range list {
		numbers[i] = whole(s.t, list[i])
	}
	return numbers
}

// clock is the server's, in microseconds.
func (s *server) clock() int64 {
	s.t.Helper()
	now := s.numbers("TIME")
	return now[0]*1_000_000 + now[1]
}

func whole(t *testing.T, reply any) int64 {
	t.Helper()
	number, err := strconv.ParseInt(fmt.Sprint(reply), 10, 64)
	if err != nil {
		t.Fatalf("%v is no number", reply)
	}
	return number
}
