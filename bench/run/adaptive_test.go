package main

import (
	"testing"
	"time"
)

func TestGoodputCountsWhatWasAskedForInTheTimeAndAnswered(t *testing.T) {
	phases := []overloadPhase{{0.5, 2 * time.Second}, {5, 4 * time.Second}, {0.5, 2 * time.Second}}
	var calls []overloadCall
	for at := time.Duration(0); at < 8*time.Second; at += time.Second / 200 { // twice what the backend can do
		call := overloadCall{asked: at, took: 60 * time.Millisecond, status: 200}
		if len(calls)%2 == 1 {
			call.status = 503
		}
		if len(calls)%8 == 0 {
			call.status = 0
		}
		calls = append(calls, call)
	}
	got := overloadSummary(calls, phases, true)
	if got.Share < 0.74 || got.Share > 0.76 || got.Settled < 0.74 || got.Settled > 0.76 || got.After < 1.49 || got.After > 1.51 {
		t.Errorf("shares %v, %v, %v", got.Share, got.Settled, got.After)
	}
	if got.Offered != 1600 || got.Shed != 800 || got.GivenUp != 200 {
		t.Errorf("%d offered, %d shed, %d given up", got.Offered, got.Shed, got.GivenUp)
	}
	if len(got.Goodput) != 16 || got.Admitted != (latencies{60, 60}) {
		t.Errorf("%d bins, %v", len(got.Goodput), got.Admitted)
	}
}
