package e2e

import (
	"bytes"
	"io"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// Bodies of other kinds: WebSockets, gRPC, and answers that only the end of a connection delimits.

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// tunnelled starts a gateway before a backend whose tunnels are played by the script.
func tunnelled(t *testing.T, limits string, script func(p *backend.Peer)) *gateway {
	t.Helper()
	back := scripted(t, func(p *backend.Peer) {
		if p.Request() != nil {
			p.Say("%s", switching)
			script(p)
		}
	})
	return start(t, setup{routes: []string{route("path: /*", "backend: web, upgrade: [websocket], flow_limits: ["+limits+"]")},
		backends: []string{http1("web", back.Address)}})
}

func TestTunnelsAreLimitedUpwards(t *testing.T) {
	t.Parallel()
	const rate, burst, size = 64 << 10, 8 << 10, 72 << 10
	met := make(chan *meter, 1)
	g := tunnelled(t, "{bytes: 64KiB/s, burst: 8KiB}", func(p *backend.Peer) {
		m := <-met
		_, _ = io.CopyN(m, struct{ io.Reader }{p.Reader}, size)
		p.Say("all")
	})
	w, m := g.tunnel(t, "/"), newMeter(rate, burst)
	met <- m
	go w.say(string(pattern(size)))
	if _, err := io.ReadFull(w.reader, make([]byte, 3)); err != nil {
		t.Error(err)
	}
	m.wantMet(t, "up", pattern(size))
}

// The backend says all and leaves; what is held then still comes, and only then the end.
func TestTunnelsAreLimitedDownwardsToTheirEnd(t *testing.T) {
	t.Parallel()
	const rate, burst, size = 64 << 10, 8 << 10, 72 << 10
	g := tunnelled(t, "{bytes: 64KiB/s, burst: 8KiB, direction: responses}", func(p *backend.Peer) {
		_, _ = p.Write(pattern(size))
	})
	m := newMeter(rate, burst)
	w := g.tunnel(t, "/")
	if _, err := io.CopyBuffer(m, struct{ io.Reader }{w.reader}, make([]byte, 2048)); err != nil {
		t.Error(err)
	}
	m.wantMet(t, "down", pattern(size))
	g.awaitRequests(t, 0)
}

// The client says all and ends its side: the backend gets what is held.
func TestTunnelsPassWhatIsHeldWhenTheClientEndsItsSide(t *testing.T) {
	t.Parallel()
	const rate, burst, size = 64 << 10, 8 << 10, 40 << 10
	ended, m := make(chan struct{}), newMeter(rate, burst)
	g := tunnelled(t, "{bytes: 64KiB/s, burst: 8KiB}", func(p *backend.Peer) {
		_, _ = io.CopyBuffer(m, struct{ io.Reader }{p.Reader}, make([]byte, 2048))
		close(ended)
	})
	w := g.tunnel(t, "/")
	w.say(string(pattern(size)))
	_ = w.CloseWrite()
	<-ended
	m.wantMet(t, "up", pattern(size))
	g.awaitRequests(t, 0)
}

func TestTunnelsOverTheBurstAreBrokenOffWhereSaidSo(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"requests", "responses"} {
		m := newMeter(1, 8<<10)
		g := tunnelled(t, "{bytes: 1/h, burst: 8KiB, on_excess: reject, direction: "+direction+"}", func(p *backend.Peer) {
			if direction == "responses" {
				_, _ = p.Write(pattern(20 << 10))
			}
			_, _ = io.Copy(m, struct{ io.Reader }{p.Reader})
		})
		w := g.tunnel(t, "/")
		if direction == "requests" {
			w.say(string(pattern(12 << 10))) // one record: behind it nothing may be written any more
		}
		got, err := io.ReadAll(w.reader)
		if err == nil || isTimeout(err) {
			t.Errorf("%s: %d bytes, %v", direction, len(got), err)
		}
		if direction == "requests" {
			m.wantMet(t, direction, nil)
		} else if len(got) > 8<<10 {
			t.Errorf("%d bytes came down", len(got))
		}
		g.countAudit(t, 1, byFlowLimit(0))
		g.awaitRequests(t, 0)
	}
}

func TestTunnelsOutlastStreamIdleWhilePaused(t *testing.T) {
	t.Parallel()
	back := scripted(t, func(p *backend.Peer) {
		p.Request()
		p.Say("%s", switching)
		_, _ = io.Copy(p, p.Reader)
	})
	g := start(t, setup{listener: []string{"timeouts: {stream_idle: 800ms}"}, backends: []string{http1("web", back.Address)},
		routes: []string{route("path: /*", "backend: web, upgrade: [websocket], flow_limits: [{bytes: 60/m, burst: 100}]")}})
	w := g.tunnel(t, "/")
	w.say(string(pattern(102)))
	got := make([]byte, 102)
	if n, err := io.ReadFull(w.reader, got); err != nil || !bytes.Equal(got, pattern(102)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Answers of HTTP/1.0 that the end of the connection delimits.
func TestAnswersToTheEndOfTheConnectionAreLimited(t *testing.T) {
	t.Parallel()
	const rate, burst, size = 64 << 10, 8 << 10, 72 << 10
	for _, down := range []string{"h1", "h2"} {
		g, _ := scriptedWeb(t, func(p *backend.Peer) {
			p.Request()
			p.Say("HTTP/1.0 200 OK\r\n\r\n%s", pattern(size))
		}, ", flow_limits: [{bytes: 64KiB/s, burst: 8KiB, direction: responses}]")
		m := newMeter(rate, burst)
		answer, err := g.patiently(t, down).Get("https://gateway.test/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(m, struct{ io.Reader }{answer.Body}, make([]byte, 2048)); err != nil {
			t.Error(err)
		}
		m.wantMet(t, down, pattern(size))
	}
}

// And one that HTTP/1.0 clients get.
func TestAnswersToHTTP10ClientsAreLimited(t *testing.T) {
	t.Parallel()
	g, d := limitedBytes(t, "h1", setup{}, map[string]string{"/out": "{bytes: 64KiB/s, burst: 8KiB, direction: responses}"})
	d.content = pattern(72 << 10)
	w := g.wire(t, common().web)
	began := time.Now()
	w.say("GET /out HTTP/1.0\r\nHost: gateway.test\r\n\r\n")
	got, err := io.ReadAll(w.reader)
	if err != nil || !bytes.HasSuffix(got, append([]byte("\r\n\r\n"), d.content...)) || time.Since(began) < time.Second {
		t.Errorf("%d bytes after %v, %v", len(got), time.Since(began), err)
	}
}

// Bytes of gRPC calls are those of their messages with the five before each.
func TestBytesOfGRPCCallsAreLimited(t *testing.T) {
	t.Parallel()
	for direction, took := range map[string]time.Duration{"requests": time.Second, "responses": time.Second} {
		_, _, conn := flowing(t, "{bytes: 64KiB/s, burst: 8KiB, direction: "+direction+"}")
		stream := openStream(t, within(t, patience), conn, chat)
		began := time.Now()
		for i := range 4 {
			send(t, stream, string(pattern(18_500+i)))
			got, err := stream.Receive()
			if err != nil || !bytes.Equal(got, pattern(18_500+i)) {
				t.Fatalf("%s: %d bytes, %v", direction, len(got), err)
			}
		}
		if since := time.Since(began); since < took {
			t.Errorf("%s: 74 KB after %v", direction, since)
		}
		_ = stream.CloseSend()
		if _, err := stream.Receive(); err != io.EOF {
			t.Error(err)
		}
	}
}
