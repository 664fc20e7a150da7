package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// series is how the cost of a request behaves while one thing grows.
type series struct {
	Name  string  `json:"name"`
	Axis  string  `json:"axis"`
	Unit  string  `json:"unit"`
	Sizes []int   `json:"sizes"`
	Marks []point `json:"points"`
	idle  bool    // memory is measured, not time
	set   func(*place, int)
	load  func(size int) []string
}

// point is the median over the rounds; Waited: the gateway had to wait for the load, and gathers less in a turn.
type point struct {
	Size      int     `json:"size"`
	Figure    float64 `json:"figure"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	PerSecond float64 `json:"per_second,omitempty"`
	Waited    bool    `json:"core_not_saturated,omitempty"`
	Failed    string  `json:"failed,omitempty"`
}

const flat = 0.10 // of the middle of a series, either way

func growthSeries() []series {
	small := func(connections int, more ...string) []string {
		return load("steady", "h1", "/other", connections, append([]string{"-length", "0", "-expect", "404"}, more...)...)
	}
	return []series{
		{Name: "connections", Axis: "connections, all busy", Unit: "µs/request", Sizes: []int{1, 16, 64, 256, 1000, 4000, 9000},
			load: func(size int) []string { return small(size) }},
		{Name: "routes", Axis: "routes passed by", Unit: "µs/request", Sizes: []int{1, 10, 100, 1000, 5000},
			set:  func(p *place, size int) { p.PassedBy = make([]int, size) },
			load: func(int) []string { return small(64) }},
		{Name: "keys", Axis: "keys of one limit", Unit: "µs/request", Sizes: []int{1, 1000, 10000, 100000, 1000000},
			load: func(size int) []string {
				return load("steady", "h1", "/small", 64, "-length", "128", "-keys", strconv.Itoa(size))
			}},
		{Name: "streams", Axis: "streams of one connection", Unit: "µs/call", Sizes: []int{1, 16, 64, 256, 1000},
			load: func(size int) []string {
				return load("steady", "grpc", "/bench.Echo/Unary", 1, "-streams", strconv.Itoa(size), "-expect", "0", "-length", "133")
			}},
		{Name: "workers", Axis: "workers", Unit: "µs/request", Sizes: []int{1, 2},
			set:  func(p *place, size int) { p.Workers = size },
			load: func(int) []string { return small(64) }},
		{Name: "memory", Axis: "idle connections", Unit: "KiB RSS a connection", Sizes: []int{100, 1000, 4000, 9000}, idle: true,
			load: func(size int) []string {
				return load("idle", "h1", "/small", size, "-length", "128")
			}},
	}
}

var growthPeer = peer{name: "growth", template: "growth.yaml", command: allPeers[len(allPeers)-1].command}

// growth measures each size on a gateway of its own, round after round, so that what the machine does to one size it does
// to all.
func (b *bench) growth() error {
	all := growthSeries()
	for index := range all {
		s := &all[index]
		found := make([][]sample, len(s.Sizes))
		for round := range b.rounds {
			for at, size := range s.Sizes {
				fmt.Fprintf(os.Stderr, "\rround %d of %d, %-12s %-8d", round+1, b.rounds, s.Name, size)
				found[at] = append(found[at], b.grown(s, size, round))
			}
		}
		for at, size := range s.Sizes {
			s.Marks = append(s.Marks, pointOf(size, found[at]))
		}
	}
	fmt.Fprintln(os.Stderr)
	for _, s := range all {
		s.print()
	}
	return b.keepGrowth(all)
}

func (b *bench) grown(s *series, size, round int) sample {
	where := b.place
	where.Workers, where.PassedBy = 1, nil
	if s.set != nil {
		s.set(&where, size)
		for number := range where.PassedBy {
			where.PassedBy[number] = number
		}
	}
	core := 0
	if where.Workers > 1 {
		core = anyCore
	}
	own, err := growthPeer.startOn(where, core)
	if own != nil {
		defer own.stop()
	}
	if err != nil {
		return sample{Failed: err.Error()}
	}
	return b.measure(testCase{name: s.Name, idle: s.idle, arguments: s.load(size)}, own, round)
}

func pointOf(size int, samples []sample) point {
	result := point{Size: size}
	var figures, rates []float64
	for _, s := range samples {
		if s.Failed != "" {
			result.Failed = s.Failed
			continue
		}
		figures, rates = append(figures, s.Figure), append(rates, s.PerSecond)
		result.Waited = result.Waited || s.Waited
	}
	all := spread(figures)
	result.Figure, result.Low, result.High, result.PerSecond = all.Median, all.Low, all.High, median(rates)
	return result
}

// apart is how far the sizes that kept the gateway busy lie from the middle of them; false where there are not two.
func apart(points []point) (float64, bool) {
	least, most, busy := 0.0, 0.0, 0
	for _, p := range points {
		if p.Waited || p.Figure <= 0 {
			continue
		}
		if least == 0 || p.Figure < least {
			least = p.Figure
		}
		most = max(most, p.Figure)
		busy++
	}
	if busy < 2 {
		return 0, false
	}
	return (most - least) / (most + least), true
}

func (s series) print() {
	fmt.Printf("\n%s (%s)\n", s.Axis, s.Unit)
	for _, p := range s.Marks {
		mark := ""
		if p.Waited {
			mark = " ~"
		}
		if p.Figure == 0 {
			line, _, _ := strings.Cut(p.Failed, "\n")
			mark = " failed: " + line
		}
		fmt.Printf("%9d  %8s (%s–%s)  %8.0f/s%s\n", p.Size, figure(p.Figure), figure(p.Low), figure(p.High), p.PerSecond, mark)
	}
	share, known := apart(s.Marks)
	switch {
	case !known:
		fmt.Println("too few sizes kept the gateway busy to compare")
	case share <= flat:
		fmt.Printf("flat: ±%.0f %% where the gateway was busy\n", 100*share)
	default:
		fmt.Printf("not flat: ±%.0f %% where the gateway was busy\n", 100*share)
	}
	if s.Name == "workers" && len(s.Marks) == 2 && s.Marks[0].PerSecond > 0 {
		fmt.Printf("two workers give %.2f times one; load and backend share the second core, so that this says little here\n",
			s.Marks[1].PerSecond/s.Marks[0].PerSecond)
	}
}

func (b *bench) keepGrowth(all []series) error {
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"machine": b.machine(), "rounds": b.rounds, "series": all}, "", "\t")
	if err != nil {
		return err
	}
	file := filepath.Join(b.results, "growth.json")
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	for _, s := range all {
		if err := s.plot(filepath.Join(b.results, "growth-"+s.Name+".svg")); err != nil {
			return err
		}
	}
	fmt.Printf("\nsaved in %s, plots beside it\n", file)
	return nil
}
