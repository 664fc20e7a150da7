package main

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// phase is where the run stands; units count only in the window.
type phase int32

const (
	warming phase = iota
	counting
	stopped
)

// tally counts units, and their latencies in buckets 1/32 wide, relative to their value.
type tally struct {
	phase   atomic.Int32
	units   atomic.Int64
	errors  atomic.Int64
	warmed  atomic.Int64
	resumed atomic.Int64
	buckets [64 * 32]atomic.Int64

	lock   sync.Mutex
	causes map[string]int
	first  *connectionFacts
}

func (t *tally) in(wanted phase) bool { return phase(t.phase.Load()) == wanted }
func (t *tally) enter(next phase)     { t.phase.Store(int32(next)) }

func (t *tally) done(began time.Time) {
	switch phase(t.phase.Load()) {
	case warming:
		t.warmed.Add(1)
	case counting:
		t.units.Add(1)
		t.buckets[bucket(time.Since(began))].Add(1)
	case stopped:
	}
}

// Errors count whenever they happen: one while warming up is no better.
func (t *tally) fail(err error) {
	if t.in(stopped) {
		return
	}
	t.errors.Add(1)
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.causes == nil {
		t.causes = map[string]int{}
	}
	if len(t.causes) < 8 || t.causes[err.Error()] > 0 {
		t.causes[err.Error()]++
	}
}

func bucket(latency time.Duration) int {
	value := uint64(max(latency, 1))
	exponent := bits.Len64(value)
	if exponent <= 5 {
		return int(value)
	}
	return exponent*32 + int(value>>(exponent-6))&31
}

func bucketMicroseconds(index int) float64 {
	exponent := index / 32
	if exponent <= 5 {
		return float64(index) / 1000
	}
	return float64(uint64(index%32+32)<<(exponent-6)) / 1000
}

// percentiles are lower edges of buckets: at most 3 % too small.
func (t *tally) percentiles() map[string]float64 {
	total := t.units.Load()
	wanted := []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}}
	found := map[string]float64{}
	seen, next := int64(0), 0
	for index := range t.buckets {
		seen += t.buckets[index].Load()
		for next < len(wanted) && total > 0 && float64(seen) >= wanted[next].share*float64(total) {
			found[wanted[next].name] = bucketMicroseconds(index)
			next++
		}
	}
	return found
}
