package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Upgrades and reloads that are disturbed: by rotation, by signals, by links, by clients that do not listen.

// handsOver sends SIGUSR2 and returns the newcomer while the first still drains.
func (g *gateway) handsOver(t *testing.T) int {
	t.Helper()
	g.signal(syscall.SIGUSR2)
	waitFor(t, "the newcomer to serve", 20*time.Second, func() bool { return strings.Contains(g.allSaid(), "the new gateway serves") })
	for _, process := range g.gateways() {
		if process != g.command.Process.Pid {
			return process
		}
	}
	t.Fatalf("no newcomer:\n%s", tail(g.allSaid()))
	return 0
}

// held starts a replaceable gateway and a call on it that keeps the first process draining until it is let go.
func held(t *testing.T, s setup) (g *gateway, letGo func()) {
	t.Helper()
	users := grpcBackend(t)
	s.drain = "20s"
	s.routes = append([]string{route(`grpc: "user.*/*"`, "backend: users")}, s.routes...)
	s.backends = append(s.backends, h2("users", users.Address))
	g = replaceable(t, s)
	stream := openStream(t, within(t, patience), g.rpc(t, common().web), chat)
	send(t, stream, "x")
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	return g, func() { _ = stream.CloseSend() }
}

func TestRotationWhileTwoWriteKeepsOneChain(t *testing.T) {
	t.Parallel()
	g, letGo := held(t, setup{audit: "{path: audit.jsonl, fold_after: 100000}", routes: []string{marked("path: /x", "ok")}})
	old := g.wire(t, common().web)
	g.handsOver(t)
	newer := g.client(t, "h2", common().web)
	refused, files := 0, []string{}
	for refused < 200 {
		wantStatus(t, newer.get("/nowhere"), http.StatusNotFound)
		if refused++; refused == 3 { // while the old gateway still hears its idle connections
			old.say("GET /nowhere HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
			wantStatus(t, old.hear("GET"), http.StatusNotFound)
		}
		if rotated := fmt.Sprint(g.auditPath(), ".", len(files)+1); os.Rename(g.auditPath(), rotated) == nil {
			files = append(files, rotated)
		}
	}
	letGo()
	wantStatus(t, newer.get("/nowhere"), http.StatusNotFound)
	want := fmt.Sprintf("%d records, seq 1..%d,", refused+2, refused+2)
	waitFor(t, "one chain over all files", 10*time.Second, func() bool {
		output, code := tollgate(t, append([]string{"audit", "verify"}, append(files, g.auditPath())...)...)
		return code == 0 && strings.Contains(output, want)
	})
	g.rotated = files
}

func TestFirstSignalAfterTheHandoverLetsCallsFinish(t *testing.T) {
	t.Parallel()
	g, letGo := held(t, setup{})
	g.handsOver(t)
	if err := syscall.Kill(g.command.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 500*time.Millisecond; pause() {
		if n := len(g.gateways()); n != 2 {
			t.Fatalf("%d gateways: the call was cut", n)
		}
	}
	letGo()
	waitFor(t, "the first to end", 10*time.Second, func() bool { return len(g.gateways()) == 1 })
}

func TestWhileDrainingOnlyLogsAreReloaded(t *testing.T) {
	t.Parallel()
	g, letGo := held(t, setup{top: []string{"watch_config: true"}, routes: []string{marked("path: /*", "ok")}})
	newcomer := g.handsOver(t)
	address, text := g.second(t, "inner", string(must(os.ReadFile(g.config))))
	g.rewrite(t, "listeners:\n", "listeners:\n"+text)
	for _, process := range []int{g.command.Process.Pid, newcomer} {
		_ = syscall.Kill(process, syscall.SIGHUP)
	}
	inner := &gateway{t: t, setup: g.setup, address: address}
	waitFor(t, "the added listener to serve", 10*time.Second, func() bool {
		conn, err := inner.tryTLS(inner.trusting(common().web))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	for range 8 { // none of them waits for a gateway that does not accept
		wantStatus(t, inner.once(t, inner.trusting(common().web, "http/1.1")), http.StatusOK)
	}
	waitFor(t, "the old gateway to say what it does", 2*time.Second, func() bool {
		return strings.Contains(g.allSaid(), "draining: the logs are reopened, nothing else is reloaded")
	})
	letGo()
}

// versioned starts a gateway as deployments do that keep versions side by side and switch a link, which leads to v1.
func versioned(t *testing.T, second []byte) (g *gateway, dir string) {
	t.Helper()
	dir = t.TempDir()
	for version, program := range map[string][]byte{"v1": must(os.ReadFile(binary())), "v2": second} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		writeProgram(t, filepath.Join(dir, version, "tollgate"), program)
	}
	link(t, "v1", filepath.Join(dir, "current"))
	return replaceable(t, setup{program: filepath.Join(dir, "current", "tollgate"), routes: []string{marked("path: /*", "old")}}), dir
}

func TestUpgradeRunsWhatThePathLeadsToNow(t *testing.T) {
	t.Parallel()
	g, dir := versioned(t, must(os.ReadFile(binary())))
	link(t, "v2", filepath.Join(dir, "current"))
	successor := g.upgrade(t, g.command.Process.Pid)
	if runs := must(os.Readlink(fmt.Sprintf("/proc/%d/exe", successor))); runs != filepath.Join(dir, "v2", "tollgate") {
		t.Errorf("the successor is %s", runs)
	}
}

// What the newcomer read is old by then: it has to leave, and another one reads the file anew.
func TestReloadDuringAnUpgradeBeginsItAgain(t *testing.T) {
	t.Parallel()
	door := filepath.Join(t.TempDir(), "door")
	if err := syscall.Mkfifo(door, 0o600); err != nil {
		t.Fatal(err)
	}
	g, dir := versioned(t, fmt.Appendf(nil, "#!/bin/sh\nread _ <%s\nexec %s \"$@\"\n", door, binary()))
	g.provoked = []string{"upgrade failed, this gateway goes on\" error=\"the configuration was reloaded meanwhile; it begins again",
		"the predecessor does not hand over, leaving"}
	link(t, "v2", filepath.Join(dir, "current"))
	first := g.command.Process.Pid
	g.signal(syscall.SIGUSR2)
	var key *os.File
	waitFor(t, "the newcomer to stand at the door", patience, func() (here bool) {
		var err error
		key, err = os.OpenFile(door, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	link(t, "v1", filepath.Join(dir, "current"))
	g.rewrite(t, `body: "old"`, `body: "new"`)
	g.reload(t)
	_ = key.Close()
	waitFor(t, "the second newcomer to be alone", 20*time.Second, func() bool {
		all := g.gateways()
		return len(all) == 1 && all[0] != first
	})
	if got := g.client(t, "h1", common().web).get("/x"); got.body != "new" {
		t.Errorf("not the new configuration: %+v", got)
	}
	waitFor(t, "it to be told", 2*time.Second, func() bool { return strings.Contains(g.allSaid(), "it begins again") })
	if n := strings.Count(g.allSaid(), "it begins again"); n != 1 {
		t.Errorf("it began again %d times", n)
	}
}

// More than a process has descriptors by default, and more than fit into two packets.
func TestUpgradeHandsOverHundredsOfSockets(t *testing.T) {
	t.Parallel()
	g := replaceable(t, setup{workers: 16, under: []string{"prlimit", "--nofile=1024:8192"}, routes: []string{marked("path: /*", "ok")}})
	text := string(must(os.ReadFile(g.config)))
	more := text
	for i := range 34 {
		_, listener := g.second(t, fmt.Sprint("more", i), text)
		more = strings.Replace(more, "listeners:\n", "listeners:\n"+listener, 1)
	}
	writeFile(t, g.dir, "tollgate.yaml", []byte(more))
	g.reload(t)
	process := g.command.Process.Pid
	for range 2 {
		process = g.upgrade(t, process)
	}
	wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
}

// Nothing comes back from this client: neither to PING nor to GOAWAY.
func TestDeafClientOfARemovedListenerIsCutInTheEnd(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{drain: "3s", routes: []string{route("path: /*", "backend: web")}, backends: []string{http1("web", back.Address)}})
	first := string(must(os.ReadFile(g.config)))
	address, text := g.second(t, "inner", first)
	writeFile(t, g.dir, "tollgate.yaml", []byte(strings.Replace(first, "listeners:\n", "listeners:\n"+text, 1)))
	g.reload(t)
	inner := &gateway{t: t, setup: g.setup, address: address}
	conn, err := inner.dialTLS(t, inner.trusting(common().web, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	writeFile(t, g.dir, "tollgate.yaml", []byte(first))
	g.reload(t)
	var last uint32
	goaways := 0
	for {
		frame, err := framer.ReadFrame()
		if isTimeout(err) {
			t.Fatal("the connection is kept")
		}
		if err != nil {
			break
		}
		if goaway, ok := frame.(*http2.GoAwayFrame); ok {
			goaways++
			last = goaway.LastStreamID
		}
	}
	if goaways != 2 || last != 0 {
		t.Errorf("%d GOAWAYs, the last of them for streams up to %d", goaways, last)
	}
}
