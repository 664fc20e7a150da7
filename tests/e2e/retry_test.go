package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// A route's `retry`: which attempts are followed by another, and what that other gets.

// An act is how an endpoint takes one attempt.
type act func(w http.ResponseWriter, r *http.Request)

// An appearance is one attempt as its endpoint saw it.
type appearance struct {
	endpoint, id string
	header       http.Header
	body         []byte
	trailer      http.Header
	began        time.Time
	whole, left  bool // the body came to its end; nobody waits for an answer any more
}

// A troupe is a backend of real servers that act together: what an attempt meets is by the path, and by how many came
// there before it, whichever endpoint they went to.
type troupe struct {
	addresses []string
	mutex     sync.Mutex
	plays     map[string]func(n int) act
	seen      map[string][]*appearance
	otherwise func() act // where there is no play
}

// newTroupe has so many endpoints, over HTTP/1.1 or h2c.
func newTroupe(t *testing.T, up string, endpoints int) *troupe {
	t.Helper()
	tr := &troupe{plays: map[string]func(int) act{}, seen: map[string][]*appearance{}}
	for range endpoints {
		address := freeAddress(t)
		protocols := new(http.Protocols)
		protocols.SetHTTP1(up == "h1")
		protocols.SetUnencryptedHTTP2(up == "h2")
		server := &http.Server{Addr: address, Protocols: protocols,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tr.appear(address, w, r) })}
		listener := listening(t, address)
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
		waitFor(t, "the endpoint to listen", patience, func() bool {
			answer, err := (&http.Client{Transport: &http.Transport{Protocols: protocols, DisableKeepAlives: true}}).Get("http://" + address + "/up")
			if err == nil {
				_ = answer.Body.Close()
			}
			return err == nil
		})
		tr.addresses = append(tr.addresses, address)
	}
	return tr
}

// listening takes a free address. A process that is just being started may still hold the socket that found it free.
func listening(t *testing.T, address string) (listener net.Listener) {
	t.Helper()
	waitFor(t, "the address", patience, func() bool {
		var err error
		listener, err = net.Listen("tcp", address)
		return err == nil
	})
	return listener
}

func (tr *troupe) appear(address string, w http.ResponseWriter, r *http.Request) {
	one := &appearance{endpoint: address, id: r.Header.Get("X-Request-Id"), header: r.Header, began: time.Now()}
	tr.mutex.Lock()
	n, play := len(tr.seen[r.URL.Path]), tr.plays[r.URL.Path]
	tr.seen[r.URL.Path] = append(tr.seen[r.URL.Path], one)
	if play == nil && tr.otherwise != nil {
		chosen := tr.otherwise()
		play = func(int) act { return chosen }
	}
	tr.mutex.Unlock()
	r.Body = io.NopCloser(io.TeeReader(r.Body, writerFunc(func(data []byte) {
		tr.mutex.Lock()
		defer tr.mutex.Unlock()
		one.body = append(one.body, data...)
	})))
	done := r.Context().Done()
	defer func() {
		tr.mutex.Lock()
		defer tr.mutex.Unlock()
		select {
		case <-done:
			one.left = true
		default:
		}
	}()
	if play != nil && play(n) != nil {
		play(n)(w, r)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	tr.mutex.Lock()
	one.whole, one.trailer = true, r.Trailer
	tr.mutex.Unlock()
	_, _ = io.WriteString(w, address)
}

type writerFunc func(data []byte)

func (f writerFunc) Write(data []byte) (int, error) { f(data); return len(data), nil }

// play tells what attempts at the path meet; those it has no act for are answered well.
func (tr *troupe) play(path string, acts ...act) {
	tr.mutex.Lock()
	defer tr.mutex.Unlock()
	tr.plays[path] = func(n int) act {
		if n < len(acts) {
			return acts[n]
		}
		return nil
	}
}

// at returns copies of the attempts at the path so far.
func (tr *troupe) at(path string) (found []appearance) {
	tr.mutex.Lock()
	defer tr.mutex.Unlock()
	for _, one := range tr.seen[path] {
		found = append(found, *one)
		found[len(found)-1].body = bytes.Clone(one.body)
	}
	return found
}

func answers(status int, pairs ...string) act {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			w.Header().Add(pairs[i], pairs[i+1])
		}
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // or net/http would wait for the body's end first
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "status %d\n", status)
	}
}

func resets(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func keepsSilent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func talksGarbage(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, "this is not HTTP\r\n\r\n")
	_ = conn.Close()
}

func beginsAndResets(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "0123456789")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// after reads so much of the body first.
func after(bytes int, then act) act {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, int64(bytes))
		then(w, r)
	}
}

// backend is the troupe's line of the configuration.
func (tr *troupe) backend(up, rest string) string {
	protocol := map[string]string{"h1": "http1", "h2": "h2"}[up]
	return fmt.Sprintf("{name: web, protocol: %s, endpoints: [%s]%s}", protocol, quoted(tr.addresses), rest)
}

// repeating is a gateway of one worker in front of a troupe of two, whose one route repeats as told.
func repeating(t *testing.T, up, retry string) (*gateway, *troupe) {
	t.Helper()
	tr := newTroupe(t, up, 2)
	return start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{tr.backend(up, "")},
		routes: []string{route("path: /*", "backend: web, retry: "+retry)}}), tr
}

// everyProtocol runs the check for h1 and h2 before and behind the gateway.
func everyProtocol(t *testing.T, check func(t *testing.T, down, up string)) {
	t.Helper()
	for _, up := range []string{"h1", "h2"} {
		for _, down := range []string{"h1", "h2"} {
			t.Run(down+" to "+up, func(t *testing.T) {
				t.Parallel()
				check(t, down, up)
			})
		}
	}
}

func (g *gateway) retries(t *testing.T, endpoint, cause string) int {
	t.Helper()
	return int(g.metric(t, fmt.Sprintf("tollgate_upstream_retries_total{backend=\"web\",endpoint=%q,cause=%q}", endpoint, cause)))
}

type retryRow struct {
	name, on, method, more string
	act                    act
	repeated               bool
	status                 int // where it is not repeated; 0: broken off
	cause                  string
}

var retryRows = []retryRow{
	{"502", "502", "GET", "", answers(502), true, 0, "retriable_status"},
	{"503", "503", "GET", "", answers(503), true, 0, "retriable_status"},
	{"504", "504", "HEAD", "", answers(504), true, 0, "retriable_status"},
	{"429", "429", "DELETE", "", answers(429), true, 0, "retriable_status"},
	{"any number", "500, 418", "PUT", "", answers(418), true, 0, "retriable_status"},
	{"503 unlisted", "502, 504, reset", "GET", "", answers(503), false, 503, ""},
	{"404 unlisted", "502, 503", "GET", "", answers(404), false, 404, ""},
	{"503 of a POST", "503", "POST", "", answers(503), false, 503, ""},
	{"503 of a PATCH", "503", "PATCH", "", answers(503), false, 503, ""},
	{"503 of a POST that may", "503", "POST", ", non_idempotent: true", answers(503), true, 0, "retriable_status"},
	{"reset of a POST", "reset", "POST", "", resets, false, 502, ""},
	{"reset of a POST that may", "reset", "POST", ", non_idempotent: true", resets, true, 0, ""},
	{"reset of a PUT", "reset", "PUT", "", resets, true, 0, ""},
	{"reset unlisted", "503", "POST", ", non_idempotent: true", resets, false, 502, ""},
	{"silence", "timeout", "GET", ", per_try_timeout: 500ms", keepsSilent, true, 0, "per_try_timeout"},
	{"silence unlisted", "503", "GET", ", per_try_timeout: 500ms", keepsSilent, false, 504, ""},
	{"silence of a POST", "timeout", "POST", ", per_try_timeout: 500ms", keepsSilent, false, 504, ""},
	{"begun", "reset, 503", "GET", "", beginsAndResets, false, 0, ""},
	{"gRPC's words for HTTP", "unavailable", "GET", "", answers(503), false, 503, ""},
}

func TestWhatIsRepeatedAndWhatIsNot(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		tr := newTroupe(t, up, 2)
		rows := retryRows
		if up == "h1" {
			rows = append([]retryRow{{"garbage", "reset", "GET", "", talksGarbage, true, 0, "backend_protocol_error"},
				{"garbage unlisted", "503", "GET", "", talksGarbage, false, 502, ""}}, rows...)
		}
		var routes []string
		for i, row := range rows {
			routes = append(routes, route(fmt.Sprintf("path: /%d", i),
				fmt.Sprintf("backend: web, retry: {on: [%s]%s, backoff: 5ms}", row.on, row.more)))
		}
		g := start(t, setup{workers: 1, top: []string{accessLog}, routes: routes, backends: []string{tr.backend(up, "")}})
		c := g.client(t, down, common().web)
		for i, row := range rows {
			t.Run(row.name, func(t *testing.T) { row.check(t, g, tr, c, fmt.Sprintf("/%d", i)) })
		}
	})
}

func (row retryRow) check(t *testing.T, g *gateway, tr *troupe, c *client, path string) {
	tr.play(path, row.act)
	body := map[bool]string{true: "body", false: ""}[strings.HasPrefix(row.method, "P")]
	got := c.do(request(row.method, path, body))
	seen := tr.at(path)
	if row.repeated {
		wantStatus(t, got, 200)
		if len(seen) != 2 || seen[0].endpoint == seen[1].endpoint || seen[0].id != seen[1].id || seen[0].id == "" ||
			string(seen[1].body) != body || !seen[1].whole {
			t.Fatalf("attempts: %+v", seen)
		}
		if row.cause != "" && g.retries(t, seen[0].endpoint, row.cause) == 0 {
			t.Errorf("%s is not counted", row.cause)
		}
	} else if len(seen) != 1 || row.status != 0 && got.status != row.status || row.status == 0 && got.err == nil {
		t.Errorf("status %d, %v, attempts %+v", got.status, got.err, seen)
	}
	if retries := g.accessOf(t, path).number("retries"); int(retries) != len(seen)-1 {
		t.Errorf("access log: %v retries of %d attempts", retries, len(seen))
	}
}

func TestTriesAreCountedAndTheLastAnswerIsPassedOnUnchanged(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		for tries := 2; tries <= 4; tries++ {
			g, tr := repeating(t, up, fmt.Sprintf("{tries: %d, backoff: 0s}", tries))
			var acts []act
			for i := range 5 {
				acts = append(acts, answers(503, "X-Number", fmt.Sprint(i), "X-Twice", "a", "X-Twice", "b"))
			}
			tr.play("/x", acts...)
			got := g.client(t, down, common().web).get("/x")
			wantStatus(t, got, 503)
			if n := len(tr.at("/x")); n != tries || got.header.Get("X-Number") != fmt.Sprint(tries-1) ||
				len(got.header["X-Twice"]) != 2 || got.body != "status 503\n" {
				t.Errorf("%d of %d attempts, answer %+v", n, tries, got)
			}
			if line := g.accessOf(t, "/x"); int(line.number("retries")) != tries-1 || line.number("status") != 503 {
				t.Errorf("access log: %v", line.fields)
			}
			if n := g.metric(t, `tollgate_requests_total{listener="edge",route="/*",protocol="`+map[string]string{"h1": "http1", "h2": "http2"}[down]+`",code="503"}`); n != 1 {
				t.Errorf("%v requests are counted", n)
			}
		}
	})
}

// An HTTP/2 endpoint whose bytes are none of HTTP/2.
func TestGarbageOverHTTP2IsRepeatedElsewhere(t *testing.T) {
	t.Parallel()
	tr := newTroupe(t, "h2", 1)
	mad := scripted(t, func(p *backend.Peer) {
		_, _ = p.Reader.ReadByte()
		p.Say("%s", strings.Repeat("this is not HTTP/2 at all\r\n", 10))
		p.Hang()
	})
	tr.addresses = append(tr.addresses, mad.Address)
	g := start(t, setup{workers: 1, backends: []string{tr.backend("h2", "")},
		routes: []string{route("path: /*", "backend: web, retry: {on: [reset], backoff: 0s}")}})
	c := g.client(t, "h2", common().web)
	for range 6 {
		wantStatus(t, c.get("/x"), 200)
	}
}
