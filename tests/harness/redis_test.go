package harness

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// What the tests of shared limits rely on: the server starts, dies, stands still and comes back as they are told.

func TestRedisAnswersAndForgets(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]RedisSetup{"socket": {}, "port": {TCP: true}, "password": {Password: `a "b" c`},
		"user": {TCP: true, User: "tollgate", Password: "secret"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := StartRedis(t, setup)
			r.Command("SET", "key", "value")
			if got := r.Command("GET", "key"); got != "value" {
				t.Errorf("got %v", got)
			}
			address := r.Address
			r.Kill()
			if _, err := r.Try("PING"); err == nil {
				t.Error("a dead server answers")
			}
			r.Start()
			if got := r.Command("GET", "key"); got != nil || r.Address != address {
				t.Errorf("at %s: got %v", r.Address, got)
			}
		})
	}
}

func TestRedisStandsStillAndGoesOn(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisSetup{})
	r.Pause()
	other := Must(dialRESP(r.Address))
	defer func() { _ = other.Close() }()
	_, _ = io.WriteString(other, Command("INCR", "n"))
	_ = other.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := other.reader.ReadByte(); err == nil {
		t.Error("a paused server answers")
	}
	r.Resume()
	_ = other.SetReadDeadline(time.Now().Add(Patience))
	if got, err := ReadRESP(other.reader); got != int64(1) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRedisEndsThoughPaused(t *testing.T) {
	t.Parallel()
	pid := 0
	t.Run("test", func(t *testing.T) {
		r := StartRedis(t, RedisSetup{})
		pid = r.Pid()
		r.Pause()
	})
	if _, err := os.Stat(fmt.Sprint("/proc/", pid)); !os.IsNotExist(err) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

func TestRedisUserMayDoNoMoreThanLimitsNeed(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisSetup{User: "tollgate", Password: "secret"})
	conn := Must(dialRESP(r.Address))
	defer func() { _ = conn.Close() }()
	for _, row := range []struct{ command, answer string }{
		{"PING", "NOAUTH"},
		{"AUTH secret", "WRONGPASS"},
		{"AUTH tollgate wrong", "WRONGPASS"},
		{"AUTH tollgate secret", "OK"},
		{"SET tollgate:x 1", "OK"},
		{"SET other 1", "NOPERM"},
		{"CONFIG GET requirepass", "NOPERM"},
	} {
		got, err := conn.ask(strings.Fields(row.command)...)
		if err != nil {
			got = err
		}
		if !strings.HasPrefix(fmt.Sprint(got), row.answer) {
			t.Errorf("%s: %v, want %s", row.command, got, row.answer)
		}
	}
}

func TestRedisCountsCommands(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisSetup{})
	for range 3 {
		_, _ = r.Try("EVALSHA", strings.Repeat("0", 40), "0")
	}
	if n := r.Calls("evalsha"); n != 3 {
		t.Errorf("%d calls", n)
	}
	r.ResetCalls()
	r.Command("SELECT", "3")
	r.Command("SET", "tollgate:a", "1")
	if n, keys := r.Calls("evalsha"), r.Keys(3); n != 0 || len(keys) != 1 || keys[0] != "tollgate:a" {
		t.Errorf("%d calls, keys %v", n, keys)
	}
}

func TestRESPIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"+OK\r\n": "OK", ":-7\r\n": "-7", "$-1\r\n": "<nil>", "*-1\r\n": "<nil>", "$3\r\na\nb\r\n": "a\nb", "$0\r\n\r\n": "",
		"*2\r\n:1\r\n*1\r\n+x\r\n": "[1 [x]]", "*1\r\n-ERR no\r\n": "[ERR no]", "-ERR no\r\n": "<nil> ERR no",
		"OK\r\n": `<nil> no RESP: "OK\r\n"`, ":x\r\n": `<nil> no RESP: ":x\r\n"`, "\r\n": `<nil> no RESP: "\r\n"`,
		Command("GET", "a b"): "[GET a b]",
	} {
		got, err := ReadRESP(bufio.NewReader(strings.NewReader(text)))
		said := fmt.Sprint(got)
		if err != nil {
			said = fmt.Sprintf("%v %v", got, err)
		}
		if said != want {
			t.Errorf("%q: %s, want %s", text, said, want)
		}
	}
}
