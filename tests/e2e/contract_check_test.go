package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What `check` says of faulty files: FILE:LINE:COLUMN: KEY.PATH: what is wrong, what was expected
// (CONTRACT, sections 1 and 2). The column is that of the first changed byte, where a row says nothing else.

func TestEachFaultIsToldAtItsPlace(t *testing.T) {
	t.Parallel()
	const anywhere = ""
	for _, row := range []struct{ name, from, to, at, key, hint string }{
		// The nearest key.
		{"two letters swapped", "workers: auto", "wrokers: auto", "2:1", "wrokers", "did you mean workers"},
		{"singular", "listeners:", "listener:", "8:1", "listener", "did you mean listeners"},
		{"plural", "audit:", "audits:", "6:1", "audits", "did you mean audit"},
		{"upper case", "drain_timeout", "Drain_Timeout", "3:1", "Drain_Timeout", "did you mean drain_timeout"},
		{"dash", "drain_timeout", "drain-timeout", "3:1", "drain-timeout", "did you mean drain_timeout"},
		{"below tls", "on_unauthenticated", "on_unauthorised", "17:7", "listeners[0].tls.on_unauthorised", ""},
		{"below validation_context", "trusted_ca:", "trustedca:", "19:9", "listeners[0].tls.validation_context.trustedca", "did you mean trusted_ca"},
		{"below timeouts", "handshake:", "handshakes:", "22:7", "listeners[0].timeouts.handshakes", "did you mean handshake"},
		{"below limits", "header_bytes:", "headers_bytes:", "26:7", "listeners[0].limits.headers_bytes", "did you mean header_bytes"},
		{"below rate_limits", "burst: 10", "brust: 10", "32:13", "listeners[0].routes[0].rate_limits[0].brust", "did you mean burst"},
		{"below respond", "status: 200", "code: 200", "43:11", "listeners[0].routes[3].respond.code", ""},
		{"below backends", "connect_timeout", "conect_timeout", "49:5", "backends[0].conect_timeout", "did you mean connect_timeout"},
		{"a key of another place", "drain_timeout: 30s", "burst: 3", "3:1", "burst", "no key"},
		{"a key of nowhere", "drain_timeout: 30s", "xyzzy: 3", "3:1", "xyzzy", "no key"},
		// Values.
		{"duration in days", "drain_timeout: 30s", "drain_timeout: 1d", "3:16", "drain_timeout", "expected a duration"},
		{"two units", "drain_timeout: 30s", "drain_timeout: 1m30s", "3:16", "drain_timeout", "expected a duration"},
		{"fraction", "drain_timeout: 30s", "drain_timeout: 1.5s", "3:16", "drain_timeout", "expected a duration"},
		{"longer than a day", "drain_timeout: 30s", "drain_timeout: 25h", "3:16", "drain_timeout", "24h"},
		{"size in KB", "header_bytes: 60KiB", "header_bytes: 60KB", "26:21", "limits.header_bytes", "KiB"},
		{"size in lower case", "header_bytes: 60KiB", "header_bytes: 60kib", "26:21", "limits.header_bytes", "KiB"},
		{"negative count", "connections: 10000", "connections: -1", "25:20", "limits.connections", "from 0"},
		{"yes for true", "require_client_certificate: true", "require_client_certificate: yes", "16:35", "require_client_certificate", "true"},
		{"no certificates wanted", "require_client_certificate: true", "require_client_certificate: false", "16:35", "require_client_certificate", "expected true"},
		{"TLS 1.0", `min_version: "1.2"`, `min_version: "1.0"`, "15:20", "min_version", "1.2"},
		{"TLS 1.4", `min_version: "1.2"`, `min_version: "1.4"`, "15:20", "min_version", "1.3"},
		{"TLSv1.2", `min_version: "1.2"`, `min_version: TLSv1.2`, "15:20", "min_version", "1.2"},
		{"status of an interim answer", "status: 200", "status: 100", "43:19", "respond.status", "200"},
		{"status of six hundred", "status: 200", "status: 600", "43:19", "respond.status", "599"},
		{"address without host", "127.0.0.1:8443", ":8443", "10:14", "listeners[0].address", "expected an address"},
		{"address by name", "127.0.0.1:8443", "localhost:8443", "10:14", "listeners[0].address", "expected an address"},
		{"IPv6 without brackets", "127.0.0.1:8443", "'::1:8443'", "10:14", "listeners[0].address", "expected an address"},
		{"port 65536", "127.0.0.1:8443", "127.0.0.1:65536", "10:14", "listeners[0].address", "65535"},
		{"port 0", "127.0.0.1:8443", "127.0.0.1:0", "10:14", "listeners[0].address", "port"},
		{"octal address", "127.0.0.1:8443", "127.0.0.010:8443", "10:14", "listeners[0].address", "expected an address"},
		{"URL", "127.0.0.1:50051", "http://127.0.0.1:50051", "48:17", "backends[0].endpoints[0]", "expected an address"},
		{"host that does not exist", "127.0.0.1:50051", "none.invalid:1", "48:17", "backends[0].endpoints[0]", "resolve"},
		{"admin on all interfaces", "127.0.0.1:9901", "'[::]:9901'", "5:12", "admin.address", "loopback"},
		{"rate by the minute spelt out", "rate: 5/s", "rate: 5/min", "31:19", "rate_limits[0].rate", "5/s"},
		{"rate of a fraction", "rate: 5/s", "rate: 0.5/s", "31:19", "rate_limits[0].rate", "number"},
		{"header without name", "per: [identity]", "per: ['header:']", "33:19", "rate_limits[0].per[0]", "header:"},
		{"identity twice", "per: [identity]", "per: [identity, identity]", "33:29", "rate_limits[0].per[1]", "twice"},
		// Patterns.
		{"two stars", "cluster.local/*\"]\n    timeouts", "cluster.local/**\"]\n    timeouts", "20:35", "match_subject_alt_names[0]", "whole path segment"},
		{"star in the trust domain", "spiffe://cluster.local/*\"]\n    timeouts", "spiffe://*.local/*\"]\n    timeouts", "20:35", "match_subject_alt_names[0]", "literal"},
		{"trust domain alone", "cluster.local/*\"]\n    timeouts", "cluster.local\"]\n    timeouts", "20:35", "match_subject_alt_names[0]", "path"},
		{"upper case in a pattern", "spiffe://cluster.local/*\"]\n    timeouts", "spiffe://Cluster.local/*\"]\n    timeouts", "20:35", "match_subject_alt_names[0]", "lower case"},
		{"pattern with a query", "cluster.local/ns/web/*", "cluster.local/ns/web?x", "36:17", "listeners[0].routes[1].allow[0]", ""},
		{"a word for a list", `["spiffe://cluster.local/ns/web/*"]`, `"spiffe://cluster.local/ns/web/*"`, "36:16", "listeners[0].routes[1].allow", "expected a list"},
		// What can have no effect.
		{"allow of a trust domain nobody has", "cluster.local/ns/web/*", "elsewhere.example/*", "36:17", "listeners[0].routes[1].allow[0]", "nobody can satisfy"},
		{"allow of a trust domain that begins alike", "cluster.local/ns/web/*", "cluster.local.evil/*", "36:17", "listeners[0].routes[1].allow[0]", "nobody can satisfy"},
		{"a route behind all", "      - match: {path: /healthz}", "      - match: {path: /*}\n        respond: {status: 200}\n      - match: {path: /healthz}", "43:9", "listeners[0].routes[4]", "never reached"},
		{"a method behind its service", "grpc: user.UserService/Login", "grpc: user.UserService/*", "34:9", "listeners[0].routes[1]", "never reached"},
		{"a limit behind a smaller one", "            per: [identity]", "            per: [identity]\n          - {rate: 6/s, burst: 10, per: [identity]}", "34:13", "listeners[0].routes[0].rate_limits[1]", "never fires"},
		{"a limit before a coarser one", "            per: [identity]", "            per: [identity]\n          - {rate: 5/s, burst: 9}", "31:13", "listeners[0].routes[0].rate_limits[0]", "never fires"},
		{"a limit twice", "            per: [identity]", "            per: [identity]\n          - {rate: 300/m, burst: 10, per: [identity]}", "34:13", "listeners[0].routes[0].rate_limits[1]", "never fires"},
		{"methods in lower case", "methods: [GET, POST]", "methods: [get, POST]", "39:41", "listeners[0].routes[2].match.methods[0]", "GET"},
		{"host with a port", `"api.example.com"`, `"api.example.com:8443"`, "39:61", "listeners[0].routes[2].match.hosts[0]", "without port"},
		{"host with a star", `"api.example.com"`, `"*.example.com"`, "39:61", "listeners[0].routes[2].match.hosts[0]", "wildcard"},
		// Files.
		{"a directory", "trusted_ca: ca.pem", "trusted_ca: .", "19:21", "validation_context.trusted_ca", "directory"},
		{"a leaf as CA", "trusted_ca: ca.pem", "trusted_ca: gateway.pem", "19:21", "validation_context.trusted_ca", "CA"},
		{"a key as certificate", "certificate_chain: gateway.pem", "certificate_chain: gateway.key", "13:30", "certificates[0].certificate_chain", "CERTIFICATE"},
		{"a certificate as key", "private_key: gateway.key", "private_key: gateway.pem", "14:24", "certificates[0].private_key", "PRIVATE KEY"},
		// YAML.
		{"anchor", "workers: auto", "workers: &a auto", "2:10", "workers", "anchor"},
		{"tag", "workers: auto", "workers: !!str auto", "2:10", "workers", "tag"},
		{"a list of one key", "workers: auto", "workers: [auto]", "2:10", "workers", "found a list"},
		{"nothing", "workers: auto", "workers:", "2:9", "workers", "found nothing"},
		{"key twice, deep down", "      idle: 60s", "      idle: 60s\n      idle: 61s", "24:7", "listeners[0].timeouts.idle", "twice"},
		{"a bracket that never ends", "per: [identity]", "per: [identity", anywhere, "", ""},
		{"bytes that are no UTF-8", "name: edge", "name: \xff\xfe", anywhere, "", "UTF-8"},
		{"a control byte", "name: edge", "name: ed\x01ge", anywhere, "", ""},
		{"a name for a label", "name: edge", "name: 'ed ge\"'", "9:11", "listeners[0].name", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(goodConfig, row.from) < 1 {
				t.Fatalf("the good configuration has no %q", row.from)
			}
			path, output, code := check(t, strings.Replace(goodConfig, row.from, row.to, 1))
			if code != 2 {
				t.Errorf("exit %d", code)
			}
			at := or(row.at, `\d+:\d+`)
			want := fmt.Sprintf(`(?m)^%s:%s: [^ ]*%s: .*%s`, regexp.QuoteMeta(path), at, regexp.QuoteMeta(row.key), regexp.QuoteMeta(row.hint))
			if row.at == anywhere {
				want = fmt.Sprintf(`(?m)^%s:%s: .*%s`, regexp.QuoteMeta(path), at, regexp.QuoteMeta(row.hint))
			}
			if !regexp.MustCompile(want).MatchString(output) {
				t.Errorf("want %s, got\n%s", want, output)
			}
			for line := range strings.Lines(output) {
				if !strings.HasPrefix(line, path+":") || strings.ContainsAny(line, "\x00\x01\x1b\xff") {
					t.Errorf("line %q", line)
				}
			}
		})
	}
}

func TestFilesThatAreNoConfiguration(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "spaces": " \n\n", "a comment": "# nothing\n", "a word": "hello\n", "a list": "- 1\n- 2\n",
		"null": "~\n", "two documents": goodConfig + "---\n" + goodConfig, "JSON list": "[]", "binary": "\x7fELF\x02\x01\x01\x00", "a long line": strings.Repeat("a", 1<<20),
		"deep": strings.Repeat("[", 100000), "deep maps": strings.Repeat("{a: ", 10000), "huge": strings.Repeat("# comment\n", 500000),
		"bomb": "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "only a version": "version: tollgate/v1\n", "byte order of 16": "\xff\xfev\x00"} {
		for _, command := range []string{"check", "run"} {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := tollgate(t, command, "--config", path)
			if code != 2 || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(path)+`:\d+:\d+: `).MatchString(output) || len(output) > 100000 {
				t.Errorf("%s of %s: exit %d: %.300s", command, name, code, output)
			}
		}
	}
	if output, code := tollgate(t, "check", "--config", t.TempDir()); code != 2 || output == "" {
		t.Errorf("a directory: exit %d: %s", code, output)
	}
}

// Relative files are relative to the configuration, wherever the command is given.
func TestRelativePathsAreRelativeToTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := setup{routes: []string{marked("path: /*", "ok")}}
	_ = s.write(t, dir, "127.0.0.1:1", "127.0.0.1:2")
	link := filepath.Join(t.TempDir(), "linked.yaml")
	if err := os.Symlink(filepath.Join(dir, "tollgate.yaml"), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "tollgate.yaml"), filepath.Join(dir, "..", filepath.Base(dir), "tollgate.yaml")} {
		if output, code := tollgate(t, "check", "--config", path); code != 0 {
			t.Errorf("%s: exit %d: %s", path, code, output)
		}
		if output, code := tollgate(t, "check", "--config="+path); code != 0 {
			t.Errorf("--config=: exit %d: %s", code, output)
		}
	}
}
