package e2e

import (
	"net"
	"strings"
	"testing"
	"time"
)

// The example of everything names a server, and no limit that needs it: nobody looks for it, and nobody misses it.
func TestAServerNamedForNoLimitIsLeftAlone(t *testing.T) {
	t.Parallel()
	server := must(net.Listen("tcp", "127.0.0.1:0")).(*net.TCPListener)
	defer func() { _ = server.Close() }()
	g := start(t, setup{top: []string{"redis: {address: " + server.Addr().String() + "}"},
		routes: []string{route("path: /*", "respond: {status: 204}, rate_limits: [{rate: 9/s, burst: 9}]")}})
	wantStatus(t, g.client(t, "h1", common().web).get("/"), 204)
	g.stop()
	// What had been begun waits in the queue.
	_ = server.SetDeadline(time.Now().Add(time.Millisecond))
	if conn, err := server.Accept(); err == nil {
		t.Errorf("%v came", conn.RemoteAddr())
	}
	if strings.Contains(g.stderr.String(), "limit store") {
		t.Errorf("it is missed:\n%s", g.stderr)
	}
}
