package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

func TestAuditRecordOfARateLimitedCall(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/m, burst: 1, per: [identity]}")
	cert := common().root.svid(webID, dns("web.example"))
	conn := g.rpc(t, cert)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for range 2 {
		_ = invoke(t, conn, login, "traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	}
	r := g.waitForAudit(t, "rate limit", because("rate_limited"))
	leaf := leafOf(cert)
	sum := sha256.Sum256(leaf.Raw)
	at, err := time.Parse(time.RFC3339Nano, r.Timestamp)
	if err != nil || time.Since(at).Abs() > time.Minute || !strings.HasSuffix(r.Timestamp, "Z") {
		t.Errorf("timestamp %q", r.Timestamp)
	}
	answer, client := r.Answer, r.Client.Certificate
	if client == nil || answer.GRPCStatus == nil || answer.RetryAfterMS == nil || r.Authorized == nil {
		t.Fatalf("fields are missing: %s", r.line)
	}
	for name, row := range map[string]struct{ got, want any }{
		"event":                {r.Event, "rejected"},
		"authorized":           {*r.Authorized, false},
		"principal":            {r.Principal, webID},
		"rpc_method":           {r.RPCMethod, login},
		"policy_name":          {r.PolicyName, "edge/user.UserService/Login"},
		"matched_rule":         {r.MatchedRule, "rate_limits[0]"},
		"listener":             {r.Listener, "edge"},
		"answer.status":        {answer.Status, 200},
		"answer.grpc_status":   {*answer.GRPCStatus, 8},
		"answer.retry_after":   {*answer.RetryAfterMS > 50000 && *answer.RetryAfterMS <= 60000, true},
		"client.address":       {r.Client.Address, conn.local.Load()},
		"certificate.sha256":   {strings.ReplaceAll(strings.ToLower(client.SHA256), ":", ""), hex.EncodeToString(sum[:])},
		"certificate.serial":   {sameHex(client.Serial, leaf.SerialNumber.Text(16)), true},
		"certificate.subject":  {strings.Contains(client.Subject, "client"), true},
		"certificate.issuer":   {strings.Contains(client.Issuer, "tollgate test root"), true},
		"certificate.until":    {sameTime(client.NotAfter, leaf.NotAfter), true},
		"certificate.since":    {sameTime(client.NotBefore, leaf.NotBefore), true},
		"certificate.uri_sans": {fmt.Sprint(client.URISANs), "[" + webID + "]"},
		"certificate.dns_sans": {fmt.Sprint(client.DNSSANs), "[web.example]"},
		"tls.version":          {r.TLS.Version, "TLSv1.3"},
		"tls.cipher":           {strings.HasPrefix(r.TLS.Cipher, "TLS_"), true},
		"tls.sni":              {r.TLS.SNI, "gateway.test"},
		"tls.resumed":          {r.TLS.Resumed, false},
		"request.protocol":     {r.Request.Protocol, "h2"},
		"request.method":       {r.Request.Method, "POST"},
		"request.host":         {r.Request.Host, "gateway.test"},
		"request.path":         {r.Request.Path, login},
		"request.trace_id":     {r.Request.TraceID, trace},
		"request.id":           {r.Request.ID != "", true},
	} {
		if row.got != row.want {
			t.Errorf("%s is %v, want %v", name, row.got, row.want)
		}
	}
	if t.Failed() {
		t.Logf("record: %s", r.line)
	}
}

// sameHex compares numbers in hexadecimal, whatever the case, colons and leading zeros.
func sameHex(one, other string) bool {
	plain := func(s string) string {
		return strings.TrimLeft(strings.ToLower(strings.ReplaceAll(s, ":", "")), "0")
	}
	return plain(one) == plain(other)
}

func sameTime(text string, want time.Time) bool {
	got, err := time.Parse(time.RFC3339, text)
	return err == nil && got.Equal(want)
}

func TestOneRecordForEachRefusal(t *testing.T) {
	t.Parallel()
	g, _ := limitedWeb(t, "{rate: 1/m, burst: 1}")
	const each = 7
	stranger := common().root.svid("spiffe://other.example/x")
	c := g.client(t, "h2", common().web)
	for range each {
		_ = g.try(t, versions["TLS1.3"], "h1", nil)
		_ = g.try(t, versions["TLS1.2"], "h2", stranger)
	}
	for range each + 1 {
		_ = c.get("/limited/x")
	}
	for _, reason := range []string{"certificate_missing", "identity_not_allowed", "rate_limited"} {
		g.countAudit(t, each, because(reason))
	}
	g.countAudit(t, 3*each, func(*auditRecord) bool { return true })
}

func TestOneCallerThatRepeatsItselfIsCountedExactly(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/m, burst: 1, per: [identity]}")
	conn := g.rpc(t, common().web)
	for range 2001 {
		_ = invoke(t, conn, login)
	}
	g.stop() // what is still being folded is written at the end
	g.countAudit(t, 2000, because("rate_limited"))
}

func TestNothingHostileCanForgeALine(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	forged := "\n{\"event\":\"rejected\",\"authorized\":true,\"seq\":0}\n"
	hostile := []string{forged, `","authorized":true,"x":"`, "\x1b[31mred\x07", "\x00nul", "tab\tquote\"back\\slash",
		"\u2028\u2029", "\xff\xfe not UTF-8", "\x7f\u0085", strings.Repeat("long", 500)}
	refused := 0
	for _, text := range hostile {
		for _, cert := range []*[]trait{{commonName(text)}, {dns(text)}, {uri("spiffe://x/" + text)}} {
			_ = g.try(t, versions["TLS1.3"], "h1", common().root.issue(*cert...))
			refused++
		}
	}
	for _, target := range []string{`/..%2f"x`, "/%0a%0d%00", "/\xff%2f", "/%2f\\\"},{\""} {
		_ = g.rawGet(t, target)
		refused++
	}
	w := g.wire(t, common().web)
	w.say("GET /%2F HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: \x01\x1b\"\\\r\nX-Request-Id: \"}\\\"\r\n\r\n")
	_ = w.hear("GET")
	refused++
	waitFor(t, "all records", 2*time.Second, func() bool { return len(g.audit(t)) >= refused })
	for i, record := range g.audit(t) {
		bad := bytes.IndexFunc(record.line, func(r rune) bool { return r < ' ' || r == 0x7f })
		if bad >= 0 || !utf8.Valid(record.line) {
			t.Errorf("line %d has a raw control byte at %d, or is no UTF-8: %q", i+1, bad, record.line)
		}
		if record.Authorized == nil || *record.Authorized || record.Reason == "" {
			t.Errorf("line %d is forged or broken: %q", i+1, record.line)
		}
	}
	if n := len(g.refusals(t, func(*auditRecord) bool { return true })); n != refused {
		t.Errorf("%d records for %d refusals", n, refused)
	}
}

func TestChainGoesOnOverARestart(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	for range 3 {
		for range 4 {
			_ = g.try(t, versions["TLS1.3"], "h1", nil)
		}
		g.stop()
		g.run()
		if !g.becomesReady() {
			t.Fatalf("does not start again:\n%s", g.stderr)
		}
	}
	lines := g.audit(t)
	if len(lines) < 12 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		if line.Seq != lines[0].Seq+int64(i) {
			t.Errorf("line %d has seq %d", i+1, line.Seq)
		}
		if i == 0 {
			continue
		}
		bare, whole := sha256.Sum256(lines[i-1].line), sha256.Sum256(append(slices.Clone(lines[i-1].line), '\n'))
		if line.Previous != hex.EncodeToString(bare[:]) && line.Previous != hex.EncodeToString(whole[:]) {
			t.Errorf("line %d does not name the line before", i+1)
		}
	}
}

func TestVerifyNamesTheFirstBrokenLine(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	for range 6 {
		_ = g.try(t, versions["TLS1.3"], "h1", nil)
	}
	g.stop()
	whole := bytes.SplitAfter(must(os.ReadFile(g.auditPath())), []byte("\n"))
	whole = whole[:len(whole)-1]
	changed := func(change func(lines [][]byte) [][]byte) [][]byte { return change(slices.Clone(whole)) }
	for name, row := range map[string]struct {
		lines [][]byte
		want  string // the number of the line that is named, empty: all is well
	}{
		"untouched": {whole, ""},
		"a byte changed": {changed(func(l [][]byte) [][]byte {
			l[2] = bytes.Replace(l[2], []byte("certificate_missing"), []byte("certificate_expired"), 1)
			return l
		}), "[34]"}, // told at the line itself, or at the one that no longer fits it
		"a line removed":     {changed(func(l [][]byte) [][]byte { return slices.Delete(l, 3, 4) }), "4"},
		"two lines swapped":  {changed(func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }), "2"},
		"a line doubled":     {changed(func(l [][]byte) [][]byte { return slices.Insert(l, 2, l[1]) }), "3"},
		"a line of garbage":  {changed(func(l [][]byte) [][]byte { l[4] = []byte("garbage\n"); return l }), "5"},
		"the last cut short": {changed(func(l [][]byte) [][]byte { l[5] = l[5][:20]; return l }), "6"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			if err := os.WriteFile(path, bytes.Join(row.lines, nil), 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := tollgate(t, "audit", "verify", path)
			if row.want == "" {
				if code != 0 {
					t.Errorf("exit %d: %s", code, output)
				}
				return
			}
			if code != 3 || !regexp.MustCompile(regexp.QuoteMeta(path)+`:`+row.want+`\b|line `+row.want+`\b`).MatchString(output) {
				t.Errorf("exit %d, want 3 and line %s named: %s", code, row.want, output)
			}
		})
	}
}

func TestAccessLogHasOneLineForEachRequest(t *testing.T) {
	t.Parallel()
	users, web := grpcBackend(t), httpBackend(t)
	g := start(t, setup{top: []string{"access_log: {path: access.jsonl}"},
		routes:   []string{route("grpc: user.UserService/*", "backend: users"), route("path: /*", "backend: web")},
		backends: []string{h2("users", users.Address), http1("web", web.Address)}})
	for i := range 5 {
		_ = g.client(t, "h1", common().web).get(fmt.Sprint("/status/20", i, "?secret=1"))
	}
	_, err := backend.Invoke(ordering(context.Background(), backend.DoFail, "5"), g.rpc(t, common().web), login, nil)
	wantCode(t, err, codes.NotFound)
	lines := func() [][]byte {
		content, _ := os.ReadFile(filepath.Join(g.dir, "access.jsonl"))
		return bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	}
	waitFor(t, "access lines", 2*time.Second, func() bool { return len(lines()) == 6 })
	for i, line := range lines() {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Errorf("line %d is no JSON: %s", i+1, line)
		}
		want := []string{webID, "timestamp", "/status/20", "\"h1\"|http/1.1|HTTP/1.1"}
		if i == 5 {
			want = []string{webID, "timestamp", login, "h2"}
		}
		for _, word := range want {
			if !regexp.MustCompile(word).Match(line) {
				t.Errorf("line %d has no %s: %s", i+1, word, line)
			}
		}
	}
}

func TestLogsAreReopenedOnHangup(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{})
	_ = g.try(t, versions["TLS1.3"], "h1", nil)
	g.waitForAudit(t, "before", because("certificate_missing"))
	rotated := g.auditPath() + ".1"
	if err := os.Rename(g.auditPath(), rotated); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGHUP)
	waitFor(t, "a record in the new file", 5*time.Second, func() bool {
		if got := g.try(t, versions["TLS1.3"], "h1", nil); got.status != http.StatusForbidden {
			t.Errorf("got %+v", got)
		}
		info, err := os.Stat(g.auditPath())
		return err == nil && info.Size() > 0
	})
	g.stop()
	if output, code := tollgate(t, "audit", "verify", rotated, g.auditPath()); code != 0 {
		t.Errorf("the chain does not go on over the rotation: exit %d: %s", code, output)
	}
}
