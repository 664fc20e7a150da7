package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sample is one window of one case on one peer, as load reports it, and what the runner makes of it.
type sample struct {
	Peer  string `json:"peer"`
	Case  string `json:"case"`
	Round int    `json:"round"`

	Figure    float64  `json:"figure"`
	Failed    string   `json:"failed,omitempty"`
	Share     float64  `json:"gateway_share_of_core"`
	Waited    bool     `json:"core_not_saturated"`
	Disturbed []string `json:"disturbed,omitempty"`

	Units     int64              `json:"units"`
	Errors    int64              `json:"errors"`
	Causes    map[string]int     `json:"causes,omitempty"`
	Resumed   int64              `json:"resumed"`
	Seconds   float64            `json:"seconds"`
	PerSecond float64            `json:"per_second"`
	Latency   map[string]float64 `json:"latency_us"`
	Idle      float64            `json:"kib_per_connection,omitempty"`
	TLS       map[string]string  `json:"tls"`
	Processes map[string]struct {
		CPU    float64 `json:"cpu_us"`
		User   float64 `json:"user_us"`
		System float64 `json:"system_us"`
	} `json:"processes"`
	Cores []struct {
		Busy   float64 `json:"busy_us"`
		Idle   float64 `json:"idle_us"`
		Stolen float64 `json:"stolen_us"`
	} `json:"cores"`
}

const (
	// With more of core 0 idle the gateway had to wait for the load, and gathers less per turn than it could.
	idleShare = 0.07
	// Above these shares somebody else used the core.
	disturbedShare = 0.05
	stolenShare    = 0.02
)

func (b *bench) measure(c testCase, r *running, round int) sample {
	s := sample{Peer: r.peer.name, Case: c.name, Round: round}
	arguments := append([]string{filepath.Join(b.place.Tools, "load"), "-address", r.address,
		"-certificate", filepath.Join(b.place.PKI, "web.pem"), "-key", filepath.Join(b.place.PKI, "web.key"),
		"-watch", "gateway=" + r.pidList(), "-watch", fmt.Sprintf("backend=%d", b.backend.Process.Pid),
		"-warm", b.warm.String(), "-window", b.window.String()}, c.arguments...)
	if c.idle && b.idleConnections > 0 {
		arguments = append(arguments, "-connections", fmt.Sprint(b.idleConnections))
	}
	process := pinned(1, arguments...)
	output, err := process.Output()
	if err == nil {
		err = json.Unmarshal(output, &s)
	}
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%s", strings.TrimSpace(string(exit.Stderr)))
		}
		s.Failed = err.Error()
		return s
	}
	s.judge(c, time.Duration(process.ProcessState.UserTime()+process.ProcessState.SystemTime()))
	return s
}

// judge makes the figure, or says why there is none.
func (s *sample) judge(c testCase, ownTime time.Duration) {
	if c.idle {
		s.Figure = s.Idle
		return
	}
	// A bucket of the peers that refills may let one call in a window pass.
	if s.Units == 0 || float64(s.Errors) > 1+float64(s.Units)/10000 {
		s.Failed = fmt.Sprintf("%d errors beside %d units: %v", s.Errors, s.Units, s.Causes)
		return
	}
	gateway := s.Processes["gateway"].CPU
	s.Figure = gateway / float64(s.Units)
	wall := s.Seconds * 1e6
	s.Share = gateway / wall
	if len(s.Cores) < 2 {
		s.Disturbed = append(s.Disturbed, "one core only: load and gateway share it")
		return
	}
	s.Waited = s.Cores[0].Idle > idleShare*wall
	// The kernel's tick of 10 ms is the accuracy of what it says of cores.
	slack := 20000.0
	if others := s.Cores[0].Busy - gateway; others > disturbedShare*wall+slack {
		s.Disturbed = append(s.Disturbed, fmt.Sprintf("others used %.0f%% of core 0", 100*others/wall))
	}
	own := s.Processes["backend"].CPU + ownTime.Seconds()*1e6
	if others := s.Cores[1].Busy - own; others > disturbedShare*wall+slack {
		s.Disturbed = append(s.Disturbed, fmt.Sprintf("others used %.0f%% of core 1", 100*others/wall))
	}
	if stolen := s.Cores[0].Stolen + s.Cores[1].Stolen; stolen > stolenShare*wall+slack {
		s.Disturbed = append(s.Disturbed, fmt.Sprintf("the host took %.0f%%", 100*stolen/wall))
	}
}
