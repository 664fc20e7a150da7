package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"tollgate/tests/backend"
)

// A pairing is a protocol before and behind the gateway.
type pairing struct {
	name, down string
	g          *gateway
	back       *backend.HTTP
}

func (p pairing) client(t *testing.T) *client {
	t.Helper()
	return p.g.client(t, p.down, common().web)
}

// everyPairing runs the check for h1→h1, h1→h2, h2→h1 and h2→h2.
func everyPairing(t *testing.T, check func(t *testing.T, p pairing)) {
	t.Helper()
	for _, up := range []string{"h1", "h2"} {
		for _, down := range []string{"h1", "h2"} {
			name := down + " to " + up
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g, back := web(t, up)
				check(t, pairing{name, down, g, back})
			})
		}
	}
}

// web starts a gateway with one HTTP backend of the protocol, and every path leading there.
func web(t *testing.T, up string, more ...string) (*gateway, *backend.HTTP) {
	t.Helper()
	back, name := httpBackend(t), http1
	if up == "h2" {
		back, name = h2cBackend(t), h2
	}
	rest := strings.Join(append([]string{"backend: web"}, more...), ", ")
	return start(t, setup{routes: []string{route("path: /*", rest)}, backends: []string{name("web", back.Address)}}), back
}

func TestRequestsAndAnswersPass(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		c := p.client(t)
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			body := map[bool]string{true: "", false: "body of " + method}[method == "GET"]
			got := c.do(request(method, "/some/path?with=query&and=%20more", body, "X-Custom", "value"))
			seen := got.echo(t)
			if seen.Method != method || seen.Target != "/some/path?with=query&and=%20more" ||
				string(seen.Body) != body || seen.Headers.Get("X-Custom") != "value" || seen.Host != "gateway.test" {
				t.Errorf("backend saw %+v", seen)
			}
		}
	})
}

func TestBodiesPassUnchanged(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		c := p.client(t)
		for _, size := range []int{0, 1, 100, 65535, 65536, 1 << 20, 20 << 20} {
			got := c.get(fmt.Sprint("/big?n=", size))
			if got.err != nil || got.body != strings.Repeat("b", size) {
				t.Errorf("download of %d came as %d bytes, %v", size, len(got.body), got.err)
			}
		}
		for _, size := range []int{1, 65536, 8 << 20} {
			for _, known := range []bool{true, false} {
				r := request("POST", "/sink", strings.Repeat("u", size))
				if !known {
					r.ContentLength = -1
				}
				if got := c.do(r); got.err != nil || got.body != fmt.Sprint(size) {
					t.Errorf("upload of %d, length known %v: %q, %v", size, known, got.body, got.err)
				}
			}
		}
	})
}

func TestEchoOfLargeBodyIsTheSameBytes(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		var body strings.Builder
		for i := range 200000 {
			fmt.Fprintln(&body, i)
		}
		got := p.client(t).do(request("POST", "/trailers", body.String()))
		if sha256.Sum256([]byte(got.body)) != sha256.Sum256([]byte(body.String())) {
			t.Errorf("%d bytes came back as %d, %v", body.Len(), len(got.body), got.err)
		}
		if got.trailer.Get("X-Sum") != "42" || got.trailer.Get("X-Late") != "yes" {
			t.Errorf("trailers %v", got.trailer)
		}
	})
}

func TestRequestTrailersPass(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		r := request("POST", "/echo", "body")
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Checksum": {"abc"}}
		if seen := p.client(t).do(r).echo(t); seen.Trailers.Get("X-Checksum") != "abc" {
			t.Errorf("backend saw trailers %v", seen.Trailers)
		}
	})
}

func TestStreamedAnswersAreNotHeldBack(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		answer, err := p.client(t).Get("https://gateway.test/stream?n=3&size=5&gap=1m")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		first := make([]byte, 5) // the second piece comes a minute later
		if _, err := io.ReadFull(answer.Body, first); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnswersWithoutBody(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		c := p.client(t)
		for range 2 { // the second round shows that the connection was left in order
			head := c.do(request("HEAD", "/big?n=12345", ""))
			wantStatus(t, head, http.StatusOK)
			if head.body != "" || head.header.Get("Content-Length") != "12345" {
				t.Errorf("HEAD: %q, %v", head.body, head.header)
			}
			for _, status := range []int{204, 304} {
				got := c.get(fmt.Sprint("/status/", status))
				wantStatus(t, got, status)
				if got.body != "" || got.header.Get("X-Answer") != "status" {
					t.Errorf("%d: %q, %v", status, got.body, got.header)
				}
			}
			for _, status := range []int{200, 201, 302, 400, 404, 418, 500, 503} {
				got := c.get(fmt.Sprint("/status/", status))
				wantStatus(t, got, status)
				if want := fmt.Sprintf("status %d\n", status); got.body != want {
					t.Errorf("%d: %q", status, got.body)
				}
			}
		}
	})
}

func TestEarlyHintsPass(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		var hints []string
		r := request("GET", "/hints", "")
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, " ", header.Get("Link")))
				return nil
			}}))
		got := p.client(t).do(r)
		wantStatus(t, got, http.StatusOK)
		if len(hints) != 1 || hints[0] != "103 </style.css>; rel=preload" || got.body != "hinted\n" {
			t.Errorf("hints %q, body %q", hints, got.body)
		}
	})
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run("to "+up, func(t *testing.T) {
			t.Parallel()
			g, _ := web(t, up)
			w := g.wire(t, common().web)
			w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
			// The body is withheld until the gateway, or the backend through it, asks for it.
			if line, err := w.reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
				t.Fatalf("got %q, %v", line, err)
			}
			if line, _ := w.reader.ReadString('\n'); line != "\r\n" {
				t.Fatalf("after the 100: %q", line)
			}
			w.say("12345")
			if got := w.hear("POST"); got.body != "5" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	w := g.wire(t, common().web)
	var pipeline strings.Builder
	for i := range 20 {
		path := fmt.Sprint("/echo/", i)
		if i%5 == 0 {
			path = fmt.Sprintf("/sleep?for=%dms", 50-i) // the slow ones must not be overtaken
		}
		fmt.Fprintf(&pipeline, "POST %s HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 4\r\n\r\nbody", path)
	}
	w.say(pipeline.String())
	for i := range 20 {
		got := w.hear("POST")
		if i%5 == 0 {
			if got.body != "slept\n" {
				t.Fatalf("answer %d is %+v", i, got)
			}
		} else if seen := got.echo(t); seen.Target != fmt.Sprint("/echo/", i) || string(seen.Body) != "body" {
			t.Fatalf("answer %d is to %q", i, seen.Target)
		}
	}
}

func TestConnectionsAreKeptAlive(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		c := p.client(t)
		for range 50 {
			wantStatus(t, c.get("/x"), http.StatusOK)
		}
		if n := c.connections(); n != 1 {
			t.Errorf("client needed %d connections", n)
		}
		if n := p.back.Wire.Accepted.Load(); n > 2 {
			t.Errorf("gateway needed %d connections for requests one after the other", n)
		}
	})
}

func TestHTTP10AndCloseAreHonoured(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	for _, head := range []string{"GET /stream HTTP/1.0\r\nHost: gateway.test\r\n\r\n",
		"GET /stream HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n"} {
		w := g.wire(t, common().web)
		w.say(head)
		if got := w.hear("GET"); got.err != nil || got.body != "xxx" {
			t.Errorf("%q: %+v", head, got)
		}
		if !w.closed() {
			t.Errorf("%q: connection stays open", head)
		}
	}
}

func TestHalfAnUploadNeverLooksComplete(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		for name, head := range map[string]string{"by length": "Content-Length: 100\r\n\r\nonly this",
			"by chunks": "Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"} {
			t.Run(name+" to "+up, func(t *testing.T) {
				t.Parallel()
				g, back := web(t, up)
				w := g.wire(t, common().web)
				w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + head)
				until(t, back.Journal, patience, "POST /sink", func(c backend.Call) bool { return c.ReceivedBytes == 9 })
				_ = w.Close()
				call := until(t, back.Journal, patience, "POST /sink", func(c backend.Call) bool { return c.Done })
				if call.BodyComplete || call.BodyError == "" {
					t.Errorf("backend took the body as complete: %+v", call)
				}
			})
		}
	}
}
