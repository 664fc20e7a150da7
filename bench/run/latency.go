package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot/plotter"
)

// pair is one window through a peer and the direct one just before it, at one rate. In microseconds.
type pair struct {
	Work   string             `json:"work"`
	Peer   string             `json:"peer"`
	Rate   int                `json:"rate"`
	Direct map[string]float64 `json:"direct_us"`
	Peered map[string]float64 `json:"through_us"`
	Failed string             `json:"failed,omitempty"`
	// What disturbed either window.
	Disturbed []string `json:"disturbed,omitempty"`
}

var latencyRates = []int{500, 1000, 2000, 4000}

// What is asked for by the clock, over 64 connections.
type work struct {
	name      string
	arguments []string
	straight  func(*place) string // the backend's address for it
	plot      string
}

var latencyWorks = []work{
	{"HTTP/1.1", load("open", "h1", "/small", 64, "-length", "128"), func(p *place) string { return p.HTTP1 }, "latency.svg"},
	{"gRPC", load("open", "grpc", "/bench.Echo/Unary", 64, "-expect", "0", "-length", "133"),
		func(p *place) string { return p.H2C }, "latency-grpc.svg"},
}

// latency sends requests by the clock, straight to the backend and through each peer in turn, and tells what the peer
// added.
func (b *bench) latency() error {
	var pairs []pair
	for _, w := range latencyWorks {
		found := b.pairs(w)
		b.printLatency(w, found)
		pairs = append(pairs, found...)
	}
	stalls, err := b.stalls()
	if err != nil {
		return err
	}
	printStalls(stalls)
	return b.keepLatency(pairs, stalls)
}

func (b *bench) pairs(w work) (pairs []pair) {
	for round := range b.rounds {
		for _, rate := range latencyRates {
			for turn := range b.running {
				r := b.running[(turn+round)%len(b.running)]
				if b.unequal[r.peer.name] != "" {
					continue
				}
				fmt.Fprintf(os.Stderr, "\r%s, round %d of %d, %d/s, %-10s", w.name, round+1, b.rounds, rate, r.peer.name)
				pairs = append(pairs, b.pair(w, r, rate, round))
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return pairs
}

func (b *bench) pair(w work, r *running, rate, round int) pair {
	arguments := append(slices.Clone(w.arguments), "-rate", fmt.Sprint(rate))
	straight := &running{peer: peer{name: "direct"}, address: w.straight(&b.place), process: b.backend}
	direct := b.measure(testCase{name: "latency", arguments: append([]string{"-plain"}, arguments...)}, straight, round)
	through := b.measure(testCase{name: "latency", arguments: arguments}, r, round)
	result := pair{Work: w.name, Peer: r.peer.name, Rate: rate, Direct: direct.Latency, Peered: through.Latency, Failed: direct.Failed}
	result.Disturbed = append(direct.Disturbed, through.Disturbed...)
	if through.Failed != "" {
		result.Failed = through.Failed
	}
	return result
}

// added is the median over the rounds of what a peer adds to one percentile; false where nothing was measured.
func added(pairs []pair, name string, rate int, percentile string) (float64, bool) {
	var found []float64
	for _, p := range pairs {
		if p.Peer == name && p.Rate == rate && p.Failed == "" {
			found = append(found, p.Peered[percentile]-p.Direct[percentile])
		}
	}
	return median(found), len(found) > 0
}

// fastest is the least that any peer but tollgate adds to the median; false where none was measured.
func (b *bench) fastest(pairs []pair, rate int) (best float64, known bool) {
	for _, p := range b.peers {
		us, measured := added(pairs, p.name, rate, "p50")
		if p.name != "tollgate" && measured && (!known || us < best) {
			best, known = us, true
		}
	}
	return best, known
}

func (b *bench) verdict(pairs []pair, rate int) string {
	own, measured := added(pairs, "tollgate", rate, "p50")
	best, known := b.fastest(pairs, rate)
	switch {
	case !measured || !known:
		return "nothing to compare"
	case own <= best:
		return figure(best) + ": met"
	}
	return figure(best) + ": missed"
}

func (b *bench) printLatency(w work, pairs []pair) {
	fmt.Printf("\nLatency added to a direct call, µs, p50 (p99); %s, 64 connections, requests by the clock\n\n| rate |", w.name)
	for _, p := range b.peers {
		fmt.Printf(" %s |", p.name)
	}
	fmt.Print(" p50 of the best peer |\n|---|")
	for range b.peers {
		fmt.Print("---|")
	}
	fmt.Println("---|")
	for _, rate := range latencyRates {
		fmt.Printf("| %d/s |", rate)
		for _, p := range b.peers {
			p50, measured := added(pairs, p.name, rate, "p50")
			p99, _ := added(pairs, p.name, rate, "p99")
			if !measured {
				fmt.Print(" – |")
				continue
			}
			fmt.Printf(" %s (%s) |", figure(p50), figure(p99))
		}
		fmt.Printf(" %s |\n", b.verdict(pairs, rate))
	}
	disturbed := 0
	for _, p := range pairs {
		if len(p.Disturbed) > 0 {
			disturbed++
		}
	}
	fmt.Printf("\n- %d of %d pairs were disturbed\n", disturbed, len(pairs))
	for _, p := range pairs {
		if p.Failed != "" {
			fmt.Printf("- %s at %d/s failed: %s\n", p.Peer, p.Rate, p.Failed)
		}
	}
}

func (b *bench) keepLatency(pairs []pair, stalls []stall) error {
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"machine": b.machine(), "rounds": b.rounds, "pairs": pairs, "stalls": stalls}, "", "\t")
	if err != nil {
		return err
	}
	file := filepath.Join(b.results, "latency.json")
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nsaved in %s, plots beside it\n", file)
	for _, w := range latencyWorks {
		if err := b.plotLatency(w, pairs); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) plotLatency(w work, pairs []pair) error {
	pairs = slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.Work != w.name })
	var curves []curve
	for _, p := range b.peers {
		one := curve{name: p.name}
		for _, rate := range latencyRates {
			if us, measured := added(pairs, p.name, rate, "p50"); measured {
				one.points = append(one.points, plotter.XY{X: float64(rate), Y: us})
			}
		}
		curves = append(curves, one)
	}
	return draw(filepath.Join(b.results, w.plot), "Latency added to a direct call (p50), "+w.name, "requests a second",
		"µs", nil, curves)
}
