package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	words          []string
	command        *exec.Cmd
	output         *output
	exited         chan struct{}
	judged         bool // its end was the test's business
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
	g := &Gateway{t: t, Dir: s.dir(t), Address: FreeAddress(t), Admin: FreeAddress(t)}
	g.words = append(slices.Clone(s.Under), Binary(), "run", "--config", s.write(t, g.Dir, g.Address, g.Admin))
	t.Cleanup(g.stop)
	g.run()
	g.waitReady()
	return g
}

// run starts the process.
func (g *Gateway) run() {
	g.t.Helper()
	command, exited := exec.Command(g.words[0], g.words[1:]...), make(chan struct{})
	g.command, g.exited, g.judged, g.output = command, exited, false, &output{}
	command.Stdout, command.Stderr = g.output, g.output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		_ = command.Wait()
		close(exited)
	}()
}

func (g *Gateway) waitReady() {
	g.t.Helper()
	WaitFor(g.t, "the gateway to be ready", time.Minute, func() bool {
		if !g.Running() {
			g.t.Fatalf("the gateway did not start:\n%s", g.output)
		}
		return g.adminStatus("/readyz") == http.StatusOK
	})
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
	status, _ := g.Ask("GET", path)
	return status
}

func (g *Gateway) stop() {
	g.t.Helper()
	if g.command == nil || g.command.Process == nil || g.judged {
		return
	}
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
