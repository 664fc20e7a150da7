package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stall is how long the turns of the loop took while something disturbed the gateway.
type stall struct {
	What   string  `json:"what"`
	Turns  float64 `json:"turns"`
	Over   float64 `json:"turns_over_10_ms"`
	Bound  string  `json:"longest_turn_at_most_s"` // the upper edge of its bucket
	Failed string  `json:"failed,omitempty"`
}

// histogram holds cumulative counts by their upper edge, in the order of the edges.
type histogram struct {
	edges  []string
	counts map[string]float64
}

func readHistogram(text, name string) histogram {
	found := histogram{counts: map[string]float64{}}
	for line := range strings.Lines(text) {
		rest, is := strings.CutPrefix(strings.TrimSpace(line), name+`_bucket{le="`)
		if !is {
			continue
		}
		edge, value, _ := strings.Cut(rest, `"} `)
		count, err := strconv.ParseFloat(value, 64)
		if err == nil {
			found.edges = append(found.edges, edge)
			found.counts[edge] = count
		}
	}
	return found
}

// since tells what came between two looks: how many, how many past the limit, and the edge that all stay below.
func (h histogram) since(before histogram, limit string) (turns, over float64, bound string) {
	for _, edge := range h.edges {
		now := h.counts[edge] - before.counts[edge]
		if now > turns {
			turns, bound = now, edge
		}
	}
	return turns, turns - (h.counts[limit] - before.counts[limit]), bound
}

type stallRun struct {
	own    *running
	admin  string
	client *http.Client
	where  place
}

const (
	stallWindow = 2 * time.Second
	pollPause   = 50 * time.Millisecond
)

const turnMetric = "tollgate_loop_turn_duration_seconds"

func (s *stallRun) fetch(method, path string) (string, error) {
	request, _ := http.NewRequest(method, s.admin+path, nil)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode >= 300 {
		err = errors.Join(err, fmt.Errorf("%s %s: %s", method, path, answer.Status))
	}
	return string(text), err
}

func (s *stallRun) during(what string, disturb func() error) stall {
	before, err := s.fetch("GET", "/metrics")
	began := time.Now()
	if err == nil {
		err = disturb()
	}
	time.Sleep(stallWindow - time.Since(began)) // what a disturbance does, it may do a moment later
	after, afterErr := s.fetch("GET", "/metrics")
	result := stall{What: what}
	if err = errors.Join(err, afterErr); err != nil {
		result.Failed = err.Error()
	}
	result.Turns, result.Over, result.Bound = readHistogram(after, turnMetric).since(readHistogram(before, turnMetric), "0.01")
	return result
}

// settled waits until all of the load's connections stand: their handshakes come all at once, and are no disturbance.
func (s *stallRun) settled(connections string) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		text, err := s.fetch("GET", "/metrics")
		if err != nil {
			return err
		}
		if strings.Contains(text, `tollgate_tls_handshakes_total{listener="bench",result="ok"} `+connections+"\n") {
			return nil
		}
		time.Sleep(pollPause)
	}
	return fmt.Errorf("the load does not have its %s connections", connections)
}

func (s *stallRun) reload() error {
	for range 10 {
		if _, err := s.fetch("POST", "/reload"); err != nil {
			return err
		}
		if err := s.hangUp(); err != nil {
			return err
		}
	}
	return nil
}

// hangUp signals, and waits until the reload it asks for is done: of two signals at once the second would be lost.
func (s *stallRun) hangUp() error {
	before, err := s.reloaded()
	if err != nil {
		return err
	}
	if err := s.own.process.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		now, err := s.reloaded()
		if err != nil || now > before {
			return err
		}
		time.Sleep(pollPause / 10)
	}
	return fmt.Errorf("a signal to reload came to nothing")
}

func (s *stallRun) reloaded() (count float64, err error) {
	text, err := s.fetch("GET", "/metrics")
	for line := range strings.Lines(text) {
		if good, is := strings.CutPrefix(line, `tollgate_config_reloads_total{result="success"} `); is {
			count, err = strconv.ParseFloat(strings.TrimSpace(good), 64)
		}
	}
	return count, err
}

func (s *stallRun) scrape() error {
	for range 50 {
		if _, err := s.fetch("GET", "/metrics"); err != nil {
			return err
		}
	}
	return nil
}

func (s *stallRun) refusals() error {
	for number := range 5000 {
		answer, err := s.client.Get(fmt.Sprintf("https://%s/forbidden?%d", s.own.address, number))
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			return fmt.Errorf("not refused: %s", answer.Status)
		}
	}
	return nil
}

func (s *stallRun) served() (*x509.Certificate, error) {
	connection, err := tls.Dial("tcp", s.own.address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0], nil
}

// renew puts another pair in the place of the one served, and waits until it is.
func (s *stallRun) renew() error {
	other := s.where.PKI + ".next"
	if said, err := exec.Command(s.where.Tollgate, "pki", other).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	before, err := s.served()
	if err != nil {
		return err
	}
	for _, name := range []string{"gateway.key", "gateway.pem"} {
		if err := os.Rename(filepath.Join(other, name), filepath.Join(s.where.PKI, name)); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		now, err := s.served()
		if err != nil {
			return err
		}
		if !now.Equal(before) {
			return nil
		}
		time.Sleep(pollPause) // each look is a handshake, and would be a disturbance of its own
	}
	return fmt.Errorf("the new certificate is not served")
}

// stalls disturbs a gateway that serves 2000 requests a second by the clock, each way in turn.
func (b *bench) stalls() ([]stall, error) {
	s := &stallRun{where: b.place}
	s.where.Workers, s.where.PKI = 1, filepath.Join(b.place.Directory, "stall-pki")
	if said, err := exec.Command(b.place.Tollgate, "pki", s.where.PKI).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.where.AdminPort, s.admin = port, fmt.Sprintf("http://127.0.0.1:%d", port)
	if s.own, err = growthPeer.start(s.where); s.own != nil {
		defer s.own.stop()
	}
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.where.PKI, "web.pem"), filepath.Join(s.where.PKI, "web.key"))
	if err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}}}
	traffic := pinned(1, append([]string{filepath.Join(b.place.Tools, "load"), "-address", s.own.address,
		"-certificate", filepath.Join(s.where.PKI, "web.pem"), "-key", filepath.Join(s.where.PKI, "web.key"),
		"-warm", "1s", "-window", "5m"}, load("open", "h1", "/small", 64, "-length", "128", "-rate", "2000")...)...)
	var said bytes.Buffer
	traffic.Stdout = &said
	if err := traffic.Start(); err != nil {
		return nil, err
	}
	defer func() { _ = traffic.Process.Kill(); _ = traffic.Wait() }()
	if err := s.settled("64"); err != nil {
		return nil, err
	}
	found := []stall{
		s.during("nothing", func() error { return nil }),
		s.during("10 reloads asked for, and 10 signals", s.reload), s.during("50 scrapes", s.scrape),
		s.during("5000 refusals", s.refusals), s.during("another certificate", s.renew),
	}
	all := stall{What: "all of it, and every request was answered"}
	for _, one := range found {
		all.Turns, all.Over = all.Turns+one.Turns, all.Over+one.Over
	}
	if err := answered(traffic, &said); err != nil {
		all.Failed = err.Error()
	}
	return append(found, all), nil
}

// answered ends the load, and tells of its requests that failed.
func answered(traffic *exec.Cmd, said *bytes.Buffer) error {
	if err := traffic.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := traffic.Wait(); err != nil {
		return fmt.Errorf("the load: %w", err)
	}
	var told struct {
		Units, Errors int
		Causes        map[string]int
	}
	if err := json.Unmarshal(said.Bytes(), &told); err != nil {
		return err
	}
	if told.Errors > 0 || told.Units == 0 {
		return fmt.Errorf("%d requests were answered, %d failed: %v", told.Units, told.Errors, told.Causes)
	}
	return nil
}

func printStalls(all []stall) {
	fmt.Printf("\nTurns of the loop at 2000 requests a second, none of which should take more than 10 ms\n\n" +
		"| meanwhile | turns | over 10 ms | the longest below (s) | |\n|---|---|---|---|---|\n")
	for _, s := range all {
		verdict := "met"
		if s.Over > 0 || s.Turns == 0 || s.Failed != "" {
			verdict = strings.TrimSpace("missed " + s.Failed)
		}
		fmt.Printf("| %s | %.0f | %.0f | %s | %s |\n", s.What, s.Turns, s.Over, s.Bound, verdict)
	}
}
