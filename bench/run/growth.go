package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
	// What the other gateways do on the same sizes, where that tells apart what is ours and what is the machine's.
	Others map[string][]point `json:"peers,omitempty"`
	beside bool               // measure them
	idle   bool               // memory is measured, not time
	alone  bool               // the first size has one request under way, which leaves a gateway waiting whoever else fills the core
	set    func(*place, int)
	load   func(size int) []string
}

// point is the median over the rounds; Waited: the gateway had to wait for the load, and gathers less in a turn.
type point struct {
	Size      int     `json:"size"`
	Figure    float64 `json:"figure"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	PerSecond float64 `json:"per_second,omitempty"`
	Waited    bool    `json:"core_not_saturated,omitempty"`
	Disturbed int     `json:"disturbed_windows,omitempty"`
	Failed    string  `json:"failed,omitempty"`
}

const flat = 0.10 // of the middle of a series, either way

func growthSeries() []series {
	small := func(connections int, more ...string) []string {
		return load("steady", "h1", "/other", connections, append([]string{"-length", "0", "-expect", "404"}, more...)...)
	}
	return []series{
		// What an open connection costs the others shows only where the work under way stays the same.
		{Name: "connections", Axis: "connections open, 64 of them busy", Unit: "µs/request",
			Sizes: []int{1, 64, 256, 1000, 4000, 10000}, alone: true,
			load: func(size int) []string { return small(size, "-busy", "64") }},
		{Name: "busy", Axis: "connections, all busy", Unit: "µs/request", Sizes: []int{1, 16, 64, 256, 1000, 4000, 9000},
			alone: true, beside: true,
			load: func(size int) []string { return small(size) }},
		{Name: "routes", Axis: "routes passed by", Unit: "µs/request", Sizes: []int{1, 10, 100, 1000, 5000},
			set:  func(p *place, size int) { p.PassedBy = make([]int, size) },
			load: func(int) []string { return small(64) }},
		{Name: "keys", Axis: "keys of one limit", Unit: "µs/request", Sizes: []int{1, 1000, 10000, 100000, 1000000},
			load: func(size int) []string {
				return load("steady", "h1", "/small", 64, "-length", "128", "-keys", strconv.Itoa(size))
			}},
		{Name: "streams", Axis: "streams of one connection", Unit: "µs/call", Sizes: []int{1, 16, 64, 256, 1000}, alone: true,
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
	all := slices.DeleteFunc(growthSeries(), func(s series) bool { return len(b.only) > 0 && !slices.Contains(b.only, s.Name) })
	if len(all) == 0 {
		return fmt.Errorf("no such series")
	}
	for index := range all {
		s := &all[index]
		if b.quick {
			s.Sizes = quickSizes(s.Sizes)
		}
		b.measureSeries(s)
	}
	fmt.Fprintln(os.Stderr)
	for _, s := range all {
		s.print()
	}
	return b.keepGrowth(all)
}

// contenders are tollgate, and the others where the series is theirs too.
func (b *bench) contenders(s *series) []peer {
	all := []peer{growthPeer}
	for _, p := range b.peers {
		if s.beside && p.name != "tollgate" {
			all = append(all, p)
		}
	}
	return all
}

func (b *bench) measureSeries(s *series) {
	all := b.contenders(s)
	found := make([][][]sample, len(all))
	for who := range all {
		found[who] = make([][]sample, len(s.Sizes))
	}
	for round := range b.rounds {
		for at, size := range s.Sizes {
			for who, p := range all {
				// One that cannot do a size takes long to show it: once is enough.
				if round > 0 && who > 0 && found[who][at][0].Failed != "" {
					continue
				}
				fmt.Fprintf(os.Stderr, "\rround %d of %d, %-12s %-8d %-8s", round+1, b.rounds, s.Name, size, p.name)
				found[who][at] = append(found[who][at], b.grown(s, p, size, round))
			}
		}
	}
	s.Others = map[string][]point{}
	for who, p := range all {
		var marks []point
		for at, size := range s.Sizes {
			marks = append(marks, pointOf(size, found[who][at]))
		}
		if who == 0 {
			s.Marks = marks
		} else {
			s.Others[p.name] = marks
		}
	}
}

func (b *bench) grown(s *series, p peer, size, round int) sample {
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
	own, err := p.startOn(where, core)
	if own != nil {
		defer own.stop()
	}
	if err != nil {
		return sample{Failed: err.Error()}
	}
	result := b.measure(testCase{name: s.Name, idle: s.idle, arguments: s.load(size)}, own, round)
	result.Waited = result.Waited || s.alone && size == 1
	if core == anyCore {
		result.Disturbed = nil // by the gateway itself, which is on both cores
	}
	return result
}

// quickSizes leaves out what takes long to build up.
func quickSizes(sizes []int) []int {
	const most = 1000
	if last := slices.IndexFunc(sizes, func(size int) bool { return size > most }); last >= 0 {
		return sizes[:last]
	}
	return sizes
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
		if len(s.Disturbed) > 0 {
			result.Disturbed++
		}
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
	printPoints(s.Marks)
	if s.Name == "workers" {
		printWorkers(s.Marks, runtime.NumCPU())
		return
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
	for _, name := range slices.Sorted(maps.Keys(s.Others)) {
		fmt.Printf("the same of %s\n", name)
		printPoints(s.Others[name])
	}
}

func printPoints(points []point) {
	for _, p := range points {
		mark := ""
		if p.Waited {
			mark = " ~"
		}
		if p.Disturbed > 0 {
			mark += " !"
		}
		if p.Figure == 0 {
			line, _, _ := strings.Cut(p.Failed, "\n")
			mark = " failed: " + line
		}
		fmt.Printf("%9d  %8s (%s–%s)  %8.0f/s%s\n", p.Size, figure(p.Figure), figure(p.Low), figure(p.High), p.PerSecond, mark)
	}
}

// Two workers want two cores of their own, and a load and a backend that keep up with both; neither does on one core.
func printWorkers(points []point, cores int) {
	if len(points) != 2 || points[0].Figure <= 0 || points[1].Figure <= 0 {
		return
	}
	one, two := points[0], points[1]
	fmt.Printf("two workers give %.2f times the requests of one, each for %.2f times the processor time; whether that is 1.7 "+
		"times\nis not judged: of %d cores, load and backend have one that the second worker needs or cannot keep it busy\n",
		two.PerSecond/one.PerSecond, two.Figure/one.Figure, cores)
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
