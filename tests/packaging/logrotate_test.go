package packaging

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// house is a machine's view for logrotate, in a mount namespace of its own: the packaged configuration as it is, the user
// that the package makes, /var/log/tollgate, and a systemctl that knows the gateway under test.
type house struct {
	*testing.T
	directory, logs string
	user            uint32
}

func newHouse(t *testing.T) *house {
	asRoot(t)
	prefix, _ := service(t)
	h := &house{T: t, directory: t.TempDir()}
	h.logs = h.directory + "/logs"
	reachable(t, h.directory)
	write(t, h.directory+"/etc/passwd", read(t, "/etc/passwd"), 0o644)
	write(t, h.directory+"/etc/group", read(t, "/etc/group"), 0o644)
	write(t, h.directory+"/usr/lib/sysusers.d/tollgate.conf", read(t, prefix+"/lib/sysusers.d/tollgate.conf"), 0o644)
	run(t, root, "systemd-sysusers", "--root="+h.directory)
	line := regexp.MustCompile(`(?m)^tollgate:[^:]*:(\d+):`).FindStringSubmatch(read(t, h.directory+"/etc/passwd"))
	if _, err := fmt.Sscan(line[1], &h.user); err != nil {
		t.Fatal(err)
	}
	write(t, h.directory+"/tollgate", read(t, prefix+"/etc/logrotate.d/tollgate"), 0o644)
	if err := os.Mkdir(h.logs, 0o750); err != nil {
		t.Fatal(err)
	}
	h.own(h.logs, 0o750)
	return h
}

func (h *house) own(path string, mode os.FileMode) {
	h.Helper()
	if err := os.Chown(path, int(h.user), int(h.user)); err != nil {
		h.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		h.Fatal(err)
	}
}

const inTheHouse = `set -e
mount --bind "$1/etc/passwd" /etc/passwd; mount --bind "$1/etc/group" /etc/group
mount -t tmpfs none /var/log; mkdir /var/log/tollgate; mount --bind "$1/logs" /var/log/tollgate
PATH=$1/bin:$PATH; directory=$1; shift
exec logrotate --state "$directory/state" "$@" "$directory/tollgate"`

func (h *house) logrotate(flags ...string) string {
	h.Helper()
	out := run(h.T, root, append([]string{"unshare", "--mount", "sh", "-c", inTheHouse, "sh", h.directory}, flags...)...)
	// Of itself it says in a debug mode that it is in it.
	if regexp.MustCompile(`(?m)^(error:|warning: [^l])`).MatchString(out) {
		h.Fatal(out)
	}
	return out
}

func TestLogrotateUnderstandsTheConfiguration(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	write(t, h.logs+"/audit.jsonl", "{}\n", 0o640)
	h.own(h.logs+"/audit.jsonl", 0o640)
	if out := h.logrotate("--debug", "--force"); !strings.Contains(out, "considering log /var/log/tollgate/audit.jsonl") {
		t.Error(out)
	}
}

// Both logs are rotated under a gateway that goes on serving, twice; the audit chain holds over all files.
func TestRotationUnderARunningGateway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	material, admin, edge := pki(t), freeAddress(t), freeAddress(t)
	config := replace(t, read(t, root+"/deploy/tollgate.yaml"), "/var/log/tollgate", h.logs, "127.0.0.1:9901", admin, "0.0.0.0:8443", edge)
	write(t, h.directory+"/own/tollgate.yaml", config, 0o644)
	for _, name := range []string{"gateway.pem", "gateway.key", "ca.pem"} {
		// As the README has it: root's, and readable for the service.
		write(t, h.directory+"/own/"+name, read(t, material+"/"+name), 0o640)
		if err := os.Chown(h.directory+"/own/"+name, 0, int(h.user)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, h.directory+"/bin/program", read(t, root+"/build/tollgate"), 0o755)
	c := command(h.directory, h.directory+"/bin/program", "run", "--config", h.directory+"/own/tollgate.yaml")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: h.user, Gid: h.user}}
	g := serve(t, admin, c)
	// The postrotate script's very words, or nothing happens and the test fails.
	write(t, h.directory+"/bin/systemctl", fmt.Sprintf("#!/bin/sh\n"+
		"[ \"$*\" = 'kill --kill-whom=main --signal=HUP tollgate.service' ] && kill -HUP %d\n", c.Process.Pid), 0o755)

	lines := func(name string) int {
		text, _ := os.ReadFile(h.logs + "/" + name)
		return strings.Count(string(text), "\n")
	}
	refuse := func(wanted int) {
		if code := ask(t, material, "untrusted", edge, "/healthz"); code != "403" {
			t.Errorf("a stranger's request: %s", code)
		}
		eventually(t, "a record in the new file", func() bool { return lines("audit.jsonl") >= wanted })
	}
	rotate := func() {
		h.logrotate("--force")
		eventually(t, "new files", func() bool {
			_, audit := os.Stat(h.logs + "/audit.jsonl")
			_, access := os.Stat(h.logs + "/access.jsonl")
			return audit == nil && access == nil
		})
	}
	refuse(1)
	rotate()
	refuse(1)
	refuse(2)
	verify := func(files ...string) {
		t.Helper()
		run(t, h.logs, append([]string{root + "/build/tollgate", "audit", "verify"}, files...)...)
	}
	verify("audit.jsonl.1", "audit.jsonl")
	if lines("audit.jsonl.1") != 1 || lines("audit.jsonl") != 2 {
		t.Errorf("records were written to the rotated file: %d, %d", lines("audit.jsonl.1"), lines("audit.jsonl"))
	}
	rotate()
	refuse(1)
	g.drain(t, c.Process.Pid)
	run(t, h.logs, "gunzip", "-k", "audit.jsonl.2.gz")
	verify("audit.jsonl.2", "audit.jsonl.1", "audit.jsonl")
	if out, err := command(h.logs, root+"/build/tollgate", "audit", "verify", "audit.jsonl.2", "audit.jsonl").CombinedOutput(); err == nil {
		t.Errorf("the chain holds without a file of its middle:\n%s", out)
	}
}
