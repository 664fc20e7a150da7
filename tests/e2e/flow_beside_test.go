package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

// What else happens while messages are held: time runs out, somebody leaves.

// minutely holds all after the first for so long that no test sees it pass.
const minutely = "{messages: 1/m, burst: 1}"

// pausedChat is a call of which one message has passed and another is held.
func pausedChat(t *testing.T, ctx context.Context, g *gateway, conn *rpc) backend.Stream {
	t.Helper()
	before := g.flowEvents(t, 0, "paused")
	stream := openStream(t, ctx, conn, chat)
	send(t, stream, "first")
	if got, err := stream.Receive(); err != nil || string(got) != "first" {
		t.Fatalf("got %q, %v", got, err)
	}
	send(t, stream, "second")
	waitFor(t, "the second to be held", patience, func() bool { return g.flowEvents(t, 0, "paused") > before })
	return stream
}

func TestPausesOutlastStreamIdle(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"requests", "responses"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			g, _, _ := measured(t, setup{listener: []string{"timeouts: {stream_idle: 700ms}"}}, "flow_limits: [{messages: 1/s, burst: 1, direction: "+direction+"}]")
			if err := echoed(within(t, patience), g.rpc(t, common().web), direction, 3); err != nil {
				t.Error(err)
			}
		})
	}
}

// A call's deadline and a route's timeout end it, held messages or not.
func TestDeadlinesEndPauses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		rest    string
		timeout time.Duration // of the call
		pairs   []string
	}{
		"the call's, requests":            {"flow_limits: [" + minutely + "]", 700 * time.Millisecond, nil},
		"the route's, requests":           {"timeout: 700ms, flow_limits: [" + minutely + "]", patience, nil},
		"the route's, answers":            {"timeout: 700ms, flow_limits: [{messages: 1/m, burst: 1, direction: responses}]", patience, []string{backend.DoSleep, "0s"}},
		"the route's, answers held whole": {"timeout: 700ms, flow_limits: [{messages: 1/m, burst: 1, direction: responses}]", patience, []string{backend.DoCount, "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _, _ := measured(t, setup{}, row.rest)
			method := chat
			if row.pairs != nil && row.pairs[0] == backend.DoCount {
				method = listUsers
			}
			since := time.Now()
			stream := openStream(t, ordering(within(t, row.timeout), row.pairs...), g.rpc(t, common().web), method)
			send(t, stream, "x")
			if method == chat {
				send(t, stream, "y")
			} else {
				_ = stream.CloseSend()
			}
			n, err := drain(stream)
			wantCode(t, err, codes.DeadlineExceeded)
			if took := time.Since(since); n != 1 || took < 700*time.Millisecond || took > slow(10*time.Second) {
				t.Errorf("%d messages in %v", n, took)
			}
			if line := g.accessOf(t, method); line.text("reason") != "" || row.timeout == patience && line.number("grpc_status") != 4 {
				t.Errorf("access line %v", line.fields)
			}
			g.idle(t)
		})
	}
}

func TestWhoLeavesWhilePausedIsGone(t *testing.T) {
	t.Parallel()
	for name, leaves := range map[string]func(conn *rpc, cancel func()){
		"cancels":     func(_ *rpc, cancel func()) { cancel() },
		"disconnects": func(conn *rpc, _ func()) { _ = conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, users, _ := measured(t, setup{}, "flow_limits: ["+minutely+"]")
			ctx, cancel := patiently(t)
			conn := g.rpc(t, common().web)
			stream := pausedChat(t, ctx, g, conn)
			leaves(conn, cancel)
			_, err := stream.Receive()
			if status.Code(err) != codes.Canceled {
				t.Errorf("got %v", err)
			}
			call := until(t, users.Journal, patience, chat, cancelled)
			if call.Received != 1 {
				t.Errorf("call %+v", call)
			}
			g.idle(t)
		})
	}
}

// What the backend said before it died arrives, then its death.
func TestHeldMessagesOutliveTheBackend(t *testing.T) {
	t.Parallel()
	for name, lives := range map[string]bool{"ends the connection": false, "resets the stream": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back := scripted(t, overHTTP2(func(_ *backend.Peer, framer *http2.Framer, stream uint32) bool {
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
					BlockFragment: block(":status", "200", "content-type", "application/grpc")})
				_ = framer.WriteData(stream, false, messages(6, "x"))
				_ = framer.WriteRSTStream(stream, http2.ErrCodeInternal)
				return lives
			}))
			g := start(t, setup{routes: []string{route(`grpc: "user.*/*"`, "backend: users, flow_limits: [{messages: 10/s, burst: 1, direction: responses}]")},
				backends: []string{h2("users", back.Address)}})
			since := time.Now()
			stream := openStream(t, within(t, patience), g.rpc(t, common().web), listUsers)
			_ = stream.CloseSend()
			n, err := drain(stream)
			wantCode(t, err, codes.Unavailable)
			if took := time.Since(since); n != 6 || took < 500*time.Millisecond {
				t.Errorf("%d messages in %v", n, took)
			}
			g.countAudit(t, 0, because("rate_limited"))
		})
	}
}

// A backend that was asked nothing yet is not suspected for its silence.
func TestPausesSayNothingOfTheBackend(t *testing.T) {
	t.Parallel()
	g, users, _ := measured(t, setup{workers: 1}, `timeout: 300ms, flow_limits: [{messages: 1/m, burst: 2, per: ["header:x-case"]}]`)
	conn := g.rpc(t, common().web)
	for range 2 {
		wantCode(t, invoke(t, conn, getUser, "x-case", "a"), codes.OK)
	}
	first := users.Journal.Calls(getUser)[1].Peer
	for i := range 3 {
		for range 2 {
			wantCode(t, invoke(t, conn, getUser, "x-case", fmt.Sprint(i)), codes.OK)
		}
		if peer := users.Journal.Calls(getUser)[len(users.Journal.Calls(getUser))-1].Peer; peer != first {
			t.Errorf("after a pause the backend is asked over another connection, %s, not %s", peer, first)
		}
		wantCode(t, invoke(t, conn, getUser, "x-case", fmt.Sprint(i)), codes.DeadlineExceeded)
	}
}

// Nobody who waits is overtaken for ever.
func TestStreamsThatWaitAreServedInTurn(t *testing.T) {
	t.Parallel()
	g, _, m := measured(t, setup{}, `flow_limits: [{messages: 100/s, burst: 1, per: ["header:x-case"]}]`)
	const streams, each = 50, 6
	var counts [streams]counter
	var all [streams]backend.Stream
	for i := range all {
		conn := g.rpc(t, common().web)
		wantCode(t, invoke(t, conn, login, "x-case", fmt.Sprint(i)), codes.OK) // it is connected
		all[i] = openStream(t, ordering(within(t, patience), "x-case", "all"), conn, chat)
	}
	since, before := time.Now(), m.count()
	for _, stream := range all {
		send(t, stream, "x")
	}
	var group sync.WaitGroup
	for i, stream := range all {
		group.Go(func() {
			for k := range each {
				if _, err := stream.Receive(); err != nil {
					t.Error(err)
					return
				}
				counts[i].add(1)
				// Whoever is first in one round may be last in the next.
				for other := range counts {
					if n := counts[other].get(); k+1 > n+4 {
						t.Errorf("stream %d has had %d, stream %d only %d", i, k+1, other, n)
					}
				}
				if k+1 < each {
					_ = stream.Send([]byte("x"))
				}
			}
		})
	}
	group.Wait()
	if took, n := time.Since(since), m.count()-before; n != streams*each || took < (streams*each-1)*10*time.Millisecond {
		t.Errorf("%d messages in %v", n, took)
	}
}

// Who would be dead before its turn takes no token from those who live.
func TestCallsThatWouldPassTooLatePayNothing(t *testing.T) {
	t.Parallel()
	g, _, m := measured(t, setup{}, "flow_limits: [{messages: 30/m, burst: 1}]")
	conn := g.rpc(t, common().web)
	since := time.Now()
	wantCode(t, invoke(t, conn, login), codes.OK)
	var group sync.WaitGroup
	for range 40 { // two seconds' worth each
		group.Go(func() {
			if _, err := backend.Invoke(within(t, 300*time.Millisecond), conn, login, nil); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	wantCode(t, invoke(t, conn, login), codes.OK)
	m.wantPaced(t, since, 1, 2*time.Second, 2)
	if n := g.flowEvents(t, 0, "refused"); n != 0 {
		t.Errorf("%v are refused", n)
	}
}
