package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const goodConfig = `version: tollgate/v1
workers: auto
drain_timeout: 30s
admin:
  address: 127.0.0.1:9901
audit:
  path: audit.jsonl
listeners:
  - name: edge
    address: 127.0.0.1:8443
    tls:
      certificates:
        - certificate_chain: gateway.pem
          private_key: gateway.key
      min_version: "1.2"
      require_client_certificate: true
      on_unauthenticated: forbid
      validation_context:
        trusted_ca: ca.pem
        match_subject_alt_names: ["spiffe://cluster.local/*"]
    timeouts:
      handshake: 5s
      idle: 60s
    limits:
      connections: 10000
      header_bytes: 60KiB
    routes:
      - match: {grpc: user.UserService/Login}
        backend: users
        rate_limits:
          - rate: 5/s
            burst: 10
            per: [identity]
      - match:
          grpc: user.UserService/*
        allow: ["spiffe://cluster.local/ns/web/*"]
        backend: users
        timeout: 2s
      - match: {path: /api/*, methods: [GET, POST], hosts: ["api.example.com"]}
        backend: api
      - match: {path: /healthz}
        respond:
          status: 200
          body: "ok\n"
backends:
  - name: users
    protocol: h2
    endpoints: [127.0.0.1:50051]
    connect_timeout: 1s
  - name: api
    protocol: http1
    endpoints: [127.0.0.1:8080]
`

// A badConfig is the good one with one thing wrong. The problem must be told at the line of the
// change, with the key (or the end of its path) and the hint in the text.
type badConfig struct {
	name, from, to string
	key            string
	hint           string // part of the text, a regular expression
	elsewhere      bool   // the change cannot be told at its own line
}

var badConfigs = []badConfig{
	{"misspelt key", "workers: auto", "worker: auto", "worker", "workers", false},
	{"misspelt key deep down", "certificate_chain:", "certificat_chain:", "certificat_chain", "certificate_chain", false},
	{"misspelt route key", "        timeout: 2s", "        timeuot: 2s", "timeuot", "timeout", false},
	{"misspelt match key", "{path: /healthz}", "{pth: /healthz}", "pth", "path", false},
	{"unknown key", "drain_timeout: 30s", "drain_timeout: 30s\nzzz: 1", "zzz", "", false},
	{"other version", "version: tollgate/v1", "version: tollgate/v2", "version", "tollgate/v1", false},
	{"no version", "version: tollgate/v1\n", "", "version", "", true},
	{"negative workers", "workers: auto", "workers: -1", "workers", "", false},
	{"workers no number", "workers: auto", "workers: many", "workers", "auto", false},
	{"duration without unit", "drain_timeout: 30s", "drain_timeout: 30", "drain_timeout", `\b(ms|30s|s)\b`, false},
	{"duration with bad unit", "handshake: 5s", "handshake: 5 parsecs", "timeouts.handshake", "", false},
	{"negative duration", "idle: 60s", "idle: -60s", "timeouts.idle", "", false},
	{"duration overflows", "idle: 60s", "idle: 99999999999999999999s", "timeouts.idle", "", false},
	{"address without port", "address: 127.0.0.1:9901", "address: 127.0.0.1", "admin.address", "", false},
	{"port too large", "address: 127.0.0.1:8443", "address: 127.0.0.1:84430", "listeners[0].address", "", false},
	{"address no address", "address: 127.0.0.1:8443", "address: 300.0.0.1:8443", "listeners[0].address", "", false},
	{"admin open to all", "address: 127.0.0.1:9901", "address: 0.0.0.0:9901", "admin.address", "loopback|local", false},
	{"certificate missing", "certificate_chain: gateway.pem", "certificate_chain: none.pem", "certificate_chain", "none.pem", false},
	{"certificate broken", "certificate_chain: gateway.pem", "certificate_chain: broken.pem", "certificate_chain", "PEM|certificate", false},
	{"key of another certificate", "private_key: gateway.key", "private_key: other.key", "private_key", "", false},
	{"key missing", "private_key: gateway.key", "private_key: none.key", "private_key", "none.key", false},
	{"key left out", "          private_key: gateway.key\n", "", "private_key", "", true},
	{"bundle missing", "trusted_ca: ca.pem", "trusted_ca: none.pem", "trusted_ca", "none.pem", false},
	{"bundle empty", "trusted_ca: ca.pem", "trusted_ca: empty.pem", "trusted_ca", "", false},
	{"bundle is a key", "trusted_ca: ca.pem", "trusted_ca: gateway.key", "trusted_ca", "", false},
	{"CRL missing", "trusted_ca: ca.pem", "trusted_ca: ca.pem\n        crl: none.crl", "crl", "none.crl", true},
	{"CRL is a certificate", "trusted_ca: ca.pem", "trusted_ca: ca.pem\n        crl: ca.pem", "crl", "", true},
	{"old TLS", `min_version: "1.2"`, `min_version: "1.1"`, "min_version", "1.2", false},
	{"odd choice", "on_unauthenticated: forbid", "on_unauthenticated: allow", "on_unauthenticated", "alert", false},
	{"no boolean", "require_client_certificate: true", "require_client_certificate: maybe", "require_client_certificate", "true", false},
	{"pattern without scheme", `"spiffe://cluster.local/*"`, `"cluster.local/*"`, "match_subject_alt_names", "spiffe://", false},
	{"pattern with star in trust domain", `"spiffe://cluster.local/*"`, `"spiffe://*/x"`, "match_subject_alt_names", "", false},
	{"pattern with star in a segment", `"spiffe://cluster.local/*"`, `"spiffe://cluster.local/a*"`, "match_subject_alt_names", "", false},
	{"no patterns", `["spiffe://cluster.local/*"]`, "[]", "match_subject_alt_names", "", false},
	{"patterns left out", "        match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n", "", "match_subject_alt_names", "", true},
	{"allow of an unknown trust domain", "spiffe://cluster.local/ns/web/*", "spiffe://elsewhere.example/*", "allow", "", false},
	{"size with bad unit", "header_bytes: 60KiB", "header_bytes: 60 hands", "limits.header_bytes", "", false},
	{"rate without time", "rate: 5/s", "rate: 5", "rate", "/s", false},
	{"rate of nothing", "rate: 5/s", "rate: 0/s", "rate", "", false},
	{"burst of nothing", "burst: 10", "burst: 0", "burst", "", false},
	{"per what", "per: [identity]", "per: [identitty]", "per", "identity", false},
	{"unknown backend", "backend: api", "backend: apis", "backend", "api", false},
	{"backend and answer", "        respond:\n", "        backend: api\n        respond:\n", "routes[3]", "", true},
	{"neither backend nor answer", "        backend: api\n", "", "routes[2]", "", true},
	{"grpc without method", "grpc: user.UserService/Login", "grpc: user.UserService", "match.grpc", "", false},
	{"path without slash", "{path: /healthz}", "{path: healthz}", "match.path", "/", false},
	{"path with star inside", "{path: /healthz}", "{path: /a*b}", "match.path", "", false},
	{"path that is not normalised", "{path: /healthz}", "{path: /a/../b}", "match.path", "", false},
	{"unreachable route", "{path: /healthz}", `{path: /api/x, methods: [GET], hosts: ["api.example.com"]}`, "routes[3]", "", false},
	{"status out of range", "status: 200", "status: 99", "respond.status", "", false},
	{"unknown protocol", "protocol: http1", "protocol: http3", "protocol", "http1", false},
	{"no endpoints", "endpoints: [127.0.0.1:8080]", "endpoints: []", "endpoints", "", false},
	{"endpoint without port", "endpoints: [127.0.0.1:8080]", "endpoints: [localhost]", "endpoints", "", false},
	{"two backends of one name", "  - name: api", "  - name: users", "backends[1].name", "users", false},
	{"backend nobody uses", "backends:\n", "backends:\n  - {name: idle, protocol: h2, endpoints: [\"127.0.0.1:1\"]}\n", "backends[0]", "", true},
	{"key twice", "workers: auto", "workers: auto\nworkers: 2", "workers", "", true},
	{"list for a word", "name: edge", "name: [edge]", "listeners[0].name", "", false},
	{"word for a list", "endpoints: [127.0.0.1:8080]", "endpoints: {a: b}", "endpoints", "", false},
	{"tab for indent", "  path: audit.jsonl", "\tpath: audit.jsonl", "", "", true},
	{"bracket left open", "hosts: [\"api.example.com\"]}", "hosts: [\"api.example.com\"", "", "", true},
	{"unknown anchor", "workers: auto", "workers: *none", "", "", false},
	{"two documents", "workers: auto", "workers: auto\n---\nworkers: auto", "", "", true},
}

func TestGoodConfigIsTheBaseOfTheBadOnes(t *testing.T) {
	t.Parallel()
	if _, output, code := check(t, goodConfig); code != 0 {
		t.Errorf("exit %d: %s", code, output)
	}
}

func TestMalformedConfigurationsAreToldExactly(t *testing.T) {
	t.Parallel()
	for _, row := range badConfigs {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(goodConfig, row.from) {
				t.Fatalf("the good configuration has no %q", row.from)
			}
			text := strings.Replace(goodConfig, row.from, row.to, 1)
			path, output, code := check(t, text)
			if code != 2 {
				t.Errorf("exit %d", code)
			}
			line := `\d+`
			if !row.elsewhere {
				line = fmt.Sprint(firstDifference(goodConfig, text))
			}
			want := fmt.Sprintf(`(?m)^%s:%s:\d+: [^ ]*%s[^ ]*: .*(?:%s)`, regexp.QuoteMeta(path), line, regexp.QuoteMeta(row.key), row.hint)
			if row.key == "" { // no YAML at all: there is no key to name
				want = fmt.Sprintf(`(?m)^%s:%s:\d+: .+`, regexp.QuoteMeta(path), line)
			}
			if !regexp.MustCompile(want).MatchString(output) {
				t.Errorf("want %s, got:\n%s", want, output)
			}
			if n := strings.Count(output, path+":"); n > 2 {
				t.Errorf("%d problems told for one:\n%s", n, output)
			}
		})
	}
}

// firstDifference returns the number of the first line in which the texts differ.
func firstDifference(one, other string) int {
	theirs := strings.Split(other, "\n")
	for i, line := range strings.Split(one, "\n") {
		if i >= len(theirs) || theirs[i] != line {
			return i + 1
		}
	}
	return 0
}

func TestRunWithABadConfigurationExitsWith2(t *testing.T) {
	t.Parallel()
	s := setup{routes: []string{marked("path: /*", "ok")}, top: []string{"nonsense: 1"}}
	path := s.write(t, t.TempDir(), freeAddress(t), freeAddress(t))
	output, code := tollgate(t, "run", "--config", path)
	if code != 2 || !strings.Contains(output, path+":") || !strings.Contains(output, "nonsense") {
		t.Errorf("exit %d: %s", code, output)
	}
}
