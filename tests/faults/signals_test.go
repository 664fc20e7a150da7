package faults

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Signals in the middle of everything.

// A midst is a gateway with something of every kind under way.
type midst struct {
	t        *testing.T
	g        *harness.Gateway
	web      *backend.HTTP
	users    *backend.GRPC
	stream   backend.Stream
	upload   *io.PipeWriter
	uploaded chan harness.Reply
	download *http.Response
	silent   *harness.Wire
	refused  atomic.Int64 // answers that refused somebody
	loops    sync.WaitGroup
	stop     chan struct{}
}

// must ends the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func inTheMidst(t *testing.T, drain string) *midst {
	t.Helper()
	m := &midst{t: t, stop: make(chan struct{}), uploaded: make(chan harness.Reply, 1)}
	m.web = harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	m.users = harness.Must(backend.StartGRPC("127.0.0.1:0"))
	t.Cleanup(m.web.Stop)
	t.Cleanup(m.users.Stop)
	m.g = harness.Start(t, harness.Setup{Top: []string{"drain_timeout: " + drain, "audit: {path: audit.jsonl, fold_after: 5}"},
		Listener: []string{"timeouts: {handshake: 1s, request_headers: 1s}"},
		Routes:   []string{harness.Route(`grpc: "*"`, "backend: users"), harness.Route("path: /web/*", "backend: web"), harness.Route("path: /sink", "backend: web"), harness.Route("path: /stream", "backend: web")},
		Backends: []string{harness.HTTP1("web", m.web.Address), harness.H2("users", m.users.Address)}})
	m.begin()
	for n := range 2 {
		m.loops.Go(func() { m.refuse([]string{"h1", "h2"}[n]) })
	}
	harness.WaitFor(t, "refusals", 5*time.Second, func() bool { return m.refused.Load() > 50 })
	return m
}

// begin opens a handshake, a head, an upload, a download and a stream, and leaves them half-way.
func (m *midst) begin() {
	_, _ = m.g.DialTCP(m.t).Write([]byte{22, 3, 1, 2, 0, 1, 0}) // the beginning of a ClientHello
	m.silent = m.g.Wire(m.t)
	m.silent.Say("GET /web/")
	reader, writer := io.Pipe()
	m.upload = writer
	go func() {
		client := m.g.Client(m.t, "h2")
		m.uploaded <- harness.Collect(client.Do(harness.Must(http.NewRequest("POST", "https://gateway.test/sink", reader))))
	}()
	_, _ = io.WriteString(m.upload, large)
	m.download = must[*http.Response](m.t)(m.g.Client(m.t, "h1").Get("https://gateway.test/stream?n=20&size=1000&gap=20ms"))
	m.stream = must[backend.Stream](m.t)(backend.Open(within(m.t), m.g.GRPC(m.t), chat))
	_ = m.stream.Send([]byte("before"))
	if _, err := m.stream.Receive(); err != nil {
		m.t.Fatal(err)
	}
	harness.WaitFor(m.t, "the upload to arrive", 5*time.Second, func() bool {
		calls := m.web.Journal.Calls("POST /sink")
		return len(calls) == 1 && calls[0].ReceivedBytes == len(large)
	})
}

func (m *midst) refuse(protocol string) {
	for client := m.g.Client(m.t, protocol); ; {
		select {
		case <-m.stop:
			return
		default:
		}
		if got := harness.Get(client, "/nowhere"); got.Err == nil && got.Status == http.StatusNotFound {
			m.refused.Add(1)
		}
	}
}

// finish lets everything come to its end, and sees that it is whole.
func (m *midst) finish() {
	m.t.Helper()
	_, _ = io.WriteString(m.upload, large)
	_ = m.upload.Close()
	if got := <-m.uploaded; got.Err != nil || got.Body != fmt.Sprint(2*len(large)) {
		m.t.Errorf("the upload ended with %+v", got)
	}
	if body, err := io.ReadAll(m.download.Body); err != nil || len(body) != 20000 {
		m.t.Errorf("the download has %d bytes, %v", len(body), err)
	}
	_ = m.download.Body.Close()
	_ = m.stream.Send([]byte("after"))
	if got, err := m.stream.Receive(); err != nil || string(got) != "after" {
		m.t.Errorf("the stream gave %q, %v", got, err)
	}
	_ = m.stream.CloseSend()
	if _, err := m.stream.Receive(); err != io.EOF {
		m.t.Errorf("the stream ended with %v", err)
	}
}

// accounted sees that every refusal that was answered is in the audit log, which is whole.
func (m *midst) accounted() {
	m.t.Helper()
	close(m.stop)
	m.loops.Wait()
	records := harness.Read[harness.Record](m.t, m.g.Path("audit.jsonl"))
	if got, answered := refusals(records, "no_route"), int(m.refused.Load()); got < answered {
		m.t.Errorf("%d refusals were answered, %d are recorded", answered, got)
	}
	verified(m.t, m.g.Path("audit.jsonl"))
}

func TestTerminationInTheMiddleOfEverythingLosesNothing(t *testing.T) {
	t.Parallel()
	m := inTheMidst(t, "10s")
	for range 3 { // a reload is under way, too
		m.g.Signal(syscall.SIGHUP)
	}
	m.g.Signal(syscall.SIGTERM)
	m.finish()
	if code := m.g.Exit(5 * time.Second); code != 0 { // when the last deadline of a silent one is over
		t.Errorf("exit %d:\n%s", code, m.g.Said())
	}
	m.accounted()
}

func TestTerminationEndsWithTheDrainTimeout(t *testing.T) {
	t.Parallel()
	m := inTheMidst(t, "1s")
	began := time.Now()
	m.g.Signal(syscall.SIGTERM)
	if code := m.g.Exit(4 * time.Second); code != 0 {
		t.Errorf("exit %d:\n%s", code, m.g.Said())
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("calls were given %v of 1 s", took)
	}
	_ = m.upload.Close()
	m.accounted()
}

func TestSecondTerminationEndsAtOnce(t *testing.T) {
	t.Parallel()
	m := inTheMidst(t, "10m")
	m.g.Signal(syscall.SIGTERM)
	harness.WaitFor(t, "the drain", 2*time.Second, func() bool {
		status, _ := m.g.Ask("GET", "/readyz")
		return status == http.StatusServiceUnavailable
	})
	m.g.Signal(syscall.SIGTERM)
	m.g.Exit(2 * time.Second)
	_ = m.upload.Close()
	m.accounted()
}

func TestStormOfHangupsUnderLoadCostsNoRequest(t *testing.T) {
	t.Parallel()
	back := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Top: []string{accessLog}, Routes: everything(""), Backends: []string{harness.HTTP1("web", back.Address)}})
	stop, y := make(chan struct{}), &tally{counts: map[string]map[outcome]int{}}
	var loops sync.WaitGroup
	for _, c := range []string{"h1 GET", "h2 GET", "h1 POST", "h2 POST"} {
		loops.Go(func() { loop(t, g, c, stop, y) })
	}
	reloaded := func() int { return strings.Count(g.Said(), "configuration reloaded") }
	for range 20 {
		before := reloaded()
		for range 10 {
			g.Signal(syscall.SIGHUP)
		}
		harness.WaitFor(t, "a reload", 5*time.Second, func() bool { return reloaded() > before })
	}
	close(stop)
	loops.Wait()
	for c, counts := range y.counts {
		if len(counts) != 1 || counts["200"] == 0 {
			t.Errorf("%s: %v", c, counts)
		}
	}
	for range 20 {
		g.Signal(syscall.SIGHUP)
	}
	g.Signal(syscall.SIGTERM)
	if code := g.Exit(5 * time.Second); code != 0 {
		t.Errorf("exit %d:\n%s", code, g.Said())
	}
}

func TestBadConfigurationDoesNotKeepTheLogsFromBeingReopened(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Setup{Top: []string{accessLog}, Routes: respond})
	rename(t, g, "routes:", "rutes:")
	for _, name := range []string{"audit.jsonl", "access.jsonl"} {
		rotateAway(t, g.Path(name))
	}
	g.Signal(syscall.SIGHUP)
	for _, name := range []string{"audit.jsonl", "access.jsonl"} {
		awaitFile(t, g.Path(name))
	}
	unharmed(t, g, "/x")
}

func TestSignalsThatSayNothingDoNotKill(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Setup{Routes: respond})
	for _, signal := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGWINCH, syscall.SIGCHLD, syscall.SIGURG} {
		g.Signal(signal)
		unharmed(t, g, "/x")
		if !g.Running() {
			t.Fatalf("%v killed it", signal)
		}
	}
}
