// Run is the bench of issue 5: it starts each peer with one worker pinned to core 0, load and backend on core 1, lets each
// pass the same probe, interleaves them case by case and round by round, and prints what a unit of work costs the gateway
// in CPU time. Only ratios within one run count; the figures of two machines, or two days, do not compare.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type bench struct {
	place           place
	rounds          int
	warm, window    time.Duration
	idleConnections int
	cases           []testCase
	peers           []peer
	results         string
	note            string
	backend         *exec.Cmd
	running         []*running
	cannot          map[string][]string
	unequal         map[string]string
	samples         []sample
	grow, late      bool
	adapt           bool
	quick           bool
	only            []string // series of the growth
}

func main() {
	b := &bench{cannot: map[string][]string{}, unequal: map[string]string{}}
	if err := b.flags(); err == nil {
		err = b.run()
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
	} else {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(1)
}

func (b *bench) flags() error {
	quick := flag.Bool("quick", false, "one short round: under a minute")
	cases := flag.String("cases", "", "comma-separated cases, or series of the growth; all without it")
	peers := flag.String("peers", "", "comma-separated peers; all without it")
	flag.BoolVar(&b.grow, "growth", false, "tollgate, while one thing after the other grows")
	flag.BoolVar(&b.late, "latency", false, "what each peer adds to the latency of a direct call, at fixed rates")
	flag.BoolVar(&b.adapt, "adaptive", false, "tollgate alone, before a backend asked for five times what it can do")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds; the figures are medians over them")
	flag.DurationVar(&b.warm, "warm", time.Second, "before each window")
	flag.DurationVar(&b.window, "window", 3*time.Second, "each counted window")
	flag.StringVar(&b.place.Root, "root", ".", "the repository")
	flag.StringVar(&b.place.Tools, "tools", "build/bench", "where load and backend were built")
	flag.StringVar(&b.place.Tollgate, "tollgate", "build/tollgate", "the binary under test")
	flag.StringVar(&b.results, "results", "bench/results", "where the JSON goes")
	flag.StringVar(&b.note, "note", "", "a line to keep with the results")
	flag.Parse()
	if b.quick = *quick; b.quick {
		b.rounds, b.warm, b.window, b.idleConnections = 1, 200*time.Millisecond, 600*time.Millisecond, 300
	}
	// Neither may a trial take the place of a full run's figures, nor one number of connections that of a series'.
	if b.quick && (b.grow || b.late || b.adapt) {
		b.results, b.idleConnections = filepath.Join(b.place.Tools, "results"), 0
	}
	if b.grow && *cases != "" {
		b.only, *cases = strings.Split(*cases, ","), ""
	}
	for _, one := range allCases {
		if *cases == "" || slices.Contains(strings.Split(*cases, ","), one.name) {
			b.cases = append(b.cases, one)
		}
	}
	for _, one := range allPeers {
		if *peers == "" || slices.Contains(strings.Split(*peers, ","), one.name) {
			b.peers = append(b.peers, one)
		}
	}
	if len(b.cases) == 0 || len(b.peers) == 0 {
		return fmt.Errorf("no such case or peer")
	}
	return b.locate()
}

// Every path absolute: the peers take their working directories where they like.
func (b *bench) locate() error {
	for _, path := range []*string{&b.place.Root, &b.place.Tools, &b.place.Tollgate, &b.results} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	found, _ := filepath.Glob(filepath.Join(b.place.Root, "build/bench/envoy/lib/python*/site-packages/envoy/_bin/envoy"))
	if len(found) > 0 {
		b.place.Envoy = found[0]
	}
	var err error
	b.place.Directory, err = os.MkdirTemp("", "tollgate-bench-")
	return err
}

func (b *bench) run() error {
	defer os.RemoveAll(b.place.Directory)
	defer b.stop()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		b.stop()
		os.RemoveAll(b.place.Directory)
		os.Exit(130)
	}()
	b.place.PKI = filepath.Join(b.place.Directory, "pki")
	if said, err := exec.Command(b.place.Tollgate, "pki", b.place.PKI).CombinedOutput(); err != nil {
		return fmt.Errorf("tollgate pki: %w\n%s", err, said)
	}
	// nginx's worker drops root.
	if err := os.Chmod(b.place.Directory, 0o755); err != nil {
		return err
	}
	backend, stdin, err := startBackend(&b.place)
	if err != nil {
		return err
	}
	defer stdin.Close()
	b.backend = backend
	if b.grow {
		return b.growth()
	}
	if b.adapt {
		return b.adaptive()
	}
	if err := b.startPeers(); err != nil {
		return err
	}
	if b.late {
		return b.latency()
	}
	for round := range b.rounds {
		b.round(round)
	}
	fmt.Fprintln(os.Stderr)
	return b.print()
}

func (b *bench) stop() {
	for _, one := range b.running {
		one.stop()
	}
	b.running = nil
}

func (b *bench) startPeers() error {
	for _, one := range b.peers {
		started, err := one.start(b.place)
		if started != nil {
			b.running = append(b.running, started)
		}
		if err != nil {
			return fmt.Errorf("%w (make bench installs the peers)", err)
		}
		cannot, err := probe(started.address, b.place.PKI)
		if err != nil {
			b.unequal[one.name] = err.Error()
			fmt.Fprintf(os.Stderr, "%s does unequal work and is left out: %v\n", one.name, err)
		}
		b.cannot[one.name] = cannot
	}
	return nil
}

// round lets every peer do a case before the next case comes, each time beginning with another peer.
func (b *bench) round(round int) {
	for index, c := range b.cases {
		for turn := range b.running {
			r := b.running[(turn+round+index)%len(b.running)]
			if b.unequal[r.peer.name] != "" {
				continue
			}
			fmt.Fprintf(os.Stderr, "\rround %d of %d, case %-2s %-10s", round+1, b.rounds, c.name, r.peer.name)
			if c.idle {
				b.samples = append(b.samples, b.measureFresh(c, r.peer, round))
			} else {
				b.samples = append(b.samples, b.measure(c, r, round))
			}
		}
	}
}

// Memory is measured on a gateway that has done nothing else: one that has, holds free memory that would hide the cost.
func (b *bench) measureFresh(c testCase, p peer, round int) sample {
	own, err := p.start(b.place)
	if own != nil {
		defer own.stop()
	}
	if err != nil {
		return sample{Peer: p.name, Case: c.name, Round: round, Failed: err.Error()}
	}
	return b.measure(c, own, round)
}
