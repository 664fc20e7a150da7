package e2e

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// `mirror` of a route: copies of requests go to another backend, whole or not at all, and nothing that becomes of them
// is the caller's business.

func mirroring(t *testing.T, s setup, rest string, main, copies string) *gateway {
	t.Helper()
	s.routes = append(s.routes, route("path: /*", "backend: main, mirror: {backend: copies"+rest+"}"))
	s.backends = append(s.backends, main, copies)
	return start(t, s)
}

// mirrored waits until so many copies were counted for the result.
func (g *gateway) mirrored(t *testing.T, result string, want int) {
	t.Helper()
	series := fmt.Sprintf(`tollgate_mirrored_requests_total{backend="copies",result=%q}`, result)
	waitFor(t, fmt.Sprint(want, " copies ", result), patience, func() bool { return int(g.metric(t, series)) >= want })
	if got := int(g.metric(t, series)); got != want {
		t.Errorf("%d copies %s, want %d", got, result, want)
	}
}

func whole(call backend.Call) bool { return call.BodyComplete }

func TestCopiesAreWhatTheBackendGot(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		for _, down := range []string{"h1", "h2"} {
			t.Run(down+" copied to "+up, func(t *testing.T) {
				t.Parallel()
				main, copies, protocol := httpBackend(t), httpBackend(t), http1
				if up == "h2" {
					copies, protocol = h2cBackend(t), h2
				}
				g := mirroring(t, setup{}, "", http1("main", main.Address), protocol("copies", copies.Address))
				c := g.client(t, down, common().web)
				count := 0
				for _, size := range []int{0, 1, 1000, 64 << 10} {
					for _, known := range []bool{true, false} {
						r := request("POST", fmt.Sprintf("/size/%d/%v", size, known), strings.Repeat("m", size), "X-Custom", "value")
						if !known && size > 0 {
							r.ContentLength = -1
						}
						if seen := c.do(r).echo(t); len(seen.Body) != size {
							t.Fatalf("%d bytes arrived", len(seen.Body))
						}
						method := "POST " + r.URL.Path
						got, want := until(t, copies.Journal, patience, method, whole), main.Journal.Calls(method)[0]
						count++
						g.mirrored(t, "answered", count)
						if got.ReceivedBytes != size || copies.Journal.Count(method) != 1 {
							t.Errorf("%s: %d bytes in %d copies", method, got.ReceivedBytes, copies.Journal.Count(method))
						}
						for _, name := range []string{"X-Custom", "X-Request-Id", "Traceparent", "X-Forwarded-Client-Cert", "X-Forwarded-For"} {
							if a, b := got.Metadata[name], want.Metadata[name]; len(a) != 1 || !reflect.DeepEqual(a, b) {
								t.Errorf("%s: %s %q, the request had %q", method, name, a, b)
							}
						}
					}
				}
				wantStatus(t, c.get("/status/404"), http.StatusNotFound)
				until(t, copies.Journal, patience, "GET /status/404", began)
			})
		}
	}
}

func TestGRPCCallsAreCopiedOnceTheyAreWhole(t *testing.T) {
	t.Parallel()
	main, copies := grpcBackend(t), grpcBackend(t)
	g := start(t, setup{routes: []string{route("grpc: user.UserService/*", "backend: main, mirror: {backend: copies}")},
		backends: []string{h2("main", main.Address), h2("copies", copies.Address)}})
	conn := g.rpc(t, common().web)
	out, err := backend.Invoke(ordering(within(t, patience), "x-echo-a", "1"), conn, login, []byte("hello"))
	if err != nil || string(out) != "hello" {
		t.Fatalf("%q, %v", out, err)
	}
	done := func(call backend.Call) bool { return call.Done }
	if call := until(t, copies.Journal, patience, login, done); call.Received != 1 || call.Code != codes.OK ||
		call.Metadata.Get("x-echo-a")[0] != "1" {
		t.Errorf("copy %+v", call)
	}
	stream, err := backend.Open(within(t, patience), conn, chat)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if err := stream.Send([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Receive(); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if copies.Journal.Count(chat) != 0 {
		t.Error("half a call was copied")
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Errorf("end of the call: %v", err)
	}
	if call := until(t, copies.Journal, patience, chat, done); call.Received != 2 {
		t.Errorf("copy %+v", call)
	}
}

func TestWhatIsNotWholeOrTooLargeIsNotCopied(t *testing.T) {
	t.Parallel()
	main, copies := httpBackend(t), httpBackend(t)
	g := mirroring(t, setup{listener: []string{"limits: {body_bytes: 150KiB}"}}, "", http1("main", main.Address), http1("copies", copies.Address))
	c := g.client(t, "h2", common().web)
	for _, known := range []bool{true, false} { // a byte too much
		r := request("POST", "/sink", strings.Repeat("x", 64<<10+1))
		if !known {
			r.ContentLength = -1
		}
		if got := c.do(r); got.body != fmt.Sprint(64<<10+1) {
			t.Errorf("upload: %+v", got)
		}
	}
	g.mirrored(t, "dropped", 2)
	for _, lines := range []string{ // broken off: in the body, before the trailers
		"Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nX-Sum: 4"} {
		w := g.wire(t, common().web)
		w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\n" + lines)
		until(t, main.Journal, patience, "POST /sink", func(call backend.Call) bool { return call.ReceivedBytes > 0 && call.ReceivedBytes < 10 })
		_ = w.Close()
	}
	g.mirrored(t, "dropped", 4)
	w := g.wire(t, common().web) // refused by what it says it is, before anything is gathered
	w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000000\r\n\r\n")
	wantStatus(t, w.hear("POST"), http.StatusRequestEntityTooLarge)
	w = g.wire(t, common().web) // malformed in the middle
	w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nnonsense\r\n0\r\n\r\n")
	wantStatus(t, w.hear("POST"), http.StatusBadRequest)
	g.mirrored(t, "dropped", 5)
	wantStatus(t, c.get("/marker"), http.StatusOK)
	until(t, copies.Journal, patience, "GET /marker", began)
	if n := copies.Journal.Count(""); n != 1 {
		t.Errorf("copies %+v", copies.Journal.Calls(""))
	}
}

// Refused after its head was forwarded, whatever then still comes of it.
func TestRefusedRequestsAreNotCopied(t *testing.T) {
	t.Parallel()
	main, copies := httpBackend(t), httpBackend(t)
	g := mirroring(t, setup{listener: []string{"limits: {body_bytes: 1KiB}"}}, "", http1("main", main.Address), http1("copies", copies.Address))
	for i, protocol := range []string{"h1", "h2"} {
		r := request("POST", "/sink", strings.Repeat("x", 1025))
		r.ContentLength = -1
		c := g.client(t, protocol, common().web)
		wantStatus(t, c.do(r), http.StatusRequestEntityTooLarge)
		g.mirrored(t, "dropped", i+1)
		wantStatus(t, c.get("/marker"), http.StatusOK)
		g.mirrored(t, "answered", i+1)
	}
	w := g.wire(t, common().web) // the end comes in the same breath
	w.say("POST /sink HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n" + strings.Repeat("x", 1025) + "\r\n0\r\n\r\n")
	wantStatus(t, w.hear("POST"), http.StatusRequestEntityTooLarge)
	g.mirrored(t, "dropped", 3)
	if n := copies.Journal.Count("POST /sink"); n != 0 {
		t.Errorf("%d copies", n)
	}
}

func TestCopiesHaveTheTrailers(t *testing.T) {
	t.Parallel()
	main, copies := httpBackend(t), scripted(t, backend.Good)
	g := mirroring(t, setup{}, "", http1("main", main.Address), http1("copies", copies.Address))
	w := g.wire(t, common().web)
	w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n")
	wantField(t, w.hear("POST").echo(t).Trailers, "x-sum", "42")
	g.mirrored(t, "answered", 1)
	if got := copies.Received(); !strings.HasSuffix(got, "\r\n\r\n1\r\nx\r\n0\r\nx-sum: 42\r\n\r\n") {
		t.Errorf("the copy was %q", got)
	}
}

func TestCallersNeverSeeWhatMirrorsAnswer(t *testing.T) {
	t.Parallel()
	main, copies := httpBackend(t), scripted(t, backend.Good)
	g := mirroring(t, setup{workers: 1}, "", http1("main", main.Address), http1("copies", copies.Address))
	c := g.client(t, "h2", common().web)
	count := func() float64 {
		return g.metric(t, `tollgate_mirrored_requests_total{backend="copies",result="answered"}`) +
			g.metric(t, `tollgate_mirrored_requests_total{backend="copies",result="failed"}`)
	}
	sent := 0
	for name, fault := range backend.Faults {
		copies.Play(fault)
		for range 3 { // the first may take a connection that the fault before left
			got := c.do(request("POST", "/sink", "12345"))
			if got.status != http.StatusOK || got.body != "5" {
				t.Fatalf("%s: %+v", name, got)
			}
			sent++
			waitFor(t, "the copy of "+name+" to end", patience, func() bool { return int(count()) == sent })
		}
	}
}

// Copies that nobody answers are bounded, and callers are none the wiser.
func TestMirrorsThatFailCostCallersNothing(t *testing.T) {
	t.Parallel()
	silent := scripted(t, func(conn *backend.Peer) { _, _ = io.Copy(io.Discard, conn) })
	rude := scripted(t, func(conn *backend.Peer) { _, _ = io.WriteString(conn, "no HTTP at all\r\n\r\n") })
	for _, row := range []struct{ name, address, result string }{
		{"silent", silent.Address, "dropped"},
		{"rude", rude.Address, "failed"},
		{"down", freeAddress(t), "failed"},
		{"not accepting", listenWithoutBacklog(t), "dropped"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			main := httpBackend(t)
			g := mirroring(t, setup{workers: 1}, "", http1("main", main.Address),
				fmt.Sprintf("{name: copies, endpoints: [%q], connect_timeout: 1m}", row.address))
			c := g.client(t, "h2", common().web)
			longest := time.Duration(0)
			for i := range 300 {
				before := time.Now()
				got := c.do(request("POST", "/sink", "12345"))
				longest = max(longest, time.Since(before))
				if got.status != http.StatusOK || got.body != "5" {
					t.Fatalf("request %d: %+v", i, got)
				}
			}
			if longest > slow(5*time.Second) { // a copy is waited for twice as long
				t.Errorf("a request took %v", longest)
			}
			want := map[string]int{"dropped": 300 - 256, "failed": 300}[row.result]
			g.mirrored(t, row.result, want)
			if n := main.Journal.Count(""); n != 300 {
				t.Errorf("%d requests arrived", n)
			}
			g.signal(syscall.SIGTERM)
			if code := g.exitCode(3 * time.Second); code != 0 { // copies do not hold the drain up
				t.Errorf("ended with %d", code)
			}
		})
	}
}

func TestAnswersOfMirrorsAreThrownAway(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		main, copies, name := httpBackend(t), httpBackend(t), http1
		if protocol == "h2" {
			copies, name = h2cBackend(t), h2
		}
		g := mirroring(t, setup{workers: 1}, "", http1("main", main.Address), name("copies", copies.Address))
		c := g.client(t, "h2", common().web)
		wantStatus(t, c.get("/x"), http.StatusOK)
		before := g.memory()
		size := int(40e6 / slowness()) // a copy has ten seconds
		if got := c.get(fmt.Sprint("/big?n=", size)); len(got.body) != size {
			t.Errorf("%d bytes, %v", len(got.body), got.err)
		}
		g.mirrored(t, "answered", 2)
		if grown := g.memory() - before; grown > 16<<20 && !instrumented() {
			t.Errorf("memory grew by %d", grown)
		}
	}
}

func TestAShareOfTheRequestsIsCopied(t *testing.T) {
	t.Parallel()
	main, copies := httpBackend(t), httpBackend(t)
	g := mirroring(t, setup{}, ", share: 0.1", http1("main", main.Address), http1("copies", copies.Address))
	if found := g.client(t, "h2", common().web).ask(shareRequests, "/x"); found[200] != shareRequests {
		t.Fatalf("answers %v", found)
	}
	waitFor(t, "copies to settle", patience, func() bool {
		return copies.Journal.Count("") == int(g.metric(t, `tollgate_mirrored_requests_total{backend="copies",result="answered"}`))
	})
	wantAbout(t, "copies", copies.Journal.Count(""), 100, 57)
}

func TestReloadChangesTheMirror(t *testing.T) {
	t.Parallel()
	main, copies := httpBackend(t), httpBackend(t)
	g := mirroring(t, setup{}, "", http1("main", main.Address), http1("copies", copies.Address))
	c := g.client(t, "h2", common().web)
	wantStatus(t, c.get("/first"), http.StatusOK)
	until(t, copies.Journal, patience, "GET /first", began)
	g.rewrite(t, "backend: main, mirror: {backend: copies}", "backend: copies, mirror: {backend: main}")
	g.reload(t)
	wantStatus(t, c.get("/second"), http.StatusOK)
	until(t, main.Journal, patience, "GET /second", began)
	if copies.Journal.Count("GET /second") != 1 || main.Journal.Count("GET /second") != 1 {
		t.Errorf("calls %v and %v", main.Journal.Calls(""), copies.Journal.Calls(""))
	}
}
