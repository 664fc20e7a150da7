// Tally reads the output of `go test -json`, prints a line for every package and the whole output of
// every test that failed, and appends what it counted to a file for tests/run:
//
//	go test -json ./... | tally FILE
//
// Leaves are counted: a test without subtests, and every subtest without some of its own. A parent
// counts only when it failed and none of its children did. A package that does not build, or dies,
// counts as one failure, and so does each test that began and never ended, and a package of whose
// tests none is run.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | tally FILE")
		os.Exit(2)
	}
	counter := newCounter(os.Stdout, os.Getenv("CI") == "true")
	counter.read(os.Stdin)
	file, err := os.OpenFile(os.Args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		counter.report(file)
		err = file.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
