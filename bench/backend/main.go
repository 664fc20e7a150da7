// Backend is what stands behind every gateway of the bench: an HTTP/1.1 server and an h2c server that speaks gRPC's
// framing, both as cheap as they can be, so that the core they share with the load generator is not what is measured.
//
//	/small    128 bytes            /bulk      1 MiB          /headers  the request's head, as it arrived
//	/bench.Echo/*  every message is sent back; the trailers of Certificate say what X-Forwarded-Client-Cert was
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/net/http2/hpack"

	"tollgate/bench/wire"
)

var answers = map[string][]byte{
	"/small":   answer("200 OK", bytes.Repeat([]byte("s"), 128)),
	"/bulk":    answer("200 OK", bytes.Repeat([]byte("b"), 1<<20)),
	"/limited": answer("200 OK", []byte("let through")),
}

func answer(status string, body []byte) []byte {
	head := fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", status, len(body))
	return append([]byte(head), body...)
}

func main() {
	http1 := flag.String("http1", "127.0.0.1:0", "address of the HTTP/1.1 server")
	h2c := flag.String("h2c", "127.0.0.1:0", "address of the h2c server")
	flag.Parse()
	log.SetFlags(0)
	plain, err := net.Listen("tcp", *http1)
	if err != nil {
		log.Fatal(err)
	}
	multiplexed, err := net.Listen("tcp", *h2c)
	if err != nil {
		log.Fatal(err)
	}
	go serve(plain, serveHTTP1)
	go serve(multiplexed, serveHTTP2)
	fmt.Printf("%s %s\n", plain.Addr(), multiplexed.Addr())
	// The runner holds the other end of stdin: when it goes, so do we.
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func serve(listener net.Listener, one func(net.Conn)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			one(connection)
		}()
	}
}

// Requests have no body: none of the cases sends one over HTTP/1.1.
func serveHTTP1(connection net.Conn) {
	in := bufio.NewReaderSize(connection, 8<<10)
	var head []byte
	for {
		head = head[:0]
		for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			head = append(head, line...)
		}
		_, rest, _ := bytes.Cut(head, []byte(" "))
		path, _, _ := bytes.Cut(rest, []byte(" "))
		reply, known := answers[string(path)]
		if string(path) == "/headers" {
			reply, known = answer("200 OK", head), true
		}
		if !known {
			reply = answer("404 Not Found", nil)
		}
		if _, err := connection.Write(reply); err != nil {
			return
		}
	}
}

var (
	opening  = wire.Fields(":status", "200", "content-type", "application/grpc")
	trailers = wire.Fields("grpc-status", "0")
)

type echo struct{ conn *wire.Conn }

type call struct {
	certificate string
	asked       bool
	opened      bool
}

func serveHTTP2(connection net.Conn) {
	preface := make([]byte, len(wire.Preface))
	if _, err := io.ReadFull(connection, preface); err != nil || string(preface) != wire.Preface {
		return
	}
	handler := &echo{}
	handler.conn = wire.NewServer(connection, handler)
	_ = handler.conn.Run()
}

func (e *echo) Ready() {}

func (e *echo) Reset(*wire.Stream, uint32) {}

func (e *echo) Head(stream *wire.Stream, fields []hpack.HeaderField, end bool) {
	if stream.Owner == nil {
		this := &call{}
		for _, field := range fields {
			switch field.Name {
			case "x-forwarded-client-cert":
				this.certificate = field.Value
			case ":path":
				this.asked = field.Value == "/bench.Echo/Certificate"
			}
		}
		stream.Owner = this
	}
	if end {
		e.finish(stream)
	}
}

func (e *echo) Data(stream *wire.Stream, data []byte, end bool) {
	e.open(stream)
	e.conn.SendData(stream, data, false)
	if end {
		e.finish(stream)
	}
}

func (e *echo) open(stream *wire.Stream) {
	if this := stream.Owner.(*call); !this.opened {
		this.opened = true
		e.conn.SendHead(stream, opening, false)
	}
}

// Messages of the bench fit every window, so nothing waits when the trailers follow.
func (e *echo) finish(stream *wire.Stream) {
	e.open(stream)
	block := trailers
	if this := stream.Owner.(*call); this.asked {
		block = wire.Fields("grpc-status", "0", "seen-client-cert", this.certificate)
	}
	e.conn.SendHead(stream, block, true)
	e.conn.Forget(stream)
}
