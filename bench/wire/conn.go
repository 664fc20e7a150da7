// Package wire is the small HTTP/2 endpoint that load generator and backend share: one goroutine a connection, frames
// gathered while input is buffered and written at once, so that core 1 keeps ahead of the gateway on core 0. It is no
// general implementation: no priorities, no push, and it trusts its peer to be a gateway of the bench.
package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2/hpack"
)

const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8
	frameContinuation = 9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingTableSize     = 1
	settingPush          = 2
	settingStreams       = 3
	settingInitialWindow = 4

	headBytes      = 9
	frameBytesMost = 16384
	defaultWindow  = 65535
	// Wide enough that the receiving side of the bench never slows a gateway down.
	streamWindow     = 4 << 20
	connectionWindow = 64 << 20
)

// Preface opens every HTTP/2 connection (RFC 9113, 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ErrGoAway ends Run when the peer wants no more streams.
var ErrGoAway = errors.New("GOAWAY")

// Handler hears what arrives. Slices are borrowed for the call.
type Handler interface {
	Ready()
	Head(stream *Stream, fields []hpack.HeaderField, end bool)
	Data(stream *Stream, data []byte, end bool)
	Reset(stream *Stream, code uint32)
}

// Stream is one exchange; Owner is the handler's own.
type Stream struct {
	ID       uint32
	Owner    any
	window   int64
	waiting  []byte
	ending   bool
	received int
	blocked  bool
}

// Conn is one connection; all calls come from the goroutine in Run or Until, or before it.
type Conn struct {
	transport io.ReadWriter
	in        *bufio.Reader
	out       []byte
	payload   []byte
	handler   Handler

	decoder *hpack.Decoder
	fields  []hpack.HeaderField
	encoder *hpack.Encoder
	encoded bytes.Buffer
	blocks  map[*Block]cached
	// Counts changes of the encoder's table: an index cached before one is stale.
	generation int

	streams  map[uint32]*Stream
	blocked  []*Stream
	next     uint32
	window   int64
	initial  int64
	received int
	ready    bool
	stopped  bool
	// Half a head, waiting for its CONTINUATION.
	head      []byte
	headFlags byte
}

// Block is a header list that is sent often.
type Block struct{ Fields []hpack.HeaderField }

type cached struct {
	generation int
	bytes      []byte
}

// Fields makes a block of name and value pairs.
func Fields(pairs ...string) *Block {
	block := &Block{}
	for i := 0; i < len(pairs); i += 2 {
		block.Fields = append(block.Fields, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return block
}

// NewClient writes the preface and settings with the first flush.
func NewClient(transport io.ReadWriter, handler Handler) *Conn {
	c := newConn(transport, handler)
	c.next = 1
	c.out = append(c.out, Preface...)
	c.settings()
	return c
}

// NewServer expects that the preface has been read.
func NewServer(transport io.ReadWriter, handler Handler) *Conn {
	c := newConn(transport, handler)
	c.settings()
	return c
}

func newConn(transport io.ReadWriter, handler Handler) *Conn {
	c := &Conn{
		transport: transport, handler: handler, in: bufio.NewReaderSize(transport, 32<<10),
		streams: map[uint32]*Stream{}, blocks: map[*Block]cached{},
		window: defaultWindow, initial: defaultWindow, payload: make([]byte, frameBytesMost+256),
	}
	c.decoder = hpack.NewDecoder(4096, func(field hpack.HeaderField) { c.fields = append(c.fields, field) })
	c.encoder = hpack.NewEncoder(&c.encoded)
	return c
}

func (c *Conn) settings() {
	payload := make([]byte, 0, 18)
	for _, setting := range [][2]uint32{{settingPush, 0}, {settingInitialWindow, streamWindow}, {settingStreams, 10000}} {
		payload = binary.BigEndian.AppendUint16(payload, uint16(setting[0]))
		payload = binary.BigEndian.AppendUint32(payload, setting[1])
	}
	c.frame(frameSettings, 0, 0, payload)
	c.windowUpdate(0, connectionWindow-defaultWindow)
}

// Open begins a stream of a client.
func (c *Conn) Open(owner any) *Stream {
	stream := &Stream{ID: c.next, Owner: owner, window: c.initial}
	c.next += 2
	c.streams[stream.ID] = stream
	return stream
}

// Forget drops a stream that is finished on both sides.
func (c *Conn) Forget(stream *Stream) { delete(c.streams, stream.ID) }

func (c *Conn) frame(kind, flags byte, id uint32, payload []byte) {
	length := len(payload)
	c.out = append(c.out, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	c.out = append(c.out, payload...)
}

func (c *Conn) windowUpdate(id uint32, by int) {
	c.frame(frameWindowUpdate, 0, id, binary.BigEndian.AppendUint32(nil, uint32(by)))
}

// SendHead sends a head or trailers.
func (c *Conn) SendHead(stream *Stream, block *Block, end bool) {
	flags := byte(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	c.frame(frameHeaders, flags, stream.ID, c.encode(block))
}

// A block of one-byte indices alone changes nothing in the table, so its bytes hold until the table changes.
func (c *Conn) encode(block *Block) []byte {
	if known, ok := c.blocks[block]; ok && known.generation == c.generation {
		return known.bytes
	}
	c.encoded.Reset()
	for _, field := range block.Fields {
		_ = c.encoder.WriteField(field)
	}
	plain := true
	for _, octet := range c.encoded.Bytes() {
		plain = plain && octet >= 0x80
	}
	if !plain || c.encoded.Len() != len(block.Fields) {
		c.generation++
		return c.encoded.Bytes()
	}
	bytes := bytes.Clone(c.encoded.Bytes())
	c.blocks[block] = cached{c.generation, bytes}
	return bytes
}

// SendData sends now what the windows allow, the rest when they open.
func (c *Conn) SendData(stream *Stream, data []byte, end bool) {
	stream.ending = end
	if len(stream.waiting) == 0 {
		data = c.sendSome(stream, data)
	}
	if len(data) == 0 {
		return
	}
	stream.waiting = append(stream.waiting, data...)
	if !stream.blocked {
		stream.blocked = true
		c.blocked = append(c.blocked, stream)
	}
}

func (c *Conn) sendSome(stream *Stream, data []byte) []byte {
	for len(data) > 0 {
		some := min(int64(len(data)), frameBytesMost, stream.window, c.window)
		if some <= 0 {
			return data
		}
		flags := byte(0)
		if stream.ending && int(some) == len(data) {
			flags = flagEndStream
		}
		c.frame(frameData, flags, stream.ID, data[:some])
		stream.window -= some
		c.window -= some
		data = data[some:]
	}
	return nil
}

func (c *Conn) unblock() {
	still := c.blocked[:0]
	for _, stream := range c.blocked {
		stream.waiting = append(stream.waiting[:0], c.sendSome(stream, stream.waiting)...)
		stream.blocked = len(stream.waiting) > 0
		if stream.blocked {
			still = append(still, stream)
		}
	}
	c.blocked = still
}

// Flush writes what has gathered.
func (c *Conn) Flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.transport.Write(c.out)
	c.out = c.out[:0]
	return err
}

// Run reads until the transport ends; it flushes whenever the input is used up.
func (c *Conn) Run() error {
	if err := c.Until(func() bool { return c.stopped }); err != nil {
		return err
	}
	return c.Flush()
}

// Until reads until that is so, as Run does; between such calls the connection rests.
func (c *Conn) Until(so func() bool) error {
	for !so() {
		if c.in.Buffered() < headBytes {
			if err := c.Flush(); err != nil {
				return err
			}
		}
		if err := c.step(); err != nil {
			return err
		}
	}
	return nil
}

// Stop makes Run return, with the connection open.
func (c *Conn) Stop() { c.stopped = true }

func (c *Conn) step() error {
	var head [headBytes]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return err
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if length > len(c.payload) {
		return fmt.Errorf("a frame of %d bytes", length)
	}
	payload := c.payload[:length]
	// A frame that arrives in parts must not keep finished output back.
	if c.in.Buffered() < length {
		if err := c.Flush(); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return err
	}
	return c.dispatch(head[3], head[4], binary.BigEndian.Uint32(head[5:])&0x7fffffff, payload)
}
