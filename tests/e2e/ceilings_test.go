package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// The listener's ceilings: request_too_large and overloaded.

func ceilinged(t *testing.T, limits string) (*gateway, *backend.GRPC, *backend.HTTP) {
	t.Helper()
	return guarded(t, setup{listener: []string{"limits: {" + limits + "}"}})
}

func TestLargeHeadIs431(t *testing.T) {
	t.Parallel()
	g, users, back := ceilinged(t, "header_bytes: 4KiB, header_fields: 20")
	for name, headers := range map[string][]string{
		"one field of 5 KiB":  {"X-Large", strings.Repeat("x", 5<<10)},
		"many fields of 5 KB": repeated(15, strings.Repeat("x", 350)),
		"21 small fields":     repeated(21, "x"),
	} {
		t.Run(name+" h1", func(t *testing.T) {
			got := g.client(t, "h1", common().web).get("/x", headers...)
			wantRefusal(t, got, http.StatusRequestHeaderFieldsTooLarge, "request_too_large")
		})
		t.Run(name+" h2", func(t *testing.T) {
			wantRefusal(t, g.heedless(t, "/x", headers...), http.StatusRequestHeaderFieldsTooLarge, "request_too_large")
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		err := invoke(t, g.rpc(t, common().web), login, repeated(21, "x")...)
		wantCode(t, err, codes.ResourceExhausted)
	})
	t.Run("gRPC, said behind what is too much", func(t *testing.T) {
		got := g.heedless(t, login, "X-Large", strings.Repeat("x", 5<<10), "Content-Type", "application/grpc")
		if wantStatus(t, got, http.StatusOK); got.header.Get("Grpc-Status") != "8" {
			t.Errorf("the answer is %v", got.header)
		}
	})
	g.countAudit(t, 8, because("request_too_large"))
	wantUntouched(t, users, back)
	for _, protocol := range []string{"h1", "h2"} {
		wantStatus(t, g.client(t, protocol, common().web).get("/x", repeated(10, "x")...), http.StatusOK)
	}
}

func TestHeadsFarOverALowLimitAre431(t *testing.T) {
	t.Parallel()
	g, users, back := ceilinged(t, "header_bytes: 1KiB")
	large := strings.Repeat("x", 12<<10)
	wantRefusal(t, g.client(t, "h1", common().web).get("/x", "X-Large", large), http.StatusRequestHeaderFieldsTooLarge, "request_too_large")
	wantRefusal(t, g.heedless(t, "/x", "X-Large", large), http.StatusRequestHeaderFieldsTooLarge, "request_too_large")
	g.countAudit(t, 2, because("request_too_large"))
	wantUntouched(t, users, back)
}

// heedless sends a GET over HTTP/2 whatever the gateway's SETTINGS say: Go's own client does not send a head that it has
// already read to be too large.
func (g *gateway) heedless(t *testing.T, path string, pairs ...string) (got reply) {
	t.Helper()
	framer := g.framed(t)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fields := []string{":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", path}
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, strings.ToLower(pairs[i]), pairs[i+1])
	}
	open(framer, fields...)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return reply{err: err}
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			got.status, ended = must(strconv.Atoi(frame.PseudoValue("status"))), frame.StreamEnded()
			got.header = http.Header{}
			for _, field := range frame.RegularFields() {
				got.header.Add(field.Name, field.Value)
			}
		case *http2.DataFrame:
			got.body += string(frame.Data())
			ended = frame.StreamEnded()
		}
		if ended {
			return got
		}
	}
}

// repeated makes pairs of as many header fields.
func repeated(n int, value string) (pairs []string) {
	for i := range n {
		pairs = append(pairs, fmt.Sprint("x-field-", i), value)
	}
	return pairs
}

func TestLargeBodyIs413WhoeverAnswers(t *testing.T) {
	t.Parallel()
	g := start(t, setup{listener: []string{"limits: {body_bytes: 64KiB}"}, routes: []string{marked("path: /*", "ok")}})
	for _, protocol := range []string{"h1", "h2"} {
		for size, want := range map[int]int{64 << 10: http.StatusOK, 64<<10 + 1: http.StatusRequestEntityTooLarge} {
			for name, body := range map[string]io.Reader{"by length": strings.NewReader(strings.Repeat("x", size)),
				"while it comes": io.LimitReader(zeros{}, int64(size))} {
				t.Run(fmt.Sprint(protocol, " ", name, " ", size), func(t *testing.T) {
					wantStatus(t, g.client(t, protocol, common().web).do(must(http.NewRequest("POST", "https://gateway.test/x", body))), want)
				})
			}
		}
	}
	g.countAudit(t, 4, because("request_too_large"))
}

func TestLargeBodyIs413(t *testing.T) {
	t.Parallel()
	g, users, back := ceilinged(t, "body_bytes: 64KiB")
	for _, protocol := range []string{"h1", "h2"} {
		t.Run("by length "+protocol, func(t *testing.T) {
			got := g.client(t, protocol, common().web).do(request("POST", "/sink", strings.Repeat("x", 65<<10)))
			wantRefusal(t, got, http.StatusRequestEntityTooLarge, "request_too_large")
		})
	}
	wantUntouched(t, users, back)
	for _, protocol := range []string{"h1", "h2"} {
		t.Run("while it comes "+protocol, func(t *testing.T) {
			body, feed := io.Pipe()
			t.Cleanup(func() { _ = feed.Close() })
			go func() { // it stops before the end, so that the answer is not lost behind a failing write
				for range 5 {
					_, _ = feed.Write(make([]byte, 16<<10))
				}
			}()
			r := must(http.NewRequest("POST", "https://gateway.test/sink", body))
			wantRefusal(t, g.client(t, protocol, common().web).do(r), http.StatusRequestEntityTooLarge, "request_too_large")
			waitFor(t, "the backend to be let go", patience, func() bool {
				return !slices.ContainsFunc(back.Journal.Calls(""), func(c backend.Call) bool { return !c.Done })
			})
			for _, call := range back.Journal.Calls("") { // it may well have come that far
				if call.BodyComplete {
					t.Error("the backend took the body as complete")
				}
			}
			back.Journal.Reset()
		})
		t.Run("just small enough "+protocol, func(t *testing.T) {
			got := g.client(t, protocol, common().web).do(request("POST", "/sink", strings.Repeat("x", 64<<10)))
			wantStatus(t, got, http.StatusOK)
			back.Journal.Reset()
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		_, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), login, make([]byte, 100<<10))
		wantCode(t, err, codes.ResourceExhausted)
	})
	g.countAudit(t, 5, because("request_too_large"))
}

func TestConnectionsPastTheCeilingAreTold503(t *testing.T) {
	t.Parallel()
	g, users, back := ceilinged(t, "connections: 3")
	held := []*wire{g.wire(t, common().web), g.wire(t, common().web), g.wire(t, common().web)}
	for _, protocol := range []string{"h1", "h2"} {
		got := g.client(t, protocol, common().web).get("/x")
		wantRefusal(t, got, http.StatusServiceUnavailable, "overloaded")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After: %v", protocol, got.header)
		}
	}
	wantCode(t, invoke(t, g.rpc(t, common().web), login), codes.Unavailable)
	record := g.waitForAudit(t, "overload", because("overloaded"))
	if record.Principal != webID {
		t.Errorf("audit record %s", record.line)
	}
	wantUntouched(t, users, back)
	for _, w := range held { // those within the ceiling do not suffer
		w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		wantStatus(t, w.hear("GET"), http.StatusOK)
	}
	_ = held[0].Close()
	waitFor(t, "room after one has gone", 5*time.Second, func() bool {
		return g.client(t, "h1", common().web).get("/x").status == http.StatusOK
	})
}

func TestConnectionsFarPastTheCeilingAreShutOut(t *testing.T) {
	t.Parallel()
	g, _, _ := ceilinged(t, "connections: 2")
	held := []*wire{g.wire(t, common().web), g.wire(t, common().web)}
	for range 100 { // more than are let in to be told so; each ends, and no one waits
		conn := g.dialTCP(t)
		t.Cleanup(func() { _ = conn.Close() })
	}
	waitFor(t, "the flood to be counted", 5*time.Second, func() bool {
		return len(g.refusals(t, because("overloaded"))) > 0
	})
	for _, w := range held {
		w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
		wantStatus(t, w.hear("GET"), http.StatusOK)
	}
}

// Whoever was one too many and then breaks off the handshake was refused once, not twice.
func TestOneTooManyThatBreaksOffIsRecordedOnce(t *testing.T) {
	t.Parallel()
	g, _, _ := ceilinged(t, "connections: 1")
	held := g.wire(t, common().web)
	for name, leave := range map[string]func(conn net.Conn){
		"in the middle": func(conn net.Conn) { _, _ = conn.Write([]byte("\x16\x03\x01\x02")) },
		"after nonsense": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		},
	} {
		before := len(g.refusals(t, because("overloaded")))
		conn := g.dialTCP(t)
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		leave(conn)
		_ = conn.Close()
		waitFor(t, "the record of one who breaks off "+name, 5*time.Second, func() bool {
			return len(g.refusals(t, because("overloaded"))) == before+1
		})
	}
	held.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	wantStatus(t, held.hear("GET"), http.StatusOK)
	g.countAudit(t, 0, because("tls_failed"))
}

// Whoever is told that there is no room, and comes again at once without hanging up, takes none of it: not what is there
// once somebody has left.
func TestThoseWhoAreToldOfNoRoomTakeNone(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"connections", "connections_per_address", "connections_per_identity"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			g, _, _ := ceilinged(t, limit+": 2")
			ask := func() (status int) {
				conn, err := g.tryTLS(g.trusting(common().web, "http/1.1"))
				if err != nil { // so many that nobody tells them any more
					return 0
				}
				t.Cleanup(func() { _ = conn.Close() })
				_, _ = io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
				_, _ = fmt.Fscanf(conn, "HTTP/1.1 %d", &status)
				return status
			}
			held := []*wire{g.wire(t, common().web), g.wire(t, common().web)}
			for range 6 {
				if status := ask(); status != http.StatusServiceUnavailable {
					t.Fatalf("one too many: %d", status)
				}
			}
			_ = held[0].Close()
			waitFor(t, "the room that was left", patience, func() bool { return ask() == http.StatusOK })
			held[1].say("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
			wantStatus(t, held[1].hear("GET"), http.StatusOK)
		})
	}
}
