package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
)

type counter struct{ atomic.Int64 }

func (c *counter) add(n int) { c.Add(int64(n)) }

func (c *counter) get() int { return int(c.Load()) }

// listenWithoutBacklog binds a socket that nobody accepts from, with the shortest queue.
func listenWithoutBacklog(t *testing.T) string {
	t.Helper()
	socket := must(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0))
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	name := must(syscall.Getsockname(socket)).(*syscall.SockaddrInet4)
	return fmt.Sprintf("127.0.0.1:%d", name.Port)
}

// clientFrom is an HTTP/1.1 client that calls from one of the loopback addresses.
func (g *gateway) clientFrom(t *testing.T, source string) *client {
	t.Helper()
	c := g.client(t, "h1", common().web)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, g.address)
	}
	return c
}

// reload has the gateway read its configuration again, and waits until it says that it did.
func (g *gateway) reload(t *testing.T) {
	t.Helper()
	answer, err := http.Post("http://"+g.admin+"/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		t.Fatalf("POST /reload: %s", answer.Status)
	}
}

// writeProgram makes a program. No process may begin meanwhile: it would have the file open for writing, and whoever runs
// the program first would find it busy.
func writeProgram(t *testing.T, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}
