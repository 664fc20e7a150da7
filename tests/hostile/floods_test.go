package hostile

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/harness"
)

// While a flood runs, a good client waits at most two seconds, and the gateway grows by less than 64 MiB.
const (
	floodTime   = time.Second
	floodWait   = 2 * time.Second
	floodMemory = 64 << 20
	flooders    = 2 // connections at once
)

// A flood is what one attacker does on one connection for as long as the connection lives.
type flood struct {
	name string
	cut  bool // the attacker must be cut off and recorded
	deaf bool // it never reads, so that it does not learn that it was cut off
	run  func(s *session, id uint32)
}

// flooding lets the frames leave in large writes, as an attacker would.
func flooding(t *testing.T, g *harness.Gateway, f flood, cuts *atomic.Int64, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		s := newSession(t, g)
		out := bufio.NewWriterSize(s.conn, 32<<10)
		s.Framer = http2.NewFramer(out, nil)
		s.AllowIllegalWrites = true
		if !f.deaf {
			go s.read()
		}
		for id := uint32(1); ; id += 2 {
			f.run(s, id)
			if id%64 == 1 && out.Flush() != nil || out.Buffered() > 0 && s.gone() {
				cuts.Add(1)
				break
			}
			select {
			case <-over:
				_ = s.conn.Close()
				return
			default:
			}
		}
		_ = s.conn.Close()
	}
}

// stalls watches how long this machine lets nobody work, at most: whoever wants to wake up wakes up so much too late.
func stalls(over <-chan struct{}) *atomic.Int64 {
	const nap = 5 * time.Millisecond
	worst := new(atomic.Int64)
	go func() {
		for {
			began := time.Now()
			select {
			case <-over:
				return
			case <-time.After(nap):
			}
			worst.Store(max(worst.Load(), int64(time.Since(began)-nap)))
		}
	}()
	return worst
}

// endure runs the attack beside good clients and judges how they and the gateway fared.
func endure(t *testing.T, g *harness.Gateway, attack func(over <-chan struct{})) {
	t.Helper()
	steady := g.Client(t, "h2")
	ask := func() (worst time.Duration) {
		for _, client := range []func() harness.Reply{
			func() harness.Reply { return harness.Get(steady, "/x") },
			func() harness.Reply {
				fresh := g.Client(t, "h1")
				defer fresh.CloseIdleConnections()
				return harness.Get(fresh, "/x")
			},
		} {
			began := time.Now()
			if got := client(); got.Err != nil || got.Status != 200 {
				t.Errorf("a good client got %d, %v", got.Status, got.Err)
			}
			worst = max(worst, time.Since(began))
		}
		return worst
	}
	for range 20 {
		ask()
	}
	before, cpu := g.Memory(), g.CPU()
	over := make(chan struct{})
	stalled := stalls(over)
	var attackers sync.WaitGroup
	attackers.Go(func() { attack(over) })
	var worst time.Duration
	var grown int64
	began := time.Now()
	for time.Since(began) < floodTime {
		worst = max(worst, ask())
		grown = max(grown, g.Memory()-before)
	}
	took, worked := time.Since(began), g.CPU()-cpu
	close(over)
	attackers.Wait()
	pause := time.Duration(stalled.Load())
	t.Logf("a good client waited %v at most, this test %v, the gateway grew by %d KiB and worked %v in %v",
		worst.Round(time.Millisecond), pause.Round(time.Millisecond), grown>>10, worked, took.Round(time.Millisecond))
	if worst > harness.Slow(floodWait)+2*pause {
		t.Errorf("a good client waited %v", worst)
	}
	if grown > floodMemory && !harness.Instrumented() {
		t.Errorf("the gateway grew by %d MiB", grown>>20)
	}
}

// begin opens a request that lasts.
func begin(s *session, id uint32, end bool) { s.headers(id, end, asks("POST", "/sleep?for=1h")...) }

func h2Floods() []flood {
	ping := [8]byte{}
	big := make([]byte, 255)
	return []flood{
		{name: "rapid reset", cut: true, run: func(s *session, id uint32) {
			begin(s, id, true)
			_ = s.WriteRSTStream(id, http2.ErrCodeCancel)
		}},
		{name: "made you reset by a window of nothing", cut: true, run: func(s *session, id uint32) {
			begin(s, id, true)
			_ = s.WriteWindowUpdate(id, 0)
		}},
		{name: "made you reset by a window too large", cut: true, run: func(s *session, id uint32) {
			begin(s, id, true)
			_ = s.WriteWindowUpdate(id, 1<<31-1)
		}},
		{name: "made you reset by DATA after the end", cut: true, run: func(s *session, id uint32) {
			begin(s, id, true)
			_ = s.WriteData(id, true, nil)
		}},
		{name: "made you reset by HEADERS after the end", cut: true, run: func(s *session, id uint32) {
			begin(s, id, true)
			s.headers(id, true, "x", "y")
		}},
		{name: "made you reset by leaning on itself", cut: true, run: func(s *session, id uint32) {
			begin(s, id, true)
			_ = s.WritePriority(id, http2.PriorityParam{StreamDep: id})
		}},
		{name: "made you reset by too much DATA", cut: true, run: func(s *session, id uint32) {
			s.headers(id, false, asks("POST", "/sleep?for=1h", "content-length", "1")...)
			_ = s.WriteData(id, false, big)
		}},
		{name: "made you reset by malformed trailers", cut: true, run: func(s *session, id uint32) {
			begin(s, id, false)
			s.headers(id, true, ":path", "/")
		}},
		{name: "malformed heads", cut: true, run: func(s *session, id uint32) {
			s.headers(id, true, asks("GET", "/", "connection", "close")...)
		}},
		{name: "streams past the limit", cut: true, run: func(s *session, id uint32) { begin(s, id, true) }},
		{name: "CONTINUATION", cut: true, run: func(s *session, id uint32) {
			if id == 1 {
				_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.encode(asks("GET", "/")...)})
			}
			_ = s.WriteContinuation(1, false, s.encode("x", "y"))
		}},
		{name: "empty CONTINUATION", cut: true, run: func(s *session, id uint32) {
			if id == 1 {
				_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.encode(asks("GET", "/")...)})
			}
			_ = s.WriteContinuation(1, false, nil)
		}},
		{name: "SETTINGS", cut: true, run: func(s *session, id uint32) {
			_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: id})
		}},
		{name: "SETTINGS, answers unread", cut: true, deaf: true, run: func(s *session, _ uint32) { _ = s.WriteSettings() }},
		{name: "SETTINGS acknowledged", cut: true, run: func(s *session, _ uint32) { _ = s.WriteSettingsAck() }},
		{name: "PING", cut: true, run: func(s *session, _ uint32) { _ = s.WritePing(false, ping) }},
		{name: "PING, answers unread", cut: true, deaf: true, run: func(s *session, _ uint32) { _ = s.WritePing(false, ping) }},
		{name: "PING acknowledged", cut: true, run: func(s *session, _ uint32) { _ = s.WritePing(true, ping) }},
		{name: "PRIORITY", cut: true, run: func(s *session, id uint32) {
			_ = s.WritePriority(id, http2.PriorityParam{StreamDep: id + 2, Weight: 7})
		}},
		{name: "WINDOW_UPDATE of the connection", cut: true, run: func(s *session, _ uint32) { _ = s.WriteWindowUpdate(0, 1) }},
		{name: "WINDOW_UPDATE of a stream", cut: true, run: func(s *session, id uint32) {
			if id == 1 {
				begin(s, 1, true)
			}
			_ = s.WriteWindowUpdate(1, 1)
		}},
		{name: "RST_STREAM of a closed stream", cut: true, run: func(s *session, id uint32) {
			if id == 1 {
				begin(s, 1, true)
			}
			_ = s.WriteRSTStream(1, http2.ErrCodeCancel)
		}},
		{name: "empty DATA", cut: true, run: func(s *session, id uint32) {
			if id == 1 {
				begin(s, 1, false)
			}
			_ = s.WriteData(1, false, nil)
		}},
		{name: "padded DATA without content", cut: true, run: func(s *session, id uint32) {
			if id == 1 {
				begin(s, 1, false)
				_ = s.WriteWindowUpdate(0, 1)
			}
			_ = s.WriteDataPadded(1, false, nil, big)
		}},
		{name: "unknown frames", cut: true, run: func(s *session, _ uint32) { _ = s.WriteRawFrame(0xfa, 0, 0, big) }},
		{name: "large unknown frames", cut: true, run: func(s *session, _ uint32) { _ = s.WriteRawFrame(0xfa, 0, 0, make([]byte, 16<<10)) }},
		{name: "DATA of one byte", run: func(s *session, id uint32) {
			if id == 1 {
				s.headers(1, false, asks("POST", "/sink")...)
			}
			if id/2 < 60000 {
				_ = s.WriteData(1, false, big[:1])
			}
		}},
		{name: "HPACK bombs", run: func(s *session, id uint32) {
			if id == 1 {
				_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true,
					BlockFragment: s.encode(asks("GET", "/x", "bomb", fmt.Sprintf("%03800d", 1))...)})
				return
			}
			block := s.encode(asks("GET", "/x")...)
			for range 15 << 10 {
				block = append(block, 0x80|62) // the field again
			}
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true})
		}},
	}
}

func TestFloodsOfFrames(t *testing.T) {
	for _, f := range h2Floods() {
		t.Run(f.name, func(t *testing.T) {
			g, back := web(t, "h1")
			var cuts, most atomic.Int64
			endure(t, g, func(over <-chan struct{}) {
				var all sync.WaitGroup
				for range flooders {
					all.Go(func() { flooding(t, g, f, &cuts, over) })
				}
				all.Go(func() {
					for {
						select {
						case <-over:
							return
						case <-time.After(20 * time.Millisecond):
							most.Store(max(most.Load(), int64(back.Wire.Open())))
						}
					}
				})
				all.Wait()
			})
			if f.cut && !f.deaf && cuts.Load() == 0 {
				t.Error("nobody was cut off")
			}
			if f.cut {
				harness.WaitFor(t, "a record", 5*time.Second, func() bool {
					return g.Audit("protocol_violation")+g.Audit("malformed_request") > 0
				})
			}
			// Those among them that are closed already, and whose backend has not noticed yet, are many on a busy machine.
			if most.Load() > 100*flooders*8 {
				t.Errorf("%d connections to the backend at once", most.Load())
			}
			t.Logf("cut off %d times, %d backend connections at most", cuts.Load(), most.Load())
		})
	}
}

// h1Floods are what attackers say on an HTTP/1.1 connection, again and again, reading nothing.
var h1Floods = map[string]struct{ head, rest string }{
	"pipelines of large answers":   {"", "GET /big?n=1000000 HTTP/1.1\r\nHost: gateway.test\r\n\r\n"},
	"pipelines of small answers":   {"", "GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"},
	"pipelines of refusals":        {"", "GET /x HTTP/1.1\r\nHost: gateway.test\r\nExpect: nothing\r\n\r\n"},
	"uploads a backend ignores":    {"POST /slowread HTTP/1.1\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n", "4000\r\n" + string(make([]byte, 0x4000)) + "\r\n"},
	"chunks of one byte":           {"POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n", "1\r\nx\r\n"},
	"chunk extensions":             {"POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n", "1;" + fmt.Sprintf("%0200d", 1) + "\r\nx\r\n"},
	"fields of a head without end": {"GET / HTTP/1.1\r\nHost: gateway.test\r\n", "x: y\r\n"},
	"empty lines":                  {"", "\r\n"},
}

func TestFloodsOfHTTP1(t *testing.T) {
	for name, f := range h1Floods {
		t.Run(name, func(t *testing.T) {
			g, _ := web(t, "h1")
			endure(t, g, func(over <-chan struct{}) {
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() { shout(t, g, f.head, f.rest, over) })
				}
				all.Wait()
			})
		})
	}
}

// shout says the same until the test is over, on a new connection whenever the old one ends.
func shout(t *testing.T, g *harness.Gateway, head, rest string, over <-chan struct{}) {
	for {
		w := g.Wire(t)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if _, err := io.WriteString(w, head); err != nil {
				return
			}
			out := bufio.NewWriterSize(w, 16<<10)
			for {
				if _, err := out.WriteString(rest); err != nil {
					return
				}
			}
		}()
		select {
		case <-over:
			_ = w.NetConn().Close()
			<-ended
			return
		case <-ended:
			_ = w.NetConn().Close()
		}
	}
}

func TestAnswersBehindAShutWindow(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			g, _ := web(t, protocol)
			endure(t, g, func(over <-chan struct{}) {
				for range 5 {
					s := open(t, g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
					for i := range uint32(100) {
						s.get(2*i+1, "/big?n=1000000000")
					}
				}
				<-over
			})
		})
	}
}

func TestNewConnectionsOneAfterAnother(t *testing.T) {
	g, _ := web(t, "h1")
	endure(t, g, func(over <-chan struct{}) {
		for {
			select {
			case <-over:
				return
			default:
				_ = g.DialTLS(t, "http/1.1").Close()
			}
		}
	})
}

// Who takes many requests back and sees as many through is busy: that is no flood, however long it lasts.
func TestCancellationsBesideAnswersAreNoFlood(t *testing.T) {
	g, _ := web(t, "h1")
	s := open(t, g)
	_ = s.WriteWindowUpdate(0, 1<<30)
	for cancelled := range uint32(1500) {
		id := 4*cancelled + 1
		begin(s, id, true)
		_ = s.WriteRSTStream(id, http2.ErrCodeCancel)
		s.headers(id+2, true, asks("GET", "/x")...)
		if got := s.await(id + 2); got.value(":status") != "200" || s.gone() {
			t.Fatalf("after %d cancellations: %+v, GOAWAY %v", cancelled, got, s.goaway)
		}
	}
	if records := g.Audit("protocol_violation"); records != 0 {
		t.Errorf("%d records", records)
	}
}
