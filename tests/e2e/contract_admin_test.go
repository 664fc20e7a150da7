package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The admin listener and the metrics, by name (CONTRACT, section 5).

var contractMetrics = map[string]struct {
	kind   string
	labels []string
}{
	"tollgate_requests_total":                       {"counter", []string{"listener", "route", "protocol", "code"}},
	"tollgate_request_duration_seconds":             {"histogram", []string{"route"}},
	"tollgate_rejections_total":                     {"counter", []string{"listener", "reason"}},
	"tollgate_rate_limit_decisions_total":           {"counter", []string{"route", "limit", "decision"}},
	"tollgate_tls_handshakes_total":                 {"counter", []string{"listener", "result"}},
	"tollgate_connections_active":                   {"gauge", []string{"listener"}},
	"tollgate_upstream_requests_total":              {"counter", []string{"backend", "endpoint", "code"}},
	"tollgate_upstream_duration_seconds":            {"histogram", nil},
	"tollgate_certificate_expiry_timestamp_seconds": {"gauge", nil},
	"tollgate_config_last_reload_success":           {"gauge", []string{}},
	"tollgate_audit_records_total":                  {"counter", []string{}},
	"tollgate_build_info":                           {"gauge", nil},
	"tollgate_loop_turn_duration_seconds":           {"histogram", []string{}},
}

// A sample is one line of the exposition, taken apart as strictly as Prometheus does.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|Inf)|NaN)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)`)
)

func (g *gateway) exposition(t *testing.T) (samples []sample, types map[string]string) {
	t.Helper()
	status, text := g.adminGet("/metrics")
	if status != 200 || !strings.HasSuffix(text, "\n") {
		t.Fatalf("%d, ends with %q", status, text[max(0, len(text)-20):])
	}
	types = map[string]string{}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.SplitN(line, " ", 4)
		if words[0] == "#" {
			if words[1] == "TYPE" {
				if types[words[2]] != "" {
					t.Errorf("%s has two types", words[2])
				}
				types[words[2]] = words[3]
			}
			continue
		}
		match := sampleLine.FindStringSubmatch(line)
		series, _, _ := strings.Cut(line, "} ")
		if match == nil || seen[series] {
			t.Fatalf("no sample, or one that is there twice: %q", line)
		}
		seen[series] = true
		s := sample{match[1], map[string]string{}, 0}
		s.value, _ = strconv.ParseFloat(match[3], 64)
		for rest := match[2]; rest != ""; {
			pair := labelPair.FindStringSubmatch(rest)
			if pair == nil || s.labels[pair[1]] != "" {
				t.Fatalf("labels of %q", line)
			}
			s.labels[pair[1]] = pair[2]
			rest = rest[len(pair[0]):]
		}
		samples = append(samples, s)
	}
	return samples, types
}

func family(name string, types map[string]string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base := strings.TrimSuffix(name, suffix); types[base] == "histogram" {
			return base
		}
	}
	return name
}

func TestEveryMetricOfTheContractHasItsNameTypeAndLabels(t *testing.T) {
	t.Parallel()
	users, back := grpcBackend(t), httpBackend(t)
	twins := make([]*authority, 300)
	trust := pemCertificates(common().root.cert.Raw, common().root.cert.Raw)
	for i := range twins { // three hundred CAs, all of the one serial
		twins[i] = newRoot(fmt.Sprint("twin ", i), withKey(common().root.key), change(func(d *draft) { d.SerialNumber = big.NewInt(1) }))
		trust = append(trust, pemCertificates(twins[i].cert.Raw)...)
	}
	g := start(t, setup{trust: trust, routes: []string{
		route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 1}]"),
		route(`path: "/a'b!c/*"`, "backend: web"), route("path: /*", "backend: web")},
		backends: []string{h2("users", users.Address), http1("web", back.Address)}})
	_, types := g.exposition(t)
	for name, want := range contractMetrics {
		if types[name] != want.kind {
			t.Errorf("before any traffic %s is a %q", name, types[name])
		}
	}
	conn := g.rpc(t, common().web)
	_, _ = invoke(t, conn, login), invoke(t, conn, login)
	c := g.client(t, "h1", common().web)
	evil := "e\"v\\i\nl"
	_ = c.get("/a'b!c/x", "X-Evil", evil)
	for _, method := range []string{"GET", "POST", "EVIL"} {
		_ = c.do(request(method, "/evil-path?evil", "", "Traceparent", "evil"))
	}
	r := request("GET", "/x", "")
	r.Host = "evil.example"
	_ = c.do(r)
	_ = g.try(t, versions["TLS1.3"], "h1", common().root.svid("spiffe://evil/evil", commonName("evil")))
	_ = g.try(t, versions["TLS1.3"], "h1", nil)
	samples, types := g.exposition(t)
	buckets := map[string]float64{}
	found := map[string]bool{}
	for _, s := range samples {
		name := family(s.name, types)
		found[name] = true
		var labels []string
		for label, value := range s.labels {
			if strings.Contains(strings.ToLower(value), "evil") {
				t.Errorf("%s: the caller's word in %v", s.name, s.labels)
			}
			if label != "le" {
				labels = append(labels, label)
			}
		}
		slices.Sort(labels)
		want := slices.Sorted(slices.Values(contractMetrics[name].labels))
		if contractMetrics[name].labels != nil && fmt.Sprint(labels) != fmt.Sprint(want) {
			t.Errorf("%s has the labels %v, want %v", s.name, labels, want)
		}
		if types[name] == "" || !strings.HasPrefix(name, "tollgate_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s has no type", s.name)
		}
		if key := name + s.labels["route"] + s.labels["backend"]; strings.HasSuffix(s.name, "_bucket") {
			if s.value < buckets[key] {
				t.Errorf("%s %v is less than the bucket before", s.name, s.labels)
			}
			buckets[key] = s.value
		} else if strings.HasSuffix(s.name, "_count") && types[name] == "histogram" && s.value != buckets[key] {
			t.Errorf("%s %v is %v, its last bucket %v", s.name, s.labels, s.value, buckets[key])
		}
	}
	for name := range contractMetrics {
		if !found[name] {
			t.Errorf("%s has no sample", name)
		}
	}
	expiries := 0
	for _, s := range samples {
		if s.name == "tollgate_certificate_expiry_timestamp_seconds" {
			expiries++
		}
	}
	if expiries != 2+2+1+300 && expiries != 2+1+300 { // two served, the root once, its twins
		t.Errorf("%d certificates have an expiry", expiries)
	}
}

func TestGaugesFollowWhatHappens(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	active, success := `tollgate_connections_active{listener="edge"}`, "tollgate_config_last_reload_success"
	var open []net.Conn
	for range 5 {
		conn, err := g.dialTLS(t, g.trusting(common().web, "http/1.1"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	waitFor(t, "five connections", 2*time.Second, func() bool { return g.metric(t, active) == 5 })
	for _, conn := range open {
		_ = conn.Close()
	}
	waitFor(t, "none", 4*time.Second, func() bool { return g.metric(t, active) == 0 })
	good := g.setup.yaml(g.address, g.admin)
	writeFile(t, g.dir, "tollgate.yaml", []byte(good+"nonsense: 1\n"))
	if status, text := g.post(t, "/reload"); status/100 == 2 || !strings.Contains(text, "nonsense") {
		t.Errorf("a bad reload: %d %s", status, text)
	}
	if got := g.metric(t, success); got != 0 {
		t.Errorf("after a bad reload: %v", got)
	}
	wantStatus(t, g.once(t, g.trusting(common().web)), 200)
	writeFile(t, g.dir, "tollgate.yaml", []byte(good))
	g.reload(t)
	if got := g.metric(t, success); got != 1 {
		t.Errorf("after a good reload: %v", got)
	}
}

func TestUpstreamFailuresHaveAWordForTheirCode(t *testing.T) {
	t.Parallel()
	dead := freeAddress(t)
	g := start(t, setup{routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", dead)}})
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), 503)
	samples, _ := g.exposition(t)
	for _, s := range samples {
		if s.name == "tollgate_upstream_requests_total" && s.value == 1 && s.labels["endpoint"] == dead && s.labels["code"] != "" {
			return
		}
	}
	t.Error("the failure is not counted")
}

func TestAdminAnswersAsAWebServerShould(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, row := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/healthz", 200, "text/plain"}, {"GET", "/readyz", 200, "text/plain"}, {"GET", "/metrics", 200, "text/plain; version=0.0.4"},
		{"GET", "/config", 200, ""}, {"GET", "/certificates", 200, "application/json"}, {"GET", "/limits", 200, "application/json"},
		{"GET", "/status", 200, "application/json"}, {"GET", "/audit", 200, "application/json"}, {"GET", "/audit?limit=3", 200, "application/json"},
		{"GET", "/", 200, "text/html"}, {"HEAD", "/healthz", 200, ""}, {"HEAD", "/metrics", 200, ""}, {"GET", "/healthz?x=1", 200, ""},
		{"GET", "/nothing", 404, ""}, {"GET", "/healthz/", 404, ""}, {"GET", "/HEALTHZ", 404, ""}, {"GET", "/../healthz", 404, ""},
		{"POST", "/healthz", 405, ""}, {"PUT", "/config", 405, ""}, {"DELETE", "/limits", 405, ""}, {"GET", "/reload", 405, ""},
		{"GET", "/drain", 405, ""}, {"HEAD", "/drain", 405, ""}, {"POST", "/reload", 200, ""}, {"OPTIONS", "/", 405, ""},
	} {
		request := must(http.NewRequest(row.method, "http://"+g.admin+row.path, nil))
		request.URL.Opaque = row.path
		got := collect(http.DefaultTransport.RoundTrip(request))
		if got.err != nil || got.status != row.status || !strings.HasPrefix(got.header.Get("Content-Type"), row.kind) {
			t.Errorf("%s %s: %d, %v, %v", row.method, row.path, got.status, got.header, got.err)
		}
		if (row.status == 405) != (got.header.Get("Allow") != "") {
			t.Errorf("%s %s: Allow %q", row.method, row.path, got.header.Get("Allow"))
		}
		if row.method == "HEAD" && got.body != "" {
			t.Errorf("HEAD %s has a body", row.path)
		}
	}
	for name, text := range map[string]string{"another Host": "GET /config HTTP/1.1\r\nHost: evil.example\r\n\r\n", "none": "GET / HTTP/1.1\r\n\r\n",
		"another page": "POST /drain HTTP/1.1\r\nHost: " + g.admin + "\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n",
		"two lengths":  "POST /drain HTTP/1.1\r\nHost: " + g.admin + "\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"no HTTP":      "\x16\x03\x01\x00\x05hello\r\n\r\n"} {
		conn := must(net.Dial("tcp", g.admin))
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, text)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && answer.StatusCode/100 != 4 {
			t.Errorf("%s: %s", name, answer.Status)
		}
		_ = conn.Close()
	}
	if status, _ := g.adminGet("/readyz"); status != 200 {
		t.Errorf("a page of strangers drained it: %d", status)
	}
}

func TestAdminTellsOfDrainCertificatesAndLimits(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{top: []string{"redis: {address: 127.0.0.1:6379, password: very-secret}"}, backends: []string{http1("web", back.Address)},
		routes: []string{route("path: /*", "backend: web, rate_limits: [{rate: 1/h, burst: 5, per: [identity]}]")}})
	c := g.client(t, "h1", common().web)
	for range 7 {
		_ = c.get("/x")
	}
	if _, config := g.adminGet("/config"); strings.Contains(config, "very-secret") || !strings.Contains(config, "6379") {
		t.Errorf("/config: %s", config)
	}
	var limits []map[string]any
	_, text := g.adminGet("/limits")
	if err := json.Unmarshal([]byte(text), &limits); err != nil || len(limits) != 1 || limits[0]["granted"] != 5.0 || limits[0]["refused"] != 2.0 {
		t.Errorf("/limits: %v: %s", err, text)
	}
	var certificates map[string][]struct {
		Role, Subject string
		DaysLeft      *int      `json:"days_left"`
		NotAfter      time.Time `json:"not_after"`
	}
	_, text = g.adminGet("/certificates")
	if err := json.Unmarshal([]byte(text), &certificates); err != nil || len(certificates["edge"]) != 4 {
		t.Fatalf("/certificates: %v: %s", err, text)
	}
	for _, one := range certificates["edge"] {
		if one.DaysLeft == nil || *one.DaysLeft > 1 || one.Subject == "" || one.Role == "" || one.NotAfter.Before(time.Now()) {
			t.Errorf("/certificates: %+v", one)
		}
	}
}
