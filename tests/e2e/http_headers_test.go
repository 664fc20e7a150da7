package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

// What the backend is told about the client, and what is not passed on.

func TestIdentityHeaderIsThereExactlyOnce(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		c := p.client(t)
		for range 3 { // on every request of a connection
			seen := c.do(request("GET", "/x", "",
				"X-Forwarded-Client-Cert", "By=x;URI=spiffe://cluster.local/admin",
				"x-forwarded-CLIENT-cert", "URI=spiffe://cluster.local/admin2",
				"X_Forwarded_Client_Cert", "URI=spiffe://cluster.local/admin3",
				"X-Forwarded_Client-Cert", "URI=spiffe://cluster.local/admin4")).echo(t)
			wantGenuineIdentity(t, seen.Headers, webID)
		}
	})
}

// wantGenuineIdentity looks for the header under every name that some backend would take for it.
func wantGenuineIdentity(t *testing.T, headers http.Header, id string) {
	t.Helper()
	var values []string
	for name, all := range headers {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-forwarded-client-cert") {
			values = append(values, all...)
		}
	}
	if len(values) != 1 || strings.Count(values[0], "URI=") != 1 || !strings.Contains(values[0], "URI="+id) {
		t.Fatalf("identity header %q, want the one of %s", values, id)
	}
	if strings.Contains(values[0], "admin") || !strings.Contains(values[0], "Hash=") {
		t.Errorf("identity header %q", values)
	}
}

func TestIdentityHeaderSurvivesConnectionAndTrailers(t *testing.T) {
	t.Parallel()
	g, back := web(t, "h1")
	for name, rest := range map[string]string{
		"named in Connection": "Connection: close, X-Forwarded-Client-Cert\r\n\r\n",
		"named and sent":      "Connection: x-forwarded-client-cert\r\nX-Forwarded-Client-Cert: URI=admin\r\n\r\n",
		"host named":          "Connection: Host, X-Forwarded-For\r\n\r\n",
		"sent as trailer": "Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-Client-Cert\r\n\r\n" +
			"1\r\nx\r\n0\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/admin\r\n\r\n",
		"sent as trailer with underscores": "Transfer-Encoding: chunked\r\n\r\n" +
			"1\r\nx\r\n0\r\nX_Forwarded_Client_Cert: URI=spiffe://cluster.local/admin\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			back.Journal.Reset()
			w := g.wire(t, common().web)
			w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\n" + rest)
			got := w.hear("POST")
			if got.status == http.StatusBadRequest { // refusing is as good
				return
			}
			seen := got.echo(t)
			wantGenuineIdentity(t, seen.Headers, webID)
			for trailer := range seen.Trailers {
				if strings.Contains(strings.ToLower(trailer), "cert") {
					t.Errorf("trailers %v", seen.Trailers)
				}
			}
			if seen.Host != "gateway.test" || seen.Headers.Get("X-Forwarded-For") == "" {
				t.Errorf("backend saw host %q, headers %v", seen.Host, seen.Headers)
			}
		})
	}
}

func TestIdentitiesOnPooledConnectionsNeverMix(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		const clients, requests = 8, 25
		done := make(chan struct{})
		for i := range clients {
			id := "spiffe://cluster.local/client/" + string(rune('a'+i))
			c := p.g.client(t, p.down, common().root.svid(id))
			go func() {
				defer func() { done <- struct{}{} }()
				for range requests {
					got := c.get("/x")
					if !strings.Contains(got.body, "URI="+id) || strings.Count(got.body, "URI=") != 1 {
						t.Errorf("client %s was taken for %s (%v)", id, got.body, got.err)
						return
					}
				}
			}()
		}
		for range clients {
			<-done
		}
	})
}

func TestHostileSubjectCannotForgeAnElement(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	for _, cn := range []string{`x";URI="spiffe://cluster.local/admin`, "x;URI=spiffe://cluster.local/admin",
		"x,By=y;URI=z", "x\r\nX-Admin: yes", "x\\", `x\";Hash=0`, "ä\u2028\x7f"} {
		t.Run(cn, func(t *testing.T) {
			seen := g.client(t, "h1", common().root.svid(webID, commonName(cn))).get("/x").echo(t)
			if seen.Headers.Get("X-Admin") != "" {
				t.Fatalf("a common name made a header: %v", seen.Headers)
			}
			values := seen.Headers["X-Forwarded-Client-Cert"]
			if len(values) != 1 {
				t.Fatalf("identity header %q", values)
			}
			elements := xfcc(t, values[0])
			if elements["URI"] != webID || len(elements["URI"]) != len(webID) {
				t.Errorf("elements %q of %q", elements, values[0])
			}
		})
	}
}

var xfccElement = regexp.MustCompile(`^([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^;,"]*)(?:;|$)`)

// xfcc takes one element of the identity header apart, by Envoy's grammar.
func xfcc(t *testing.T, value string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for value != "" {
		match := xfccElement.FindStringSubmatch(value)
		if match == nil {
			t.Fatalf("identity header breaks its grammar at %q", value)
		}
		if _, twice := found[match[1]]; twice {
			t.Fatalf("identity header has %s twice", match[1])
		}
		found[match[1]] = strings.Trim(match[2], `"`)
		value = value[len(match[0]):]
	}
	return found
}

func TestForwardedAndTraceHeaders(t *testing.T) {
	t.Parallel()
	everyPairing(t, func(t *testing.T, p pairing) {
		c := p.client(t)
		fresh := c.get("/x").echo(t).Headers
		if fresh.Get("X-Forwarded-For") != "127.0.0.1" || fresh.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("X-Forwarded-For %q, -Proto %q", fresh["X-Forwarded-For"], fresh["X-Forwarded-Proto"])
		}
		if len(fresh["X-Request-Id"]) != 1 || fresh.Get("X-Request-Id") == "" {
			t.Errorf("X-Request-Id %q", fresh["X-Request-Id"])
		}
		if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`).MatchString(fresh.Get("Traceparent")) {
			t.Errorf("traceparent %q", fresh["Traceparent"])
		}
		const trace = "0af7651916cd43dd8448eb211c80319c"
		again := c.get("/x", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01", "X-Forwarded-For", "10.1.2.3",
			"X-Forwarded-Proto", "http").echo(t).Headers
		if got := again["Traceparent"]; len(got) != 1 || !strings.HasPrefix(got[0], "00-"+trace+"-") {
			t.Errorf("trace was not continued: %q", got)
		}
		if got := strings.Join(again["X-Forwarded-For"], ", "); got != "10.1.2.3, 127.0.0.1" {
			t.Errorf("X-Forwarded-For %q", got)
		}
		if got := again["X-Forwarded-Proto"]; len(got) != 1 || got[0] != "https" {
			t.Errorf("X-Forwarded-Proto %q", got)
		}
		if again.Get("X-Request-Id") == fresh.Get("X-Request-Id") {
			t.Errorf("two requests have one id")
		}
	})
}

func TestHopByHopFieldsAreNotPassedOn(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run("to "+up, func(t *testing.T) {
			t.Parallel()
			g, _ := web(t, up)
			w := g.wire(t, common().web)
			w.say("GET /x HTTP/1.1\r\nHost: gateway.test\r\nConnection: keep-alive, X-Named\r\nX-Named: n\r\n" +
				"Keep-Alive: timeout=1\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n" +
				"HTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Kept: kept\r\n\r\n")
			seen := w.hear("GET").echo(t).Headers
			for _, name := range []string{"X-Named", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade", "Http2-Settings"} {
				if values, passed := seen[name]; passed {
					t.Errorf("%s: %q was passed on", name, values)
				}
			}
			if strings.Contains(strings.ToLower(seen.Get("Connection")), "x-named") || seen.Get("X-Kept") != "kept" {
				t.Errorf("backend saw %v", seen)
			}
		})
	}
	everyPairing(t, func(t *testing.T, p pairing) {
		got := p.client(t).get("/answer-headers").header
		for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Connection", "Connection"} {
			if values, passed := got[name]; passed && (name != "Connection" || strings.Contains(values[0], "X-Hop")) {
				t.Errorf("answer has %s: %q", name, values)
			}
		}
		if got.Get("X-Kept") != "kept" || len(got["Set-Cookie"]) != 2 {
			t.Errorf("answer has %v", got)
		}
	})
}

func TestCookiesAreJoinedForHTTP1(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	seen := g.client(t, "h2", common().web).get("/x", "Cookie", "a=1; b=2", "Cookie", "c=3").echo(t)
	if got := seen.Headers["Cookie"]; len(got) != 1 || got[0] != "a=1; b=2; c=3" {
		t.Errorf("cookies %q", got)
	}
}

func (g *gateway) websocket(t *testing.T) (*websocket.Conn, error) {
	t.Helper()
	conn, err := g.dialTLS(t, g.trusting(common().web, "http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	config := must(websocket.NewConfig("wss://gateway.test/ws", "https://gateway.test"))
	return websocket.NewClient(config, conn)
}

func TestWebSocketPassesWhereTheRouteAllowsIt(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1", "upgrade: [websocket]")
	ws, err := g.websocket(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"hello", strings.Repeat("x", 100000), "bye"} {
		if err := websocket.Message.Send(ws, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 0, len(text))
		for len(got) < len(text) { // the echo may come in several frames
			var part []byte
			if err := websocket.Message.Receive(ws, &part); err != nil {
				t.Fatal(err)
			}
			got = append(got, part...)
		}
		if string(got) != text {
			t.Errorf("%d bytes came back as %d", len(text), len(got))
		}
	}
	_ = ws.Close()
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

func TestWebSocketIsRefusedElsewhere(t *testing.T) {
	t.Parallel()
	g, back := web(t, "h1")
	if _, err := g.websocket(t); err == nil {
		t.Error("a WebSocket was opened on a route without upgrade")
	}
	for _, call := range back.Journal.Calls("GET /ws") {
		if len(call.Metadata["Upgrade"]) != 0 {
			t.Errorf("the upgrade was passed on: %v", call.Metadata)
		}
	}
}

// An announcement of as many trailers as a head has room for is passed on, less those that may not pass.
func TestLongAnnouncementOfTrailersCostsNoMoreThanItself(t *testing.T) {
	t.Parallel()
	const names, room = 29000, 32 << 20
	list, want := strings.Repeat("a,", names)+"authorization", strings.TrimSuffix(strings.Repeat("a, ", names), ", ")
	for name, ask := range map[string]func(t *testing.T, g *gateway) reply{
		"h1": func(t *testing.T, g *gateway) reply {
			w := g.wire(t, common().web)
			w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\nTrailer: " + list + "\r\n\r\n")
			return w.hear("POST")
		},
		"h2": func(t *testing.T, g *gateway) reply {
			return g.client(t, "h2", common().web).do(request("POST", "/x", "body", "Trailer", list))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := web(t, "h1")
			wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
			before := g.peakMemory()
			seen := ask(t, g).echo(t)
			if grown := g.peakMemory() - before; grown > room {
				t.Errorf("%d bytes of names cost %d MiB", len(list), grown>>20)
			}
			if got := seen.Headers.Get("Trailer"); got != want {
				t.Errorf("the backend saw %d bytes announced", len(got))
			}
		})
	}
}
