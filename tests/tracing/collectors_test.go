package tracing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"tollgate/tests/harness"
)

// A scripted is a collector that answers as it is told, and keeps what it was sent.
type scripted struct {
	address  string
	mutex    sync.Mutex
	answers  []http.HandlerFunc // one for each request; then all is well
	requests []*http.Request
	times    []time.Time
	traces   []ptrace.Traces
}

func script(t *testing.T, answers ...http.HandlerFunc) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{address: listener.Addr().String(), answers: answers}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	request := ptraceotlp.NewExportRequest()
	s.mutex.Lock()
	s.requests, s.times = append(s.requests, r), append(s.times, time.Now())
	if request.UnmarshalProto(body) == nil {
		s.traces = append(s.traces, request.Traces())
	}
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	s.mutex.Unlock()
	answer(w, r)
}

func (s *scripted) seen() ([]*http.Request, []time.Time, []span) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.requests, s.times, spansOf(s.traces)
}

func say(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
	}
}

func partly(w http.ResponseWriter, _ *http.Request) {
	answer := ptraceotlp.NewExportResponse()
	answer.PartialSuccess().SetRejectedSpans(1)
	answer.PartialSuccess().SetErrorMessage("one too many")
	_, _ = w.Write(harness.Must(answer.MarshalProto()))
}

func endless(w http.ResponseWriter, r *http.Request) {
	for piece := []byte(strings.Repeat("x", 32<<10)); r.Context().Err() == nil; {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

func TestCollectorThatDoesNotAnswerWellIsAskedAgainAsOTLPSays(t *testing.T) {
	t.Parallel()
	elsewhere := script(t)
	for _, row := range []struct {
		name             string
		answers          []http.HandlerFunc
		exported, failed int
		asked            int
		pause            time.Duration
	}{
		{"503", []http.HandlerFunc{say(503)}, 1, 0, 2, 200 * time.Millisecond},
		{"502 and 504", []http.HandlerFunc{say(502), say(504)}, 1, 0, 3, 200 * time.Millisecond},
		{"429 with a wait", []http.HandlerFunc{say(429, "Retry-After", "1")}, 1, 0, 2, time.Second},
		{"500", []http.HandlerFunc{say(500)}, 0, 1, 1, 0},
		{"400", []http.HandlerFunc{say(400)}, 0, 1, 1, 0},
		{"401", []http.HandlerFunc{say(401)}, 0, 1, 1, 0},
		{"a redirect", []http.HandlerFunc{say(307, "Location", "http://localhost/")}, 0, 1, 1, 0},
		{"202", []http.HandlerFunc{say(202)}, 1, 0, 1, 0},
		{"in part", []http.HandlerFunc{partly}, 0, 1, 1, 0},
		{"a long wait", []http.HandlerFunc{say(503, "Retry-After", "3000")}, 0, 1, 1, 0},
		{"without end", []http.HandlerFunc{endless}, 1, 0, 2, 200 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := script(t, row.answers...)
			g := harness.Start(t, harness.Setup{Top: []string{tracing(s.address, "batch: 1")}, Routes: respond})
			get(t, g.Client(t, "h1"), "/x")
			harness.WaitFor(t, "the span to be settled", 10*time.Second, func() bool {
				return counted(g, "exported") == row.exported && counted(g, "failed") == row.failed
			})
			requests, times, _ := s.seen()
			if len(requests) != row.asked {
				t.Errorf("asked %d times, want %d", len(requests), row.asked)
			}
			if row.pause > 0 && times[1].Sub(times[0]) < row.pause {
				t.Errorf("asked again after %v", times[1].Sub(times[0]))
			}
			if row.failed > 0 || row.asked > 1 {
				harness.WaitFor(t, "the problem to be told", 2*time.Second, func() bool { return strings.Contains(g.Said(), "spans not exported") })
			}
		})
	}
	if requests, _, _ := elsewhere.seen(); len(requests) > 0 {
		t.Error("a redirect was followed")
	}
}

func TestExportIsWhatOTLPOverHTTPAsksFor(t *testing.T) {
	t.Parallel()
	s := script(t)
	const secret = "Bearer 8a7c1f30"
	g := harness.Start(t, harness.Setup{Top: []string{tracing(s.address, "headers: [{name: Authorization, value: "+secret+"}, {name: x-tenant, value: blue}]")},
		Routes: respond})
	client := g.Client(t, "h2")
	for range 300 {
		get(t, client, "/x")
	}
	awaitCount(t, g, "exported", 300)
	requests, _, spans := s.seen()
	if len(spans) != 300 || len(requests) > 100 {
		t.Errorf("%d spans in %d requests", len(spans), len(requests))
	}
	for _, r := range requests {
		if r.Method != "POST" || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" ||
			!strings.HasPrefix(r.Header.Get("User-Agent"), "tollgate/") || r.Header.Get("Authorization") != secret || r.Header.Get("X-Tenant") != "blue" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
	}
	if _, config := g.Ask("GET", "/config"); strings.Contains(config, secret) || !strings.Contains(config, "<redacted>") || !strings.Contains(config, "Authorization") {
		t.Errorf("/config says:\n%s", config)
	}
	if strings.Contains(g.Said(), secret) {
		t.Error("the log has the secret")
	}
}

// serveMeanwhile makes requests, none of which may wait.
func serveMeanwhile(t *testing.T, g *harness.Gateway, count int) {
	t.Helper()
	client := g.Client(t, "h1")
	for range count {
		began := time.Now()
		if got := get(t, client, "/x"); got.Status != http.StatusOK {
			t.Fatalf("got %+v", got)
		}
		if took := time.Since(began); took > harness.Slow(time.Second) {
			t.Errorf("a request took %v", took)
		}
	}
}

func TestDeadAndHangingCollectorsCostSpansAlone(t *testing.T) {
	t.Parallel()
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprint("hangs ", hangs), func(t *testing.T) {
			t.Parallel()
			address := harness.FreeAddress(t)
			var stuck net.Listener
			if hangs {
				stuck = hanging(t, address)
			}
			g := harness.Start(t, harness.Setup{Top: []string{tracing(address, "queue: 100", "batch: 10", "timeout: 500ms")}, Routes: respond})
			serveMeanwhile(t, g, 20)
			before := g.Memory()
			serveMeanwhile(t, g, 2000)
			if grown := g.Memory() - before; grown > 8<<20 && !harness.Instrumented() {
				t.Errorf("grown by %d bytes", grown)
			}
			harness.WaitFor(t, "the loss to be told", 5*time.Second, func() bool { return strings.Contains(g.Said(), "spans not exported") })
			dropped := counted(g, "dropped")
			if dropped < 1800 || dropped > 1920 {
				t.Errorf("%d spans of 2020 are dropped, the queue holds 100", dropped)
			}
			if hangs {
				_ = stuck.Close()
			}
			c := collect(t, address, nil)
			harness.WaitFor(t, "what was kept", 20*time.Second, func() bool {
				return counted(g, "exported")+counted(g, "failed")+dropped == 2020
			})
			if got := counted(g, "exported"); got != c.sink.SpanCount() || got < 90 {
				t.Errorf("%d exported, %d came", got, c.sink.SpanCount())
			}
			get(t, g.Client(t, "h1"), "/after")
			harness.WaitFor(t, "spans to go on", 10*time.Second, func() bool {
				spans := c.spans()
				return spans[len(spans)-1].text("url.path") == "/after"
			})
		})
	}
}

func TestDrainSendsWhatWaits(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(c.address)}, Routes: respond})
	client := g.Client(t, "h1")
	for range 50 {
		get(t, client, "/x")
	}
	client.CloseIdleConnections()
	g.Signal(syscall.SIGTERM)
	if code := g.Exit(10 * time.Second); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := c.sink.SpanCount(); got != 50 {
		t.Errorf("%d of 50 spans came", got)
	}
}

func TestDrainDoesNotWaitForAHangingCollector(t *testing.T) {
	t.Parallel()
	for _, signals := range []int{1, 2} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			t.Parallel()
			address := harness.FreeAddress(t)
			hanging(t, address)
			g := harness.Start(t, harness.Setup{Top: []string{tracing(address)}, Routes: respond})
			client := g.Client(t, "h1")
			get(t, client, "/x")
			if signals == 1 {
				client.CloseIdleConnections()
			}
			began := time.Now()
			for range signals {
				g.Signal(syscall.SIGTERM)
				harness.WaitFor(t, "the drain", 5*time.Second, func() bool { return strings.Contains(g.Said(), "draining") })
			}
			g.Exit(10 * time.Second)
			if took := time.Since(began); took > harness.Slow(2800*time.Millisecond) {
				t.Errorf("it took %v to end", took)
			}
			if !strings.Contains(g.Said(), "spans lost") {
				t.Errorf("the loss was not told:\n%s", g.Said())
			}
		})
	}
}

func TestReloadAimsElsewhere(t *testing.T) {
	t.Parallel()
	dead, c := harness.FreeAddress(t), collect(t, harness.FreeAddress(t), nil)
	g := harness.Start(t, harness.Setup{Top: []string{tracing(dead, "service_name: before")}, Routes: respond})
	client := g.Client(t, "h1")
	get(t, client, "/kept")
	harness.WaitFor(t, "the problem to be told", 5*time.Second, func() bool { return strings.Contains(g.Said(), "spans not exported") })
	rewrite(t, g, dead, c.address)
	rewrite(t, g, "service_name: before", "service_name: after")
	if status, text := g.Ask("POST", "/reload"); status/100 != 2 {
		t.Fatal(text)
	}
	kept := c.await(t, 1)[0]
	if kept.text("url.path") != "/kept" || kept.resource["service.name"] != "after" {
		t.Errorf("%s of %v", kept.text("url.path"), kept.resource["service.name"])
	}
	rewrite(t, g, "service_name: after", "sample: 0")
	if status, text := g.Ask("POST", "/reload"); status/100 != 2 {
		t.Fatal(text)
	}
	unsampled := func() bool { // a worker takes the new configuration when it gets to it
		before := c.sink.SpanCount()
		get(t, client, "/x")
		awaitCalm(t, g, before+1)
		return c.sink.SpanCount() == before
	}
	harness.WaitFor(t, "the ratio of nothing", 10*time.Second, unsampled)
	rewrite(t, g, "tracing:", "#racing:")
	if status, text := g.Ask("POST", "/reload"); status/100 == 2 || !strings.Contains(text, "tracing") {
		t.Errorf("turned off without a restart: %d %s", status, text)
	}
}

// awaitCalm waits until a span that was on its way has come, or a second and more has passed without one.
func awaitCalm(t *testing.T, g *harness.Gateway, count int) {
	t.Helper()
	deadline := time.Now().Add(1500 * time.Millisecond)
	harness.WaitFor(t, "calm", 5*time.Second, func() bool { return counted(g, "exported") >= count || time.Now().After(deadline) })
}

func TestNameOfACollectorIsResolvedUnderTheSandbox(t *testing.T) {
	t.Parallel()
	c := collect(t, harness.FreeAddress(t), nil)
	_, port, _ := net.SplitHostPort(c.address)
	g := harness.Start(t, harness.Setup{Top: []string{tracing("localhost:"+port, "batch: 1")}, Routes: respond})
	get(t, g.Client(t, "h1"), "/x")
	c.await(t, 1)
	// A label that no resolver is asked for.
	name := strings.Repeat("x", 70) + ".invalid"
	g = harness.Start(t, harness.Setup{Top: []string{tracing(name+":4318", "batch: 1")}, Routes: respond})
	get(t, g.Client(t, "h1"), "/x")
	harness.WaitFor(t, "the name to be told", 15*time.Second, func() bool { return strings.Contains(g.Said(), name+": ") })
}

// authority makes a root and a certificate for 127.0.0.1, as PEM files below the directory.
func authority(t *testing.T, dir string) {
	t.Helper()
	key := harness.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "of " + dir}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER := harness.Must(x509.CreateCertificate(rand.Reader, root, root, key.Public(), key))
	leafKey := harness.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "collector"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafDER := harness.Must(x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), key))
	for name, block := range map[string]*pem.Block{"roots.pem": {Type: "CERTIFICATE", Bytes: rootDER}, "collector.pem": {Type: "CERTIFICATE", Bytes: leafDER},
		"collector.key": {Type: "PRIVATE KEY", Bytes: harness.Must(x509.MarshalPKCS8PrivateKey(leafKey))}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecureCollectorIsHeldAgainstItsRootsAlone(t *testing.T) {
	t.Parallel()
	right, wrong := t.TempDir(), t.TempDir()
	authority(t, right)
	authority(t, wrong)
	c := collect(t, harness.FreeAddress(t), map[string]any{"tls": map[string]any{"cert_file": filepath.Join(right, "collector.pem"), "key_file": filepath.Join(right, "collector.key")}})
	secure := func(address, dir string) string {
		return fmt.Sprintf("tracing: {endpoint: %q, batch: 1, trusted_ca: %q}", "https://"+address+"/v1/traces", filepath.Join(dir, "roots.pem"))
	}
	g := harness.Start(t, harness.Setup{Top: []string{secure(c.address, right)}, Routes: respond})
	get(t, g.Client(t, "h1"), "/x")
	c.await(t, 1)
	_, port, _ := net.SplitHostPort(c.address)
	for name, line := range map[string]string{"another root": secure(c.address, wrong), "another name": secure("localhost:"+port, right)} {
		g := harness.Start(t, harness.Setup{Top: []string{line}, Routes: respond})
		get(t, g.Client(t, "h1"), "/x")
		harness.WaitFor(t, name+" to be told", 10*time.Second, func() bool { return strings.Contains(g.Said(), "spans not exported") })
		g.WantSaid("certificate")
	}
	if got := c.sink.SpanCount(); got != 1 {
		t.Errorf("%d spans came", got)
	}
	rewrite(t, g, "roots.pem", "collector.key")
	if status, text := g.Ask("POST", "/reload"); status/100 == 2 || !strings.Contains(text, "tracing.trusted_ca: ") {
		t.Errorf("roots that are none were taken: %d %s", status, text)
	}
	get(t, g.Client(t, "h1"), "/x")
	c.await(t, 2)
}
