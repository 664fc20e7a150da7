package backend

import (
	"net"
	"sync"
	"sync/atomic"
)

// Wire counts what arrives below any protocol: "refused callers never reach a backend, not even
// by one byte" is asserted here, not on calls.
type Wire struct {
	Accepted atomic.Int64
	Bytes    atomic.Int64 // received
	mutex    sync.Mutex
	open     map[string]net.Conn
}

// Open returns how many connections are open now.
func (w *Wire) Open() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.open)
}

// Kill ends the connection from that peer at once, with a reset if told so.
func (w *Wire) Kill(peer string, reset bool) {
	w.mutex.Lock()
	conn := w.open[peer]
	w.mutex.Unlock()
	if conn != nil {
		kill(conn, reset)
	}
}

// KillAll ends every open connection.
func (w *Wire) KillAll(reset bool) {
	w.mutex.Lock()
	conns := make([]net.Conn, 0, len(w.open))
	for _, conn := range w.open {
		conns = append(conns, conn)
	}
	w.mutex.Unlock()
	for _, conn := range conns {
		kill(conn, reset)
	}
}

func kill(conn net.Conn, reset bool) {
	if counted, ok := conn.(*countedConn); ok {
		if tcp, ok := counted.Conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
	}
	_ = conn.Close()
}

type countedListener struct {
	net.Listener
	wire *Wire
}

func listen(address string) (*countedListener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &countedListener{listener, &Wire{open: map[string]net.Conn{}}}, nil
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	counted := &countedConn{Conn: conn, wire: l.wire}
	l.wire.Accepted.Add(1)
	l.wire.mutex.Lock()
	l.wire.open[conn.RemoteAddr().String()] = counted
	l.wire.mutex.Unlock()
	return counted, nil
}

type countedConn struct {
	net.Conn
	wire *Wire
}

func (c *countedConn) Read(buffer []byte) (int, error) {
	n, err := c.Conn.Read(buffer)
	c.wire.Bytes.Add(int64(n))
	return n, err
}

func (c *countedConn) Close() error {
	c.wire.mutex.Lock()
	delete(c.wire.open, c.Conn.RemoteAddr().String())
	c.wire.mutex.Unlock()
	return c.Conn.Close()
}
