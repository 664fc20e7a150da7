package script

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a Redis of the test's own, that keeps nothing and ends with it, and one connection to it.
type server struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
}

func start(t *testing.T) *server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server (make test-deps)")
	}
	directory := t.TempDir()
	socket := filepath.Join(directory, "redis")
	process := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", directory)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	process.Stdout, process.Stderr = &log, &log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return &server{t, conn, bufio.NewReader(conn)}
		}
		if time.Now().After(end) {
			t.Fatalf("redis-server does not listen: %v\n%s", err, log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ask sends a command and returns its reply: a text, a number or a list of such.
func (s *server) ask(words ...string) any {
	s.t.Helper()
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(s.conn, command.String()); err != nil {
		s.t.Fatal(err)
	}
	return s.reply()
}

func (s *server) reply() any {
	s.t.Helper()
	line, err := s.read.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	rest := strings.TrimSuffix(line[1:], "\r\n")
	number, _ := strconv.ParseInt(rest, 10, 64)
	switch line[0] {
	case '+':
		return rest
	case ':':
		return number
	case '$':
		bytes := make([]byte, max(number, 0)+2)
		if _, err := io.ReadFull(s.read, bytes); err != nil {
			s.t.Fatal(err)
		}
		return string(bytes[:number])
	case '*':
		list := make([]any, number)
		for i := range list {
			list[i] = s.reply()
		}
		return list
	}
	s.t.Fatalf("redis says %q", line)
	return nil
}

func (s *server) number(words ...string) int64 {
	s.t.Helper()
	return whole(s.t, s.ask(words...))
}

func (s *server) numbers(words ...string) []int64 {
	s.t.Helper()
	list, _ := s.ask(words...).([]any)
	numbers := make([]int64, len(list))
	for i := range list {
		numbers[i] = whole(s.t, list[i])
	}
	return numbers
}

// clock is the server's, in microseconds.
func (s *server) clock() int64 {
	s.t.Helper()
	now := s.numbers("TIME")
	return now[0]*1_000_000 + now[1]
}

func whole(t *testing.T, reply any) int64 {
	t.Helper()
	number, err := strconv.ParseInt(fmt.Sprint(reply), 10, 64)
	if err != nil {
		t.Fatalf("%v is no number", reply)
	}
	return number
}
