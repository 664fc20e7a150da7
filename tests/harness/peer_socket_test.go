package harness

import (
	"net"
	"testing"
	"time"
)

// Tests that count connections by it would count none where it did not work.
func TestPeerSocketIsHeldUntilItIsClosed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	far, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	if !HeldByPeer(near) || !HeldByPeer(far) {
		t.Error("an open connection is said to be closed")
	}
	_ = far.Close()
	// A process that is just begun may have a copy of the socket.
	WaitFor(t, "it to count as closed", 10*time.Second, func() bool { return !HeldByPeer(near) })
}
