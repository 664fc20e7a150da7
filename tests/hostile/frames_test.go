package hostile

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tollgate/tests/harness"
)

// A session is a raw HTTP/2 connection: what a test writes goes out as it is, what comes in is gathered by a reader.
type session struct {
	*http2.Framer
	reading *http2.Framer // the same, unless a flood writes through another
	conn    *tls.Conn
	t       *testing.T
	block   bytes.Buffer
	encoder *hpack.Encoder

	mutex   sync.Mutex
	changed *sync.Cond
	streams map[uint32]*answer
	goaway  *http2.ErrCode
	over    error // of the connection
	peer    map[http2.SettingID]uint32
	pings   int
}

// An answer is what came on one stream.
type answer struct {
	fields, trailers []hpack.HeaderField
	body             int
	text             string // the beginning of the body
	ended            bool
	reset            *http2.ErrCode
}

func (a *answer) value(name string) string {
	for _, field := range a.fields {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}

// open begins a session with these settings and reads whatever comes.
func open(t *testing.T, g *harness.Gateway, settings ...http2.Setting) *session {
	t.Helper()
	s := newSession(t, g, settings...)
	go s.read()
	return s
}

// newSession is one that reads nothing yet.
func newSession(t *testing.T, g *harness.Gateway, settings ...http2.Setting) *session {
	t.Helper()
	conn := g.DialTLS(t, "h2")
	s := &session{Framer: http2.NewFramer(conn, conn), conn: conn, t: t, streams: map[uint32]*answer{},
		peer: map[http2.SettingID]uint32{}}
	s.changed = sync.NewCond(&s.mutex)
	s.encoder = hpack.NewEncoder(&s.block)
	s.reading = s.Framer
	s.AllowIllegalWrites = true
	s.SetMaxReadFrameSize(1 << 24)
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = s.WriteSettings(settings...)
	return s
}

func (s *session) read() {
	for {
		frame, err := s.reading.ReadFrame()
		var streamError http2.StreamError
		if errors.As(err, &streamError) {
			continue
		}
		s.mutex.Lock()
		if err != nil {
			s.over = err
		} else {
			s.take(frame)
		}
		s.changed.Broadcast()
		s.mutex.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *session) answer(id uint32) *answer {
	if s.streams[id] == nil {
		s.streams[id] = &answer{}
	}
	return s.streams[id]
}

func (s *session) take(frame http2.Frame) {
	a := &answer{}
	if id := frame.Header().StreamID; id != 0 {
		a = s.answer(id)
	}
	switch frame := frame.(type) {
	case *http2.MetaHeadersFrame:
		if status := frame.PseudoValue("status"); status == "" {
			a.trailers = frame.Fields
		} else if status >= "200" {
			a.fields = frame.Fields
		}
		a.ended = a.ended || frame.StreamEnded()
	case *http2.DataFrame:
		a.body += len(frame.Data())
		if len(a.text) < 1<<16 {
			a.text += string(frame.Data())
		}
		a.ended = a.ended || frame.StreamEnded()
	case *http2.RSTStreamFrame:
		a.reset = &frame.ErrCode
	case *http2.GoAwayFrame:
		s.goaway = &frame.ErrCode
	case *http2.SettingsFrame:
		_ = frame.ForeachSetting(func(setting http2.Setting) error {
			s.peer[setting.ID] = setting.Val
			return nil
		})
	case *http2.PingFrame:
		s.pings++
	}
}

// wait blocks until the condition holds or the connection is over, and tells whether it holds.
func (s *session) wait(condition func() bool) bool {
	timer := time.AfterFunc(harness.Patience, func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.over = errors.New("the test's patience is over")
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for !condition() && s.over == nil {
		s.changed.Wait()
	}
	return condition()
}

// gone tells whether the other side has ended the connection or said that it will.
func (s *session) gone() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.over != nil || s.goaway != nil
}

// await returns what came on the stream once it is over, one way or another.
func (s *session) await(id uint32) answer {
	s.wait(func() bool {
		return s.answer(id).ended || s.answer(id).reset != nil || s.goaway != nil && *s.goaway != 0
	})
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return *s.answer(id)
}

func (s *session) encode(pairs ...string) []byte {
	s.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(s.block.Bytes())
}

// headers sends a request head or trailers.
func (s *session) headers(id uint32, end bool, pairs ...string) {
	block := s.encode(pairs...)
	first := block[:min(len(block), 16<<10)]
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(first) == len(block)})
	for block = block[len(first):]; len(block) > 0; {
		next := block[:min(len(block), 16<<10)]
		block = block[len(next):]
		_ = s.WriteContinuation(id, len(block) == 0, next)
	}
}

// answered returns how many pings were.
func (s *session) answered() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.pings
}

// asks are the pseudo fields of a request and more.
func asks(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "https", ":authority", "gateway.test", ":path", path}, more...)
}

func (s *session) get(id uint32, path string, more ...string) {
	s.headers(id, true, asks("GET", path, more...)...)
}

func (a answer) String() string {
	var fields []string
	for _, field := range a.fields {
		fields = append(fields, field.Name+"="+field.Value)
	}
	return fmt.Sprintf("%s, %d bytes %.60q, ended %v, reset %v", strings.Join(fields, " "), a.body, a.text, a.ended, a.reset)
}
