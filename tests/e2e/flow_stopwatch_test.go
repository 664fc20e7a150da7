package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"tollgate/tests/backend"
)

// What flow limits are measured with: when messages came, and frames that fall where the test says.

// A stopwatch notes when each message came to the side it is attached to.
type stopwatch struct {
	mutex sync.Mutex
	times []time.Time
}

func (m *stopwatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (m *stopwatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (m *stopwatch) HandleConn(context.Context, stats.ConnStats) {}

func (m *stopwatch) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.InPayload); ok {
		m.mutex.Lock()
		m.times = append(m.times, time.Now())
		m.mutex.Unlock()
	}
}

func (m *stopwatch) count() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.times)
}

// wantPaced fails the test where, at any moment since, more had come than a bucket with so many tokens by so long grants.
func (m *stopwatch) wantPaced(t *testing.T, since time.Time, burst int, each time.Duration, want int) {
	t.Helper()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.times) != want {
		t.Errorf("%d messages came, want %d", len(m.times), want)
	}
	for i, at := range m.times {
		if least := time.Duration(i+1-burst) * each; at.Sub(since) < least {
			t.Errorf("message %d came after %v, before %v", i+1, at.Sub(since), least)
			return
		}
	}
}

// measured is flowing with a stopwatch at the backend; more is for the listener.
func measured(t *testing.T, s setup, rest string) (*gateway, *backend.GRPC, *stopwatch) {
	t.Helper()
	m := &stopwatch{}
	users := must(backend.StartGRPC("127.0.0.1:0", grpc.StatsHandler(m)))
	t.Cleanup(users.Stop)
	s.routes = append([]string{route(`grpc: "user.*/*"`, "backend: users, "+rest)}, s.routes...)
	s.backends = append([]string{h2("users", users.Address)}, s.backends...)
	s.top = append(s.top, accessLog)
	return start(t, s), users, m
}

func (g *gateway) flowEvents(t *testing.T, limit int, event string) float64 {
	t.Helper()
	return g.metric(t, fmt.Sprintf(`tollgate_flow_limit_events_total{route="user.*/*",limit="flow_limits[%d]",event="%s"}`, limit, event))
}

func (g *gateway) idle(t *testing.T) {
	t.Helper()
	waitFor(t, "no call to be left", patience, func() bool { return g.metric(t, "tollgate_requests_active") == 0 })
}

// patiently is a context of calls that tell the gateway no deadline: who has one pays for no longer pause than that.
func patiently(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(patience, cancel)
	t.Cleanup(func() { timer.Stop(); cancel() })
	return ctx, cancel
}

// A rawCall is one gRPC call of which the test writes the frames.
type rawCall struct {
	*http2.Framer
	t *testing.T
}

// A rawEnd is what came of it.
type rawEnd struct {
	data    []byte
	fields  map[string]string // of the head and the trailers
	heads   int               // HEADERS frames
	reset   *http2.ErrCode
	connErr error
}

func (g *gateway) rawCall(t *testing.T, method string, more ...string) *rawCall {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	c := &rawCall{http2.NewFramer(conn, conn), t}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.WriteSettings()
	c.open(1, method, more...)
	return c
}

func (c *rawCall) open(stream uint32, method string, more ...string) {
	c.t.Helper()
	fields := append([]string{":method", "POST", ":scheme", "https", ":authority", "gateway.test", ":path", method,
		"content-type", "application/grpc", "te", "trailers"}, more...)
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: block(fields...)}); err != nil {
		c.t.Fatal(err)
	}
}

// message is a BytesValue with its prefix.
func message(text string) []byte {
	body := text
	if text != "" {
		body = "\x0a" + string(rune(len(text))) + text
	}
	return append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
}

func messages(n int, text string) []byte { return bytes.Repeat(message(text), n) }

// pieces sends the bytes in frames of so many each.
func (c *rawCall) pieces(stream uint32, data []byte, size int, end bool) {
	c.t.Helper()
	for at := 0; at < len(data); at += size {
		next := min(at+size, len(data))
		if err := c.WriteData(stream, end && next == len(data), data[at:next]); err != nil {
			c.t.Fatal(err)
		}
	}
}

// hear reads until the stream has ended, and answers nothing but pings.
func (c *rawCall) hear(stream uint32) rawEnd {
	c.t.Helper()
	end := rawEnd{fields: map[string]string{}}
	for {
		frame, err := c.ReadFrame()
		var streamError http2.StreamError
		if errors.As(err, &streamError) {
			continue
		}
		if err != nil {
			end.connErr = err
			return end
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			end.heads++
			for _, field := range f.Fields {
				end.fields[field.Name] = field.Value
			}
			if f.StreamEnded() {
				return end
			}
		case *http2.DataFrame:
			end.data = append(end.data, f.Data()...)
			if f.StreamEnded() {
				return end
			}
		case *http2.RSTStreamFrame:
			end.reset = &f.ErrCode
			return end
		}
	}
}
