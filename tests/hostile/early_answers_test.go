package hostile

import (
	"net/http"
	"strings"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// head reads a request's head and leaves the body where it is.
func head(p *backend.Peer) { _, _ = http.ReadRequest(p.Reader) }

// A backend may answer and leave while the request is still being sent to it: the write that then fails must not cost
// the client the answer that lies in the socket already.
func TestAnAnswerOutlivesTheWriteThatFails(t *testing.T) {
	t.Parallel()
	const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large"
	for name, leave := range map[string]backend.Script{
		"it closes": func(p *backend.Peer) { head(p); p.Say(answer) },
		"it resets": func(p *backend.Peer) { head(p); p.Say(answer); p.Reset() },
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				g, _ := scripted(t, leave)
				for range 30 {
					client := g.Client(t, protocol)
					got := harness.Ask(client, "POST", "/x", strings.Repeat("x", 4<<20))
					if got.Err == nil && (got.Status != 413 || string(got.Body) != "too large") {
						t.Fatalf("%+v", got)
					}
					if got.Err != nil && protocol == "h2" { // over HTTP/1.1 Go's client may see its own write fail first
						t.Fatal(got.Err)
					}
					client.CloseIdleConnections()
				}
			})
		}
	}
}

func TestAnAnswerCutShortByItsBackendIsNeverWhole(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"of a length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"in chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"to the end":  "HTTP/1.1 200 OK\r\n\r\nhalf",
	} {
		for when, read := range map[string]func(*backend.Peer){"early": head, "late": func(p *backend.Peer) { p.Request() }} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				g, _ := scripted(t, func(p *backend.Peer) { read(p); p.Say("%s", answer); p.Reset() })
				for range 20 {
					client := g.Client(t, "h2")
					got := harness.Ask(client, "POST", "/x", strings.Repeat("x", 4<<20))
					if got.Err == nil && got.Status == 200 {
						t.Fatalf("%+v", got)
					}
					client.CloseIdleConnections()
				}
			})
		}
	}
}
