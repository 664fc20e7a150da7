package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

const accessLog = "access_log: {path: access.jsonl}"

// defined returns the first words of a table's rows: base/access.def, base/response_flag.def.
func defined(table, macro string) (names []string) {
	for _, found := range regexp.MustCompile(`(?m)^`+macro+`\((\w+),`).FindAllStringSubmatch(string(must(os.ReadFile("../../base/"+table))), -1) {
		names = append(names, found[1])
	}
	return names
}

// An accessLine is one object, and its keys in the order they stand in.
type accessLine struct {
	fields map[string]any
	keys   []string
}

func (l accessLine) text(key string) string {
	text, _ := l.fields[key].(string)
	return text
}

func (l accessLine) number(key string) float64 {
	number, ok := l.fields[key].(float64)
	if !ok {
		return -1
	}
	return number
}

func accessLines(t *testing.T, paths ...string) (lines []accessLine) {
	t.Helper()
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for line := range bytes.Lines(content) {
			if !bytes.HasSuffix(line, []byte("\n")) {
				break
			}
			one := accessLine{}
			if err := json.Unmarshal(line, &one.fields); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			decoder := json.NewDecoder(bytes.NewReader(line))
			for token := must(decoder.Token()); token != json.Delim('}'); token = must(decoder.Token()) {
				if token != json.Delim('{') {
					one.keys = append(one.keys, token.(string))
					_ = must(decoder.Token())
				}
			}
			lines = append(lines, one)
		}
	}
	return lines
}

// accessOf waits for the one line of a request to the path.
func (g *gateway) accessOf(t *testing.T, path string) accessLine {
	t.Helper()
	var found []accessLine
	waitFor(t, "the access line of "+path, 5*time.Second, func() bool {
		found = found[:0]
		for _, line := range accessLines(t, filepath.Join(g.dir, "access.jsonl")) {
			if line.text("path") == path {
				found = append(found, line)
			}
		}
		return len(found) > 0
	})
	if len(found) > 1 {
		t.Errorf("%d lines of %s", len(found), path)
	}
	return found[0]
}

func TestEveryFieldOfTheAccessLogIsOneOfItsTable(t *testing.T) {
	t.Parallel()
	users, web, dead := grpcBackend(t), httpBackend(t), freeAddress(t)
	g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{h2("users", users.Address), http1("web", web.Address), http1("half", dead, web.Address)},
		routes: []string{route("grpc: user.UserService/*", "backend: users"), route("path: /half", "backend: half"), route("path: /api/*", "backend: web")}})
	c := g.client(t, "h2", common().web)
	before := time.Now()
	sent := request("POST", "/api/x?a=1", "12345", "User-Agent", "curious/1.0", "X-Request-Id", "abc-1",
		"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	answer := c.do(sent)
	wantStatus(t, answer, http.StatusOK)
	line := g.accessOf(t, "/api/x?a=1")
	for key, want := range map[string]any{"request_id": "abc-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "parent_span_id": "00f067aa0ba902b7",
		"listener": "edge", "policy_name": "edge//api/*", "route": "/api/*", "principal": webID, "tls_version": "TLSv1.3", "tls_resumed": false,
		"sni": "gateway.test", "protocol": "h2", "method": "POST", "host": "gateway.test", "user_agent": "curious/1.0", "status": 200.0,
		"bytes_received": 5.0, "bytes_sent": float64(len(answer.body)), "backend": "web", "endpoint": web.Address, "backend_reused": false,
		"backend_status": 200.0, "retries": 0.0, "response_flags": nil, "reason": nil, "cause": nil, "grpc_status": nil} {
		if got := line.fields[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	when := must(time.Parse(time.RFC3339Nano, line.text("timestamp")))
	if when.Before(before.Add(-time.Second)) || when.After(time.Now()) || !strings.HasPrefix(line.text("client"), "127.0.0.1:") ||
		!strings.HasPrefix(line.text("tls_cipher"), "TLS_") || len(line.text("span_id")) != 16 {
		t.Errorf("got %v", line.fields)
	}
	_, err := backend.Invoke(ordering(context.Background(), backend.DoFail, "5"), g.rpc(t, common().web), login, nil)
	wantCode(t, err, codes.NotFound)
	if got := g.accessOf(t, login).number("grpc_status"); got != 5 {
		t.Errorf("gRPC status %v", got)
	}
	wantStatus(t, c.get("/half"), http.StatusOK)
	if half := g.accessOf(t, "/half"); half.number("retries") != 1 || half.text("endpoint") != web.Address || half.text("response_flags") != "" {
		t.Errorf("after a retry: %v", half.fields)
	}
	wantRefusal(t, c.get("/nowhere"), http.StatusNotFound, "no_route")
	refused := g.accessOf(t, "/nowhere")
	if refused.text("reason") != "no_route" || refused.number("decide_ms") != -1 || refused.text("backend") != "" || refused.text("route") != "" {
		t.Errorf("refused: %v", refused.fields)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/api/status/204"), http.StatusOK)

	table, seen := defined("access.def", "ACCESS"), map[string]bool{"cause": true} // provoked below
	for _, line := range accessLines(t, filepath.Join(g.dir, "access.jsonl")) {
		at := -1
		for _, key := range line.keys {
			index := slices.Index(table, key)
			if index <= at {
				t.Errorf("%s is not in the table, or out of its order: %v", key, line.keys)
			}
			at, seen[key] = index, true
		}
	}
	seen["response_flags"] = true
	for _, name := range table {
		if !seen[name] {
			t.Errorf("no line has %s", name)
		}
	}
}

func TestStagesOfARequestAreTold(t *testing.T) {
	t.Parallel()
	modern := h2cBackend(t)
	slowly := scripted(t, func(p *backend.Peer) {
		for p.Request() != nil {
			time.Sleep(60 * time.Millisecond) // what is measured
			p.Say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
			time.Sleep(90 * time.Millisecond)
			p.Say("half")
		}
	})
	g := start(t, setup{workers: 1, top: []string{accessLog}, backends: []string{http1("slow", slowly.Address), h2("modern", modern.Address)},
		routes: []string{route("path: /slow/*", "backend: slow"), route("path: /*", "backend: modern")}})
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		wantStatus(t, c.get("/slow/"+protocol), http.StatusOK)
		wantStatus(t, c.get("/slow/"+protocol+"/again"), http.StatusOK)
		first, again := g.accessOf(t, "/slow/"+protocol), g.accessOf(t, "/slow/"+protocol+"/again")
		if first.number("handshake_ms") <= 0 || again.number("handshake_ms") != -1 {
			t.Errorf("handshakes: %v, %v", first.fields["handshake_ms"], again.fields["handshake_ms"])
		}
		if again.fields["backend_reused"] != true || again.number("connect_ms") != 0 {
			t.Errorf("the second took a new connection: %v", again.fields)
		}
		for _, line := range []accessLine{first, again} {
			sum := line.number("decide_ms") + line.number("connect_ms") + line.number("first_byte_ms") + line.number("body_ms")
			if line.number("first_byte_ms") < 59 || line.number("first_byte_ms")+line.number("body_ms") < 149 || sum > line.number("duration_ms")+0.01 || line.number("decide_ms") < 0 {
				t.Errorf("stages: %v", line.fields)
			}
		}
	}
	if first := g.accessOf(t, "/slow/h1"); first.fields["backend_reused"] != false || first.number("connect_ms") <= 0 {
		t.Errorf("the first of all found a connection: %v", first.fields)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/status/204"), http.StatusNoContent)
	if line := g.accessOf(t, "/status/204"); line.number("body_ms") < 0 || line.number("bytes_sent") != 0 {
		t.Errorf("without a body: %v", line.fields)
	}
}

func TestReaderOfTheAccessLogThatIsStuckHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "access.fifo")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	g := answering(t, setup{workers: 1, top: []string{"access_log: {path: " + pipe + "}"}})
	c := g.client(t, "h2", common().web)
	const sent = 1000
	long := "/" + strings.Repeat("x", 4000)
	for i := range sent {
		began := time.Now()
		wantStatus(t, c.get(fmt.Sprintf("%s?%d", long, i)), http.StatusOK)
		if took := time.Since(began); took > slow(time.Second) {
			t.Fatalf("request %d took %v while nobody read its line", i, took)
		}
	}
	dropped := int(g.metric(t, "tollgate_access_lines_dropped_total"))
	if dropped == 0 || dropped >= sent {
		t.Errorf("%d lines of %d are dropped; the queue holds a few hundred", dropped, sent)
	}
	reader := must(os.OpenFile(pipe, os.O_RDONLY, 0))
	t.Cleanup(func() { _ = reader.Close() })
	go func() { g.signal(syscall.SIGTERM) }()
	var read bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&read, reader)
	}()
	_ = g.exitCode(15 * time.Second)
	<-done
	lines := 0
	for line := range bytes.Lines(read.Bytes()) {
		lines++
		if !json.Valid(line) {
			t.Fatalf("a torn line: %.100q", line)
		}
	}
	if lines+dropped != sent {
		t.Errorf("%d lines and %d dropped, of %d requests", lines, dropped, sent)
	}
}

func TestRotationUnderLoadLosesNoLine(t *testing.T) {
	t.Parallel()
	g := start(t, setup{top: []string{accessLog}, routes: []string{marked("path: /ok/*", "ok")}})
	access, audit := filepath.Join(g.dir, "access.jsonl"), g.auditPath()
	stop, sent := make(chan struct{}), make(chan int)
	const clients, rotations = 3, 12
	for i := range clients {
		go func() {
			c, count := g.client(t, []string{"h1", "h2"}[i%2], common().web), 0
			defer func() { sent <- count }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Every other one is refused, which the audit log has too.
				if got := c.get([]string{"/ok/x", "/a%2Fb"}[count%2]); got.err != nil {
					t.Error(got.err)
					return
				}
				count++
			}
		}()
	}
	var accesses, audits []string
	for i := range rotations {
		for _, path := range []string{access, audit} {
			if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
				t.Error(err)
			}
		}
		accesses, audits = append(accesses, fmt.Sprint(access, ".", i)), append(audits, fmt.Sprint(audit, ".", i))
		g.signal(syscall.SIGHUP)
		for _, path := range []string{access, audit} {
			waitFor(t, path, 5*time.Second, func() bool { _, err := os.Stat(path); return err == nil })
		}
	}
	close(stop)
	total := 0
	for range clients {
		total += <-sent
	}
	g.stop()
	if got := len(accessLines(t, append(accesses, access)...)); got != total {
		t.Errorf("%d lines in %d files, of %d requests", got, rotations+1, total)
	}
	if output, code := tollgate(t, append([]string{"audit", "verify"}, append(audits, audit)...)...); code != 0 {
		t.Errorf("audit verify: %d: %s", code, output)
	}
}
