package main

import (
	"testing"
	"time"
)

func TestRequestsAreDueAtTheRateWhoeverTakesThem(t *testing.T) {
	s := newSchedule(1000)
	first := s.step()
	for range 98 {
		s.step()
	}
	if last := s.step(); last.Sub(first) != 99*time.Millisecond {
		t.Errorf("a hundred requests lie %v apart", last.Sub(first))
	}
}

func TestPercentilesAreAtMostThreePerCentTooSmall(t *testing.T) {
	for _, latency := range []time.Duration{time.Microsecond, 37 * time.Microsecond, 910 * time.Microsecond, 2 * time.Second} {
		sum := &tally{}
		sum.enter(counting)
		sum.units.Add(1)
		sum.buckets[bucket(latency)].Add(1)
		found, true := sum.percentiles()["p50"], float64(latency)/1000
		if found > true || found < true*0.96 {
			t.Errorf("%v is told as %v µs", latency, found)
		}
	}
}
