package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gonum.org/v1/plot/plotter"
)

// The backend of the overload run: so many requests at a time, each for so long, the others wait in its queue; it works to
// the end on what nobody waits for any more, as most backends do. Times are long against the noise of a shared machine.
const (
	overloadDesks    = 20
	overloadService  = 200 * time.Millisecond
	overloadDeadline = 2 * time.Second // then a client gives up
	overloadBin      = 500 * time.Millisecond
)

// An overloadPhase asks `load` times as much as the backend can do.
type overloadPhase struct {
	load  float64
	lasts time.Duration
}

var overloadPhases = []overloadPhase{{0.5, 5 * time.Second}, {5, 25 * time.Second}, {0.5, 5 * time.Second}}

func overloadCapacity() float64 { return overloadDesks / overloadService.Seconds() }

// An overloadResult tells of answers in time, by when they were asked for, as a share of what the backend can do.
type overloadResult struct {
	Adaptive bool      `json:"concurrency"`
	Seconds  []float64 `json:"seconds"`
	Goodput  []float64 `json:"goodput"`
	Share    float64   `json:"goodput_under_overload"`
	Settled  float64   `json:"goodput_after_3s"`
	Unloaded latencies `json:"unloaded_ms"`
	Admitted latencies `json:"admitted_ms"`
	After3s  latencies `json:"admitted_after_3s_ms"`
	Offered  int       `json:"offered"`
	Shed     int       `json:"shed"`
	GivenUp  int       `json:"given_up"`
	After    float64   `json:"goodput_afterwards"` // of what was asked for
}

type latencies struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

type overloadCall struct {
	asked, took time.Duration
	status      int // 0: given up
}

func latenciesOf(calls []overloadCall, from, to time.Duration) latencies {
	var took []float64
	for _, call := range calls {
		if call.status == http.StatusOK && call.asked >= from && call.asked < to {
			took = append(took, float64(call.took.Microseconds())/1000)
		}
	}
	if len(took) == 0 {
		return latencies{}
	}
	slices.Sort(took)
	return latencies{took[len(took)/2], took[len(took)*99/100]}
}

func answeredShare(calls []overloadCall, from, to time.Duration, perSecond float64) float64 {
	count := 0
	for _, call := range calls {
		if call.status == http.StatusOK && call.asked >= from && call.asked < to {
			count++
		}
	}
	return float64(count) / (to - from).Seconds() / perSecond
}

func overloadedBackend() (string, func(), error) {
	desks := make(chan struct{}, overloadDesks)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		desks <- struct{}{}
		time.Sleep(overloadService)
		<-desks
		_, _ = io.WriteString(w, "served\n")
	})}
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), func() { _ = server.Close() }, nil
}

func (b *bench) overloadClient(address string) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(b.place.PKI, "web.pem"), filepath.Join(b.place.PKI, "web.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(b.place.PKI, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols,
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "localhost"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}}, nil
}

func overloadAsk(client *http.Client, began time.Time) overloadCall {
	ctx, cancel := context.WithTimeout(context.Background(), overloadDeadline)
	defer cancel()
	asked := time.Now()
	call := overloadCall{asked: asked.Sub(began)}
	request, _ := http.NewRequestWithContext(ctx, "GET", "https://localhost/", nil)
	answer, err := client.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	if err == nil {
		call.status = answer.StatusCode
	}
	call.took = time.Since(asked)
	return call
}

// overloadCalls asks by the clock, whatever becomes of those before.
func overloadCalls(client *http.Client, phases []overloadPhase) []overloadCall {
	var lock sync.Mutex
	var group sync.WaitGroup
	var calls []overloadCall
	began := time.Now()
	due := time.Duration(0)
	end := time.Duration(0)
	for _, phase := range phases {
		end += phase.lasts
		every := time.Duration(float64(time.Second) / (phase.load * overloadCapacity()))
		for ; due < end; due += every {
			time.Sleep(time.Until(began.Add(due)))
			group.Go(func() {
				call := overloadAsk(client, began)
				lock.Lock()
				defer lock.Unlock()
				calls = append(calls, call)
			})
		}
	}
	group.Wait()
	return calls
}

func overloadSummary(calls []overloadCall, phases []overloadPhase, adaptive bool) overloadResult {
	const settles = 3 * time.Second
	from := phases[0].lasts
	to := from + phases[1].lasts
	total := to + phases[2].lasts
	result := overloadResult{Adaptive: adaptive, Offered: len(calls),
		Share:    answeredShare(calls, from, to, overloadCapacity()),
		Settled:  answeredShare(calls, from+settles, to, overloadCapacity()),
		After:    answeredShare(calls, to, total, phases[2].load*overloadCapacity()),
		Unloaded: latenciesOf(calls, time.Second, from),
		Admitted: latenciesOf(calls, from, to),
		After3s:  latenciesOf(calls, from+settles, to)}
	for at := time.Duration(0); at < total; at += overloadBin {
		result.Seconds = append(result.Seconds, (at + overloadBin/2).Seconds())
		result.Goodput = append(result.Goodput, answeredShare(calls, at, at+overloadBin, overloadCapacity()))
	}
	for _, call := range calls {
		switch call.status {
		case http.StatusServiceUnavailable:
			result.Shed++
		case 0:
			result.GivenUp++
		}
	}
	return result
}

func (b *bench) overloaded(adaptive bool, phases []overloadPhase) (overloadResult, error) {
	where := b.place
	address, stop, err := overloadedBackend()
	if err != nil {
		return overloadResult{}, err
	}
	defer stop()
	where.HTTP1, where.Workers, where.Adaptive = address, 1, adaptive
	gateway, err := peer{name: "adaptive", template: "adaptive.yaml", command: allPeers[len(allPeers)-1].command}.start(where)
	if gateway != nil {
		defer gateway.stop()
	}
	if err != nil {
		return overloadResult{}, err
	}
	client, err := b.overloadClient(gateway.address)
	if err != nil {
		return overloadResult{}, err
	}
	defer client.CloseIdleConnections()
	return overloadSummary(overloadCalls(client, phases), phases, adaptive), nil
}

// adaptive asks five times as much as a backend can do through a gateway, with and without `concurrency`.
func (b *bench) adaptive() error {
	phases := slices.Clone(overloadPhases)
	if b.quick {
		for index := range phases {
			phases[index].lasts /= 4
		}
	}
	var results []overloadResult
	for _, adaptive := range []bool{false, true} {
		fmt.Fprintf(os.Stderr, "concurrency %v\n", adaptive)
		result, err := b.overloaded(adaptive, phases)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	printOverload(results)
	return b.keepOverload(results)
}

func printOverload(results []overloadResult) {
	fmt.Printf("A backend that does %d at a time in %v each, asked for five times as much; clients give up after %v\n\n",
		overloadDesks, overloadService, overloadDeadline)
	fmt.Println("| `concurrency` | goodput | after 3 s | unloaded p50, p99 | admitted p50, p99 | after 3 s | goodput afterwards |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, r := range results {
		word := "none"
		if r.Adaptive {
			word = "`{}`"
		}
		fmt.Printf("| %s | %.1f %% | %.1f %% | %.0f, %.0f ms | %.0f, %.0f ms | %.0f, %.0f ms | %.1f %% |\n", word, 100*r.Share,
			100*r.Settled, r.Unloaded.P50, r.Unloaded.P99, r.Admitted.P50, r.Admitted.P99, r.After3s.P50, r.After3s.P99,
			100*r.After)
	}
}

func (b *bench) keepOverload(results []overloadResult) error {
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"machine": b.machine(), "desks": overloadDesks,
		"service_ms": overloadService.Milliseconds(), "deadline_ms": overloadDeadline.Milliseconds(), "runs": results}, "", "\t")
	if err != nil {
		return err
	}
	file := filepath.Join(b.results, "adaptive.json")
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nsaved in %s, a plot beside it\n", file)
	curves := []curve{{name: "without"}, {name: "concurrency: {}"}}
	for _, r := range results {
		one := &curves[0]
		if r.Adaptive {
			one = &curves[1]
		}
		for index, at := range r.Seconds {
			one.points = append(one.points, plotter.XY{X: at, Y: 100 * r.Goodput[index]})
		}
	}
	return draw(filepath.Join(b.results, "adaptive.svg"), "Five times too much, from second 5 to 30", "seconds",
		"answers in time, % of capacity", nil, curves)
}
