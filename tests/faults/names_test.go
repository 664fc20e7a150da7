package faults

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Names of backends that do not resolve, or slowly. They are resolved when a configuration is loaded, never on the
// way of a request.

// A resolver is a name server of the test's own: every name has the address 127.0.0.1, or does not exist.
type resolver struct {
	address string
	exists  atomic.Bool
	delay   atomic.Int64
	asked   atomic.Int64
}

var lastResolver atomic.Int64

// startResolver needs root, for port 53 and for the gateway's own /etc/resolv.conf.
func startResolver(t *testing.T) *resolver {
	t.Helper()
	needRoot(t)
	r := &resolver{address: fmt.Sprintf("127.%d.%d.%d", 77+os.Getpid()>>8&127, os.Getpid()&255, 1+lastResolver.Add(1))}
	conn := harness.Must(net.ListenPacket("udp", r.address+":53"))
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:n]) == nil {
				r.asked.Add(1)
				answer := r.answer(&query)
				time.AfterFunc(time.Duration(r.delay.Load()), func() { _, _ = conn.WriteTo(answer, from) })
			}
		}
	}()
	return r
}

func (r *resolver) answer(query *dnsmessage.Message) []byte {
	query.Response, query.RecursionAvailable, query.Additionals = true, true, nil
	question := query.Questions[0]
	if !r.exists.Load() {
		query.RCode = dnsmessage.RCodeNameError
	} else if question.Type == dnsmessage.TypeA {
		query.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 1},
			Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	}
	return harness.Must(query.Pack())
}

// under runs a program where this is the only name server.
func (r *resolver) under(t *testing.T) []string {
	return resolving(t, "nameserver "+r.address+"\noptions timeout:5 attempts:1\n")
}

// resolving runs a program with this /etc/resolv.conf.
func resolving(t *testing.T, conf string) []string {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, path}
}

// The system's resolver tries each of three servers twice, for up to a minute a name, and twice that under a search list.
func TestMuteNameServersHoldUpNoStart(t *testing.T) {
	t.Parallel()
	var conf strings.Builder
	for range 3 {
		mute := startResolver(t)
		mute.delay.Store(int64(time.Hour))
		fmt.Fprintf(&conf, "nameserver %s\n", mute.address)
	}
	back := scripted(t, backend.Good)
	conf.WriteString("search one.example two.example\n")
	began, endpoints := time.Now(), fmt.Sprintf("['absent.cluster.example:1', %q, 'other.cluster.example:1']", back.Address)
	g := harness.Start(t, harness.Setup{Under: resolving(t, conf.String()), Routes: everything(""),
		Backends: []string{"{name: web, endpoints: " + endpoints + "}"}})
	if took := time.Since(began); took > harness.Slow(12*time.Second) {
		t.Errorf("the start took %v", took)
	}
	unharmed(t, g, "/x")
}

// rename puts another endpoint into the configuration.
func rename(t *testing.T, g *harness.Gateway, from, to string) {
	t.Helper()
	path := g.Path("tollgate.yaml")
	text := strings.Replace(string(harness.Must(os.ReadFile(path))), from, to, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNameThatDoesNotResolveKeepsTheOldConfigurationServing(t *testing.T) {
	t.Parallel()
	names := startResolver(t)
	back := scripted(t, backend.Good)
	_, port, _ := net.SplitHostPort(back.Address)
	g := harness.Start(t, harness.Setup{Under: names.under(t), Routes: everything(""), Backends: []string{harness.HTTP1("web", back.Address)}})
	unharmed(t, g, "/before")
	rename(t, g, back.Address, "web.cluster.example:"+port)

	problem := "backends[0].endpoints[0]: "
	output, code := harness.Run(t, append(names.under(t), harness.Binary(), "check", "--config", g.Path("tollgate.yaml"))...)
	if code != 2 || !strings.Contains(output, problem) || !strings.Contains(output, "web.cluster.example") || !strings.Contains(output, "resolve") {
		t.Errorf("check: exit %d: %s", code, output)
	}
	status, said := g.Ask("POST", "/reload")
	if status/100 == 2 || !strings.Contains(said, problem) {
		t.Errorf("POST /reload: %d %s", status, said)
	}
	g.Signal(syscall.SIGHUP)
	harness.WaitFor(t, "the problem to be told", 5*time.Second, func() bool { return strings.Contains(g.Said(), problem) })
	if good := g.Metric("tollgate_config_last_reload_success"); good != 0 {
		t.Errorf("tollgate_config_last_reload_success is %v", good)
	}
	unharmed(t, g, "/old")

	names.exists.Store(true)
	if status, said := g.Ask("POST", "/reload"); status/100 != 2 {
		t.Fatalf("POST /reload: %d %s", status, said)
	}
	unharmed(t, g, "/new")
	asked := names.asked.Load()
	unharmed(t, g, "/again")
	if names.asked.Load() != asked {
		t.Error("a request asked the name server")
	}
}

func TestSlowNameServerHoldsUpTheReloadAndNoRequest(t *testing.T) {
	t.Parallel()
	names := startResolver(t)
	names.exists.Store(true)
	back := scripted(t, backend.Good)
	_, port, _ := net.SplitHostPort(back.Address)
	g := harness.Start(t, harness.Setup{Under: names.under(t), Routes: everything(""), Backends: []string{harness.HTTP1("web", back.Address)}})
	rename(t, g, back.Address, "web.cluster.example:"+port)
	names.delay.Store(int64(time.Second))
	reloaded := make(chan int)
	go func() {
		status, _ := g.Ask("POST", "/reload")
		reloaded <- status
	}()
	harness.WaitFor(t, "the name server to be asked", 5*time.Second, func() bool { return names.asked.Load() > 0 })
	client, served := g.Client(t, "h1"), 0
	for waiting := true; waiting; {
		began := time.Now()
		if got := harness.Get(client, "/x"); got.Err != nil || got.Status != http.StatusOK {
			t.Fatalf("during the reload: %+v", got)
		}
		if took := time.Since(began); took > harness.Slow(500*time.Millisecond) {
			t.Errorf("a request waited %v for the name server", took)
		}
		select {
		case status := <-reloaded:
			waiting = false
			if status/100 != 2 {
				t.Errorf("POST /reload: %d", status)
			}
		default:
			served++
		}
	}
	if served < 10 {
		t.Errorf("only %d requests were served meanwhile", served)
	}
}
