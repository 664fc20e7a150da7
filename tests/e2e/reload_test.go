package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A reload takes the new configuration whole, or none of it.

// rewrite changes the configuration file.
func (g *gateway) rewrite(t *testing.T, from, to string) {
	t.Helper()
	text := string(must(os.ReadFile(g.config)))
	if !strings.Contains(text, from) {
		t.Fatalf("the configuration has no %q:\n%s", from, text)
	}
	writeFile(t, g.dir, "tollgate.yaml", []byte(strings.Replace(text, from, to, 1)))
}

func (g *gateway) post(t *testing.T, path string) (int, string) {
	t.Helper()
	answer, err := http.Post("http://"+g.admin+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.StatusCode, string(must(io.ReadAll(answer.Body)))
}

const reloadSuccess = "tollgate_config_last_reload_success"

func TestHangupTakesTheNewConfiguration(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{marked("path: /*", "old")}})
	open := g.client(t, "h2", common().web) // a connection from before sees the new routes, too
	if got := open.get("/x"); got.body != "old" {
		t.Fatalf("got %+v", got)
	}
	g.rewrite(t, `body: "old"`, `body: "new"`)
	g.signal(syscall.SIGHUP)
	waitFor(t, "the new configuration", 5*time.Second, func() bool {
		return g.client(t, "h1", common().web).get("/x").body == "new" && open.get("/x").body == "new"
	})
	if n := open.connections(); n != 1 {
		t.Errorf("the reload cost %d connections", n-1)
	}
	waitFor(t, "the reload to be told", 2*time.Second, func() bool { // the workers may be quicker
		return strings.Contains(g.stderr.String(), "configuration reloaded") && g.metric(t, reloadSuccess) == 1
	})
}

func TestBadConfigurationIsRefusedWhole(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"unknown key":    {"    routes:", "    rotes: []\n    routes:"},
		"no YAML":        {"listeners:", "listeners: [}"},
		"missing file":   {"trusted_ca: ca.pem", "trusted_ca: none.pem"},
		"other workers":  {"workers: 2", "workers: 3"},                       // takes a restart
		"not an address": {"    address:", "    address: \"192.0.2.1:1\" #"}, // of another machine
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, setup{routes: []string{marked("path: /*", "old")}})
			g.rewrite(t, `body: "old"`, `body: "new"`)
			good := must(os.ReadFile(g.config))
			g.rewrite(t, change[0], change[1])
			g.signal(syscall.SIGHUP)
			waitFor(t, "the refusal to be told", 5*time.Second, func() bool { return g.metric(t, reloadSuccess) == 0 })
			waitFor(t, "the refusal to be logged", 5*time.Second, func() bool {
				return strings.Contains(g.stderr.String(), "level=error") && strings.Contains(g.stderr.String(), "tollgate.yaml:")
			})
			if status, text := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(text, "tollgate.yaml:") {
				t.Errorf("POST /reload: %d %s", status, text)
			}
			if got := g.client(t, "h1", common().web).get("/x"); got.body != "old" {
				t.Errorf("not the old configuration: %+v", got)
			}
			writeFile(t, g.dir, "tollgate.yaml", good)
			g.reload(t)
			if got := g.client(t, "h1", common().web).get("/x"); got.body != "new" || g.metric(t, reloadSuccess) != 1 {
				t.Errorf("not the new configuration: %+v", got)
			}
		})
	}
}

func TestReloadedPatternsHoldForOpenConnections(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			c := g.client(t, protocol, common().web)
			wantStatus(t, c.get("/x"), http.StatusOK)
			g.rewrite(t, "spiffe://cluster.local/*", "spiffe://cluster.local/ns/other/*")
			g.reload(t)
			waitFor(t, "the identity to be refused", 5*time.Second, func() bool {
				return c.get("/x").status == http.StatusForbidden
			})
			g.rewrite(t, "spiffe://cluster.local/ns/other/*", "spiffe://cluster.local/*")
			g.reload(t)
			waitFor(t, "the identity to be let in again", 5*time.Second, func() bool {
				return c.get("/x").status == http.StatusOK
			})
		})
	}
}

// Whoever asks for a reload is told the very lines that `check` has, of the file as a whole too.
func TestReloadSaysWhatCheckSays(t *testing.T) {
	t.Parallel()
	g := start(t, setup{keepErrors: true, routes: []string{marked("path: /*", "ok")}})
	good := string(must(os.ReadFile(g.config)))
	var many strings.Builder
	many.WriteString(good)
	for i := range 1200 {
		fmt.Fprintf(&many, "k%d: 1\n", i)
	}
	for name, text := range map[string]string{"no mapping": "hello\n", "nothing": "", "an unknown key": good + "wokers: 1\n",
		"a second document": good + "---\n", "more than anybody reads": good + strings.Repeat("[", 40) + "\n",
		"too many": many.String(), "no file": "gone"} {
		writeFile(t, g.dir, "tollgate.yaml", []byte(text))
		if text == "gone" {
			_ = os.Remove(g.config)
		}
		want, code := tollgate(t, "check", "--config", g.config)
		if status, said := g.post(t, "/reload"); code != 2 || status != http.StatusConflict || said != want {
			t.Errorf("%s: %d %.300s, check %d %.300s", name, status, said, code, want)
		}
	}
	writeFile(t, g.dir, "tollgate.yaml", []byte(good))
}

func TestARefusalNamesAllThatNeedsARestart(t *testing.T) {
	t.Parallel()
	g := start(t, setup{keepErrors: true, top: []string{"access_log: {path: access.jsonl}"}, routes: []string{marked("path: /*", "ok")}})
	good := string(must(os.ReadFile(g.config)))
	for _, change := range [][2]string{{"workers: 2", "workers: 3"}, {g.admin, freeAddress(t)}, {"audit.jsonl", "other.jsonl"},
		{"access.jsonl", "others.jsonl"}} {
		g.rewrite(t, change[0], change[1])
	}
	status, said := g.post(t, "/reload")
	if status != http.StatusConflict || !strings.Contains(said, "workers, admin.address, audit.path, access_log.path changed, which needs a restart") {
		t.Errorf("%d %s", status, said)
	}
	writeFile(t, g.dir, "tollgate.yaml", []byte(good))
}
