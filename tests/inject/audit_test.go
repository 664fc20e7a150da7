package inject

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Whatever the disk does, each refusal is one whole line, none twice, none lost, and the chain holds.
func TestEveryRecordIsWrittenOnceWhateverTheDiskDoes(t *testing.T) {
	for name, faults := range map[string]string{
		"one byte a write": "write:short:1",
		"interrupted":      "write:EINTR:2",
		"full":             "write:ENOSPC:2:2",
		"full in the line": "write:short:2,write:ENOSPC:5:2",
		"broken":           "write:EIO:3:2",
		"not synced":       "fdatasync:EIO:1,write:short:7",
	} {
		t.Run(name, func(t *testing.T) {
			const refusals = 30
			town := start(t, faults)
			client := town.Client(t, "h2")
			for i := range refusals {
				path := fmt.Sprintf("/%%2F%d", i)
				if reply := harness.Get(client, path); reply.Status != http.StatusBadRequest {
					t.Fatalf("%s: %+v", path, reply)
				}
				if i%5 == 0 { // in writes of their own
					harness.WaitFor(t, "a record to be tried", 5*time.Second, func() bool {
						return town.Audit("malformed_request") > i ||
							town.Metric("tollgate_audit_write_failures_total") > 0
					})
				}
			}
			town.end(t)
			seen := map[string]int{}
			for _, record := range harness.Read[harness.Record](t, town.Path("audit.jsonl")) {
				seen[record.Request.Path] += max(1, record.Count)
			}
			for i := range refusals {
				if path := fmt.Sprintf("/%%2F%d", i); seen[path] != 1 {
					t.Errorf("%s has %d records", path, seen[path])
				}
			}
			t.Setenv("TOLLGATE_INJECT", "")
			if said, code := harness.Tollgate(t, "audit", "verify", town.Path("audit.jsonl")); code != 0 {
				t.Errorf("audit verify: %d %s", code, said)
			}
			if strings.Contains(name, "full") && !strings.Contains(town.Said(), "log cannot be written") {
				t.Errorf("the full disk was not said:\n%s", town.Said())
			}
		})
	}
}

// A log that cannot be opened anew is kept: what happens meanwhile stands in the old one, and the chain goes on.
func TestLogThatCannotBeReopenedIsKept(t *testing.T) {
	town := start(t, "open:EMFILE:1:2:2") // behind the two of the start, those of the first reload
	client := town.Client(t, "h1")
	refusal := 0
	refuse := func() {
		t.Helper()
		refusal++
		if reply := harness.Get(client, fmt.Sprintf("/%%2F%d", refusal)); reply.Status != http.StatusBadRequest {
			t.Fatalf("refusal %d: %+v", refusal, reply)
		}
	}
	records := func(name string) int { return len(harness.Read[harness.Record](t, town.Path(name))) }
	refuse()
	harness.WaitFor(t, "the first record", 5*time.Second, func() bool { return records("audit.jsonl") == 1 })
	if err := os.Rename(town.Path("audit.jsonl"), town.Path("audit.1")); err != nil {
		t.Fatal(err)
	}
	town.Signal(syscall.SIGHUP)
	harness.WaitFor(t, "the complaint", 5*time.Second, func() bool {
		return strings.Contains(town.Said(), "audit log not reopened, the old file is kept")
	})
	refuse()
	harness.WaitFor(t, "the second record", 5*time.Second, func() bool { return records("audit.1") == 2 })
	town.Signal(syscall.SIGHUP)
	harness.WaitFor(t, "the new log", 5*time.Second, func() bool { _, err := os.Stat(town.Path("audit.jsonl")); return err == nil })
	refuse()
	harness.WaitFor(t, "the third record", 5*time.Second, func() bool { return records("audit.jsonl") == 1 })
	town.end(t)
	t.Setenv("TOLLGATE_INJECT", "")
	if said, code := harness.Tollgate(t, "audit", "verify", town.Path("audit.1"), town.Path("audit.jsonl")); code != 0 {
		t.Errorf("audit verify: %d %s", code, said)
	}
}
