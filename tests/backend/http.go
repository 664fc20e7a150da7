package backend

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc/metadata"
)

// HTTP is a net/http server: HTTP/1.1, or h2c with prior knowledge.
type HTTP struct {
	Address  string
	Journal  *Journal
	Wire     *Wire
	listener net.Listener
	server   *http.Server
	release  chan struct{}
	desks    chan struct{}
}

// A fixed capacity, behind /served: so many requests at a time, each for so long, the others wait.
const (
	Desks      = 4
	ServedTime = 40 * time.Millisecond
)

// StartHTTP serves on the address, which may have port 0.
func StartHTTP(address string, h2c bool) (*HTTP, error) {
	b, err := newHTTP(address)
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	b.server.Protocols = protocols
	go func() { _ = b.server.Serve(b.listener) }()
	return b, nil
}

// StartHTTPS is StartHTTP over TLS: HTTP/2 for whoever agrees on that by ALPN, else HTTP/1.1.
func StartHTTPS(address string, config *tls.Config) (*HTTP, error) {
	b, err := newHTTP(address)
	if err != nil {
		return nil, err
	}
	// By callback, or net/http would add to its ALPN protocols.
	b.server.TLSConfig = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return config, nil }}
	b.server.ErrorLog = log.New(io.Discard, "", 0)
	go func() { _ = b.server.ServeTLS(b.listener, "", "") }()
	return b, nil
}

func newHTTP(address string) (*HTTP, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, err
	}
	b := &HTTP{Address: listener.Addr().String(), Journal: NewJournal(), Wire: listener.wire, listener: listener,
		release: make(chan struct{}), desks: make(chan struct{}, Desks)}
	b.server = &http.Server{Handler: b.recorded(b.routes()), ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 20}
	return b, nil
}

// Release lets every /slowread go on.
func (b *HTTP) Release() { close(b.release) }

// Stop ends the server and all its connections.
func (b *HTTP) Stop() {
	_ = b.server.Close()
	b.Wire.KillAll(false)
}

func (b *HTTP) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"/":               echo,
		"/status/{code}":  answerStatus,
		"/stream":         stream,
		"/trailers":       trailers,
		"/sleep":          sleep,
		"/served":         b.served,
		"/big":            big,
		"/sink":           sink,
		"/slowread":       b.slowRead,
		"/hints":          hints,
		"/answer-headers": answerHeadersHTTP,
		"/close":          b.closeUnanswered,
		"/cut":            b.cut,
	} {
		mux.HandleFunc(pattern, handler)
	}
	mux.Handle("/ws", websocket.Server{Handler: func(ws *websocket.Conn) { _, _ = io.Copy(ws, ws) }})
	return mux
}

type recordedBody struct {
	io.ReadCloser
	journal *Journal
	call    *Call
}

func (r *recordedBody) Read(buffer []byte) (int, error) {
	n, err := r.ReadCloser.Read(buffer)
	r.journal.update(func() {
		r.call.ReceivedBytes += n
		switch {
		case errors.Is(err, io.EOF):
			r.call.BodyComplete = true
		case err != nil:
			r.call.BodyError = err.Error()
		}
	})
	return n, err
}

type recordedWriter struct {
	http.ResponseWriter
	journal *Journal
	call    *Call
}

func (r *recordedWriter) Write(data []byte) (int, error) {
	n, err := r.ResponseWriter.Write(data)
	r.journal.update(func() { r.call.SentBytes += n })
	return n, err
}

func (r *recordedWriter) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (b *HTTP) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := b.Journal.add(&Call{Method: r.Method + " " + r.URL.Path, Peer: r.RemoteAddr,
			Metadata: metadata.MD(r.Header), TLS: r.TLS})
		r.Body = &recordedBody{r.Body, b.Journal, call}
		defer func() {
			cancelled := r.Context().Err() != nil
			b.Journal.update(func() { call.Done, call.Cancelled, call.Ended = true, cancelled, now() })
		}()
		if r.URL.Path == "/ws" { // the WebSocket server needs the Hijacker itself
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&recordedWriter{w, b.Journal, call}, r)
	})
}

// Echo is what most paths answer: the request as the backend saw it.
type Echo struct {
	Method, Target, Protocol, Host string
	Headers, Trailers              http.Header
	Body                           []byte
	ContentLength                  int64
	TransferEncoding               []string
	Peer                           string
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // never a complete answer to an incomplete request
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Echo{Method: r.Method, Target: r.RequestURI, Protocol: r.Proto,
		Host: r.Host, Headers: r.Header, Trailers: r.Trailer, Body: body,
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Peer: r.RemoteAddr})
}

func query(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return otherwise
}

func answerStatus(w http.ResponseWriter, r *http.Request) {
	code, _ := strconv.Atoi(r.PathValue("code"))
	w.Header().Set("X-Answer", "status")
	w.WriteHeader(code)
	if code >= 200 && code != http.StatusNoContent && code != http.StatusNotModified {
		_, _ = fmt.Fprintf(w, "status %d\n", code)
	}
}

// stream sends ?n= pieces of ?size= bytes, each flushed, ?gap= apart.
func stream(w http.ResponseWriter, r *http.Request) {
	gap, _ := time.ParseDuration(r.URL.Query().Get("gap"))
	piece := []byte(strings.Repeat("x", query(r, "size", 1)))
	for range query(r, "n", 3) {
		if _, err := w.Write(piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if !wait(r, gap) {
			return
		}
	}
}

func wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

func trailers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Sum, X-Late")
	// Otherwise HTTP/1.1 would not read on once the first piece is answered.
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body)
	_ = http.NewResponseController(w).Flush()
	w.Header().Set("X-Sum", "42")
	w.Header().Set("X-Late", "yes")
}

func sleep(w http.ResponseWriter, r *http.Request) {
	d, _ := time.ParseDuration(r.URL.Query().Get("for"))
	if wait(r, d) {
		_, _ = io.WriteString(w, "slept\n")
	}
}

// served works to the end on what nobody waits for any more, as most backends do.
func (b *HTTP) served(w http.ResponseWriter, _ *http.Request) {
	b.desks <- struct{}{}
	time.Sleep(ServedTime)
	<-b.desks
	_, _ = io.WriteString(w, "served\n")
}

func big(w http.ResponseWriter, r *http.Request) {
	left := query(r, "n", 1<<20)
	w.Header().Set("Content-Length", strconv.Itoa(left))
	piece := []byte(strings.Repeat("b", 32<<10))
	for left > 0 {
		n, err := w.Write(piece[:min(left, len(piece))])
		if err != nil {
			return
		}
		left -= n
	}
}

func sink(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = fmt.Fprintf(w, "%d", n)
}

// slowRead leaves the body unread until Release.
func (b *HTTP) slowRead(w http.ResponseWriter, r *http.Request) {
	select {
	case <-b.release:
		sink(w, r)
	case <-r.Context().Done():
	}
}

func hints(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	_, _ = io.WriteString(w, "hinted\n")
}

// answerHeadersHTTP has hop-by-hop fields that must not come through.
func answerHeadersHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Kept", "kept")
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Add("Set-Cookie", "b=2")
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "hop")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Proxy-Connection", "keep-alive")
	}
	_, _ = io.WriteString(w, "headers\n")
}

// closeUnanswered ends the connection after the request and before any answer.
func (b *HTTP) closeUnanswered(_ http.ResponseWriter, r *http.Request) {
	b.Wire.Kill(r.RemoteAddr, r.URL.Query().Has("reset"))
	panic(http.ErrAbortHandler)
}

// cut promises 1000 bytes, sends ten and ends the connection.
func (b *HTTP) cut(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("chunked") {
		w.Header().Set("Content-Length", "1000")
	}
	_, _ = io.WriteString(w, "0123456789")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
