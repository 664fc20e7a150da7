package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Flow limits beside what else a route can have.

// receives takes so many messages, then fails.
func receives(messages int, code codes.Code) turn {
	return func(stream grpc.ServerStream) error {
		for range messages {
			if err := stream.RecvMsg(new(wrapperspb.BytesValue)); err != nil {
				return err
			}
		}
		return status.Error(code, "read enough")
	}
}

// What was paid for is not paid for again, and arrives whole.
func TestRepeatsPayForNothingTwice(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t)
	g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{h2("web", e.addresses...)}, routes: []string{
		route(`grpc: "*"`, `backend: web, retry: {backoff: 1ms, tries: 3}, flow_limits: [{messages: 10/s, burst: 3, per: ["header:x-case"]}, {messages: 1/h, burst: 6, on_excess: reject, per: ["header:x-case"]}]`)}})
	conn := g.rpc(t, common().web, grpc.WithDisableRetry())
	for i, turns := range [][]turn{
		{fails(codes.Unavailable)}, {receives(1, codes.Unavailable)}, {receives(3, codes.Unavailable)},
		{receives(2, codes.Unavailable), receives(3, codes.Unavailable)}, {receives(5, codes.Unavailable)},
	} {
		e.play("/svc/m", turns...)
		stream := openStream(t, ordering(within(t, patience), "x-case", strconv.Itoa(i)), conn, "/svc/m")
		since := time.Now()
		for k := range 6 {
			send(t, stream, fmt.Sprint("message ", k))
		}
		_ = stream.CloseSend()
		for k := range 6 {
			if got, err := stream.Receive(); err != nil || string(got) != fmt.Sprint("message ", k) {
				t.Fatalf("case %d: got %q, %v", i, got, err)
			}
		}
		if _, err := stream.Receive(); err != io.EOF || len(e.at("/svc/m")) != len(turns)+1 {
			t.Errorf("case %d: %v after %d attempts", i, err, len(e.at("/svc/m")))
		}
		if took := time.Since(since); took < 300*time.Millisecond {
			t.Errorf("case %d: took %v", i, took)
		}
	}
	g.countAudit(t, 0, because("rate_limited"))
}

// The time of one try is the backend's: what is held costs no try.
func TestPausesTakeNoTimeOfATry(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t)
	g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{h2("web", e.addresses...)}, routes: []string{
		route(`grpc: "*"`, "backend: web, retry: {on: [timeout], per_try_timeout: "+milliseconds(time.Second)+", backoff: 1ms, tries: 2}, flow_limits: [{messages: 20/m, burst: 1}]")}})
	conn := g.rpc(t, common().web)
	for range 2 {
		since := time.Now()
		if _, err := backend.Invoke(within(t, patience), conn, "/svc/m", []byte("x")); err != nil {
			t.Fatalf("after %v and %d attempts: %v", time.Since(since), len(e.at("/svc/m")), err)
		}
	}
	if n := len(e.at("/svc/m")); n != 2 {
		t.Errorf("%d attempts at two calls", n)
	}
	e.play("/svc/silent", waitsForever, waitsForever)
	_, err := backend.Invoke(within(t, patience), conn, "/svc/silent", []byte("x"))
	wantCode(t, err, codes.DeadlineExceeded)
	if n := len(e.at("/svc/silent")); n != 2 {
		t.Errorf("%d attempts at a silent backend", n)
	}
}

// Copies wait for no tokens, and nobody pays for them.
func TestCopiesPayNothing(t *testing.T) {
	t.Parallel()
	copies, copied := must(backend.StartGRPC("127.0.0.1:0")), 0
	t.Cleanup(copies.Stop)
	g, users, m := measured(t, setup{backends: []string{h2("copies", copies.Address)}},
		"mirror: {backend: copies}, flow_limits: [{messages: 20/s, burst: 2}]")
	conn := g.rpc(t, common().web)
	since := time.Now()
	for i := range 8 {
		if out, err := backend.Invoke(within(t, patience), conn, login, []byte(fmt.Sprint(i))); err != nil || string(out) != fmt.Sprint(i) {
			t.Fatalf("got %q, %v", out, err)
		}
	}
	m.wantPaced(t, since, 2, 50*time.Millisecond, 8)
	waitFor(t, "all copies", patience, func() bool { copied = copies.Journal.Count(login); return copied == 8 })
	if n := users.Journal.Count(login); n != 8 {
		t.Errorf("%d calls", n)
	}
}

func TestTwoLimitsHoldTogether(t *testing.T) {
	t.Parallel()
	g, _, m := measured(t, setup{}, "flow_limits: [{messages: 20/s, burst: 2}, {messages: 1/h, burst: 10, on_excess: reject}, {bytes: 1MiB/s, burst: 64KiB}]")
	stream := openStream(t, within(t, patience), g.rpc(t, common().web), chat)
	since := time.Now()
	for i := range 10 {
		payload := pattern(20000 + i)
		if err := stream.Send(payload); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Receive(); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	m.wantPaced(t, since, 2, 50*time.Millisecond, 10)
	send(t, stream, "x")
	_, err := stream.Receive()
	wantExhausted(t, err)
	g.wantRecords(t, 1, 1, chat)
}

// What came while Redis was asked counts as what comes later.
func TestMessagesThatCameWhileTheFleetWasAsked(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	g, _, m := measured(t, setup{top: []string{store(redis.Address)}},
		"rate_limits: [{rate: 1/h, burst: 50, store: redis, on_failure: deny}], flow_limits: [{messages: 1/h, burst: 3, on_excess: reject}]")
	g.awaitConnections(t, 2)
	redis.Pause()
	c := g.rawCall(t, uploadUsers)
	c.pieces(1, messages(3, "x"), 4, true)
	waitFor(t, "the call to wait", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 1 })
	redis.Resume()
	if got := c.hear(1); got.fields["grpc-status"] != "0" || string(got.data) != string(message("3 messages")) {
		t.Errorf("got %+v", got)
	}
	redis.Pause()
	c.open(3, uploadUsers)
	c.pieces(3, messages(1, "x"), 4, true)
	g.awaitRequests(t, 1)
	redis.Resume()
	if got := c.hear(3); got.fields["grpc-status"] != "8" || got.heads != 1 {
		t.Errorf("got %+v", got)
	}
	g.countAudit(t, 1, func(r *auditRecord) bool { return r.MatchedRule == "flow_limits[0]" })
	if n := m.count(); n != 3 {
		t.Errorf("%d messages reached the backend", n)
	}
}

// A pause is no latency of the backend: what it takes at once is not cut down for it.
func TestPausesAreNoLatencyOfTheBackend(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{workers: 1, routes: []string{route(`grpc: "user.*/*"`, "backend: users, flow_limits: [{messages: 60/s, burst: 60}]")},
		backends: []string{fmt.Sprintf("{name: users, protocol: h2, endpoints: [%q], concurrency: {min: 1, max: 100, tolerance: 4}}", users.Address)}})
	conn := g.rpc(t, common().web)
	limit := func() float64 { return g.metric(t, `tollgate_upstream_concurrency_limit{backend="users"}`) }
	for range 60 {
		wantCode(t, invoke(t, conn, login, backend.DoSleep, "20ms"), codes.OK)
	}
	before := limit()
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			for range 10 {
				_ = invoke(t, conn, login, backend.DoSleep, "20ms")
			}
		})
	}
	group.Wait()
	if after := limit(); after < before*3/4 { // were they, it would be 1 or 2
		t.Errorf("the limit went from %v to %v", before, after)
	}
}

// cpuOf returns how long the process has run, in clock ticks.
func (g *gateway) cpuOf(t *testing.T) int {
	t.Helper()
	stat := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.command.Process.Pid))))
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return must(strconv.Atoi(words[11])) + must(strconv.Atoi(words[12]))
}

// A thousand streams of which each holds as much as it may.
func TestAThousandPausedStreamsCostLittle(t *testing.T) {
	t.Parallel()
	for direction, begin := range map[string]func(context.Context, *rpc) error{"requests": pushes, "responses": pulls} {
		t.Run(direction, func(t *testing.T) {
			g, _, m := measured(t, setup{}, "flow_limits: [{messages: 20/s, burst: 1, direction: "+direction+"}]")
			ctx, cancel := context.WithCancel(within(t, slow(time.Minute)))
			defer cancel()
			before := g.memory()
			for range 10 {
				conn := g.rpc(t, common().web)
				for range 100 {
					if err := begin(ctx, conn); err != nil {
						t.Fatal(err)
					}
				}
			}
			waitFor(t, "all to wait", slow(30*time.Second), func() bool { return g.flowEvents(t, 0, "paused") >= 990 })
			waitFor(t, "all to be still", slow(30*time.Second), func() bool {
				ticks := g.cpuOf(t)
				<-time.After(500 * time.Millisecond)
				return g.cpuOf(t)-ticks < 10 || instrumented()
			})
			if grown := g.memory() - before; grown > 200<<20 && !instrumented() {
				t.Errorf("grew by %d MiB", grown>>20)
			}
			cancel()
			g.idle(t)
			if m.count() == 0 {
				t.Error("nobody reached the backend")
			}
		})
	}
}

// pushes sends as much as it can: what does not fit waits with the client.
func pushes(ctx context.Context, conn *rpc) error {
	stream, err := backend.Open(ctx, conn, uploadUsers)
	if err != nil {
		return err
	}
	go func() {
		for stream.Send(make([]byte, 20000)) == nil {
		}
	}()
	return nil
}

// pulls asks for more than it is given.
func pulls(ctx context.Context, conn *rpc) error {
	stream, err := backend.Open(ordering(ctx, backend.DoCount, "1000", backend.DoSize, "20000"), conn, listUsers)
	if err != nil {
		return err
	}
	_ = stream.Send([]byte("x"))
	go func() { _, _ = drain(stream) }()
	return stream.CloseSend()
}
