package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What lies in a directory that the sandbox was not told of is out of reach until a restart, and whoever asks for it is told so.

func TestADirectoryNamedLaterNeedsARestart(t *testing.T) {
	t.Parallel()
	ticket := []byte(strings.Repeat("0123456789", 8))
	g := answering(t, setup{tls: []string{"session_ticket_keys: [ticket.key]"}, files: map[string][]byte{"ticket.key": ticket}})
	outside := t.TempDir()
	writeFile(t, outside, "ca.pem", g.setup.trust)
	writeFile(t, outside, "ticket.key", ticket)
	g.rewrite(t, "trusted_ca: ca.pem", "trusted_ca: "+filepath.Join(outside, "ca.pem"))
	g.rewrite(t, "[ticket.key]", "["+filepath.Join(outside, "ticket.key")+"]")
	if output, code := tollgate(t, "check", "--config", g.config); code != 0 {
		t.Fatalf("the file is not good by itself: %s", output)
	}
	status, text := g.post(t, "/reload")
	g.hasSaidAll(t)
	if g.said("directories closed") { // else nothing is, and the log says why
		if status != http.StatusConflict || strings.Count(text, "a restart is needed") != 2 {
			t.Errorf("POST /reload: %d %s", status, text)
		}
	} else if status != http.StatusOK || !g.said("sandbox") {
		t.Errorf("POST /reload: %d %s\n%s", status, text, g.stderr)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

func TestLinksToADirectoryNobodyNamedNeedARestart(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{keepErrors: true})
	outside := t.TempDir()
	good := must(os.ReadFile(g.config))
	writeFile(t, outside, "tollgate.yaml", good)
	for _, name := range []string{"tollgate.yaml", "audit.jsonl"} {
		path := filepath.Join(g.dir, name)
		rename(t, path, path+".before")
		link(t, filepath.Join(outside, name), path)
	}
	status, text := g.post(t, "/reload")
	g.hasSaidAll(t)
	if g.said("directories closed") {
		if status != http.StatusConflict || !strings.Contains(text, "cannot be opened: its directory was not named") {
			t.Errorf("POST /reload: %d %s", status, text)
		}
		waitFor(t, "the log to say why", patience, func() bool {
			return g.said("cannot be opened for appending: its directory was not named when the sandbox was closed; a restart is needed")
		})
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}

func TestASocketInADirectoryNamedLaterNeedsARestart(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	g.rewrite(t, fmt.Sprintf("address: %q", g.address), "address: unix:"+filepath.Join(t.TempDir(), "tollgate.sock"))
	status, text := g.post(t, "/reload")
	g.hasSaidAll(t)
	if !g.said("directories closed") { // nothing is in the way
		if status != http.StatusOK {
			t.Errorf("POST /reload: %d %s", status, text)
		}
		g.refusesConnections(t)
		return
	}
	if status != http.StatusConflict || !strings.Contains(text, "a restart is needed") {
		t.Errorf("POST /reload: %d %s", status, text)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
}
