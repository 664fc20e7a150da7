package hostile

import (
	"fmt"
	"strings"
	"testing"
)

// The published families of request smuggling, by the names they go by.

// controls are line ends that some reader takes for one; strangers are bytes that stand where one belongs.
var (
	controls = map[string]string{"LF": "\n", "CR": "\r", "CR CR LF": "\r\r\n", "LF CR": "\n\r", "VT": "\v", "FF": "\f", "NUL CR LF": "\x00\r\n",
		"CR space LF": "\r \n", "CR NUL LF": "\r\x00\n", "ESC CR LF": "\x1b\r\n", "DEL CR LF": "\x7f\r\n"}
	strangers = map[string]string{"space CR LF": " \r\n", "tab CR LF": "\t\r\n", "NEL": "\x85", "line separator": "\u2028", "two letters": "zy", "one letter": "z", "space": " "}
)

func lineEndAttempts() (tries []attempt) {
	try := func(place, body, name, end string) {
		tries = append(tries, attempt{name: place + " ended by " + name, bytes: post(chunked, fmt.Sprintf(body, end)+"0\r\n\r\n")})
	}
	for place, body := range map[string]string{"size": "5%s12345\r\n0\r\n\r\n", "data": "5\r\n12345%s0\r\n\r\n", "last size": "5\r\n12345\r\n0%s\r\n",
		"second size": "1\r\nx\r\n4%s2345\r\n0\r\n\r\n"} {
		for name, end := range strangers {
			try(place, body, name, end)
		}
		for name, end := range controls {
			try(place, body, name, end)
		}
	}
	for place, body := range map[string]string{"extension": "5;a=b%s12345\r\n0\r\n\r\n", "quoted extension": "5;a=\"b%s\"12345\r\n0\r\n\r\n", "lone semicolon": "5;%s12345\r\n0\r\n\r\n",
		"last extension": "5\r\n12345\r\n0;a%s\r\n", "trailer": "5\r\n12345\r\n0\r\nT: u%s\r\n", "trailer name": "5\r\n12345\r\n0\r\nT%s: u\r\n\r\n"} {
		for name, end := range controls {
			try(place, body, name, end)
		}
	}
	return tries
}

func lastChunkAttempts() (tries []attempt) {
	for name, end := range map[string]string{"signed": "-0\r\n\r\n", "plus": "+0\r\n\r\n", "0x0": "0x0\r\n\r\n", "space before": " 0\r\n\r\n", "tab before": "\t0\r\n\r\n",
		"space after": "0 \r\n\r\n", "tab after": "0\t\r\n\r\n", "comma": "0,\r\n\r\n", "18 zeros": "000000000000000000\r\n\r\n", "empty line first": "\r\n0\r\n\r\n", "LF first": "\n0\r\n\r\n",
		"trailer folded at once": "0\r\n X: y\r\n\r\n", "a tab for a trailer": "0\r\n\t\r\n\r\n", "trailer with two colons first": "0\r\n:: y\r\n\r\n", "letter": "O\r\n\r\n",
		"NUL after": "0\x00\r\n\r\n", "high byte before": "\xa00\r\n\r\n", "full-width zero": "０\r\n\r\n", "hash": "0#\r\n\r\n"} {
		tries = append(tries, attempt{name: name, bytes: post(chunked, "5\r\n12345\r\n"+end)})
	}
	good := wanted("POST", "/p", "12345")
	return append(tries,
		attempt{name: "extension of the last chunk", bytes: post(chunked, "5\r\n12345\r\n0;a=\"b\"\r\n\r\n"), want: good},
		attempt{name: "only a last chunk", bytes: post(chunked, "0\r\n\r\n"), want: wanted("POST", "/p", "")},
		attempt{name: "15 digits", bytes: post(chunked, "000000000000005\r\n12345\r\n0\r\n\r\n"), want: good},
		attempt{name: "a request as data", bytes: post(chunked, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)), want: wanted("POST", "/p", hidden)},
		attempt{name: "a last chunk as data", bytes: post(chunked, "5\r\n0\r\n\r\n\r\n0\r\n\r\n"), want: wanted("POST", "/p", "0\r\n\r\n")})
}

// CL.0, TE.0, 0.CL: a body where some backend expects none, or the other way round.
func bodyAttempts() (tries []attempt) {
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "PUT", "PATCH", "PROPFIND", "SEARCH"} {
		const rest = " /m HTTP/1.1\r\nHost: gateway.test\r\n"
		tries = append(tries,
			attempt{name: method + " with a length", bytes: fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n%s", method, rest, len(hidden), hidden), want: wanted(method, "/m", hidden)},
			attempt{name: method + " with chunks", bytes: fmt.Sprintf("%s%s%s\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", method, rest, chunked, len(hidden), hidden), want: wanted(method, "/m", hidden)},
			attempt{name: method + " with neither", bytes: method + rest + "\r\n", want: wanted(method, "/m", "")},
			attempt{name: method + " with both", bytes: method + rest + "Content-Length: 5\r\n" + chunked + "\r\n\r\n0\r\n\r\n"})
	}
	return tries
}

// names that are not Content-Length or Transfer-Encoding but look like it.
func nameAttempts() (tries []attempt) {
	for name, field := range map[string]string{"NUL inside": "Content\x00Length", "NUL before": "\x00Content-Length", "NUL after": "Content-Length\x00", "high byte after": "Content-Length\xff",
		"CR before": "\rContent-Length", "LF before": "\nContent-Length", "CR after": "Content-Length\r", "LF after": "Content-Length\n", "folded": "Content-Length\r\n ", "quoted": `"Content-Length"`,
		"bracketed": "[Content-Length]", "dotless": "Content-Lengthı", "soft hyphen": "Content\u00adLength", "two hyphens of unicode": "Content‐Length", "space inside": "Content Length",
		"comma": "Content-Length,", "semicolon": "Content-Length;", "tab after": "Content-Length\t", "VT after": "Content-Length\v", "FF before": "\fContent-Length", "space before": " Content-Length",
		"with a path": "Content-Length/x", "slashes": "//Content-Length", "equals": "Content-Length="} {
		for _, other := range []string{"", "Content-Length: 0\r\n", chunked + "\r\n"} {
			rest := map[bool]string{true: "0\r\n\r\n", false: ""}[strings.HasPrefix(other, "T")]
			tries = append(tries, attempt{name: fmt.Sprintf("%s beside %.8q", name, other), bytes: post(other+field+": 5", rest)})
			coding := strings.Replace(field, "Content-Length", "Transfer-Encoding", 1)
			tries = append(tries, attempt{name: fmt.Sprintf("coding: %s beside %.8q", name, other), bytes: post(other+coding+": chunked", rest)})
		}
	}
	seen := map[string]bool{}
	var once []attempt
	for _, try := range tries { // names without the word are twice the same
		if !seen[try.bytes] {
			once = append(once, try)
		}
		seen[try.bytes] = true
	}
	return once
}

func expectAttempts() (tries []attempt) {
	for name, value := range map[string]string{"unknown": "x", "list": "100-continue, 100-continue", "parameter": "100-continue;a=b", "quoted": `"100-continue"`,
		"number": "100", "space inside": "100 -continue", "comma": "100-continue,", "other status": "102-processing", "NUL": "100-continue\x00"} {
		tries = append(tries, attempt{name: name, bytes: post("Expect: "+value+"\r\nContent-Length: 5", "12345")},
			attempt{name: name + " without a body", bytes: get("Expect: " + value)})
	}
	tries = append(tries, attempt{name: "twice", bytes: post("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5", "12345")},
		attempt{name: "folded", bytes: post("Expect:\r\n 100-continue\r\nContent-Length: 5", "12345")},
		attempt{name: "named by Connection", bytes: post("Connection: expect\r\nExpect: x\r\nContent-Length: 5", "12345")})
	return append(tries, attempt{name: "of no body", bytes: get("Expect: 100-continue"), want: wanted("GET", "/g", "")},
		attempt{name: "of length 0", bytes: post("Expect: 100-continue\r\nContent-Length: 0", ""), want: wanted("POST", "/p", "")})
}

func otherHostAttempts() (tries []attempt) {
	for name, host := range map[string]string{"at": "@", "colon": ":", "two colons": "a::", "port and letters": "a:80a", "port with a sign": "a:+80", "port with a space": "a: 80",
		"user and password": "u:p@a", "at after": "a@", "percent": "a%", "escape": "a%2fb", "NUL before": "\x00a", "tab inside": "a\tb", "CR": "a\rb", "list with the same": "a, a", "space list": "a a",
		"zone": "[fe80::1%eth0]", "brackets within": "a[::1]", "after brackets": "[::1]a", "two brackets": "[[::1]]", "bracketed name": "[a]", "star": "*", "pipe": "a|b", "brace": "{a}",
		"dollar": "${a}", "comma": "a,", "slash after": "a/", "dot only": ".", "two dots at the end": "a..", "exclamation": "a!b", "equals": "a=b", "non-ASCII": "\xc3\xa4", "IDN dot": "a。b",
		"port 65536": "a:65536", "parenthesis": "a(b)", "quote": "a'b", "300 bytes": strings.Repeat("a", 300)} {
		tries = append(tries, attempt{name: name, bytes: "GET /g HTTP/1.1\r\nHost: " + host + "\r\n\r\n"})
		if !strings.ContainsAny(host, "/ \t\r\x00") && host[0] < 0x80 {
			tries = append(tries, attempt{name: name + ", absolute", bytes: "GET http://" + host + "/g HTTP/1.1\r\nHost: gateway.test\r\n\r\n"})
		}
	}
	for name, line := range map[string]string{"one slash": "http:/a/g", "no slash": "http:a/g", "three slashes": "http:///a/g", "backslashes": `http:\\a\g`, "mixed slashes": `http:/\a/g`,
		"scheme upper and odd": "HTTPX://a/g", "ws": "ws://a/g", "file": "file:///g", "scheme relative": "//a/g",
		"user info and port": "http://u@a:80/g", "fragment": "http://a/g#f", "fragment in host": "http://a#b/g", "escape in host": "http://a%2eb/g", "empty port": "http://:/g", "port only": "http://:80/g"} {
		want := ""
		if line == "//a/g" { // a path with an empty segment, and no host
			want = `GET /a/g gateway.test ""`
		}
		tries = append(tries, attempt{name: name, bytes: "GET " + line + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n", want: want})
	}
	return append(tries, attempt{name: "an empty port and slashes", bytes: "GET http://http://a/g HTTP/1.1\r\nHost: gateway.test\r\n\r\n", want: `GET /a/g http: ""`},
		attempt{name: "X-Forwarded-Host", bytes: get("X-Forwarded-Host: evil.test"), want: wanted("GET", "/g", ""), lacks: "x-forwarded-host"},
		attempt{name: "host of an absolute form with a Host of a list", bytes: "GET http://a/g HTTP/1.1\r\nHost: a, b\r\n\r\n"},
		attempt{name: "absolute https", bytes: "GET https://a.test:8443/g?x HTTP/1.1\r\nHost: b.test\r\n\r\n", want: `GET /g?x a.test:8443 ""`},
		attempt{name: "OPTIONS of an absolute form", bytes: "OPTIONS http://a.test/g HTTP/1.1\r\nHost: b.test\r\n\r\n", want: `OPTIONS /g a.test ""`},
		attempt{name: "OPTIONS of all", bytes: "OPTIONS * HTTP/1.1\r\nHost: gateway.test\r\n\r\n"},
		attempt{name: "two stars", bytes: "OPTIONS ** HTTP/1.1\r\nHost: gateway.test\r\n\r\n"},
		attempt{name: "GET of all", bytes: "GET * HTTP/1.1\r\nHost: gateway.test\r\n\r\n"})
}

// upgradesAndTunnels never leave HTTP/1.1, whatever they ask for.
func tunnelAttempts() (tries []attempt) {
	for name, fields := range map[string]string{"h2c in upper case": "Connection: Upgrade\r\nUpgrade: H2C", "h2": "Connection: upgrade\r\nUpgrade: h2", "h2c first": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AA",
		"h2c in two fields": "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c", "TLS": "Connection: Upgrade\r\nUpgrade: TLS/1.2", "HTTP/2.0": "Connection: Upgrade\r\nUpgrade: HTTP/2.0",
		"h2c, close": "Connection: keep-alive, Upgrade\r\nUpgrade: h2c", "unknown": "Connection: Upgrade\r\nUpgrade: foo/1", "h2c with a list": "Connection: upgrade,http2-settings,x\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\nX: y",
		"Upgrade not named": "Upgrade: h2c\r\nHTTP2-Settings: AA", "settings only": "HTTP2-Settings: AA\r\nConnection: HTTP2-Settings"} {
		tries = append(tries, attempt{name: name, bytes: get(fields), want: wanted("GET", "/g", ""), lacks: "upgrade http2-settings"})
	}
	for name, line := range map[string]string{"CONNECT": "CONNECT a.test:443", "CONNECT host only": "CONNECT a.test", "CONNECT a path": "CONNECT /x", "CONNECT absolute": "CONNECT http://a.test/", "CONNECT all": "CONNECT *",
		"PRI": "PRI *", "PRI a path": "PRI /x", "lower-case connect": "connect a.test:443", "mixed-case Get": "Get /g", "method of 1 KiB": strings.Repeat("A", 1024) + " /g"} {
		tries = append(tries, attempt{name: name, bytes: line + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n"})
	}
	return append(tries, attempt{name: "the whole preface", bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"})
}

func TestPublishedSmugglingFamilies(t *testing.T) {
	t.Parallel()
	for name, tries := range map[string][]attempt{"line ends of chunks": lineEndAttempts(), "last chunks": lastChunkAttempts(), "bodies where none belongs": bodyAttempts(),
		"names like lengths": nameAttempts(), "expectations": expectAttempts(), "hosts": otherHostAttempts(), "tunnels": tunnelAttempts()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArenaOf(t, "h1")
			for _, try := range tries {
				t.Run(try.name, func(t *testing.T) { a.attempt(t, try, false) })
			}
		})
	}
}

// Whatever was proved with an HTTP/1.1 backend holds for one that speaks HTTP/2, where framing is another.
func TestRequestsAreRefusedOrCleanTowardsHTTP2(t *testing.T) {
	t.Parallel()
	for name, tries := range map[string][]attempt{
		"length": lengthAttempts(), "coding": codingAttempts(), "chunks": chunkAttempts(), "lines": lineAttempts(), "request line": requestLineAttempts(),
		"host": hostAttempts(), "one hop": hopAttempts(), "upgrade": upgradeAttempts(), "identity": identityAttempts(), "line ends of chunks": lineEndAttempts(),
		"last chunks": lastChunkAttempts(), "bodies where none belongs": bodyAttempts(), "expectations": expectAttempts(), "hosts": otherHostAttempts(),
		"tunnels": tunnelAttempts(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArenaOf(t, "h2")
			for _, try := range tries {
				t.Run(try.name, func(t *testing.T) { a.attempt(t, try, false) })
			}
		})
	}
}
