package hostile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

func TestTheUnreadBodyOfARefusedRequestIsNeverARequest(t *testing.T) {
	t.Parallel()
	record := &recorder{}
	back := harness.Must(backend.StartScripted("127.0.0.1:0", record.script))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Routes: []string{
		harness.Route("path: /shut/*", `backend: web, allow: ["spiffe://cluster.local/ns/none/*"]`),
		harness.Route("path: /limited/*", "backend: web, rate_limits: [{rate: 1/h, burst: 1}]"),
		harness.Route("path: /after", "backend: web")},
		Listener: []string{"limits: {body_bytes: 100KiB}"}, Backends: []string{harness.HTTP1("web", back.Address)}})
	if got := harness.Get(g.Client(t, "h1"), "/limited/x"); got.Status != 200 { // takes the one token
		t.Fatalf("got %+v", got)
	}
	record.take(t)
	smuggled := strings.Repeat("GET /after?smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n", 20)
	for path, status := range map[string]int{"/shut/x": 403, "/limited/x": 429, "/nowhere": 404} {
		for name, rest := range map[string]string{
			"by length":          fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
			"by chunks":          fmt.Sprintf("%s\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", chunked, len(smuggled), smuggled),
			"then broken chunks": fmt.Sprintf("%s\r\n\r\n%x\r\n%s\r\nzz\r\n%s", chunked, len(smuggled), smuggled, smuggled),
			"too long":           "Content-Length: 400000\r\n\r\n" + strings.Repeat(smuggled, 500)[:400000],
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				w := g.Wire(t)
				go w.Say("POST " + path + " HTTP/1.1\r\nHost: gateway.test\r\n" + rest + after)
				if got := w.Hear("POST"); got.Status != status && (name != "too long" || got.Status != 413) {
					t.Errorf("got %+v", got)
				}
				if strings.HasPrefix(name, "by") {
					if got := w.Hear("GET"); got.Err == nil && got.Status != 200 {
						t.Errorf("after it: %+v", got)
					}
				} else if rest, _ := w.Rest(); strings.Contains(rest, " 200 OK") && name != "too long" {
					t.Errorf("after it: %q", rest)
				}
				_ = w.Close()
				requests, _ := record.take(t)
				for _, r := range requests {
					if r.target != "/after" {
						t.Errorf("reached the backend: %v", requests)
					}
				}
			})
		}
	}
}

func TestPipelinesStayInOrderThroughRefusals(t *testing.T) {
	t.Parallel()
	record := &recorder{}
	back := harness.Must(backend.StartScripted("127.0.0.1:0", record.script))
	t.Cleanup(back.Stop)
	g := harness.Start(t, harness.Setup{Routes: []string{
		harness.Route("path: /pass/*", "backend: web"),
		harness.Route("path: /here", `respond: {status: 200, body: "here"}`)},
		Backends: []string{harness.HTTP1("web", back.Address)}})
	const host = " HTTP/1.1\r\nHost: gateway.test\r\n"
	one := "GET /pass/a" + host + "\r\n" + "GET /nowhere" + host + "\r\n" + "GET /here" + host + "\r\n" +
		"HEAD /pass/b" + host + "\r\n" + "POST /here" + host + chunked + "\r\n\r\n1\r\nx\r\n0\r\n\r\n"
	w := g.Wire(t)
	go w.Say(strings.Repeat(one, 50))
	for i := range 50 {
		for _, want := range []struct {
			method, body string
			status       int
		}{{"GET", "ok", 200}, {"GET", "", 404}, {"GET", "here", 200}, {"HEAD", "", 200}, {"POST", "here", 200}} {
			got := w.Hear(want.method)
			if got.Err != nil || got.Status != want.status || want.status == 200 && got.Body != want.body {
				t.Fatalf("round %d, wanted %+v, got %+v", i, want, got)
			}
		}
	}
}

func TestEverySpellingOfAShutPathIsShut(t *testing.T) {
	t.Parallel()
	back := harness.Must(backend.StartHTTP("127.0.0.1:0", false))
	t.Cleanup(back.Stop)
	shut := harness.Start(t, harness.Setup{Routes: []string{
		harness.Route("path: /admin/*", `backend: web, allow: ["spiffe://cluster.local/ns/none/*"]`),
		harness.Route("path: /admin", `backend: web, allow: ["spiffe://cluster.local/ns/none/*"]`),
		harness.Route("path: /*", "backend: web")}, Backends: []string{harness.HTTP1("web", back.Address)}})
	for _, path := range []string{"/admin/x", "/admin", "//admin/x", "/./admin/x", "/x/../admin/x", "/admin//x", "/admin/./x", "/%61dmin/x",
		"/%61%64%6d%69%6e/x", "/admin%2fx", "/admin%2Fx", "/admin%5cx", `/admin\x`, `\admin/x`, "/x/%2e%2e/admin/x", "/%2e/admin/x", "/x%2f..%2fadmin/x",
		"/x/..%2fadmin/x", "/x/.%2e/admin/x", "/admin;a=b/x", "/admin/x;a=b", "/;/admin/x", "/x/..;/admin/x", "/admin%00/x", "/admin%20/x/../../admin/x",
		"http://gateway.test/admin/x", "https://gateway.test//admin/x", "http://other.test/admin/x", "HTTP://gateway.test/%61dmin/x", "/admin?x", "/admin/?x",
		"/admin/x#y", "/../admin/x", "/x/../../admin/x", "/admin/x?/../../open", "/%2561dmin/x/../../admin/x", "/admin/%2e%2e/admin/x", "/%c0%ae/admin/x",
		"/a/b/../../admin/x", "/a//../admin/x", "/%252e%252e/../admin/x"} {
		t.Run(path, func(t *testing.T) {
			w := shut.Wire(t)
			w.Say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
			got := w.Hear("GET")
			if got.Err != nil || got.Status != 403 && got.Status != 400 {
				for _, call := range back.Journal.Calls("") { // passed on as a path that is none of the shut ones?
					if strings.HasPrefix(call.Method, "GET /admin/") || call.Method == "GET /admin" {
						t.Errorf("%d: the backend saw %s", got.Status, call.Method)
					}
				}
			}
			back.Journal.Reset()
		})
	}
}

func TestAnUploadWhoseClientLeavesNeverLooksComplete(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	for name, rest := range map[string]string{"by length": "Content-Length: 100\r\n\r\nhalf", "no byte of a length": "Content-Length: 100\r\n\r\n",
		"by chunks": chunked + "\r\n\r\n4\r\nhalf\r\n", "in a chunk": chunked + "\r\n\r\nff\r\nhalf", "before the last line": chunked + "\r\n\r\n4\r\nhalf\r\n0\r\n",
		"in trailers": chunked + "\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n"} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", reset ", reset), func(t *testing.T) {
				w := a.g.Wire(t)
				w.Say("POST /p HTTP/1.1\r\nHost: gateway.test\r\n" + rest)
				harness.WaitFor(t, "the head to arrive", 5*time.Second, func() (begun bool) {
					a.record.change(func() { begun = a.record.reading > 0 })
					return begun
				})
				if reset {
					_ = w.NetConn().Close()
				} else {
					_ = w.Close()
				}
				if requests, broken := a.record.take(t); len(requests) > 0 || broken != 1 {
					t.Errorf("the backend got %v and %d broken ones", requests, broken)
				}
			})
		}
	}
}

func TestExpectIsAnsweredOnceAndNeverMisleads(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	w := a.g.Wire(t)
	w.Say(post("Expect: 100-continue\r\nContent-Length: 5", ""))
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := w.Reader.ReadString('\n'); err != nil || line != want {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	w.Say("12345" + after)
	for _, method := range []string{"POST", "GET"} {
		if got := w.Hear(method); got.Status != 200 {
			t.Errorf("got %+v", got)
		}
	}
}
