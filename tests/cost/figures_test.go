package cost

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"tollgate/tests/harness"
)

const (
	tolerance = 1.05
	figures   = "figures.json"
)

// A split is a count per request by what it is of: the object that allocates, the system call.
type split map[string]float64

// A table belongs to a compiler, which is half of what is measured.
type table struct {
	Compiler    string           `json:"compiler"`
	Costs       map[string]int   `json:"instructions"`
	Allocations map[string]split `json:"allocations"`
	Turns       map[string]split `json:"system calls in turn"`
	Crowd       map[string]split `json:"system calls with 64 in flight"`
}

// perRequest shares the difference of two runs out among their requests. What is left below a twentieth is a
// timer's, or the start's.
func perRequest(less, more map[string]int, requests int) split {
	found := split{}
	for name, count := range more {
		if each := math.Round(10*float64(count-less[name])/float64(requests)) / 10; each != 0 {
			found[name] = each
		}
	}
	return found
}

func (s split) sum() (sum float64) {
	for _, count := range s {
		sum += count
	}
	return sum
}

// grew tells whether there is one more than there was; what comes with every so many requests may fall on one side or
// the other.
func grew(is, was split) bool { return is.sum() > was.sum()+0.5 }

func compiler(t *testing.T) string {
	t.Helper()
	version := harness.Must(exec.Command("gcc", "-dumpversion").Output())
	return "gcc " + strings.TrimSpace(string(version))
}

func compare(t *testing.T, found table) {
	t.Helper()
	if t.Failed() {
		return // half a table is none
	}
	if os.Getenv("REGENERATE") != "" {
		text := harness.Must(json.MarshalIndent(found, "", "  "))
		if err := os.WriteFile(figures, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var known table
	if err := json.Unmarshal(harness.Must(os.ReadFile(figures)), &known); err != nil {
		t.Fatal(err)
	}
	if known.Compiler != found.Compiler {
		t.Logf("the figures are of %s, this is %s: nothing to compare", known.Compiler, found.Compiler)
		return
	}
	compareCosts(t, found.Costs, known.Costs)
	compareSplits(t, "allocations", found.Allocations, known.Allocations, grew)
	compareSplits(t, "system calls", found.Turns, known.Turns, grew)
	// How much one turn of the loop finds to do is up to the machine.
	compareSplits(t, "system calls in a crowd", found.Crowd, known.Crowd, func(split, split) bool { return false })
}

func compareCosts(t *testing.T, found, known map[string]int) {
	t.Helper()
	for name, was := range known {
		is := found[name]
		t.Logf("%s: %d instructions, committed %d", name, is, was)
		if float64(is) > tolerance*float64(was) {
			t.Errorf("%s costs %d instructions, %.1f %% more than the committed %d", name, is, 100*float64(is-was)/float64(was), was)
		}
		if is == 0 {
			t.Errorf("%s was not measured", name)
		}
	}
}

func compareSplits(t *testing.T, what string, found, known map[string]split, worse func(is, was split) bool) {
	t.Helper()
	for name, was := range known {
		is, measured := found[name]
		t.Logf("%s: %.1f %s %v, committed %.1f", name, is.sum(), what, is, was.sum())
		if worse(is, was) {
			t.Errorf("%s costs %.1f %s, %v; committed are %.1f, %v", name, is.sum(), what, is, was.sum(), was)
		}
		if !measured {
			t.Errorf("%s of %s were not counted", what, name)
		}
	}
}
