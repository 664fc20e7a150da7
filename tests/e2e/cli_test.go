package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionNamesTheLibraries(t *testing.T) {
	t.Parallel()
	output, code := tollgate(t, "version")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"tollgate", "openssl", "libuv", "llhttp", "nghttp2", "hiredis", "c-ares"} {
		if !strings.Contains(strings.ToLower(output), want) {
			t.Errorf("no %s in %q", want, output)
		}
	}
}

func TestHelpIsEverywhere(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{}, {"run"}, {"check"}, {"upgrade-config"}, {"audit"}, {"audit", "verify"}, {"pki"}, {"version"}} {
		output, code := tollgate(t, append(command, "--help")...)
		if code != 0 || !strings.Contains(strings.ToLower(output), "usage") {
			t.Errorf("%q --help: exit %d, %q", command, code, output)
		}
	}
}

func TestBadUsageExitsWith2(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{{}, {"fly"}, {"run"}, {"run", "--config"}, {"run", "--confg", "x"},
		{"run", "--config", "a", "b"}, {"check"}, {"check", "--config"}, {"check", "--nonsense"}, {"check", "--config", "a", "--write"},
		{"upgrade-config"}, {"upgrade-config", "--write"}, {"upgrade-config", "--config", "a", "--write", "--write"}, {"upgrade-config", "--config", "a", "--write=b"},
		{"audit"}, {"audit", "bend"}, {"audit", "verify"}, {"pki"}, {"pki", "a", "b"}, {"version", "x"}, {"--nonsense"}} {
		output, code := tollgate(t, arguments...)
		if code != 2 || output == "" {
			t.Errorf("tollgate %q: exit %d, %q", arguments, code, output)
		}
	}
}

func TestMissingConfigExitsWith2(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"run", "check", "upgrade-config"} {
		path := filepath.Join(t.TempDir(), "none.yaml")
		output, code := tollgate(t, command, "--config", path)
		if code != 2 || !strings.Contains(output, path) {
			t.Errorf("%s: exit %d, %q", command, code, output)
		}
	}
}

func TestAuditVerifyOfNoFileFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.jsonl")
	if output, code := tollgate(t, "audit", "verify", path); code == 0 || !strings.Contains(output, path) {
		t.Errorf("exit %d, %q", code, output)
	}
}

// zcat audit.jsonl.2.gz | tollgate audit verify - audit.jsonl.1 audit.jsonl
func TestAuditVerifyReadsStandardInput(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	for range 4 {
		_ = g.try(t, versions["TLS1.3"], "h1", nil)
	}
	g.stop()
	lines := bytes.SplitAfter(must(os.ReadFile(g.auditPath())), []byte("\n"))
	dir := t.TempDir()
	writeFile(t, dir, "-rest", bytes.Join(lines[2:], nil))
	for name, row := range map[string]struct {
		input     []byte
		arguments []string
		code      int
	}{
		"before a file":       {bytes.Join(lines[:2], nil), []string{"-", filepath.Join(dir, "-rest")}, 0},
		"alone":               {bytes.Join(lines, nil), []string{"-"}, 0},
		"twice is at its end": {bytes.Join(lines, nil), []string{"-", "-"}, 0},
		"out of order":        {bytes.Join(lines[:2], nil), []string{filepath.Join(dir, "-rest"), "-"}, 3},
		"a name with a dash":  {nil, []string{"--", "-rest"}, 0},
		"and without --":      {nil, []string{"-rest"}, 2},
		"-- and nothing more": {nil, []string{"--"}, 2},
		"an option behind -":  {nil, []string{"-", "--nonsense"}, 2},
	} {
		command := exec.Command(binary(), append([]string{"audit", "verify"}, row.arguments...)...)
		command.Dir, command.Stdin = dir, bytes.NewReader(row.input)
		output, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != row.code {
			t.Errorf("%s: exit %d, want %d: %s", name, code, row.code, output)
		}
	}
}

func TestAddressInUseExitsWith1(t *testing.T) {
	t.Parallel()
	taken := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = taken.Close() })
	free := freeAddress(t)
	for name, addresses := range map[string][2]string{
		"listener": {taken.Addr().String(), free}, "admin": {free, taken.Addr().String()}} {
		s := setup{routes: []string{marked("path: /*", "ok")}}
		config := s.write(t, t.TempDir(), addresses[0], addresses[1])
		output, code := tollgate(t, "run", "--config", config)
		if code != 1 || !strings.Contains(output, taken.Addr().String()) {
			t.Errorf("%s: exit %d, %q", name, code, output)
		}
	}
}

func TestAPortBelow1024SaysWhatItWants(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	if first := strings.TrimSpace(string(must(os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")))); first != "1024" {
		t.Skip("ports are anybody's from ", first)
	}
	dir := t.TempDir()
	s := setup{routes: []string{marked("path: /*", "ok")}}
	config := s.write(t, dir, "127.0.0.1:443", freeAddress(t))
	handOver(t)(dir)
	output, code := asNobody(t, dir, "run", "--config", config)
	if code != 1 || !strings.Contains(output, "listeners[0].address: cannot listen on 127.0.0.1:443 (Permission denied: ") ||
		!strings.Contains(output, "CAP_NET_BIND_SERVICE") {
		t.Errorf("exit %d: %s", code, output)
	}
}

func TestGoodConfigurationsPass(t *testing.T) {
	t.Parallel()
	everything := setup{
		minVersion: "1.2", crl: common().root.crl(),
		top: []string{"access_log: {path: stdout}"},
		listener: []string{
			"timeouts: {handshake: 5s, request_headers: 10s, request: 0s, stream_idle: 1h, idle: 250ms}",
			"limits: {connections: 10, concurrent_streams: 100, header_bytes: 60KiB, header_fields: 100, body_bytes: 4MiB}"},
		routes: []string{
			route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 5/s, burst: 10, per: [identity]}]"),
			route("grpc: user.UserService/*", `allow: ["spiffe://cluster.local/ns/*/sa/x"], backend: users, timeout: 2s`),
			route(`path: /api/*, methods: [GET, POST], hosts: ["api.example.com"]`, "backend: api, upgrade: [websocket]"),
			route("path: /healthz", `respond: {status: 200, body: "ok\n"}`),
			route("path: /limited", `backend: api, rate_limits: [{rate: 300/m, burst: 5, per: [source_ip, method]}, {rate: 10000/h, burst: 1, per: ["header:X-Tenant"]}]`),
		},
		backends: []string{h2("users", "127.0.0.1:1", "[::1]:1"), http1("api", "unix:/run/api.sock")},
	}
	for name, s := range map[string]setup{"small": {routes: []string{marked("path: /*", "ok")}}, "everything": everything} {
		config := s.write(t, t.TempDir(), "127.0.0.1:1", "[::1]:1")
		if output, code := tollgate(t, "check", "--config", config); code != 0 {
			t.Errorf("%s: exit %d\n%s\n%s", name, code, output, must(os.ReadFile(config)))
		}
	}
}

func TestPKIServesATrial(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	if output, code := tollgate(t, "pki", dir); code != 0 {
		t.Fatalf("exit %d: %s", code, output)
	}
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	_ = read("web.key")
	if info := must(os.Stat(filepath.Join(dir, "web.key"))); info.Mode().Perm()&0o077 != 0 {
		t.Errorf("web.key is open to others: %v", info.Mode())
	}
	g := answering(t, setup{trust: read("ca.pem"), served: []servedPair{{"gateway", read("gateway.pem"), read("gateway.key")}}})
	for client, want := range map[string]string{"web": "200", "expired": "403", "other": "403", "untrusted": "403", "": "403"} {
		for _, protocol := range []string{"--http1.1", "--http2"} {
			arguments := []string{"--silent", "--show-error", "--max-time", "10", protocol, "--cacert", filepath.Join(dir, "ca.pem"),
				"--output", "/dev/null", "--write-out", "%{http_code}", "https://localhost:" + port(g.address) + "/x",
				"--resolve", "localhost:" + port(g.address) + ":127.0.0.1"}
			if client != "" {
				arguments = append(arguments, "--cert", filepath.Join(dir, client+".pem"), "--key", filepath.Join(dir, client+".key"))
			}
			var output bytes.Buffer
			command := exec.Command("curl", arguments...)
			command.Stdout, command.Stderr = &output, &output
			if err := command.Run(); err != nil || output.String() != want {
				t.Errorf("curl %s as %q: %q, %v, want %s", protocol, client, output.String(), err, want)
			}
		}
	}
	if output, code := tollgate(t, "pki", filepath.Join(dir, "ca.pem", "below")); code != 1 || output == "" {
		t.Errorf("pki into a file: exit %d, %q", code, output)
	}
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func TestAdminTellsHealthAndMetrics(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	wantStatus(t, g.once(t, g.trusting(common().web)), http.StatusOK)
	_ = g.try(t, versions["TLS1.3"], "h1", nil)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, body := g.adminGet(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	waitFor(t, "the refusal to be counted", patience, func() bool {
		_, metrics := g.adminGet("/metrics")
		return strings.Contains(metrics, `tollgate_rejections_total{listener="edge",reason="certificate_missing"} 1`)
	})
	if status, _ := g.adminGet("/nonsense"); status != http.StatusNotFound {
		t.Errorf("unknown admin path: %d", status)
	}
}

// check writes the text as a configuration beside a good PKI and checks it.
func check(t *testing.T, text string) (path, output string, code int) {
	t.Helper()
	dir := t.TempDir()
	s := setup{files: map[string][]byte{"broken.pem": []byte("no PEM at all\n"), "empty.pem": nil}}
	path = s.write(t, dir, "127.0.0.1:1", "127.0.0.1:2")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	output, code = tollgate(t, "check", "--config", path)
	return path, output, code
}

func TestAllProblemsAreToldInOneRun(t *testing.T) {
	t.Parallel()
	text := goodConfig
	var wanted []string
	for _, i := range []int{0, 5, 10, 20, 30} {
		row := badConfigs[i]
		if strings.Contains(text, row.from) {
			text = strings.Replace(text, row.from, row.to, 1)
			wanted = append(wanted, row.key)
		}
	}
	_, output, code := check(t, text)
	if code != 2 {
		t.Errorf("exit %d", code)
	}
	if len(wanted) < 4 {
		t.Fatalf("the table changed: only %q are wrong at once", wanted)
	}
	for _, key := range wanted {
		if !strings.Contains(output, key) {
			t.Errorf("nothing about %s in:\n%s", key, output)
		}
	}
	if lines := strings.Count(output, "tollgate.yaml:"); lines < len(wanted) {
		t.Errorf("%d problems told of %d:\n%s", lines, len(wanted), output)
	}
	if testing.Verbose() {
		fmt.Println(output)
	}
}
