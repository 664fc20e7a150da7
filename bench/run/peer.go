package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// peer is a gateway under test. Its command gets the file that its template was filled into.
type peer struct {
	name, template string
	command        func(place) []string
	version        func(place) []string
}

// place is where everything of one run lives, and what the templates may name.
type place struct {
	Root, Tools, Tollgate, Envoy string
	Directory, PKI, File         string
	Port                         int
	HTTP1, HTTP1Host, HTTP1Port  string
	H2C, H2CHost, H2CPort        string
	Workers, AdminPort           int   // of the growth runs
	Adaptive                     bool  // of the overload run
	PassedBy                     []int // numbers of routes that are there and not used
}

var allPeers = []peer{
	{"envoy", "envoy.yaml",
		func(p place) []string {
			return []string{p.Envoy, "-c", p.File, "--concurrency", "1", "--disable-hot-restart", "-l", "critical"}
		},
		func(p place) []string { return []string{p.Envoy, "--version"} }},
	{"nginx", "nginx.conf",
		func(p place) []string {
			return []string{"/usr/sbin/nginx", "-c", p.File, "-p", p.Directory, "-e", "stderr"}
		},
		func(place) []string { return []string{"/usr/sbin/nginx", "-v"} }},
	{"haproxy", "haproxy.cfg",
		func(p place) []string { return []string{"/usr/sbin/haproxy", "-db", "-f", p.File} },
		func(place) []string { return []string{"/usr/sbin/haproxy", "-v"} }},
	{"tollgate", "tollgate.yaml",
		func(p place) []string { return []string{p.Tollgate, "run", "--config", p.File} },
		func(p place) []string { return []string{p.Tollgate, "version"} }},
}

// running is a peer that was started, pinned to core 0.
type running struct {
	peer    peer
	process *exec.Cmd
	address string
	log     string
	ended   chan error
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

const anyCore = -1

func pinned(core int, command ...string) *exec.Cmd {
	cores := strconv.Itoa(core)
	if core == anyCore {
		cores = "0-" + strconv.Itoa(runtime.NumCPU()-1)
	}
	process := exec.Command("taskset", append([]string{"-c", cores}, command...)...)
	// Nothing of a run outlives the runner.
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return process
}

func (p peer) start(where place) (*running, error) { return p.startOn(where, 0) }

func (p peer) startOn(where place, core int) (*running, error) {
	var err error
	if where.Port, err = freePort(); err != nil {
		return nil, err
	}
	where.Directory = filepath.Join(where.Directory, fmt.Sprintf("%s-%d", p.name, where.Port))
	where.File = filepath.Join(where.Directory, p.template)
	if err := p.prepare(where); err != nil {
		return nil, err
	}
	r := &running{peer: p, address: fmt.Sprintf("127.0.0.1:%d", where.Port), ended: make(chan error, 1)}
	r.log = filepath.Join(where.Directory, "log")
	output, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	r.process = pinned(core, p.command(where)...)
	r.process.Stdout, r.process.Stderr = output, output
	if err := r.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		r.ended <- r.process.Wait()
		close(r.ended)
	}()
	return r, r.ready()
}

func (p peer) prepare(where place) error {
	if err := os.MkdirAll(where.Directory, 0o755); err != nil {
		return err
	}
	filled, err := template.ParseFiles(filepath.Join(where.Root, "bench/peers", p.template))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := filled.Execute(&text, where); err != nil {
		return err
	}
	// HAProxy wants certificate and key in one file.
	chain, err := os.ReadFile(filepath.Join(where.PKI, "gateway.pem"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(where.PKI, "gateway.key"))
	if err != nil {
		return err
	}
	pair := filepath.Join(where.Directory, "gateway-pair.pem")
	return errors.Join(os.WriteFile(where.File, text.Bytes(), 0o600), os.WriteFile(pair, append(chain, key...), 0o600))
}

func (r *running) ready() error {
	for range 500 {
		select {
		case err := <-r.ended:
			said, _ := os.ReadFile(r.log)
			return fmt.Errorf("%s ended at once: %v\n%s", r.peer.name, err, said)
		case <-time.After(20 * time.Millisecond):
		}
		if connection, err := net.Dial("tcp", r.address); err == nil {
			return connection.Close()
		}
	}
	return fmt.Errorf("%s does not listen, see %s", r.peer.name, r.log)
}

func (r *running) stop() {
	_ = r.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(3 * time.Second):
		for _, pid := range r.pids() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-r.ended
	}
}

// pids is the process and its children: nginx works in one of those.
func (r *running) pids() []int {
	family := []int{r.process.Process.Pid}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if fields[1] == strconv.Itoa(family[0]) {
			family = append(family, pid)
		}
	}
	return family
}

func (r *running) pidList() string {
	var texts []string
	for _, pid := range r.pids() {
		texts = append(texts, strconv.Itoa(pid))
	}
	return strings.Join(texts, ",")
}

// backend starts the one backend of all peers, and says where it listens.
func startBackend(where *place) (*exec.Cmd, io.Closer, error) {
	process := pinned(1, filepath.Join(where.Tools, "backend"))
	process.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=800")
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := process.Start(); err != nil {
		return nil, nil, err
	}
	if _, err := fmt.Fscan(stdout, &where.HTTP1, &where.H2C); err != nil {
		return nil, nil, fmt.Errorf("the backend does not start: %w", err)
	}
	where.HTTP1Host, where.HTTP1Port, _ = net.SplitHostPort(where.HTTP1)
	where.H2CHost, where.H2CPort, _ = net.SplitHostPort(where.H2C)
	return process, stdin, nil
}
