package packaging

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// installed is everything that `make install` writes, by the variable that places it.
func installed(prefix, sysconf, unit string) []string {
	list := []string{
		prefix + "/bin/tollgate",
		prefix + "/share/man/man1/tollgate.1",
		prefix + "/share/man/man5/tollgate.yaml.5",
		prefix + "/share/bash-completion/completions/tollgate",
		prefix + "/share/zsh/site-functions/_tollgate",
		prefix + "/share/fish/vendor_completions.d/tollgate.fish",
		prefix + "/lib/sysusers.d/tollgate.conf",
		prefix + "/share/doc/tollgate/README.md",
		prefix + "/share/doc/tollgate/REFERENCE.md",
		prefix + "/share/doc/tollgate/tollgate.cdx.json",
		prefix + "/share/doc/tollgate/examples/tollgate.socket",
		unit + "/tollgate.service",
		sysconf + "/tollgate/tollgate.yaml",
		sysconf + "/logrotate.d/tollgate",
	}
	for _, example := range must(filepath.Glob(root + "/conf/examples/*.yaml")) {
		list = append(list, prefix+"/share/doc/tollgate/examples/"+filepath.Base(example))
	}
	slices.Sort(list)
	return list
}

func TestInstallPutsTheseFilesAndNoOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, prefix, sysconf, unit string
		settings                    []string
	}{
		{"by default", "/usr/local", "/etc", "/usr/local/lib/systemd/system", nil},
		{"elsewhere", "/opt/gate", "/opt/gate/etc", "/opt/units",
			[]string{"PREFIX=/opt/gate", "SYSCONFDIR=/opt/gate/etc", "UNITDIR=/opt/units"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			destination := install(t, c.settings...)
			wanted, found := installed(c.prefix, c.sysconf, c.unit), files(t, destination)
			if !slices.Equal(wanted, found) {
				t.Errorf("wanted:\n%s\nfound:\n%s", strings.Join(wanted, "\n"), strings.Join(found, "\n"))
			}
			for _, file := range found {
				mode := must(os.Stat(destination + file)).Mode().Perm()
				if program := filepath.Base(filepath.Dir(file)) == "bin"; program != (mode == 0o755) || !program && mode != 0o644 {
					t.Errorf("%s has mode %o", file, mode)
				}
				if strings.HasPrefix(read(t, destination+file), "\x7fELF") {
					continue
				}
				for _, word := range []string{"@BINDIR@", "@SYSCONFDIR@", "@DOCDIR@", "@UNITDIR@", "@VERSION@", "@DATE@", root} {
					if strings.Contains(read(t, destination+file), word) {
						t.Errorf("%s: %q is left in it", file, word)
					}
				}
			}
		})
	}
}

func TestPathsFollowThePrefix(t *testing.T) {
	t.Parallel()
	destination := install(t, "PREFIX=/opt/gate", "SYSCONFDIR=/opt/gate/etc")
	for file, wanted := range map[string]string{
		"/opt/gate/lib/systemd/system/tollgate.service": "ExecStart=/opt/gate/bin/tollgate run --config /opt/gate/etc/tollgate/tollgate.yaml\n",
		"/opt/gate/share/man/man1/tollgate.1":           "/opt/gate/etc/tollgate/tollgate.yaml",
		"/opt/gate/share/man/man5/tollgate.yaml.5":      "/opt/gate/share/doc/tollgate/examples",
		"/opt/gate/etc/tollgate/tollgate.yaml":          "--config /opt/gate/etc/tollgate/tollgate.yaml",
	} {
		if text := read(t, destination+file); !strings.Contains(text, wanted) || strings.Contains(text, "/usr/local") {
			t.Errorf("%s: no %q, or a trace of the default, in\n%s", file, wanted, text)
		}
	}
}

func TestTheAdministratorsFilesOutliveInstallAndUninstall(t *testing.T) {
	t.Parallel()
	destination := install(t)
	config, key := destination+"/etc/tollgate/tollgate.yaml", destination+"/etc/tollgate/gateway.key"
	write(t, config, "version: tollgate/v1 # mine\n", 0o644)
	write(t, key, "mine", 0o600)
	run(t, root, "make", "-s", "install", "DESTDIR="+destination)
	if text := read(t, config); !strings.Contains(text, "mine") {
		t.Errorf("a second install wrote over the configuration:\n%s", text)
	}
	run(t, root, "make", "-s", "uninstall", "DESTDIR="+destination)
	if left := files(t, destination); !slices.Equal(left, []string{"/etc/tollgate/gateway.key", "/etc/tollgate/tollgate.yaml"}) {
		t.Errorf("left by uninstall: %v", left)
	}
	if _, err := os.Stat(destination + "/usr/local/share/doc/tollgate"); err == nil {
		t.Error("uninstall left its empty directory of documents")
	}
}
