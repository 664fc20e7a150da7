package hostile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/harness"
)

// Requests that are malformed by RFC 9113, 8.1.1, or would be another request once written down as HTTP/1.1.

func malformedHeads() map[string][]string {
	heads := map[string][]string{
		"no method": {":scheme", "https", ":path", "/", ":authority", "a"}, "no scheme": {":method", "GET", ":path", "/", ":authority", "a"},
		"no path": {":method", "GET", ":scheme", "https", ":authority", "a"}, "no authority and no host": {":method", "GET", ":scheme", "https", ":path", "/"},
		"method twice": asks("GET", "/", ":method", "GET"), "path twice": asks("GET", "/", ":path", "/x"), "scheme twice": asks("GET", "/", ":scheme", "https"),
		"authority twice": asks("GET", "/", ":authority", "b"), "late pseudo field": {":method", "GET", ":scheme", "https", "x", "y", ":path", "/", ":authority", "a"},
		"unknown pseudo field": asks("GET", "/", ":x", "y"), "status": asks("GET", "/", ":status", "200"), "protocol": asks("GET", "/", ":protocol", "websocket"),
		"empty method": asks("", "/"), "empty path": asks("GET", ""), "CONNECT": {":method", "CONNECT", ":authority", "a:1"}, "CONNECT with a path": asks("CONNECT", "/"),
		"extended CONNECT": asks("CONNECT", "/", ":protocol", "websocket"), "empty scheme": {":method", "GET", ":scheme", "", ":path", "/", ":authority", "a"},
		"other scheme": {":method", "GET", ":scheme", "ftp", ":path", "/", ":authority", "a"}, "host differs": asks("GET", "/", "host", "other.test"),
		"hosts differ": {":method", "GET", ":scheme", "https", ":path", "/", "host", "a", "host", "b"}, "te gzip": asks("GET", "/", "te", "gzip"),
		"te trailers, gzip": asks("GET", "/", "te", "trailers, gzip"), "length word": asks("POST", "/", "content-length", "x"),
		"length signed": asks("POST", "/", "content-length", "+0"), "lengths differ": asks("POST", "/", "content-length", "0", "content-length", "1"),
		"length list": asks("POST", "/", "content-length", "0, 0"), "length 2^64": asks("POST", "/", "content-length", "18446744073709551616"),
		"length without DATA": asks("POST", "/", "content-length", "5"), "header bomb": asks("GET", "/", "x", strings.Repeat("x", 61<<10)),
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"} {
		heads["connection-specific "+name] = asks("POST", "/", name, "chunked")
	}
	for what, name := range map[string]string{"upper case": "X-Upper", "space": "x y", "colon": "x:y", "CR": "x\ry", "LF": "x\ny", "CRLF": "x\r\ny: z", "NUL": "x\x00",
		"empty": "", "high byte": "x\xe9", "space first": " x", "space last": "x ", "parenthesis": "x(y)", "slash": "x/y", "delete": "x\x7f", "tab": "x\t", "quote": "x\"",
		"comma": "x,y", "host with a space": "host ", "upper-case host": "Host", "upper-case length": "Content-Length"} {
		heads["name: "+what] = asks("GET", "/", name, "v")
	}
	for what, value := range map[string]string{"CR": "a\rb", "LF": "a\nb", "CRLF": "a\r\nX: y", "CRLF CRLF": "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "NUL": "a\x00b",
		"CR first": "\ra", "LF last": "a\n", "space first": " a", "space last": "a ", "tab first": "\ta", "tab last": "a\t", "control byte": "\x01", "delete": "\x7f"} {
		heads["value: "+what] = asks("GET", "/", "x", value)
	}
	for what, path := range map[string]string{"space": "/a b", "CRLF": "/ HTTP/1.1\r\nX: y", "CR": "/\r", "LF": "/\n", "NUL": "/\x00", "relative": "a", "star": "*", "absolute": "https://a/",
		"tab": "/\t", "high byte": "/\xe9", "fragment": "/a#b", "delete": "/\x7f", "version": "/ HTTP/1.0", "query only": "?a", "dots above": "/../a", "encoded slash": "/a%2fb"} {
		heads["path: "+what] = asks("GET", path)
	}
	for what, method := range map[string]string{"space": "GET /x HTTP/1.1\r\nX:", "CRLF": "GET\r\n", "colon": "GET:", "NUL": "G\x00T", "comma": "G,T", "high byte": "G\xe9T"} {
		heads["method: "+what] = asks(method, "/")
	}
	for what, authority := range map[string]string{"CRLF": "a\r\nX: y", "space": "a b", "user": "u@a", "path": "a/b", "empty": "", "two ports": "a:1:2", "comma": "a,b", "NUL": "a\x00", "query": "a?b",
		"port word": "a:x", "open bracket": "[::1", "escape": "%61", "high byte": "\xe9", "backslash": `a\b`} {
		heads["authority: "+what] = []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", authority}
	}
	for what, scheme := range map[string]string{"CRLF": "https\r\n", "space": "https ", "with slashes": "https://a/"} {
		heads["scheme: "+what] = []string{":method", "GET", ":scheme", scheme, ":path", "/", ":authority", "a"}
	}
	return heads
}

func wantRefused(t *testing.T, got answer) {
	t.Helper()
	if status := got.value(":status"); got.reset == nil && (status < "400" || status >= "500") {
		t.Errorf("not refused: %v", got)
	}
}

func TestMalformedHTTP2RequestsReachNobody(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	for name, head := range malformedHeads() {
		t.Run(name, func(t *testing.T) {
			s := open(t, a.g)
			s.headers(1, true, head...)
			wantRefused(t, s.await(1))
			if requests, broken := a.record.take(t); len(requests) > 0 || broken > 0 {
				t.Errorf("reached the backend: %v and %d broken", requests, broken)
			}
			s.get(3, "/after") // one stream's fault is not the connection's
			if got := s.await(3); got.value(":status") != "200" || !got.ended {
				t.Errorf("the next stream: %v", got)
			}
			a.record.take(t)
		})
	}
}

func TestMalformedHTTP2BodiesNeverLookComplete(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	for name, send := range map[string]func(s *session){
		"more than the length": func(s *session) {
			s.headers(1, false, asks("POST", "/p", "content-length", "3")...)
			_ = s.WriteData(1, true, []byte("12345"))
		},
		"less than the length": func(s *session) {
			s.headers(1, false, asks("POST", "/p", "content-length", "7")...)
			_ = s.WriteData(1, true, []byte("12345"))
		},
		"one byte more than the length": func(s *session) {
			s.headers(1, false, asks("POST", "/p", "content-length", "3")...)
			_ = s.WriteData(1, false, []byte("123"))
			_ = s.WriteData(1, true, []byte("4"))
		},
		"DATA without a length to it": func(s *session) {
			s.headers(1, false, asks("POST", "/p", "content-length", "0")...)
			_ = s.WriteData(1, true, []byte("1"))
		},
		"no DATA but a length": func(s *session) {
			s.headers(1, false, asks("POST", "/p", "content-length", "7")...)
			s.headers(1, true, "x-trailer", "y")
		},
		"pseudo field in trailers": func(s *session) {
			s.headers(1, false, asks("POST", "/p")...)
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, ":path", "/x")
		},
		"CR in a trailer": func(s *session) {
			s.headers(1, false, asks("POST", "/p")...)
			s.headers(1, true, "x", "a\r\nb: c")
		},
		"trailers without END_STREAM": func(s *session) {
			s.headers(1, false, asks("POST", "/p")...)
			s.headers(1, false, "x", "y")
		},
		"upper case in trailers": func(s *session) {
			s.headers(1, false, asks("POST", "/p")...)
			s.headers(1, true, "X", "y")
		},
		"reset in the middle": func(s *session) {
			s.headers(1, false, asks("POST", "/p")...)
			_ = s.WriteData(1, false, []byte("12345"))
			_ = s.WriteRSTStream(1, http2.ErrCodeCancel)
			s.headers(3, true, asks("GET", "/shut", ":x", "y")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, a.g)
			before := a.g.Audit("malformed_request")
			send(s)
			if name == "reset in the middle" {
				s.await(3)
			} else {
				wantRefused(t, s.await(1))
			}
			harness.WaitFor(t, "the one record", 2*time.Second, func() bool { return a.g.Audit("malformed_request") == before+1 })
			if requests, _ := a.record.take(t); len(requests) > 0 {
				t.Errorf("the backend got %v", requests)
			}
		})
	}
}

func TestStreamResetForItsWindowIsOnTheRecord(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	s := open(t, a.g)
	s.headers(1, false, asks("POST", "/p")...)
	_ = s.WriteWindowUpdate(1, 1<<31-1)
	if got := s.await(1); got.reset == nil || *got.reset != http2.ErrCodeFlowControl {
		t.Errorf("got %v, want a reset for the window", got)
	}
	harness.WaitFor(t, "the one record", 2*time.Second, func() bool { return a.g.Audit("protocol_violation") == 1 })
}

func TestHTTP2BecomesExactlyOneHTTP1Request(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	for name, try := range map[string]struct {
		head, trailers []string
		data           []string // DATA frames; none: the head ends the stream
		want           string
		fields         string // must be there
	}{
		"plain":                 {head: asks("GET", "/g?q=1"), want: wanted("GET", "/g?q=1", "")},
		"cookies joined":        {head: asks("GET", "/g", "cookie", "a=1", "cookie", "b=2", "cookie", "c=3"), want: wanted("GET", "/g", ""), fields: "cookie: a=1; b=2; c=3"},
		"length and DATA":       {head: asks("POST", "/p", "content-length", "5"), data: []string{"123", "45"}, want: wanted("POST", "/p", "12345"), fields: "content-length: 5"},
		"no length":             {head: asks("POST", "/p"), data: []string{"123", "45"}, want: wanted("POST", "/p", "12345"), fields: "transfer-encoding: chunked"},
		"empty DATA only":       {head: asks("POST", "/p"), data: []string{""}, want: wanted("POST", "/p", "")},
		"DATA like a chunk end": {head: asks("POST", "/p"), data: []string{"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"}, want: wanted("POST", "/p", "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n")},
		"DATA of a GET":         {head: asks("GET", "/g"), data: []string{"12345"}, want: wanted("GET", "/g", "12345")},
		"trailers":              {head: asks("POST", "/p"), data: []string{"1"}, trailers: []string{"x-sum", "2", "cookie", "a=b", "authorization", "x"}, want: wanted("POST", "/p", "1|x-sum: 2")},
		"same host":             {head: asks("GET", "/g", "host", "gateway.test"), want: wanted("GET", "/g", "")},
		"host instead of authority": {head: []string{":method", "GET", ":scheme", "https", ":path", "/g", "host", "gateway.test"},
			want: wanted("GET", "/g", "")},
		"te trailers":       {head: asks("GET", "/g", "te", "trailers"), want: wanted("GET", "/g", "")},
		"identity replaced": {head: asks("GET", "/g", "x-forwarded-client-cert", "URI=spiffe://evil", "x_forwarded_client_cert", "e"), want: wanted("GET", "/g", "")},
		"OPTIONS of all":    {head: asks("OPTIONS", "/o"), want: wanted("OPTIONS", "/o", "")},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, a.g)
			s.headers(1, len(try.data) == 0, try.head...)
			for i, data := range try.data {
				_ = s.WriteData(1, i == len(try.data)-1 && try.trailers == nil, []byte(data))
			}
			if try.trailers != nil {
				s.headers(1, true, try.trailers...)
			}
			if got := s.await(1); got.value(":status") != "200" || !got.ended {
				t.Errorf("got %v", got)
			}
			requests, _ := a.record.take(t)
			if len(requests) != 1 || requests[0].String() != try.want {
				t.Fatalf("the backend got %v, wanted %s", requests, try.want)
			}
			for _, name := range []string{"te", "connection", "x_forwarded_client_cert"} {
				if values := requests[0].values(name); len(values) > 0 {
					t.Errorf("the backend got %s: %q", name, values)
				}
			}
			if cert := requests[0].values("x-forwarded-client-cert"); len(cert) != 1 || !strings.Contains(cert[0], harness.Identity) {
				t.Errorf("identity %q", cert)
			}
			if !strings.Contains("\n"+strings.Join(requests[0].fields, "\n")+"\n", "\n"+try.fields) {
				t.Errorf("no %q in %q", try.fields, requests[0].fields)
			}
		})
	}
}

func TestOneHTTP2ConnectionMayCarryManyOddRequests(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	s := open(t, a.g)
	for i := range uint32(50) { // with fields that HPACK remembers
		s.get(2*i+1, "/g", "x-remembered", fmt.Sprint("value ", i%3), "cookie", "a=b")
		if got := s.await(2*i + 1); got.value(":status") != "200" {
			t.Fatalf("request %d: %v", i, got)
		}
	}
	if requests, _ := a.record.take(t); len(requests) != 50 {
		t.Errorf("the backend got %d", len(requests))
	}
}
