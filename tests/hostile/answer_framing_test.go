package hostile

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// A good answer of an HTTP/1.1 backend, however it is framed; the connection closes after it where closes is set.
type framed struct {
	name, method, bytes string
	closes              bool
	status              int
	body                string
}

func framedAnswers() []framed {
	const five, chunks = "Content-Length: 5\r\n\r\n", chunked + "\r\n\r\n"
	return []framed{
		{"by length", "GET", ok + five + "12345", false, 200, "12345"},
		{"by chunks", "GET", ok + chunks + "2;x=y\r\n12\r\n3\r\n345\r\n000\r\nT: u\r\n\r\n", false, 200, "12345"},
		{"until the end", "GET", ok + "\r\n12345", true, 200, "12345"},
		{"until the end of HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\n\r\n12345", true, 200, "12345"},
		{"HTTP/1.0 by length", "GET", "HTTP/1.0 200 OK\r\n" + five + "12345", true, 200, "12345"},
		{"HTTP/1.0 kept alive", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + five + "12345", false, 200, "12345"},
		{"nothing until the end", "GET", ok + "\r\n", true, 200, ""},
		{"length of none", "GET", ok + "Content-Length: 0\r\n\r\n", false, 200, ""},
		{"length with zeros", "GET", ok + "Content-Length: 0005\r\n\r\n12345", false, 200, "12345"},
		{"length with white space", "GET", ok + "Content-Length:    5  \r\n\r\n12345", false, 200, "12345"},
		{"close", "GET", ok + "Connection: close\r\n" + five + "12345", true, 200, "12345"},
		{"close, left open", "GET", ok + "Connection: close\r\n" + five + "12345", false, 200, "12345"},
		{"no reason", "GET", "HTTP/1.1 200 \r\n" + five + "12345", false, 200, "12345"},
		{"no reason and no space", "GET", "HTTP/1.1 200\r\n" + five + "12345", false, 200, "12345"},
		{"reason of many words", "GET", "HTTP/1.1 200 All is (very) well\r\n" + five + "12345", false, 200, "12345"},
		{"odd status", "GET", "HTTP/1.1 299 Odd\r\n" + five + "12345", false, 299, "12345"},
		{"highest status", "GET", "HTTP/1.1 599 High\r\n" + five + "12345", false, 599, "12345"},
		{"HEAD by length", "HEAD", ok + five, false, 200, ""},
		{"HEAD by chunks", "HEAD", ok + chunks, false, 200, ""},
		{"HEAD without framing", "HEAD", ok + "\r\n", false, 200, ""},
		{"HEAD and a body", "HEAD", ok + "Content-Length: 6\r\n\r\nstolen", false, 200, ""},
		{"HEAD of a 404", "HEAD", "HTTP/1.1 404 No\r\n" + five, false, 404, ""},
		{"204", "GET", "HTTP/1.1 204 None\r\n\r\n", false, 204, ""},
		{"204 with a length of none", "GET", "HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n", false, 204, ""},
		{"204 with a length", "GET", "HTTP/1.1 204 None\r\n" + five, false, 204, ""},
		{"204 with a body", "GET", "HTTP/1.1 204 None\r\nContent-Length: 6\r\n\r\nstolen", false, 204, ""},
		{"304 with a length", "GET", "HTTP/1.1 304 Same\r\n" + five, false, 304, ""},
		{"304 with a coding", "GET", "HTTP/1.1 304 Same\r\n" + chunks, false, 304, ""},
		{"304 with a body", "GET", "HTTP/1.1 304 Same\r\nContent-Length: 6\r\n\r\nstolen", false, 304, ""},
		{"after a 100", "GET", "HTTP/1.1 100 Continue\r\n\r\n" + ok + five + "12345", false, 200, "12345"},
		{"after a 102", "GET", "HTTP/1.1 102 Processing\r\n\r\n" + ok + five + "12345", false, 200, "12345"},
		{"after three 103", "GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", 3) + ok + five + "12345", false, 200, "12345"},
		{"after a 199", "GET", "HTTP/1.1 199 Odd\r\nConnection: x\r\nX: y\r\n\r\n" + ok + five + "12345", false, 200, "12345"},
		{"100 before a HEAD's", "HEAD", "HTTP/1.1 100 Continue\r\n\r\n" + ok + five, false, 200, ""},
		{"103 before a 204", "GET", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 None\r\n\r\n", false, 204, ""},
		{"an answer in the body", "GET", ok + "Content-Length: 19\r\n\r\n" + ok + "\r\n", false, 200, ok + "\r\n"},
		{"early answer to a POST", "POST", ok + five + "12345", false, 200, "12345"},
	}
}

func wantFramed(t *testing.T, a framed, got harness.Reply) {
	t.Helper()
	if got.Err != nil || got.Status != a.status || got.Body != a.body {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"Connection", "X", "Te", "Upgrade"} {
		if value := got.Header.Get(name); value != "" && value != "close" && value != "keep-alive" {
			t.Errorf("%s: %s", name, value)
		}
	}
}

func wantGood(t *testing.T, got harness.Reply) {
	t.Helper()
	if got.Body != "good\n" {
		t.Errorf("the next one got %+v", got)
	}
}

// hear11 asks with a request behind it, whose answer must be its own.
func (a framed) hear11(t *testing.T, g *harness.Gateway, target string) {
	t.Helper()
	w := g.Wire(t)
	w.Say(a.method + " " + target + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n" + after)
	got := w.Hear(a.method)
	for got.Status < 200 && got.Err == nil {
		got = w.Hear(a.method)
	}
	wantFramed(t, a, got)
	wantGood(t, w.Hear("GET"))
	_ = w.Close()
}

// hear10 knows no interim answers and no codings.
func (a framed) hear10(t *testing.T, g *harness.Gateway, target, fields string) {
	t.Helper()
	w := g.Wire(t)
	w.Say(a.method + " " + target + " HTTP/1.0\r\n" + fields + "\r\n")
	got := w.Hear(a.method)
	if wantFramed(t, a, got); len(got.Header["Transfer-Encoding"]) > 0 {
		t.Errorf("HTTP/1.0 got %v", got.Header)
	}
	if strings.EqualFold(got.Header.Get("Connection"), "keep-alive") {
		w.Say("GET /good HTTP/1.0\r\n\r\n")
		wantGood(t, w.Hear("GET"))
	}
	if rest, err := w.Rest(); rest != "" || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestEveryFramingOfAnAnswerReachesEveryClient(t *testing.T) {
	t.Parallel()
	answers := framedAnswers()
	g, _ := scripted(t, func(p *backend.Peer) {
		for request := p.Request(); request != nil; request = p.Request() {
			var n int
			if _, err := fmt.Sscanf(request.URL.Path, "/%d", &n); err != nil {
				p.Answer("good\n")
				continue
			}
			if _, _ = p.Write([]byte(answers[n].bytes)); answers[n].closes {
				return
			}
		}
	})
	for n, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			target := fmt.Sprint("/", n)
			for _, protocol := range []string{"h1", "h2"} {
				client := g.Client(t, protocol)
				for range 2 {
					wantFramed(t, a, harness.Collect(client.Do(harness.Must(http.NewRequest(a.method, "https://gateway.test"+target, nil)))))
					wantGood(t, harness.Get(client, "/good"))
				}
			}
			a.hear11(t, g, target)
			for _, fields := range []string{"", "Host: gateway.test\r\n", "Connection: keep-alive\r\n", "Connection: close\r\n"} {
				a.hear10(t, g, target, fields)
			}
		})
	}
}

// What HTTP/1.1 may carry in a head HTTP/2 may carry as well.
func TestALargeHeadReachesEveryClient(t *testing.T) {
	t.Parallel()
	answer := ok + "Content-Length: 4\r\n"
	for i := range 198 {
		answer += fmt.Sprintf("x%03d: %s\r\n", i, strings.Repeat("y", 318)) // just under 64 KiB
	}
	answer += "\r\nmine"
	g, _ := scripted(t, func(p *backend.Peer) {
		for p.Request() != nil {
			_, _ = io.WriteString(p, answer)
		}
	})
	for _, protocol := range []string{"h1", "h2"} {
		if got := harness.Get(g.Client(t, protocol), "/x"); got.Body != "mine" || len(got.Header["X197"]) != 1 {
			t.Errorf("%s: %d %q with %d fields, %v", protocol, got.Status, got.Body, len(got.Header), got.Err)
		}
	}
}
