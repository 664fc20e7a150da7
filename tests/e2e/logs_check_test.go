package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// Logs that `run` could not have are told by `check` already, each at its place, and all at once; looking leaves nothing behind.

// logTroubles are files that stand where a log is wanted, by what is said of them.
func logTroubles(t *testing.T, dir string) map[string]string {
	t.Helper()
	for _, err := range []error{os.Mkdir(filepath.Join(dir, "directory"), 0o755),
		syscall.Mknod(filepath.Join(dir, "socket"), syscall.S_IFSOCK|0o600, 0),
		os.Symlink("loop", filepath.Join(dir, "loop"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{"directory": "Is a directory", "socket": "No such device or address",
		"tollgate.yaml/log": "Not a directory", "loop": "Too many levels of symbolic links"}
}

func TestLogsThatCannotBeOpenedAreToldByCheckAsByRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, why := range logTroubles(t, dir) {
		s := setup{audit: "{path: " + path + "}", top: []string{"access_log: {path: ./" + path + "}"}, routes: []string{marked("path: /*", "ok")}}
		config := s.write(t, dir, freeAddress(t), freeAddress(t))
		for command, want := range map[string]int{"check": 2, "run": 1} {
			output, code := tollgate(t, command, "--config", config)
			if code != want {
				t.Errorf("%s with %s: exit %d, want %d", command, path, code, want)
			}
			for _, key := range []string{"audit", "access_log"} {
				line := fmt.Sprintf(`(?m)^%s:[2-9]\d*:\d+: %s\.path: %s/(\./)?%s: cannot be opened for appending: %s`, regexp.QuoteMeta(config), key,
					regexp.QuoteMeta(dir), regexp.QuoteMeta(path), why)
				if !regexp.MustCompile(line).MatchString(output) {
					t.Errorf("%s with %s does not say %s:\n%s", command, path, line, output)
				}
			}
		}
	}
}

// The service manager makes it (LogsDirectory=), or a mount brings it; whoever misspelt it reads so before the restart.
func TestADirectoryOfLogsThatIsNotThereIsAWarning(t *testing.T) {
	t.Parallel()
	s := setup{audit: "{path: none/audit.jsonl}", top: []string{"access_log: {path: none/access.jsonl}"}, routes: []string{marked("path: /*", "ok")}}
	config := s.write(t, t.TempDir(), freeAddress(t), freeAddress(t))
	said, code := tollgate(t, "check", "--config", config)
	for _, key := range []string{"audit", "access_log"} {
		line := fmt.Sprintf(`(?m)^%s:[2-9]:\d+: warning: %s\.path: .*none/.*\.jsonl: its directory is not there`, regexp.QuoteMeta(config), key)
		if code != 0 || !regexp.MustCompile(line).MatchString(said) {
			t.Errorf("check: exit %d, want %s:\n%s", code, line, said)
		}
		told, failed := tollgate(t, "run", "--config", config)
		line = fmt.Sprintf(`(?m)^%s:[2-9]:\d+: %s\.path: .*none/.*\.jsonl: cannot be opened for appending: No such file or directory`,
			regexp.QuoteMeta(config), key)
		if failed != 1 || !regexp.MustCompile(line).MatchString(told) {
			t.Errorf("run: exit %d, want %s:\n%s", failed, line, told)
		}
	}
}

func TestAuditFilesThatCannotGoOnAreToldByCheckAsByRun(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]setup{
		"its last line is no audit record": {files: map[string][]byte{"audit.jsonl": []byte("somebody's\nnotes\n")}},
		"is the audit log's file too":      {files: map[string][]byte{"audit.jsonl": nil}, top: []string{"access_log: {path: linked.jsonl}"}},
	} {
		dir := t.TempDir()
		s.routes = []string{marked("path: /*", "ok")}
		if err := os.Symlink("audit.jsonl", filepath.Join(dir, "linked.jsonl")); err != nil {
			t.Fatal(err)
		}
		config := s.write(t, dir, freeAddress(t), freeAddress(t))
		for command, want := range map[string]int{"check": 2, "run": 1} {
			output, code := tollgate(t, command, "--config", config)
			line := fmt.Sprintf(`(?m)^%s:[2-9]\d*:\d+: (audit|access_log)\.path: .*\.jsonl: %s`, regexp.QuoteMeta(config), name)
			if code != want || !regexp.MustCompile(line).MatchString(output) {
				t.Errorf("%s: exit %d, want %d and %s:\n%s", command, code, want, line, output)
			}
		}
	}
}

func TestCheckLeavesLogsAsTheyAre(t *testing.T) {
	t.Parallel()
	for path, prepare := range map[string]func(path string) error{
		"fresh.jsonl":    func(string) error { return nil },
		"fifo":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"nowhere.jsonl":  func(path string) error { return os.Symlink("fresh.jsonl", path) },
		"stdout.jsonl":   func(path string) error { return os.Symlink("/dev/stdout", path) },
		"/dev/stdout":    func(string) error { return nil },
		"/dev/null":      func(string) error { return nil },
		"torn.jsonl":     func(path string) error { return os.WriteFile(path, []byte(`{"timestamp":"2026-`), 0o600) },
		"elsewhere.d/it": func(path string) error { return os.Mkdir(filepath.Dir(path), 0o700) },
	} {
		dir := t.TempDir()
		s := setup{audit: "{path: " + path + "}", routes: []string{marked("path: /*", "ok")}}
		config := s.write(t, dir, freeAddress(t), freeAddress(t))
		if err := prepare(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
		before := listing(t, dir)
		if output, code := tollgate(t, "check", "--config", config); code != 0 {
			t.Errorf("%s: exit %d: %s", path, code, output)
		}
		if after := listing(t, dir); after != before {
			t.Errorf("%s: the directory was\n%s\nand is\n%s", path, before, after)
		}
	}
}

// listing is what lies in a directory and below, with sizes.
func listing(t *testing.T, dir string) (text string) {
	t.Helper()
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			text += fmt.Sprintln(path, info.Mode(), info.Size())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return text
}

// The gateway that is running has its audit log locked: a check before a reload must not mind.
func TestCheckTakesNoOffenceAtTheGatewayThatRuns(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	wantRefusal(t, g.client(t, "h1", common().web).get("/a%2Fb"), 400, "malformed_request")
	g.countAudit(t, 1, because("malformed_request"))
	if output, code := tollgate(t, "check", "--config", g.config); code != 0 {
		t.Errorf("exit %d: %s", code, output)
	}
}

// Whoever may not write the log is told so, and makes no file that shuts the gateway out.
func TestCheckSpeaksForTheUserItRunsAs(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	dir := t.TempDir()
	s := setup{routes: []string{marked("path: /*", "ok")}}
	config := s.write(t, dir, freeAddress(t), freeAddress(t))
	handOver(t)(dir)
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	as := func(mode os.FileMode) (string, int) {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return asNobody(t, dir, "check", "--config", config)
	}
	if output, code := as(0o755); code != 2 || !regexp.MustCompile(`audit\.path: .*cannot be opened for appending: Permission denied`).MatchString(output) {
		t.Errorf("exit %d: %s", code, output)
	}
	if output, code := as(0o777); code != 0 {
		t.Errorf("with a directory for all: exit %d: %s", code, output)
	}
}
