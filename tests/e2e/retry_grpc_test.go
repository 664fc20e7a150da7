package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tollgate/tests/backend"
)

// A turn is how a call is taken by the server it reaches.
type turn func(stream grpc.ServerStream) error

// An ensemble is two grpc-go servers that act together, as a troupe does: failures without headers, which
// backend.GRPC does not have.
type ensemble struct {
	addresses []string
	mutex     sync.Mutex
	turns     map[string][]turn
	seen      map[string][]call
}

type call struct {
	endpoint string
	began    time.Time
	left     time.Duration // of its deadline; 0: it has none
	previous []string      // grpc-previous-rpc-attempts
}

func newEnsemble(t *testing.T) *ensemble {
	t.Helper()
	e := &ensemble{turns: map[string][]turn{}, seen: map[string][]call{}}
	for range 2 {
		address := freeAddress(t)
		listener := listening(t, address)
		server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			return e.take(address, stream)
		}))
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		e.addresses = append(e.addresses, address)
	}
	return e
}

func (e *ensemble) take(address string, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	one := call{endpoint: address, began: time.Now()}
	if deadline, ok := stream.Context().Deadline(); ok {
		one.left = time.Until(deadline)
	}
	e.mutex.Lock()
	n, turns := len(e.seen[method]), e.turns[method]
	e.seen[method] = append(e.seen[method], one)
	e.mutex.Unlock()
	if n < len(turns) && turns[n] != nil {
		return turns[n](stream)
	}
	return echoes(stream)
}

func echoes(stream grpc.ServerStream) error {
	for {
		in := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(in); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(in); err != nil {
			return err
		}
	}
}

func (e *ensemble) play(method string, turns ...turn) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.turns[method], e.seen[method] = turns, nil
}

func (e *ensemble) at(method string) []call {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return append([]call{}, e.seen[method]...)
}

// fails is trailers-only, with what else is told in pairs.
func fails(code codes.Code, pairs ...string) turn {
	return func(stream grpc.ServerStream) error {
		stream.SetTrailer(metadata.Pairs(pairs...))
		return status.Error(code, "as told")
	}
}

// failsLate does so after the headers, and so many messages.
func failsLate(messages int, code codes.Code) turn {
	return func(stream grpc.ServerStream) error {
		_ = stream.SendHeader(nil)
		for range messages {
			_ = stream.SendMsg(wrapperspb.Bytes([]byte("m")))
		}
		return status.Error(code, "late")
	}
}

func waitsForever(stream grpc.ServerStream) error {
	<-stream.Context().Done()
	return status.FromContextError(stream.Context().Err()).Err()
}

// rehearsed is a gateway in front of an ensemble.
func rehearsed(t *testing.T, retry string) (*gateway, *ensemble, *rpc) {
	t.Helper()
	e := newEnsemble(t)
	g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{h2("web", e.addresses...)},
		routes: []string{route(`grpc: "*"`, "backend: web, retry: "+retry)}})
	return g, e, g.rpc(t, common().web, grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
}

func TestStatusesOfGRPCThatAreRepeated(t *testing.T) {
	t.Parallel()
	g, e, conn := rehearsed(t, "{on: [unavailable, aborted, resource_exhausted], tries: 3, backoff: 1ms}")
	for name, row := range map[string]struct {
		turns    []turn
		want     codes.Code
		attempts int
	}{
		"unavailable":        {[]turn{fails(codes.Unavailable)}, codes.OK, 2},
		"aborted":            {[]turn{fails(codes.Aborted)}, codes.OK, 2},
		"exhausted twice":    {[]turn{fails(codes.ResourceExhausted), fails(codes.Unavailable)}, codes.OK, 3},
		"to the end":         {[]turn{fails(codes.Aborted), fails(codes.Unavailable), fails(codes.Aborted)}, codes.Aborted, 3},
		"another":            {[]turn{fails(codes.Internal)}, codes.Internal, 1},
		"then another":       {[]turn{fails(codes.Unavailable), fails(codes.NotFound)}, codes.NotFound, 2},
		"after headers":      {[]turn{failsLate(0, codes.Unavailable)}, codes.Unavailable, 1},
		"after a message":    {[]turn{failsLate(1, codes.Unavailable)}, codes.Unavailable, 1},
		"unlisted for reset": {[]turn{fails(codes.DeadlineExceeded)}, codes.DeadlineExceeded, 1},
	} {
		const method = "/svc/m"
		e.play(method, row.turns...)
		_, err := backend.Invoke(within(t, patience), conn, method, []byte("hello"))
		if got := status.Code(err); got != row.want {
			t.Errorf("%s: %v (%v)", name, got, err)
		}
		seen := e.at(method)
		if len(seen) != row.attempts || row.attempts > 1 && seen[0].endpoint == seen[1].endpoint {
			t.Errorf("%s: attempts %+v", name, seen)
		}
	}
	if a, b := g.retries(t, e.addresses[0], "retriable_grpc_status"), g.retries(t, e.addresses[1], "retriable_grpc_status"); a+b != 7 {
		t.Errorf("%d and %d repeats are counted, want 7", a, b)
	}
}

func TestMessagesAreRepeatedWhole(t *testing.T) {
	t.Parallel()
	_, e, conn := rehearsed(t, "{backoff: 0s}")
	reads := func(stream grpc.ServerStream) error {
		_ = stream.RecvMsg(new(wrapperspb.BytesValue))
		return status.Error(codes.Unavailable, "read")
	}
	for _, size := range []int{0, 1, 1000, retryBuffer - 20, retryBuffer + 1, 1 << 20} {
		for _, first := range []turn{fails(codes.Unavailable), reads} {
			e.play("/svc/m", first)
			out, err := backend.Invoke(within(t, patience), conn, "/svc/m", pattern(size))
			if size < retryBuffer && (err != nil || !bytes.Equal(out, pattern(size))) {
				t.Errorf("%d bytes came back as %d, %v", size, len(out), err)
			}
			if err != nil && status.Code(err) != codes.Unavailable || err == nil && !bytes.Equal(out, pattern(size)) {
				t.Errorf("%d bytes came back as %d, %v", size, len(out), err)
			}
		}
	}
	if seen := e.at("/svc/m"); len(seen) != 1 {
		t.Errorf("a megabyte was sent %d times after it was read", len(seen))
	}
}

func TestStreamsWorkBesideRetry(t *testing.T) {
	t.Parallel()
	_, e, conn := rehearsed(t, "{backoff: 1ms, per_try_timeout: 5s, on: [timeout, reset, unavailable]}")
	e.play("/svc/chat", fails(codes.Unavailable))
	stream := openStream(t, within(t, patience), conn, "/svc/chat")
	for i := range 200 {
		want := fmt.Sprint("message ", i)
		send(t, stream, want)
		if got, err := stream.Receive(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF || len(e.at("/svc/chat")) != 2 {
		t.Errorf("%v after %d attempts", err, len(e.at("/svc/chat")))
	}
	e.play("/svc/list", fails(codes.Unavailable), failsLate(1000, codes.Unavailable))
	stream = openStream(t, within(t, patience), conn, "/svc/list")
	send(t, stream, "x")
	_ = stream.CloseSend()
	if n, err := drain(stream); n != 1000 || status.Code(err) != codes.Unavailable || len(e.at("/svc/list")) != 2 {
		t.Errorf("%d messages, then %v after %d attempts", n, err, len(e.at("/svc/list")))
	}
}

func TestPushbackIsObeyed(t *testing.T) {
	t.Parallel()
	_, e, conn := rehearsed(t, "{backoff: 100ms, tries: 2}")
	for value, row := range map[string]struct {
		want     codes.Code
		attempts int
		least    time.Duration
	}{
		"0": {codes.OK, 2, 0}, "400": {codes.OK, 2, 400 * time.Millisecond}, "1000": {codes.OK, 2, time.Second},
		"1001": {codes.Unavailable, 1, 0}, "-1": {codes.Unavailable, 1, 0}, "soon": {codes.Unavailable, 1, 0},
		"99999999999999999999999": {codes.Unavailable, 1, 0}, "1.5": {codes.Unavailable, 1, 0}, "+5": {codes.Unavailable, 1, 0},
	} {
		e.play("/svc/m", fails(codes.Unavailable, "grpc-retry-pushback-ms", value))
		_, err := backend.Invoke(within(t, patience), conn, "/svc/m", nil)
		seen := e.at("/svc/m")
		if status.Code(err) != row.want || len(seen) != row.attempts {
			t.Errorf("%q: %v after %d attempts", value, err, len(seen))
		} else if len(seen) == 2 && (seen[1].began.Sub(seen[0].began) < row.least || seen[1].began.Sub(seen[0].began) > row.least+slow(200*time.Millisecond)) {
			t.Errorf("%q: waited %v", value, seen[1].began.Sub(seen[0].began))
		}
	}
}

// What would come too late is not waited for: the caller hears at once what there is.
func TestDeadlineHoldsOverAllAttempts(t *testing.T) {
	t.Parallel()
	g, e, conn := rehearsed(t, "{backoff: 1s, tries: 2}")
	deadline := slow(3 * time.Second)
	e.play("/svc/late", fails(codes.Unavailable, "grpc-retry-pushback-ms", fmt.Sprint(min(10000, deadline.Milliseconds()+500))))
	began := time.Now()
	_, err := backend.Invoke(within(t, deadline), conn, "/svc/late", nil)
	wantCode(t, err, codes.Unavailable)
	if took := time.Since(began); took > deadline/2 {
		t.Errorf("took %v", took)
	}
	e.play("/svc/shorter", fails(codes.Unavailable, "grpc-retry-pushback-ms", "300"))
	_, err = backend.Invoke(within(t, 5*time.Second), conn, "/svc/shorter", nil)
	wantCode(t, err, codes.OK)
	if seen := e.at("/svc/shorter"); len(seen) != 2 || seen[0].left-seen[1].left < 280*time.Millisecond {
		t.Errorf("attempts %+v", seen)
	}
	if n := len(e.at("/svc/late")); n != 1 {
		t.Errorf("%d attempts at what was too late", n)
	}
	waitFor(t, "no request left", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
}

func TestCancelBetweenAttemptsEndsTheCall(t *testing.T) {
	t.Parallel()
	g, e, conn := rehearsed(t, "{backoff: 1s, budget: 100}")
	e.play("/svc/gone", fails(codes.Unavailable, "grpc-retry-pushback-ms", "1500"))
	ctx, cancel := context.WithCancel(within(t, patience))
	ended := make(chan error, 1)
	go func() {
		_, err := backend.Invoke(ctx, conn, "/svc/gone", nil)
		ended <- err
	}()
	waitFor(t, "the first attempt to fail", patience, func() bool {
		return g.retries(t, e.addresses[0], "retriable_grpc_status")+g.retries(t, e.addresses[1], "retriable_grpc_status") == 1
	})
	cancel()
	wantCode(t, <-ended, codes.Canceled)
	waitFor(t, "the call to be over", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
	e.play("/svc/after", fails(codes.Unavailable, "grpc-retry-pushback-ms", "2000"))
	_, err := backend.Invoke(within(t, patience), conn, "/svc/after", nil)
	wantCode(t, err, codes.OK)
	if n := len(e.at("/svc/gone")); n != 1 {
		t.Errorf("%d attempts at a call that was cancelled", n)
	}
}

func TestSilentServersOfGRPC(t *testing.T) {
	t.Parallel()
	g, e, conn := rehearsed(t, "{on: [timeout], per_try_timeout: 500ms, backoff: 0s}")
	e.play("/svc/one", waitsForever)
	_, err := backend.Invoke(within(t, patience), conn, "/svc/one", nil)
	wantCode(t, err, codes.OK)
	e.play("/svc/all", waitsForever, waitsForever)
	_, err = backend.Invoke(within(t, patience), conn, "/svc/all", nil)
	wantCode(t, err, codes.DeadlineExceeded)
	if got := status.Convert(err).Message(); got != "per_try_timeout" {
		t.Errorf("message %q", got)
	}
	if line := g.accessOf(t, "/svc/all"); line.text("cause") != "per_try_timeout" || line.text("response_flags") != "UT,URX" || line.number("retries") != 1 {
		t.Errorf("cause %q, flags %q, %v retries", line.text("cause"), line.text("response_flags"), line.number("retries"))
	}
}
