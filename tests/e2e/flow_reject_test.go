package e2e

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

// Calls that say more than they may: how they end, and what is told of it.

// pushback is how long the trailers want the caller to wait.
func pushback(t *testing.T, trailers metadata.MD) time.Duration {
	t.Helper()
	values := trailers.Get("grpc-retry-pushback-ms")
	if len(values) != 1 {
		t.Fatalf("trailers %v", trailers)
	}
	return time.Duration(must(strconv.Atoi(values[0]))) * time.Millisecond
}

func wantExhausted(t *testing.T, err error) {
	t.Helper()
	wantCode(t, err, codes.ResourceExhausted)
	if got := status.Convert(err).Message(); got != "rate limit exceeded" {
		t.Errorf("message %q", got)
	}
}

// wantRecords fails the test unless so many refusals by that limit are told as what they are, and nothing else.
func (g *gateway) wantRecords(t *testing.T, want, limit int, method string) {
	t.Helper()
	rule := fmt.Sprintf("flow_limits[%d]", limit)
	g.countAudit(t, want, because("rate_limited"))
	g.countAudit(t, want, func(*auditRecord) bool { return true })
	for _, r := range g.refusals(t, func(*auditRecord) bool { return true }) {
		a := r.Answer
		if r.MatchedRule != rule || r.PolicyName != "edge/user.*/*" || r.RPCMethod != method || r.Request.ID == "" || r.Principal != webID ||
			a.Status != 200 || a.GRPCStatus == nil || *a.GRPCStatus != 8 || a.RetryAfterMS == nil || *a.RetryAfterMS <= 0 {
			t.Errorf("record %s", r.line)
		}
	}
	if n := g.metric(t, `tollgate_rejections_total{listener="edge",reason="rate_limited"}`); n != float64(want) {
		t.Errorf("%v rejections are counted, want %d", n, want)
	}
	if n := g.flowEvents(t, limit, "refused"); n != float64(want) {
		t.Errorf("%v events are counted, want %d", n, want)
	}
}

func (g *gateway) wantRefusedLine(t *testing.T, path string) {
	t.Helper()
	line := g.accessOf(t, path)
	if line.text("reason") != "rate_limited" || line.number("grpc_status") != 8 || line.number("status") != 200 {
		t.Errorf("access line %v", line.fields)
	}
}

func TestCallsOverTheLimitAreRefusedBeforeTheirAnswer(t *testing.T) {
	t.Parallel()
	g, users, m := measured(t, setup{}, "flow_limits: [{messages: 2/s, burst: 1, on_excess: reject}]")
	conn := g.rpc(t, common().web)
	var trailers metadata.MD
	passed, err := -1, error(nil)
	for ; err == nil && passed < 100; passed++ { // until one is within half a second of another, whatever the machine
		_, err = backend.Invoke(within(t, patience), conn, getUser, []byte("x"), grpc.Trailer(&trailers))
	}
	wantExhausted(t, err)
	wait := pushback(t, trailers)
	if wait <= 0 || wait > 500*time.Millisecond {
		t.Errorf("pushback of %v", wait)
	}
	<-time.After(wait)
	if err := invoke(t, conn, getUser); err != nil {
		t.Errorf("after %v: %v", wait, err)
	}
	g.countAudit(t, 1, because("rate_limited"))
	if n := m.count(); n != passed+1 {
		t.Errorf("%d messages reached the backend, %d passed before the refusal", n, passed)
	}
	g.wantRecords(t, 1, 0, getUser)
	// Whom it never had a message of the backend need not have heard of; who it has is cancelled.
	g.idle(t)
	for _, call := range users.Journal.Calls("") {
		if call.Received == 0 && !call.Cancelled {
			t.Errorf("call %+v", call)
		}
	}
}

// Whatever was said before arrives whole, and then the refusal.
func TestCallsOverTheLimitAreRefusedBetweenMessages(t *testing.T) {
	t.Parallel()
	for direction, refused := range map[string]func(*testing.T, *gateway, *rpc) (backend.Stream, int, error){
		"requests":  chatsOn,
		"responses": listsOn,
	} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			g, users, _ := measured(t, setup{}, "flow_limits: [{messages: 1/h, burst: 5, on_excess: reject, direction: "+direction+"}]")
			method := map[string]string{"requests": chat, "responses": listUsers}[direction]
			stream, n, err := refused(t, g, g.rpc(t, common().web))
			wantExhausted(t, err)
			if wait := pushback(t, stream.Trailer()); n != 5 || wait < 3500*time.Second || wait > time.Hour+time.Second {
				t.Errorf("%d messages, then a pushback of %v", n, wait)
			}
			if len(stream.Trailer().Get("x-request-id")) != 1 {
				t.Errorf("trailers %v", stream.Trailer())
			}
			until(t, users.Journal, patience, method, cancelled)
			g.wantRecords(t, 1, 0, method)
			g.wantRefusedLine(t, method)
		})
	}
}

func chatsOn(t *testing.T, _ *gateway, conn *rpc) (backend.Stream, int, error) {
	stream := openStream(t, within(t, patience), conn, chat)
	for range 5 {
		send(t, stream, "x")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	send(t, stream, "one too many")
	n, err := drain(stream)
	return stream, n + 5, err
}

func listsOn(t *testing.T, _ *gateway, conn *rpc) (backend.Stream, int, error) {
	ctx := ordering(within(t, patience), backend.DoCount, "100000", backend.DoGap, "5ms")
	stream := openStream(t, ctx, conn, listUsers)
	send(t, stream, "x")
	_ = stream.CloseSend()
	n, err := drain(stream)
	return stream, n, err
}

// The one too many comes in one frame with others; what was answered before is whole.
func TestTheOneTooManyComesAmongOthers(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "flow_limits: [{messages: 1/h, burst: 7, on_excess: reject}]")
	c := g.rawCall(t, chat, backend.DoHeaders, "1")
	if head := c.hearHead(1); head[":status"] != "200" {
		t.Fatalf("head %v", head)
	}
	c.pieces(1, messages(5, "x"), 1000, false)
	for left := len(messages(5, "x")); left > 0; {
		if data, ok := must(c.ReadFrame()).(*http2.DataFrame); ok {
			left -= len(data.Data())
		}
	}
	c.pieces(1, messages(3, "y"), 1000, false)
	got := c.hear(1)
	if got.fields["grpc-status"] != "8" || len(got.data) > 0 || got.heads != 1 {
		t.Errorf("got %+v", got)
	}
	g.wantRecords(t, 1, 0, chat)
}

// hearHead reads up to the head of the answer.
func (c *rawCall) hearHead(stream uint32) map[string]string {
	c.t.Helper()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok && head.StreamID == stream {
			fields := map[string]string{}
			for _, field := range head.Fields {
				fields[field.Name] = field.Value
			}
			return fields
		}
	}
}

// The answer is in the middle of a message that trailers cannot follow: the stream is reset.
func TestCallsAreResetInTheMiddleOfAMessage(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]bool{"while it comes": false, "when all of it has come": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back := scripted(t, overHTTP2(func(_ *backend.Peer, framer *http2.Framer, stream uint32) bool {
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
					BlockFragment: block(":status", "200", "content-type", "application/grpc")})
				_ = framer.WriteData(stream, false, append([]byte{0, 0, 0, 0x40, 0}, make([]byte, 9995)...))
				if !ends {
					return true
				}
				_ = framer.WriteData(stream, false, make([]byte, 0x4000-9995))
				return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, EndStream: true,
					BlockFragment: block("grpc-status", "0")}) == nil
			}))
			// What the client takes at once ends in the message; bytes wait where all has come.
			limits := "{messages: 1/h, burst: 1, on_excess: reject}"
			if ends {
				limits += ", {bytes: 1KiB/m, burst: 9KiB, direction: responses}"
			}
			g := start(t, setup{routes: []string{route(`grpc: "user.*/*"`, "backend: users, flow_limits: ["+limits+"]")},
				backends: []string{h2("users", back.Address)}, top: []string{accessLog}})
			conn := g.rpc(t, common().web)
			stream := openStream(t, within(t, patience), conn, chat)
			send(t, stream, "x")
			if _, err := stream.Header(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the beginning to pass", patience, func() bool { return !ends || g.flowEvents(t, 1, "paused") > 0 })
			send(t, stream, "one too many")
			_, err := stream.Receive()
			wantCode(t, err, codes.ResourceExhausted)
			g.wantRecords(t, 1, 0, chat)
			g.wantRefusedLine(t, chat)
		})
	}
}

// The backend has said all, and its trailers wait behind messages that then may not pass.
func TestRefusalsReplaceTheStatusOfTheBackend(t *testing.T) {
	t.Parallel()
	const limits = "flow_limits: [{messages: 10/s, burst: 1, direction: responses}, {messages: 1/h, burst: 4, direction: responses, on_excess: reject}]"
	g, users, _ := measured(t, setup{}, limits)
	c := g.rawCall(t, listUsers, backend.DoCount, "8", backend.DoFail, "9", "x-trailer-text", "later")
	c.pieces(1, message("x"), 100, true)
	got := c.hear(1)
	if got.fields["grpc-status"] != "8" || got.heads != 2 || string(got.data) != string(messages(4, "x")) || got.fields["x-trailer-text"] != "" {
		t.Errorf("got %+v", got)
	}
	if call := users.Journal.Calls(listUsers)[0]; call.Code != codes.FailedPrecondition {
		t.Errorf("the backend was to end by itself: %+v", call)
	}
	g.wantRecords(t, 1, 1, listUsers)
	g.wantRefusedLine(t, listUsers)
}

// All is said already, and on its way: the call ends as the backend has ended it.
func TestWhoHasItsAnswerIsNotRefused(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "flow_limits: [{messages: 1/h, burst: 1, on_excess: reject}]")
	c := g.rawCall(t, chat, backend.DoFail, "9")
	c.pieces(1, message("x"), 100, true)
	got := c.hear(1)
	if got.fields["grpc-status"] != "9" {
		t.Errorf("got %+v", got)
	}
	// One that ends early, while the client says on: exactly one status, whichever it is.
	for i := range 30 {
		id := uint32(3 + 2*i)
		c.open(id, getUser, backend.DoFail, "9")
		c.pieces(id, messages(2, "x"), 7+i%3, true)
		if got := c.hear(id); got.heads != 1 || got.fields["grpc-status"] != "8" && got.fields["grpc-status"] != "9" {
			t.Errorf("call %d: %+v", i, got)
		}
	}
	g.idle(t)
}

// Their resets are ours, and no flood of the client's.
func TestManyRefusalsOnOneConnectionCutNobodyOff(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{workers: 1}, "flow_limits: [{messages: 1/h, burst: 1, on_excess: reject, per: [\"header:x-case\"]}, {messages: 1/h, burst: 1, on_excess: reject, direction: responses, per: [\"header:x-case\"]}]")
	conn := g.rpc(t, common().web)
	const calls = 600
	for i := range calls {
		ctx, cancel := context.WithCancel(ordering(context.Background(), "x-case", strconv.Itoa(i), backend.DoHeaders, "1", backend.DoSize, "20000"))
		stream := openStream(t, ctx, conn, chat)
		send(t, stream, "x")
		if _, err := stream.Receive(); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		_ = stream.Send([]byte("y"))
		if _, err := stream.Receive(); status.Code(err) != codes.ResourceExhausted {
			t.Fatalf("call %d: %v", i, err)
		}
		cancel()
	}
	local := conn.local.Load()
	if err := invoke(t, conn, login, "x-case", "last"); err != nil || conn.local.Load() != local {
		t.Errorf("%v; the connection is another", err)
	}
	g.wantRecords(t, calls, 0, chat)
}

// Who would wait for more than a minute hears so at once, and when it would not.
func TestWhoWouldWaitTooLongIsRefused(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "flow_limits: [{messages: 2/m, burst: 2}]")
	ctx, _ := patiently(t)
	conn := g.rpc(t, common().web)
	for i := range 4 { // two pass, the others wait for half a minute and for a whole one
		stream := openStream(t, ctx, conn, chat)
		send(t, stream, "x")
		if i < 2 {
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
		}
	}
	waitFor(t, "two to wait", patience, func() bool { return g.flowEvents(t, 0, "paused") == 2 })
	stream := openStream(t, ctx, conn, chat)
	send(t, stream, "x")
	_, err := stream.Receive()
	wantExhausted(t, err)
	if wait := pushback(t, stream.Trailer()); wait < time.Minute || wait > 91*time.Second {
		t.Errorf("pushback of %v", wait)
	}
	g.wantRecords(t, 1, 0, chat)
}
