package hostile

import (
	"strings"
	"testing"
)

// Every byte at every kind of place of an HTTP/2 head, towards both kinds of backend.

// placed makes a head with the byte in it; must tells whether it has to be refused. What need not be refused must
// arrive as one clean request.
type placed struct {
	name string
	head func(text string) []string
	must func(b byte) bool
}

func control(b byte) bool { return b == '\r' || b == '\n' || b == 0 }

func places() []placed {
	outside := func(set string) func(byte) bool {
		return func(b byte) bool { return !strings.Contains(set, string(rune(b))) || b >= 0x80 }
	}
	const lower = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	const hosts = "-._~!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:"
	edge := func(b byte) bool { return control(b) || b == ' ' || b == '\t' }
	target := func(b byte) bool { return b <= ' ' || b >= 0x7f || b == '#' || b == '\\' || b == '%' }
	return []placed{
		{"in a name", func(text string) []string { return asks("GET", "/g", "x"+text+"y", "v") }, outside(lower)},
		{"first in a name", func(text string) []string { return asks("GET", "/g", text+"y", "v") }, outside(lower)},
		{"last in a name", func(text string) []string { return asks("GET", "/g", "x"+text, "v") }, outside(lower)},
		{"in a value", func(text string) []string { return asks("GET", "/g", "x", "a"+text+"b") }, control},
		{"first in a value", func(text string) []string { return asks("GET", "/g", "x", text+"b") }, edge},
		{"last in a value", func(text string) []string { return asks("GET", "/g", "x", "a"+text) }, edge},
		{"in the path", func(text string) []string { return asks("GET", "/g"+text+"h") }, target},
		{"in the query", func(text string) []string { return asks("GET", "/g?"+text+"h") }, func(b byte) bool { return b <= ' ' || b == 0x7f || b == '#' }},
		{"before the path", func(text string) []string { return asks("GET", text+"/g") }, func(b byte) bool { return b != '/' }},
		{"in the method", func(text string) []string { return asks("GE"+text+"T", "/g") }, outside(tokens)},
		{"in the authority", func(text string) []string {
			return []string{":method", "GET", ":scheme", "https", ":authority", "a" + text + "b", ":path", "/g"}
		}, outside(hosts)},
		{"in the scheme", func(text string) []string {
			return []string{":method", "GET", ":scheme", "http" + text + "s", ":authority", "a", ":path", "/g"}
		}, func(byte) bool { return true }},
		{"in a length", func(text string) []string { return asks("GET", "/g", "content-length", "0"+text) }, func(b byte) bool { return b != '0' }},
		{"in te", func(text string) []string { return asks("GET", "/g", "te", "trailers"+text) }, func(byte) bool { return true }},
		{"in a cookie", func(text string) []string { return asks("GET", "/g", "cookie", "a=b"+text+"c", "cookie", "d=e") }, control},
		{"before a pseudo name", func(text string) []string { return asks("GET", "/g", text+":path", "/x") }, func(byte) bool { return true }},
	}
}

func (a arena) bytes(t *testing.T, p placed, each int) {
	t.Helper()
	s := (*session)(nil)
	for n := range 256 / each {
		i := n * each
		if n%8 == 0 { // few faults a connection: many would be an attack
			if s != nil {
				_ = s.conn.Close()
			}
			s = open(t, a.g)
		}
		id := uint32(2*(n%8) + 1)
		s.headers(id, true, p.head(string([]byte{byte(i)}))...)
		got := s.await(id)
		status := got.value(":status")
		requests, broken := a.record.take(t)
		refused := got.reset != nil || strings.HasPrefix(status, "4")
		switch {
		case !refused && status != "200":
			t.Errorf("%02x: %v", i, got)
		case refused && len(requests)+broken > 0 || !refused && len(requests) != 1:
			t.Errorf("%02x: %v, and the backend got %v", i, got, requests)
		case !refused && p.must(byte(i)):
			t.Errorf("%02x is let through: %v", i, requests)
		}
	}
	_ = s.conn.Close()
}

func TestEveryByteAtEveryPlaceOfAnHTTP2Head(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		for _, p := range places() {
			t.Run(p.name+" to "+protocol, func(t *testing.T) {
				t.Parallel()
				newArenaOf(t, protocol).bytes(t, p, map[string]int{"h1": 1, "h2": 5}[protocol])
			})
		}
	}
}
