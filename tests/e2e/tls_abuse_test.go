package e2e

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// What TLS lets a client repeat for nothing once its connection is open.

// A typist is openssl s_client, which takes orders such as R and k while a connection is open.
func (g *gateway) typist(t *testing.T, version string) (*exec.Cmd, io.Writer, *lockedBuffer) {
	t.Helper()
	command := exec.Command("openssl", "s_client", "-connect", g.address, version, "-msg",
		"-cert", g.dir+"/web.pem", "-key", g.dir+"/web.key")
	said := &lockedBuffer{}
	command.Stdout, command.Stderr = said, said
	typed := must(command.StdinPipe())
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	return command, typed, said
}

func TestKeyUpdatesInBetweenDoNoHarm(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	_ = g.openssl(t, "Q\n") // writes the files of the certificate
	for _, key := range []string{"k", "K"} {
		command, typed, said := g.typist(t, "-tls1_3")
		for _, step := range [][2]string{{key + "\n", "KEYUPDATE"}, {closingRequest, "200 OK"}} {
			_, _ = io.WriteString(typed, step[0])
			waitFor(t, step[1], patience, func() bool { return strings.Contains(said.String(), step[1]) })
		}
		_ = command.Wait()
	}
}

func TestWhoWearsTLSOutIsCutOffOnTheRecord(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		version, order, said string
		times                int
		detail, alert        string
	}{
		"renegotiation": {"-tls1_2", "R\n", "RENEGOTIATING", 1, "the client asked for renegotiation", `"tls_alert":"no_renegotiation"`},
		"key updates":   {"-tls1_3", "k\n", "KEYUPDATE", 33, "the client sent a flood of key updates", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, setup{})
			_ = g.openssl(t, "Q\n")
			_, typed, said := g.typist(t, row.version)
			waitFor(t, "the handshake", patience, func() bool { return strings.Contains(said.String(), "Verif") })
			for done := range row.times {
				_, _ = io.WriteString(typed, row.order)
				waitFor(t, fmt.Sprint("order ", done), patience, func() bool { return strings.Count(said.String(), row.said) > done })
			}
			r := g.waitForAudit(t, name, because("protocol_violation"))
			if r.Detail != row.detail || !strings.Contains(string(r.line), row.alert) || r.Principal != webID {
				t.Errorf("recorded %s", r.line)
			}
		})
	}
}
