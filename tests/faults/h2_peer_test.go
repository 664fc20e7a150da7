package faults

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tollgate/tests/backend"
)

// A speaker is a backend that speaks HTTP/2 frame by frame, as badly as it is told to.
type speaker struct {
	*backend.Peer
	framer *http2.Framer
	calls  map[uint32]*call
	newest *call
	deaf   bool // to windows: none is ever opened
	lost   bool
}

// A call is a request that a speaker has begun to read.
type call struct {
	id    uint32
	grpc  bool
	bytes int
	whole bool
}

// greet reads the preface and exchanges settings.
func greet(p *backend.Peer) *speaker {
	preface := make([]byte, len(http2.ClientPreface))
	s := &speaker{Peer: p, framer: http2.NewFramer(p, p.Reader), calls: map[uint32]*call{}}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.ReadFull(p.Reader, preface); err != nil || string(preface) != http2.ClientPreface {
		s.lost = true
		return s
	}
	_ = s.framer.WriteSettings()
	return s
}

// read takes frames until the condition holds; false once there are no more.
func (s *speaker) read(until func() bool) bool {
	for !s.lost && !until() {
		frame, err := s.framer.ReadFrame()
		if err != nil {
			s.lost = true
			return false
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = s.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = s.framer.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			s.newest = &call{id: frame.StreamID, whole: frame.StreamEnded()}
			s.calls[frame.StreamID] = s.newest
			for _, field := range frame.RegularFields() {
				s.newest.grpc = s.newest.grpc || field.Name == "content-type" && strings.HasPrefix(field.Value, "application/grpc")
			}
		case *http2.RSTStreamFrame:
			delete(s.calls, frame.StreamID)
		case *http2.DataFrame:
			if c := s.calls[frame.StreamID]; c != nil {
				c.bytes += len(frame.Data())
				c.whole = frame.StreamEnded()
			}
			if !s.deaf && len(frame.Data()) > 0 {
				_ = s.framer.WriteWindowUpdate(0, uint32(len(frame.Data())))
				_ = s.framer.WriteWindowUpdate(frame.StreamID, uint32(len(frame.Data())))
			}
		}
	}
	return !s.lost
}

// request waits for the head of a request.
func (s *speaker) request() bool { return s.read(func() bool { return s.newest != nil }) }

func block(fields ...string) []byte {
	var out bytes.Buffer
	encoder := hpack.NewEncoder(&out)
	for i := 0; i < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return out.Bytes()
}

func (s *speaker) headers(c *call, endHeaders, endStream bool, fields ...string) {
	_ = s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.id, BlockFragment: block(fields...),
		EndHeaders: endHeaders, EndStream: endStream})
}

func (s *speaker) answerHead(c *call) {
	kind := "text/plain"
	if c.grpc {
		kind = "application/grpc"
	}
	s.headers(c, true, false, ":status", "200", "content-type", kind)
}

func message(c *call, text string) []byte {
	if !c.grpc {
		return []byte(text)
	}
	payload, _ := proto.Marshal(wrapperspb.Bytes([]byte(text)))
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(payload))), payload...)
}

func (s *speaker) answerBody(c *call) { _ = s.framer.WriteData(c.id, false, message(c, "good\n")) }

func (s *speaker) answerEnd(c *call) {
	if c.grpc {
		s.headers(c, true, true, "grpc-status", "0")
	} else {
		_ = s.framer.WriteData(c.id, true, nil)
	}
}

func (s *speaker) answer(c *call) {
	s.answerHead(c)
	s.answerBody(c)
	s.answerEnd(c)
	delete(s.calls, c.id)
}

// wholeCall waits for a request that has come in to its end.
func (s *speaker) wholeCall() (found *call) {
	s.read(func() bool {
		for _, c := range s.calls {
			if c.whole {
				found = c
			}
		}
		return found != nil
	})
	return found
}

// goodH2 answers every call.
func goodH2(p *backend.Peer) {
	s := greet(p)
	for c := s.wholeCall(); c != nil; c = s.wholeCall() {
		s.answer(c)
	}
}

// onceH2 answers one call and says goodbye, so that nothing is pooled.
func onceH2(p *backend.Peer) {
	s := greet(p)
	if c := s.wholeCall(); c != nil {
		_ = s.framer.WriteGoAway(c.id, http2.ErrCodeNo, nil)
		s.answer(c)
		s.Hang()
	}
}

// onceHTTP1 answers one request and closes.
func onceHTTP1(p *backend.Peer) {
	if p.Request() != nil {
		p.Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ngood\n")
	}
}
