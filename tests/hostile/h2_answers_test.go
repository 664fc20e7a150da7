package hostile

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Answers of an HTTP/2 backend that are none, or more than one: they cost their own client, and nobody else.

// A reply plays the backend's part on one stream; body is what a client may make of it, empty: nothing that looks whole.
type reply struct {
	play func(h *h2Peer, id uint32)
	body string
}

func answered(pairs ...string) func(h *h2Peer, id uint32) {
	return func(h *h2Peer, id uint32) {
		h.head(id, false, pairs...)
		h.data(id, true, "bogus")
	}
}

func badFields() map[string]reply {
	replies := map[string]reply{}
	for name, pairs := range map[string][]string{
		"no status": {"x", "y"}, "empty status": {":status", ""}, "two digits": {":status", "20"}, "four digits": {":status", "2000"}, "signed status": {":status", "+20"},
		"status 0": {":status", "000"}, "status 99": {":status", "099"}, "status 600": {":status", "600"}, "status 999": {":status", "999"}, "status word": {":status", "abc"}, "status with a space": {":status", "200 "},
		"status with words": {":status", "200 OK"}, "status twice": {":status", "200", ":status", "200"}, "status late": {"x", "y", ":status", "200"}, "a path": {":status", "200", ":path", "/"},
		"a method": {":status", "200", ":method", "GET"}, "unknown pseudo": {":status", "200", ":x", "y"}, "101": {":status", "101"}, "upper-case status": {":Status", "200"},
		"length word": {":status", "200", "content-length", "x"}, "length signed": {":status", "200", "content-length", "+5"}, "length negative": {":status", "200", "content-length", "-5"},
		"length list": {":status", "200", "content-length", "5, 5"}, "length empty": {":status", "200", "content-length", ""}, "length twice": {":status", "200", "content-length", "5", "content-length", "5"},
		"lengths differ": {":status", "200", "content-length", "5", "content-length", "6"}, "length over 2^63": {":status", "200", "content-length", "9223372036854775808"},
		"length hexadecimal": {":status", "200", "content-length", "0x5"}, "length too long": {":status", "200", "content-length", "6"}, "length too short": {":status", "200", "content-length", "4"},
		"length 0": {":status", "200", "content-length", "0"}, "length wraps": {":status", "200", "content-length", "18446744073709551621"},
		"te gzip": {":status", "200", "te", "gzip"}, "host twice": {":status", "200", "\xffhost", "a"},
	} {
		replies["head: "+name] = reply{answered(pairs...), ""}
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"} {
		replies["connection-specific "+name] = reply{answered(":status", "200", name, "chunked"), ""}
	}
	for what, name := range map[string]string{"upper case": "X", "space": "x y", "colon": "x:y", "CR": "x\ry", "LF": "x\ny", "NUL": "x\x00", "empty": "", "high byte": "x\xe9", "CRLF": "x: y\r\nz", "tab": "x\t", "slash": "x/y"} {
		replies["name: "+what] = reply{answered(":status", "200", name, "v"), ""}
	}
	for what, value := range map[string]string{"CR": "a\rb", "LF": "a\nb", "CRLF": "a\r\nset-cookie: b", "two answers": "a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen", "NUL": "a\x00", "space first": " a", "tab last": "a\t", "control": "\x01", "delete": "\x7f"} {
		replies["value: "+what] = reply{answered(":status", "200", "x", value), ""}
	}
	return replies
}

// half says half an answer, and then what ends it.
func half(end func(h *h2Peer, id uint32)) func(h *h2Peer, id uint32) {
	return func(h *h2Peer, id uint32) {
		h.head(id, false, ":status", "200")
		h.data(id, false, "half")
		end(h, id)
	}
}

func badBodies() map[string]reply {
	reset := func(code http2.ErrCode) func(h *h2Peer, id uint32) {
		return half(func(h *h2Peer, id uint32) { _ = h.WriteRSTStream(id, code) })
	}
	return map[string]reply{
		"DATA first":         {func(h *h2Peer, id uint32) { h.data(id, true, "bogus") }, ""},
		"interim and DATA":   {func(h *h2Peer, id uint32) { h.head(id, false, ":status", "103"); h.data(id, true, "bogus") }, ""},
		"interim at the end": {func(h *h2Peer, id uint32) { h.head(id, true, ":status", "103") }, ""},
		"interim with a length": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "103", "content-length", "5")
			h.answer(id, "mine")
		}, "mine or nothing"},
		"33 interims": {func(h *h2Peer, id uint32) {
			for range 33 {
				h.head(id, false, ":status", "103")
			}
			h.answer(id, "bogus")
		}, ""},
		"a length and no DATA": {func(h *h2Peer, id uint32) { h.head(id, true, ":status", "200", "content-length", "5") }, ""},
		"a length, then trailers": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200", "content-length", "5")
			h.data(id, false, "1")
			h.head(id, true, "x", "y")
		}, ""},
		"less than the length": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200", "content-length", "10")
			h.data(id, false, "half")
			h.data(id, true, "")
		}, ""},
		"trailers without end":      {half(func(h *h2Peer, id uint32) { h.head(id, false, "x", "y"); h.data(id, true, "more") }), ""},
		"a second head":             {half(func(h *h2Peer, id uint32) { h.head(id, false, ":status", "200"); h.data(id, true, "stolen") }), ""},
		"a second head at the end":  {half(func(h *h2Peer, id uint32) { h.head(id, true, ":status", "200") }), ""},
		"upper case in trailers":    {half(func(h *h2Peer, id uint32) { h.head(id, true, "X", "y") }), ""},
		"CRLF in trailers":          {half(func(h *h2Peer, id uint32) { h.head(id, true, "x", "y\r\nz: a") }), ""},
		"connection in trailers":    {half(func(h *h2Peer, id uint32) { h.head(id, true, "connection", "close") }), ""},
		"huge trailers":             {half(func(h *h2Peer, id uint32) { h.head(id, true, "x", strings.Repeat("y", 70<<10)) }), ""},
		"a huge head":               {answered(":status", "200", "x", strings.Repeat("y", 70<<10)), ""},
		"reset: no error":           {reset(http2.ErrCodeNo), ""},
		"reset: cancel":             {reset(http2.ErrCodeCancel), ""},
		"reset: internal error":     {reset(http2.ErrCodeInternal), ""},
		"reset: refused stream":     {reset(http2.ErrCodeRefusedStream), ""},
		"reset: calm":               {reset(http2.ErrCodeEnhanceYourCalm), ""},
		"reset: unknown":            {reset(0xbad), ""},
		"reset before the head":     {func(h *h2Peer, id uint32) { _ = h.WriteRSTStream(id, http2.ErrCodeInternal) }, ""},
		"reset: no error, no head":  {func(h *h2Peer, id uint32) { _ = h.WriteRSTStream(id, http2.ErrCodeNo) }, ""},
		"the end of the connection": {half(func(h *h2Peer, _ uint32) { _ = h.Close() }), ""},
		"a reset of the connection": {half(func(h *h2Peer, _ uint32) { h.Reset() }), ""},
		"GOAWAY and the end":        {half(func(h *h2Peer, id uint32) { _ = h.WriteGoAway(id, http2.ErrCodeNo, nil); _ = h.Close() }), ""},
		"GOAWAY before this one":    {half(func(h *h2Peer, _ uint32) { _ = h.WriteGoAway(0, http2.ErrCodeNo, nil); _ = h.Close() }), ""},
		"GOAWAY with an error":      {half(func(h *h2Peer, id uint32) { _ = h.WriteGoAway(id, http2.ErrCodeInternal, nil); _ = h.Close() }), ""},
	}
}

func brokenFrames() map[string]reply {
	raw := func(kind http2.FrameType, flags http2.Flags, on uint32, payload string) func(h *h2Peer, id uint32) {
		return half(func(h *h2Peer, _ uint32) { _ = h.WriteRawFrame(kind, flags, on, []byte(payload)) })
	}
	return map[string]reply{
		"half a frame": {half(func(h *h2Peer, _ uint32) { h.Say("\x00\x00\x10\x00\x01\x00\x00\x00\x01half"); _ = h.Close() }), ""},
		"HTTP/1.1": {func(h *h2Peer, _ uint32) {
			h.Say("%s", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbogus")
			_ = h.Close()
		}, ""},
		"garbage": {half(func(h *h2Peer, _ uint32) { h.Say("%s", strings.Repeat("garbage\xff", 10)) }), ""},
		"broken HPACK": {func(h *h2Peer, id uint32) {
			_ = h.WriteRawFrame(http2.FrameHeaders, 5, id, []byte("\xff\xff\xff\xff\xff\xff\xff"))
		}, ""},
		"broken HPACK in trailers":               {half(func(h *h2Peer, id uint32) { _ = h.WriteRawFrame(http2.FrameHeaders, 5, id, []byte("\xbf\x80")) }), ""},
		"a frame too large":                      {raw(http2.FrameData, 0, 1, strings.Repeat("x", 1<<15)), ""},
		"DATA on stream 0":                       {raw(http2.FrameData, 1, 0, "x"), ""},
		"HEADERS on stream 0":                    {raw(http2.FrameHeaders, 5, 0, "\x88"), ""},
		"a stream never opened":                  {raw(http2.FrameHeaders, 5, 99999, "\x88"), ""},
		"a stream of even number":                {raw(http2.FrameHeaders, 5, 2, "\x88"), ""},
		"a lone CONTINUATION":                    {raw(http2.FrameContinuation, 4, 1, "\x88"), ""},
		"a push":                                 {raw(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02\x82\x84\x87\x01\x01a"), ""},
		"padding over the frame":                 {half(func(h *h2Peer, id uint32) { _ = h.WriteRawFrame(http2.FrameData, 9, id, []byte("\xffabc")) }), ""},
		"a bad SETTINGS":                         {raw(http2.FrameSettings, 0, 0, "\x00\x04\xff\xff\xff\xff"), ""},
		"an odd SETTINGS":                        {raw(http2.FrameSettings, 0, 0, "abc"), ""},
		"push enabled":                           {raw(http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x01"), ""},
		"an empty WINDOW_UPDATE":                 {half(func(h *h2Peer, _ uint32) { _ = h.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4)) }), ""},
		"WINDOW_UPDATE of nothing on the stream": {half(func(h *h2Peer, id uint32) { _ = h.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)) }), ""},
		"a window over 2^31":                     {half(func(h *h2Peer, _ uint32) { _ = h.WriteWindowUpdate(0, 1<<31-1); _ = h.WriteWindowUpdate(0, 1<<31-1) }), ""},
		"a short PING":                           {raw(http2.FramePing, 0, 0, "abc"), ""},
		"more than the window": {half(func(h *h2Peer, id uint32) {
			for range 2000 { // 30 MiB: hardly a client takes so much so fast that the window is never passed
				if h.WriteData(id, false, make([]byte, 16<<10)) != nil {
					return
				}
			}
			_ = h.Close()
		}), ""},
	}
}

func goodReplies() map[string]reply {
	return map[string]reply{
		"plain":            {func(h *h2Peer, id uint32) { h.answer(id, "mine") }, "mine"},
		"without a length": {func(h *h2Peer, id uint32) { h.head(id, false, ":status", "200"); h.data(id, true, "mine") }, "mine"},
		"in pieces": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200")
			for _, b := range "mine" {
				h.data(id, false, string(b))
			}
			h.data(id, true, "")
		}, "mine"},
		"after interims": {func(h *h2Peer, id uint32) {
			for _, s := range []string{"100", "102", "103", "103"} {
				h.head(id, false, ":status", s)
			}
			h.answer(id, "mine")
		}, "mine"},
		"with trailers": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200")
			h.data(id, false, "mine")
			h.head(id, true, "x", "y")
		}, "mine"},
		"a length and trailers": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200", "content-length", "4")
			h.data(id, false, "mine")
			h.head(id, true, "x", "y")
		}, "mine"},
		"padded": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200")
			_ = h.WriteDataPadded(id, true, []byte("mine"), make([]byte, 99))
		}, "mine"},
		"a head in pieces": {func(h *h2Peer, id uint32) {
			block := h.encode(":status", "200", "x", "y")
			_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:1], PadLength: 9})
			_ = h.WriteContinuation(id, false, nil)
			_ = h.WriteContinuation(id, true, block[1:])
			h.data(id, true, "mine")
		}, "mine"},
		"unknown frames": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200")
			_ = h.WriteRawFrame(0xee, 0xff, id, []byte("x"))
			_ = h.WriteRawFrame(0xef, 1, 0, nil)
			h.data(id, true, "mine")
		}, "mine"},
		"unknown settings": {func(h *h2Peer, id uint32) {
			_ = h.WriteSettings(http2.Setting{ID: 0xabc, Val: 1})
			_ = h.WritePing(false, [8]byte{})
			h.answer(id, "mine")
		}, "mine"},
		"priorities": {func(h *h2Peer, id uint32) {
			_ = h.WritePriority(id, http2.PriorityParam{Weight: 3})
			h.answer(id, "mine")
		}, "mine"},
		"an ALTSVC frame": {func(h *h2Peer, id uint32) {
			_ = h.WriteRawFrame(10, 0, 0, []byte("\x00\x01ah2=\":1\""))
			h.answer(id, "mine")
		}, "mine"},
		"GOAWAY, then all": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200")
			_ = h.WriteGoAway(id, http2.ErrCodeNo, nil)
			h.data(id, true, "mine")
		}, "mine"},
		"all, then a reset": {func(h *h2Peer, id uint32) { h.answer(id, "mine"); _ = h.WriteRSTStream(id, http2.ErrCodeNo) }, "mine"},
		"all, then DATA":    {func(h *h2Peer, id uint32) { h.answer(id, "mine"); h.data(id, true, "stolen") }, "mine"},
		"all, then a head":  {func(h *h2Peer, id uint32) { h.answer(id, "mine"); h.head(id, true, ":status", "200") }, "mine"},
		"204":               {func(h *h2Peer, id uint32) { h.head(id, true, ":status", "204") }, "204"},
		"304 with a length": {func(h *h2Peer, id uint32) { h.head(id, true, ":status", "304", "content-length", "5") }, "304"},
		"only a head":       {func(h *h2Peer, id uint32) { h.head(id, true, ":status", "200") }, "200"},
		"empty DATA": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200", "content-length", "0")
			h.data(id, true, "")
		}, "200"},
		"high bytes": {func(h *h2Peer, id uint32) {
			h.head(id, false, ":status", "200", "x", "caf\xc3\xa9 \xff")
			h.data(id, true, "mine")
		}, "mine"},
	}
}

// ask10 asks in HTTP/1.0, where only the end of the connection may tell the end of the body.
func ask10(t *testing.T, g *harness.Gateway, path string) harness.Reply {
	t.Helper()
	w := g.Wire(t)
	defer func() { _ = w.Close() }()
	w.Say("POST " + path + " HTTP/1.0\r\nHost: gateway.test\r\nContent-Length: 1\r\n\r\np")
	got := w.Hear("POST")
	if got.Err == nil && len(got.Header["Transfer-Encoding"]) > 0 {
		t.Errorf("HTTP/1.0 got a coding: %+v", got)
	}
	return got
}

func askWith(t *testing.T, g *harness.Gateway, client *http.Client, protocol, path string) harness.Reply {
	t.Helper()
	if protocol == "HTTP/1.0" {
		return ask10(t, g, path)
	}
	return harness.Ask(client, "POST", path, "p")
}

func (r reply) judge(t *testing.T, got harness.Reply) {
	t.Helper()
	switch r.body {
	case "mine or nothing":
		if got.Err == nil && got.Status == 200 && got.Body != "mine" {
			t.Errorf("got %+v", got)
		}
	case "200":
		got.Body += "whole"
		wantOddity(t, got, "whole")
	default:
		wantOddity(t, got, r.body)
	}
}

func TestNonsenseOfHTTP2BackendsCostsOnlyItsOwnClient(t *testing.T) {
	t.Parallel()
	replies := map[string]reply{}
	for _, some := range []map[string]reply{badFields(), badBodies(), brokenFrames(), goodReplies()} {
		maps.Copy(replies, some)
	}
	paths, names := map[string]string{}, map[string]string{}
	for name := range replies {
		path := fmt.Sprint("/", len(names))
		paths[name], names[path] = path, name
	}
	back := harness.Must(backend.StartScripted("127.0.0.1:0", func(p *backend.Peer) {
		h := meet(p)
		if h == nil {
			return
		}
		for id, path := h.request(); id != 0; id, path = h.request() {
			if name, found := names[path]; found {
				replies[name].play(h, id)
			} else {
				h.answer(id, "good\n")
			}
		}
	}))
	t.Cleanup(back.Stop)
	for _, protocol := range []string{"h1", "h2", "HTTP/1.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			// Of one worker: the good answers behind the nonsense have proved the connection that the next call takes.
			g := harness.Start(t, harness.Setup{Top: []string{"workers: 1"}, Routes: everything, Backends: []string{harness.H2("web", back.Address)},
				Listener: []string{"timeouts: {stream_idle: 2s}"}})
			client := g.Client(t, strings.Replace(protocol, "HTTP/1.0", "h1", 1))
			for name, r := range replies {
				t.Run(name, func(t *testing.T) {
					began := time.Now()
					r.judge(t, askWith(t, g, client, protocol, paths[name]))
					if took := time.Since(began); took > harness.Slow(time.Second) {
						t.Errorf("took %v", took)
					}
					for range 2 {
						if after := harness.Get(client, "/good"); after.Body != "good\n" || after.Status != http.StatusOK {
							t.Fatalf("the next client got %+v", after)
						}
					}
				})
			}
		})
	}
}

// The same nonsense of HTTP/1.1 backends, for a client that knows an end only by the end of the connection.
func TestNonsenseAnswersNeverLookWholeToHTTP10(t *testing.T) {
	t.Parallel()
	odd := append(brokenHeads(), brokenBodies()...)
	open := len(odd)
	odd = append(odd, cutShort()...)
	g, _ := scripted(t, func(p *backend.Peer) {
		for request := p.Request(); request != nil; request = p.Request() {
			var n int
			if _, err := fmt.Sscanf(request.URL.Path, "/%d", &n); err != nil {
				p.Answer("good\n")
				continue
			}
			_, _ = p.Write([]byte(odd[n].bytes))
			if n >= open {
				return
			}
		}
	}, "timeouts: {stream_idle: 2s}")
	client := g.Client(t, "h1")
	for n, o := range odd {
		t.Run(o.name, func(t *testing.T) {
			wantOddity(t, ask10(t, g, fmt.Sprint("/", n)), o.body)
			if after := harness.Get(client, "/good"); after.Body != "good\n" {
				t.Fatalf("the next client got %+v", after)
			}
		})
	}
}
