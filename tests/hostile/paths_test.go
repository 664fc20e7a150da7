package hostile

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Paths that some server takes for /admin/x: dots, slashes, escapes, parameters, and more than one of them.
func spellings() (all []string) {
	all = []string{"/admin/x", "/admin/x?y", "/admin/x;y", "/admin;y/x", "/admin/;y/x", "//admin/x", "///admin///x", "/./admin/./x", "/b/../admin/x", "/b/c/../../admin/x", "/admin/b/../x", "/admin/x/.", "/admin/x/..", "/admin/x/", "/admin/",
		"/admin", "/admin/x/b/../..", "/admin//x", "/admin/x//", "/;/admin/x", "/b;c/../admin/x", "/.;/admin/x", "/..;/admin/x", "/b/..;/admin/x", "/b/..;c/admin/x", "/b/.;/../admin/x", `/admin\x`, `\admin\x`, `/b\..\admin\x`, `/b/..\admin/x`,
		"/admin%2fx", "/admin%2Fx", "/%2fadmin/x", "/b%2f..%2fadmin/x", "/b/..%2fadmin/x", "/b/%2e%2e/admin/x", "/b/%2E%2E/admin/x", "/b/.%2e/admin/x", "/b/%2e./admin/x", "/%2e/admin/x", "/b/%2e%2e%2fadmin/x", "/b%5c..%5cadmin/x", "/admin%5cx",
		"/admin%5Cx", "/%5cadmin/x", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/%61%64%6D%69%6E/x", "/admin/%78", "/admi%6e/x", "/%61dmin;%62/x", "/admin%3bx/x", "/admin%3Bx", "/admin%00/x", "/admin/x%00", "/admin/%00/../x", "/admin%0a/x", "/admin%0d%0a/x",
		"/admin%09/x", "/%c0%aeadmin/x", "/b/%c0%ae%c0%ae/admin/x", "/b%c0%afadmin/x", "/b/..%c0%afadmin/x", "/admin%c0%afx", "/%e0%80%afadmin/x", "/admin%e0%80%afx", "/b/%e0%80%ae%e0%80%ae/admin/x", "/b/..%c1%9cadmin/x", "/admin%u002fx", "/b/%u002e%u002e/admin/x",
		"/%", "/admin%/x", "/admin%2/x", "/admin%zz/x", "/../admin/x", "/b/../../admin/x", "/%2e%2e/admin/x", "/admin#/x", "/admin/x#y", "/admin?/../b", "/b?/../admin/x", "/admin/../admin/x", "/admin/%2e/x", "/admin/b/%2e%2e/x", "/admin%20/../admin/x",
		"/admin /x", "/admin%7f/x", "/admin\x00/x", "/\xc0\xae\xc0\xae/admin/x", "/b/\xc0\xae\xc0\xae/admin/x", "/admin/x/%2e%2e/%2e%2e/admin/x", "/b/;/../admin/x", "/b/;c=d/../../admin/x", "/b//../admin/x", "/b/.//../admin/x"}
	for _, form := range []string{"http://gateway.test", "https://gateway.test", "HTTP://GATEWAY.TEST", "http://other.test:80", "http://gateway.test/"} {
		all = append(all, form+"/admin/x", form+"//admin/x", form+"/b/../admin/x", form+"/%61dmin/x", form+"/admin;y/x")
	}
	return all
}

// means is the path that a target stands for: parameters off, decoded, dots resolved.
func means(target string) string {
	target, _, _ = strings.Cut(target, "?")
	var segments []string
	for segment := range strings.SplitSeq(target, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		segments = append(segments, segment)
	}
	joined := strings.Join(segments, "/")
	if decoded, err := url.PathUnescape(joined); err == nil {
		joined = decoded
	}
	return path.Clean("/" + strings.ReplaceAll(joined, `\`, "/"))
}

func isAdmin(target string) bool {
	return means(target) == "/admin" || strings.HasPrefix(means(target), "/admin/")
}

func TestNoSpellingEscapesAllowOrLimit(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{`allow: ["spiffe://cluster.local/ns/none/*"]`, "rate_limits: [{rate: 1/h, burst: 1}]"} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(rule[:5]+" to "+protocol, func(t *testing.T) {
				t.Parallel()
				record := &recorder{}
				script, line := record.script, harness.HTTP1
				if protocol == "h2" {
					script, line = record.scriptH2, harness.H2
				}
				back := harness.Must(backend.StartScripted("127.0.0.1:0", script))
				t.Cleanup(back.Stop)
				a := arena{harness.Start(t, harness.Setup{Backends: []string{line("web", back.Address)}, Routes: []string{harness.Route("path: /admin/*", "backend: web, "+rule),
					harness.Route("path: /admin", "backend: web, "+`allow: ["spiffe://cluster.local/ns/none/*"]`), harness.Route("path: /*", "backend: web")}}), record}
				harness.Get(a.g.Client(t, "h1"), "/admin/x") // the one token
				record.take(t)
				for _, target := range spellings() {
					t.Run(target, func(t *testing.T) { a.spelt(t, target) })
				}
			})
		}
	}
}

// spelt asks for the target over HTTP/1.1, and over HTTP/2 where it is no absolute form; what passes is not /admin.
func (a arena) spelt(t *testing.T, target string) {
	t.Helper()
	w := a.g.Wire(t)
	w.Say("GET " + target + " HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
	got := []int{w.Hear("GET").Status}
	_ = w.Close()
	if target[0] == '/' {
		s := open(t, a.g)
		s.get(1, target)
		answer, status := s.await(1), 0
		_, _ = fmt.Sscan(answer.value(":status"), &status)
		if answer.reset != nil {
			status = 400
		}
		got = append(got, status)
		_ = s.conn.Close()
	}
	requests, _ := a.record.take(t)
	for _, r := range requests {
		if isAdmin(r.target) {
			t.Errorf("the backend got %v", r)
		}
	}
	for _, status := range got {
		if status != 200 && status != 400 && status != 403 && status != 429 {
			t.Errorf("got %v, and the backend %v", got, requests)
		}
	}
}
