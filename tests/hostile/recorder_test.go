package hostile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// A recorder is a raw backend that reads requests by the letter of RFC 9112, forgives nothing, and answers each whole
// one with 200.
type recorder struct {
	mutex    sync.Mutex
	requests []received
	faults   []string // what came in was no clean HTTP/1.1
	broken   int      // messages that ended half-way
	reading  int      // messages begun and not yet over
}

// A received request, as the backend understood it.
type received struct {
	method, target, host, body string
	fields                     []string // "name: value", names in lower case
}

func (r received) String() string {
	return fmt.Sprintf("%s %s %s %q", r.method, r.target, r.host, r.body)
}

// values returns what fields of the name say.
func (r received) values(name string) (values []string) {
	for _, field := range r.fields {
		if value, found := strings.CutPrefix(field, name+": "); found {
			values = append(values, value)
		}
	}
	return values
}

func (r *recorder) change(change func()) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	change()
}

// take waits until no message is half read, and returns and forgets what came in.
func (r *recorder) take(t *testing.T) (requests []received, broken int) {
	t.Helper()
	harness.WaitFor(t, "the backend's messages to end", 20*time.Second, func() bool {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		return r.reading == 0
	})
	r.change(func() {
		for _, fault := range r.faults {
			t.Errorf("the backend got what is no HTTP/1.1: %s", fault)
		}
		requests, broken = r.requests, r.broken
		r.requests, r.faults, r.broken = nil, nil, 0
	})
	return requests, broken
}

func (r *recorder) script(p *backend.Peer) {
	for {
		if _, err := p.Reader.Peek(1); err != nil {
			return
		}
		r.change(func() { r.reading++ })
		request, err := readRequest(p.Reader)
		var fault wireFault
		r.change(func() {
			r.reading--
			switch {
			case err == nil:
				r.requests = append(r.requests, request)
			case errors.As(err, &fault):
				r.faults = append(r.faults, fault.Error())
			default:
				r.broken++
			}
		})
		if err != nil {
			return
		}
		if request.method == "HEAD" {
			p.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
		} else {
			p.Answer("ok")
		}
	}
}

type wireFault string

func (f wireFault) Error() string { return string(f) }

func line(reader *bufio.Reader) (string, error) {
	text, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, clean := strings.CutSuffix(text, "\r\n")
	if !clean || strings.ContainsAny(text, "\r\x00") {
		return "", wireFault(fmt.Sprintf("line %q", text))
	}
	return text, nil
}

const tokens = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isToken(text string) bool { return text != "" && strings.Trim(text, tokens) == "" }

func readFields(reader *bufio.Reader) (fields []string, err error) {
	for {
		text, err := line(reader)
		if err != nil || text == "" {
			return fields, err
		}
		name, value, found := strings.Cut(text, ": ")
		if !found || !isToken(name) || strings.TrimSpace(value) != value {
			return nil, wireFault(fmt.Sprintf("field %q", text))
		}
		fields = append(fields, strings.ToLower(name)+": "+value)
	}
}

func readRequest(reader *bufio.Reader) (r received, err error) {
	text, err := line(reader)
	if err != nil {
		return r, err
	}
	words := strings.Split(text, " ")
	if len(words) != 3 || !isToken(words[0]) || words[1] == "" || words[2] != "HTTP/1.1" {
		return r, wireFault(fmt.Sprintf("request line %q", text))
	}
	r.method, r.target = words[0], words[1]
	if r.fields, err = readFields(reader); err != nil {
		return r, err
	}
	hosts, lengths, codings := r.values("host"), r.values("content-length"), r.values("transfer-encoding")
	if len(hosts) != 1 || len(lengths)+len(codings) > 1 || len(codings) == 1 && codings[0] != "chunked" {
		return r, wireFault(fmt.Sprintf("fields %q", r.fields))
	}
	r.host = hosts[0]
	if len(lengths) == 1 {
		length, err := strconv.ParseUint(lengths[0], 10, 32)
		if err != nil {
			return r, wireFault(err.Error())
		}
		body := make([]byte, length)
		_, err = io.ReadFull(reader, body)
		r.body = string(body)
		return r, err
	}
	if len(codings) == 1 {
		r.body, err = readChunks(reader)
	}
	return r, err
}

func readChunks(reader *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		text, err := line(reader)
		if err != nil {
			return "", err
		}
		size, err := strconv.ParseUint(text, 16, 32)
		if err != nil {
			return "", wireFault(err.Error())
		}
		if size == 0 {
			trailers, err := readFields(reader)
			if len(trailers) > 0 {
				body.WriteString("|" + strings.Join(trailers, "|"))
			}
			return body.String(), err
		}
		if _, err := io.CopyN(&body, reader, int64(size)); err != nil {
			return "", err
		}
		if end, err := line(reader); err != nil || end != "" {
			return "", errors.Join(err, wireFault(fmt.Sprintf("after a chunk: %q", end)))
		}
	}
}
