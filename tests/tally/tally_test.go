package main

import (
	"strings"
	"testing"
)

func TestTallyCounts(t *testing.T) {
	const (
		run  = `{"Action":"run","Package":"p","Test":"`
		pass = `{"Action":"pass","Package":"p","Test":"`
		fail = `{"Action":"fail","Package":"p","Test":"`
		skip = `{"Action":"skip","Package":"p","Test":"`
		end  = `"}` + "\n"
		good = `{"Action":"pass","Package":"p","Elapsed":0.1}` + "\n"
		bad  = `{"Action":"fail","Package":"p","Elapsed":0.1}` + "\n"
	)
	for _, row := range []struct {
		name, stream string
		strict       bool
		want, says   string
	}{
		{"a test that passes", run + "A" + end + pass + "A" + end + good, false, "1 0 p", "ok    p"},
		{"a test that fails", run + "A" + end + fail + "A" + end + bad, false, "0 1 p", "fail A"},
		{"leaves, not their parents", run + "A" + end + run + "A/x" + end + run + "A/y" + end +
			pass + "A/x" + end + pass + "A/y" + end + pass + "A" + end + good, false, "2 0 p", "ok"},
		{"a failed leaf once", run + "A" + end + run + "A/x" + end + run + "A/y" + end +
			fail + "A/x" + end + pass + "A/y" + end + fail + "A" + end + bad, false, "1 1 p", "fail A/x"},
		{"a parent that failed by itself", run + "A" + end + run + "A/x" + end +
			pass + "A/x" + end + fail + "A" + end + bad, false, "1 1 p", "fail A"},
		{"a name that only begins alike", run + "A" + end + run + "AB" + end +
			pass + "A" + end + fail + "AB" + end + bad, false, "1 1 p", "fail AB"},
		{"a test that never ended", run + "A" + end + run + "B" + end + pass + "A" + end + bad, false, "1 1 p", "run B"},
		{"a skipped test", run + "A" + end + skip + "A" + end + good, false, "0 0 p", ""},
		{"a skipped test where none may be", run + "A" + end + skip + "A" + end + good, true, "0 1 p", "skip A"},
		{"a package without tests", `{"Action":"skip","Package":"p","Elapsed":0}` + "\n", true, "0 0 p", ""},
		{"a package of whose tests none is chosen", `{"Action":"output","Package":"p","Output":"testing: warning: no tests to run\n"}` + "\n" + good,
			false, "0 1 p", "no tests to run"},
		{"a package that does not build", `{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:1: wrong\n"}` + "\n" +
			`{"ImportPath":"p [p.test]","Action":"build-fail"}` + "\n" +
			`{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p [p.test]"}` + "\n", false, "0 1 p", "x.go:1: wrong"},
		{"a package that dies outside its tests", run + "A" + end + pass + "A" + end +
			`{"Action":"output","Package":"p","Output":"panic: gone\n"}` + "\n" + bad, false, "1 1 p", "panic: gone"},
		{"a stream that breaks off", run + "A" + end + pass + "A" + end, false, "1 1 p", "FAIL"},
		{"nothing at all", "go: no such module\n", false, "0 1 go test", "no such module"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var said, counted strings.Builder
			counter := newCounter(&said, row.strict)
			counter.read(strings.NewReader(row.stream))
			counter.report(&counted)
			if got := strings.TrimSpace(counted.String()); got != row.want {
				t.Errorf("counted %q, want %q", got, row.want)
			}
			if !strings.Contains(said.String(), row.says) {
				t.Errorf("said %q, want it to say %q", said.String(), row.says)
			}
		})
	}
}
