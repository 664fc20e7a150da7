package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tollgate/tests/harness"
)

// An attempt is the bytes of one request that somebody might read differently.
type attempt struct {
	name, bytes string
	want        string // "METHOD target host body" for what the backend must get; empty: it must be refused
	lacks       string // fields, by name, that must not arrive
}

const after = "GET /after HTTP/1.1\r\nHost: gateway.test\r\n\r\n"

// post is a POST with these fields and whatever follows the head.
func post(fields, rest string) string {
	return "POST /p HTTP/1.1\r\nHost: gateway.test\r\n" + fields + "\r\n\r\n" + rest
}

func get(fields string) string {
	return "GET /g HTTP/1.1\r\nHost: gateway.test\r\n" + fields + "\r\n\r\n"
}

const chunked = "Transfer-Encoding: chunked"

func wanted(method, target, body string) string {
	return fmt.Sprintf("%s %s gateway.test %q", method, target, body)
}

// An arena is a gateway with a backend that forgives nothing.
type arena struct {
	g      *harness.Gateway
	record *recorder
}

func newArena(t *testing.T, listener ...string) arena {
	t.Helper()
	record := &recorder{}
	g, _ := scripted(t, record.script, listener...)
	return arena{g, record}
}

// attempt sends the bytes and a good request after them, and judges what came of it.
func (a arena) attempt(t *testing.T, try attempt, dripped bool) {
	t.Helper()
	w := a.g.Wire(t)
	if dripped {
		go w.Drip(try.bytes + after)
	} else {
		w.Say(try.bytes + after)
	}
	method, _, _ := strings.Cut(try.bytes, " ")
	first := w.Hear(method)
	if try.want == "" {
		if first.Err != nil || first.Status < 400 {
			t.Errorf("not refused: %+v", first)
		} else if rest, err := w.Rest(); rest != "" || err != nil {
			t.Errorf("after the refusal: %q, %v", rest, err)
		}
		_ = w.Close()
		if requests, _ := a.record.take(t); len(requests) > 0 {
			t.Errorf("reached the backend: %v", requests)
		}
		return
	}
	second := w.Hear("GET")
	if first.Status != 200 || second.Status != 200 {
		t.Errorf("answers %+v, %+v", first, second)
	}
	requests, broken := a.record.take(t)
	if broken > 0 || len(requests) != 2 || requests[0].String() != try.want ||
		requests[1].String() != wanted("GET", "/after", "") {
		t.Fatalf("the backend got %v and %d broken ones, wanted %s", requests, broken, try.want)
	}
	for name := range strings.FieldsSeq(try.lacks) {
		if values := requests[0].values(name); len(values) > 0 {
			t.Errorf("the backend got %s: %q", name, values)
		}
	}
	for _, name := range []string{"connection", "keep-alive", "te", "upgrade", "http2-settings", "expect"} {
		if values := requests[0].values(name); len(values) > 0 {
			t.Errorf("the backend got %s: %q", name, values)
		}
	}
	if cert := requests[0].values("x-forwarded-client-cert"); len(cert) != 1 ||
		!strings.Contains(cert[0], harness.Identity) {
		t.Errorf("identity %q", cert)
	}
}

func (a arena) all(t *testing.T, tries []attempt) {
	t.Helper()
	names := map[string]bool{}
	for _, try := range tries {
		for _, dripped := range []bool{false, true} {
			if dripped && len(try.bytes) > 1000 {
				continue
			}
			name := try.name
			if dripped {
				name += ", dripped"
			}
			if names[name] {
				t.Errorf("two attempts are called %s", name)
			}
			names[name] = true
			t.Run(name, func(t *testing.T) { a.attempt(t, try, dripped) })
		}
	}
}

func TestRequestsAreRefusedOrClean(t *testing.T) {
	t.Parallel()
	for name, tries := range map[string][]attempt{
		"length": lengthAttempts(), "coding": codingAttempts(), "chunks": chunkAttempts(),
		"lines": lineAttempts(), "request line": requestLineAttempts(), "host": hostAttempts(),
		"one hop": hopAttempts(), "upgrade": upgradeAttempts(), "identity": identityAttempts(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newArena(t).all(t, tries)
		})
	}
}

func TestHeadLimits(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	many := func(n int) string {
		var fields []string
		for i := range n {
			fields = append(fields, fmt.Sprint("X-", i, ": v"))
		}
		return strings.Join(fields, "\r\n")
	}
	for name, head := range map[string]string{
		"one huge value":      get("X-Huge: " + strings.Repeat("h", 61<<10)),
		"one huge name":       get(strings.Repeat("h", 61<<10) + ": v"),
		"a huge target":       "GET /" + strings.Repeat("t", 61<<10) + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
		"a huge method":       strings.Repeat("M", 61<<10) + " / HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
		"102 small fields":    get(many(101)),
		"1000 empty values":   get(strings.TrimSuffix(strings.Repeat("X:\r\n", 1000), "\r\n")),
		"white space only":    get("X:" + strings.Repeat(" ", 61<<10)),
		"a head without end":  "GET / HTTP/1.1\r\nHost: gateway.test\r\n" + strings.Repeat("X: y\r\n", 20000),
		"1 MiB without a LF":  "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20),
		"huge trailers":       post(chunked, "0\r\nX: "+strings.Repeat("x", 61<<10)+"\r\n\r\n"),
		"too many trailers":   post(chunked, "0\r\n"+many(101)+"\r\n\r\n"),
		"trailers, no end":    post(chunked, "0\r\n"+strings.Repeat("X: y\r\n", 20000)),
		"a chunk extension":   post(chunked, "1;"+strings.Repeat("x", 64<<10)+"\r\nx\r\n0\r\n\r\n"),
		"zeros before a size": post(chunked, strings.Repeat("0", 64<<10)+"1\r\nx\r\n0\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			w := a.g.Wire(t)
			go w.Say(head + after)
			if got := w.Hear("GET"); got.Err != nil || !slices.Contains([]int{400, 414, 431}, got.Status) {
				t.Errorf("got %+v", got)
			}
			if rest, err := w.Rest(); rest != "" || err != nil {
				t.Errorf("after the refusal: %.100q, %v", rest, err)
			}
			_ = w.Close()
			if requests, _ := a.record.take(t); len(requests) > 0 {
				t.Errorf("reached the backend: %.200v", requests)
			}
		})
	}
	a.all(t, []attempt{
		{name: "99 fields", bytes: get(many(98)), want: wanted("GET", "/g", "")},
		{name: "50 KiB", bytes: get("X-Large: " + strings.Repeat("l", 50<<10)), want: wanted("GET", "/g", "")},
	})
}
