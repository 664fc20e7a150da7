package packaging

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func service(t *testing.T) (prefix, unit string) {
	t.Helper()
	prefix = prefixed(t)
	return prefix, prefix + "/lib/systemd/system/tollgate.service"
}

func verify(t *testing.T, prefix string, units ...string) string {
	t.Helper()
	c := command(prefix, append([]string{"systemd-analyze", "verify", "--recursive-errors=yes"}, units...)...)
	c.Env = environment("MANPATH=" + prefix + "/share/man:" + strings.TrimSpace(run(t, prefix, "manpath", "-q")))
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, out)
	}
	return string(out)
}

func TestSystemdUnderstandsTheUnits(t *testing.T) {
	t.Parallel()
	prefix, unit := service(t)
	own := t.TempDir()
	socket := own + "/tollgate.socket"
	write(t, socket, read(t, prefix+"/share/doc/tollgate/examples/tollgate.socket"), 0o644)
	if out := verify(t, prefix, unit, socket); out != "" {
		t.Error(out)
	}
	for good, bad := range map[string]string{
		"Type=notify":       "Typ=notify",
		"/bin/tollgate run": "/bin/tolgate run",
		"man:tollgate(1)":   "man:tolgate(1)",
		"KillMode=mixed":    "KillMode=mild",
	} {
		write(t, own+"/broken.service", replace(t, read(t, unit), good, bad), 0o644)
		if verify(t, prefix, own+"/broken.service") == "" {
			t.Errorf("systemd finds nothing wrong with %s", bad)
		}
	}
}

// systemd's own marks, tenths of points: 19 is what remains when a gateway may use the network and one capability.
func TestTheServiceIsHardened(t *testing.T) {
	t.Parallel()
	_, unit := service(t)
	run(t, root, "systemd-analyze", "security", "--offline=true", "--threshold=18", unit)
	loose := regexp.MustCompile(`(?m)^ProtectSystem=.*\n`).ReplaceAllString(read(t, unit), "")
	loose = regexp.MustCompile(`(?m)^SystemCallFilter=.*\n`).ReplaceAllString(loose, "")
	path := t.TempDir() + "/tollgate.service"
	write(t, path, loose, 0o644)
	if out, err := command(root, "systemd-analyze", "security", "--offline=true", "--threshold=18", path).CombinedOutput(); err == nil {
		t.Errorf("a loose unit passes as well:\n%s", out)
	}
}

func setting(t *testing.T, unit, name string) []string {
	t.Helper()
	var values []string
	for _, match := range regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(read(t, unit), -1) {
		values = append(values, match[1])
	}
	if values == nil {
		t.Fatalf("%s has no %s", unit, name)
	}
	return values
}

func seconds(t *testing.T, text string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(text, "%ds", &n); err != nil {
		t.Fatalf("%q is no number of seconds", text)
	}
	return n
}

func TestTheServiceLetsADrainFinish(t *testing.T) {
	t.Parallel()
	prefix, unit := service(t)
	drain := regexp.MustCompile(`(?m)^drain_timeout: (\S+)`).FindStringSubmatch(read(t, prefix+"/etc/tollgate/tollgate.yaml"))[1]
	if stop := setting(t, unit, "TimeoutStopSec")[0]; seconds(t, stop) <= seconds(t, drain) {
		t.Errorf("killed after %s, but a drain may take %s", stop, drain)
	}
}

// expand gives the system calls of a filter as systemd reads it: the first line says what is allowed, `~` takes away.
func expand(t *testing.T, lines []string) map[string]bool {
	t.Helper()
	sets := map[string][]string{}
	var name string
	for line := range strings.Lines(run(t, root, "systemd-analyze", "syscall-filter")) {
		if strings.HasPrefix(line, "@") {
			name = strings.TrimSpace(line)
		} else if word := strings.TrimSpace(line); word != "" && word[0] != '#' {
			sets[name] = append(sets[name], word)
		}
	}
	calls := map[string]bool{}
	var set func(word string, allowed bool)
	set = func(word string, allowed bool) {
		if word[0] != '@' {
			calls[word] = allowed
			return
		}
		if sets[word] == nil {
			t.Fatalf("systemd knows no set %s", word)
		}
		for _, member := range sets[word] {
			set(member, allowed)
		}
	}
	set("@default", true)
	for _, line := range lines {
		for _, word := range strings.Fields(strings.TrimPrefix(line, "~")) {
			set(word, line[0] != '~')
		}
	}
	return calls
}

// What the gateway asks of the kernel while it starts, serves, reloads and drains is what the unit lets pass. (The filter
// itself is put in force by systemd, which does not run here.)
func TestTheServiceMayMakeTheCallsItNeeds(t *testing.T) {
	t.Parallel()
	prefix, unit := service(t)
	material, directory := pki(t), t.TempDir()
	admin, edge := freeAddress(t), freeAddress(t)
	config := directory + "/tollgate.yaml"
	write(t, config, replace(t, read(t, prefix+"/etc/tollgate/tollgate.yaml"), "127.0.0.1:9901", admin, "0.0.0.0:8443", edge,
		"/var/log/tollgate", directory, "gateway.", material+"/gateway.", "trusted_ca: ca.pem", "trusted_ca: "+material+"/ca.pem"), 0o644)
	g := serve(t, admin, command(directory, "strace", "-f", "-qq", "-o", directory+"/calls", "-e", "trace=all", "-e", "signal=none",
		prefix+"/bin/tollgate", "run", "--config", config))
	if code := ask(t, material, "web", edge, "/healthz"); code != "200" {
		t.Errorf("a request: %s", code)
	}
	if _, err := http.Post("http://"+admin+"/reload", "", nil); err != nil {
		t.Error(err)
	}
	if code := ask(t, material, "untrusted", edge, "/healthz"); code != "403" {
		t.Errorf("a stranger's request: %s", code)
	}
	var pid int
	if _, err := fmt.Sscan(strings.SplitN(read(t, directory+"/calls"), " ", 2)[0], &pid); err != nil {
		t.Fatal(err)
	}
	g.drain(t, pid)

	allowed := expand(t, setting(t, unit, "SystemCallFilter"))
	seen := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllStringSubmatch(read(t, directory+"/calls"), -1) {
		seen[match[1]] = true
	}
	for call := range seen {
		if !allowed[call] {
			t.Errorf("%s is called, and the unit does not allow it", call)
		}
	}
	for _, call := range []string{"epoll_wait", "accept4", "seccomp"} {
		if !seen[call] && !seen[strings.Replace(call, "wait", "pwait", 1)] {
			t.Errorf("%s was not seen: what was looked at?", call)
		}
	}
	if allowed["ptrace"] || allowed["mount"] || allowed["setuid"] || !allowed["execve"] {
		t.Error("the filter lets pass what it should not, or forbids what an upgrade needs")
	}
	families := strings.Fields(setting(t, unit, "RestrictAddressFamilies")[0])
	for _, match := range regexp.MustCompile(`socket\((AF_[A-Z0-9]+)`).FindAllStringSubmatch(read(t, directory+"/calls"), -1) {
		if !slices.Contains(families, match[1]) {
			t.Errorf("a socket of %s is made, and the unit does not allow it", match[1])
		}
	}
	if regexp.MustCompile(`PROT_WRITE\|PROT_EXEC`).MatchString(read(t, directory+"/calls")) {
		t.Error("memory is made both writable and code, and the unit does not allow it")
	}
}

// The user that the unit names is the one that is made.
func TestTheServicesUserIsMade(t *testing.T) {
	t.Parallel()
	prefix, unit := service(t)
	scratch := t.TempDir()
	write(t, scratch+"/usr/lib/sysusers.d/tollgate.conf", read(t, prefix+"/lib/sysusers.d/tollgate.conf"), 0o644)
	if err := os.MkdirAll(scratch+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, root, "systemd-sysusers", "--root="+scratch)
	for _, file := range []string{"/etc/passwd", "/etc/group"} {
		if text := read(t, scratch+file); !strings.Contains(text, setting(t, unit, "User")[0]+":") {
			t.Errorf("%s:\n%s", file, text)
		}
	}
}
