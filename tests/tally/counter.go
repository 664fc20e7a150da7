package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// An event is a line of `go test -json`; `go doc test2json` describes it.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// A result is how one test, or with an empty name one package, went.
type result struct {
	name   string
	action string // the last word: "run" when it never ended
	output strings.Builder
}

type suite struct {
	name    string
	own     result // of the package as a whole
	tests   map[string]*result
	elapsed float64
	broken  bool // did not build
}

type counter struct {
	out    io.Writer
	strict bool // a skipped test is a failed one
	suites map[string]*suite
	builds map[string]*strings.Builder // what the compiler said, by import path
	stray  strings.Builder             // lines that are no events
}

func newCounter(out io.Writer, strict bool) *counter {
	return &counter{out: out, strict: strict, suites: map[string]*suite{}, builds: map[string]*strings.Builder{}}
}

func (c *counter) read(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				c.take(&e)
			} else if !strings.HasPrefix(string(line), "go: downloading ") {
				c.stray.Write(line)
			}
		}
		if err != nil {
			break
		}
	}
	if c.stray.Len() > 0 {
		fmt.Fprint(c.out, indent(c.stray.String()))
	}
}

func (c *counter) take(e *event) {
	switch e.Action {
	case "build-output":
		if c.builds[e.ImportPath] == nil {
			c.builds[e.ImportPath] = &strings.Builder{}
		}
		c.builds[e.ImportPath].WriteString(e.Output)
		return
	case "build-fail":
		return
	}
	s := c.suites[e.Package]
	if s == nil {
		s = &suite{name: e.Package, tests: map[string]*result{}}
		c.suites[e.Package] = s
	}
	r := &s.own
	if e.Test != "" {
		if r = s.tests[e.Test]; r == nil {
			r = &result{name: e.Test, action: "run"}
			s.tests[e.Test] = r
		}
	}
	switch e.Action {
	case "output":
		r.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		r.action = e.Action
		if e.Test == "" {
			s.finish(c, e)
		}
	}
}

// finish says how the package went, as soon as it is known.
func (s *suite) finish(c *counter, e *event) {
	s.elapsed = e.Elapsed
	if e.FailedBuild != "" {
		s.broken = true
		if said := c.builds[e.FailedBuild]; said != nil {
			s.own.output.WriteString(said.String())
		}
	}
	passed, failed := s.count(c.strict)
	if passed == 0 && len(failed) == 0 {
		return
	}
	if len(failed) == 0 {
		fmt.Fprintf(c.out, "ok    %-40s %4d  %.1f s\n", s.name, passed, s.elapsed)
		return
	}
	fmt.Fprintf(c.out, "FAIL  %-40s %4d of %d failed  %.1f s\n", s.name, len(failed), passed+len(failed), s.elapsed)
	for _, r := range failed {
		fmt.Fprintf(c.out, "  %s %s\n%s", r.action, r.name, indent(r.output.String()))
	}
}

// count gives the number of leaves that passed, and everything that counts as failed.
func (s *suite) count(strict bool) (passed int, failed []*result) {
	names := make([]string, 0, len(s.tests))
	for name := range s.tests {
		names = append(names, name)
	}
	sort.Strings(names)
	skipped := []*result{} // after the failures, of which they say nothing
	for _, name := range names {
		r := s.tests[name]
		switch {
		case r.action == "skip" && strict:
			skipped = append(skipped, r)
		case r.action == "run", r.action == "fail" && !s.failedBelow(name):
			failed = append(failed, r)
		case r.action == "pass" && !s.hasBelow(name):
			passed++
		}
	}
	failed = append(failed, skipped...)
	nothing := s.own.action == "pass" && len(s.tests) == 0 // -run matches no test any more
	if s.own.action == "fail" && len(failed) == 0 || s.own.action == "" || nothing {
		failed = append(failed, &s.own)
	}
	return passed, failed
}

func (s *suite) hasBelow(name string) bool {
	for other := range s.tests {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

func (s *suite) failedBelow(name string) bool {
	for other, r := range s.tests {
		if strings.HasPrefix(other, name+"/") && (r.action == "fail" || r.action == "run") {
			return true
		}
	}
	return false
}

// report writes what tests/run adds up: passed, failed, name. A run without any package is a failure,
// for then go itself gave up.
func (c *counter) report(out io.Writer) {
	if len(c.suites) == 0 {
		fmt.Fprintf(c.out, "FAIL  go test ran nothing\n")
		fmt.Fprintln(out, "0 1 go test")
	}
	for _, s := range c.suites {
		if s.own.action == "" {
			s.finish(c, &event{}) // the stream broke off
		}
		passed, failed := s.count(c.strict)
		fmt.Fprintf(out, "%d %d %s\n", passed, len(failed), s.name)
	}
}

func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("    " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return out.String()
}
