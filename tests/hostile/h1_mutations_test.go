package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Good messages with one byte too many or too few, at every place: each is refused, or still one clean message.

const (
	hidden = "GET /smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n" // lies in bodies, and must never be a request
	last   = "GET /after HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n"
)

// alien are bytes that no line of a head may hold where they are put, or that readers take for a line end or a space.
var alien = map[string]string{"NUL": "\x00", "CR": "\r", "LF": "\n", "VT": "\v", "NBSP": "\xa0", "space": " ", "tab": "\t", "colon": ":", "CRLF": "\r\n"}

// newArenaOf is an arena whose backend speaks the protocol.
func newArenaOf(t *testing.T, protocol string, listener ...string) arena {
	t.Helper()
	record := &recorder{}
	script, line := record.script, harness.HTTP1
	if protocol == "h2" {
		script, line = record.scriptH2, harness.H2
	}
	back := harness.Must(backend.StartScripted("127.0.0.1:0", script))
	t.Cleanup(back.Stop)
	return arena{harness.Start(t, harness.Setup{Listener: listener, Routes: everything,
		Backends: []string{line("web", back.Address)}}), record}
}

// statuses are those of the answers in the text.
func statuses(t *testing.T, text string) (all []int) {
	t.Helper()
	reader := bufio.NewReader(strings.NewReader(text))
	for {
		if _, err := reader.Peek(1); err != nil {
			return all
		}
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("no answer: %v in %q", err, text)
			return all
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Errorf("half an answer: %v in %q", err, text)
		}
		all = append(all, answer.StatusCode)
	}
}

// sound says the text and one good request after it. All good, or good until one refusal and then nothing more.
func (a arena) sound(t *testing.T, name, text string) {
	t.Helper()
	w := a.g.Wire(t)
	w.Say(text + last)
	said, err := w.Rest()
	_ = w.Close()
	all := statuses(t, said)
	requests, _ := a.record.take(t)
	good := 0
	for good < len(all) && all[good] == 200 {
		good++
	}
	refused := good+1 == len(all) && all[good] >= 400 && all[good] < 500
	if err != nil || len(requests) != good || !refused && good != len(all) || len(all) == 0 {
		t.Errorf("%s: answers %v, %v; the backend got %v", name, all, err, requests)
	}
	for i, r := range requests {
		if strings.Contains(r.target, "smuggled") || (r.target == "/after") != (!refused && i == len(requests)-1) {
			t.Errorf("%s: the backend got %v", name, requests)
		}
	}
}

// mutants has one of each kind at every border, and at every so many places between; none inside the hidden request.
func mutants(text string, between int) map[string]string {
	mutants := map[string]string{}
	begin := strings.Index(text, hidden)
	for i := range text {
		border := i > 0 && strings.ContainsAny(text[i-1:i+1], "\r\n:; ")
		if begin >= 0 && i > begin && i < begin+len(hidden)-1 || !border && i%between != 0 {
			continue
		}
		mutants[fmt.Sprintf("%d without %q", i, text[i])] = text[:i] + text[i+1:]
		mutants[fmt.Sprintf("%d twice %q", i, text[i])] = text[:i+1] + text[i:]
		for name, extra := range alien {
			mutants[fmt.Sprintf("%d %s before %q", i, name, text[i])] = text[:i] + extra + text[i:]
		}
	}
	return mutants
}

func TestOneByteTooManyOrTooFewInARequest(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a GET":              "GET /g HTTP/1.1\r\nHost: gateway.test\r\nX: y\r\n\r\n",
		"an absolute form":   "GET http://a.test/g HTTP/1.1\r\nHost: b.test\r\n\r\n",
		"a POST by chunks":   "POST /p HTTP/1.1\r\nHost: gateway.test\r\n" + chunked + "\r\n\r\n2e;a=b\r\n" + hidden + "\r\n0\r\nT: u\r\n\r\n",
		"a POST by length":   "POST /p HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 47\r\n\r\n " + hidden,
		"Connection options": "GET /g HTTP/1.1\r\nHost: gateway.test\r\nConnection: te, x\r\nTE: trailers\r\nX: y\r\n\r\n",
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(name+" to "+protocol, func(t *testing.T) {
				t.Parallel()
				a := newArenaOf(t, protocol, "timeouts: {request_headers: 500ms, stream_idle: 500ms, idle: 500ms}")
				a.sound(t, "as it is", text)
				for name, mutant := range mutants(text, map[string]int{"h1": 4, "h2": 40}[protocol]) {
					a.sound(t, name, mutant)
				}
			})
		}
	}
}

// wantNonsense asks for the broken answer with each protocol, and for a good one after it.
func wantNonsense(t *testing.T, client *http.Client, path, body string) {
	t.Helper()
	got := harness.Ask(client, "POST", path, "p")
	if got.Err == nil && got.Status != http.StatusBadGateway && got.Body != body {
		t.Errorf("nonsense looks whole: %d %.100q", got.Status, got.Body)
	}
	if strings.Contains(got.Body, "stolen") && got.Err == nil && got.Body != body {
		t.Errorf("got %+v", got)
	}
	if after := harness.Get(client, "/good"); after.Body != "good\n" {
		t.Fatalf("the next client got %+v", after)
	}
}

func TestOneByteTooManyInAnAnswer(t *testing.T) {
	t.Parallel()
	const inside = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
	const byChunks = ok + "X: y\r\n" + chunked + "\r\n\r\n2c\r\n" + inside + "\r\n0\r\nT: u\r\n\r\n"
	const byLength = ok + "Content-Length: 44\r\n\r\n" + inside
	bad := []string{"\x00", "\r", "\n", "\v", "\f", "\x1b", "\x7f"}
	var answers []string
	for _, text := range []string{byChunks, byLength} {
		head := strings.Index(text, "\r\n\r\n") + 4
		for i := range text {
			if i > head && text == byLength {
				break // whatever its bytes are, such a body is as long as it was to be
			}
			for _, extra := range bad {
				if more := text[:i] + extra + text[i:]; !strings.HasPrefix(more, text) { // behind it is another test's
					answers = append(answers, more)
				}
			}
		}
	}
	g, _ := scripted(t, func(p *backend.Peer) {
		for {
			request := p.Request()
			if request == nil {
				return
			}
			if n, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/")); err == nil {
				_, _ = p.Write([]byte(answers[n]))
			} else {
				p.Answer("good\n")
			}
		}
	}, "timeouts: {stream_idle: 2s}")
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			client := g.Client(t, protocol)
			for n, answer := range answers {
				// One byte more in front of a body of known length pushes its last byte out.
				body := ""
				if strings.HasPrefix(answer, ok+"Content-Length: 44\r\n\r\n") {
					body = answer[strings.Index(answer, "\r\n\r\n")+4:][:44]
				}
				wantNonsense(t, client, fmt.Sprint("/", n), body)
				if t.Failed() {
					t.Fatalf("the answer was %q", answer)
				}
			}
		})
	}
}
