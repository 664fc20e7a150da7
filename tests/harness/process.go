package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Pid is the process.
func (g *Gateway) Pid() int { return g.command.Process.Pid }

// Said returns what the process wrote to stdout and stderr so far.
func (g *Gateway) Said() string { return g.output.String() }

// WantSaid waits for words that the process writes: what it tells of may be seen before they are read here.
func (g *Gateway) WantSaid(words string) {
	g.t.Helper()
	for deadline := time.Now().Add(Slow(2 * time.Second)); !strings.Contains(g.Said(), words); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Errorf("it does not say %q:\n%s", words, g.Said())
			return
		}
	}
}

// Signal sends one.
func (g *Gateway) Signal(signal syscall.Signal) {
	g.t.Helper()
	if err := g.command.Process.Signal(signal); err != nil {
		g.t.Errorf("signal %v: %v", signal, err)
	}
}

// Exit waits for the process to end by itself, and returns its exit status.
func (g *Gateway) Exit(within time.Duration) int {
	g.t.Helper()
	select {
	case <-g.exited:
	case <-time.After(Slow(within)):
		g.t.Errorf("the gateway still runs after %v:\n%s%s", within, Threads(g.Pid()), g.output)
		_ = g.command.Process.Signal(syscall.SIGKILL)
		<-g.exited
	}
	g.judged = true
	for _, mark := range []string{"Sanitizer", "runtime error:", "CHECK"} {
		if strings.Contains(g.Said(), mark) {
			g.t.Errorf("the gateway ended with %v:\n%s", g.command.ProcessState, g.output)
		}
	}
	return g.command.ProcessState.ExitCode()
}

// Kill ends the process as a crash does.
func (g *Gateway) Kill() {
	_ = g.command.Process.Kill()
	<-g.exited
	g.judged = true
}

// Restart starts the process again, after it ended, and waits until it serves.
func (g *Gateway) Restart() {
	g.t.Helper()
	g.run()
	g.waitReady()
}

// Ask asks the admin listener; status 0: there was no answer.
func (g *Gateway) Ask(method, path string) (status int, body string) {
	client := http.Client{Timeout: Slow(5 * time.Second), Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(Must(http.NewRequest(method, "http://"+g.Admin+path, nil)))
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// Metric returns the sum of the series of that name, or of that name whose labels begin so.
func (g *Gateway) Metric(series string) (sum float64) {
	g.t.Helper()
	status, text := g.Ask("GET", "/metrics")
	if status != http.StatusOK {
		g.t.Fatalf("/metrics: %d %s", status, text)
	}
	WantMetric(g.t, text, series)
	rest := `.*`
	if !strings.Contains(series, "{") {
		rest = `(?:\{.*)?`
	}
	for _, found := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(series)+rest+` (\S+)$`).FindAllStringSubmatch(text, -1) {
		sum += Must(strconv.ParseFloat(found[1], 64))
	}
	return sum
}

var histogramPart = regexp.MustCompile(`_(bucket|sum|count)$`)

// WantMetric ends a test that asks the exposition for what is no metric: a series that has not begun is 0, and so would be
// every misspelt one.
func WantMetric(t *testing.T, exposition, series string) {
	t.Helper()
	name, _, _ := strings.Cut(series, "{")
	for _, family := range []string{name, histogramPart.ReplaceAllString(name, "")} {
		if strings.Contains(exposition, "# TYPE "+family+" ") {
			return
		}
	}
	t.Fatalf("there is no metric %s", name)
}

// Tollgate runs a command of the program to its end.
func Tollgate(t *testing.T, arguments ...string) (output string, code int) {
	t.Helper()
	return Run(t, append([]string{Binary()}, arguments...)...)
}

// Run runs any command to its end.
func Run(t *testing.T, words ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Slow(30*time.Second))
	defer cancel()
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	said, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	return string(said), command.ProcessState.ExitCode()
}

// A Record is a line of the audit log.
type Record struct {
	Timestamp time.Time
	Seq       int64
	Event     string
	Reason    string
	Principal string
	Count     int
	Previous  string
	Request   struct{ Path string }
	Torn      struct{ Bytes int64 }
}

// A Line is one of the access log.
type Line struct {
	Timestamp  time.Time
	Path       string
	Status     int
	GRPCStatus *int `json:"grpc_status"`
	Backend    string
	Cause      string
}

// Read returns the whole lines of a log file; a missing file has none.
func Read[T any](t *testing.T, path string) (found []T) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var one T
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("%s: %v: %q", path, err, line)
		}
		found = append(found, one)
	}
	return found
}

// Path is a file of the gateway's directory.
func (g *Gateway) Path(name string) string { return filepath.Join(g.Dir, name) }

// GRPC is a gRPC client with the good certificate.
func (g *Gateway) GRPC(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn := Must(grpc.NewClient("passthrough:///"+g.Address, grpc.WithTransportCredentials(credentials.NewTLS(ClientTLS())),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20))))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
