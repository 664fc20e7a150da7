package main

import "testing"

func TestWhatAPeerAddsIsTheMedianOfItsPairs(t *testing.T) {
	at := func(peer string, rate int, direct, through float64, failed string) pair {
		return pair{"gRPC", peer, rate, map[string]float64{"p50": direct}, map[string]float64{"p50": through}, failed, nil}
	}
	pairs := []pair{
		at("tollgate", 500, 100, 160, ""), at("tollgate", 500, 200, 250, ""), at("tollgate", 500, 100, 155, ""),
		at("tollgate", 500, 0, 9000, "gone"), at("tollgate", 1000, 0, 1, ""), at("nginx", 500, 0, 2, ""),
	}
	if found, measured := added(pairs, "tollgate", 500, "p50"); found != 55 || !measured {
		t.Errorf("%v", found)
	}
	if found, measured := added(pairs, "tollgate", 4000, "p50"); measured {
		t.Errorf("nothing was measured, yet %v", found)
	}
}

func TestAPeerThatFailedIsNotTheFastest(t *testing.T) {
	b := &bench{peers: allPeers}
	at := func(peer string, through float64, failed string) pair {
		return pair{"gRPC", peer, 500, map[string]float64{"p50": 100}, map[string]float64{"p50": through}, failed, nil}
	}
	pairs := []pair{at("tollgate", 150, ""), at("nginx", 160, ""), at("haproxy", 100, "gone"), at("envoy", 190, "")}
	if found := b.verdict(pairs, 500); found != "60.0: met" {
		t.Error(found)
	}
	pairs[1].Peered["p50"] = 149
	if found := b.verdict(pairs, 500); found != "49.0: missed" {
		t.Error(found)
	}
	if found := b.verdict(pairs[2:3], 500); found != "nothing to compare" {
		t.Error(found)
	}
}
