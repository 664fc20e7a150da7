package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2/hpack"

	"tollgate/bench/wire"
)

// http2 is one connection with job.streams exchanges under way at any time.
type http2 struct {
	job     *job
	sum     *tally
	conn    *wire.Conn
	block   *wire.Block
	message []byte
	once    bool
	byClock bool // one exchange at a time, when it is due
	idle    bool
}

// exchange is one request of it. In the kind `bidi` it never ends, and messages are the units.
type exchange struct {
	began  time.Time
	sent   []time.Time
	next   int
	status string
	grpc   string
	bytes  int
}

func newHTTP2(connection net.Conn, job *job, sum *tally) *http2 {
	h := &http2{job: job, sum: sum}
	if job.protocol == "grpc" {
		h.block = wire.Fields(":method", "POST", ":scheme", "https", ":path", job.path, ":authority", "localhost",
			"content-type", "application/grpc", "user-agent", "tollgate-bench", "te", "trailers")
		h.message = binary.BigEndian.AppendUint32([]byte{0}, uint32(job.size))
		h.message = append(h.message, make([]byte, job.size)...)
	} else {
		h.block = wire.Fields(":method", "GET", ":scheme", "https", ":path", job.path, ":authority", "localhost",
			"user-agent", "tollgate-bench", "accept", "*/*")
	}
	h.conn = wire.NewClient(connection, h)
	return h
}

func (h *http2) Ready() {
	for range h.job.streams {
		if !h.byClock {
			h.open(time.Now())
		}
	}
}

// unit is one exchange from its beginning to its end, which counts from when it was due.
func (h *http2) unit(due time.Time) error {
	h.idle = false
	h.open(due)
	return h.conn.Until(func() bool { return h.idle })
}

func (h *http2) open(began time.Time) {
	this := &exchange{began: began}
	stream := h.conn.Open(this)
	h.conn.SendHead(stream, h.block, h.message == nil)
	if h.job.kind == "bidi" {
		for range h.job.messages {
			this.sent = append(this.sent, this.began)
			h.conn.SendData(stream, h.message, false)
		}
	} else if h.message != nil {
		h.conn.SendData(stream, h.message, true)
	}
}

func (h *http2) Head(stream *wire.Stream, fields []hpack.HeaderField, end bool) {
	this := stream.Owner.(*exchange)
	for _, field := range fields {
		switch field.Name {
		case ":status":
			this.status = field.Value
		case "grpc-status":
			this.grpc = field.Value
		}
	}
	if end {
		h.finish(stream, this)
	}
}

func (h *http2) Data(stream *wire.Stream, data []byte, end bool) {
	this := stream.Owner.(*exchange)
	this.bytes += len(data)
	if h.job.kind == "bidi" {
		h.echoed(stream, this)
	}
	if end {
		h.finish(stream, this)
	}
}

// Every whole message that came back sends the next: the window of messages stays full.
func (h *http2) echoed(stream *wire.Stream, this *exchange) {
	for this.bytes >= len(h.message) {
		this.bytes -= len(h.message)
		h.sum.done(this.sent[this.next])
		this.sent[this.next] = time.Now()
		this.next = (this.next + 1) % len(this.sent)
		h.conn.SendData(stream, h.message, false)
	}
}

func (h *http2) finish(stream *wire.Stream, this *exchange) {
	h.conn.Forget(stream)
	answer := this.status
	if h.job.protocol == "grpc" {
		answer = this.grpc
	}
	switch {
	case h.job.kind == "bidi":
		h.sum.fail(fmt.Errorf("the stream ended: status %s, grpc-status %q", this.status, this.grpc))
	case answer != h.job.expect:
		h.sum.fail(fmt.Errorf("answered status %s, grpc-status %q", this.status, this.grpc))
	case h.job.length >= 0 && this.bytes != h.job.length:
		h.sum.fail(fmt.Errorf("a body of %d bytes, not %d", this.bytes, h.job.length))
	default:
		h.sum.done(this.began)
	}
	h.again()
}

func (h *http2) again() {
	switch {
	case h.byClock:
		h.idle = true
	case h.once:
		h.conn.Stop()
	case !h.sum.in(stopped):
		h.open(time.Now())
	}
}

func (h *http2) Reset(_ *wire.Stream, code uint32) {
	h.sum.fail(fmt.Errorf("RST_STREAM with code %d", code))
	h.again()
}

func multiplexed(job *job, sum *tally) {
	for !sum.in(stopped) {
		connection, err := job.dialer.dial()
		if err == nil {
			job.opened(connection, sum)
			err = newHTTP2(connection, job, sum).conn.Run()
			connection.Close()
		}
		if !sum.in(stopped) {
			sum.fail(err)
			time.Sleep(50 * time.Millisecond)
		}
	}
}
