package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Sudden death, and what the audit log is like afterwards.

// A victim is a gateway that is killed again and again; its log must stay one chain.
type victim struct {
	t       *testing.T
	g       *harness.Gateway
	random  *rand.Rand
	path    string
	rotated []string
	torn    int // lines that a death tore, or the test in its stead
}

func newVictim(t *testing.T, seed uint64, audit string) *victim {
	t.Helper()
	t.Logf("seed %d", seed)
	g := harness.Start(t, harness.Setup{Top: []string{"audit: {path: audit.jsonl, " + audit + "}"}, Routes: respond})
	return &victim{t: t, g: g, random: rand.New(rand.NewPCG(seed, 0)), path: g.Path("audit.jsonl")}
}

func (v *victim) within(most time.Duration) time.Duration {
	return time.Duration(v.random.Int64N(int64(most)))
}

// provoke has refusals recorded, with lines as long as they come, until the returned function is called.
func (v *victim) provoke() (stop func()) {
	var all sync.WaitGroup
	ended := make(chan struct{})
	for n := range 4 {
		client := v.g.Client(v.t, []string{"h1", "h2"}[n%2])
		all.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					_ = harness.Get(client, fmt.Sprint("/", n, "%2F", strings.Repeat("x", 3000)))
				}
			}
		})
	}
	return func() {
		close(ended)
		all.Wait()
	}
}

// tear cuts bytes off the last line, as a death in the middle of a write does. Most true deaths fall between two writes.
func (v *victim) tear(path string) {
	v.t.Helper()
	text := harness.Must(os.ReadFile(path))
	last := len(text) - 1 - strings.LastIndexByte(strings.TrimSuffix(string(text), "\n"), '\n')
	if last < 2 || !strings.HasSuffix(string(text), "\n") {
		return
	}
	if err := os.Truncate(path, int64(len(text)-1-v.random.IntN(last-1))); err != nil {
		v.t.Fatal(err)
	}
}

func (v *victim) files() (files []string) {
	files = v.rotated
	if info, err := os.Stat(v.path); err == nil && info.Size() > 0 {
		files = append(files[:len(files):len(files)], v.path)
	}
	return files
}

// inspect verifies what a death left: a whole chain, or one whose very last line is torn.
func (v *victim) inspect() {
	v.t.Helper()
	files := v.files()
	if len(files) == 0 {
		return
	}
	output, code := harness.Tollgate(v.t, append([]string{"audit", "verify"}, files...)...)
	if code == 0 {
		return
	}
	last := files[len(files)-1]
	lines := strings.Count(string(harness.Must(os.ReadFile(last))), "\n")
	if want := fmt.Sprintf("%s:%d: torn: the last line has no newline", last, lines+1); code != 3 || !strings.HasPrefix(output, want) {
		v.t.Fatalf("exit %d: %s, want %s", code, output, want)
	}
	v.torn++
}

// healed verifies that a restart mended the chain, and that it goes on.
func (v *victim) healed(before int64) {
	v.t.Helper()
	_ = harness.Get(v.g.Client(v.t, "h1"), "/after%2Fdeath")
	harness.WaitFor(v.t, "the chain to go on", 2*time.Second, func() bool { return v.last() > before })
	verified(v.t, v.files()...)
}

// last is the highest number in the files.
func (v *victim) last() (seq int64) {
	v.t.Helper()
	for _, path := range v.files() {
		for _, record := range harness.Read[harness.Record](v.t, path) {
			seq = max(seq, record.Seq)
		}
	}
	return seq
}

// rotate does what logrotate does, as far as the death lets it.
func (v *victim) rotate() {
	name := fmt.Sprintf("%s.%d", v.path, len(v.rotated)+1)
	if os.Rename(v.path, name) == nil {
		v.rotated = append(v.rotated, name)
		v.g.Signal(syscall.SIGHUP)
	}
}

func seed() uint64 { return uint64(time.Now().UnixNano()) }

// die has one round: load, a fault in the midst of it, death, an inspection, and a restart.
func (v *victim) die(tear bool, fault func()) {
	v.t.Helper()
	stop := v.provoke()
	time.Sleep(v.within(60 * time.Millisecond)) // the moment is the test's subject
	fault()
	v.g.Kill()
	stop()
	if files := v.files(); tear && len(files) > 0 {
		v.tear(files[len(files)-1])
	}
	v.inspect()
	before := v.last()
	v.g.Restart()
	v.healed(before)
}

func TestDeathOfTheWriterTearsAtMostTheLastLine(t *testing.T) {
	t.Parallel()
	v := newVictim(t, seed(), "fold_after: 1000000")
	for round := range 24 {
		v.die(round%3 == 0, func() {})
	}
	if v.torn == 0 {
		t.Error("no line was torn, so none was mended")
	}
	mended := 0
	for _, record := range harness.Read[harness.Record](t, v.path) {
		if record.Event == "torn_line_mended" {
			mended++
		}
	}
	if mended != v.torn {
		t.Errorf("%d lines were torn, %d mended", v.torn, mended)
	}
}

func TestDeathInTheMiddleOfARotationKeepsTheChain(t *testing.T) {
	t.Parallel()
	v := newVictim(t, seed(), "fold_after: 1000000")
	for round := range 16 {
		v.die(round%2 == 0, func() {
			v.rotate()
			time.Sleep(v.within(6 * time.Millisecond))
		})
	}
	if found := harness.Must(filepath.Glob(v.path + ".*")); len(found) < 8 {
		t.Errorf("only %d rotations", len(found))
	}
}

func TestDeathInTheMiddleOfFoldingKeepsTheChain(t *testing.T) {
	t.Parallel()
	v := newVictim(t, seed(), "fold_after: 3")
	folds := func() (count int) {
		for _, record := range harness.Read[harness.Record](t, v.path) {
			if record.Count > 1 {
				count++
			}
		}
		return count
	}
	for round := range 6 {
		before := folds()
		v.die(false, func() { // while callers are counted, or just when the counts are written
			if round%2 == 0 {
				time.Sleep(v.within(time.Second))
				return
			}
			harness.WaitFor(t, "folded records", 5*time.Second, func() bool { return folds() > before })
		})
	}
}
