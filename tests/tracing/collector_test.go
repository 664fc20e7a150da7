// Package tracing tests the export of spans against the OpenTelemetry Collector's own receiver. It is a module of its
// own, so that the other tests need none of the collector's.
package tracing

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given { // these tests mostly wait for another process
		_ = flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}

// A collector is the OpenTelemetry Collector's OTLP receiver with a sink behind it.
type collector struct {
	address string
	sink    consumertest.TracesSink
}

// collect starts a collector; `protocol` is what its configuration says beside the endpoint.
func collect(t *testing.T, address string, protocol map[string]any) *collector {
	t.Helper()
	c := &collector{address: address}
	factory := otlpreceiver.NewFactory()
	settings := map[string]any{"endpoint": address}
	for key, value := range protocol {
		settings[key] = value
	}
	config := factory.CreateDefaultConfig()
	conf := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": settings}})
	if err := conf.Unmarshal(config); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	receiver, err := factory.CreateTraces(ctx, receivertest.NewNopSettings(factory.Type()), config, &c.sink)
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Start(ctx, componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = receiver.Shutdown(ctx) })
	return c
}

// A span with what it came with.
type span struct {
	ptrace.Span
	resource, scope map[string]any
}

func (s span) text(key string) string {
	if value, ok := s.Attributes().Get(key); ok {
		return value.AsString()
	}
	return ""
}

func (s span) trace() string { return s.TraceID().String() }

func spansOf(all []ptrace.Traces) (found []span) {
	for _, traces := range all {
		for _, resource := range traces.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, one := range scope.Spans().All() {
					found = append(found, span{one, resource.Resource().Attributes().AsRaw(),
						map[string]any{"name": scope.Scope().Name(), "version": scope.Scope().Version()}})
				}
			}
		}
	}
	return found
}

func (c *collector) spans() []span { return spansOf(c.sink.AllTraces()) }

// await waits until so many spans have come.
func (c *collector) await(t *testing.T, count int) []span {
	t.Helper()
	harness.WaitFor(t, fmt.Sprint(count, " spans"), 15*time.Second, func() bool { return c.sink.SpanCount() >= count })
	if got := c.sink.SpanCount(); got != count {
		t.Fatalf("%d spans came, want %d", got, count)
	}
	return c.spans()
}

func one(t *testing.T, spans []span, what string, match func(span) bool) span {
	t.Helper()
	var found []span
	for _, each := range spans {
		if match(each) {
			found = append(found, each)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are %s, want one", len(found), what)
	}
	return found[0]
}

func kind(kind ptrace.SpanKind) func(span) bool {
	return func(s span) bool { return s.Kind() == kind }
}

// wantAttributes holds a span against what it must say; "" is what it must not.
func wantAttributes(t *testing.T, s span, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got := s.text(key); got != value {
			t.Errorf("%s: %s is %q, want %q", s.Name(), key, got, value)
		}
	}
}

func wantStatus(t *testing.T, s span, want ptrace.StatusCode) {
	t.Helper()
	if got := s.Status().Code(); got != want {
		t.Errorf("%s: status %v, want %v", s.Name(), got, want)
	}
}

// tracing is the line that turns it on.
func tracing(address string, more ...string) string {
	return fmt.Sprintf("tracing: {%s}", strings.Join(append([]string{fmt.Sprintf("endpoint: %q", "http://"+address+"/v1/traces")}, more...), ", "))
}

var respond = []string{harness.Route("path: /*", `respond: {status: 200, body: "here"}`)}

func webBackend(t *testing.T) *backend.HTTP {
	t.Helper()
	back := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(back.Stop)
	return back
}

// get asks, and sees that it is answered at once whatever the collector does.
func get(t *testing.T, client *http.Client, path string, headers ...string) harness.Reply {
	t.Helper()
	request := harness.Must(http.NewRequest("GET", "https://gateway.test"+path, nil))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	reply := harness.Collect(client.Do(request))
	if reply.Err != nil {
		t.Fatal(reply.Err)
	}
	return reply
}

// counted is what the gateway says became of spans.
func counted(g *harness.Gateway, result string) int {
	return int(g.Metric(fmt.Sprintf("tollgate_trace_spans_total{result=%q}", result)))
}

func awaitCount(t *testing.T, g *harness.Gateway, result string, count int) {
	t.Helper()
	harness.WaitFor(t, fmt.Sprint(count, " spans ", result), 15*time.Second, func() bool { return counted(g, result) >= count })
	if got := counted(g, result); got != count {
		t.Errorf("%d spans %s, want %d", got, result, count)
	}
}

func rewrite(t *testing.T, g *harness.Gateway, from, to string) {
	t.Helper()
	path := filepath.Join(g.Dir, "tollgate.yaml")
	before := string(harness.Must(os.ReadFile(path)))
	if !strings.Contains(before, from) {
		t.Fatalf("no %q in the configuration", from)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(before, from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A listener that is held open and says nothing.
func hanging(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return listener
}
