package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
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

	"tollgate/tests/harness"
)

// binary is the program under test.
func binary() string {
	if path := os.Getenv("TOLLGATE"); path != "" {
		return must(filepath.Abs(path))
	}
	return must(filepath.Abs("../../build/tollgate"))
}

// verifier is who reads the audit logs that gateways left: the program under test, or one that starts sooner than that with a
// sanitizer.
func verifier() string { return must(filepath.Abs(or(os.Getenv("TOLLGATE_VERIFIER"), binary()))) }

func TestMain(m *testing.M) {
	if name := os.Getenv("TOLLGATE_INTEROP_CASE"); name != "" {
		runInteropCase(name)
		os.Exit(0)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given { // these tests mostly wait for another process
		_ = flag.Set("test.parallel", "8")
	}
	if _, err := os.Stat(binary()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the program under test is missing, build it or set TOLLGATE:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// A gateway is a running build/tollgate.
type gateway struct {
	t              *testing.T
	setup          setup
	dir            string
	config         string
	address, admin string
	command        *exec.Cmd
	stderr         *lockedBuffer
	exited         chan struct{} // closed once the process has ended
	told           bool          // to end: a second signal would cut the drain short
	log            auditLog
	rotated        []string // audit files before the one of the configuration
	provoked       []string // errors that the test is about: how they begin
}

type lockedBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

// start runs a gateway, waits until it serves, and at the end of the test sees that it drains,
// ends with 0, had no sanitizer report, and left a whole audit chain.
func start(t *testing.T, s setup) *gateway {
	t.Helper()
	for range 5 {
		g := launch(t, s)
		if g.becomesReady() {
			if !s.keepErrors {
				t.Cleanup(g.endsWell)
			}
			return g
		}
		g.kill()
		if !strings.Contains(strings.ToLower(g.stderr.String()), "in use") {
			t.Fatalf("gateway did not start:\n%s\nconfiguration:\n%s", g.stderr,
				must(os.ReadFile(g.config)))
		}
	}
	t.Fatal("gateway did not start: every port was taken")
	return nil
}

func launch(t *testing.T, s setup) *gateway {
	t.Helper()
	g := &gateway{t: t, setup: s, dir: t.TempDir(), address: freeAddress(t), admin: freeAddress(t)}
	g.config = g.setup.write(t, g.dir, g.address, g.admin)
	g.run()
	t.Cleanup(g.kill)
	return g
}

// run starts the process, again after it ended if the test wishes.
func (g *gateway) run() {
	g.t.Helper()
	g.stderr, g.exited, g.told = &lockedBuffer{}, make(chan struct{}), false
	words := append(slices.Clone(g.setup.under), or(g.setup.program, binary()), "run", "--config", g.config)
	words = append(words, g.setup.flags...)
	g.command = exec.Command(words[0], words[1:]...)
	g.command.Env = append(os.Environ(), g.setup.env...)
	g.command.Stdout, g.command.Stderr = g.stderr, g.stderr
	if g.setup.successors {
		file := must(os.OpenFile(filepath.Join(g.dir, "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))
		defer func() { _ = file.Close() }()
		g.command.Stdout, g.command.Stderr = file, file
	}
	g.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.command.Start(); err != nil {
		g.t.Fatal(err)
	}
	command, exited := g.command, g.exited
	go func() {
		_ = command.Wait()
		close(exited)
	}()
}

func (g *gateway) kill() {
	_ = g.command.Process.Kill()
	<-g.exited
}

func (g *gateway) running() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

func (g *gateway) becomesReady() bool {
	for deadline := time.Now().Add(slow(20 * time.Second)); time.Now().Before(deadline) && g.running(); {
		if status, _ := g.adminGet("/readyz"); status == http.StatusOK {
			return true
		}
		pause()
	}
	return false
}

func pause() { time.Sleep(3 * time.Millisecond) }

// adminGet asks the admin listener; status 0 means that there was no answer.
func (g *gateway) adminGet(path string) (int, string) {
	client := http.Client{Timeout: slow(5 * time.Second), Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + g.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

func (g *gateway) signal(signal os.Signal) {
	g.t.Helper()
	g.told = g.told || signal == syscall.SIGTERM || signal == syscall.SIGINT
	if err := g.command.Process.Signal(signal); err != nil {
		g.t.Errorf("signal %v: %v", signal, err)
	}
}

// exitCode waits for the end of the process.
func (g *gateway) exitCode(within time.Duration) int {
	g.t.Helper()
	select {
	case <-g.exited:
	case <-time.After(slow(within)):
		g.t.Errorf("gateway still runs after %v:\n%s%s", within, harness.Threads(g.command.Process.Pid), g.stderr)
		_ = g.command.Process.Signal(syscall.SIGABRT)
		g.kill()
	}
	return g.command.ProcessState.ExitCode()
}

// stop drains the gateway and sees that it went well.
func (g *gateway) stop() {
	g.t.Helper()
	if g.running() && !g.told {
		g.signal(syscall.SIGTERM)
	}
	if code := g.exitCode(15 * time.Second); code != 0 {
		g.t.Errorf("gateway ended with %d (%v):\n%s", code, g.command.ProcessState, tail(g.stderr.String()))
	}
	g.noSanitizerReport()
}

func (g *gateway) endsWell() {
	g.t.Helper()
	g.stop()
	if output, code := command(g.t, verifier(), "audit", "verify", g.auditPath()); code != 0 {
		g.t.Errorf("audit verify: exit %d: %s", code, output)
	}
	if g.t.Failed() {
		g.t.Logf("gateway said:\n%s", tail(g.stderr.String()))
	}
}

func (g *gateway) noSanitizerReport() {
	g.t.Helper()
	for _, mark := range []string{"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:"} {
		if strings.Contains(g.stderr.String(), mark) {
			g.t.Errorf("sanitizer report:\n%s", g.stderr)
			return
		}
	}
}

func tail(text string) string { return text[max(0, len(text)-8000):] }

// tollgate runs a command of the program to its end.
func tollgate(t *testing.T, arguments ...string) (output string, code int) {
	t.Helper()
	return command(t, binary(), arguments...)
}

func command(t *testing.T, program string, arguments ...string) (output string, code int) {
	t.Helper()
	command := exec.Command(program, arguments...)
	combined := &lockedBuffer{}
	command.Stdout, command.Stderr = combined, combined
	timer := time.AfterFunc(slow(30*time.Second), func() { _ = command.Process.Kill() })
	defer timer.Stop()
	err := command.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return combined.String(), command.ProcessState.ExitCode()
}

// memory returns the resident set of the gateway in bytes.
func (g *gateway) memory() int64 { return g.kernelSays("VmRSS:") }

// peakMemory returns the largest resident set that it has had.
func (g *gateway) peakMemory() int64 { return g.kernelSays("VmHWM:") }

func (g *gateway) kernelSays(what string) int64 {
	g.t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", g.command.Process.Pid))))) {
		if rest, ok := strings.CutPrefix(line, what); ok {
			kib := must(strconv.ParseInt(strings.Fields(rest)[0], 10, 64))
			return kib << 10
		}
	}
	g.t.Fatal("no " + what + " in /proc")
	return 0
}

// trusting returns the TLS configuration of a client that shows the certificate, or none.
func (g *gateway) trusting(cert *tls.Certificate, protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(common().root.cert)
	roots.AddCert(common().rsaRoot.cert)
	config := &tls.Config{RootCAs: roots, ServerName: "gateway.test", NextProtos: protocols,
		MinVersion: tls.VersionTLS12}
	if cert != nil {
		// By callback, since crypto/tls keeps back certificates that it thinks will be refused.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil
		}
	}
	return config
}
