package hostile

import "fmt"

func lineAttempts() (tries []attempt) {
	for name, field := range map[string]string{
		"bare CR in a value": "X: a\rb", "bare CR at the start": "X: \ra", "bare CR at the end": "X: a\r", "bare LF": "X: a\nY: b",
		"NUL in a value": "X: a\x00b", "NUL in a name": "X\x00Y: a", "folded": "X: a\r\n b", "folded by tab": "X: a\r\n\tb",
		"space before the colon": "X : a", "tab before the colon": "X\t: a", "no colon": "broken", "empty name": ": a",
		"empty name and value": ":", "space in a name": "X Y: a", "high byte in a name": "X\xe9: a", "quote in a name": `X"Y: a`,
		"slash in a name": "X/Y: a", "bracket in a name": "X[Y: a", "at in a name": "X@Y: a", "comma in a name": "X,Y: a",
		"semicolon in a name": "X;Y: a", "brace in a name": "X{Y: a", "backslash in a name": `X\Y: a`, "equals in a name": "X=Y: a",
		"question in a name": "X?Y: a", "parenthesis in a name": "X(Y: a", "angle in a name": "X<Y: a",
		"escape in a name": "X\x1b: a", "delete in a value": "X: a\x7f", "form feed in a value": "X: a\fb", "vertical tab": "X: a\vb",
		"escape in a value": "X: \x1b[31m", "control byte": "X: \x01", "backspace": "X: a\bb", "space line": " ", "tab line": "\t",
		"two bare LF": "X: a\n\nGET /smuggled HTTP/1.1\r\nHost: x", "CR CR LF": "X: a\r\r\nY: b", "pseudo field": ":path: /x",
		"field like a request": "GET /x HTTP/1.1", "fullwidth colon": "X：a", "high byte before colon": "X\xa0: a",
	} {
		tries = append(tries, attempt{name: name, bytes: get(field)})
	}
	const head = "GET /g HTTP/1.1\r\n"
	const host = "Host: gateway.test\r\n\r\n"
	return append(tries,
		attempt{name: "space before the first field", bytes: head + " X: y\r\n" + host},
		attempt{name: "tab before the first field", bytes: head + "\tX: y\r\n" + host},
		attempt{name: "folded request line", bytes: "GET /g\r\n HTTP/1.1\r\n" + host},
		attempt{name: "all bare LF", bytes: "GET /g HTTP/1.1\nHost: gateway.test\n\n"},
		attempt{name: "all bare CR", bytes: "GET /g HTTP/1.1\rHost: gateway.test\r\r"},
		attempt{name: "request line ends in LF", bytes: "GET /g HTTP/1.1\n" + host},
		attempt{name: "last line is LF", bytes: head + "Host: gateway.test\r\n\n"},
		attempt{name: "two empty lines before", bytes: "\r\n\r\n" + get("X: y")},
		attempt{name: "a bare LF before", bytes: "\n" + get("X: y")},
		attempt{name: "a bare CR before", bytes: "\r" + get("X: y")},
		attempt{name: "a space before", bytes: " " + get("X: y")},
		attempt{name: "a NUL before", bytes: "\x00" + get("X: y")},
		attempt{name: "a byte order mark before", bytes: "\ufeff" + get("X: y")},
		attempt{name: "one empty line before", bytes: "\r\n" + get("X: y"), want: wanted("GET", "/g", "")},
		attempt{name: "empty value", bytes: get("X:"), want: wanted("GET", "/g", "")},
		attempt{name: "colons in a value", bytes: get("X: a:b: c"), want: wanted("GET", "/g", "")},
		attempt{name: "tabs in a value", bytes: get("X:\ta\tb\t"), want: wanted("GET", "/g", "")},
		attempt{name: "high bytes in a value", bytes: get("X: caf\xc3\xa9 \xff"), want: wanted("GET", "/g", "")},
		attempt{name: "every token byte in a name", bytes: get("a!#$%&'*+-.^_`|~1: v"), want: wanted("GET", "/g", "")},
	)
}

func requestLineAttempts() (tries []attempt) {
	const rest = "\r\nHost: gateway.test\r\n\r\n"
	for name, line := range map[string]string{
		"HTTP/0.9": "GET /g", "no target": "GET HTTP/1.1", "HTTP/2.0": "GET /g HTTP/2.0", "HTTP/1.2": "GET /g HTTP/1.2",
		"HTTP/3": "GET /g HTTP/3", "HTTP/1": "GET /g HTTP/1", "HTTP/01.1": "GET /g HTTP/01.1", "HTTP/1.10": "GET /g HTTP/1.10",
		"HTTP/1.01": "GET /g HTTP/1.01", "lower case version": "GET /g http/1.1", "HTTPS/1.1": "GET /g HTTPS/1.1",
		"ICAP": "GET /g ICAP/1.0", "RTSP": "OPTIONS /g RTSP/1.0", "space after the version": "GET /g HTTP/1.1 ",
		"word after the version": "GET /g HTTP/1.1 x", "two spaces": "GET  /g HTTP/1.1", "two spaces after": "GET /g  HTTP/1.1",
		"tab between": "GET\t/g HTTP/1.1", "tab after": "GET /g\tHTTP/1.1", "vertical tab": "GET\v/g HTTP/1.1",
		"space in the target": "GET /a b HTTP/1.1", "NUL in the target": "GET /a\x00b HTTP/1.1", "CR in the target": "GET /a\rb HTTP/1.1",
		"control byte in the target": "GET /a\x01 HTTP/1.1", "delete in the target": "GET /a\x7f HTTP/1.1",
		"high byte in the target": "GET /\xe9 HTTP/1.1", "fragment": "GET /a#b HTTP/1.1", "tab in the target": "GET /a\tb HTTP/1.1",
		"relative target": "GET g HTTP/1.1", "star": "GET * HTTP/1.1", "query alone": "GET ?q HTTP/1.1", "empty target": "GET  HTTP/1.1",
		"CONNECT": "CONNECT gateway.test:443 HTTP/1.1", "CONNECT a path": "CONNECT / HTTP/1.1", "other scheme": "GET ftp://x/ HTTP/1.1",
		"scheme alone": "GET http: HTTP/1.1", "absolute without host": "GET http:///g HTTP/1.1", "authority form": "GET gateway.test:443 HTTP/1.1",
		"user info": "GET http://u:p@gateway.test/ HTTP/1.1", "javascript": "GET javascript:alert HTTP/1.1", "backslash host": `GET http:\\x/ HTTP/1.1`,
		"comma in a method": "G,T /g HTTP/1.1", "brackets": "[GET] /g HTTP/1.1", "colon in a method": "GET: /g HTTP/1.1",
		"NUL in a method": "GE\x00T /g HTTP/1.1", "high byte in a method": "G\xcbT /g HTTP/1.1", "slash in a method": "G/T /g HTTP/1.1",
		"HTTP/2 preface": "PRI * HTTP/2.0", "lower case method": "get /g HTTP/1.1", "dot dot": "GET /../etc HTTP/1.1", "encoded slash": "GET /a%2Fb HTTP/1.1",
		"encoded backslash": "GET /a%5Cb HTTP/1.1", "backslash": `GET /a\b HTTP/1.1`, "encoded NUL": "GET /a%00 HTTP/1.1",
		"encoded dots": "GET /a/%2e%2e/b HTTP/1.1", "half an escape": "GET /a%2 HTTP/1.1", "bad escape": "GET /a%zz HTTP/1.1",
		"overlong slash": "GET /a%c0%af HTTP/1.1 x", "encoded CRLF in the target": "GET /a%0d%0ab HTTP/1.1",
	} {
		tries = append(tries, attempt{name: name, bytes: line + rest})
	}
	for _, method := range []string{"PATCH", "M-SEARCH", "OPTIONS", "PROPFIND"} {
		tries = append(tries, attempt{name: "method " + method, bytes: method + " /m HTTP/1.1" + rest, want: wanted(method, "/m", "")})
	}
	return append(tries,
		attempt{name: "dots resolved", bytes: "GET /a/./b/../c HTTP/1.1" + rest, want: wanted("GET", "/a/c", "")},
		attempt{name: "query untouched", bytes: "GET /a?b=/../%2F//c?d HTTP/1.1" + rest, want: wanted("GET", "/a?b=/../%2F//c?d", "")})
}

func hostAttempts() (tries []attempt) {
	for name, fields := range map[string]string{
		"missing": "X: y", "empty": "Host:", "twice": "Host: gateway.test\r\nHost: other.test", "twice the same": "Host: gateway.test\r\nHost: gateway.test",
		"twice, one empty": "Host:\r\nHost: gateway.test", "list": "Host: gateway.test, other.test", "user info": "Host: u@gateway.test",
		"path": "Host: gateway.test/x", "space inside": "Host: gateway test", "bad port": "Host: gateway.test:x", "huge port": "Host: gateway.test:65536",
		"two ports": "Host: a:1:2", "query": "Host: gateway.test?x", "fragment": "Host: gateway.test#x", "scheme": "Host: http://gateway.test",
		"NUL": "Host: gateway.test\x00", "open bracket": "Host: [::1", "high bytes": "Host: gät.test", "space before the colon": "Host : gateway.test",
		"folded": "Host:\r\n gateway.test", "backslash": `Host: gateway.test\x`, "escape": "Host: gateway%2etest", "only a port": "Host: :80",
		"negative port": "Host: gateway.test:-1", "empty brackets": "Host: []", "quote": `Host: "gateway.test"`, "semicolon": "Host: a;b", "angle": "Host: <a>",
		"underscored twin": "Host: a\r\nHost : b",
	} {
		tries = append(tries, attempt{name: name, bytes: "GET /g HTTP/1.1\r\n" + fields + "\r\n\r\n"})
		tries = append(tries, attempt{name: name + ", absolute form", bytes: "GET http://gateway.test/g HTTP/1.1\r\n" + fields + "\r\n\r\n"})
	}
	tries = tries[:len(tries):len(tries)]
	for name, line := range map[string]string{"http": "http://real.test/g", "https": "https://real.test/g", "upper case": "HTTP://real.test/g",
		"with a port": "http://real.test:8443/g", "no path": "http://real.test", "query only": "http://real.test?q"} {
		host, target := "real.test", "/g"
		switch name {
		case "with a port":
			host = "real.test:8443"
		case "no path":
			target = "/"
		case "query only":
			target = "/?q"
		}
		tries = append(tries, attempt{name: "absolute form outranks Host: " + name,
			bytes: "GET " + line + " HTTP/1.1\r\nHost: decoy.test\r\n\r\n", want: fmt.Sprintf("GET %s %s %q", target, host, "")})
	}
	return append(tries,
		attempt{name: "literal", bytes: "GET /g HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", want: `GET /g [::1]:443 ""`},
		attempt{name: "named by Connection", bytes: get("Connection: host"), want: wanted("GET", "/g", "")})
}

func hopAttempts() (tries []attempt) {
	for name, fields := range map[string]string{
		"Connection names a field": "Connection: x-secret\r\nX-Secret: s", "in any case": "CONNECTION: X-SECRET\r\nx-secret: s",
		"among others": "Connection: keep-alive, x-secret , te\r\nX-Secret: s", "in two fields": "Connection: x\r\nConnection: x-secret\r\nX-Secret: s",
		"with empty elements": "Connection: ,, x-secret,\r\nX-Secret: s", "before and after": "X-Secret: a\r\nConnection: x-secret\r\nX-Secret: b",
		"Keep-Alive": "Keep-Alive: timeout=5", "Proxy-Connection": "Proxy-Connection: keep-alive", "TE": "TE: trailers, gzip",
		"HTTP2-Settings": "HTTP2-Settings: AAMAAABkAAQAAP__", "Proxy-Authorization": "Proxy-Authorization: Basic x",
	} {
		tries = append(tries, attempt{name: name, bytes: get(fields), want: wanted("GET", "/g", ""),
			lacks: "x-secret keep-alive proxy-connection http2-settings proxy-authorization"})
	}
	return tries
}

func upgradeAttempts() []attempt {
	plain := wanted("GET", "/g", "")
	return []attempt{
		{name: "h2c", bytes: get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"), want: plain},
		{name: "h2c without settings", bytes: get("Connection: Upgrade\r\nUpgrade: h2c"), want: plain},
		{name: "h2c and websocket", bytes: get("Connection: Upgrade\r\nUpgrade: h2c, websocket"), want: plain},
		{name: "TLS", bytes: get("Connection: Upgrade\r\nUpgrade: TLS/1.0"), want: plain},
		{name: "websocket not named", bytes: get("Upgrade: websocket"), want: plain},
		{name: "h2c with a body", bytes: post("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5", "12345"), want: wanted("POST", "/p", "12345")},
		{name: "Expect something else", bytes: post("Expect: 200-maybe\r\nContent-Length: 5", "12345")},
		{name: "Expect twice", bytes: post("Expect: 100-continue, x\r\nContent-Length: 5", "12345")},
	}
}

func identityAttempts() (tries []attempt) {
	for name, fields := range map[string]string{
		"same name": "X-Forwarded-Client-Cert: URI=spiffe://evil/", "lower case": "x-forwarded-client-cert: URI=spiffe://evil/",
		"upper case": "X-FORWARDED-CLIENT-CERT: URI=spiffe://evil/", "twice": "X-Forwarded-Client-Cert: a\r\nX-Forwarded-Client-Cert: b",
		"empty": "X-Forwarded-Client-Cert:", "underscores": "X_Forwarded_Client_Cert: evil", "one underscore": "X-Forwarded_Client-Cert: evil",
		"named by Connection": "Connection: x-forwarded-client-cert", "named and sent": "Connection: X-Forwarded-Client-Cert\r\nX-Forwarded-Client-Cert: e",
	} {
		tries = append(tries, attempt{name: name, bytes: get(fields), want: wanted("GET", "/g", ""),
			lacks: "x_forwarded_client_cert x-forwarded_client-cert"})
	}
	return tries
}
