package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Binary is the program under test.
func Binary() string {
	if path := os.Getenv("TOLLGATE"); path != "" {
		return Must(filepath.Abs(path))
	}
	return Must(filepath.Abs("../../build/tollgate"))
}

// Instrumented tells whether the program carries a sanitizer, whose shadow no memory bound speaks of.
var Instrumented = sync.OnceValue(func() bool {
	return bytes.Contains(Must(os.ReadFile(Binary())), []byte("__asan_init"))
})

// A Gateway is a running program.
type Gateway struct {
	Address, Admin string
	Dir            string
	t              *testing.T
	command        *exec.Cmd
	output         *output
	exited         chan struct{}
}

type output struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (o *output) Write(data []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.Buffer.Write(data)
}

func (o *output) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.Buffer.String()
}

// Start runs a gateway, waits until it serves, and at the end of the test sees that it drains, ends with 0 and had no
// sanitizer report.
func Start(t *testing.T, s Setup) *Gateway {
	t.Helper()
	g := &Gateway{t: t, Dir: t.TempDir(), Address: freeAddress(t), Admin: freeAddress(t),
		output: &output{}, exited: make(chan struct{})}
	words := append(slices.Clone(s.Under), Binary(), "run", "--config", s.write(t, g.Dir, g.Address, g.Admin))
	g.command = exec.Command(words[0], words[1:]...)
	g.command.Stdout, g.command.Stderr = g.output, g.output
	g.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = g.command.Wait()
		close(g.exited)
	}()
	t.Cleanup(g.stop)
	WaitFor(t, "the gateway to be ready", 20*time.Second, func() bool {
		if !g.Running() {
			t.Fatalf("the gateway did not start:\n%s", g.output)
		}
		return g.adminStatus("/readyz") == http.StatusOK
	})
	return g
}

// Running tells whether the process is there.
func (g *Gateway) Running() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

func (g *Gateway) adminStatus(path string) int {
	client := http.Client{Timeout: Slow(5 * time.Second), Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + g.Admin + path)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func (g *Gateway) stop() {
	g.t.Helper()
	_ = g.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(Slow(15 * time.Second)):
		g.t.Error("the gateway does not drain")
		_ = g.command.Process.Signal(syscall.SIGABRT)
		<-g.exited
	}
	said := g.output.String()
	failed := g.command.ProcessState.ExitCode() != 0
	for _, mark := range []string{"Sanitizer", "runtime error:", "CHECK"} {
		failed = failed || strings.Contains(said, mark)
	}
	if failed {
		g.t.Errorf("the gateway ended with %v:\n%s", g.command.ProcessState, said[max(0, len(said)-8000):])
	}
}

func (g *Gateway) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", g.command.Process.Pid, name)
}

// Memory returns the resident set in bytes.
func (g *Gateway) Memory() int64 {
	g.t.Helper()
	fields := strings.Fields(string(Must(os.ReadFile(g.proc("statm")))))
	return Must(strconv.ParseInt(fields[1], 10, 64)) * int64(os.Getpagesize())
}

// CPU returns the time the process has worked so far.
func (g *Gateway) CPU() time.Duration {
	g.t.Helper()
	stat := string(Must(os.ReadFile(g.proc("stat"))))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	user, system := Must(strconv.Atoi(fields[11])), Must(strconv.Atoi(fields[12]))
	return time.Duration(user+system) * (time.Second / 100)
}

// Descriptors returns how many file descriptors the process has open.
func (g *Gateway) Descriptors() int {
	g.t.Helper()
	return len(Must(os.ReadDir(g.proc("fd"))))
}

// Audit returns how many refusals for the reason were recorded, folded ones by their count.
func (g *Gateway) Audit(reason string) (count int) {
	g.t.Helper()
	for line := range bytes.Lines(Must(os.ReadFile(filepath.Join(g.Dir, "audit.jsonl")))) {
		var record struct {
			Reason string
			Count  int
		}
		if json.Unmarshal(line, &record) == nil && record.Reason == reason {
			count += max(1, record.Count)
		}
	}
	return count
}
