package hostile

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Answers of a backend that are none, or more than one. The script goes on serving on the same connection, so that a
// gateway that kept it would hand the rest to the next client.

const ok = "HTTP/1.1 200 OK\r\n"

// An oddity is an answer, and the body a client may make of it; empty: a 502 or an answer visibly broken off.
type oddity struct{ name, bytes, body string }

func brokenHeads() (odd []oddity) {
	const body = "Content-Length: 5\r\n\r\nbogus"
	for name, fields := range map[string]string{
		"bare CR": "X: a\rb\r\n", "NUL": "X: a\x00b\r\n", "control byte": "X: \x01\r\n", "folded": "X: a\r\n b\r\n", "no colon": "broken\r\n",
		"space before the colon": "X : a\r\n", "empty name": ": a\r\n", "space in a name": "X Y: a\r\n", "high byte in a name": "\xe9: a\r\n",
		"bare LF": "X: a\nY: b\r\n", "delete": "X: \x7f\r\n", "space line": " \r\n", "second length": "Content-Length: 6\r\n",
		"same length again": "Content-Length: 5\r\n", "length and coding": "Transfer-Encoding: chunked\r\n", "gzip coding": "Transfer-Encoding: gzip\r\n",
		"201 fields": strings.Repeat("X: y\r\n", 201), "65 KiB": "X: " + strings.Repeat("x", 65<<10) + "\r\n",
		"2 MiB": "X: " + strings.Repeat("x", 2<<20) + "\r\n", "length with space before": "Content-Length : 6\r\n",
	} {
		odd = append(odd, oddity{"field: " + name, ok + fields + body, ""})
	}
	for name, line := range map[string]string{
		"HTTP/2": "HTTP/2.0 200 OK", "HTTP/1.2": "HTTP/1.2 200 OK", "two digits": "HTTP/1.1 20 OK", "four digits": "HTTP/1.1 2000 OK", "099": "HTTP/1.1 099 Low",
		"600": "HTTP/1.1 600 High", "999": "HTTP/1.1 999 High", "signed": "HTTP/1.1 +20 OK", "word": "HTTP/1.1 OK", "no version": "200 OK", "empty": "",
		"two spaces": "HTTP/1.1  200 OK", "lower case": "http/1.1 200 OK", "ICY": "ICY 200 OK", "a request": "GET / HTTP/1.1", "space before": " HTTP/1.1 200 OK",
		"NUL in the reason": "HTTP/1.1 200 O\x00K", "CR in the reason": "HTTP/1.1 200 O\rK", "tab": "HTTP/1.1\t200 OK", "000": "HTTP/1.1 000 Zero",
		"101 nobody asked for": "HTTP/1.1 101 Switching Protocols", "RTSP": "RTSP/1.0 200 OK", "hexadecimal": "HTTP/1.1 0x8 OK",
	} {
		odd = append(odd, oddity{"status line: " + name, line + "\r\n" + body, ""})
	}
	for name, value := range map[string]string{"negative": "-5", "signed": "+5", "hexadecimal": "0x5", "empty": "", "list": "5, 6", "word": "five",
		"2^64+5": "18446744073709551621", "2^63": "9223372036854775808", "inner space": "5 5", "fraction": "5.0"} {
		odd = append(odd, oddity{"length: " + name, ok + "Content-Length: " + value + "\r\n\r\nbogus", ""})
	}
	return odd
}

func brokenBodies() (odd []oddity) {
	for name, body := range map[string]string{
		"negative": "-5\r\nbogus\r\n", "signed": "+5\r\nbogus\r\n", "0x": "0x5\r\nbogus\r\n", "empty": "\r\nbogus\r\n", "no number": "zz\r\nbogus\r\n",
		"2^64+5": "10000000000000005\r\nbogus\r\n", "space": "5 \r\nbogus\r\n", "bare LF": "5\nbogus\n", "too long": "5\r\nbogus!\r\n",
		"bare CR": "5\r\nbogus\r", "endless extension": "5;" + strings.Repeat("x", 70<<10) + "\r\nbogus\r\n", "NUL": "5\x00\r\nbogus\r\n",
		"broken trailer": "5\r\nbogus\r\n0\r\nbroken\r\n\r\n", "trailer with NUL": "5\r\nbogus\r\n0\r\nX: \x00\r\n\r\n",
		"huge trailer": "5\r\nbogus\r\n0\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
	} {
		odd = append(odd, oddity{"chunk: " + name, ok + "Transfer-Encoding: chunked\r\n\r\n" + body + "0\r\n\r\n", ""})
	}
	for name, value := range map[string]string{"twice": "chunked, chunked", "identity": "identity", "quoted": `"chunked"`, "empty": "", "x-chunked": "xchunked",
		"comma": "chunked,", "vertical tab": "\vchunked"} {
		odd = append(odd, oddity{"coding: " + name, ok + "Transfer-Encoding: " + value + "\r\n\r\n5\r\nbogus\r\n0\r\n\r\n", ""})
	}
	return append(odd, oddity{"33 interim answers", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 33) + ok + "Content-Length: 5\r\n\r\nbogus", ""},
		oddity{"interim with a length", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok + "\r\n", ""},
		oddity{"204 with a coding", "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbogus\r\n0\r\n\r\n", ""},
		oddity{"answer after the answer", ok + "Content-Length: 4\r\n\r\nmine" + ok + "Content-Length: 6\r\n\r\nstolen", ""},
		oddity{"line end after the answer", ok + "Content-Length: 4\r\n\r\nmine\r\n", "mine"},
		oddity{"chunked and an answer after", ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n" + ok + "\r\n", ""},
		oddity{"304 and a body", "HTTP/1.1 304 Not Modified\r\n\r\nstolen", "304"},
		oddity{"204 and a body", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nstolen", "204"},
		oddity{"good", ok + "Content-Length: 4\r\n\r\nmine", "mine"})
}

// cutShort are answers after which the connection closes.
func cutShort() []oddity {
	return []oddity{{"nothing", "", ""}, {"half a version", "HT", ""}, {"half a status line", "HTTP/1.1 20", ""}, {"status line", ok, ""},
		{"half a field", ok + "Content-Le", ""}, {"head without its end", ok + "Content-Length: 5\r\n", ""}, {"no body", ok + "Content-Length: 5\r\n\r\n", ""},
		{"half a body", ok + "Content-Length: 1000\r\n\r\nshort", ""}, {"one byte short", ok + "Content-Length: 6\r\n\r\nshort", ""},
		{"half a chunk size", ok + "Transfer-Encoding: chunked\r\n\r\n1", ""}, {"half a chunk", ok + "Transfer-Encoding: chunked\r\n\r\nff\r\nshort", ""},
		{"no last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", ""}, {"half the last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n", ""},
		{"trailers without end", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\nX: y\r\n", ""}, {"only an interim", "HTTP/1.1 103 Early Hints\r\n\r\n", ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", ""}, {"HTTP/2", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", ""}, {"garbage", "\xff\xfe\x00garbage\r\n\r\n", ""},
		{"until the end", ok + "\r\nmine", "mine"}, {"HTTP/1.0 until the end", "HTTP/1.0 200 OK\r\n\r\nmine", "mine"}}
}

func wantOddity(t *testing.T, got harness.Reply, want string) {
	t.Helper()
	switch {
	case want == "" && got.Err == nil && got.Status != http.StatusBadGateway && got.Status != http.StatusServiceUnavailable:
		t.Errorf("nonsense looks whole: %d %.100q", got.Status, got.Body)
	case want != "" && (got.Err != nil || got.Body != want && fmt.Sprint(got.Status)+got.Body != want):
		t.Errorf("got %+v, want %s", got, want)
	}
}

func TestNonsenseAnswersCostOnlyTheirOwnClient(t *testing.T) {
	t.Parallel()
	odd := append(brokenHeads(), brokenBodies()...)
	open := len(odd)
	odd = append(odd, cutShort()...)
	g, _ := scripted(t, func(p *backend.Peer) {
		for {
			request := p.Request()
			if request == nil {
				return
			}
			n, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/"))
			if err != nil {
				p.Answer("good\n")
				continue
			}
			_, _ = p.Write([]byte(odd[n].bytes))
			if n >= open {
				return
			}
		}
	}, "timeouts: {stream_idle: 2s}")
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			client := g.Client(t, protocol)
			for n, o := range odd {
				t.Run(o.name, func(t *testing.T) {
					began := time.Now()
					wantOddity(t, harness.Ask(client, "POST", fmt.Sprint("/", n), "p"), o.body)
					if took := time.Since(began); took > harness.Slow(time.Second) {
						t.Errorf("took %v", took)
					}
					for range 2 {
						if after := harness.Get(client, "/good"); after.Body != "good\n" {
							t.Fatalf("the next client got %+v", after)
						}
					}
				})
			}
		})
	}
}
