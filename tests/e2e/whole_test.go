package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// A short life of one gateway with a little of everything: what tools that are slow and see everything look at.
func TestOneLifeWithALittleOfEverything(t *testing.T) {
	t.Parallel()
	users, back, modern := grpcBackend(t), httpBackend(t), h2cBackend(t)
	g := start(t, setup{drain: "30s", top: []string{"access_log: {path: access.jsonl}"}, routes: []string{
		route("grpc: user.UserService/Login", "backend: users, rate_limits: [{rate: 1/h, burst: 3, per: [identity, method]}]"),
		route("grpc: user.UserService/*", "backend: users"),
		route("path: /private/*", `backend: web, allow: ["spiffe://cluster.local/ns/other/*"]`),
		route("path: /ws", "backend: web, upgrade: [websocket]"),
		route("path: /h2/*", "backend: modern"),
		marked("path: /mark", "old"),
		route("path: /*", "backend: web")},
		backends: []string{h2("users", users.Address), http1("web", back.Address), h2("modern", modern.Address)}})

	t.Run("requests", func(t *testing.T) {
		for _, protocol := range []string{"h1", "h2"} {
			c := g.client(t, protocol, common().web)
			for _, path := range []string{"/echo", "/h2/echo", "/big?n=300000", "/trailers", "/status/204"} {
				if got := c.get(path); got.err != nil || got.status/100 != 2 && got.status != http.StatusNotFound {
					t.Errorf("%s %s: %+v", protocol, path, got)
				}
			}
			wantStatus(t, c.do(request("POST", "/echo", strings.Repeat("x", 100000))), http.StatusOK)
		}
		ws, err := g.websocket(t)
		if err != nil {
			t.Fatal(err)
		}
		_ = ws.Close()
	})
	conn := g.rpc(t, common().web)
	t.Run("calls", func(t *testing.T) {
		wantPasses(t, "Login", passes(t, conn, 5, login), 3)
		stream := openStream(t, within(t, patience), conn, chat)
		for i := range 3 {
			send(t, stream, fmt.Sprint(i))
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
		}
		_ = stream.CloseSend()
		if _, err := stream.Receive(); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		stranger := newRoot("a stranger").svid(webID)
		for _, protocol := range []string{"h1", "h2"} {
			wantRefusal(t, g.client(t, protocol, nil).get("/x"), http.StatusForbidden, "certificate_missing")
			wantRefusal(t, g.client(t, protocol, stranger).get("/x"), http.StatusForbidden, "certificate_untrusted")
			wantRefusal(t, g.client(t, protocol, common().web).get("/private/x"), http.StatusForbidden, "route_not_allowed")
		}
		w := g.wire(t, common().web)
		w.say("GET / HTTP/1.1\r\nbroken\r\n\r\n")
		wantStatus(t, w.hear("GET"), http.StatusBadRequest)
		_, _ = io.WriteString(g.dialTCP(t), "no TLS at all\r\n\r\n")
	})
	t.Run("reload", func(t *testing.T) {
		g.rewrite(t, `body: "old"`, `body: "new"`)
		g.reload(t)
		waitFor(t, "the new configuration", patience, func() bool {
			return g.client(t, "h2", common().web).get("/mark").body == "new"
		})
		g.rewrite(t, "version: tollgate/v1", "version: none")
		if status, _ := g.post(t, "/reload"); status/100 == 2 {
			t.Error("a bad configuration was taken")
		}
		for _, page := range []string{"/metrics", "/config", "/certificates", "/limits", "/"} {
			if status, _ := g.adminGet(page); status != http.StatusOK {
				t.Errorf("%s: %d", page, status)
			}
		}
	})
	t.Run("drain", func(t *testing.T) {
		stream := openStream(t, within(t, patience), conn, chat)
		send(t, stream, "before")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
		g.signal(syscall.SIGTERM)
		g.refusesConnections(t)
		send(t, stream, "after")
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
		_ = stream.CloseSend()
		_, _ = stream.Receive()
	})
}
