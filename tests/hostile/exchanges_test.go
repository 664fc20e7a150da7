package hostile

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Pooled connections: what a backend says unasked, or leaves half said, is nobody's answer.
func TestPooledConnectionsAreNotPoisoned(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"a whole answer": ok + "Content-Length: 6\r\n\r\nstolen", "half an answer": ok + "Content-Le", "one byte": "H", "an interim": "HTTP/1.1 100 Continue\r\n\r\n",
		"a 408": "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", "a line end": "\r\n", "the end": "", "garbage": "\x00\xff"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := make(chan struct{}, 100)
			g, _ := scripted(t, func(p *backend.Peer) {
				for request := p.Request(); request != nil; request = p.Request() {
					p.Answer("good\n")
					if request.URL.Path == "/first" {
						p.Say("%s", extra) // in a segment of its own, or with the answer: as it falls
						if extra == "" {
							_ = p.Close()
						}
						said <- struct{}{}
					}
				}
			})
			for _, protocol := range []string{"h1", "h2"} {
				client := g.Client(t, protocol)
				for range 10 {
					// Where it came with the answer, there was none that could be told from it.
					first := harness.Get(client, "/first")
					if doubtful := strings.Trim(extra, "\r\n") != ""; first.Body != "good\n" && !(doubtful && first.Err != nil) {
						t.Fatalf("first: %+v", first)
					}
					<-said
					for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
						if got := harness.Ask(client, method, "/next", ""); got.Status != 200 || got.Err != nil {
							t.Fatalf("%s after it: %+v", method, got)
						}
					}
				}
			}
		})
	}
}

func TestAPostIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *backend.Peer){
		"closed":       func(p *backend.Peer) { _ = p.Close() },
		"reset":        func(p *backend.Peer) { p.Reset() },
		"half a head":  func(p *backend.Peer) { p.Say("HTTP/1.1 2") },
		"half a body":  func(p *backend.Peer) { p.Say("%sContent-Length: 9\r\n\r\nhalf", ok) },
		"interim only": func(p *backend.Peer) { p.Say("HTTP/1.1 103 Early Hints\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var posts atomic.Int64
			g, _ := scripted(t, func(p *backend.Peer) {
				for {
					request := p.Request()
					if request == nil {
						return
					}
					if request.Method == "POST" {
						posts.Add(1)
						end(p)
						return
					}
					p.Answer("good\n")
				}
			})
			for _, protocol := range []string{"h1", "h2"} {
				client := g.Client(t, protocol)
				for i := range int64(5) {
					posts.Store(0)
					harness.Get(client, "/warm") // the POST goes to a pooled connection
					wantOddity(t, harness.Ask(client, "POST", "/once", strings.Repeat("p", int(i%2))), "")
					if n := posts.Load(); n != 1 {
						t.Errorf("round %d: sent %d times", i, n)
					}
				}
			}
		})
	}
}

// What Expect does: never a 100 for what is refused, never two, never one in HTTP/1.0.
func TestExpectationsAreMetOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	back := harness.Must(backend.StartScripted("127.0.0.1:0", func(p *backend.Peer) {
		for {
			request, err := http.ReadRequest(p.Reader)
			if err != nil {
				return
			}
			if request.URL.Path == "/early" {
				p.Say("HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				return
			}
			p.Say("HTTP/1.1 100 Continue\r\n\r\n")
			got := harness.Collect(&http.Response{Body: request.Body}, nil)
			p.Answer(got.Body)
		}
	}))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Backends: []string{harness.HTTP1("web", back.Address)}, Listener: []string{"limits: {body_bytes: 1KiB}"},
		Routes: append([]string{harness.Route("path: /shut", `backend: web, allow: ["spiffe://cluster.local/ns/none/*"]`)}, everything...)})
	const expect, five = "Expect: 100-continue\r\n", "Content-Length: 5\r\n\r\n"
	for name, try := range map[string]struct {
		head, body string
		statuses   []int
		ends       bool
	}{
		"with the body at once":      {"POST /p HTTP/1.1\r\n" + expect + five, "12345", []int{100, 200}, false},
		"any case":                   {"POST /p HTTP/1.1\r\nEXPECT: 100-CONTINUE\r\n" + five, "12345", []int{100, 200}, false},
		"by chunks":                  {"POST /p HTTP/1.1\r\n" + expect + chunked + "\r\n\r\n", "5\r\n12345\r\n0\r\n\r\n", []int{100, 200}, false},
		"of a GET":                   {"GET /p HTTP/1.1\r\n" + expect + five, "12345", []int{100, 200}, false},
		"of HTTP/1.0":                {"POST /p HTTP/1.0\r\n" + expect + five, "12345", []int{200}, true},
		"of nothing":                 {"POST /p HTTP/1.1\r\n" + expect + "\r\n", "", []int{200}, false},
		"not asked":                  {"POST /p HTTP/1.1\r\n" + five, "12345", []int{200}, false},
		"of a refused one":           {"POST /shut HTTP/1.1\r\n" + expect + five, "12345", []int{403}, true},
		"of a refused one, no body":  {"POST /shut HTTP/1.1\r\n" + expect + five, "", []int{403}, true},
		"of one without a route":     {"POST /a%2fb HTTP/1.1\r\n" + expect + five, "12345", []int{400}, true},
		"of one too large":           {"POST /p HTTP/1.1\r\n" + expect + "Content-Length: 5000\r\n\r\n", "", []int{413}, true},
		"of one malformed":           {"POST /p HTTP/1.1\r\n" + expect + "Content-Length: 5, 5\r\n\r\n", "12345", []int{400}, true},
		"unknown":                    {"POST /p HTTP/1.1\r\nExpect: more\r\n" + five, "12345", []int{417}, true},
		"unknown of HTTP/1.0":        {"POST /p HTTP/1.0\r\nExpect: more\r\n" + five, "12345", []int{417}, true},
		"a backend that will not":    {"POST /early HTTP/1.1\r\n" + expect + five, "12345", []int{100, 413}, false},
		"broken chunks after a wait": {"POST /p HTTP/1.1\r\n" + expect + chunked + "\r\n\r\n", "zz\r\n", []int{100, 400}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := g.Wire(t)
			line, rest, _ := strings.Cut(try.head, "\r\n")
			w.Say(line + "\r\nHost: gateway.test\r\n" + rest)
			w.Say(try.body + last)
			said, err := w.Rest()
			got := statuses(t, said)
			want := slices.Clone(try.statuses)
			if !try.ends {
				want = append(want, 200)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v, %v, wanted %v: %q", got, err, want, said)
			}
		})
	}
}

func TestWhoSaysCloseIsNotServedMore(t *testing.T) {
	t.Parallel()
	a := newArenaOf(t, "h1")
	for name, head := range map[string]string{"close": "GET /g HTTP/1.1\r\nConnection: close\r\n", "any case": "GET /g HTTP/1.1\r\nconnection: CLOSE\r\n", "in a list": "GET /g HTTP/1.1\r\nConnection: x, close ,y\r\n",
		"in the second field": "GET /g HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close\r\n", "beside keep-alive": "GET /g HTTP/1.1\r\nConnection: keep-alive, close\r\n",
		"HTTP/1.0": "GET /g HTTP/1.0\r\n", "HTTP/1.0 with close": "GET /g HTTP/1.0\r\nConnection: keep-alive, close\r\n", "HTTP/1.0 with Proxy-Connection": "GET /g HTTP/1.0\r\nProxy-Connection: keep-alive\r\n",
		"after a POST": "POST /g HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n", "quoted in HTTP/1.0": "GET /g HTTP/1.0\r\nConnection: \"keep-alive\"\r\n"} {
		t.Run(name, func(t *testing.T) {
			w := a.g.Wire(t)
			w.Say(head + "Host: gateway.test\r\n\r\n" + after + after)
			said, err := w.Rest()
			if got := statuses(t, said); err != nil || !slices.Equal(got, []int{200}) || !strings.Contains(strings.ToLower(said), "connection: close") {
				t.Errorf("got %v, %v: %q", got, err, said)
			}
			_ = w.Close()
			if requests, _ := a.record.take(t); len(requests) != 1 {
				t.Errorf("the backend got %v", requests)
			}
		})
	}
}

// Deadlines hold towards a backend that speaks HTTP/2 as towards one of HTTP/1.1.
func TestDeadlinesHoldTowardsHTTP2(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h2", shortTimes)
	const head = "POST /sink HTTP/1.1\r\nHost: gateway.test\r\n"
	for name, try := range map[string]struct{ text, filler, want string }{
		"a dripped body":            {head + "Content-Length: 1000\r\n\r\n", "x", " 408 "},
		"a dripped chunk size":      {head + chunked + "\r\n\r\n", "0", " 408 "},
		"dripped chunks":            {head + chunked + "\r\n\r\n", "1\r\nx\r\n", " 408 "},
		"dripped trailers":          {head + chunked + "\r\n\r\n0\r\n", "X: y\r\n", " 408 "},
		"half a body":               {head + "Content-Length: 1000\r\n\r\nhalf", "", " 408 "},
		"a silent backend":          {"GET /sleep?for=1h HTTP/1.1\r\nHost: gateway.test\r\n\r\n", "", " 504 "},
		"a CR and no more":          {"\r", "", " 408 "},
		"an empty line and silence": {"\r\n", "", ""},
		"empty lines for ever":      {"", "\r\n", " 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, began := g.Wire(t), time.Now()
			w.Say(try.text)
			if try.filler != "" {
				go drip(w, "", try.filler)
			}
			said, err := w.Rest()
			if took := time.Since(began); took > harness.Slow(2*deadline+slack+linger) {
				t.Errorf("ended after %v, %v", took, err)
			}
			if !strings.Contains(said, try.want) || try.want == "" && said != "" {
				t.Errorf("got %.300q, want%s", said, try.want)
			}
		})
	}
}

func TestARequestThatTookTooLongEndsItsConnection(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		g, _ := web(t, protocol, "timeouts: {stream_idle: 500ms, idle: 1m}")
		for name, rest := range map[string]string{"nothing": "Content-Length: 1000\r\n\r\n", "half": "Content-Length: 1000\r\n\r\nhalf",
			"half a chunk": chunked + "\r\n\r\nff\r\nhalf"} {
			t.Run(name+" to "+protocol, func(t *testing.T) {
				t.Parallel()
				w, began := g.Wire(t), time.Now()
				w.Say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + rest)
				said, err := w.Rest()
				if err != nil || !strings.Contains(said, " 408 ") || !strings.Contains(said, "connection: close") {
					t.Errorf("got %q, %v", said, err)
				}
				if took := time.Since(began); took > harness.Slow(deadline+slack+linger) {
					t.Errorf("ended after %v", took)
				}
			})
		}
	}
}
