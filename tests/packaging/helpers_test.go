// Package packaging looks at what `make install` and `make deb` put on a machine, and at the manifests, through the tools that
// a machine would use: dpkg, lintian, man, systemd-analyze, logrotate, the shells, Kubernetes' own types and policies.
// A module of its own, so that the other tests need not build Kubernetes.
package packaging

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

var root = must(filepath.Abs("../.."))

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// environment is ours without what an outer make says to its own makes, and with these.
func environment(more ...string) []string {
	kept := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "SOURCE_DATE_EPOCH"}, name)
	})
	return append(append(kept, "LC_ALL=C.UTF-8"), more...)
}

func command(directory string, arguments ...string) *exec.Cmd {
	c := exec.Command(arguments[0], arguments[1:]...)
	c.Dir = directory
	c.Env = environment()
	return c
}

// run gives what the command printed, on both streams, and fails the test when it failed.
func run(t *testing.T, directory string, arguments ...string) string {
	t.Helper()
	out, err := command(directory, arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// install is `make install` into a directory of the test's own.
func install(t *testing.T, settings ...string) string {
	t.Helper()
	destination := t.TempDir()
	run(t, root, append([]string{"make", "-s", "install", "DESTDIR=" + destination}, settings...)...)
	return destination
}

// once installs for all tests that only read, below a directory that TestMain removes.
func once(settings func(directory string) []string) func(t *testing.T) string {
	var made sync.Once
	var directory string
	return func(t *testing.T) string {
		t.Helper()
		made.Do(func() {
			directory = must(os.MkdirTemp(shared, ""))
			reachable(t, directory)
			run(t, root, append([]string{"make", "-s", "install"}, settings(directory)...)...)
		})
		return directory
	}
}

var (
	shared = must(os.MkdirTemp("", "tollgate-packaging-"))
	// What `make install` puts below DESTDIR, and what it puts below a PREFIX, where all that the files name is there.
	destination = once(func(directory string) []string { return []string{"DESTDIR=" + directory} })
	prefixed    = once(func(directory string) []string {
		return []string{"PREFIX=" + directory, "SYSCONFDIR=" + directory + "/etc"}
	})
)

// files are the paths of all files below a directory, each with a leading slash.
func files(t *testing.T, directory string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, strings.TrimPrefix(path, directory))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// write makes a file, and the directories above it. No process may begin meanwhile: it would have the file open for
// writing, and where it is a program, whoever runs it first would find it busy.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in\n%s", pairs[i], text)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// reachable lets other users come as far as the directory.
func reachable(t *testing.T, directory string) {
	t.Helper()
	for ; directory != "/"; directory = filepath.Dir(directory) {
		if mode := must(os.Stat(directory)).Mode().Perm(); mode&0o005 != 0o005 {
			if err := os.Chmod(directory, mode|0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// pki writes throwaway certificates, and gives their directory.
func pki(t *testing.T) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "pki")
	run(t, root, filepath.Join(root, "build/tollgate"), "pki", directory)
	return directory
}

// asRoot skips the test for others; with CI=true that is a failure.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount, and give files to others")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	return listener.Addr().String()
}

func eventually(t *testing.T, what string, good func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if good() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

// status of a GET of the admin listener, as a client that says `host` asks; 0 when nobody answers.
func status(admin, host, path string) int {
	request := must(http.NewRequest("GET", "http://"+admin+path, nil))
	request.Host = host
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// gateway is a program that serves, with what it says.
type gateway struct {
	process *exec.Cmd
	said    bytes.Buffer
}

// serve starts the command, which runs tollgate, and waits until its admin listener says that it is ready.
func serve(t *testing.T, admin string, c *exec.Cmd) *gateway {
	t.Helper()
	g := &gateway{process: c}
	c.Stdout, c.Stderr = &g.said, &g.said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	end := time.Now().Add(patience)
	for status(admin, admin, "/readyz") != 200 {
		if time.Now().After(end) || syscall.Kill(c.Process.Pid, 0) != nil {
			_ = c.Process.Kill()
			_ = c.Wait()
			t.Fatalf("the gateway does not serve:\n%s", g.said.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return g
}

// drain ends the gateway as a service manager does, and wants it to end well.
func (g *gateway) drain(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.process.Wait(); err != nil {
		t.Fatalf("the drain: %v\n%s", err, g.said.String())
	}
}

// ask makes one request with one of the clients' certificates, and gives the status.
func ask(t *testing.T, pki, client, address, path string) string {
	t.Helper()
	return run(t, root, "curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}",
		"--cacert", pki+"/ca.pem", "--cert", fmt.Sprintf("%s/%s.pem", pki, client),
		"--key", fmt.Sprintf("%s/%s.key", pki, client),
		"--resolve", "localhost:"+port(address)+":127.0.0.1", "https://localhost:"+port(address)+path)
}

func port(address string) string {
	_, number, err := net.SplitHostPort(address)
	if err != nil {
		panic(err)
	}
	return number
}
