package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Disks that refuse, and callers that repeat themselves.

// crowded starts a gateway whose files may not grow beyond 8 KiB, and fills its audit log.
func crowded(t *testing.T, onFailure string) *gateway {
	t.Helper()
	g := answering(t, setup{audit: "{path: audit.jsonl, on_failure: " + onFailure + "}",
		under: []string{"prlimit", "--fsize=8192:unlimited"}})
	waitFor(t, "the disk to refuse", patience, func() bool {
		_ = g.try(t, versions["TLS1.3"], "h1", nil)
		return g.metric(t, "tollgate_audit_write_failures_total") > 0
	})
	return g
}

// The log of the process too: what does not fit is lost, and calls are served.
func TestAProcessLogThatMayGrowNoMoreEndsNobody(t *testing.T) {
	t.Parallel()
	g := start(t, setup{under: []string{"prlimit", "--fsize=8192:unlimited"}, successors: true, routes: []string{marked("path: /*", "ok")}})
	log := filepath.Join(g.dir, "stderr")
	waitFor(t, "the log to be full", patience, func() bool {
		g.reload(t)
		return must(os.Stat(log)).Size() == 8192
	})
	g.reload(t)
	wantStatus(t, g.client(t, "h2", common().web).get("/x"), http.StatusOK)
}

// makeRoom lifts the limit, as somebody does who cleans up the disk.
func (g *gateway) makeRoom(t *testing.T) {
	t.Helper()
	if output, err := exec.Command("prlimit", "--pid", fmt.Sprint(g.command.Process.Pid),
		"--fsize=unlimited").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// metric reads one number of /metrics by its name and labels as they stand there.
func (g *gateway) metric(t *testing.T, series string) float64 {
	t.Helper()
	status, text := g.adminGet("/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d %s", status, text)
	}
	harness.WantMetric(t, text, series)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	return must(strconv.ParseFloat(found[1], 64))
}

func TestFullDiskLetsNobodyInWhereSaidSo(t *testing.T) {
	t.Parallel()
	g := crowded(t, "refuse")
	for _, protocol := range []string{"h1", "h2"} {
		got := g.client(t, protocol, common().web).get("/x")
		wantRefusal(t, got, http.StatusServiceUnavailable, "overloaded")
	}
	g.wantSaid("level=error")
	g.makeRoom(t)
	waitFor(t, "service to be back with the disk", 10*time.Second, func() bool {
		return g.client(t, "h1", common().web).get("/x").status == http.StatusOK
	})
	g.holdsEveryRefusal(t)
}

func TestFullDiskIsCountedAndShoutedOtherwise(t *testing.T) {
	t.Parallel()
	g := crowded(t, "continue")
	for _, protocol := range []string{"h1", "h2"} {
		wantStatus(t, g.client(t, protocol, common().web).get("/x"), http.StatusOK)
	}
	g.wantSaid("level=error")
	g.makeRoom(t)
	g.holdsEveryRefusal(t)
}

// holdsEveryRefusal sees that what the disk refused is written once it takes it.
func (g *gateway) holdsEveryRefusal(t *testing.T) {
	t.Helper()
	_ = g.try(t, versions["TLS1.3"], "h1", nil)
	total := 0
	for _, reason := range []string{"certificate_missing", "overloaded"} {
		n := int(g.metric(t, `tollgate_rejections_total{listener="edge",reason="`+reason+`"}`))
		g.countAudit(t, n, because(reason))
		total += n
	}
	if n := int(g.metric(t, "tollgate_audit_records_total")); n != total {
		t.Errorf("%d records are counted, %d refusals", n, total)
	}
}

func TestAuditFileThatCannotBeOpenedIsToldAtStart(t *testing.T) {
	t.Parallel()
	s := setup{audit: "{path: none/audit.jsonl}", routes: []string{marked("path: /*", "ok")}}
	path := s.write(t, t.TempDir(), freeAddress(t), freeAddress(t))
	output, code := tollgate(t, "run", "--config", path)
	if code != 1 && code != 2 || !strings.Contains(output, "audit.path") || !strings.Contains(output, "none/audit.jsonl") {
		t.Errorf("exit %d: %s", code, output)
	}
}

func TestLikeRecordsAreFoldedAfterTheFirst(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{audit: "{path: audit.jsonl, fold_after: 10}"})
	c := g.client(t, "h2", common().web)
	const refusals = 500
	for range refusals {
		wantStatus(t, c.do(request("GET", "/a%2Fb", "")), http.StatusBadRequest)
	}
	wantStatus(t, c.get("/other"), http.StatusOK)
	g.countAudit(t, refusals, because("malformed_request"))
	lines := g.audit(t)
	if len(lines) > refusals/2 {
		t.Errorf("%d lines for %d like refusals", len(lines), refusals)
	}
	for i, line := range lines {
		if line.Seq != int64(i+1) || (i < 10 && line.Count > 1) {
			t.Errorf("line %d: %s", i+1, line.line)
		}
		if line.Principal != webID || line.Reason != "malformed_request" {
			t.Errorf("folded record does not say who and why: %s", line.line)
		}
	}
	if n := g.metric(t, `tollgate_rejections_total{listener="edge",reason="malformed_request"}`); n != refusals {
		t.Errorf("metric counts %v", n)
	}
}

func TestReloadChangesWhenRecordsAreFolded(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{audit: "{path: audit.jsonl, fold_after: 100000}"})
	c := g.client(t, "h2", common().web)
	const refusals = 100
	lines, refused := 0, 0
	more := func() int {
		for range refusals {
			wantStatus(t, c.do(request("GET", "/a%2Fb", "")), http.StatusBadRequest)
		}
		before := lines
		refused += refusals
		g.countAudit(t, refused, because("malformed_request"))
		lines = len(g.audit(t))
		return lines - before
	}
	if got := more(); got != refusals {
		t.Errorf("%d lines for %d like refusals, none to be folded", got, refusals)
	}
	g.rewrite(t, "fold_after: 100000", "fold_after: 2")
	g.reload(t)
	if got := more(); got > refusals/2 {
		t.Errorf("%d lines for %d like refusals, all but two a second to be folded", got, refusals)
	}
}

func TestAuditMayGoToStandardOutput(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{audit: "{path: stdout}", keepErrors: true})
	_ = g.try(t, versions["TLS1.3"], "h1", nil)
	waitFor(t, "the record", 2*time.Second, func() bool {
		return strings.Contains(g.stderr.String(), `"reason":"certificate_missing"`) // the test reads both
	})
	if _, err := os.Stat(g.auditPath()); err == nil {
		t.Error("there is a file, too")
	}
	g.stop()
}
