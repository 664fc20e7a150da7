package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// Messages by time: what passes, when, and in which order.

// A thousandth of a day's worth of messages waits for nobody in a test: 1/m is never.
const byCase = `{messages: 1/m, burst: 3, per: ["header:x-case"]}`

// echoed has a stream say so many messages, each once the one before has come back.
func echoed(ctx context.Context, conn grpc.ClientConnInterface, name string, count int) error {
	stream, err := backend.Open(ctx, conn, chat)
	for i := 0; err == nil && i < count; i++ {
		want := fmt.Sprint(name, " ", i)
		if err = stream.Send([]byte(want)); err != nil {
			return err
		}
		var got []byte
		if got, err = stream.Receive(); err == nil && string(got) != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
	}
	if err != nil {
		return err
	}
	_ = stream.CloseSend()
	if _, err = stream.Receive(); err != io.EOF {
		return fmt.Errorf("the end is %w", err)
	}
	return nil
}

func TestRequestsOfManyStreamsShareOneBucket(t *testing.T) {
	t.Parallel()
	g, _, m := measured(t, setup{}, "flow_limits: [{messages: 100/s, burst: 20, per: [identity]}]")
	var group sync.WaitGroup
	since := time.Now()
	for i := range 6 {
		conn := g.rpc(t, common().web)
		for k := range 6 {
			group.Go(func() {
				if err := echoed(within(t, patience), conn, fmt.Sprint(i, "/", k), 4); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	m.wantPaced(t, since, 20, 10*time.Millisecond, 6*6*4)
	if g.flowEvents(t, 0, "paused") == 0 || g.flowEvents(t, 0, "refused") != 0 {
		t.Error("pauses are not counted, or refusals are")
	}
}

func TestAnswersOfManyStreamsShareOneBucket(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "flow_limits: [{messages: 100/s, burst: 20, direction: responses}]")
	var group sync.WaitGroup
	m := &stopwatch{}
	since := time.Now()
	for range 6 {
		conn := g.rpc(t, common().web, grpc.WithStatsHandler(m))
		for range 6 {
			group.Go(func() {
				stream, err := backend.Open(ordering(within(t, patience), backend.DoCount, "4"), conn, listUsers)
				if err != nil {
					t.Error(err)
					return
				}
				_ = stream.Send([]byte("x"))
				_ = stream.CloseSend()
				if n, err := drain(stream); n != 4 || err != io.EOF {
					t.Errorf("%d messages, then %v", n, err)
				}
			})
		}
	}
	group.Wait()
	m.wantPaced(t, since, 20, 10*time.Millisecond, 6*6*4)
}

func TestUnaryCallsCostOne(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"requests", "responses"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			g, _, m := measured(t, setup{}, "flow_limits: [{messages: 50/s, burst: 5, direction: "+direction+"}]")
			at := &stopwatch{}
			conn := g.rpc(t, common().web, grpc.WithStatsHandler(at))
			since := time.Now()
			for range 25 {
				if err := invoke(t, conn, getUser); err != nil {
					t.Fatal(err)
				}
			}
			at.wantPaced(t, since, 5, 20*time.Millisecond, 25)
			if direction == "requests" {
				m.wantPaced(t, since, 5, 20*time.Millisecond, 25)
			}
		})
	}
}

// A message costs one, whatever it is: three pass, and the fourth does not come.
func TestMessagesOfEverySizeCountOnce(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"requests", "responses"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			g, _, _ := measured(t, setup{}, "flow_limits: ["+strings.Replace(byCase, "burst", "direction: "+direction+", burst", 1)+"]")
			conn := g.rpc(t, common().web, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
			for name, row := range map[string]struct {
				payload []byte
				options []grpc.CallOption
			}{
				"4 MiB":      {payload: pattern(4<<20 - 64)},
				"empty":      {},
				"small":      {payload: []byte("x")},
				"compressed": {bytes.Repeat([]byte("again "), 300000), []grpc.CallOption{grpc.UseCompressor("gzip")}},
			} {
				ctx := ordering(within(t, patience), "x-case", name)
				for range 3 {
					out, err := backend.Invoke(ctx, conn, login, row.payload, row.options...)
					if err != nil || !bytes.Equal(out, row.payload) {
						t.Fatalf("%s: %d bytes, %v", name, len(out), err)
					}
				}
				short := ordering(within(t, 300*time.Millisecond), "x-case", name)
				_, err := backend.Invoke(short, conn, login, row.payload, row.options...)
				wantCode(t, err, codes.DeadlineExceeded)
			}
			g.idle(t)
		})
	}
}

func TestIdentitiesHaveBucketsOfTheirOwn(t *testing.T) {
	t.Parallel()
	g, users, _ := measured(t, setup{}, "flow_limits: [{messages: 1/m, burst: 5, per: [identity]}]")
	for i, id := range []string{webID, "spiffe://cluster.local/ns/other/sa/one", "spiffe://cluster.local/ns/other/sa/two"} {
		cert := common().root.svid(id)
		ctx, _ := patiently(t)
		stream := openStream(t, ctx, g.rpc(t, cert), chat)
		for range 5 {
			send(t, stream, id)
			if got, err := stream.Receive(); err != nil || string(got) != id {
				t.Fatalf("%s: got %q, %v", id, got, err)
			}
		}
		send(t, stream, "the sixth")
		waitFor(t, "the sixth to be kept back", patience, func() bool { return g.flowEvents(t, 0, "paused") == float64(i+1) })
	}
	for _, call := range users.Journal.Calls(chat) {
		if call.Received != 5 {
			t.Errorf("%d messages reached the backend", call.Received)
		}
	}
}

func TestEndsComeAfterHeldMessages(t *testing.T) {
	t.Parallel()
	const limits = "flow_limits: [{messages: 20/s, burst: 2}, {messages: 20/s, burst: 2, direction: responses}]"
	g, users, _ := measured(t, setup{}, limits)
	conn := g.rpc(t, common().web)
	since := time.Now()
	stream := openStream(t, within(t, patience), conn, uploadUsers)
	for range 8 {
		send(t, stream, "x")
	}
	_ = stream.CloseSend()
	if sum, err := stream.Receive(); err != nil || string(sum) != "8 messages" {
		t.Errorf("got %q, %v", sum, err)
	}
	if took := time.Since(since); took < 300*time.Millisecond {
		t.Errorf("took %v", took)
	}
	ctx := ordering(within(t, patience), backend.DoCount, "8", backend.DoFail, "9", "x-trailer-text", "later")
	stream = openStream(t, ctx, conn, listUsers)
	send(t, stream, "x")
	_ = stream.CloseSend()
	until(t, users.Journal, patience, listUsers, func(c backend.Call) bool { return c.Done })
	n, err := drain(stream)
	wantCode(t, err, codes.FailedPrecondition)
	if got := stream.Trailer().Get("x-trailer-text"); n != 8 || len(got) != 1 {
		t.Errorf("%d messages, trailers %v", n, stream.Trailer())
	}
	if line := g.accessOf(t, listUsers); line.number("grpc_status") != 9 || line.text("reason") != "" {
		t.Errorf("access line %v", line.fields)
	}
}

// Where frames begin and end says nothing of messages.
func TestMessagesInAnyFramesCountTheSame(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, `flow_limits: [{messages: 1/h, burst: 7, on_excess: reject, per: ["header:x-case"]}]`)
	for _, text := range []string{"", "x", "0123456789"} {
		for _, size := range []int{1, 2, 3, 4, 5, 6, 7, 11, 1000} {
			for _, extra := range []int{0, 1} {
				name := fmt.Sprint(len(text), "/", size, "/", extra)
				c := g.rawCall(t, uploadUsers, "x-case", name)
				c.pieces(1, messages(7+extra, text), size, true)
				got := c.hear(1)
				want := []string{"0", "8"}[extra]
				if got.fields["grpc-status"] != want || got.reset != nil {
					t.Errorf("%s: %+v", name, got)
				}
				if extra == 0 && !bytes.Equal(got.data, message("7 messages")) {
					t.Errorf("%s: got %q", name, got.data)
				}
			}
		}
	}
}

func TestAnswersInAnyFramesCountTheSame(t *testing.T) {
	t.Parallel()
	back := scripted(t, overHTTP2(func(_ *backend.Peer, framer *http2.Framer, stream uint32) bool {
		size := []int{1, 2, 3, 4, 5, 6, 7, 11, 1000}[stream/2%9]
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
			BlockFragment: block(":status", "200", "content-type", "application/grpc")})
		data := messages(8, strings.Repeat("y", int(stream/2%3)*10))
		for at := 0; at < len(data); at += size {
			_ = framer.WriteData(stream, false, data[at:min(at+size, len(data))])
		}
		return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, EndStream: true,
			BlockFragment: block("grpc-status", "0")}) == nil
	}))
	g := start(t, setup{routes: []string{route(`grpc: "user.*/*"`, `backend: users, flow_limits: [{messages: 1/h, burst: 7, direction: responses, on_excess: reject, per: ["header:x-case"]}]`)},
		backends: []string{h2("users", back.Address)}, workers: 1})
	conn := g.rpc(t, common().web)
	for i := range 27 {
		stream := openStream(t, ordering(within(t, patience), "x-case", fmt.Sprint(i)), conn, listUsers)
		_ = stream.CloseSend()
		n, err := drain(stream)
		wantCode(t, err, codes.ResourceExhausted)
		if n != 7 {
			t.Errorf("call %d: %d messages", i, n)
		}
	}
	g.countAudit(t, 27, because("rate_limited"))
}

// Large messages among small ones, over streams that wait for each other.
func TestContentIsUnchangedByPauses(t *testing.T) {
	t.Parallel()
	g, _, m := measured(t, setup{}, "flow_limits: [{messages: 100/s, burst: 3}, {messages: 100/s, burst: 3, direction: responses}]")
	conn := g.rpc(t, common().web)
	sizes := []int{0, 1, 16384, 100000, 5, 1 << 20, 65535, 65536, 0, 300000}
	since := time.Now()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			stream, err := backend.Open(metadata.NewOutgoingContext(within(t, patience), nil), conn, chat)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				for _, size := range sizes {
					_ = stream.Send(pattern(size))
				}
				_ = stream.CloseSend()
			}()
			for i, size := range sizes {
				if got, err := stream.Receive(); err != nil || !bytes.Equal(got, pattern(size)) {
					t.Errorf("message %d of %d bytes came as %d, %v", i, size, len(got), err)
				}
			}
			if _, err := stream.Receive(); err != io.EOF {
				t.Error(err)
			}
		})
	}
	group.Wait()
	m.wantPaced(t, since, 3, 10*time.Millisecond, 40)
}
