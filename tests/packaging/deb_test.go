package packaging

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Everything is built before the first test, so that no two of them build at once.
func TestMain(m *testing.M) {
	out, err := command(root, "make", "-s", "all", "deb-here").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "make all deb-here: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(shared)
	os.Exit(status)
}

func debianPackage(t *testing.T) string {
	t.Helper()
	found := must(filepath.Glob(root + "/build/tollgate_*.deb"))
	if len(found) != 1 {
		t.Fatalf("there is no one package: %v", found)
	}
	return found[0]
}

func field(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, root, "dpkg-deb", "-f", debianPackage(t), name))
}

func TestVersionsAreDebiansAndInOrder(t *testing.T) {
	t.Parallel()
	last := "0~"
	for _, c := range []struct{ described, epoch, wanted string }{
		{"unreleased", "0", "0~git19700101000000.unreleased"},
		{"9aed8cd", "1795906732", "0~git20261128225852.9aed8cd"},
		{"9aed8cd-dirty", "1795906732", "0~git20261128225852.9aed8cd+dirty"},
		{"0000000", "1795906733", "0~git20261128225853.0000000"},
		{"v0.9.0", "1", "0.9.0"},
		{"v1.2.3-rc1", "1", "1.2.3~rc1"},
		{"v1.2.3-rc1-2-gabcdef0", "1", "1.2.3~rc1+2.gabcdef0"},
		{"v1.2.3", "1", "1.2.3"},
		{"v1.2.3-4-gabcdef0", "1", "1.2.3+4.gabcdef0"},
		{"v1.2.3-10-gabcdef0-dirty", "1", "1.2.3+10.gabcdef0+dirty"},
		{"v1.2.4", "1", "1.2.4"},
	} {
		version := strings.TrimSpace(run(t, root, "deploy/debian/version", c.described, c.epoch))
		if version != c.wanted {
			t.Errorf("%s is %s, wanted %s", c.described, version, c.wanted)
		}
		run(t, root, "dpkg", "--validate-version", version)
		run(t, root, "dpkg", "--compare-versions", last, "lt", version)
		last = version
	}
}

func TestThePackageHoldsTheseFilesAndNoOthers(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	run(t, root, "dpkg-deb", "-x", debianPackage(t), tree)
	wanted := installed("/usr", "/etc", "/lib/systemd/system")
	wanted = append(wanted, "/usr/share/doc/tollgate/copyright", "/usr/share/doc/tollgate/changelog.gz", "/usr/share/lintian/overrides/tollgate")
	for i, file := range wanted {
		wanted[i] = strings.Replace(file, "/zsh/site-functions/", "/zsh/vendor-completions/", 1)
		if strings.Contains(file, "/share/man/") {
			wanted[i] += ".gz"
		}
	}
	slices.Sort(wanted)
	if found := files(t, tree); !slices.Equal(wanted, found) {
		t.Errorf("wanted:\n%s\nfound:\n%s", strings.Join(wanted, "\n"), strings.Join(found, "\n"))
	}
	if read(t, tree+"/usr/bin/tollgate") != read(t, root+"/build/tollgate") {
		t.Error("the packaged program is not the built one, which the bill of materials and the debug file name")
	}
	if text := run(t, root, "dpkg-deb", "-I", debianPackage(t), "conffiles"); text != "/etc/logrotate.d/tollgate\n/etc/tollgate/tollgate.yaml\n" {
		t.Errorf("conffiles: %q", text)
	}
}

// dpkg-shlibdeps found the package of every library.
func TestThePackageDependsOnWhatIsLinked(t *testing.T) {
	t.Parallel()
	depends := field(t, "Depends")
	_, b := billOf(t)
	linked := must(must(elf.Open(root + "/build/tollgate")).ImportedLibraries())
	for _, component := range b.Components {
		name, _, _ := strings.Cut(strings.TrimPrefix(component.Purl, "pkg:deb/debian/"), "@")
		if dynamic := slices.Contains(linked, component.Name); dynamic != strings.Contains(depends, name) {
			t.Errorf("%s, of %s, is linked dynamically: %v; Depends: %s", component.Name, name, dynamic, depends)
		}
	}
}

func TestThePackageRecommendsWhatIsLoadedWhereItIsWanted(t *testing.T) {
	t.Parallel()
	recommends := field(t, "Recommends")
	_, b := billOf(t)
	loaded := b.names("loaded")
	for _, component := range b.Components {
		name, _, _ := strings.Cut(strings.TrimPrefix(component.Purl, "pkg:deb/debian/"), "@")
		if wanted := slices.Contains(loaded, component.Name); wanted != strings.Contains(recommends, name) {
			t.Errorf("%s, of %s, is loaded where it is wanted: %v; Recommends: %s", component.Name, name, wanted, recommends)
		}
	}
}

func TestLintianHasNothingToSay(t *testing.T) {
	t.Parallel()
	out := run(t, root, "lintian", "--allow-root", "--fail-on", "error,warning", debianPackage(t))
	if strings.Contains(out, "E: ") || strings.Contains(out, "W: ") {
		t.Error(out)
	}
	for line := range strings.Lines(read(t, root+"/deploy/debian/tollgate.lintian-overrides")) {
		if before, _, _ := strings.Cut(line, " "); before == "tollgate:" && !strings.Contains(run(t, root, "sh", "-c",
			`grep -B1 -F "$1" deploy/debian/tollgate.lintian-overrides`, "sh", strings.TrimSpace(line)), "#") {
			t.Errorf("an override without its reason: %s", line)
		}
	}
}

// Elsewhere, at another time and place of the clock, by somebody with other habits.
func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	first := debianPackage(t)
	described := strings.TrimSpace(read(t, root+"/build/version"))
	epoch := strings.Fields(read(t, root+"/build/deploy/version"))[1]
	elsewhere := filepath.Join(t.TempDir(), "some", "where else")
	elsewhere = strings.ReplaceAll(elsewhere, " ", "-")
	run(t, root, "sh", "-c", `mkdir -p "$1" && git ls-files -z | tar -c --null -T - | tar -x -m -C "$1"`, "sh", elsewhere)
	c := command(elsewhere, "sh", "-c", `umask 077; exec make -s -j2 all deb-here VERSION="$1" SOURCE_DATE_EPOCH="$2"`, "sh", described, epoch)
	c.Env = environment("TZ=Asia/Tokyo", "HOME="+elsewhere, "LC_ALL=C", "USER=somebody", "DEB_BUILD_OPTIONS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	second := filepath.Join(elsewhere, "build", filepath.Base(first))
	if read(t, first) != read(t, second) {
		for _, file := range []string{"build/tollgate", "build/tollgate.debug", "build/deploy/tollgate.cdx.json"} {
			t.Logf("%s is the same: %v", file, read(t, filepath.Join(root, file)) == read(t, filepath.Join(elsewhere, file)))
		}
		t.Errorf("%s differs from the one built at %s", first, elsewhere)
	}
}

// machine is a root directory into which dpkg installs, its scripts told by DPKG_ROOT.
type machine struct {
	*testing.T
	root string
}

func newMachine(t *testing.T) machine {
	asRoot(t)
	m := machine{t, t.TempDir()}
	for _, directory := range []string{"info", "updates", "triggers", "parts"} {
		if err := os.MkdirAll(m.root+"/var/lib/dpkg/"+directory, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, m.root+"/var/lib/dpkg/status", "", 0o644)
	write(t, m.root+"/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", 0o644)
	write(t, m.root+"/etc/group", "root:x:0:\n", 0o644)
	return m
}

func (m machine) dpkg(arguments ...string) string {
	m.Helper()
	return run(m.T, m.root, append([]string{"dpkg", "--root=" + m.root, "--force-not-root,script-chrootless,depends,confold"}, arguments...)...)
}

func (m machine) exists(path string) bool {
	_, err := os.Lstat(m.root + path)
	return err == nil
}

func TestLifeOfThePackageOnAMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.dpkg("-i", debianPackage(t))
	if passwd := read(t, m.root+"/etc/passwd"); !strings.Contains(passwd, "\ntollgate:") || !strings.Contains(passwd, "nologin") {
		t.Errorf("no user tollgate without a login in\n%s", passwd)
	}
	if !m.exists("/etc/systemd/system/multi-user.target.wants/tollgate.service") {
		t.Error("the service is not enabled")
	}

	// The packaged example, with the material it asks for in place; only the log's directory is the service manager's to make.
	program, etc, logs := m.root+"/usr/bin/tollgate", m.root+"/etc/tollgate", m.root+"/var/log/tollgate"
	if out := run(t, root, program, "version"); !strings.HasPrefix(out, "tollgate "+strings.TrimSpace(read(t, root+"/build/version"))+"\n") {
		t.Errorf("version says %q", out)
	}
	check := func() ([]byte, error) {
		write(t, etc+"/here.yaml", replace(t, read(t, etc+"/tollgate.yaml"), "/var/log/tollgate", logs), 0o644)
		return command(root, program, "check", "--config", etc+"/here.yaml").CombinedOutput()
	}
	if out, err := check(); err == nil || !strings.Contains(string(out), "gateway.key") {
		t.Errorf("without a key check says %v\n%s", err, out)
	}
	material := pki(t)
	for _, name := range []string{"gateway.pem", "gateway.key", "ca.pem"} {
		write(t, etc+"/"+name, read(t, material+"/"+name), 0o600)
	}
	if out, err := check(); err != nil { // before the first start, which makes the log's directory
		t.Errorf("with the material in place: %v\n%s", err, out)
	}
	if err := os.MkdirAll(logs, 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, logs+"/audit.jsonl", "{}\n", 0o640)
	if err := os.Remove(etc + "/here.yaml"); err != nil {
		t.Fatal(err)
	}

	edited := read(t, etc+"/tollgate.yaml") + "# edited\n"
	write(t, etc+"/tollgate.yaml", edited, 0o644)
	m.dpkg("-i", debianPackage(t))
	if read(t, etc+"/tollgate.yaml") != edited {
		t.Error("an upgrade wrote over the edited configuration")
	}
	m.dpkg("-r", "tollgate")
	if m.exists("/usr/bin/tollgate") || read(t, etc+"/tollgate.yaml") != edited || !m.exists("/var/log/tollgate/audit.jsonl") {
		t.Error("removing leaves the program, or takes configuration or logs")
	}
	m.dpkg("-P", "tollgate")
	if m.exists("/etc/tollgate/tollgate.yaml") || m.exists("/var/log/tollgate") || m.exists("/etc/systemd/system/multi-user.target.wants/tollgate.service") {
		t.Error("purging leaves configuration, logs or an enabled service")
	}
	if !m.exists("/etc/tollgate/gateway.key") || !strings.Contains(read(t, m.root+"/etc/passwd"), "\ntollgate:") {
		t.Error("purging takes keys, which are not the package's, or the user")
	}
}

// The running gateway is told to replace itself, and nobody else is told anything: with stand-ins for systemd's tools, in a
// mount namespace of its own, where systemd seems to run.
func TestAnUpgradeReplacesTheRunningGateway(t *testing.T) {
	t.Parallel()
	asRoot(t)
	control, tools := t.TempDir(), t.TempDir()
	run(t, root, "dpkg-deb", "-e", debianPackage(t), control)
	for _, c := range []struct {
		name, old string
		active    bool
		wanted    bool
	}{
		{"a first installation", "", false, false},
		{"an upgrade of a running service", "1.0", true, true},
		{"an upgrade of a stopped service", "1.0", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			journal := t.TempDir() + "/journal"
			for _, tool := range []string{"systemctl", "deb-systemd-invoke", "deb-systemd-helper", "systemd-sysusers"} {
				write(t, tools+"/"+tool, fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >>%s\n[ \"$1\" != is-active ] || %v\n", tool, journal, c.active), 0o755)
			}
			script := exec.Command("unshare", "--mount", "sh", "-ec",
				`mount -t tmpfs none /run; mkdir -p /run/systemd/system; PATH=$1:$PATH sh -e "$2/postinst" configure $3`, "sh", tools, control, c.old)
			if out, err := script.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			said := read(t, journal)
			if told := strings.Contains(said, "systemctl kill --kill-whom=main --signal=USR2 tollgate.service"); told != c.wanted {
				t.Errorf("told to replace itself: %v\n%s", told, said)
			}
			if strings.Contains(said, "restart") || strings.Contains(said, " stop") {
				t.Errorf("connections are cut:\n%s", said)
			}
		})
	}
}
