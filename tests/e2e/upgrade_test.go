package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// SIGUSR2: another process takes the place of this one, and no client notices.

// allSaid is what the gateway and its successors have written to stderr.
func (g *gateway) allSaid() string {
	return string(must(os.ReadFile(filepath.Join(g.dir, "stderr"))))
}

// gateways returns the processes that run this configuration, launchers aside.
func (g *gateway) gateways() (all []int) {
	for _, path := range must(filepath.Glob("/proc/[0-9]*/cmdline")) {
		words := bytes.Split(readOrNothing(path), []byte{0})
		if len(words) > 3 && string(words[1]) == "run" && string(words[3]) == g.config {
			all = append(all, must(strconv.Atoi(filepath.Base(filepath.Dir(path)))))
		}
	}
	return all
}

// A process may end while one looks.
func readOrNothing(path string) []byte {
	text, _ := os.ReadFile(path)
	return text
}

// upgrade has another gateway take over, and returns its process once the first has ended well.
func (g *gateway) upgrade(t *testing.T, from int) int {
	t.Helper()
	if err := syscall.Kill(from, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	var successor int
	waitFor(t, "the successor to be alone", 20*time.Second, func() bool {
		all := g.gateways()
		if len(all) != 1 || all[0] == from {
			return false
		}
		successor = all[0]
		return strings.Count(g.allSaid(), "the gateway before this one has ended") == strings.Count(g.allSaid(), "the new gateway serves")
	})
	return successor
}

// replaceable starts a gateway whose successors the test ends.
func replaceable(t *testing.T, s setup) *gateway {
	t.Helper()
	s.successors, s.keepErrors = true, true
	g := start(t, s)
	t.Cleanup(func() {
		for _, process := range g.gateways() {
			_ = syscall.Kill(process, syscall.SIGTERM)
		}
		waitFor(t, "every gateway to end", 15*time.Second, func() bool { return len(g.gateways()) == 0 })
		files := append(append([]string{"audit", "verify"}, g.rotated...), g.auditPath())
		if output, code := tollgate(t, files...); code != 0 {
			t.Errorf("audit verify: exit %d: %s", code, output)
		}
		said := g.allSaid()
		for _, what := range g.provoked {
			said = strings.ReplaceAll(said, "level=error msg=\""+what, "")
		}
		for _, mark := range []string{"Sanitizer", "runtime error:", "CHECK", "level=error"} {
			if strings.Contains(said, mark) && !t.Failed() {
				t.Errorf("the gateways said %q", mark)
			}
		}
		if t.Failed() {
			t.Logf("the gateways said:\n%s", tail(g.allSaid()))
		}
	})
	return g
}

func TestUpgradeUnderLoadFailsNoCall(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := replaceable(t, setup{routes: []string{route(`grpc: "user.*/*"`, "backend: users"), marked("path: /*", "ok")},
		backends: []string{h2("users", users.Address)}})
	c := g.crowd(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 4 {
		conn := g.rpc(t, common().web)
		c.add(ctx, fmt.Sprint("grpc ", i), func() error {
			_, err := backend.Invoke(within(t, patience), conn, getUser, []byte("x"))
			return err
		})
	}
	process := g.command.Process.Pid
	for range 3 {
		process = g.upgrade(t, process)
	}
	cancel()
	c.leave(t)
	t.Logf("%d calls over three upgrades", c.calls.Load())
}

func TestUnixSocketsAreHandedOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "edge")
	g := replaceable(t, setup{socket: "unix:" + path, routes: []string{marked("path: /*", "ok")}})
	process := g.command.Process.Pid
	for range 2 {
		process = g.upgrade(t, process)
		c := g.client(t, "h2", common().web)
		c.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		wantStatus(t, c.get("/x"), http.StatusOK)
	}
}

func TestStreamsOutliveTheUpgrade(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := replaceable(t, setup{drain: "20s", routes: []string{route(`grpc: "user.*/*"`, "backend: users")},
		backends: []string{h2("users", users.Address)}})
	stream := openStream(t, within(t, patience), g.rpc(t, common().web), chat)
	send(t, stream, "before")
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGUSR2)
	waitFor(t, "the newcomer to serve", 10*time.Second, func() bool { return strings.Contains(g.allSaid(), "the new gateway serves") })
	for i := range 5 {
		want := fmt.Sprint("after ", i)
		send(t, stream, want)
		if got, err := stream.Receive(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if n := len(g.gateways()); n != 2 {
		t.Errorf("%d gateways while the stream lives", n)
	}
	_ = stream.CloseSend()
	if _, err := stream.Receive(); err != io.EOF {
		t.Errorf("the call ended with %v", err)
	}
	waitFor(t, "the first gateway to end", 5*time.Second, func() bool { return len(g.gateways()) == 1 })
}

func TestUpgradeKeepsBucketsAndTheAuditChain(t *testing.T) {
	t.Parallel()
	limited := route("path: /*", `respond: {status: 200, body: "ok"}, rate_limits: [{rate: 1/h, burst: 4, per: [identity]}]`)
	g := replaceable(t, setup{routes: []string{limited}})
	granted := 0
	ask := func() {
		if got := g.once(t, g.trusting(common().web, "http/1.1")); got.status == http.StatusOK {
			granted++
		}
	}
	process := g.command.Process.Pid
	for range 4 {
		ask()
		ask()
		process = g.upgrade(t, process)
	}
	if granted != 4 {
		t.Errorf("%d calls of a burst of 4 were granted over four upgrades", granted)
	}
	waitFor(t, "all refusals in the chain", 5*time.Second, func() bool {
		output, code := tollgate(t, "audit", "verify", g.auditPath())
		return code == 0 && strings.Contains(output, "4 records, seq 1..4")
	})
}

// While the old gateway drains both refuse, and both write.
func TestBothWriteOneChainWhileOneDrains(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	g := replaceable(t, setup{drain: "20s", top: []string{"access_log: {path: access.jsonl}"},
		routes:   []string{route(`grpc: "user.*/*"`, "backend: users")},
		backends: []string{h2("users", users.Address)}})
	stream := openStream(t, within(t, patience), g.rpc(t, common().web), chat)
	send(t, stream, "x")
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	old := g.wire(t, common().web) // idle, and so for a moment still heard by the old gateway
	g.signal(syscall.SIGUSR2)
	waitFor(t, "the newcomer to serve", 10*time.Second, func() bool { return strings.Contains(g.allSaid(), "the new gateway serves") })
	old.say("GET /nowhere HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	if got := old.hear("GET"); got.status != http.StatusNotFound {
		t.Errorf("the old gateway answers %+v", got)
	}
	for range 20 {
		wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusNotFound)
	}
	if err := os.Rename(g.auditPath(), g.auditPath()+".1"); err != nil { // as logrotate would, with both there
		t.Fatal(err)
	}
	for _, process := range g.gateways() {
		if process != g.command.Process.Pid {
			_ = syscall.Kill(process, syscall.SIGHUP)
		}
	}
	for range 20 {
		wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusNotFound)
	}
	_ = stream.CloseSend()
	waitFor(t, "the whole chain over both files", 10*time.Second, func() bool {
		output, code := tollgate(t, "audit", "verify", g.auditPath()+".1", g.auditPath())
		return code == 0 && strings.Contains(output, "41 records, seq 1..41")
	})
}

func TestUpgradeThatCannotStartLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{marked("path: /*", "old")}})
	good := must(os.ReadFile(g.config))
	for name, text := range map[string]string{
		"a broken configuration": string(good) + "nonsense: 1\n",
		"an address of others":   strings.Replace(string(good), g.address, "192.0.2.1:1", 1),
	} {
		before := strings.Count(g.stderr.String(), "upgrade failed, this gateway goes on")
		writeFile(t, g.dir, "tollgate.yaml", []byte(text))
		g.signal(syscall.SIGUSR2)
		waitFor(t, name+" to be told", 10*time.Second, func() bool {
			return strings.Count(g.stderr.String(), "upgrade failed, this gateway goes on") > before
		})
		if got := g.once(t, g.trusting(common().web, "http/1.1")); got.body != "old" {
			t.Errorf("%s: got %+v", name, got)
		}
		wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
	}
	g.wantSaid("nonsense: ")
	writeFile(t, g.dir, "tollgate.yaml", good)
}

// What a reload cannot change an upgrade can.
func TestUpgradeTakesWhatAReloadRefuses(t *testing.T) {
	t.Parallel()
	g := replaceable(t, setup{workers: 2, routes: []string{marked("path: /*", "ok")}})
	process := g.command.Process.Pid
	for _, workers := range []string{"workers: 4", "workers: 1", "workers: 3"} {
		text := string(must(os.ReadFile(g.config)))
		begin := strings.Index(text, "workers: ")
		end := begin + strings.IndexByte(text[begin:], '\n')
		writeFile(t, g.dir, "tollgate.yaml", []byte(text[:begin]+workers+text[end:]))
		c := g.crowd(t)
		process = g.upgrade(t, process)
		waitFor(t, "some calls", patience, func() bool { return c.calls.Load() > 200 })
		c.leave(t)
		if n := g.metric(t, "tollgate_workers"); workers != fmt.Sprint("workers: ", n) {
			t.Errorf("%s: there are %v", workers, n)
		}
	}
}

func TestUpgradeAfterItsUserWasGivenUp(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	g := replaceable(t, setup{top: []string{"run_as: {user: nobody}"}, routes: []string{marked("path: /*", "ok")}})
	_ = g.upgrade(t, g.command.Process.Pid)
	wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
}

// What whoever runs the test left open for everybody is none of the gateway's.
func descriptorsOfItsOwn(process string) (own []string) {
	for _, descriptor := range must(os.ReadDir("/proc/" + process + "/fd")) {
		at := descriptor.Name()
		whose, _ := os.Readlink("/proc/" + process + "/fd/" + at)
		inherited, _ := os.Readlink("/proc/self/fd/" + at)
		if number := must(strconv.Atoi(at)); number > 2 && whose != "" && whose != inherited {
			own = append(own, whose)
		}
	}
	return own
}

func TestLauncherEndsWithItsGateway(t *testing.T) {
	t.Parallel()
	g := launch(t, setup{routes: []string{marked("path: /*", "ok")}})
	if !g.becomesReady() {
		t.Fatal(g.stderr)
	}
	children := strings.Fields(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", g.command.Process.Pid)))))
	if len(children) != 1 {
		t.Fatalf("children %v", children)
	}
	if name := strings.TrimSpace(string(must(os.ReadFile("/proc/" + children[0] + "/comm")))); !strings.HasPrefix("tollgate-launcher", name) {
		t.Errorf("the child is called %q", name)
	}
	// A sanitizer looks into /proc as the process begins.
	waitFor(t, "the launcher to have no descriptor of the gateway's", 5*time.Second, func() bool {
		return len(descriptorsOfItsOwn(children[0])) == 0
	})
	g.kill()
	waitFor(t, "the launcher to end", 5*time.Second, func() bool {
		state := readOrNothing("/proc/" + children[0] + "/stat")
		return len(state) == 0 || bytes.Contains(state, []byte(") Z "))
	})
}

// systemd's protocol, spoken by the test: a datagram socket that hears what sd_notify says, and sockets handed over.
func TestServiceManagerHearsOfEveryChange(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	heard := must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}))
	t.Cleanup(func() { _ = heard.Close() })
	hear := func(want ...string) string {
		t.Helper()
		_ = heard.SetReadDeadline(time.Now().Add(patience))
		for {
			text := make([]byte, 4096)
			n, err := heard.Read(text)
			if err != nil {
				t.Fatalf("waiting for %v: %v", want, err)
			}
			missing := false
			for _, line := range want {
				missing = missing || !strings.Contains("\n"+string(text[:n])+"\n", "\n"+line)
			}
			if !missing {
				return string(text[:n])
			}
		}
	}
	s := setup{routes: []string{marked("path: /*", "ok")}, env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=400000"}}
	g := replaceable(t, s)
	process := g.command.Process.Pid
	hear("READY=1", fmt.Sprintf("MAINPID=%d\n", process), "STATUS=")
	for range 3 {
		hear("WATCHDOG=1")
	}
	g.signal(syscall.SIGHUP)
	hear("RELOADING=1", "MONOTONIC_USEC=")
	hear("READY=1")
	successor := g.upgrade(t, process)
	hear("READY=1", fmt.Sprintf("MAINPID=%d\n", successor))
	hear("WATCHDOG=1")
	_ = syscall.Kill(successor, syscall.SIGTERM)
	hear("STOPPING=1")
}
