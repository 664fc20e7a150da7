package backend

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Scripted is a raw TCP server for backends that misbehave: the script is run for each connection,
// which is closed when it returns.
type Scripted struct {
	Address  string
	Wire     *Wire
	Requests atomic.Int64
	listener net.Listener
	ended    chan struct{}
	stop     sync.Once
	script   atomic.Pointer[Script]
	mutex    sync.Mutex
	received strings.Builder
}

// A Script plays one connection; it may read requests with Request.
type Script func(conn *Peer)

// Peer is one connection to a Scripted backend.
type Peer struct {
	net.Conn
	Number int // of the connection, from 1
	Reader *bufio.Reader
	server *Scripted
	raw    net.Conn // below TLS
}

// StartScripted serves the script on the address.
func StartScripted(address string, script Script) (*Scripted, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, err
	}
	s := &Scripted{Address: listener.Addr().String(), Wire: listener.wire, listener: listener,
		ended: make(chan struct{})}
	s.Play(script)
	go s.serve()
	return s, nil
}

// Play exchanges the script for connections to come.
func (s *Scripted) Play(script Script) { s.script.Store(&script) }

// Stop ends the server and all its connections; once more is nothing.
func (s *Scripted) Stop() {
	s.stop.Do(func() { close(s.ended) })
	_ = s.listener.Close()
	s.Wire.KillAll(false)
}

// Received returns every byte that came in so far, of all connections.
func (s *Scripted) Received() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.received.String()
}

func (s *Scripted) Write(data []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.received.Write(data)
}

func (s *Scripted) serve() {
	for number := 1; ; number++ {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		peer := &Peer{Conn: conn, Number: number, server: s, raw: conn}
		peer.Reader = bufio.NewReader(io.TeeReader(conn, s))
		go func() {
			defer func() { _ = conn.Close() }()
			(*s.script.Load())(peer)
		}()
	}
}

// Secure shakes hands; what is read and said from then on is plain text, and Received is that alone. The end of the
// script cuts the connection without a close_notify: Farewell says that.
func (p *Peer) Secure(config *tls.Config) error {
	conn := tls.Server(p.raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	p.Conn, p.Reader = conn, bufio.NewReader(io.TeeReader(conn, p.server))
	return nil
}

// Farewell says close_notify.
func (p *Peer) Farewell() {
	if conn, ok := p.Conn.(*tls.Conn); ok {
		_ = conn.CloseWrite()
	}
}

// Below is the connection under TLS, for those who break into it.
func (p *Peer) Below() net.Conn { return p.raw }

// OverTLS plays the script over TLS.
func OverTLS(config *tls.Config, script Script) Script {
	return func(p *Peer) {
		if p.Secure(config) == nil {
			script(p)
		}
	}
}

// Request reads one HTTP/1.1 request with its body, and returns nil when there is none.
func (p *Peer) Request() *http.Request {
	request, err := http.ReadRequest(p.Reader)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return nil
	}
	p.server.Requests.Add(1)
	return request
}

// Say writes raw bytes.
func (p *Peer) Say(format string, arguments ...any) { _, _ = fmt.Fprintf(p, format, arguments...) }

// Answer gives a whole, good answer.
func (p *Peer) Answer(body string) {
	p.Say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// Reset ends the connection with a TCP reset.
func (p *Peer) Reset() { kill(p.raw, true) }

// HalfClose says that nothing more will be sent; what comes in can still be read.
func (p *Peer) HalfClose() {
	if counted, ok := p.raw.(*countedConn); ok {
		_ = counted.Conn.(*net.TCPConn).CloseWrite()
	}
}

// Hang waits until the other side or the test ends it.
func (p *Peer) Hang() {
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, p.Reader)
		close(gone)
	}()
	select {
	case <-gone:
	case <-p.server.ended:
	}
}

// Good answers every request of the connection.
func Good(p *Peer) {
	for p.Request() != nil {
		p.Answer("good\n")
	}
}

// AfterRequest makes a script that reads one request, says the bytes, and closes.
func AfterRequest(answer string) Script {
	return func(p *Peer) {
		if p.Request() != nil {
			p.Say("%s", answer)
		}
	}
}

// Silent accepts and says nothing, ever.
func Silent(p *Peer) { p.Hang() }

// ResetAtOnce resets before reading.
func ResetAtOnce(p *Peer) { p.Reset() }

// ResetAfterRequest resets instead of answering.
func ResetAfterRequest(p *Peer) { p.Request(); p.Reset() }

// Faults are answers that are none; a client must see a 502, or an answer visibly broken off.
var Faults = map[string]Script{
	"garbage":                 AfterRequest("\x00\x01\x02 this is not HTTP at all\r\n\r\n"),
	"closes without a word":   AfterRequest(""),
	"resets after request":    ResetAfterRequest,
	"half a status line":      AfterRequest("HTTP/1.1 20"),
	"half a head":             AfterRequest("HTTP/1.1 200 OK\r\nContent-Le"),
	"truncated length body":   AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"),
	"truncated chunked body":  AfterRequest("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"),
	"truncated chunk":         AfterRequest("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort"),
	"bad chunk size":          AfterRequest("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nshort\r\n0\r\n\r\n"),
	"length and coding":       AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
	"two lengths":             AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort!"),
	"two answers":             AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"),
	"two answers, one empty":  AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"),
	"two chunked answers":     AfterRequest(strings.Repeat("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n", 2)),
	"longer than its length":  AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine and more"),
	"negative length":         AfterRequest("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
	"NUL in a field":          AfterRequest("HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\nContent-Length: 0\r\n\r\n"),
	"space in a field name":   AfterRequest("HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n"),
	"huge head":               AfterRequest("HTTP/1.1 200 OK\r\nX-Huge: " + strings.Repeat("h", 2<<20) + "\r\nContent-Length: 0\r\n\r\n"),
	"many fields":             AfterRequest("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Many: m\r\n", 100000) + "Content-Length: 0\r\n\r\n"),
	"status out of range":     AfterRequest("HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n"),
	"101 nobody asked for":    AfterRequest("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
	"HTTP/2 preface as reply": AfterRequest("\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
}
