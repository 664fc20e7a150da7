package hostile

import "strings"

func lengthAttempts() (tries []attempt) {
	for name, value := range map[string]string{
		"negative": "-5", "signed": "+5", "hexadecimal": "0x5", "hexadecimal digits": "a", "empty": "",
		"inner space": "1 5", "fraction": "5.0", "exponent": "5e0", "list of the same": "5, 5", "list": "5, 6",
		"comma before": ",5", "comma after": "5,", "semicolon": "5;", "underscore": "1_0", "word": "five",
		"2^63": "9223372036854775808", "2^64": "18446744073709551616", "2^64+5": "18446744073709551621",
		"2^32+5 in 40 digits": strings.Repeat("9", 40), "fullwidth digit": "５", "NUL": "5\x00", "vertical tab": "\v5",
		"quoted": `"5"`, "tab inside": "1\t5", "newline escape": `5\n`, "plus after": "5+", "minus zero": "-0",
	} {
		tries = append(tries, attempt{name: name, bytes: post("Content-Length: "+value, "12345")})
	}
	good := wanted("POST", "/p", "12345")
	return append(tries,
		attempt{name: "plain", bytes: post("Content-Length: 5", "12345"), want: good},
		attempt{name: "white space around", bytes: post("Content-Length:   5  ", "12345"), want: good},
		attempt{name: "leading zeros", bytes: post("Content-Length: 0005", "12345"), want: good},
		attempt{name: "any case", bytes: post("cOnTENT-lENGTH: 5", "12345"), want: good},
		attempt{name: "none", bytes: post("X: y", ""), want: wanted("POST", "/p", "")},
		attempt{name: "zero", bytes: post("Content-Length: 0", ""), want: wanted("POST", "/p", "")},
		attempt{name: "of a GET", bytes: get("Content-Length: 5") + "12345", want: wanted("GET", "/g", "12345")},
		attempt{name: "of a HEAD", bytes: "HEAD /h HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\n12345",
			want: wanted("HEAD", "/h", "12345")},
		attempt{name: "of a DELETE", bytes: "DELETE /d HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\n12345",
			want: wanted("DELETE", "/d", "12345")},
		attempt{name: "twice the same", bytes: post("Content-Length: 5\r\nContent-Length: 5", "12345")},
		attempt{name: "twice", bytes: post("Content-Length: 5\r\nContent-Length: 0", "12345")},
		attempt{name: "twice, one empty", bytes: post("Content-Length: 5\r\nContent-Length:", "12345")},
		attempt{name: "space before the colon", bytes: post("Content-Length : 5", "12345")},
		attempt{name: "tab before the colon", bytes: post("Content-Length\t: 5", "12345")},
		attempt{name: "with an underscore", bytes: post("Content_Length: 5", ""), want: wanted("POST", "/p", "")},
		attempt{name: "folded", bytes: post("Content-Length:\r\n 5", "12345")},
		attempt{name: "named by Connection", bytes: post("Connection: content-length\r\nContent-Length: 5", "12345"), want: good},
	)
}

func codingAttempts() (tries []attempt) {
	const body = "5\r\n12345\r\n0\r\n\r\n"
	for name, value := range map[string]string{
		"gzip": "gzip", "gzip, chunked": "gzip, chunked", "chunked, gzip": "chunked, gzip", "identity": "identity",
		"twice in a list": "chunked, chunked", "identity first": "identity, chunked", "empty": "",
		"comma before": ", chunked", "comma after": "chunked,", "parameter": "chunked;q=1", "semicolon": "chunked;",
		"quoted": `"chunked"`, "single quotes": "'chunked'", "x-chunked": "x-chunked", "xchunked": "xchunked",
		"cut short": "chunke", "longer": "chunkedd", "vertical tab before": "\vchunked", "form feed": "\fchunked",
		"NUL after": "chunked\x00", "non-breaking space": "\u00a0chunked", "dotless": "chunĸed",
		"inner space": "chun ked", "trailing word": "chunked foo", "backslash": `\chunked`, "colon": ":chunked",
		"Kelvin sign": "chun\u212aed", "long s": "ſchunked", "no": "no", "deflate": "deflate", "bom": "\ufeffchunked",
	} {
		tries = append(tries, attempt{name: name, bytes: post("Transfer-Encoding: "+value, body)})
	}
	good := wanted("POST", "/p", "12345")
	for name, fields := range map[string]string{
		"after a length":                 "Content-Length: 5\r\n" + chunked,
		"before a length":                chunked + "\r\nContent-Length: 5",
		"beside a length of none":        chunked + "\r\nContent-Length: 0",
		"beside an empty length":         chunked + "\r\nContent-Length:",
		"twice":                          chunked + "\r\n" + chunked,
		"twice, second other":            chunked + "\r\nTransfer-Encoding: identity",
		"twice, first other":             "Transfer-Encoding: identity\r\n" + chunked,
		"twice, second empty":            chunked + "\r\nTransfer-Encoding:",
		"space before the colon":         "Transfer-Encoding : chunked",
		"tab before the colon":           "Transfer-Encoding\t: chunked",
		"space before the colon, length": "Content-Length: 5\r\nTransfer-Encoding : chunked",
		"folded":                         "Transfer-Encoding:\r\n chunked",
		"folded by tab":                  "Transfer-Encoding:\r\n\tchunked",
		"folded, other word":             "Transfer-Encoding: chunked\r\n , identity",
		"hidden in another":              "X: y\rTransfer-Encoding: chunked",
		"hidden by a bare LF":            "X: y\nTransfer-Encoding: chunked",
		"NUL in the name":                "Transfer-Encoding\x00: chunked",
		"space before the name":          " Transfer-Encoding: chunked",
		"after a space line":             "X: y\r\n Transfer-Encoding: chunked",
		"vertical tab before the colon":  "Transfer-Encoding\v: chunked",
		"high byte before the colon":     "Transfer-Encoding\xa0: chunked",
	} {
		tries = append(tries, attempt{name: name, bytes: post(fields, body)})
	}
	return append(tries,
		attempt{name: "plain", bytes: post(chunked, body), want: good},
		attempt{name: "any case", bytes: post("TRANSFER-ENCODING: CHUNKED", body), want: good},
		attempt{name: "white space around", bytes: post("Transfer-Encoding:\t chunked\t ", body), want: good},
		attempt{name: "of a GET", bytes: get(chunked) + body, want: wanted("GET", "/g", "12345")},
		attempt{name: "named by Connection", bytes: post("Connection: transfer-encoding\r\n"+chunked, body), want: good},
		attempt{name: "with an underscore", bytes: post("Transfer_Encoding: chunked\r\nContent-Length: 5", "12345"), want: good},
		attempt{name: "HTTP/1.0", bytes: "POST /p HTTP/1.0\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n" + body},
		attempt{name: "HTTP/1.0, kept alive", bytes: "POST /p HTTP/1.0\r\nHost: gateway.test\r\nConnection: keep-alive\r\n" +
			chunked + "\r\n\r\n" + body},
		attempt{name: "HTTP/1.0 with a length", bytes: "POST /p HTTP/1.0\r\nHost: gateway.test\r\nContent-Length: 5\r\n" +
			chunked + "\r\n\r\n" + body},
	)
}

func chunkAttempts() (tries []attempt) {
	for name, body := range map[string]string{
		"negative size": "-5\r\n12345\r\n", "signed size": "+5\r\n12345\r\n", "0x size": "0x5\r\n12345\r\n",
		"empty size": "\r\n12345\r\n", "space before the size": " 5\r\n12345\r\n", "space after": "5 \r\n12345\r\n",
		"tab after": "5\t\r\n12345\r\n", "no hexadecimal": "g\r\n12345\r\n", "2^64": "10000000000000000\r\n12345\r\n",
		"2^64+5": "10000000000000005\r\n12345\r\n", "many zeros": strings.Repeat("0", 100) + "5\r\n12345\r\n",
		"bare LF after the size": "5\n12345\r\n", "bare CR after the size": "5\r12345\r\n",
		"CR CR LF": "5\r\r\n12345\r\n", "bare LF after the data": "5\r\n12345\n", "bare CR after": "5\r\n12345\r",
		"data too long": "5\r\n123456\r\n", "data too short": "5\r\n1234\r\n", "no line end": "5\r\n123450\r\n\r\n",
		"NUL in the size": "5\x00\r\n12345\r\n", "NUL in an extension": "5;x\x00\r\n12345\r\n",
		"CR in an extension": "5;x\ry\r\n12345\r\n", "LF in an extension": "5;x\n12345\r\n",
		"extension of control": "5;\x01\r\n12345\r\n", "comma": "5,5\r\n12345\r\n", "quoted": "\"5\"\r\n12345\r\n",
		"no semicolon": "5 x=y\r\n12345\r\n", "fullwidth": "５\r\n12345\r\n", "decimal point": "5.0\r\n12345\r\n",
		"underscore": "0_5\r\n12345\r\n", "h suffix": "5h\r\n12345\r\n", "size 0 with sign": "-0\r\n\r\n",
		"trailer without colon": "0\r\nbroken\r\n\r\n", "folded trailer": "0\r\nX: y\r\n z\r\n\r\n",
		"space in a trailer": "0\r\nX : y\r\n\r\n", "NUL in a trailer": "0\r\nX: \x00\r\n\r\n",
		"bare LF in trailers": "0\r\nX: y\n\r\n", "bare LF at the end": "0\r\n\n", "bare CR in a trailer": "0\r\nX: a\rb\r\n\r\n",
		"nameless trailer": "0\r\n: y\r\n\r\n", "request as trailer": "0\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		tries = append(tries, attempt{name: name, bytes: post(chunked, body+"0\r\n\r\n")})
	}
	const one = "5\r\n12345\r\n"
	good := wanted("POST", "/p", "12345")
	for name, trailer := range map[string]string{
		"Content-Length": "Content-Length: 0", "Transfer-Encoding": chunked, "Host": "Host: other.test",
		"identity": "X-Forwarded-Client-Cert: URI=spiffe://evil", "identity spelt otherwise": "x_forwarded_client_cert: evil",
		"Authorization": "Authorization: Basic AAAA", "Cookie": "Cookie: a=b", "Connection": "Connection: close",
		"Content-Type": "Content-Type: text/html", "Trailer": "Trailer: x", "TE": "TE: trailers", "Range": "Range: bytes=0-1",
		"Content-Encoding": "Content-Encoding: gzip", "X-Forwarded-For": "X-Forwarded-For: 1.2.3.4", "Expect": "Expect: 100-continue",
		"Proxy-Authorization": "Proxy-Authorization: x", "Upgrade": "Upgrade: h2c", "Cache-Control": "Cache-Control: no-store",
	} {
		tries = append(tries, attempt{name: "trailer " + name, bytes: post(chunked, one+"0\r\n"+trailer+"\r\n\r\n"), want: good})
	}
	return append(tries,
		attempt{name: "upper case digits", bytes: post(chunked, "A\r\n1234567890\r\n0\r\n\r\n"), want: wanted("POST", "/p", "1234567890")},
		attempt{name: "some zeros", bytes: post(chunked, "0005\r\n12345\r\n000\r\n\r\n"), want: good},
		attempt{name: "extension", bytes: post(chunked, "5;name=value\r\n12345\r\n0;last\r\n\r\n"), want: good},
		attempt{name: "quoted extension", bytes: post(chunked, "5;a=\"b;c\"\r\n12345\r\n0\r\n\r\n"), want: good},
		attempt{name: "many chunks", bytes: post(chunked, strings.Repeat("1\r\nx\r\n", 50)+"0\r\n\r\n"),
			want: wanted("POST", "/p", strings.Repeat("x", 50))},
		attempt{name: "line ends as data", bytes: post(chunked, "9\r\n\r\n0\r\n\r\nGE\r\n0\r\n\r\n"), want: wanted("POST", "/p", "\r\n0\r\n\r\nGE")},
		attempt{name: "good trailer", bytes: post(chunked, one+"0\r\nX-Sum: 1\r\n\r\n"), want: wanted("POST", "/p", "12345|x-sum: 1")},
	)
}
