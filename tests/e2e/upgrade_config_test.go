package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// `tollgate upgrade-config`: a file of tollgate/v1 in its present spelling, shown and written. None of the certificates is there,
// and none of the names is known: that is another machine's business.

const olderHead = `version: tollgate/v1
listeners:
  - name: edge
    address: 127.0.0.1:8443
    tls:
      certificates: [{certificate_chain: none.pem, private_key: none.key}]
      validation_context: {trusted_ca: none.pem, match_subject_alt_names: ["spiffe://cluster.local/*"]}
    routes:
      - {match: {path: /a}, backend: a}
      - {match: {path: /b}, backend: b}
backends:
`

const olderText = olderHead + `  - name: a
    # Where it is.
    endpoints:
      - a1.nowhere.invalid:80   # the large one
      - "unix:/run/a, b"
    weights: [3, 2]   # shares

  - {name: b, endpoints: [10.0.0.1:1, 10.0.0.2:1], weights: [1, 9], connect_timeout: 2s}
`

const presentText = olderHead + `  - name: a
    # Where it is.
    endpoints:
      - {address: a1.nowhere.invalid:80, weight: 3}   # the large one
      - {address: "unix:/run/a, b", weight: 2}
    # shares

  - {name: b, endpoints: [10.0.0.1:1, {address: 10.0.0.2:1, weight: 9}], connect_timeout: 2s}
`

// upgradeConfig runs the command, perhaps as somebody else.
func upgradeConfig(t *testing.T, as *syscall.Credential, arguments ...string) (stdout, stderr string, code int) {
	t.Helper()
	program := binary()
	if as != nil { // who may not enter where it was built
		program = filepath.Join(openDirectory(t), "tollgate")
		writeProgram(t, program, must(os.ReadFile(binary())))
	}
	command := exec.CommandContext(within(t, patience), program, append([]string{"upgrade-config"}, arguments...)...)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	command.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var failed *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}

// openDirectory is one that everybody may enter.
func openDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// olderFile is a file with that text in a directory of its own.
func olderFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(openDirectory(t), "a file.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantOnly fails unless that text, and no other file, is in the file's directory.
func wantOnly(t *testing.T, path, text string) {
	t.Helper()
	if found := string(must(os.ReadFile(path))); found != text {
		t.Errorf("%s holds\n%s\nwant\n%s", path, found, text)
	}
	if entries := must(os.ReadDir(filepath.Dir(path))); len(entries) != 1 {
		t.Errorf("beside %s: %v", path, entries)
	}
}

func TestUpgradeConfigShowsWhatItWrites(t *testing.T) {
	t.Parallel()
	windows := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	unended := func(text string) string { return strings.TrimSuffix(text, "\n") }
	long := func(text string) string { return strings.Replace(text, "\n", strings.Repeat("\n# more\n", 40), 1) }
	for name, form := range map[string]func(string) string{
		"as it is": strings.Clone, "CRLF": windows, "no final line end": unended, "far down": long,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			older, present := form(olderText), form(presentText)
			shown, written := olderFile(t, older), olderFile(t, older)
			diff, stderr, code := upgradeConfig(t, nil, "--config", shown)
			if code != 3 || stderr != "" || !strings.HasPrefix(diff, "--- "+shown+"\t\n+++ "+shown+"\t\n@@ -") {
				t.Errorf("exit %d, %q, %q", code, diff, stderr)
			}
			wantOnly(t, shown, older)

			again, stderr, code := upgradeConfig(t, nil, "--config", written, "--write")
			if code != 0 || stderr != "" || strings.ReplaceAll(again, written, shown) != diff {
				t.Errorf("--write: exit %d, %q, %q, want %q", code, again, stderr, diff)
			}
			wantOnly(t, written, present)

			none, stderr, code := upgradeConfig(t, nil, "--config", written)
			if code != 0 || none != "" || stderr != written+": nothing to rewrite\n" {
				t.Errorf("again: exit %d, %q, %q", code, none, stderr)
			}
			wantOnly(t, written, present)

			patch := exec.Command("patch", "--strip=0", "--fuzz=0", shown)
			patch.Stdin = strings.NewReader(diff)
			if output, err := patch.CombinedOutput(); err != nil {
				t.Fatalf("patch: %v\n%s", err, output)
			}
			wantOnly(t, shown, present)
		})
	}
}

func TestGitAppliesWhatUpgradeConfigShows(t *testing.T) {
	t.Parallel()
	path := olderFile(t, olderText)
	program := exec.Command(binary(), "upgrade-config", "--config", filepath.Base(path))
	program.Dir = filepath.Dir(path)
	diff, _ := program.Output() // it exits with 3
	apply := exec.Command("git", "apply", "-p0", "-")
	apply.Dir, apply.Stdin = filepath.Dir(path), bytes.NewReader(diff)
	if output, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v\n%s\n%s", err, output, diff)
	}
	wantOnly(t, path, presentText)
}

func TestUpgradedConfigServesWithTheSameWeights(t *testing.T) {
	t.Parallel()
	_, addresses := severalNamed(t, 3)
	g := balanced(t, setup{workers: 1}, addresses, "weights: [4, 1, 1]")
	c := g.client(t, "h1", common().web)
	wantShares := func(when string) {
		t.Helper()
		if counts := spread(t, c, 60); counts[addresses[0]] != 40 || counts[addresses[1]] != 10 || counts[addresses[2]] != 10 {
			t.Errorf("%s: answers came from %v", when, counts)
		}
	}
	wantShares("before")
	_, inForce := g.adminGet("/config")
	if output, code := tollgate(t, "upgrade-config", "--config", g.config, "--write"); code != 0 {
		t.Fatalf("exit %d: %s", code, output)
	}
	if text := string(must(os.ReadFile(g.config))); strings.Contains(text, "weights:") || !strings.Contains(text, "weight: 4}") {
		t.Fatalf("it became\n%s", text)
	}
	g.reload(t)
	wantShares("after")
	if _, now := g.adminGet("/config"); now != inForce {
		t.Errorf("in force is\n%s\nand was\n%s", now, inForce)
	}
}

func TestUpgradeConfigKeepsModeAndOwnerAndLinks(t *testing.T) {
	t.Parallel()
	path := olderFile(t, olderText)
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := errors.Join(os.Symlink(path, link), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	owner := uint32(os.Getuid())
	if owner == 0 {
		uid, gid := nobody(t)
		owner = uint32(uid)
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if _, stderr, code := upgradeConfig(t, nil, "--config", link, "--write"); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	wantOnly(t, path, presentText)
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	info := must(os.Stat(path))
	if status := info.Sys().(*syscall.Stat_t); info.Mode() != 0o640 || status.Uid != owner {
		t.Errorf("mode %v, owner %d; want 0640, %d", info.Mode(), status.Uid, owner)
	}
}

func TestUpgradeConfigLosesNothingWhereItMayNotWrite(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		mode os.FileMode // of the directory
		want string
	}{
		"a closed directory": {0o555, "no file can be made beside it: Permission denied"},
		"another's file":     {0o777, "its owner cannot be kept: Operation not permitted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needsRoot(t)
			uid, gid := nobody(t)
			path := olderFile(t, olderText)
			if err := os.Chmod(filepath.Dir(path), row.mode); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := upgradeConfig(t, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, "--config", path, "--write")
			if code != 1 || stdout != "" || !strings.Contains(stderr, path+": cannot be replaced, and is as it was: "+row.want) {
				t.Errorf("exit %d, %q, %q", code, stdout, stderr)
			}
			wantOnly(t, path, olderText)
		})
	}
}

// A pipe would hold it up until somebody writes into it.
func TestUpgradeConfigReplacesFilesOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe, "/dev/null"} {
		if stdout, stderr, code := upgradeConfig(t, nil, "--config", path, "--write"); code != 1 || stdout != "" || !strings.Contains(stderr, path+": is no regular file") {
			t.Errorf("%s: exit %d, %q, %q", path, code, stdout, stderr)
		}
	}
}

func TestUpgradeConfigRefusesWhatIsNoGoodConfig(t *testing.T) {
	t.Parallel()
	const a = "  - {name: a, endpoints: [10.0.0.1:1]}\n  - name: b\n    endpoints: "
	for name, row := range map[string]struct{ text, want string }{
		"another version": {strings.Replace(olderText, "tollgate/v1", "tollgate/v2", 1),
			":1:10: version: found 'tollgate/v2', expected tollgate/v1\n"},
		"a misspelt key": {strings.Replace(olderText, "connect_timeout", "conect_timeout", 1),
			":19:69: backends[1].conect_timeout: is no key here; did you mean connect_timeout?\n"},
		"what a policy cannot be": {strings.Replace(olderText, "/a}", "/b}", 1), "listeners[0].routes[1]"},
		"no YAML":                 {olderText + "\t", "is not YAML here"},
		"both spellings": {olderHead + a + "[{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]\n    weights: [2, 1]\n",
			":15:14: backends[1].weights: stands beside endpoints[0].weight, in line 14;"},
		"a block of text": {olderHead + a + "\n      - |-\n        10.0.0.1:1\n      - 10.0.0.2:1\n    weights: [2, 1]\n",
			":15:9: backends[1].weights: cannot be rewritten as endpoints[].weight: this address is written as a block of text;"},
		"a key with a question mark": {olderHead + a + "[10.0.0.1:1, 10.0.0.2:1]\n    ? weights\n    : [2, 1]\n",
			":16:7: backends[1].weights: cannot be rewritten as endpoints[].weight: it is written in a way in which"},
		"an anchor": {strings.Replace(olderText, "[1, 9]", "&all [1, 9]", 1), "carries a YAML anchor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := olderFile(t, row.text)
			for _, more := range [][]string{nil, {"--write"}} {
				stdout, stderr, code := upgradeConfig(t, nil, append([]string{"--config", path}, more...)...)
				if code != 2 || stdout != "" || !strings.HasPrefix(stderr, path+":") || !strings.Contains(stderr, row.want) {
					t.Errorf("%q: exit %d, %q, %q", more, code, stdout, stderr)
				}
			}
			wantOnly(t, path, row.text)
		})
	}
}

// What is wrong with a text is told as `check` tells it.
func TestUpgradeConfigListsWhatCheckLists(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("path: /b", "pth: /b", "10.0.0.1:1", "10.0.0.1", "[1, 9]", "[0, 9]").Replace(goodOlder(t))
	path := olderFile(t, text)
	checked, _ := tollgate(t, "check", "--config", path)
	output, code := tollgate(t, "upgrade-config", "--config", path)
	if code != 2 || output != checked || strings.Count(output, path+":") != 3 {
		t.Errorf("exit %d\n%s\ncheck lists\n%s", code, output, checked)
	}
}

// goodOlder is an older text of which `check` has nothing to say: its files are there.
func goodOlder(t *testing.T) string {
	t.Helper()
	s := setup{}
	dir := t.TempDir()
	_ = s.write(t, dir, "127.0.0.1:1", "127.0.0.1:2")
	files := strings.NewReplacer("none.pem, private_key: none.key", fmt.Sprintf("%[1]s/gateway.pem, private_key: %[1]s/gateway.key", dir),
		"none.pem", dir+"/ca.pem", "a1.nowhere.invalid", "127.0.0.1")
	return files.Replace(olderText)
}
