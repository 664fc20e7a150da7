package e2e

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
)

// What an HTTP/2 client may send after a repeat: what a backend has taken makes room once, however often it was sent.

const firstWindow = 65535 // of HTTP/2

// A miser is an HTTP/2 server that gives 503 to attempts once they have sent so much, and lets the last one send no
// more than the first window until it is told.
type miser struct {
	mutex    sync.Mutex
	attempts int
	taken    int // by the last attempt
	after    []int
	generous chan struct{}
}

func (m *miser) serve(p *backend.Peer) {
	_, _ = io.CopyN(io.Discard, p.Reader, int64(len(http2.ClientPreface)))
	framer := http2.NewFramer(p, p.Reader)
	_ = framer.WriteSettings()
	_ = framer.WriteWindowUpdate(0, 1<<30)
	limits := map[uint32]int{} // of streams
	bytes := map[uint32]int{}
	for frame, err := framer.ReadFrame(); err == nil; frame, err = framer.ReadFrame() {
		stream := frame.Header().StreamID
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			limits[stream] = m.begin(framer, stream)
		case *http2.DataFrame:
			bytes[stream] += len(f.Data())
			if limits[stream] < 0 {
				m.took(bytes[stream])
			}
			if f.StreamEnded() && limits[stream] < 0 {
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, EndStream: true,
					BlockFragment: block(":status", "200", "x-taken", fmt.Sprint(bytes[stream]))})
			}
		}
		if limit, ok := limits[stream]; ok && limit >= 0 && bytes[stream] >= limit {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, EndStream: true, BlockFragment: block(":status", "503")})
			delete(limits, stream)
		}
	}
}

// begin tells after how much the attempt fails; -1: it does not.
func (m *miser) begin(framer *http2.Framer, stream uint32) int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.attempts++; m.attempts <= len(m.after) {
		return m.after[m.attempts-1]
	}
	generous := m.generous
	go func() {
		<-generous
		_ = framer.WriteWindowUpdate(stream, 1<<30) // nothing else is written until the upload ends
	}()
	return -1
}

func (m *miser) took(bytes int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.taken = bytes
}

func (m *miser) play(after ...int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.attempts, m.taken, m.after, m.generous = 0, 0, after, make(chan struct{})
}

func (m *miser) hasTaken() (attempts, bytes int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.attempts, m.taken
}

// An uploader sends as much as it may.
type uploader struct {
	*http2.Framer
	mutex                sync.Mutex
	room                 *sync.Cond
	first, whole, window int // a stream's window at its beginning, that of the connection, of the stream
	credited, sent       int
	stream               uint32
	answered             chan string
	err                  error
}

func (g *gateway) uploader(t *testing.T) *uploader {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	u := &uploader{Framer: http2.NewFramer(conn, bufio.NewReader(conn)), first: firstWindow, whole: firstWindow,
		answered: make(chan string, 1)}
	u.room = sync.NewCond(&u.mutex)
	_ = u.WriteSettings()
	go func() {
		for u.err == nil {
			frame, err := u.ReadFrame()
			u.mutex.Lock()
			if u.err = err; err == nil {
				u.heed(frame)
			}
			u.room.Broadcast()
			u.mutex.Unlock()
		}
	}()
	return u
}

func (u *uploader) heed(frame http2.Frame) {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if size, ok := f.Value(http2.SettingInitialWindowSize); ok {
			u.window += int(size) - u.first
			u.first = int(size)
			_ = u.WriteSettingsAck() // the window is not larger before
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			u.whole += int(f.Increment)
		} else if f.StreamID == u.stream {
			u.window += int(f.Increment)
			u.credited += int(f.Increment)
		}
	case *http2.HeadersFrame:
		u.answered <- string(f.HeaderBlockFragment())
	case *http2.RSTStreamFrame, *http2.GoAwayFrame:
		u.err = fmt.Errorf("got %+v", frame)
	}
}

// begin opens a stream, and sends bytes of it as they may be sent until all are.
func (u *uploader) begin(stream uint32, size int) {
	u.mutex.Lock()
	u.stream, u.window, u.credited, u.sent = stream, u.first, 0, 0
	u.mutex.Unlock()
	_ = u.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
		BlockFragment: block(":method", "POST", ":scheme", "https", ":authority", "gateway.test", ":path", "/x")})
	go func() {
		u.mutex.Lock()
		defer u.mutex.Unlock()
		for u.err == nil && u.sent < size {
			n := min(u.window, u.whole, size-u.sent, 10000)
			if n <= 0 {
				u.room.Wait()
				continue
			}
			u.window, u.whole, u.sent = u.window-n, u.whole-n, u.sent+n
			_ = u.WriteData(stream, u.sent == size, make([]byte, n))
		}
	}()
}

func (u *uploader) state() (sent, credited, first int, err error) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return u.sent, u.credited, u.first, u.err
}

func TestClientMaySendWhatTheLastAttemptTookAndNoMore(t *testing.T) {
	t.Parallel()
	m := &miser{}
	back := scripted(t, m.serve)
	g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{h2("web", back.Address)},
		routes: []string{route("path: /*", "backend: web, retry: {on: [503], tries: 4, non_idempotent: true, backoff: 0s, buffer: 150KiB}")}})
	u := g.uploader(t)
	const size = 300000
	for i, after := range [][]int{{}, {0}, {1}, {40000}, {40000, 40000, 40000}, {60000, 20000, 50000}, {1, 60000, 0}, {60000, 60000, 60000}, {}} {
		m.play(after...)
		stream := uint32(2*i + 1)
		u.begin(stream, size)
		waitFor(t, "the last attempt to have taken a window", patience, func() bool {
			attempts, taken := m.hasTaken()
			return attempts == len(after)+1 && taken == firstWindow
		})
		steady(t, func() int { sent, _, _, _ := u.state(); return sent })
		sent, credited, first, err := u.state()
		if err != nil || credited > firstWindow || credited <= firstWindow-first/2 || sent != first+credited {
			t.Errorf("%v: %d of %d bytes were taken, %d credited, %d sent of a window of %d (%v)", after, firstWindow, size, credited, sent, first, err)
		}
		close(m.generous)
		var answer string
		waitFor(t, "the answer", patience, func() bool {
			select {
			case answer = <-u.answered:
			default:
			}
			_, _, _, err := u.state()
			return answer != "" || err != nil
		})
		if _, taken := m.hasTaken(); taken != size {
			t.Fatalf("%v: %d bytes of %d, %v", after, taken, size, u.err)
		}
	}
}
