package main

import "testing"

func TestWhatAPeerAddsIsTheMedianOfItsPairs(t *testing.T) {
	at := func(peer string, rate int, direct, through float64, failed string) pair {
		return pair{peer, rate, map[string]float64{"p50": direct}, map[string]float64{"p50": through}, failed}
	}
	pairs := []pair{
		at("tollgate", 500, 100, 160, ""), at("tollgate", 500, 200, 250, ""), at("tollgate", 500, 100, 155, ""),
		at("tollgate", 500, 0, 9000, "gone"), at("tollgate", 1000, 0, 1, ""), at("nginx", 500, 0, 2, ""),
	}
	if found := added(pairs, "tollgate", 500, "p50"); found != 55 {
		t.Errorf("%v", found)
	}
	if found := added(pairs, "tollgate", 4000, "p50"); found != 0 {
		t.Errorf("nothing was measured, yet %v", found)
	}
}
