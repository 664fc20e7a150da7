package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// column is what the rounds of one case on one peer come to.
type column struct {
	Median, Low, High float64
	Failed            string
	Marks             string
	Resumed           float64
	PerSecond, P50    float64
	P99               float64
}

// row is one case over all peers.
type row struct {
	Case    string
	What    string
	Unit    string
	Columns map[string]column
	Best    string
	Ratio   column
	Must    string
	Verdict string
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func spread(values []float64) column {
	if len(values) == 0 {
		return column{}
	}
	return column{Median: median(values), Low: slices.Min(values), High: slices.Max(values)}
}

func (b *bench) of(c testCase, peer string) []sample {
	var found []sample
	for _, s := range b.samples {
		if s.Case == c.name && s.Peer == peer {
			found = append(found, s)
		}
	}
	return found
}

func (b *bench) column(c testCase, peer string) column {
	samples := b.of(c, peer)
	var figures, rates, p50, p99 []float64
	marks := map[string]bool{}
	failed := b.unequal[peer]
	var resumed, units int64
	for _, s := range samples {
		if s.Failed != "" {
			failed = s.Failed
			continue
		}
		figures = append(figures, s.Figure)
		rates = append(rates, s.PerSecond)
		p50, p99 = append(p50, s.Latency["p50"]), append(p99, s.Latency["p99"])
		marks["~"] = marks["~"] || s.Waited
		marks["!"] = marks["!"] || len(s.Disturbed) > 0
		resumed += s.Resumed
		units += s.Units
	}
	result := spread(figures)
	result.Failed = failed
	result.PerSecond, result.P50, result.P99 = median(rates), median(p50), median(p99)
	for _, mark := range []string{"~", "!"} {
		if marks[mark] {
			result.Marks += mark
		}
	}
	if units > 0 {
		result.Resumed = float64(resumed) / float64(units)
	}
	if c.resumption && result.Failed == "" && result.Resumed < 0.99 {
		result.Marks += "°"
	}
	return result
}

// ratios are made within each round, of tollgate to the best of the others.
func (b *bench) ratios(c testCase) (ratio column, best string) {
	var values []float64
	for round := range b.rounds {
		own, least := 0.0, 0.0
		for _, s := range b.samples {
			switch {
			case s.Case != c.name || s.Round != round || s.Failed != "" || s.Figure <= 0:
			case s.Peer == "tollgate":
				own = s.Figure
			case least == 0 || s.Figure < least:
				least, best = s.Figure, s.Peer
			}
		}
		if own > 0 && least > 0 {
			values = append(values, own/least)
		}
	}
	return spread(values), best
}

func (b *bench) row(c testCase) row {
	r := row{Case: c.name, What: c.what, Unit: c.unit, Columns: map[string]column{}}
	for _, p := range b.peers {
		r.Columns[p.name] = b.column(c, p.name)
	}
	r.Ratio, r.Best = b.ratios(c)
	own := r.Columns["tollgate"]
	met := r.Ratio.Median > 0 && r.Ratio.Median <= c.must
	r.Must = fmt.Sprintf("≤ %.2f", c.must)
	if c.mustKiB > 0 {
		met = own.Median > 0 && own.Median <= c.mustKiB
		r.Must = fmt.Sprintf("≤ %.0f KiB", c.mustKiB)
	}
	if r.Verdict = "missed"; met && own.Failed == "" {
		r.Verdict = "met"
	}
	return r
}

func figure(value float64) string {
	switch {
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}

func (c column) cell() string {
	if c.Failed != "" && c.Median == 0 {
		return "failed"
	}
	text := figure(c.Median)
	if c.Low != c.High {
		text += fmt.Sprintf(" (%s–%s)", figure(c.Low), figure(c.High))
	}
	if c.Marks != "" {
		text += " " + c.Marks
	}
	return text
}

func (b *bench) print() error {
	var rows []row
	for _, c := range b.cases {
		rows = append(rows, b.row(c))
	}
	machine := b.machine()
	out := bufio.NewWriter(os.Stdout)
	b.printHead(out, machine)
	b.printTable(out, rows)
	b.printNotes(out, rows)
	if err := out.Flush(); err != nil {
		return err
	}
	file, err := b.save(machine, rows)
	if err == nil {
		fmt.Printf("\nsaved in %s\n", file)
	}
	return err
}

func (b *bench) printHead(out *bufio.Writer, machine map[string]string) {
	fmt.Fprintf(out, "# Gateway CPU time per unit\n\n%s, %d cores, %s, %s; load average before: %s\n", machine["processor"],
		runtime.NumCPU(), machine["kernel"], machine["time"], machine["load"])
	for _, p := range b.peers {
		fmt.Fprintf(out, "- %s: %s\n", p.name, machine["version "+p.name])
	}
	fmt.Fprintf(out, "\nMedians of %d interleaved rounds of %v (lowest–highest). mTLS 1.3, X25519, AES-128-GCM, ECDSA P-256; "+
		"a limit on every route;\none worker on core 0, load and backend on core 1.\n\n", b.rounds, b.window)
}

func (b *bench) printTable(out *bufio.Writer, rows []row) {
	fmt.Fprint(out, "| case | unit |")
	for _, p := range b.peers {
		fmt.Fprintf(out, " %s |", p.name)
	}
	fmt.Fprint(out, " ratio to the best peer | must | |\n|---|---|", strings.Repeat("---|", len(b.peers)), "---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(out, "| %s %s | %s |", r.Case, r.What, r.Unit)
		for _, p := range b.peers {
			fmt.Fprintf(out, " %s |", r.Columns[p.name].cell())
		}
		ratio := "–"
		if r.Ratio.Median > 0 {
			ratio = fmt.Sprintf("%.2f of %s", r.Ratio.Median, r.Best)
		}
		if r.Ratio.Low != r.Ratio.High {
			ratio += fmt.Sprintf(" (%.2f–%.2f)", r.Ratio.Low, r.Ratio.High)
		}
		fmt.Fprintf(out, " %s | %s | %s |\n", ratio, r.Must, r.Verdict)
	}
}

func (b *bench) printNotes(out *bufio.Writer, rows []row) {
	fmt.Fprintln(out, "\n~ core 0 was not saturated: the gateway waited for the load, and may cost more per unit than when busy")
	fmt.Fprintln(out, "! the machine was disturbed: somebody else used a core, or the host took time (details in the JSON)")
	fmt.Fprintln(out, "° not resumed: these are full handshakes, as in case c")
	for _, p := range b.peers {
		if why := b.unequal[p.name]; why != "" {
			fmt.Fprintf(out, "- %s is not compared, it failed the probe: %s\n", p.name, why)
		} else if cannot := b.cannot[p.name]; len(cannot) > 0 {
			fmt.Fprintf(out, "- %s passed the probe, but cannot do: %s\n", p.name, strings.Join(cannot, "; "))
		} else {
			fmt.Fprintf(out, "- %s passed the probe and all its extras\n", p.name)
		}
		for _, r := range rows {
			if c := r.Columns[p.name]; c.Failed != "" && b.unequal[p.name] == "" {
				fmt.Fprintf(out, "- %s failed in case %s: %s\n", p.name, r.Case, c.Failed)
			}
		}
	}
	disturbed := 0
	for _, s := range b.samples {
		if len(s.Disturbed) > 0 {
			disturbed++
		}
	}
	fmt.Fprintf(out, "- %d of %d windows were disturbed\n", disturbed, len(b.samples))
}

func (b *bench) machine() map[string]string {
	facts := map[string]string{"time": time.Now().UTC().Format(time.RFC3339), "note": b.note, "go": runtime.Version()}
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	facts["processor"] = strings.Trim(line, " \t:")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	facts["kernel"] = "Linux " + strings.TrimSpace(string(kernel))
	average, _ := os.ReadFile("/proc/loadavg")
	facts["load"] = strings.TrimSpace(string(average))
	for _, p := range b.peers {
		said, _ := exec.Command(p.version(b.place)[0], p.version(b.place)[1:]...).CombinedOutput()
		trimmed := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(said)), b.place.Envoy))
		first, more, _ := strings.Cut(trimmed, "\n")
		if p.name == "tollgate" {
			first += ", " + strings.Join(strings.Fields(more), " ")
		}
		facts["version "+p.name] = strings.TrimSpace(first)
	}
	return facts
}

func (b *bench) save(machine map[string]string, rows []row) (string, error) {
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(b.results, time.Now().UTC().Format("20060102T150405Z")+".json")
	text, err := json.MarshalIndent(map[string]any{
		"machine": machine, "rounds": b.rounds, "window_seconds": b.window.Seconds(), "rows": rows,
		"cannot": b.cannot, "unequal": b.unequal, "samples": b.samples,
	}, "", "\t")
	if err != nil {
		return "", err
	}
	return file, os.WriteFile(file, append(text, '\n'), 0o644)
}
