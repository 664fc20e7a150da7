package e2e

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

// Another configuration, a drain, another process: while messages are held, and what becomes of the buckets.

func TestReloadsLeaveCallsTheirPauses(t *testing.T) {
	t.Parallel()
	const before = "flow_limits: [" + minutely + "]"
	for name, after := range map[string]string{
		"changed":   "flow_limits: [{messages: 50/s, burst: 1}]",
		"removed":   "timeout: 1h",
		"to bytes":  "flow_limits: [{bytes: 1MiB/s, burst: 64KiB}]",
		"the other": "flow_limits: [{messages: 50/s, burst: 10, direction: responses}]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, users, _ := measured(t, setup{}, before)
			ctx, _ := patiently(t)
			conn := g.rpc(t, common().web)
			_ = pausedChat(t, ctx, g, conn)
			g.rewrite(t, before, after)
			g.reload(t)
			for i := range 4 {
				if err := echoed(within(t, patience), conn, fmt.Sprint(name, i), 5); err != nil {
					t.Errorf("a call after the reload: %v", err)
				}
			}
			if held := users.Journal.Calls(chat)[0]; held.Received != 1 || held.Done {
				t.Errorf("the call before the reload: %+v", held)
			}
		})
	}
}

func TestReloadsThatAddALimitLeaveCallsAlone(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "timeout: 1h")
	conn := g.rpc(t, common().web)
	stream := openStream(t, within(t, patience), conn, chat)
	say := func(stream backend.Stream) error {
		_ = stream.Send([]byte("x"))
		_, err := stream.Receive()
		return err
	}
	wantCode(t, say(stream), codes.OK)
	g.rewrite(t, "timeout: 1h", "flow_limits: [{messages: 1/h, burst: 2, on_excess: reject}]")
	g.reload(t)
	for range 5 {
		wantCode(t, say(stream), codes.OK)
	}
	newer := openStream(t, within(t, patience), conn, chat)
	wantCode(t, say(newer), codes.OK)
	wantCode(t, say(newer), codes.OK)
	wantExhausted(t, say(newer))
	wantCode(t, say(stream), codes.OK)
}

// chatsUntilRefused returns how many messages passed.
func chatsUntilRefused(t *testing.T, conn *rpc) (n int) {
	t.Helper()
	for {
		stream := openStream(t, within(t, patience), conn, chat)
		for {
			_ = stream.Send([]byte("x"))
			if _, err := stream.Receive(); err != nil {
				wantExhausted(t, err)
				return n
			}
			if n++; n%2 == 0 {
				break
			}
		}
		_ = stream.CloseSend()
		if _, err := stream.Receive(); err != io.EOF {
			t.Error(err)
		}
		if n >= 4 {
			return n
		}
	}
}

func TestReloadsCarryTheFillOver(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		after string
		want  int
	}{
		"as it was":       {"{messages: 1/h, burst: 6, on_excess: reject} ", 2},
		"a larger burst":  {"{messages: 1/h, burst: 60, on_excess: reject}", 2},
		"a smaller burst": {"{messages: 1/h, burst: 1, on_excess: reject}", 1},
		"what is counted": {"{bytes: 1KiB/h, burst: 24B, on_excess: reject}", 3}, // is another bucket: of 8 bytes a message
		"which way":       {"{messages: 1/h, burst: 3, on_excess: reject, direction: responses}", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const before = "{messages: 1/h, burst: 6, on_excess: reject}"
			g, _, _ := measured(t, setup{}, "flow_limits: ["+before+"]")
			if n := chatsUntilRefused(t, g.rpc(t, common().web)); n != 4 {
				t.Fatalf("%d messages passed before", n)
			}
			g.rewrite(t, before, row.after)
			g.reload(t)
			if n := chatsUntilRefused(t, g.rpc(t, common().web)); n != row.want {
				t.Errorf("%d messages passed, want %d", n, row.want)
			}
		})
	}
}

// What is owed in bytes is not owed in messages.
func TestDebtsOfBytesAreNotThoseOfMessages(t *testing.T) {
	t.Parallel()
	const before = "{bytes: 1KiB/s, burst: 1KiB}"
	g, _, _ := measured(t, setup{}, "flow_limits: ["+before+"]")
	ctx, _ := patiently(t)
	conn := g.rpc(t, common().web)
	stream := openStream(t, ctx, conn, uploadUsers)
	_ = stream.Send(make([]byte, 60000))
	waitFor(t, "bytes to be held", patience, func() bool { return g.flowEvents(t, 0, "paused") > 3 })
	g.rewrite(t, before, "{messages: 10/m, burst: 2}")
	g.reload(t)
	for range 2 {
		since := time.Now()
		if err := invoke(t, conn, login); err != nil || time.Since(since) > slow(5*time.Second) {
			t.Errorf("%v after %v", err, time.Since(since))
		}
	}
	// Nor does the call that still pays in bytes pay for them in messages.
	if n := g.flowEvents(t, 0, "refused"); n != 0 {
		t.Errorf("%v are refused", n)
	}
}

func TestDrainsWaitForPauses(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{drain: "15s"}, "flow_limits: [{messages: 10/s, burst: 1}]")
	conn := g.rpc(t, common().web)
	ended := make(chan error, 1)
	paused := g.flowEvents(t, 0, "paused")
	go func() {
		stream, err := backend.Open(within(t, patience), conn, uploadUsers)
		for i := 0; err == nil && i < 12; i++ {
			err = stream.Send([]byte("x"))
		}
		var sum []byte
		if err == nil {
			_ = stream.CloseSend()
			sum, err = stream.Receive()
		}
		if err == nil && string(sum) != "12 messages" {
			err = fmt.Errorf("got %q", sum)
		}
		ended <- err
	}()
	waitFor(t, "a pause", patience, func() bool { return g.flowEvents(t, 0, "paused") > paused })
	g.signal(syscall.SIGTERM)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDrainsEndPausesThatAreLonger(t *testing.T) {
	t.Parallel()
	g, users, _ := measured(t, setup{drain: "500ms", keepErrors: true}, "flow_limits: ["+minutely+"]")
	ctx, _ := patiently(t)
	stream := pausedChat(t, ctx, g, g.rpc(t, common().web))
	g.signal(syscall.SIGTERM)
	if _, err := stream.Receive(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	g.exitCode(10 * time.Second)
	until(t, users.Journal, patience, chat, cancelled)
	g.noSanitizerReport()
}

// Another process goes on with the bucket, and owes what is owed.
func TestUpgradesKeepBucketsOfMessages(t *testing.T) {
	t.Parallel()
	for name, per := range map[string]string{"one for all": "", "one for each": ", per: [identity]"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := grpcBackend(t)
			g := replaceable(t, setup{drain: "20s", backends: []string{h2("users", users.Address)},
				routes: []string{route("grpc: user.UserService/Login", "backend: users, flow_limits: [{messages: 1/h, burst: 4, on_excess: reject"+per+"}]"),
					route(`grpc: "user.*/*"`, "backend: users, flow_limits: [{messages: 2/m, burst: 1"+per+"}]")}})
			pass := func(want codes.Code) {
				t.Helper()
				wantCode(t, invoke(t, g.rpc(t, common().web), login), want)
			}
			pass(codes.OK)
			pass(codes.OK)
			pass(codes.OK)
			ctx, cancel := patiently(t)
			_ = pausedChat(t, ctx, g, g.rpc(t, common().web)) // owes one for half a minute
			g.signal(syscall.SIGUSR2)
			waitFor(t, "the newcomer to serve", 10*time.Second, func() bool { return strings.Contains(g.allSaid(), "the new gateway serves") })
			pass(codes.OK)
			pass(codes.ResourceExhausted)
			second := openStream(t, ctx, g.rpc(t, common().web), chat) // for a whole one
			send(t, second, "x")
			third := openStream(t, ctx, g.rpc(t, common().web), chat)
			waitFor(t, "the second to wait", patience, func() bool { return g.flowEvents(t, 0, "paused") > 0 })
			send(t, third, "x")
			_, err := third.Receive()
			wantExhausted(t, err)
			cancel()
		})
	}
}
