package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A RedisSetup is what a test wants of its Redis; the zero one listens to a unix socket and lets everybody in.
type RedisSetup struct {
	TCP      bool   // listen to a port of the loopback instead
	Password string // of the user, or of everybody where no user is named
	User     string // whom gateways have to name; he may do what applications do, to keys below `tollgate:`
}

// A Redis is a running redis-server that keeps nothing on disk. Tests of one goroutine or of several may use it.
type Redis struct {
	Address string // as configurations write it
	t       *testing.T
	setup   RedisSetup
	dir     string
	command *exec.Cmd
	output  *output
	exited  chan struct{}
	mutex   sync.Mutex // of the connection
	conn    *resp
}

// administrator is the password of the default user where gateways come as somebody else.
const administrator = "administrator's own"

// StartRedis runs a redis-server until the end of the test, and waits until it answers.
func StartRedis(t *testing.T, s RedisSetup) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("there is no redis-server (make test-deps): ", err)
	}
	r := &Redis{t: t, setup: s, dir: Must(os.MkdirTemp("", "redis"))} // short enough for the address of a socket
	t.Cleanup(func() { _ = os.RemoveAll(r.dir) })
	t.Cleanup(r.stop)
	for range 5 {
		r.Address = "unix:" + filepath.Join(r.dir, "socket")
		if s.TCP {
			r.Address = FreeAddress(t)
		}
		if r.run(); r.answers() {
			return r
		}
		r.Kill()
		if !strings.Contains(strings.ToLower(r.output.String()), "address already in use") {
			break
		}
	}
	t.Fatalf("redis-server did not start:\n%s", r.output)
	return nil
}

func (r *Redis) words(more []string) []string {
	words := []string{"--dir", r.dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}
	network, path := NetworkOf(r.Address)
	if network == "unix" {
		words = append(words, "--port", "0", "--unixsocket", path)
	} else {
		host, port, _ := strings.Cut(path, ":")
		words = append(words, "--bind", host, "--port", port)
	}
	if password := r.password(); password != "" {
		words = append(words, "--requirepass", password)
	}
	if r.setup.User != "" {
		words = append(words, "--user", r.setup.User, "on", ">"+r.setup.Password, "~tollgate:*",
			"+@all", "-@admin", "-@dangerous")
	}
	return append(words, more...)
}

// password is what the test's own connection says.
func (r *Redis) password() string {
	if r.setup.User != "" {
		return administrator
	}
	return r.setup.Password
}

func (r *Redis) run(more ...string) {
	r.t.Helper()
	command, exited := exec.Command("redis-server", r.words(more)...), make(chan struct{})
	r.command, r.exited, r.output = command, exited, &output{}
	command.Stdout, command.Stderr = r.output, r.output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = command.Wait()
		close(exited)
	}()
}

// answers waits for the first answer; one that loads its data answers too.
func (r *Redis) answers() bool {
	for deadline := time.Now().Add(Slow(10 * time.Second)); time.Now().Before(deadline) && r.running(); {
		_, err := r.Try("PING")
		if said, ok := err.(RedisError); err == nil || ok && strings.HasPrefix(string(said), "LOADING") {
			return true
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}

func (r *Redis) running() bool {
	select {
	case <-r.exited:
		return false
	default:
		return true
	}
}

// Pid is the process.
func (r *Redis) Pid() int { return r.command.Process.Pid }

// Kill ends the process as a crash does, whether it is paused or not.
func (r *Redis) Kill() {
	_ = r.command.Process.Kill()
	<-r.exited
	r.hangUp()
}

func (r *Redis) stop() {
	if r.command != nil && r.command.Process != nil {
		r.Kill()
	}
}

// Start runs it again at the same address, after Kill, with more arguments if there are any.
func (r *Redis) Start(more ...string) {
	r.t.Helper()
	if r.running() {
		r.t.Fatal("redis-server runs already")
	}
	if r.run(more...); !r.answers() {
		r.t.Fatalf("redis-server did not start again:\n%s", r.output)
	}
}

// Pause stops the process where it is: the kernel still takes connections and bytes for it, and nothing is answered.
func (r *Redis) Pause() {
	r.t.Helper()
	if err := r.command.Process.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	// The signal is on its way until the kernel says that the process stands.
	WaitFor(r.t, "redis-server to stand still", 5*time.Second, func() bool { return r.state() == "T" })
}

// Resume lets it go on, with what came in meanwhile.
func (r *Redis) Resume() {
	r.t.Helper()
	if err := r.command.Process.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
}

func (r *Redis) state() string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.Pid()))
	_, rest, _ := strings.Cut(string(stat), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

func (r *Redis) hangUp() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

// Try sends a command; the error is what the server says, or the connection's.
func (r *Redis) Try(words ...string) (any, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.conn == nil {
		conn, err := dialRESP(r.Address)
		if err != nil {
			return nil, err
		}
		r.conn = conn
		if password := r.password(); password != "" {
			if _, err := conn.ask("AUTH", password); err != nil {
				return nil, r.broken(err)
			}
		}
	}
	answer, err := r.conn.ask(words...)
	return answer, r.broken(err)
}

// broken gives up a connection whose answers cannot be told apart any more.
func (r *Redis) broken(err error) error {
	if _, said := err.(RedisError); err != nil && !said {
		_ = r.conn.Close()
		r.conn = nil
	}
	return err
}

// Command sends a command that has to succeed.
func (r *Redis) Command(words ...string) any {
	r.t.Helper()
	answer, err := r.Try(words...)
	if err != nil {
		r.t.Fatalf("redis: %v: %v", words, err)
	}
	return answer
}

// Set changes a line of the server's configuration.
func (r *Redis) Set(name, value string) {
	r.t.Helper()
	r.Command("CONFIG", "SET", name, value)
}

// Calls returns how often the command was sent since the start or ResetCalls, whatever the answer: "evalsha".
func (r *Redis) Calls(command string) int {
	r.t.Helper()
	for line := range strings.Lines(r.Command("INFO", "commandstats").(string)) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			count, _, _ := strings.Cut(rest, ",")
			return Must(strconv.Atoi(count))
		}
	}
	return 0
}

// ResetCalls begins to count anew.
func (r *Redis) ResetCalls() {
	r.t.Helper()
	r.Command("CONFIG", "RESETSTAT")
}

// Keys returns the names of all keys of a database.
func (r *Redis) Keys(database int) (names []string) {
	r.t.Helper()
	r.Command("SELECT", strconv.Itoa(database))
	for _, name := range r.Command("KEYS", "*").([]any) {
		names = append(names, name.(string))
	}
	r.Command("SELECT", "0")
	return names
}

// Clients returns how many connections there are besides the test's own.
func (r *Redis) Clients() int {
	r.t.Helper()
	return strings.Count(r.Command("CLIENT", "LIST").(string), "\n") - 1
}
