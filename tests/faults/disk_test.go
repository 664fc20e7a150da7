package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// Disks that are full, read-only, or lose the file under the gateway.

// smallDisk mounts a small file system on the folder "log" of a new directory, and returns the directory.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	needRoot(t)
	dir = t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", log, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("this machine does not let root mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(log, syscall.MNT_DETACH) })
	return dir
}

// fill takes all the room there is, and returns what gives it back.
func fill(t *testing.T, dir string) (makeRoom func()) {
	t.Helper()
	path := filepath.Join(dir, "log", "ballast")
	file := harness.Must(os.Create(path))
	for piece := make([]byte, 4096); ; {
		if _, err := file.Write(piece); err != nil {
			break
		}
	}
	_ = file.Close()
	return func() { _ = os.Remove(path) }
}

// disks starts a gateway that writes to a small disk, with a backend behind it.
func disks(t *testing.T, size string, top ...string) (*harness.Gateway, *backend.Scripted) {
	t.Helper()
	back := scripted(t, backend.Good)
	return harness.Start(t, harness.Setup{Dir: smallDisk(t, size), Top: top,
		Routes:   []string{harness.Route("path: /web", "backend: web"), harness.Route(`grpc: "user.*/*"`, "backend: web")},
		Backends: []string{harness.HTTP1("web", back.Address)}}), back
}

func refuse(t *testing.T, client *http.Client, count int) {
	t.Helper()
	for i := range count {
		if got := harness.Get(client, fmt.Sprint("/nowhere", i)); got.Err != nil || got.Status != http.StatusNotFound {
			t.Fatalf("want a refusal, got %+v", got)
		}
	}
}

func (f *fullDisk) records() []harness.Record {
	return harness.Read[harness.Record](f.t, f.g.Path("log/audit.jsonl"))
}

// last is the number of the last record.
func (f *fullDisk) last() int64 {
	records := f.records()
	return records[len(records)-1].Seq
}

type fullDisk struct {
	t        *testing.T
	g        *harness.Gateway
	back     *backend.Scripted
	makeRoom func()
}

// full starts a gateway, writes some records, and fills the disk until the audit log cannot be written.
func full(t *testing.T, onFailure string) *fullDisk {
	t.Helper()
	g, back := disks(t, "256k", "audit: {path: log/audit.jsonl, fold_after: 20, on_failure: "+onFailure+"}")
	f := &fullDisk{t: t, g: g, back: back}
	client := g.Client(t, "h2")
	refuse(t, client, 3)
	harness.WaitFor(t, "the first records", 2*time.Second, func() bool { return len(f.records()) == 3 })
	f.makeRoom = fill(t, g.Dir)
	harness.WaitFor(t, "the disk to refuse", 10*time.Second, func() bool {
		_ = harness.Get(client, "/nowhere")
		return g.Metric("tollgate_audit_write_failures_total") > 0
	})
	g.WantSaid("level=error msg=\"log cannot be written")
	return f
}

// whole sees that after there is room the log holds every refusal, as often as it was counted, in one chain.
func (f *fullDisk) whole() {
	f.t.Helper()
	refuse(f.t, f.g.Client(f.t, "h1"), 1)
	for _, reason := range []string{"no_route", "overloaded"} {
		want := int(f.g.Metric(fmt.Sprintf("tollgate_rejections_total{listener=\"edge\",reason=%q}", reason)))
		harness.WaitFor(f.t, fmt.Sprintf("%d records of %s", want, reason), 5*time.Second, func() bool {
			return refusals(f.records(), reason) >= want
		})
		if got := refusals(f.records(), reason); got != want {
			f.t.Errorf("%d refusals for %s are recorded, %d were counted", got, reason, want)
		}
	}
	for i, record := range f.records() {
		if record.Seq != int64(i+1) {
			f.t.Fatalf("line %d has seq %d", i+1, record.Seq)
		}
	}
	f.g.WantSaid("log can be written again")
	verified(f.t, f.g.Path("log/audit.jsonl"))
}

func TestFullDiskUnderTheAuditLogIsCountedAndServedOn(t *testing.T) {
	t.Parallel()
	f := full(t, "continue")
	refuse(t, f.g.Client(t, "h2"), 300)
	unharmed(t, f.g, "/web")
	if f.g.Metric("tollgate_audit_records_total") < 303 {
		t.Error("what cannot be written is not counted")
	}
	f.makeRoom()
	f.whole()
}

func TestFullDiskUnderTheAuditLogLetsNobodyInWhereSaidSo(t *testing.T) {
	t.Parallel()
	f := full(t, "refuse")
	for _, protocol := range []string{"h1", "h2"} {
		got := harness.Get(f.g.Client(t, protocol), "/web")
		if got.Status != http.StatusServiceUnavailable || !strings.Contains(got.Body, `"overloaded"`) || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", protocol, got)
		}
	}
	if got := callUnary(t, f.g, unary); got != unavailable {
		t.Errorf("gRPC: %s", got)
	}
	if n := f.back.Wire.Accepted.Load(); n != 0 {
		t.Errorf("the backend was reached %d times", n)
	}
	f.makeRoom()
	harness.WaitFor(t, "service to be back by itself", 5*time.Second, func() bool {
		return harness.Get(f.g.Client(t, "h1"), "/web").Status == http.StatusOK
	})
	f.whole()
}

func TestFullDiskAtTheEndIsToldAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	f := full(t, "continue")
	refuse(t, f.g.Client(t, "h2"), 10)
	f.g.Signal(syscall.SIGTERM)
	if code := f.g.Exit(8 * time.Second); code != 0 {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(f.g.Said(), "audit records lost") {
		t.Errorf("what is lost is not told:\n%s", f.g.Said())
	}
	verified(t, f.g.Path("log/audit.jsonl"))
	f.makeRoom()
	seq := f.last()
	f.g.Restart()
	refuse(t, f.g.Client(t, "h1"), 1)
	harness.WaitFor(t, "the chain to go on", 2*time.Second, func() bool { return f.last() == seq+1 })
	verified(t, f.g.Path("log/audit.jsonl"))
}

func TestFullDiskUnderTheAccessLogCostsOnlyItsLines(t *testing.T) {
	t.Parallel()
	g, _ := disks(t, "16m", "audit: {path: audit.jsonl, on_failure: refuse}", "access_log: {path: log/access.jsonl}")
	client := g.Client(t, "h2")
	lines := func() []harness.Line { return harness.Read[harness.Line](t, g.Path("log/access.jsonl")) }
	long := "/web?" + strings.Repeat("x", 8000)
	served := 0
	serve := func() {
		if got := harness.Get(client, long); got.Err != nil || got.Status != http.StatusOK {
			t.Fatalf("got %+v", got)
		}
		served++
	}
	makeRoom := fill(t, g.Dir)
	harness.WaitFor(t, "the disk to refuse", 10*time.Second, func() bool {
		serve()
		return strings.Contains(g.Said(), "log cannot be written")
	})
	for range 600 { // more than the queues hold
		serve()
	}
	refuse(t, client, 1) // and no word of it in the audit log
	harness.WaitFor(t, "the audit record", 2*time.Second, func() bool {
		return refusals(harness.Read[harness.Record](t, g.Path("audit.jsonl")), "no_route") == 1
	})
	makeRoom()
	harness.WaitFor(t, "the loss to be told", 5*time.Second, func() bool { return strings.Contains(g.Said(), "access lines lost") })
	lost := 0
	for _, found := range regexp.MustCompile(`access lines lost.* lines=(\d+)`).FindAllStringSubmatch(g.Said(), -1) {
		lost += harness.Must(strconv.Atoi(found[1]))
	}
	harness.WaitFor(t, "a line for every request that is not told as lost", 5*time.Second, func() bool {
		return len(lines())+lost == served+1 // and one of the refusal
	})
	if lost == 0 || lost > served {
		t.Errorf("%d lines of %d are lost", lost, served)
	}
	written := len(lines())
	serve()
	harness.WaitFor(t, "the log to go on", 2*time.Second, func() bool { return len(lines()) == written+1 })
}

func rotateAway(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	harness.WaitFor(t, path, 5*time.Second, func() bool { _, err := os.Stat(path); return err == nil })
}

func TestFileThatIsRotatedOrDeletedUnderTheLogIsLetGoAtHangup(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Setup{Top: []string{accessLog}, Routes: respond})
	client := g.Client(t, "h1")
	audit, access := g.Path("audit.jsonl"), g.Path("access.jsonl")
	say := func() { _ = harness.Get(client, "/a%2Fb") }
	say()
	var paths []string
	for round, lose := range []func(path string) error{func(path string) error { return os.Rename(path, path+".1") }, os.Remove} {
		last := int64(round + 1)
		harness.WaitFor(t, "a record", 2*time.Second, func() bool {
			records := harness.Read[harness.Record](t, audit)
			return len(records) > 0 && records[len(records)-1].Seq == last
		})
		for _, path := range []string{audit, access} {
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
		}
		g.Signal(syscall.SIGHUP)
		awaitFile(t, audit)
		awaitFile(t, access)
		say()
		harness.WaitFor(t, "a record in the new file", 2*time.Second, func() bool {
			records := harness.Read[harness.Record](t, audit)
			return len(records) == 1 && records[0].Seq == last+1 && len(harness.Read[harness.Line](t, access)) > 0
		})
		if round == 0 {
			paths = []string{audit + ".1"}
		} else {
			paths = nil // what was deleted nobody can verify: the rest starts inside the chain
		}
		verified(t, append(paths, audit)...)
	}
}

func TestReadOnlyDirectoryKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "256k")
	log := filepath.Join(dir, "log")
	g := harness.Start(t, harness.Setup{Dir: dir, Top: []string{"audit: {path: log/audit.jsonl}"}, Routes: respond})
	client := g.Client(t, "h1")
	path, old := filepath.Join(log, "audit.jsonl"), filepath.Join(log, "audit.jsonl.1")
	say := func() { _ = harness.Get(client, "/a%2Fb") }
	recorded := func(path string, count int) {
		t.Helper()
		harness.WaitFor(t, "a record in "+path, 2*time.Second, func() bool { return len(harness.Read[harness.Record](t, path)) == count })
	}
	say()
	recorded(path, 1)
	rotateAway(t, path)
	remount := func(flags uintptr) {
		if err := syscall.Mount("", log, "", syscall.MS_REMOUNT|syscall.MS_BIND|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount(log, log, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(log, syscall.MNT_DETACH) })
	remount(syscall.MS_RDONLY)
	g.Signal(syscall.SIGHUP)
	harness.WaitFor(t, "the problem to be told", 5*time.Second, func() bool {
		return strings.Contains(g.Said(), "audit log not reopened, the old file is kept")
	})
	say()
	recorded(old, 2)
	remount(0)
	g.Signal(syscall.SIGHUP)
	awaitFile(t, path)
	say()
	recorded(path, 1)
	verified(t, old, path)
}
