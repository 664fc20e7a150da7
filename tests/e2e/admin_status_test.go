package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What the page at / is made of, and what it asks for: /status and /audit.

type statusReport struct {
	Version, State string
	Now, Started   time.Time
	Uptime         int `json:"uptime_seconds"`
	Workers        int
	Generation     int
	Reload         struct {
		Success  bool
		At       *time.Time
		Problems []string
	}
	Memory struct {
		Resident int64 `json:"resident_bytes"`
		Ceiling  int64 `json:"ceiling_bytes"`
	}
	Audit struct {
		Records       int
		WriteFailures int `json:"write_failures"`
		Failing       bool
	}
	Listeners []struct{ Name, Address string }
	Backends  []struct {
		Name, Protocol string
		Endpoints      []string
	}
	Uppers []string                    `json:"bucket_upper_seconds"`
	Series map[string][]map[string]any `json:"series"`
}

func (g *gateway) json(t *testing.T, path string, into any) {
	t.Helper()
	code, text := g.adminGet(path)
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, code, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, text)
	}
}

// labelsOf writes the labels of a series of /status as the exposition does, in its own order of names.
func labelsOf(one map[string]any) map[string]string {
	labels := map[string]string{}
	for name, value := range one {
		if text, ok := value.(string); ok {
			labels[name] = text
		}
	}
	return labels
}

func TestStatusSaysWhatAScrapeSays(t *testing.T) {
	t.Parallel()
	users, back := grpcBackend(t), httpBackend(t)
	g := start(t, setup{
		routes: []string{
			route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 3}]"),
			route("path: /status/*", "backend: web"), route("path: /healthz", "respond: {status: 204}")},
		backends: []string{h2("users", users.Address), http1("web", back.Address)}})
	var before statusReport
	waitFor(t, "the first look at the memory", 5*time.Second, func() bool {
		g.json(t, "/status", &before)
		return before.Memory.Resident > 0
	})
	if before.State != "serving" || before.Workers != 2 || !before.Reload.Success || before.Reload.At != nil || len(before.Reload.Problems) != 0 ||
		time.Since(before.Started) > slow(time.Minute) || before.Now.Before(before.Started) || before.Memory.Resident < 1<<20 ||
		before.Version == "" || len(before.Uppers) != 14 {
		t.Errorf("at the start: %+v", before)
	}
	if fmt.Sprint(before.Listeners) != fmt.Sprintf("[{edge %s}]", g.address) ||
		fmt.Sprint(before.Backends) != fmt.Sprintf("[{users h2 [%s]} {web http1 [%s]}]", users.Address, back.Address) {
		t.Errorf("what is configured: %+v, %+v", before.Listeners, before.Backends)
	}
	conn := g.rpc(t, common().web)
	wantPasses(t, "Login", passes(t, conn, 5, login), 3)
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		for _, path := range []string{"/status/200", "/status/500", "/healthz", "/nowhere"} {
			_ = c.get(path)
		}
		c.transport.CloseIdleConnections()
	}
	_ = conn.Close()
	active := func() float64 { return g.metric(t, `tollgate_connections_active{listener="edge"}`) }
	waitFor(t, "all to be gone", 5*time.Second, func() bool { return active() == 0 })
	var now statusReport
	g.json(t, "/status", &now)
	samples, _ := g.exposition(t)
	compared := 0
	for _, s := range samples {
		name := strings.TrimPrefix(s.name, "tollgate_")
		for _, one := range now.Series[name] {
			if fmt.Sprint(labelsOf(one)) != fmt.Sprint(s.labels) {
				continue
			}
			if compared++; one["value"] != s.value {
				t.Errorf("%s %v: %v in /status, %v in /metrics", name, s.labels, one["value"], s.value)
			}
		}
		base, isCount := strings.CutSuffix(name, "_count")
		for _, one := range now.Series[base] {
			if !isCount || base == "loop_turn_duration_seconds" || fmt.Sprint(labelsOf(one)) != fmt.Sprint(s.labels) {
				continue
			}
			sum := 0.0
			for _, count := range one["buckets"].([]any) {
				sum += count.(float64)
			}
			if compared++; sum != s.value {
				t.Errorf("%s %v: %v in /status, %v in /metrics", base, s.labels, sum, s.value)
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d series stand in both", compared)
	}
	open := 0.0
	for _, one := range now.Series["upstream_connections_active"] {
		open += one["value"].(float64)
	}
	if open < 1 {
		t.Errorf("no kept connection to a backend is counted: %v", now.Series["upstream_connections_active"])
	}
	if now.Audit.Records != 4 || now.Audit.Failing || now.Audit.WriteFailures != 0 {
		t.Errorf("audit: %+v", now.Audit)
	}
}

func TestLatestAuditRecordsAreShown(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{route("path: /here", "respond: {status: 204}")}})
	c := g.client(t, "h1", common().web)
	var records []struct {
		Seq     int
		Reason  string
		Request struct{ Path string }
	}
	g.json(t, "/audit", &records)
	if len(records) != 0 {
		t.Errorf("before any refusal: %v", records)
	}
	for i := range 30 {
		wantStatus(t, c.get(fmt.Sprint("/nowhere/", i)), 404)
	}
	for query, want := range map[string]int{"": 20, "?limit=5": 5, "?limit=1": 1, "?limit=1000": 30} {
		waitFor(t, "the records", 5*time.Second, func() bool {
			g.json(t, "/audit"+query, &records)
			return len(records) == want && records[0].Seq == 30
		})
		for i, record := range records {
			if record.Seq != 30-i || record.Reason != "no_route" || record.Request.Path != fmt.Sprint("/nowhere/", 29-i) {
				t.Errorf("%s: record %d is %+v", query, i, record)
			}
		}
	}
	_, shown := g.adminGet("/audit?limit=1")
	g.countAudit(t, 30, because("no_route"))
	lines := strings.Split(strings.TrimSpace(string(must(os.ReadFile(g.auditPath())))), "\n")
	if strings.TrimSpace(shown) != "["+lines[len(lines)-1]+"]" {
		t.Errorf("not the very line of the file:\n%s\n%s", shown, lines[len(lines)-1])
	}
}

func TestARefusedReloadIsToldWhereOneLooks(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	good := must(os.ReadFile(g.config))
	writeFile(t, g.dir, "tollgate.yaml", append([]byte("nonsense: 1\n\"two\\nlines\": 2\n"), good...))
	if code, _ := g.post(t, "/reload"); code != http.StatusConflict {
		t.Fatal(code)
	}
	var now statusReport
	g.json(t, "/status", &now)
	if now.Reload.Success || now.Reload.At == nil || time.Since(*now.Reload.At) > slow(time.Minute) || len(now.Reload.Problems) < 2 ||
		!strings.Contains(now.Reload.Problems[0], "tollgate.yaml:1:1: nonsense: ") {
		t.Errorf("/status: %+v", now.Reload)
	}
	_, config := g.adminGet("/config")
	head, rest, found := strings.Cut(config, "version: ")
	if !found || !strings.HasPrefix(config, "# The last reload was refused") || !strings.Contains(head, "nonsense") {
		t.Errorf("/config: %s", config)
	}
	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, "# ") {
			t.Errorf("not a comment: %q", line)
		}
	}
	writeFile(t, g.dir, "dumped.yaml", []byte(head+"version: "+rest)) // still a file that can be loaded
	if said, code := tollgate(t, "check", "--config", g.dir+"/dumped.yaml"); code != 0 {
		t.Errorf("check of /config: %d %s", code, said)
	}
	writeFile(t, g.dir, "tollgate.yaml", good)
	g.reload(t)
	now = statusReport{}
	g.json(t, "/status", &now)
	if !now.Reload.Success || now.Reload.At == nil || len(now.Reload.Problems) != 0 {
		t.Errorf("after a good one: %+v", now.Reload)
	}
	if _, config := g.adminGet("/config"); strings.HasPrefix(config, "#") {
		t.Errorf("/config: %s", config)
	}
	bad := pemCertificates(common().root.cert.Raw) // no certificate of the key beside it
	writeFile(t, g.dir, "gateway.pem", bad)
	waitFor(t, "files that do not load", 5*time.Second, func() bool {
		now = statusReport{}
		g.json(t, "/status", &now)
		return !now.Reload.Success && len(now.Reload.Problems) > 0 && strings.Contains(now.Reload.Problems[0], "gateway.pem")
	})
	if !strings.HasPrefix(now.Reload.Problems[0], g.config+":") {
		t.Errorf("not said where: %q", now.Reload.Problems)
	}
	if _, config := g.adminGet("/config"); !strings.HasPrefix(config, "# Files on disk do not load") || !strings.Contains(config, "#   "+g.config+":") {
		t.Errorf("/config: %s", config)
	}
	writeFile(t, g.dir, "gateway.pem", pemCertificates(common().gateway.Certificate...))
	waitFor(t, "the old ones to be back", 5*time.Second, func() bool {
		now = statusReport{}
		g.json(t, "/status", &now)
		return now.Reload.Success && len(now.Reload.Problems) == 0
	})
}

// A reload loads the same files: whatever was wrong with them is over when it is taken.
func TestReloadTellsThatFilesLoadAgain(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	success := func() float64 { return g.metric(t, reloadSuccess) }
	for range 3 { // whenever between two looks at the files
		writeFile(t, g.dir, "gateway.pem", pemCertificates(common().root.cert.Raw))
		waitFor(t, "files that do not load", 5*time.Second, func() bool { return success() == 0 })
		writeFile(t, g.dir, "gateway.pem", pemCertificates(common().gateway.Certificate...))
		g.reload(t)
		if success() != 1 {
			t.Error("the reload was taken, but is told of as none")
		}
	}
}

// Whatever a browser could fetch for a page: none of it is there, and the policy forbids it too.
func TestThePageIsWholeAndItsPolicyKnowsEveryByte(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	answer := collect(http.Get("http://" + g.admin + "/"))
	policy := answer.header.Get("Content-Security-Policy")
	directives := map[string]string{}
	for part := range strings.SplitSeq(policy, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), " ")
		directives[name] = value
	}
	for name, want := range map[string]string{"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'",
		"frame-ancestors": "'none'", "connect-src": "'self'", "img-src": "data:"} {
		if directives[name] != want {
			t.Errorf("%s is %q, want %q", name, directives[name], want)
		}
	}
	for tag, directive := range map[string]string{"style": "style-src", "script": "script-src"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(answer.body, -1)
		if len(found) != 1 {
			t.Fatalf("%d %s elements", len(found), tag)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; directives[directive] != want {
			t.Errorf("%s is %q, want %q", directive, directives[directive], want)
		}
	}
	if len(directives) != 8 {
		t.Errorf("the policy is %q", policy)
	}
	for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "Cross-Origin-Resource-Policy"} {
		if want := map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin"}[name]; answer.header.Get(name) != want {
			t.Errorf("%s: %q", name, answer.header.Get(name))
		}
	}
	body := strings.ReplaceAll(answer.body, "http://www.w3.org/2000/svg", "") // a name, not an address
	for _, found := range regexp.MustCompile(`(?i)(https?:|//[a-z]|@import|url\(|<iframe|<object|<embed|<img|<base|style="|\son[a-z]+="|javascript:|eval\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write)`).FindAllString(body, -1) {
		if found != "" {
			t.Errorf("the page holds %q", found)
		}
	}
	for _, path := range []string{"/status", "/audit", "/"} {
		r := must(http.NewRequest("GET", "http://"+g.admin+path, nil))
		r.Host = "evil.example"
		wantStatus(t, collect(http.DefaultClient.Do(r)), http.StatusForbidden)
		wantStatus(t, collect(http.Post("http://"+g.admin+path, "", nil)), http.StatusMethodNotAllowed)
	}
}
