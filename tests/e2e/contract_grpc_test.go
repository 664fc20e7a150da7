package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

// gRPC as if the gateway were not there (BEHAVIOUR, section 6).

// answeringCalls is a backend that gives every call the same raw answer: headers, then trailers if there are any.
func answeringCalls(t *testing.T, headers, trailers http.Header, body string) *gateway {
	t.Helper()
	script := func(p *backend.Peer) {
		server := &http2.Server{}
		server.ServeConn(p, &http2.ServeConnOpts{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for name, values := range headers {
				w.Header()[name] = values
			}
			for name, values := range trailers {
				w.Header()[http.TrailerPrefix+name] = values
			}
			_, _ = io.WriteString(w, body)
		})})
	}
	back := scripted(t, script)
	return start(t, setup{routes: []string{route(`grpc: "*"`, "backend: users")}, backends: []string{h2("users", back.Address)}})
}

func TestStatusesOfBackendsPassAsTheyAre(t *testing.T) {
	t.Parallel()
	kind := http.Header{"Content-Type": {"application/grpc+proto"}}
	for _, row := range []struct{ status, message string }{
		{"0", ""}, {"1", "c"}, {"5", "%E2%98%83 100%25"}, {"16", ""}, {"17", "unknown to gRPC"}, {"99", ""}, {"2147483647", ""},
		{"00", "leading nought"}, {"-1", "negative"}, {"", "empty"}, {"seven", "no number"}, {"5", "not %zz escaped"}, {"5", strings.Repeat("long", 1000)},
	} {
		told := http.Header{"Grpc-Status": {row.status}, "Grpc-Message": {row.message}, "X-Custom": {"1", "2"},
			"Grpc-Status-Details-Bin": {"CAUSBHRlc3Q"}, "X-Raw-Bin": {"AAEC,//4="}}
		g := answeringCalls(t, kind, told, "\x00\x00\x00\x00\x02hi")
		got := g.client(t, "h2", common().web).do(grpcRequest(login))
		if got.status != 200 || got.body != "\x00\x00\x00\x00\x02hi" {
			t.Fatalf("%q: %+v", row, got)
		}
		for name, values := range told {
			if fmt.Sprint(got.trailer[name]) != fmt.Sprint(values) {
				t.Errorf("%q: %s became %q", row, name, got.trailer[name])
			}
		}
		only := answeringCalls(t, http.Header{"Content-Type": {"application/grpc"}, "Grpc-Status": {row.status}, "Grpc-Message": {row.message}, "X-Raw-Bin": {"AAEC"}}, nil, "")
		got = only.client(t, "h2", common().web).do(grpcRequest(login))
		if got.status != 200 || got.header.Get("Grpc-Status") != row.status || got.header.Get("Grpc-Message") != row.message || got.header.Get("X-Raw-Bin") != "AAEC" || got.body != "" {
			t.Errorf("trailers-only %q became %+v", row, got)
		}
	}
}

func TestTimeoutsAreReadToTheLetter(t *testing.T) {
	t.Parallel()
	g, users, _ := passing(t, setup{})
	c := g.client(t, "h2", common().web)
	for _, row := range []struct {
		timeout string
		given   time.Duration // 0: none, -1: over before it began
	}{
		{"5S", 5 * time.Second}, {"5000m", 5 * time.Second}, {"5000000u", 5 * time.Second}, {"99999999u", 99999999 * time.Microsecond},
		{"00000005S", 5 * time.Second}, {"1M", time.Minute}, {"1H", time.Hour}, {"9999999S", 9999999 * time.Second},
		{"99999999n", -1}, {"0n", -1}, {"1n", -1}, {"0S", -1}, {"1u", -1}, {"0H", -1},
		{"99999999S", 0}, {"99999999M", 0}, {"99999999H", 0}, {"", 0}, {"S", 0}, {"5", 0}, {"5s", 0}, {"5h", 0}, {"5 S", 0}, {"-5S", 0}, {"+5S", 0}, {"5.0S", 0}, {"5e1S", 0},
		{"0x5S", 0}, {"123456789S", 0}, {"1000000000000000000000S", 0}, {"5SS", 0}, {"S5", 0}, {"٥S", 0}, {"5D", 0},
	} {
		users.Journal.Reset()
		got := c.do(grpcRequest(login, "Grpc-Timeout", row.timeout))
		code := or(got.trailer.Get("Grpc-Status"), got.header.Get("Grpc-Status"))
		calls := users.Journal.Calls(login)
		switch {
		case got.err != nil || got.status != 200:
			t.Errorf("%q: status %d, %v", row.timeout, got.status, got.err)
		case row.given == -1 && code != "4" && code != "0":
			t.Errorf("%q: status %q", row.timeout, code)
		case row.given == -1:
		case code != "0" || len(calls) != 1:
			t.Errorf("%q: status %q, %d calls", row.timeout, code, len(calls))
		case row.given == 0 && strings.HasPrefix(row.timeout, "99999999"): // years: as good as none
			if calls[0].HasDeadline && calls[0].Remaining < 24*time.Hour {
				t.Errorf("%q: the backend was given %v", row.timeout, calls[0].Remaining)
			}
		case row.given == 0 && calls[0].HasDeadline:
			t.Errorf("%q: a deadline of %v was made up", row.timeout, calls[0].Remaining)
		case row.given > 0 && (!calls[0].HasDeadline || calls[0].Remaining > row.given || calls[0].Remaining < row.given-slow(3*time.Second)):
			t.Errorf("%q: the backend was given %v", row.timeout, calls[0].Remaining)
		}
	}
}

func TestMetadataOfAllShapesPasses(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	sent := metadata.MD{"x-echo-many": make([]string, 40), "x-echo-big": {strings.Repeat("b", 20000)}, "x-echo-all-bin": {string(allBytes())},
		"x-echo-bins-bin": {"\x00", "", "\xff\xff", "a,b"}, "x-echo-odd_name.0-9": {"v"}, "x-echo-spaces": {"a  b"},
		"x-echo-text": {"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}, "grpc-trace-bin": {"\x00\x01"}, "authorization": {"Bearer x.y.z"}, "cookie": {"a=1; b=2"}}
	for i := range sent["x-echo-many"] {
		sent["x-echo-many"][i] = fmt.Sprint("value ", i)
	}
	var header metadata.MD
	ctx := metadata.NewOutgoingContext(within(t, patience), sent)
	if _, err := backend.Invoke(ctx, conn, login, nil, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	seen := users.Journal.Calls(login)[0].Metadata
	for key, values := range sent {
		if fmt.Sprintf("%q", seen[key]) != fmt.Sprintf("%q", values) {
			t.Errorf("backend saw %s: %.200q, want %.200q", key, seen[key], values)
		}
		if strings.HasPrefix(key, "x-echo-") && fmt.Sprintf("%q", header[key]) != fmt.Sprintf("%q", values) {
			t.Errorf("client saw %s: %.200q, want %.200q", key, header[key], values)
		}
	}
	if seen[":authority"][0] != "gateway.test" || !strings.Contains(seen["user-agent"][0], "grpc-go") {
		t.Errorf("authority %q, user agent %q", seen[":authority"], seen["user-agent"])
	}
}

func allBytes() (all []byte) {
	for i := range 256 {
		all = append(all, byte(i))
	}
	return all
}

func TestLargeMessagesOnStreamsBothWays(t *testing.T) {
	t.Parallel()
	_, _, conn := passing(t, setup{})
	message := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	stream := openStream(t, within(t, patience), conn, chat)
	go func() {
		for range 4 {
			_ = stream.Send(message)
		}
		_ = stream.CloseSend()
	}()
	for range 4 {
		if got, err := stream.Receive(); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if _, err := stream.Receive(); err != io.EOF {
		t.Error(err)
	}
}

func TestRefusalsOfCallsAreTrailersOnly(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{backends: []string{h2("users", users.Address)}, listener: []string{"limits: {body_bytes: 1KiB}"}, routes: []string{
		route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 1}]"),
		route("grpc: user.UserService/GetUser", `backend: users, allow: ["spiffe://cluster.local/x"]`)}})
	good, stranger := g.client(t, "h2", common().web), g.client(t, "h2", common().root.svid("spiffe://elsewhere/x"))
	wantStatus(t, good.do(grpcRequest(login)), 200)
	for _, kind := range []string{"application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc; charset=utf-8", "Application/GRPC"} {
		for name, row := range map[string]struct {
			c             *client
			path          string
			code, message string
		}{
			"limit":    {good, login, "8", "rate limit exceeded"},
			"access":   {good, getUser, "7", ""},
			"no route": {good, "/none.Such/Call", "12", ""},
			"nonsense": {good, "/nonsense", "12", ""},
			"identity": {stranger, login, "7", ""},
			"nobody":   {g.client(t, "h2", nil), login, "16", ""},
			"expired":  {g.client(t, "h2", common().root.svid(webID, expired)), login, "16", ""},
			"dots":     {good, "/user.UserService/..%2fLogin", "13", ""},
		} {
			got := row.c.do(request("POST", row.path, "\x00\x00\x00\x00\x00", "Content-Type", kind, "TE", "trailers"))
			if got.status != 200 || got.body != "" || len(got.trailer) != 0 || got.header.Get("Grpc-Status") != row.code ||
				!strings.HasPrefix(got.header.Get("Content-Type"), "application/grpc") {
				t.Errorf("%s as %s: %+v", name, kind, got)
			}
			if row.message != "" && got.header.Get("Grpc-Message") != row.message || got.header.Get("Grpc-Message") == "" {
				t.Errorf("%s as %s: message %q", name, kind, got.header.Get("Grpc-Message"))
			}
			if pushback := got.header.Get("Grpc-Retry-Pushback-Ms"); (row.code == "8") != (pushback != "") {
				t.Errorf("%s as %s: pushback %q", name, kind, pushback)
			}
		}
	}
	for _, kind := range []string{"application/json", "text/grpc", "", "xapplication/grpc"} { // these are no calls
		got := good.do(request("POST", login, "x", "Content-Type", kind))
		wantRefusal(t, got, 404, "no_route")
	}
	if n := users.Journal.Count(""); n != 1 {
		t.Errorf("%d calls reached the backend", n)
	}
}

func TestCancellingOneCallSparesItsNeighbours(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	ctx, cancel := context.WithCancel(within(t, patience))
	var doomed, spared []backend.Stream
	for range 20 {
		doomed = append(doomed, openStream(t, ctx, conn, chat))
		spared = append(spared, openStream(t, within(t, patience), conn, chat))
	}
	for _, stream := range append(doomed, spared...) {
		send(t, stream, "x")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	waitFor(t, "twenty cancels at the backend", time.Second, func() bool {
		n := 0
		for _, call := range users.Journal.Calls(chat) {
			if cancelled(call) {
				n++
			}
		}
		return n == len(doomed)
	})
	for _, stream := range spared {
		send(t, stream, "y")
		if got, err := stream.Receive(); err != nil || string(got) != "y" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestMoreCallsThanStreamsAreQueuedByTheClient(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{listener: []string{"limits: {concurrent_streams: 5}"}})
	ctx := within(t, patience)
	errors := make(chan error)
	for range 60 {
		go func() {
			_, err := backend.Invoke(ordering(ctx, backend.DoSleep, "20ms"), conn, login, nil)
			errors <- err
		}()
	}
	for range 60 {
		if err := <-errors; err != nil {
			t.Error(err)
		}
	}
	if n := users.Journal.Count(login); n != 60 {
		t.Errorf("%d calls", n)
	}
}

func TestKeepalivePingsAreNoFlood(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route(`grpc: "*"`, "backend: users")}, backends: []string{h2("users", users.Address)}})
	conn := g.rpc(t, common().web, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second, PermitWithoutStream: true}))
	if _, err := backend.Invoke(within(t, patience), conn, login, nil); err != nil {
		t.Fatal(err)
	}
	g.frames(t, func(f *http2.Framer) { // a hundred, answered each, then a request
		for i := range 100 {
			_ = f.WritePing(false, [8]byte{byte(i)})
		}
		open(f, ":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/x")
	})
	if n := len(g.refusals(t, because("protocol_violation"))); n != 0 {
		t.Errorf("%d are called a flood", n)
	}
}

func TestDeadlineOverABackendThatIsSilentInEveryWay(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	for _, orders := range [][]string{{backend.DoSleep, "1m"}, {backend.DoHeaders, "1", backend.DoSleep, "1m"}, {backend.DoSleep, "1m", backend.DoIgnoreCancel, "1"},
		{backend.DoCount, "1000", backend.DoGap, "20ms"}} {
		users.Journal.Reset()
		since := time.Now()
		stream := openStream(t, ordering(within(t, 300*time.Millisecond), orders...), conn, listUsers)
		send(t, stream, "x")
		_ = stream.CloseSend()
		_, err := drain(stream)
		if status.Code(err) != codes.DeadlineExceeded || time.Since(since) > slow(1500*time.Millisecond) {
			t.Errorf("%v: %v after %v", orders, err, time.Since(since))
		}
		if orders[len(orders)-2] != backend.DoIgnoreCancel {
			until(t, users.Journal, time.Second, listUsers, cancelled)
		}
	}
}
