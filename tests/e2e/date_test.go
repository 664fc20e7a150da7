package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// RFC 9110, 6.6.1: answers have a Date, by the time whoever passes them on if their server gave none.

func wantDate(t *testing.T, what string, dates []string) {
	t.Helper()
	if len(dates) != 1 {
		t.Errorf("%s: dates %q", what, dates)
		return
	}
	told, err := time.Parse(http.TimeFormat, dates[0])
	if off := time.Since(told); err != nil || off < -2*time.Second || off > slow(10*time.Second) {
		t.Errorf("%s: %q, %v", what, dates[0], err)
	}
}

func TestAnswersHaveADate(t *testing.T) {
	t.Parallel()
	const theirs = "Sun, 06 Nov 1994 08:49:37 GMT"
	back := scripted(t, func(p *backend.Peer) {
		for r := p.Request(); r != nil; r = p.Request() {
			switch r.URL.Path {
			case "/theirs":
				p.Say("HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", theirs)
			case "/hints":
				p.Say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			case "/nonsense":
				p.Say("nonsense\r\n\r\n")
				return
			default:
				p.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	})
	g := start(t, setup{backends: []string{http1("web", back.Address)}, routes: []string{
		route("path: /fixed", "respond: {status: 200}"), route("path: /moved", "redirect: {path: /x}"),
		route("path: /limited", "respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 1}]"),
		route("path: /others", `respond: {status: 200}, allow: ["spiffe://cluster.local/x"]`),
		route("path: /undated", "backend: web, response_headers: {remove: [date]}"),
		route("path: /*", "backend: web")}})
	g.client(t, "h1", common().web).get("/limited")
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		for path, status := range map[string]int{"/fixed": 200, "/moved": 302, "/limited": 429, "/others": 403, "/%2f": 400,
			"/nonsense": 502, "/plain": 200, "/hints": 200} {
			got := c.get(path)
			wantStatus(t, got, status)
			wantDate(t, protocol+" "+path, got.header.Values("Date"))
		}
		if got := c.get("/theirs"); got.header.Get("Date") != theirs || len(got.header.Values("Date")) != 1 {
			t.Errorf("%s: %+v", protocol, got)
		}
		if got := c.get("/undated"); len(got.header.Values("Date")) != 0 {
			t.Errorf("%s: %+v", protocol, got)
		}
		none := g.client(t, protocol, nil).get("/fixed")
		wantStatus(t, none, 403)
		wantDate(t, protocol+" without a certificate", none.header.Values("Date"))
	}
	answer, err := http.Get("http://" + g.admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	wantDate(t, "admin", answer.Header.Values("Date"))
}

func TestCallsHaveADate(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "rate_limits: [{rate: 1/h, burst: 1}]")
	conn := g.rpc(t, common().web)
	for _, want := range []codes.Code{codes.OK, codes.ResourceExhausted} {
		var header, trailer metadata.MD
		_, err := backend.Invoke(context.Background(), conn, login, []byte("x"), grpc.Header(&header), grpc.Trailer(&trailer))
		wantCode(t, err, want)
		wantDate(t, want.String(), append(header.Get("date"), trailer.Get("date")...))
	}
}
