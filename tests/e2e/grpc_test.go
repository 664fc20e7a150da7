package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

const (
	getUser     = "/user.UserService/GetUser"
	listUsers   = "/user.UserService/ListUsers"
	uploadUsers = "/user.UserService/UploadUsers"
	chat        = "/user.UserService/Chat"
	getOrder    = "/order.OrderService/GetOrder"
)

// ordering tells the backend by metadata what to do.
func ordering(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// passing starts a gateway that lets every good client through to a gRPC backend, and a
// connection of such a client.
func passing(t *testing.T, s setup) (*gateway, *backend.GRPC, *rpc) {
	t.Helper()
	users := grpcBackend(t)
	s.routes = append(s.routes, route(`grpc: "user.*/*"`, "backend: users"))
	s.backends = append(s.backends, h2("users", users.Address))
	g := start(t, s)
	return g, users, g.rpc(t, common().web, grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
}

// until waits for a call in the journal of a backend.
func until(t *testing.T, journal *backend.Journal, limit time.Duration, method string,
	condition func(backend.Call) bool) backend.Call {
	t.Helper()
	call, err := journal.Wait(within(t, slow(limit)), method, condition)
	if err != nil {
		t.Fatalf("%v; calls: %+v", err, journal.Calls(method))
	}
	return call
}

func began(backend.Call) bool { return true }

func cancelled(call backend.Call) bool { return call.Done && call.Cancelled }

func TestFourKindsOfCall(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{})
	ctx := within(t, patience)
	t.Run("unary", func(t *testing.T) {
		if out, err := backend.Invoke(ctx, conn, login, []byte("hello")); err != nil || string(out) != "hello" {
			t.Errorf("got %q, %v", out, err)
		}
	})
	t.Run("server stream", func(t *testing.T) {
		stream := openStream(t, ordering(ctx, backend.DoCount, "100"), conn, listUsers)
		send(t, stream, "x")
		_ = stream.CloseSend()
		if n, err := drain(stream); n != 100 || err != io.EOF {
			t.Errorf("%d messages, then %v", n, err)
		}
	})
	t.Run("client stream", func(t *testing.T) {
		stream := openStream(t, ctx, conn, uploadUsers)
		for range 100 {
			send(t, stream, "x")
		}
		_ = stream.CloseSend()
		if sum, err := stream.Receive(); err != nil || string(sum) != "100 messages" {
			t.Errorf("got %q, %v", sum, err)
		}
	})
	t.Run("both ways, message by message", func(t *testing.T) {
		stream := openStream(t, ctx, conn, chat)
		for i := range 100 { // nothing may be held back: each answer comes before the next question
			want := fmt.Sprint("message ", i)
			send(t, stream, want)
			if got, err := stream.Receive(); err != nil || string(got) != want {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		_ = stream.CloseSend()
		if _, err := stream.Receive(); err != io.EOF {
			t.Errorf("after half-close: %v", err)
		}
	})
}

func openStream(t *testing.T, ctx context.Context, conn grpc.ClientConnInterface, method string) backend.Stream {
	t.Helper()
	stream, err := backend.Open(ctx, conn, method)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func send(t *testing.T, stream backend.Stream, text string) {
	t.Helper()
	if err := stream.Send([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// drain receives until there is no more, and returns how many came and how it ended.
func drain(stream backend.Stream) (n int, err error) {
	for {
		if _, err = stream.Receive(); err != nil {
			return n, err
		}
		n++
	}
}

func TestMetadataPassesBothWays(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	var header, trailer metadata.MD
	sent := metadata.Pairs("x-echo-text", "plain value", "x-echo-twice", "a", "x-echo-twice", "b",
		"x-echo-raw-bin", "\x00\x01\xff\xfe binary, with comma", "x-trailer-text", "later",
		"x-trailer-raw-bin", "\xff\x00", "x-echo-empty", "")
	ctx := metadata.NewOutgoingContext(within(t, patience), sent)
	if _, err := backend.Invoke(ctx, conn, login, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	seen := users.Journal.Calls(login)[0].Metadata
	for key, values := range sent {
		if fmt.Sprint(seen[key]) != fmt.Sprint(values) {
			t.Errorf("backend saw %s: %q, want %q", key, seen[key], values)
		}
		got := header
		if strings.HasPrefix(key, "x-trailer-") {
			got = trailer
		}
		if fmt.Sprint(got[key]) != fmt.Sprint(values) {
			t.Errorf("client saw %s: %q, want %q", key, got[key], values)
		}
	}
}

func TestEveryStatusAndMessagePasses(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{})
	messages := []string{"", "plain", "fünfzig % \u2713 \U0001F6AA", "line\r\nfeed\tand\x7fcontrol", "100%", "%41",
		"no such user: ", "  indented", " "}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		for _, message := range messages {
			ctx := ordering(within(t, patience), backend.DoFail, strconv.Itoa(int(code)),
				backend.DoMessage, message, backend.DoDetails, "detail of "+message)
			_, err := backend.Invoke(ctx, conn, getUser, nil)
			got := status.Convert(err)
			if got.Code() != code {
				t.Errorf("%v %q came as %v", code, message, got)
			} else if code != codes.OK && (got.Message() != message || len(got.Details()) != 1) {
				t.Errorf("%v %q came as %q with %d details", code, message, got.Message(), len(got.Details()))
			}
		}
	}
}

func TestFailureInTheMiddleOfAStreamPasses(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{})
	ctx := ordering(within(t, patience), backend.DoCount, "7", backend.DoFail, "9", backend.DoMessage, "then this")
	stream := openStream(t, ctx, conn, listUsers)
	send(t, stream, "x")
	_ = stream.CloseSend()
	n, err := drain(stream)
	if got := status.Convert(err); n != 7 || got.Code() != codes.FailedPrecondition || got.Message() != "then this" {
		t.Errorf("%d messages, then %v", n, err)
	}
}

func TestLargeMessagesPass(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{})
	for _, size := range []int{0, 1, 16383, 16384, 65535, 65536, 1 << 20, 4<<20 - 64, 16 << 20} {
		payload := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		out, err := backend.Invoke(within(t, patience), conn, getUser, payload)
		if err != nil || !bytes.Equal(out, payload) {
			t.Errorf("%d bytes came back as %d, %v", size, len(out), err)
		}
	}
}

func TestCompressionIsUntouched(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	payload := bytes.Repeat([]byte("compressible "), 100000)
	out, err := backend.Invoke(within(t, patience), conn, login, payload, grpc.UseCompressor("gzip"))
	if err != nil || !bytes.Equal(out, payload) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	if taken := users.Wire.Bytes.Load(); taken > int64(len(payload)/2) {
		t.Errorf("backend took %d bytes for a gzipped message of %d", taken, len(payload))
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	const callers, calls = 50, 20
	errors := make(chan error, callers)
	for caller := range callers {
		go func() {
			for i := range calls {
				want := []byte(fmt.Sprint(caller, "/", i))
				out, err := backend.Invoke(within(t, patience), conn, login, want)
				if err == nil && !bytes.Equal(out, want) {
					err = fmt.Errorf("answer %q to %q", out, want)
				}
				if err != nil {
					errors <- err
					return
				}
			}
			errors <- nil
		}()
	}
	for range callers {
		if err := <-errors; err != nil {
			t.Error(err)
		}
	}
	if n := users.Journal.Count(login); n != callers*calls {
		t.Errorf("backend counted %d calls", n)
	}
}

func TestDeadlineIsPassedOnShortened(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	if _, err := backend.Invoke(within(t, 10*time.Second), conn, login, nil); err != nil {
		t.Fatal(err)
	}
	call := users.Journal.Calls(login)[0]
	if !call.HasDeadline || call.Remaining > 10*time.Second || call.Remaining < 5*time.Second {
		t.Errorf("backend was given %v (%v) of 10 s", call.Remaining, call.HasDeadline)
	}
}

func TestNoDeadlineIsMadeUp(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	if _, err := backend.Invoke(context.Background(), conn, login, nil); err != nil {
		t.Fatal(err)
	}
	if call := users.Journal.Calls(login)[0]; call.HasDeadline {
		t.Errorf("backend was given a deadline of %v", call.Remaining)
	}
}

func TestPassedDeadlineCancelsTheBackend(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	ctx := ordering(within(t, 300*time.Millisecond), backend.DoSleep, "1m")
	_, err := backend.Invoke(ctx, conn, getUser, nil)
	wantCode(t, err, codes.DeadlineExceeded)
	until(t, users.Journal, 2*time.Second, getUser, cancelled)
}

func TestRouteTimeoutGivesDeadlineExceeded(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users, timeout: 300ms")},
		backends: []string{h2("users", users.Address)}})
	ctx := ordering(within(t, patience), backend.DoSleep, "1m")
	_, err := backend.Invoke(ctx, g.rpc(t, common().web), getUser, nil)
	wantCode(t, err, codes.DeadlineExceeded)
	until(t, users.Journal, 2*time.Second, getUser, cancelled)
}

func TestMalformedTimeoutDoesNoHarm(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: users")},
		backends: []string{h2("users", users.Address)}})
	conn := g.client(t, "h2", common().web)
	for _, timeout := range []string{"", "S", "-1S", "1", "1X", "123456789S", "99999999H", "0n", "1 S", "1.5S"} {
		r := request("POST", login, "\x00\x00\x00\x00\x00", "Content-Type", "application/grpc",
			"TE", "trailers", "Grpc-Timeout", timeout)
		if got := conn.do(r); got.err != nil {
			t.Errorf("grpc-timeout %q: %v", timeout, got.err)
		}
	}
	_, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), login, nil)
	wantCode(t, err, codes.OK)
}

func TestClientCancelReachesTheBackendWithinASecond(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{"unary": getUser, "server stream": listUsers, "both ways": chat} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, users, conn := passing(t, setup{})
			ctx, cancel := context.WithCancel(ordering(within(t, patience), backend.DoSleep, "1m"))
			stream := openStream(t, ctx, conn, method)
			send(t, stream, "x")
			if method != chat {
				_ = stream.CloseSend()
			}
			until(t, users.Journal, patience, method, began)
			cancel()
			until(t, users.Journal, time.Second, method, cancelled)
		})
	}
}

func TestClientDisconnectReachesTheBackendWithinASecond(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	stream := openStream(t, ordering(within(t, patience), backend.DoHeaders, "1", backend.DoSleep, "1m"), conn, chat)
	send(t, stream, "x")
	until(t, users.Journal, patience, chat, began)
	_ = conn.Close()
	until(t, users.Journal, time.Second, chat, cancelled)
}

func TestCallWithoutRouteIsUnimplemented(t *testing.T) {
	t.Parallel()
	g, users, conn := passing(t, setup{})
	_, err := backend.Invoke(within(t, patience), conn, getOrder, nil)
	wantCode(t, err, codes.Unimplemented)
	if n := users.Wire.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the backend", n)
	}
	record := g.waitForAudit(t, "no_route", because("no_route"))
	if record.RPCMethod != getOrder || record.Principal != webID {
		t.Errorf("audit record %s", record.line)
	}
}

func TestGRPCCallsSeeTheIdentity(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	forged := ordering(within(t, patience), "x-forwarded-client-cert", "URI=spiffe://cluster.local/admin")
	if _, err := backend.Invoke(forged, conn, login, nil); err != nil {
		t.Fatal(err)
	}
	seen := users.Journal.Calls(login)[0].Metadata
	if values := seen["x-forwarded-client-cert"]; len(values) != 1 || strings.Count(values[0], "URI=") != 1 ||
		!strings.Contains(values[0], "URI="+webID) {
		t.Errorf("identity header %q", values)
	}
	for _, name := range []string{"x-forwarded-for", "x-forwarded-proto", "x-request-id", "traceparent"} {
		if len(seen[name]) != 1 {
			t.Errorf("%s: %q among %v", name, seen[name], maps.Collect(maps.All(seen)))
		}
	}
}
