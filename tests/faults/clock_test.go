package faults

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Somebody sets the wall clock. Waits and limits go by the monotonic clock; certificates and logs by the wall.

// A wall is the wall clock of a gateway.
type wall struct {
	t    *testing.T
	path string
}

// newWall returns the clock and the command that runs a program by it.
func newWall(t *testing.T) (w wall, under []string) {
	t.Helper()
	dir := t.TempDir()
	library := filepath.Join(dir, "clock.so")
	if output, code := harness.Run(t, "cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, "testdata/clock.c"); code != 0 {
		t.Fatalf("cc: %s", output)
	}
	w = wall{t, filepath.Join(dir, "offset")}
	w.set(0)
	return w, []string{"env", "LD_PRELOAD=" + library, "TEST_CLOCK=" + w.path,
		"ASAN_OPTIONS=verify_asan_link_order=0:" + os.Getenv("ASAN_OPTIONS")}
}

// set puts the clock off by so much.
func (w wall) set(offset time.Duration) {
	w.t.Helper()
	file := harness.Must(os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE, 0o600))
	defer func() { _ = file.Close() }()
	if _, err := file.Write(binary.LittleEndian.AppendUint64(nil, uint64(offset/time.Second))); err != nil {
		w.t.Fatal(err)
	}
}

const day = 24 * time.Hour

var jumps = []time.Duration{day, -day, 0, -10 * 365 * day, 10 * 365 * day}

func TestLimitIsNotRefilledByAClockThatJumps(t *testing.T) {
	t.Parallel()
	w, under := newWall(t)
	limited := func(path, limit string) string {
		return harness.Route("path: "+path, "respond: {status: 200, body: ok}, rate_limits: [{"+limit+"}]")
	}
	g := harness.Start(t, harness.Setup{Under: under, Routes: []string{
		limited("/hour", "rate: 4/h, burst: 3, per: [identity]"), limited("/quick", "rate: 5/s, burst: 1")}})
	client := g.Client(t, "h2") // made before the clock says that no certificate is good
	for range 3 {
		httpWant(t, harness.Get(client, "/hour"), http.StatusOK)
	}
	for _, jump := range jumps {
		w.set(jump)
		got := harness.Get(client, "/hour")
		httpWant(t, got, http.StatusTooManyRequests)
		if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 900 {
			t.Errorf("after a jump of %v Retry-After is %q", jump, got.Header.Get("Retry-After"))
		}
		harness.WaitFor(t, "another limit to be refilled as ever", 2*time.Second, func() bool {
			return harness.Get(client, "/quick").Status == http.StatusOK
		})
		httpWant(t, harness.Get(client, "/quick"), http.StatusTooManyRequests)
	}
}

func httpWant(t *testing.T, got harness.Reply, status int) {
	t.Helper()
	if got.Err != nil || got.Status != status {
		t.Errorf("got %+v, want %d", got, status)
	}
}

func TestDeadlinesAreKeptByAClockThatJumps(t *testing.T) {
	t.Parallel()
	w, under := newWall(t)
	back := scripted(t, backend.Silent)
	g := harness.Start(t, harness.Setup{Under: under, Listener: []string{"timeouts: {idle: 400ms, request_headers: 400ms}"},
		Routes:   []string{harness.Route("path: /ok", `respond: {status: 200, body: "ok\n"}`), harness.Route("path: /*", "backend: web, timeout: 400ms")},
		Backends: []string{harness.HTTP1("web", back.Address)}})
	for _, jump := range jumps[:3] {
		for name, say := range map[string]string{"route": "GET /silent HTTP/1.1\r\nHost: x\r\n\r\n", "head": "GET /", "idle": ""} {
			t.Run(fmt.Sprint(name, " ", jump), func(t *testing.T) {
				w.set(0)
				wire := g.Wire(t)
				wire.Say("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
				httpWant(t, wire.Hear("GET"), http.StatusOK) // the certificate has been judged
				began := time.Now()
				wire.Say(say)
				w.set(jump)
				if name == "route" {
					httpWant(t, wire.Hear("GET"), http.StatusGatewayTimeout)
				} else if text, err := wire.Rest(); err != nil {
					t.Errorf("the connection ended with %v after %q", err, text)
				}
				if took := time.Since(began); took < 350*time.Millisecond || took > harness.Slow(2*time.Second) {
					t.Errorf("a deadline of 400 ms passed after %v", took)
				}
			})
		}
	}
	w.set(0)
}

func TestCertificatesAreJudgedByTheWallClockOfTheMoment(t *testing.T) {
	t.Parallel()
	w, under := newWall(t)
	g := harness.Start(t, harness.Setup{Under: under, Routes: respond})
	ask := func() harness.Reply { return harness.Get(g.Client(t, "h1"), "/x") } // a new connection
	for _, now := range []struct {
		jump   time.Duration
		reason string
	}{{0, ""}, {2 * day, "certificate_expired"}, {0, ""}, {-2 * time.Hour, "certificate_not_yet_valid"}, {0, ""}} {
		w.set(now.jump)
		before := refusals(harness.Read[harness.Record](t, g.Path("audit.jsonl")), now.reason)
		got := ask()
		if now.reason == "" {
			httpWant(t, got, http.StatusOK)
			continue
		}
		httpWant(t, got, http.StatusForbidden)
		harness.WaitFor(t, "the record of "+now.reason, 2*time.Second, func() bool {
			return refusals(harness.Read[harness.Record](t, g.Path("audit.jsonl")), now.reason) == before+1
		})
	}
}

func TestRecordsTellTheWallClockAndStayAChain(t *testing.T) {
	t.Parallel()
	w, under := newWall(t)
	g := harness.Start(t, harness.Setup{Under: under, Top: []string{"audit: {path: audit.jsonl, fold_after: 3}", accessLog}, Routes: respond})
	client := g.Client(t, "h2")
	httpWant(t, harness.Get(client, "/first"), http.StatusOK) // the handshake is over when the clock goes
	var want int
	for _, jump := range jumps {
		w.set(jump)
		_ = harness.Get(client, fmt.Sprint("/", jump))
		for range 20 {
			httpWant(t, harness.Get(client, "/a%2Fb"), http.StatusBadRequest)
			want++
		}
	}
	records := func() []harness.Record { return harness.Read[harness.Record](t, g.Path("audit.jsonl")) }
	harness.WaitFor(t, "every refusal to be recorded", 5*time.Second, func() bool { return refusals(records(), "malformed_request") >= want })
	if got := refusals(records(), "malformed_request"); got != want {
		t.Errorf("%d refusals are recorded, want %d", got, want)
	}
	for i, record := range records() {
		if record.Seq != int64(i+1) {
			t.Errorf("line %d has seq %d", i+1, record.Seq)
		}
		if record.Count > want {
			t.Errorf("a count of %d", record.Count)
		}
	}
	for _, jump := range jumps {
		line := lineOf(t, g, fmt.Sprint("/", jump))
		if off := time.Until(line.Timestamp) - jump; off < -time.Minute || off > time.Minute {
			t.Errorf("after a jump of %v the access log tells %v", jump, line.Timestamp)
		}
	}
	w.set(0)
	verified(t, g.Path("audit.jsonl"))
}

func TestDrainEndsInTimeByAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	w, under := newWall(t)
	back := scripted(t, backend.Silent)
	g := harness.Start(t, harness.Setup{Under: under, Top: []string{"drain_timeout: 1s"}, Routes: everything(""), Backends: []string{harness.HTTP1("web", back.Address)}})
	wire := g.Wire(t)
	wire.Say("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	harness.WaitFor(t, "the request to arrive", 2*time.Second, func() bool { return back.Wire.Bytes.Load() > 0 })
	w.set(-day)
	began := time.Now()
	g.Signal(syscall.SIGTERM)
	w.set(-2 * day)
	if code := g.Exit(4 * time.Second); code != 0 {
		t.Errorf("exit %d", code)
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("the call was given %v of 1 s", took)
	}
}
