package e2e

import (
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Servers that are no Redis, or a broken one: whatever they say, calls are decided in time by on_failure, and the gateway
// goes on with a better server once there is one.

// replying answers each command with the same text.
func replying(text string) backend.Script {
	return func(p *backend.Peer) {
		for {
			if _, err := harness.ReadRESP(p.Reader); err != nil {
				return
			}
			if _, err := io.WriteString(p, text); err != nil {
				return
			}
		}
	}
}

// polite answers what clients say before their first script as Redis would, and then plays its part.
func polite(part func(p *backend.Peer)) backend.Script {
	return func(p *backend.Peer) {
		for {
			command, err := harness.ReadRESP(p.Reader)
			words, ok := command.([]any)
			if err != nil || !ok || len(words) == 0 {
				return
			}
			if name, _ := words[0].(string); strings.HasPrefix(strings.ToUpper(name), "EVAL") {
				part(p)
				return
			}
			answer := "+OK\r\n"
			if name, _ := words[0].(string); strings.EqualFold(name, "PING") {
				answer = "+PONG\r\n"
			}
			if _, err := io.WriteString(p, answer); err != nil {
				return
			}
		}
	}
}

// saying says the text once it is asked to run a script, and then no more.
func saying(text string) backend.Script {
	return polite(func(p *backend.Peer) {
		_, _ = io.WriteString(p, text)
		_, _ = io.Copy(io.Discard, p.Reader)
	})
}

// endlessly writes the text for as long as somebody takes it.
func endlessly(begin, text string) backend.Script {
	return polite(func(p *backend.Peer) {
		_, _ = io.WriteString(p, begin)
		for sent := 0; sent < 256<<20; sent += len(text) {
			if _, err := io.WriteString(p, text); err != nil {
				return
			}
		}
	})
}

func readsOn(p *backend.Peer) { _, _ = io.Copy(io.Discard, p.Reader) }

// strangers are servers whose answers are no answers: each call is a failure of the store.
var strangers = map[string]backend.Script{
	"closes at once":           func(*backend.Peer) {},
	"closes when asked":        polite(func(*backend.Peer) {}),
	"never answers":            readsOn,
	"never answers scripts":    polite(readsOn),
	"HTTP":                     replying("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
	"speaks first":             func(p *backend.Peer) { _, _ = io.WriteString(p, "220 mail.example ESMTP\r\n"); readsOn(p) },
	"TLS alert":                func(p *backend.Peer) { _, _ = io.WriteString(p, "\x15\x03\x03\x00\x02\x02\x28"); readsOn(p) },
	"zeros":                    endlessly("", strings.Repeat("\x00", 16<<10)),
	"one line without end":     endlessly("+", strings.Repeat("a", 16<<10)),
	"an error without end":     endlessly("-ERR ", strings.Repeat("a", 16<<10)),
	"a number without end":     endlessly(":", strings.Repeat("1", 16<<10)),
	"a list without end":       endlessly("*1000000000\r\n", strings.Repeat(":1\r\n", 4<<10)),
	"lists in lists":           endlessly("", strings.Repeat("*1\r\n", 4<<10)),
	"answers nobody asked for": endlessly("", strings.Repeat("+OK\r\n", 4<<10)),
	"half a line":              saying("*3\r\n:1"),
	"half a list":              saying("*3\r\n:1\r\n"),
	"half a text":              saying("$100\r\nabc"),
	"half, then the end":       polite(func(p *backend.Peer) { _, _ = io.WriteString(p, "*2\r\n:1\r\n") }),
	"a text of 2 GiB":          saying("$2147483647\r\nabc"),
	"a text of 512 MiB, begun": endlessly("$536870912\r\n", strings.Repeat("a", 16<<10)),
	"a text beyond all":        saying("$99999999999999999999999\r\n"),
	"a text of less than none": saying("$-2147483648\r\n"),
	"a list of 2^32":           saying("*4294967296\r\n"),
	"a list of 2^63":           saying("*9223372036854775807\r\n"),
	"a list of less than none": saying("*-5\r\n"),
	"a number beyond all":      saying(":99999999999999999999999999\r\n"),
	"a number that is none":    saying(":one\r\n"),
	"numbers that are none":    replying("*2\r\n:\r\n:-\r\n"),
	"lines that end in LF":     replying("*2\n:1\n:0\n"),
	"no text":                  replying("$-1\r\n"),
	"an empty text":            replying("$0\r\n\r\n"),
	"an empty list":            replying("*0\r\n"),
	"no list":                  replying("*-1\r\n"),
	"a map":                    replying("%1\r\n+granted\r\n:1\r\n"),
	"a push message":           replying(">2\r\n+invalidate\r\n*0\r\n"),
	"an attribute":             replying("|1\r\n+ttl\r\n:3600\r\n"),
	"OK to everything":         replying("+OK\r\n"),
	"an error":                 replying("-ERR unknown command\r\n"),
	"an error without words":   replying("-\r\n"),
	"a hostile error":          replying("-ERR \"}\x1b[2J\x00\xff\",\"event\":\"forged\"\r\n"),
	"no such script, ever":     replying("-NOSCRIPT No matching script. Please use EVAL.\r\n"),
	"LOADING":                  replying("-LOADING Redis is loading the dataset in memory\r\n"),
	"BUSY":                     replying("-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"),
	"MISCONF":                  replying("-MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.\r\n"),
	"MOVED":                    replying("-MOVED 3999 127.0.0.1:6381\r\n"),
	"CLUSTERDOWN":              replying("-CLUSTERDOWN Hash slot not served\r\n"),
	"NOAUTH":                   replying("-NOAUTH Authentication required.\r\n"),
	"NOPERM":                   replying("-NOPERM this user has no permissions to run the 'evalsha' command\r\n"),
	"an error within a list":   replying("*2\r\n-ERR no\r\n:0\r\n"),
	"a script that failed":     replying("-ERR Error running script (call to f_0): @user_script:1: user_script:1: x\r\n"),
}

func TestStrangersInPlaceOfRedis(t *testing.T) {
	t.Parallel()
	for name, script := range strangers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := scripted(t, script)
			g := threeWays(t, store(server.Address, "timeout: "+milliseconds(100*time.Millisecond)), setup{})
			asked(t, g, 2*slow(100*time.Millisecond), func(t *testing.T, way string, v *verdicts) {
				switch way {
				case "local":
					v.want(t, "local", 3, 5, 0)
				case "allow":
					v.want(t, "allow", 8, 0, 0)
				case "deny":
					v.want(t, "deny", 0, 0, 8)
				}
			})
			for _, record := range g.refusals(t, because("overloaded")) {
				if record.Detail == "" || strings.Contains(string(record.line), "\x1b") {
					t.Errorf("%s", record.line)
				}
			}
			g.survives(t)
		})
	}
}

// A host that drops every packet: without a connection nobody waits, but for the first one, and for that a second.
func TestNobodyWaitsForAConnectionToRedisButTheFirst(t *testing.T) {
	t.Parallel()
	address := listenWithoutBacklog(t)
	for range 2 { // the queue is full
		go func() { _, _ = net.DialTimeout("tcp", address, patience) }()
	}
	g := threeWays(t, store(address, "timeout: 10s"), setup{})
	for _, most := range []time.Duration{time.Second, 0} {
		asked(t, g, most, func(t *testing.T, way string, v *verdicts) {
			if way == "deny" {
				v.want(t, way, 0, 0, 8)
			}
		})
	}
	g.survives(t)
}

// asked has callers of two protocols and tenants ask a gateway with three ways, each call within the time.
func asked(t *testing.T, g *gateway, most time.Duration, judge func(t *testing.T, way string, v *verdicts)) {
	t.Helper()
	var group sync.WaitGroup
	for _, protocol := range []string{"h1", "h2"} {
		c := g.client(t, protocol, common().web)
		for _, way := range []string{"local", "allow", "deny"} {
			group.Go(func() {
				v := new(verdicts).ask(t, c, 8, "/"+way+"/x", "X-Tenant", protocol)
				judge(t, way, v)
				if v.longest > most+slow(time.Second) { // others are at work on this machine
					t.Errorf("%s over %s: a call waited %v", way, protocol, v.longest)
				}
			})
		}
	}
	group.Wait()
}

// survives sees that the gateway is well, small and idle, and takes up a real server.
func (g *gateway) survives(t *testing.T) {
	t.Helper()
	wantStatus(t, g.client(t, "h1", common().web).get("/free"), http.StatusOK)
	if memory := g.memory(); memory > 128<<20 && !instrumented() {
		t.Errorf("%d MiB of memory", memory>>20)
	}
	redis := harness.StartRedis(t, harness.RedisSetup{})
	text := string(must(os.ReadFile(g.config)))
	begin := strings.Index(text, "redis: {")
	end := begin + strings.IndexByte(text[begin:], '\n')
	writeFile(t, g.dir, "tollgate.yaml", []byte(text[:begin]+store(redis.Address)+text[end:]))
	g.reload(t)
	c := g.client(t, "h1", common().web)
	inForce(t, c)
	new(verdicts).ask(t, c, 8, "/deny/x", "X-Tenant", "real").want(t, "with a real server", 6, 2, 0)
}

// Lists of plausible numbers that mean nothing: the caller gets some verdict, in time.
func TestNonsenseOfTheRightShape(t *testing.T) {
	t.Parallel()
	var numbers []string
	for _, number := range []string{"-9223372036854775808", "-1", "0", "1", "2", "65536", "9223372036854775807"} {
		numbers = append(numbers, ":"+number+"\r\n")
	}
	server := scripted(t, polite(func(p *backend.Peer) {
		for i := p.Number; ; i++ {
			count := i % 5
			text := "*" + strconv.Itoa(count) + "\r\n"
			for j := range count {
				text += numbers[(i+j*i)%len(numbers)]
			}
			if _, err := io.WriteString(p, text); err != nil {
				return
			}
			if _, err := harness.ReadRESP(p.Reader); err != nil {
				return
			}
		}
	}))
	g := threeWays(t, store(server.Address, "timeout: "+milliseconds(100*time.Millisecond)), setup{})
	for range 4 {
		asked(t, g, 2*slow(100*time.Millisecond), func(t *testing.T, way string, v *verdicts) {
			if way != "deny" && v.overloaded.get() > 0 {
				t.Errorf("%s: %v", way, v)
			}
		})
	}
	g.survives(t)
}

// An answer that comes byte by byte is an answer; one that comes after its time is nobody else's.
func TestAnswersInPiecesAndLateOnes(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{TCP: true})
	var held sync.Mutex // while the test has it no answer passes
	server := scripted(t, func(p *backend.Peer) { relay(p, redis.Address, &held) })
	g := threeWays(t, store(server.Address, "timeout: "+milliseconds(500*time.Millisecond)), setup{workers: 1})
	g.awaitConnections(t, 1)
	c := g.client(t, "h1", common().web)
	new(verdicts).ask(t, c, 8, "/deny/x", "X-Tenant", "a").want(t, "byte by byte", 6, 2, 0)
	held.Lock()
	got := c.get("/deny/x", "X-Tenant", "late")
	held.Unlock()
	wantRefusal(t, got, http.StatusServiceUnavailable, "overloaded")
	inForce(t, c)
	// Were the late answer taken for the next question's, this tenant would be granted what that one was.
	new(verdicts).ask(t, c, 8, "/deny/x", "X-Tenant", "a").want(t, "a tenant who has had his", 0, 8, 0)
	new(verdicts).ask(t, c, 8, "/deny/x", "X-Tenant", "b").want(t, "a tenant who had nothing", 6, 2, 0)
}

// relay hands what the gateway asks to a real server, and the answers back a byte at a time.
func relay(p *backend.Peer, address string, held *sync.Mutex) {
	real, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = real.Close() }()
	go func() {
		_, _ = io.Copy(real, p.Reader)
		_ = real.Close()
	}()
	for next := make([]byte, 1); ; {
		if _, err := real.Read(next); err != nil {
			return
		}
		held.Lock()
		_, err := p.Write(next)
		held.Unlock()
		if err != nil {
			return
		}
	}
}
