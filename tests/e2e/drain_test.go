package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
)

func TestDrainLetsCallsFinish(t *testing.T) {
	t.Parallel()
	g, _, conn := passing(t, setup{drain: "30s"})
	stream := openStream(t, within(t, patience), conn, chat)
	send(t, stream, "before")
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGTERM)
	g.refusesConnections(t)
	for i := range 10 {
		want := fmt.Sprint("while draining ", i)
		send(t, stream, want)
		if got, err := stream.Receive(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Errorf("the call ended with %v", err)
	}
	if code := g.exitCode(5 * time.Second); code != 0 { // long before the drain timeout
		t.Errorf("exit code %d", code)
	}
}

// refusesConnections waits until no new connection is let in.
func (g *gateway) refusesConnections(t *testing.T) {
	t.Helper()
	waitFor(t, "new connections to be refused", 5*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", g.address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

func TestReadinessEndsWithTheDrain(t *testing.T) {
	t.Parallel()
	g, users, conn := passing(t, setup{})
	stream := openStream(t, within(t, patience), conn, chat)
	send(t, stream, "x")
	until(t, users.Journal, patience, chat, began)
	if status, _ := g.adminGet("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz says %d", status)
	}
	g.signal(syscall.SIGTERM)
	waitFor(t, "readiness to end", 2*time.Second, func() bool {
		status, _ := g.adminGet("/readyz")
		return status == http.StatusServiceUnavailable
	})
	_ = stream.CloseSend()
}

func TestDrainSaysGoAway(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	conn, err := g.dialTLS(t, g.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	if _, err := framer.ReadFrame(); err != nil { // the server's settings: it is there
		t.Fatal(err)
	}
	g.signal(syscall.SIGTERM)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY, but %v", err)
		}
		if goaway, ok := frame.(*http2.GoAwayFrame); ok {
			if goaway.ErrCode != http2.ErrCodeNo {
				t.Errorf("GOAWAY says %v", goaway.ErrCode)
			}
			return
		}
	}
}

func TestDrainSaysConnectionClose(t *testing.T) {
	t.Parallel()
	g, back := scriptedWeb(t, backend.Good, "")
	release := make(chan struct{})
	back.Play(func(p *backend.Peer) {
		p.Request()
		<-release
		p.Answer("late\n")
	})
	busy, idle := g.wire(t, common().web), g.wire(t, common().web)
	busy.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	waitFor(t, "request to arrive", patience, func() bool { return back.Requests.Load() == 1 })
	g.signal(syscall.SIGTERM)
	g.refusesConnections(t)
	if !idle.closed() {
		t.Error("an idle connection is kept open")
	}
	close(release)
	got := busy.hear("GET")
	wantStatus(t, got, http.StatusOK)
	if !got.closes || !busy.closed() {
		t.Errorf("the last answer does not close: %v", got.header)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	g, users, conn := passing(t, setup{drain: "10m", keepErrors: true})
	stream := openStream(t, ordering(within(t, patience), backend.DoSleep, "10m"), conn, chat)
	send(t, stream, "x")
	until(t, users.Journal, patience, chat, began)
	g.signal(syscall.SIGTERM)
	g.refusesConnections(t)
	if !g.running() {
		t.Fatal("the gateway did not wait for the call")
	}
	g.signal(syscall.SIGTERM)
	g.exitCode(2 * time.Second)
	g.noSanitizerReport()
}

// However much of its second the clock has behind it when the drain begins.
func TestCallHasAllOfTheDrainTimeout(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{drain: "3s", routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	answer, c := make(chan reply, 1), g.client(t, "h1", common().web)
	const late = 900 * time.Millisecond
	<-time.After((late + time.Second - time.Duration(time.Now().Nanosecond())) % time.Second)
	go func() { answer <- c.get("/sleep?for=2600ms") }()
	g.awaitRequests(t, 1)
	g.signal(syscall.SIGTERM)
	wantStatus(t, <-answer, http.StatusOK)
}

func TestDrainTimeoutIsKept(t *testing.T) {
	t.Parallel()
	for drain, least := range map[string]time.Duration{"1s": 900 * time.Millisecond, "4s": 3900 * time.Millisecond} {
		t.Run(drain, func(t *testing.T) {
			t.Parallel()
			g, users, conn := passing(t, setup{drain: drain, keepErrors: true})
			stream := openStream(t, ordering(within(t, patience), backend.DoSleep, "10m"), conn, chat)
			send(t, stream, "x")
			until(t, users.Journal, patience, chat, began)
			asked := time.Now()
			g.signal(syscall.SIGINT)
			g.exitCode(10 * time.Second)
			if took := time.Since(asked); took < least {
				t.Errorf("the call was given %v of %v", took, drain)
			}
			if !g.said("drain timeout: closing what is left") || !g.said("clean=false") {
				t.Error("the log does not say that a call was cut")
			}
			g.noSanitizerReport()
		})
	}
}
