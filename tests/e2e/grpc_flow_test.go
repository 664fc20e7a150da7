package e2e

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Flow control end to end, and backends that die.

func TestSlowReaderSlowsTheSender(t *testing.T) {
	t.Parallel()
	g, users, _ := passing(t, setup{listener: []string{"timeouts: {stream_idle: 60s}"}})
	conn := g.rpc(t, common().web, grpc.WithStaticStreamWindowSize(65535))
	before := g.memory()
	// 256 MiB are asked for and nothing is read.
	ctx := ordering(within(t, slow(time.Minute)), backend.DoCount, "4096", backend.DoSize, "65536")
	stream := openStream(t, ctx, conn, listUsers)
	send(t, stream, "x")
	_ = stream.CloseSend()
	sent := settled(t, users, listUsers, func(c backend.Call) int { return c.SentBytes })
	if sent > 16<<20 {
		t.Errorf("backend got %d KiB ahead", sent>>10)
	}
	if grown := g.memory() - before; grown > 32<<20 {
		t.Errorf("gateway grew by %d KiB", grown>>10)
	}
	t.Run("others do not wait", func(t *testing.T) {
		for range 20 {
			_, err := backend.Invoke(within(t, slow(2*time.Second)), conn, login, make([]byte, 100000))
			wantCode(t, err, codes.OK)
		}
	})
	t.Run("all of it arrives once read", func(t *testing.T) {
		if n, err := drain(stream); n != 4096 {
			t.Errorf("%d messages, then %v", n, err)
		}
	})
}

func TestSlowBackendSlowsTheSender(t *testing.T) {
	t.Parallel()
	g, users, conn := passing(t, setup{listener: []string{"timeouts: {stream_idle: 60s}"}})
	before := g.memory()
	ctx, cancel := context.WithCancel(ordering(within(t, slow(time.Minute)), backend.DoStallAfter, "1"))
	stream := openStream(t, ctx, conn, uploadUsers)
	var sent counter
	go func() {
		for range 4096 {
			if stream.Send(make([]byte, 65536)) != nil {
				return
			}
			sent.add(65536)
		}
	}()
	until(t, users.Journal, patience, uploadUsers, func(c backend.Call) bool { return c.Received >= 1 })
	if n := steady(t, sent.get); n > 16<<20 {
		t.Errorf("client got %d KiB ahead of a backend that does not read", n>>10)
	}
	if grown := g.memory() - before; grown > 32<<20 {
		t.Errorf("gateway grew by %d KiB", grown>>10)
	}
	_, err := backend.Invoke(within(t, slow(2*time.Second)), conn, login, make([]byte, 100000))
	wantCode(t, err, codes.OK)
	cancel()
	until(t, users.Journal, 2*time.Second, uploadUsers, cancelled)
}

// settled waits until a number of the backend's first such call stops changing.
func settled(t *testing.T, users *backend.GRPC, method string, of func(backend.Call) int) int {
	t.Helper()
	until(t, users.Journal, patience, method, func(c backend.Call) bool { return of(c) > 0 })
	return steady(t, func() int { return of(users.Journal.Calls(method)[0]) })
}

// steady waits until the number has not changed for half a second.
func steady(t *testing.T, number func() int) int {
	t.Helper()
	last, since := number(), time.Now()
	waitFor(t, "flow to settle", patience, func() bool {
		if now := number(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	return last
}

func TestDeadBackendIsUnavailable(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users")},
		backends: []string{h2("users", address)}})
	conn := g.rpc(t, common().web)
	_, err := backend.Invoke(within(t, patience), conn, login, nil)
	wantCode(t, err, codes.Unavailable)

	users := must(backend.StartGRPC(address))
	t.Cleanup(users.Stop)
	waitFor(t, "service to be back with its backend", 5*time.Second, func() bool {
		_, err := backend.Invoke(within(t, patience), conn, login, nil)
		return err == nil
	})
}

func TestBackendDeathIsUnavailable(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{})
	for _, how := range []string{"close", "reset"} {
		t.Run("before the answer, by "+how, func(t *testing.T) {
			ctx := ordering(within(t, patience), backend.DoDie, how)
			_, err := backend.Invoke(ctx, conn, getUser, nil)
			wantCode(t, err, codes.Unavailable)
			wantHealthy(t, conn)
		})
		t.Run("in the middle of a stream, by "+how, func(t *testing.T) {
			ctx := ordering(within(t, patience), backend.DoDie, how, backend.DoDieAfter, "2")
			stream := openStream(t, ctx, conn, chat)
			for range 2 {
				send(t, stream, "x")
				if _, err := stream.Receive(); err != nil {
					t.Fatal(err)
				}
			}
			send(t, stream, "the last one")
			_, err := stream.Receive()
			wantCode(t, err, codes.Unavailable)
			wantHealthy(t, conn)
		})
	}
}

func wantHealthy(t *testing.T, conn grpc.ClientConnInterface) {
	t.Helper()
	for range 5 {
		_, err := backend.Invoke(within(t, patience), conn, login, nil)
		wantCode(t, err, codes.OK)
	}
}

func TestBackendThatAnswersNonsenseIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]backend.Script{
		"garbage":             func(p *backend.Peer) { p.Say("this is not HTTP/2 at all, whatever you say"); p.Hang() },
		"an HTTP/1.1 answer":  func(p *backend.Peer) { p.Answer("hello"); p.Hang() },
		"resets at once":      backend.ResetAtOnce,
		"closes at once":      func(*backend.Peer) {},
		"frame far too large": func(p *backend.Peer) { p.Say("\xff\xff\xff\x04\x00\x00\x00\x00\x00"); p.Hang() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := scripted(t, script)
			g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users")},
				backends: []string{h2("users", broken.Address)}})
			for range 3 {
				_, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), login, nil)
				wantCode(t, err, codes.Unavailable)
			}
		})
	}
}

func TestSilentBackendMeetsTheDeadline(t *testing.T) {
	t.Parallel()
	silent := scripted(t, backend.Silent)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users")},
		backends: []string{h2("users", silent.Address)}})
	_, err := backend.Invoke(within(t, 500*time.Millisecond), g.rpc(t, common().web), login, nil)
	wantCode(t, err, codes.DeadlineExceeded)
}

func TestUnconnectableBackendMeetsTheConnectTimeout(t *testing.T) {
	t.Parallel()
	full := fullBacklog(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users")},
		backends: []string{fmt.Sprintf("{name: users, protocol: h2, endpoints: [%q], connect_timeout: 300ms}", full)}})
	began := time.Now()
	_, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), login, nil)
	wantCode(t, err, codes.Unavailable)
	if took := time.Since(began); took > slow(5*time.Second) {
		t.Errorf("took %v", took)
	}
}

func TestCallsUseAllEndpoints(t *testing.T) {
	t.Parallel()
	one, two := grpcBackend(t), grpcBackend(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users")},
		backends: []string{h2("users", one.Address, two.Address)}})
	conn := g.rpc(t, common().web)
	for range 40 {
		_, err := backend.Invoke(within(t, patience), conn, login, nil)
		wantCode(t, err, codes.OK)
	}
	if one.Journal.Count("") == 0 || two.Journal.Count("") == 0 {
		t.Errorf("calls: %d and %d", one.Journal.Count(""), two.Journal.Count(""))
	}
	one.Stop()
	waitFor(t, "calls to go to the endpoint that lives", 5*time.Second, func() bool {
		for range 10 {
			if _, err := backend.Invoke(within(t, patience), conn, login, nil); err != nil {
				return false
			}
		}
		return true
	})
}

// fullBacklog returns the address of a socket that answers no SYN: its queue of one is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	address := listenWithoutBacklog(t)
	for range 4 {
		conn, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	return address
}
