package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// A setup is what a test wants of its gateway; it becomes a configuration file. Everything has a
// default that works.
type setup struct {
	workers    int      // 2
	patterns   []string // spiffe://cluster.local/*
	mode       string   // on_unauthenticated: forbid
	minVersion string
	trust      []byte            // PEM of trusted_ca: the common root and RSA root
	crl        []byte            // PEM
	served     []servedPair      // certificates: the common gateway.test and other.test
	tls        []string          // more lines of its tls: "session_ticket_keys: [ticket.key]"
	listener   []string          // more lines of the listener: "timeouts: {…}"
	top        []string          // more top-level lines: "access_log: {path: access.jsonl}"
	routes     []string          // flow mappings, in order
	backends   []string          // flow mappings; see h2 and http1
	drain      string            // drain_timeout: 5s
	program    string            // another path of the program under test
	env        []string          // more environment of the process
	under      []string          // a command that runs the program: "prlimit", "--nofile=64"
	socket     string            // a unix socket to listen on instead of a port
	audit      string            // {path: audit.jsonl}
	files      map[string][]byte // more files beside the configuration
	flags      []string          // more of the command line: "--log-format=json"
	keepErrors bool              // the test itself looks at how the process ended
	successors bool              // others will take its place: what they all say goes to a file
}

type servedPair struct {
	name       string
	chain, key []byte
}

func h2(name string, addresses ...string) string {
	return fmt.Sprintf("{name: %s, protocol: h2, endpoints: [%s]}", name, quoted(addresses))
}

func http1(name string, addresses ...string) string {
	return fmt.Sprintf("{name: %s, protocol: http1, endpoints: [%s]}", name, quoted(addresses))
}

// route writes a route: match and the rest as in the configuration, "grpc: user.UserService/*" and
// "backend: users, timeout: 2s".
func route(match, rest string) string { return fmt.Sprintf("{match: {%s}, %s}", match, rest) }

func quoted(words []string) string {
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = strconv.Quote(word)
	}
	return strings.Join(all, ", ")
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func (s *setup) yaml(address, admin string) string {
	var out strings.Builder
	say := func(format string, arguments ...any) { fmt.Fprintf(&out, format+"\n", arguments...) }
	say("version: tollgate/v1")
	say("workers: %d", or(s.workers, 2))
	say("drain_timeout: %s", or(s.drain, "5s"))
	say("admin: {address: %q}", admin)
	say("audit: %s", or(s.audit, "{path: audit.jsonl}"))
	for _, line := range s.top {
		say("%s", line)
	}
	say("listeners:")
	say("  - name: edge")
	say("    address: %q", or(s.socket, address))
	say("    tls:")
	say("      certificates:")
	for _, pair := range s.served {
		say("        - {certificate_chain: %s.pem, private_key: %s.key}", pair.name, pair.name)
	}
	if s.minVersion != "" {
		say("      min_version: %q", s.minVersion)
	}
	say("      on_unauthenticated: %s", or(s.mode, "forbid"))
	for _, line := range s.tls {
		say("      %s", line)
	}
	say("      validation_context:")
	say("        trusted_ca: ca.pem")
	if s.crl != nil {
		say("        crl: ca.crl")
	}
	say("        match_subject_alt_names: [%s]", quoted(s.patterns))
	for _, line := range s.listener {
		say("    %s", line)
	}
	list(&out, "    routes:", "      - ", s.routes)
	list(&out, "backends:", "  - ", s.backends)
	return out.String()
}

func list(out *strings.Builder, title, indent string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintln(out, title)
	for _, item := range items {
		fmt.Fprintf(out, "%s%s\n", indent, item)
	}
}

// fill puts in the defaults.
func (s *setup) fill() {
	if s.patterns == nil {
		s.patterns = []string{"spiffe://cluster.local/*"}
	}
	if s.trust == nil {
		s.trust = pemCertificates(common().root.cert.Raw, common().rsaRoot.cert.Raw)
	}
	if s.served == nil {
		s.served = []servedPair{
			{"gateway", pemCertificates(common().gateway.Certificate...), pemKey(common().gateway.PrivateKey)},
			{"other", pemCertificates(common().other.Certificate...), pemKey(common().other.PrivateKey)},
		}
	}
}

// write puts the configuration and its files into the directory.
func (s *setup) write(t *testing.T, dir, address, admin string) string {
	t.Helper()
	s.fill()
	writeFile(t, dir, "ca.pem", s.trust)
	if s.crl != nil {
		writeFile(t, dir, "ca.crl", s.crl)
	}
	for _, pair := range s.served {
		writeFile(t, dir, pair.name+".pem", pair.chain)
		writeFile(t, dir, pair.name+".key", pair.key)
	}
	for name, content := range s.files {
		writeFile(t, dir, name, content)
	}
	writeFile(t, dir, "tollgate.yaml", []byte(s.yaml(address, admin)))
	return filepath.Join(dir, "tollgate.yaml")
}

// writeFile replaces a file in one step, as a certificate manager does.
func writeFile(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// freePort is that of an address which nobody else gets as long as the test runs.
func freePort(t *testing.T) int {
	t.Helper()
	_, port, err := net.SplitHostPort(harness.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return must(strconv.Atoi(port))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return harness.FreeAddress(t)
}

// slow stretches a patience for instrumented programs and busy machines: TOLLGATE_SLOW=3.
func slow(d time.Duration) time.Duration { return time.Duration(float64(d) * slowness()) }

var slowness = sync.OnceValue(func() float64 {
	factor, err := strconv.ParseFloat(os.Getenv("TOLLGATE_SLOW"), 64)
	if err != nil {
		return 1
	}
	return factor
})

// waitFor polls until the condition holds, and fails the test when it does not within the time.
// It is the only place that sleeps.
func waitFor(t *testing.T, what string, within time.Duration, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(slow(within)); !condition(); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", within, what)
		}
	}
}

// wantSaid waits for words of the log: what they tell of may be seen before they are read here.
func (g *gateway) wantSaid(words string) {
	g.t.Helper()
	for deadline := time.Now().Add(slow(2 * time.Second)); !g.said(words); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Errorf("it does not say %q:\n%s", words, tail(g.stderr.String()))
			return
		}
	}
}
