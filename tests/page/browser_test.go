package page

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// A browser is a headless Chromium with one tab, driven through its DevTools protocol: JSON messages over two pipes, each
// ended by a NUL.
type browser struct {
	t       *testing.T
	out     *os.File
	session string

	mutex     sync.Mutex
	last      int
	answers   map[int]chan message
	complains []string // errors of the console, exceptions, what the page's policy stopped
	requested []string // URLs
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct{ Message string }
}

// Violations are also seen by the page itself; this runs before anything of it.
const watchViolations = `window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI));`

func openBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium: make test-deps installs it")
	}
	profile := harness.Must(os.MkdirTemp("", "chromium")) // not the test's own, whose removal may not fail while processes die
	fromUs, out, err := os.Pipe()
	toUs, in, err2 := os.Pipe()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	command := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
		"--force-color-profile=srgb", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	command.Env = append(os.Environ(), "TMPDIR="+profile)
	command.ExtraFiles = []*os.File{fromUs, in}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = fromUs.Close(), in.Close()
	b := &browser{t: t, out: out, answers: map[int]chan message{}}
	heard := make(chan struct{})
	go func() { defer close(heard); b.hear(bufio.NewReader(toUs)) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // its own group
		_ = command.Wait()
		_ = out.Close()
		<-heard
		_ = os.RemoveAll(profile)
	})
	b.attach()
	return b
}

func (b *browser) attach() {
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": watchViolations}, nil)
}

func (b *browser) hear(reader *bufio.Reader) {
	for {
		text, err := reader.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mutex.Lock()
		if m.ID != 0 {
			b.answers[m.ID] <- m
			delete(b.answers, m.ID)
		} else {
			b.note(m)
		}
		b.mutex.Unlock()
	}
}

func (b *browser) note(m message) {
	var event struct {
		Type             string
		Args             []struct{ Value any }
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Request struct{ URL string }
	}
	_ = json.Unmarshal(m.Params, &event)
	switch {
	case m.Method == "Runtime.consoleAPICalled" && (event.Type == "error" || event.Type == "warning"):
		b.complains = append(b.complains, fmt.Sprint("console: ", event.Args))
	case m.Method == "Runtime.exceptionThrown":
		b.complains = append(b.complains, "exception: "+event.ExceptionDetails.Text+" "+event.ExceptionDetails.Exception.Description)
	case m.Method == "Log.entryAdded" && (event.Entry.Level == "error" || event.Entry.Level == "warning"):
		b.complains = append(b.complains, "log: "+event.Entry.Text+" "+event.Entry.URL)
	case m.Method == "Network.requestWillBeSent":
		b.requested = append(b.requested, event.Request.URL)
	}
}

// call asks the browser for something, and reads the answer into `result` if there is one.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.mutex.Lock()
	b.last++
	id, answer := b.last, make(chan message, 1)
	b.answers[id] = answer
	b.mutex.Unlock()
	request := map[string]any{"id": id, "method": method, "params": params}
	if params == nil {
		request["params"] = map[string]any{}
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	if _, err := b.out.Write(append(harness.Must(json.Marshal(request)), 0)); err != nil {
		b.t.Fatal(method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(method, err)
			}
		}
	case <-time.After(harness.Slow(20 * time.Second)):
		b.t.Fatal("the browser does not answer: ", method)
	}
}

// eval runs a script in the page and reads what it gives into a T.
func eval[T any](b *browser, script string) (value T) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s %s", script, answer.ExceptionDetails.Text, answer.ExceptionDetails.Exception.Description)
	}
	if answer.Result.Value != nil {
		if err := json.Unmarshal(answer.Result.Value, &value); err != nil {
			b.t.Fatalf("%s: %v: %s", script, err, answer.Result.Value)
		}
	}
	return value
}

func (b *browser) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.until("the page to be there", "document.readyState === 'complete' && location.href !== 'about:blank'")
}

// until waits for a condition of the page.
func (b *browser) until(what, script string) {
	b.t.Helper()
	deadline := time.Now().Add(harness.Slow(8 * time.Second))
	for !eval[bool](b, script) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for %s; the page says:\n%s", what, eval[string](b, "document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{
		map[string]string{"name": "prefers-color-scheme", "value": name},
		map[string]string{"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
}

func (b *browser) size(width, height int, phone bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 2, "mobile": phone}, nil)
}

// picture leaves a screenshot of the whole page in build/page/, for people.
func (b *browser) picture(name string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	path := filepath.Join("../../build/page", name+".png")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, harness.Must(base64.StdEncoding.DecodeString(shot.Data)), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// quiet sees that nothing complained so far, and that nothing was asked for elsewhere.
func (b *browser) quiet(origin string) {
	b.t.Helper()
	violations := eval[[]string](b, "window.violations || []")
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, one := range append(violations, b.complains...) {
		b.t.Error("the browser complains: ", one)
	}
	for _, url := range b.requested {
		if !strings.HasPrefix(url, origin+"/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			b.t.Error("asked for elsewhere: ", url)
		}
	}
}
