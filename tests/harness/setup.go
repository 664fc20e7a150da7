package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A Setup is what a test wants of its gateway.
type Setup struct {
	Listener []string // more lines of the listener: "timeouts: {…}"
	Routes   []string // flow mappings, see Route; a catch-all to the first backend when empty
	Backends []string // flow mappings, see HTTP1 and H2
	Under    []string // a command that runs the program: "prlimit", "--nofile=64"
	Top      []string // more lines at the top; one with a key that has a default replaces that: "workers: 1"
	Dir      string   // where its files are; a directory of the test's own when empty
}

func (s *Setup) dir(t *testing.T) string {
	t.Helper()
	if s.Dir != "" {
		return s.Dir
	}
	return t.TempDir()
}

// top returns the lines that need no listener.
func (s *Setup) top(admin string) []string {
	lines := []string{"version: tollgate/v1", "workers: 2", "drain_timeout: 3s",
		fmt.Sprintf("admin: {address: %q}", admin), "audit: {path: audit.jsonl}"}
	for _, line := range s.Top {
		key, _, _ := strings.Cut(line, ":")
		lines = slices.DeleteFunc(lines, func(have string) bool { return strings.HasPrefix(have, key+":") })
	}
	return append(lines, s.Top...)
}

// HTTP1 is a backend that speaks HTTP/1.1.
func HTTP1(name, address string) string {
	return fmt.Sprintf("{name: %s, protocol: http1, endpoints: [%q]}", name, address)
}

// H2 is a backend that speaks HTTP/2 with prior knowledge.
func H2(name, address string) string {
	return fmt.Sprintf("{name: %s, protocol: h2, endpoints: [%q]}", name, address)
}

// Route is a route: match and the rest as in the configuration.
func Route(match, rest string) string { return fmt.Sprintf("{match: {%s}, %s}", match, rest) }

func (s *Setup) write(t *testing.T, dir, address, admin string) string {
	t.Helper()
	lines := append(s.top(admin), "listeners:",
		"  - name: edge", fmt.Sprintf("    address: %q", address), "    tls:",
		"      certificates: [{certificate_chain: gateway.pem, private_key: gateway.key}]",
		`      validation_context: {trusted_ca: ca.pem, match_subject_alt_names: ["spiffe://cluster.local/*"]}`)
	for _, line := range s.Listener {
		lines = append(lines, "    "+line)
	}
	lines = append(lines, "    routes:")
	for _, route := range s.Routes {
		lines = append(lines, "      - "+route)
	}
	if len(s.Backends) > 0 {
		lines = append(lines, "backends:")
	}
	for _, backend := range s.Backends {
		lines = append(lines, "  - "+backend)
	}
	p := authority()
	for name, content := range map[string][]byte{
		"ca.pem":        pemOf("CERTIFICATE", p.root.Raw),
		"gateway.pem":   pemOf("CERTIFICATE", p.gateway.Certificate[0]),
		"gateway.key":   pemKey(p.gateway.PrivateKey),
		"tollgate.yaml": []byte(strings.Join(lines, "\n") + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "tollgate.yaml")
}

var lastPort atomic.Int64

// FreeAddress reserves a port below the ephemeral range for as long as the test runs. The gateway binds with
// SO_REUSEPORT, so two gateways on one port would share the clients: a name in the abstract socket space keeps every
// other test process away from it.
func FreeAddress(t *testing.T) string {
	t.Helper()
	for range 10000 {
		port := 12000 + int(uint64(lastPort.Add(1)+int64(os.Getpid())*37)%20000)
		claim, err := net.Listen("unix", fmt.Sprintf("@tollgate-test-port-%d", port))
		if err != nil {
			continue
		}
		if !bindable(port) {
			_ = claim.Close()
			continue
		}
		t.Cleanup(func() { _ = claim.Close() })
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	t.Fatal("no free port")
	return ""
}

// bindable looks without listening: a process that is just begun holds the socket a moment longer, and of two that listen
// the second fails, but not of one that is merely bound.
func bindable(port int) bool {
	probe, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(probe) }()
	return syscall.SetsockoptInt(probe, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) == nil &&
		syscall.Bind(probe, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) == nil
}

// Slow stretches a patience for instrumented programs and busy machines: TOLLGATE_SLOW=3.
func Slow(d time.Duration) time.Duration { return time.Duration(float64(d) * slowness()) }

var slowness = sync.OnceValue(func() float64 {
	factor, err := strconv.ParseFloat(os.Getenv("TOLLGATE_SLOW"), 64)
	if err != nil {
		return 1
	}
	return factor
})

// WaitFor polls until the condition holds, and fails the test when it does not within the time.
// It is the only place that sleeps.
func WaitFor(t *testing.T, what string, within time.Duration, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Slow(within)); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", within, what)
		}
	}
}
