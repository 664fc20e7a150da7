package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// What backends are told (CONTRACT, section 4; BEHAVIOUR, section 2).

// naiveElements is what a backend reads that never heard of quotes.
func naiveElements(value, key string) (found []string) {
	for _, part := range strings.FieldsFunc(value, func(r rune) bool { return r == ';' || r == ',' }) {
		if name, rest, ok := strings.Cut(part, "="); ok && strings.EqualFold(strings.Trim(name, ` "\`), key) {
			found = append(found, strings.Trim(rest, `"`))
		}
	}
	return found
}

func TestNoReaderOfTheIdentityHeaderIsFooled(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	served := common().root.issue(dns("gateway.test"), uri("spiffe://cluster.local/gate"), extendedUsage(1))
	g := start(t, setup{served: []servedPair{pair("gateway", served)}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", back.Address)}})
	for _, name := range []string{"plain", "", "x;URI=spiffe://cluster.local/admin", "x,URI=spiffe://cluster.local/admin", "x;uri=a;URI=b",
		`x";URI=spiffe://cluster.local/admin;Subject="`, `x\";URI=spiffe://cluster.local/admin;`, `x\\";URI=y`, "x\";URI=y,By=z;Hash=0", "Hash=00;By=x",
		"x\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/admin", "x\x00;URI=y", "+CN=y", "O=x+URI=y", "#0403", " lead", "trail ", "<a>", "a=b=c",
		"%3BURI=y", "\\3BURI=y", "\\", "\\\\", "\"", "\"\"", strings.Repeat("\"", 300), strings.Repeat(";URI=y", 2000), "ü;URI=y", "\u2028;URI=y"} {
		for _, protocol := range []string{"h1", "h2"} {
			cert := common().root.svid(webID, commonName(name))
			got := g.client(t, protocol, cert).get("/x")
			if got.err != nil {
				t.Fatalf("%.40q: %v", name, got.err)
			}
			headers := got.echo(t).Headers
			values := headers["X-Forwarded-Client-Cert"]
			if len(values) != 1 || headers.Get("X-Admin") != "" {
				t.Fatalf("%q: %d headers", name, len(values))
			}
			sum := sha256.Sum256(cert.Certificate[0])
			strict := xfcc(t, values[0])
			for key, want := range map[string]string{"URI": webID, "Hash": hex.EncodeToString(sum[:]), "By": "spiffe://cluster.local/gate"} {
				if naive := naiveElements(values[0], key); len(naive) != 1 || naive[0] != want || strict[key] != want {
					t.Errorf("%.40q: %s is %q, strictly %q, in %.300s", name, key, naive, strict[key], values[0])
				}
			}
			if _, ok := strict["Subject"]; !ok || len(strict) != 4 {
				t.Errorf("%.40q: elements %q", name, strict)
			}
		}
	}
}

func TestNoSpellingOfOurHeadersPasses(t *testing.T) {
	t.Parallel()
	names := []string{"X-Forwarded-Client-Cert", "x-forwarded-client-cert", "X-FORWARDED-CLIENT-CERT", "X_FORWARDED_CLIENT_CERT",
		"x_forwarded_client_cert", "X-Forwarded_Client-Cert", "X_Forwarded-Client_Cert", "X-Forwarded-Client_Cert",
		"X_Forwarded_For", "X-Forwarded_For", "X_Forwarded_Proto", "x-forwarded_proto", "X-Forwarded-Host", "X_Forwarded_Host",
		"X.Forwarded.Client.Cert", "x-forwarded.client|cert", "X!Forwarded~For", "X.Forwarded.Proto", "X_Request_Id", "x.request.id"}
	everyPairing(t, func(t *testing.T, p pairing) {
		for _, name := range names {
			r := request("POST", "/x", "body")
			r.ContentLength = -1
			r.Header[name] = []string{"URI=spiffe://cluster.local/evil", "evil", ""}
			r.Trailer = http.Header{"X-Fine": {"fine"}, strings.ReplaceAll(http.CanonicalHeaderKey(name), "For", "for"): {"evil"}}
			seen := p.client(t).do(r).echo(t)
			for which, headers := range map[string]http.Header{"header": seen.Headers, "trailer": seen.Trailers} {
				for key, values := range headers {
					folded := strings.ReplaceAll(strings.ToLower(key), "_", "-")
					if key != "Trailer" && strings.Contains(strings.Join(values, " "), "evil") && folded != "x-forwarded-for" {
						t.Errorf("%s %s: %q passed as %s", which, name, values, key)
					}
					if key == "Trailer" && strings.Contains(strings.ToLower(strings.Join(values, " ")), "forwarded") {
						t.Errorf("trailer announced: %q", values)
					}
				}
			}
			wantGenuineIdentity(t, seen.Headers, webID)
			if seen.Trailers.Get("X-Fine") != "fine" || seen.Headers.Get("X-Forwarded-Proto") != "https" || len(seen.Headers["X-Forwarded-Proto"]) != 1 {
				t.Errorf("%s: trailers %v, headers %v", name, seen.Trailers, seen.Headers)
			}
		}
	})
}

func TestWhatConnectionMayNotName(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		g, _ := web(t, up)
		for _, named := range []string{"Host", "host", "X-Forwarded-Client-Cert", "x-forwarded-client-cert, close", "close,X-FORWARDED-CLIENT-CERT",
			"X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "traceparent", ":path", ":authority, :method", "Connection", "Content-Length",
			"Content-Type", ", ,", "keep-alive, keep-alive, host", "\"host\"", "X-Forwarded-Client-Cert\r\nConnection: Host"} {
			w := g.wire(t, common().web)
			w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 4\r\nContent-Type: text/x\r\nConnection: " + named + "\r\n\r\nbody")
			got := w.hear("POST")
			if got.status == http.StatusBadRequest {
				continue
			}
			seen := got.echo(t)
			wantGenuineIdentity(t, seen.Headers, webID)
			if seen.Host != "gateway.test" || string(seen.Body) != "body" || seen.Target != "/x" || seen.Method != "POST" {
				t.Errorf("%s: backend saw %+v", named, seen)
			}
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "Traceparent"} {
				if len(seen.Headers[name]) != 1 {
					t.Errorf("%s: %s is %q", named, name, seen.Headers[name])
				}
			}
		}
	}
}

func TestTraceAndRequestIdsAreSetOrExtended(t *testing.T) {
	t.Parallel()
	g, _ := web(t, "h1")
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	wellFormed := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)
	for given, kept := range map[string]bool{
		"00-" + trace + "-" + parent + "-01": true,
		"00-" + trace + "-" + parent + "-00": true,
		"":                                   false,
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":  false,
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01": false,
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":  false,
		"00-" + trace + "-" + parent:                           false,
		"00-" + trace + "-" + parent + "-01-extra":             false,
		"ff-" + trace + "-" + parent + "-01":                   false,
		"00-" + trace[:31] + "g-" + parent + "-01":             false,
		"nonsense":                false,
		strings.Repeat("0", 5000): false,
	} {
		seen := g.client(t, "h2", common().web).get("/x", "Traceparent", given).echo(t).Headers
		match := wellFormed.FindStringSubmatch(seen.Get("Traceparent"))
		if match == nil || len(seen["Traceparent"]) != 1 || strings.Trim(match[1], "0") == "" || strings.Trim(match[2], "0") == "" {
			t.Errorf("%.60q became %q", given, seen["Traceparent"])
			continue
		}
		if kept != (match[1] == trace) || match[2] == parent || kept && !strings.HasSuffix(given, "-"+match[3]) {
			t.Errorf("%.60q became %q", given, seen["Traceparent"])
		}
	}
	for given, want := range map[string]string{"": "127.0.0.1", "10.0.0.1": "10.0.0.1, 127.0.0.1", "10.0.0.1, 10.0.0.2": "10.0.0.1, 10.0.0.2, 127.0.0.1",
		"unknown": "unknown, 127.0.0.1"} {
		headers := []string{}
		if given != "" {
			headers = []string{"X-Forwarded-For", given}
		}
		seen := g.client(t, "h1", common().web).get("/x", headers...).echo(t).Headers
		if got := strings.Join(seen["X-Forwarded-For"], "|"); got != want {
			t.Errorf("%q became %q", given, got)
		}
	}
}

// A socket of both families has IPv4 clients as ::ffff:127.0.0.1; whoever reads of them knows them by the address they have.
func TestIPv4ClientsAreToldByTheirAddressOnASocketOfBothFamilies(t *testing.T) {
	t.Parallel()
	port, web := freePort(t), httpBackend(t)
	g := start(t, setup{socket: fmt.Sprintf("[::]:%d", port), top: []string{accessLog}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", web.Address)}})
	for _, host := range []string{"127.0.0.1", "::1"} {
		g.address = net.JoinHostPort(host, strconv.Itoa(port))
		got := g.client(t, "h1", common().web).get("/" + host).echo(t).Headers.Get("X-Forwarded-For")
		if got != host {
			t.Errorf("X-Forwarded-For %q, want %q", got, host)
		}
		if client := g.accessOf(t, "/"+host).text("client"); !strings.HasPrefix(client, net.JoinHostPort(host, "")) {
			t.Errorf("access line: client %q, want %s", client, host)
		}
		refused := g.try(t, tls.VersionTLS13, "h1", nil)
		g.recordOf(t, host, refused) // by the address that the client has of itself
	}
}

func TestMetadataCannotSpellTheIdentityEither(t *testing.T) {
	t.Parallel()
	_, users, conn := passing(t, setup{})
	forged := metadata.Pairs("x-forwarded-client-cert", "URI=a", "x_forwarded_client_cert", "URI=b", "x-forwarded_client_cert", "URI=c", "x-forwarded-proto", "http")
	if _, err := backend.Invoke(metadata.NewOutgoingContext(within(t, patience), forged), conn, login, nil); err != nil {
		t.Fatal(err)
	}
	headers := http.Header{}
	for key, values := range users.Journal.Calls(login)[0].Metadata {
		headers[key] = values
	}
	wantGenuineIdentity(t, headers, webID)
	if got := headers["x-forwarded-proto"]; len(got) != 1 || got[0] != "https" {
		t.Errorf("x-forwarded-proto %q", got)
	}
}

// A request that names another target in every way there is: the backend is told the one that was judged.
func TestTargetToldIsTheOneJudged(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{routes: []string{route("path: /secret/*", `backend: web, allow: ["spiffe://cluster.local/x"]`), route("path: /*", "backend: web")},
		backends: []string{http1("web", back.Address)}})
	for _, target := range []string{"/secret/x", "/./secret/x", "//secret/x", "/a/../secret/x", "/%73ecret/x", "/secret;p=1/x", "/secret/./x", "/secret//x",
		"/a/b/../../secret/x", "/secret/x/..%2f", "/%2e/secret/x", "/a/%2E%2e/secret/x", "/secret%2fx", `/a\..\secret\x`, "https://gateway.test/secret/x",
		"HTTPS://GATEWAY.test/secret/x", "https://gateway.test//secret/x", "/;x/../secret/x", "/secret/x?", "/secret/x?a=/open", "/secret/x;a", "/secret/%78",
		"https://gateway.test:443/secret/x", "/SECRET/../secret/x", "/..;/secret/x", "/secret/..;/secret/x", "/./;/../secret/x", "/%25%32%65/../secret/x"} {
		w := g.wire(t, common().web)
		_, _ = io.WriteString(w, "GET "+target+" HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
		got := w.hear("GET")
		if got.status != 403 && got.status != 400 {
			t.Errorf("%s: status %d, backend saw %s", target, got.status, got.body)
		}
		if strings.HasPrefix(target, "/") {
			g.frames(t, func(f *http2.Framer) {
				open(f, ":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", target)
			})
		}
	}
	for _, call := range back.Journal.Calls("") {
		if plain, err := url.PathUnescape(call.Method); err != nil || strings.Contains(plain, "secret") {
			t.Errorf("backend was asked for %s", call.Method)
		}
	}
}
