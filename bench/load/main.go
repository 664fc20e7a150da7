// Load drives one gateway with one kind of work and prints one JSON object: completed units, errors, latencies, and the
// CPU time the watched processes used over the counted window. It is a closed loop: every connection (or stream, or
// message slot) starts its next unit when its last is answered. The kind `open` alone sends by the clock. SIGTERM ends the
// window early, and what was counted is told.
//
//	load -address 127.0.0.1:8443 -certificate web.pem -key web.key -kind steady -protocol h1 -path /small \
//	     -connections 64 -watch gateway=4711 -watch backend=4712
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type job struct {
	kind, protocol, path, expect   string
	connections, streams, messages int
	size, length, keys, busy       int
	rotation                       chan *http1
	rate                           int
	plain                          bool
	schedule                       *schedule
	nextKey, dialled               atomic.Int64
	dialer                         *dialer
	lock                           sync.Mutex
	live                           []net.Conn
	address, certificate, key      string
	warm, window                   time.Duration
	watched                        map[string][]int
}

func flags() *job {
	j := &job{watched: map[string][]int{}}
	flag.StringVar(&j.address, "address", "127.0.0.1:8443", "the gateway")
	flag.StringVar(&j.certificate, "certificate", "web.pem", "client certificate")
	flag.StringVar(&j.key, "key", "web.key", "its key")
	flag.StringVar(&j.kind, "kind", "steady", "steady, fresh (a connection a request), resumed, bidi, open, idle")
	flag.StringVar(&j.protocol, "protocol", "h1", "h1, h2 or grpc")
	flag.StringVar(&j.path, "path", "/small", "path or gRPC method")
	flag.StringVar(&j.expect, "expect", "200", "the answer's status (gRPC: grpc-status); any other is an error")
	flag.IntVar(&j.length, "length", -1, "the answer's body in bytes; any other is an error")
	flag.IntVar(&j.connections, "connections", 64, "connections")
	flag.IntVar(&j.busy, "busy", 0, "so many connections have a request under way, each in its turn (h1); all without it")
	flag.IntVar(&j.streams, "streams", 1, "streams a connection (h2, grpc)")
	flag.IntVar(&j.messages, "messages", 1, "messages under way in each stream (bidi)")
	flag.IntVar(&j.size, "size", 128, "bytes of a gRPC message")
	flag.IntVar(&j.rate, "rate", 1000, "requests a second (open)")
	flag.BoolVar(&j.plain, "plain", false, "no TLS: straight to the backend (open)")
	flag.IntVar(&j.keys, "keys", 0, "walk through so many values of X-Key (h1); all are seen once before the window opens")
	flag.DurationVar(&j.warm, "warm", time.Second, "before the window opens")
	flag.DurationVar(&j.window, "window", 5*time.Second, "the counted window")
	flag.Func("watch", "NAME=PID[,PID…]: CPU time to report", j.watch)
	flag.Parse()
	return j
}

func (j *job) watch(text string) error {
	name, pids, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("NAME=PID[,PID…] expected")
	}
	for _, text := range strings.Split(pids, ",") {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		j.watched[name] = append(j.watched[name], pid)
	}
	return nil
}

// opened notes what was agreed on, and keeps the connection for the end of the window.
func (j *job) opened(connection *tls.Conn, sum *tally) {
	j.lock.Lock()
	defer j.lock.Unlock()
	if sum.first == nil {
		found, err := facts(connection)
		if err != nil {
			sum.fail(err)
		}
		sum.first = found
	}
	if j.holds() {
		j.live = append(j.live, connection)
	}
}

// holds tells whether a connection of this kind stands for the whole run.
func (j *job) holds() bool { return j.kind == "steady" || j.kind == "bidi" || j.kind == "open" }

func (j *job) worker() func(*job, *tally) {
	switch {
	case j.kind == "fresh" || j.kind == "resumed":
		return fresh
	case j.kind == "open":
		return openLoop
	case j.busy > 0:
		return rotating
	case j.protocol == "h1":
		return keepAlive
	}
	return multiplexed
}

// settle waits until every connection stands and every stream and key had its first answer: handshakes are another case.
func (j *job) settle(sum *tally) error {
	began := time.Now()
	deadline := began.Add(10*time.Second + time.Duration(j.keys)*200*time.Microsecond +
		time.Duration(j.connections)*4*time.Millisecond)
	standing := func() bool {
		j.lock.Lock()
		defer j.lock.Unlock()
		return !j.holds() || len(j.live) >= j.connections
	}
	for !standing() || sum.warmed.Load() < int64(max(j.connections*j.streams, j.keys)) {
		if sum.errors.Load() > 0 {
			return nil // which the report tells
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not all of the work is under way after %v", time.Since(began))
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// run gives the report of one counted window.
func (j *job) run() (map[string]any, error) {
	sum := &tally{}
	enough := make(chan os.Signal, 1)
	signal.Notify(enough, syscall.SIGTERM)
	var group sync.WaitGroup
	work := j.worker()
	if j.kind == "open" {
		j.schedule = newSchedule(j.rate)
		go j.schedule.run(sum)
	}
	workers := j.connections
	if j.busy > 0 {
		j.busy = min(j.busy, j.connections)
		workers, j.rotation = j.busy, make(chan *http1, j.connections)
	}
	for range workers {
		group.Go(func() { work(j, sum) })
	}
	if err := j.settle(sum); err != nil {
		return nil, err
	}
	time.Sleep(j.warm)
	before, err := look(j.watched)
	if err != nil {
		return nil, err
	}
	sum.enter(counting)
	select {
	case <-time.After(j.window):
	case <-enough:
	}
	after, err := look(j.watched)
	sum.enter(stopped)
	if err != nil {
		return nil, err
	}
	j.lock.Lock()
	for _, connection := range j.live {
		_ = connection.SetDeadline(time.Now())
	}
	j.lock.Unlock()
	group.Wait()
	return report(sum, before, after), nil
}

func report(sum *tally, before, after moment) map[string]any {
	units := sum.units.Load()
	seconds := after.at.Sub(before.at).Seconds()
	processes := map[string]any{}
	for name, end := range after.processes {
		start := before.processes[name]
		processes[name] = map[string]any{
			"cpu_us":  float64(end.total-start.total) / 1000,
			"user_us": float64(end.user-start.user) / 1000, "system_us": float64(end.system-start.system) / 1000,
		}
	}
	cores := []map[string]any{}
	for index, end := range after.cores {
		start := before.cores[index]
		cores = append(cores, map[string]any{
			"busy_us": float64(end.busy-start.busy) / 1000, "idle_us": float64(end.idle-start.idle) / 1000,
			"stolen_us": float64(end.stolen-start.stolen) / 1000,
		})
	}
	return map[string]any{
		"units": units, "errors": sum.errors.Load(), "causes": sum.causes, "resumed": sum.resumed.Load(),
		"seconds": seconds, "per_second": float64(units) / seconds, "latency_us": sum.percentiles(),
		"processes": processes, "cores": cores, "tls": sum.first,
	}
}

func main() {
	j := flags()
	runtime.GOMAXPROCS(1)
	if j.kind == "open" {
		runtime.GOMAXPROCS(2) // one of which keeps the time
	}
	debug.SetGCPercent(800)
	protocol := map[string]string{"h1": "http/1.1", "h2": "h2", "grpc": "h2"}[j.protocol]
	var err error
	if j.dialer, err = newDialer(j.address, j.certificate, j.key, protocol); err == nil {
		var result map[string]any
		if j.kind == "idle" {
			result, err = j.idle()
		} else {
			result, err = j.run()
		}
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
