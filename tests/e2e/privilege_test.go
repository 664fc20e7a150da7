package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tollgate/tests/backend"
)

// Root is given up, and the sandbox closed, without a caller noticing.

// needsRoot skips what only root can begin: there is nothing to give up otherwise.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
}

func nobody(t *testing.T) (uid, gid int) {
	t.Helper()
	found := must(user.Lookup("nobody"))
	return must(strconv.Atoi(found.Uid)), must(strconv.Atoi(found.Gid))
}

// prepared starts a gateway after something was done to its directory, which everybody may enter.
func prepared(t *testing.T, s setup, prepare func(dir string)) *gateway {
	t.Helper()
	g := &gateway{t: t, setup: s, dir: t.TempDir(), address: freeAddress(t), admin: freeAddress(t)}
	if err := os.Chmod(filepath.Dir(g.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if g.setup.prepare(g.dir); prepare == nil {
		prepare = func(string) {}
	}
	g.config = g.setup.write(t, g.dir, g.address, g.admin)
	prepare(g.dir)
	g.run()
	t.Cleanup(g.kill)
	if !g.becomesReady() {
		t.Fatalf("gateway did not start:\n%s", g.stderr)
	}
	t.Cleanup(g.endsWell)
	g.hasSaidAll(t)
	return g
}

// hasSaidAll waits until everything that it says of its start has come through the pipe.
func (g *gateway) hasSaidAll(t *testing.T) {
	t.Helper()
	waitFor(t, "the log to tell of the start", patience, func() bool { return g.said(`msg="ready"`) })
}

// prepare makes the directories that the names of served pairs lead through.
func (s *setup) prepare(dir string) {
	for _, pair := range s.served {
		_ = os.MkdirAll(filepath.Join(dir, filepath.Dir(pair.name)), 0o755)
	}
}

// handOver gives a directory and all in it to nobody.
func handOver(t *testing.T) func(dir string) {
	uid, gid := nobody(t)
	return func(dir string) {
		if output, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", uid, gid), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
}

// asNobody runs a command of the program in a directory of nobody's: where it was built may be closed to others.
func asNobody(t *testing.T, dir string, arguments ...string) (output string, code int) {
	t.Helper()
	uid, gid := nobody(t)
	program := filepath.Join(dir, "tollgate")
	if output, err := exec.Command("install", "-m", "755", binary(), program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return command(t, "setpriv", append([]string{fmt.Sprint("--reuid=", uid), fmt.Sprint("--regid=", gid), "--clear-groups", program}, arguments...)...)
}

func (g *gateway) pid() int { return g.command.Process.Pid }

func (g *gateway) said(text string) bool { return strings.Contains(g.stderr.String(), text) }

func instrumented() bool {
	content := must(os.ReadFile(binary()))
	return strings.Contains(string(content), "__asan_init") || strings.Contains(string(content), "__tsan_init")
}

// threads returns what /proc says of every thread, by name.
func (g *gateway) threads(t *testing.T) (all []map[string]string) {
	t.Helper()
	for _, path := range must(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", g.pid()))) {
		fields := map[string]string{}
		for line := range strings.Lines(string(must(os.ReadFile(path)))) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
		all = append(all, fields)
	}
	return all
}

func (g *gateway) limit(t *testing.T, name string) (soft, hard string) {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/limits", g.pid()))))) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			words := strings.Fields(rest)
			return words[0], words[1]
		}
	}
	t.Fatalf("no limit %q", name)
	return "", ""
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	return int(must(os.Stat(path)).Sys().(*syscall.Stat_t).Uid)
}

func TestRootIsGivenUpInEveryThread(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	uid, gid := nobody(t)
	g := prepared(t, setup{top: []string{"run_as: {user: nobody}"}, routes: []string{marked("path: /*", "ok")},
		under: []string{"setpriv", "--groups", "4,27"}},
		func(dir string) { // the logs are made by root, in a directory of root's
			_ = os.Chmod(filepath.Join(dir, "tollgate.yaml"), 0o644)
		})
	want := map[string]string{"Uid": fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", uid),
		"Gid": fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", gid), "Groups": "", "CapEff": "0000000000000000",
		"CapPrm": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1"}
	if !instrumented() {
		want["Seccomp"] = "2"
	}
	threads := g.threads(t)
	if len(threads) < 4 { // main, two workers, the audit writer
		t.Errorf("%d threads", len(threads))
	}
	for _, thread := range threads {
		for field, value := range want {
			if thread[field] != value {
				t.Errorf("thread %s: %s is %q, want %q", thread["Pid"], field, thread[field], value)
			}
		}
	}
	if owner := ownerOf(t, g.auditPath()); owner != uid {
		t.Errorf("the audit log belongs to %d, and %d could not open it again", owner, uid)
	}
	if owner := ownerOf(t, fmt.Sprintf("/proc/%d/mem", g.pid())); owner != 0 { // what no dumps means, proc(5)
		t.Errorf("user %d may look into the process", owner)
	}
	g.wantSaid(`msg="root is given up" user=nobody`)
	wantStatus(t, g.client(t, "h2", common().web).get("/x"), http.StatusOK)
}

func TestNoCoreAndNoNewPrivilegesWhoeverItIs(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{under: []string{"prlimit", "--core=unlimited", "--nofile=256:4096"}})
	for _, thread := range g.threads(t) {
		if thread["NoNewPrivs"] != "1" {
			t.Errorf("thread %s may gain privileges", thread["Pid"])
		}
	}
	if soft, hard := g.limit(t, "Max core file size"); soft != "0" || hard != "0" {
		t.Errorf("cores of %s to %s", soft, hard)
	}
	if soft, hard := g.limit(t, "Max open files"); soft != "4096" || hard != "4096" {
		t.Errorf("%s descriptors of %s", soft, hard)
	}
}

func TestWhoeverItIsEverythingWorks(t *testing.T) {
	t.Parallel()
	for name, top := range map[string][]string{
		"root, sandbox":      {},
		"nobody, sandbox":    {"run_as: {user: nobody, group: daemon}"},
		"nobody, no sandbox": {"run_as: {user: nobody}", "sandbox: off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := func(string) {}
			if len(top) > 0 {
				needsRoot(t)
				own = handOver(t)
			}
			everythingWorks(t, top, own)
		})
	}
}

func everythingWorks(t *testing.T, top []string, own func(path string)) {
	users, web, two := grpcBackend(t), httpBackend(t), h2cBackend(t)
	byName := func(address string) string { return "localhost:" + port(address) }
	g := prepared(t, setup{top: append(slices.Clone(top), "access_log: {path: access.jsonl}"),
		routes: []string{route("grpc: user.*/*", "backend: users"), route("path: /one/*", "backend: web"),
			route("path: /two/*", "backend: two"), marked("path: /mark", "old")},
		backends: []string{h2("users", byName(users.Address)), http1("web", byName(web.Address)),
			h2("two", byName(two.Address))}}, own)
	serves := func() {
		for _, protocol := range []string{"h1", "h2"} {
			c := g.client(t, protocol, common().web)
			c.get("/one/x").echo(t)
			c.get("/two/x").echo(t)
		}
		if got, err := backend.Invoke(within(t, patience), g.rpc(t, common().web), "/user.UserService/Login", nil); err != nil {
			t.Fatalf("gRPC: %v %q", err, got)
		}
		wantRefusal(t, g.client(t, "h1", nil).get("/one/x"), http.StatusForbidden, "certificate_missing")
	}
	serves()
	waitFor(t, "the refusal to be on record", patience, func() bool {
		return strings.Contains(string(must(os.ReadFile(g.auditPath()))), "certificate_missing")
	})

	// The logs are rotated, and the names resolved again.
	for _, path := range []string{g.auditPath(), filepath.Join(g.dir, "access.jsonl")} {
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
	}
	g.rewrite(t, `"old"`, `"new"`)
	own(g.dir)
	g.signal(syscall.SIGHUP)
	waitFor(t, "the new configuration", patience, func() bool {
		return g.client(t, "h1", common().web).get("/mark").body == "new"
	})
	serves()
	waitFor(t, "the new logs", patience, func() bool {
		audit, _ := os.ReadFile(g.auditPath())
		access, _ := os.ReadFile(filepath.Join(g.dir, "access.jsonl"))
		return strings.Contains(string(audit), "certificate_missing") && strings.Contains(string(access), "/one/x")
	})
	if output, code := tollgate(t, "audit", "verify", g.auditPath()+".1", g.auditPath()); code != 0 {
		t.Errorf("the chain broke over the rotation: %s", output)
	}

	// The certificate is replaced, and taken up by itself.
	renewed := common().root.server("gateway.test")
	writeFile(t, g.dir, "gateway.pem", pemCertificates(renewed.Certificate...))
	writeFile(t, g.dir, "gateway.key", pemKey(renewed.PrivateKey))
	own(g.dir)
	waitFor(t, "the renewed certificate", patience, func() bool {
		conn, err := g.dialTLS(t, g.trusting(common().web))
		return err == nil && conn.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(leafOf(renewed).SerialNumber) == 0
	})
	serves()
}

func TestWhatTheNewUserMayNotDoIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	g := prepared(t, setup{top: []string{"run_as: {user: nobody}", "access_log: {path: access.jsonl}"},
		routes: []string{marked("path: /*", "old")}}, func(dir string) {
		handOver(t)(dir)
		for _, name := range []string{"gateway.key", "access.jsonl"} { // they stay root's
			_ = os.WriteFile(filepath.Join(dir, name+".root"), nil, 0o600)
		}
		_ = os.Chown(filepath.Join(dir, "gateway.key"), 0, 0)
		_ = os.Rename(filepath.Join(dir, "access.jsonl.root"), filepath.Join(dir, "access.jsonl"))
	})
	for what, file := range map[string]string{"may not read this file: reloads will be refused": "gateway.key",
		"may not open this log again": "access.jsonl"} {
		g.wantSaid(what)
		if !slices.ContainsFunc(strings.Split(g.stderr.String(), "\n"), func(line string) bool {
			return strings.Contains(line, what) && strings.Contains(line, "/"+file) && strings.Contains(line, "level=warn")
		}) {
			t.Errorf("it does not say %q of %s:\n%s", what, file, g.stderr)
		}
	}
	if slices.ContainsFunc(strings.Split(g.stderr.String(), "\n"), func(line string) bool {
		return strings.Contains(line, "level=warn") &&
			(strings.Contains(line, "other.key") || strings.Contains(line, "/audit.jsonl"))
	}) {
		t.Errorf("it warns of what is well:\n%s", g.stderr)
	}
	g.rewrite(t, `"old"`, `"new"`)
	handOver(t)(g.config)
	if status, text := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(text, "gateway.key: cannot be read: Permission denied") {
		t.Errorf("POST /reload: %d %s", status, text)
	}
	if got := g.client(t, "h1", common().web).get("/x"); got.body != "old" {
		t.Errorf("not the old configuration: %+v", got)
	}
	handOver(t)(filepath.Join(g.dir, "gateway.key"))
	g.reload(t)
}

func TestWhoItIsAndItsSandboxTakeARestart(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	g := answering(t, setup{})
	for _, row := range []struct{ line, names string }{{"run_as: {user: nobody}", "run_as"}, {"sandbox: off", "sandbox"}} {
		g.rewrite(t, "workers: 2\n", "workers: 2\n"+row.line+"\n")
		if status, text := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(text, row.names+" changed, which needs a restart") {
			t.Errorf("%s: %d %s", row.line, status, text)
		}
		g.rewrite(t, row.line+"\n", "")
		g.reload(t)
	}
}

func TestWithoutRootNobodyElseIsBecome(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	dir := t.TempDir()
	s := setup{top: []string{"run_as: {user: daemon}"}, routes: []string{marked("path: /*", "ok")}}
	config := s.write(t, dir, freeAddress(t), freeAddress(t))
	handOver(t)(dir)
	if output, code := asNobody(t, dir, "run", "--config", config); code != 1 || !strings.Contains(output, "run_as") {
		t.Errorf("exit %d: %s", code, output)
	}
}

func TestASwappedDirectoryOfCertificatesIsStillReached(t *testing.T) {
	t.Parallel()
	renewed := common().root.server("gateway.test")
	pair := func(name string, made ...[]byte) servedPair { return servedPair{name, made[0], made[1]} }
	g := prepared(t, setup{routes: []string{marked("path: /*", "ok")}, served: []servedPair{
		pair("2024/gateway", pemCertificates(common().gateway.Certificate...), pemKey(common().gateway.PrivateKey))}},
		func(dir string) {
			if err := os.Symlink("2024", filepath.Join(dir, "current")); err != nil {
				t.Fatal(err)
			}
			config := filepath.Join(dir, "tollgate.yaml")
			text := strings.ReplaceAll(string(must(os.ReadFile(config))), "2024/gateway", "current/gateway")
			writeFile(t, dir, "tollgate.yaml", []byte(text))
		})
	if err := os.Mkdir(filepath.Join(g.dir, "2025"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, g.dir, "2025/gateway.pem", pemCertificates(renewed.Certificate...))
	writeFile(t, g.dir, "2025/gateway.key", pemKey(renewed.PrivateKey))
	_ = os.Symlink("2025", filepath.Join(g.dir, "next"))
	if err := os.Rename(filepath.Join(g.dir, "next"), filepath.Join(g.dir, "current")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the renewed certificate", patience, func() bool {
		conn, err := g.dialTLS(t, g.trusting(common().web))
		return err == nil && conn.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(leafOf(renewed).SerialNumber) == 0
	})
}
