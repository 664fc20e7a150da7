package e2e

import (
	"io"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// flowing starts a gateway with these flow limits on the way to a gRPC backend.
func flowing(t *testing.T, limits string) (*gateway, *backend.GRPC, *rpc) {
	t.Helper()
	users := grpcBackend(t)
	g := start(t, setup{routes: []string{route(`grpc: "user.*/*"`, "backend: users, flow_limits: ["+limits+"]")},
		backends: []string{h2("users", users.Address)}})
	return g, users, g.rpc(t, common().web)
}

func TestMessagesOverTheBurstPauseUntilTheyArePaidFor(t *testing.T) {
	t.Parallel()
	g, _, conn := flowing(t, "{messages: 20/s, burst: 5}")
	stream := openStream(t, within(t, patience), conn, chat)
	began := time.Now()
	for range 15 {
		send(t, stream, "x")
	}
	for range 15 {
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("10 messages more than the burst took %v", took)
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Error(err)
	}
	if n := g.metric(t, `tollgate_flow_limit_events_total{route="user.*/*",limit="flow_limits[0]",event="paused"}`); n < 5 {
		t.Errorf("%v pauses are counted", n)
	}
}

func TestMessagesOverTheBurstEndTheCallWhereSaidSo(t *testing.T) {
	t.Parallel()
	g, _, conn := flowing(t, "{messages: 1/h, burst: 5, on_excess: reject}")
	stream := openStream(t, within(t, patience), conn, chat)
	for range 5 {
		send(t, stream, "x")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	send(t, stream, "one too many")
	_, err := stream.Receive()
	wantCode(t, err, codes.ResourceExhausted)
	if wait := stream.Trailer().Get("grpc-retry-pushback-ms"); len(wait) != 1 || must(strconv.Atoi(wait[0])) < 3_500_000 {
		t.Errorf("pushback %v", wait)
	}
	g.countAudit(t, 1, func(r *auditRecord) bool { return r.MatchedRule == "flow_limits[0]" })
}
