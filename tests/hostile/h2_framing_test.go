package hostile

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// odd frames around a good request, and bodies that are not what their head says.
type played struct {
	play func(s *session)
	want string // what the backend must get; empty: it must be refused
}

// settle waits until the gateway has passed on what it was sent.
func (s *session) settle() {
	before := s.answered()
	_ = s.WritePing(false, [8]byte{'s'})
	s.wait(func() bool { return s.pings > before })
}

func (s *session) frame(kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) {
	_ = s.WriteRawFrame(kind, flags, id, payload)
}

func framings() map[string]played {
	good, body := wanted("GET", "/g", ""), wanted("POST", "/p", "12345")
	post := func(s *session, more ...string) { s.headers(1, false, asks("POST", "/p", more...)...) }
	return map[string]played{
		"padded HEADERS": {func(s *session) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.encode(asks("GET", "/g")...), EndStream: true, EndHeaders: true, PadLength: 255})
		}, good},
		"HEADERS with a priority": {func(s *session) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.encode(asks("GET", "/g")...), EndStream: true, EndHeaders: true,
				Priority: http2.PriorityParam{StreamDep: 3, Exclusive: true, Weight: 255}})
		}, good},
		"a head in pieces": {func(s *session) {
			block := s.encode(asks("GET", "/g", "x", "y")...)
			s.frame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, block[:1])
			for i := 1; i < len(block); i += 8 {
				s.frame(http2.FrameContinuation, 0, 1, block[i:min(i+8, len(block))])
			}
			s.frame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, nil)
		}, good},
		"an empty HEADERS and a CONTINUATION": {func(s *session) {
			s.frame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, nil)
			s.frame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, s.encode(asks("GET", "/g")...))
		}, good},
		"padded DATA": {func(s *session) {
			post(s, "content-length", "5")
			_ = s.WriteDataPadded(1, true, []byte("12345"), make([]byte, 200))
		}, body},
		"padding alone": {func(s *session) {
			post(s, "content-length", "5")
			_ = s.WriteDataPadded(1, false, nil, make([]byte, 10))
			_ = s.WriteData(1, true, []byte("12345"))
		}, body},
		"empty DATA at the end": {func(s *session) {
			post(s, "content-length", "5")
			_ = s.WriteData(1, false, []byte("12345"))
			_ = s.WriteData(1, true, nil)
		}, body},
		"trailers at the end": {func(s *session) {
			post(s, "content-length", "5")
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, "x-t", "u")
		}, ""}, // judged by the protocol of the backend below
		"unknown frames": {func(s *session) {
			s.frame(0xbe, 0xff, 0, []byte("unknown"))
			post(s)
			s.frame(0xef, 0xff, 1, []byte("unknown"))
			_ = s.WriteData(1, true, []byte("12345"))
		}, body},
		"PRIORITY of itself later": {func(s *session) {
			post(s)
			_ = s.WritePriority(1, http2.PriorityParam{StreamDep: 9, Weight: 1})
			_ = s.WriteData(1, true, []byte("12345"))
		}, body},
		"a WINDOW_UPDATE in between": {func(s *session) {
			post(s)
			_ = s.WriteWindowUpdate(1, 1000)
			_ = s.WriteData(1, true, []byte("12345"))
		}, body},
		"DATA byte by byte": {func(s *session) {
			post(s)
			for _, b := range []byte("12345") {
				_ = s.WriteData(1, b == '5', []byte{b})
			}
		}, body},
		"a length of 0 and DATA": {func(s *session) {
			post(s, "content-length", "0")
			s.settle()
			_ = s.WriteData(1, true, []byte("1"))
		}, ""},
		"a length and trailers early": {func(s *session) {
			post(s, "content-length", "5")
			_ = s.WriteData(1, false, []byte("123"))
			s.headers(1, true, "x-t", "u")
		}, ""},
		"more in the last DATA": {func(s *session) {
			post(s, "content-length", "5")
			_ = s.WriteData(1, false, []byte("12345"))
			s.settle()
			_ = s.WriteData(1, true, []byte("6"))
		}, ""},
		"less by one":                      {func(s *session) { post(s, "content-length", "5"); _ = s.WriteData(1, true, []byte("1234")) }, ""},
		"a length for a GET without DATA":  {func(s *session) { s.get(1, "/g", "content-length", "5") }, ""},
		"a length for a HEAD without DATA": {func(s *session) { s.headers(1, true, asks("HEAD", "/g", "content-length", "5")...) }, ""},
		"the length twice the same": {func(s *session) {
			post(s, "content-length", "5", "content-length", "5")
			_ = s.WriteData(1, true, []byte("12345"))
		}, ""},
		"an empty length":      {func(s *session) { post(s, "content-length", ""); _ = s.WriteData(1, true, []byte("12345")) }, ""},
		"a hexadecimal length": {func(s *session) { post(s, "content-length", "0x5"); _ = s.WriteData(1, true, []byte("12345")) }, ""},
		"a negative length":    {func(s *session) { post(s, "content-length", "-5"); _ = s.WriteData(1, true, []byte("12345")) }, ""},
		"a spaced length":      {func(s *session) { post(s, "content-length", " 5"); _ = s.WriteData(1, true, []byte("12345")) }, ""},
		"a length that wraps": {func(s *session) {
			post(s, "content-length", "18446744073709551621")
			_ = s.WriteData(1, true, []byte("12345"))
		}, ""},
		"a coding and DATA": {func(s *session) {
			post(s, "transfer-encoding", "chunked")
			_ = s.WriteData(1, true, []byte("0\r\n\r\n"))
		}, ""},
		"identity coding":           {func(s *session) { post(s, "transfer-encoding", "identity"); _ = s.WriteData(1, true, []byte("12345")) }, ""},
		"an empty connection field": {func(s *session) { s.get(1, "/g", "connection", "") }, ""},
	}
}

func largeAndBadTrailers() map[string]played {
	good := wanted("GET", "/g", "")
	post := func(s *session) { s.headers(1, false, asks("POST", "/p")...) }
	return map[string]played{
		"trailers with a status": {func(s *session) {
			post(s)
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, ":status", "200")
		}, ""},
		"trailers with a connection field": {func(s *session) {
			post(s)
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, "connection", "close")
		}, ""},
		"trailers with a space in a name": {func(s *session) {
			post(s)
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, "x y", "z")
		}, ""},
		"trailers with NUL": {func(s *session) {
			post(s)
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, "x", "a\x00b")
		}, ""},
		"trailers over 60 KiB": {func(s *session) {
			post(s)
			_ = s.WriteData(1, false, []byte("12345"))
			s.headers(1, true, "x", strings.Repeat("x", 61<<10))
		}, ""},
		"101 trailers": {func(s *session) {
			post(s)
			_ = s.WriteData(1, false, []byte("12345"))
			var many []string
			for i := range 101 {
				many = append(many, fmt.Sprint("x-", i), "v")
			}
			s.headers(1, true, many...)
		}, ""},
		"101 fields": {func(s *session) {
			var many []string
			for i := range 101 {
				many = append(many, fmt.Sprint("x-", i), "v")
			}
			s.get(1, "/g", many...)
		}, ""},
		"101 cookies": {func(s *session) {
			var many []string
			for range 101 {
				many = append(many, "cookie", "a=b")
			}
			s.get(1, "/g", many...)
		}, ""},
		"95 fields": {func(s *session) {
			var many []string
			for i := range 95 {
				many = append(many, fmt.Sprint("x-", i), "v")
			}
			s.get(1, "/g", many...)
		}, good},
		"61 KiB in 90 fields": {func(s *session) {
			var many []string
			for i := range 90 {
				many = append(many, fmt.Sprint("x-", i), strings.Repeat("v", 700))
			}
			s.get(1, "/g", many...)
		}, ""},
		"a path of 61 KiB": {func(s *session) { s.get(1, "/"+strings.Repeat("p", 61<<10)) }, ""},
		"an authority of 1 KiB": {func(s *session) {
			s.headers(1, true, ":method", "GET", ":scheme", "https", ":authority", strings.Repeat("a", 1024), ":path", "/g")
		}, ""},
	}
}

func oddHeads() map[string]played {
	good, body := wanted("GET", "/g", ""), wanted("POST", "/p", "12345")
	post := func(s *session, more ...string) { s.headers(1, false, asks("POST", "/p", more...)...) }
	return map[string]played{
		"a pseudo field after a field": {func(s *session) {
			s.headers(1, true, ":method", "GET", ":scheme", "https", ":path", "/g", "x", "y", ":authority", "gateway.test")
		}, ""},
		"an upper-case pseudo field": {func(s *session) { s.headers(1, true, asks("GET", "/g", ":Path", "/x")...) }, ""},
		"a colon alone":              {func(s *session) { s.headers(1, true, asks("GET", "/g", ":", "x")...) }, ""},
		"an empty authority beside a host": {func(s *session) {
			s.headers(1, true, ":method", "GET", ":scheme", "https", ":authority", "", ":path", "/g", "host", "a,b")
		}, ""},
		"hosts that differ without an authority": {func(s *session) {
			s.headers(1, true, ":method", "GET", ":scheme", "https", ":path", "/g", "host", "a", "host", "b")
		}, ""},
		"an authority and two hosts":        {func(s *session) { s.get(1, "/g", "host", "gateway.test", "host", "evil.test") }, ""},
		"a host with a path":                {func(s *session) { s.get(1, "/g", "host", "gateway.test/x") }, ""},
		"an empty host":                     {func(s *session) { s.get(1, "/g", "host", "") }, ""},
		"a host with user info":             {func(s *session) { s.get(1, "/g", "host", "u@gateway.test") }, ""},
		"a scheme-relative path":            {func(s *session) { s.get(1, "//evil.test/g") }, wanted("GET", "/evil.test/g", "")},
		"a path with a question mark first": {func(s *session) { s.get(1, "?/g") }, ""},
		"a path of a star":                  {func(s *session) { s.headers(1, true, asks("OPTIONS", "*")...) }, ""},
		"an absolute path":                  {func(s *session) { s.get(1, "http://evil.test/g") }, ""},
		"scheme http": {func(s *session) {
			s.headers(1, true, ":method", "GET", ":scheme", "http", ":authority", "gateway.test", ":path", "/g")
		}, good},
		"scheme in upper case": {func(s *session) {
			s.headers(1, true, ":method", "GET", ":scheme", "HTTPS", ":authority", "gateway.test", ":path", "/g")
		}, ""},
		"expect": {func(s *session) {
			post(s, "expect", "100-continue", "content-length", "5")
			_ = s.WriteData(1, true, []byte("12345"))
		}, body},
		"http2-settings":              {func(s *session) { s.get(1, "/g", "http2-settings", "AA") }, good},
		"TRACE":                       {func(s *session) { s.headers(1, true, asks("TRACE", "/g")...) }, wanted("TRACE", "/g", "")},
		"a method of its own":         {func(s *session) { s.headers(1, true, asks("BREW", "/g")...) }, wanted("BREW", "/g", "")},
		"CONNECT with authority only": {func(s *session) { s.headers(1, false, ":method", "CONNECT", ":authority", "a:443") }, ""},
		"extended CONNECT": {func(s *session) {
			s.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/g", ":authority", "gateway.test")
		}, ""},
		"DATA like a request": {func(s *session) {
			post(s, "content-length", fmt.Sprint(len(hidden)))
			_ = s.WriteData(1, true, []byte(hidden))
		}, wanted("POST", "/p", hidden)},
		"a field like a request": {func(s *session) { s.get(1, "/g", "x", "GET /smuggled HTTP/1.1") }, good},
	}
}

func TestOddFramesAndBodiesOfHTTP2(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run("to "+protocol, func(t *testing.T) {
			t.Parallel()
			a := newArenaOf(t, protocol)
			tries := framings()
			maps.Copy(tries, largeAndBadTrailers())
			maps.Copy(tries, oddHeads())
			for name, try := range tries {
				t.Run(name, func(t *testing.T) {
					want := try.want
					if name == "trailers at the end" { // HTTP/1.1 has no place for them behind a known length
						want = map[string]string{"h1": wanted("POST", "/p", "12345"), "h2": wanted("POST", "/p", "12345|x-t: u")}[protocol]
					}
					s := open(t, a.g)
					defer func() { _ = s.conn.Close() }()
					try.play(s)
					got := s.await(1)
					if want == "" {
						wantRefused(t, got)
					} else if got.value(":status") != "200" || !got.ended {
						t.Errorf("got %v", got)
					}
					requests, _ := a.record.take(t)
					if len(requests) > 1 || (len(requests) == 1) != (want != "") || want != "" && requests[0].String() != want {
						t.Errorf("the backend got %v, wanted %s", requests, want)
					}
					s.get(3, "/after")
					if got := s.await(3); got.value(":status") != "200" || !got.ended {
						t.Errorf("the next stream: %v", got)
					}
					a.record.take(t)
				})
			}
		})
	}
}
