package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// An auditRecord has the fields of the contract's example.
type auditRecord struct {
	Timestamp   string `json:"timestamp"`
	Seq         int64  `json:"seq"`
	Event       string `json:"event"`
	Authorized  *bool  `json:"authorized"`
	Reason      string `json:"reason"`
	Detail      string `json:"detail"`
	Principal   string `json:"principal"`
	RPCMethod   string `json:"rpc_method"`
	PolicyName  string `json:"policy_name"`
	MatchedRule string `json:"matched_rule"`
	Listener    string `json:"listener"`
	Count       int    `json:"count"`
	Answer      struct {
		Status       int  `json:"status"`
		GRPCStatus   *int `json:"grpc_status"`
		RetryAfterMS *int `json:"retry_after_ms"`
	} `json:"answer"`
	Client struct {
		Address     string `json:"address"`
		Proxy       string `json:"proxy"`
		Certificate *struct {
			Subject   string   `json:"subject"`
			Issuer    string   `json:"issuer"`
			Serial    string   `json:"serial"`
			SHA256    string   `json:"sha256"`
			NotBefore string   `json:"not_before"`
			NotAfter  string   `json:"not_after"`
			URISANs   []string `json:"uri_sans"`
			DNSSANs   []string `json:"dns_sans"`
		} `json:"certificate"`
	} `json:"client"`
	TLS struct {
		Version string `json:"version"`
		Cipher  string `json:"cipher"`
		SNI     string `json:"sni"`
		Resumed bool   `json:"resumed"`
	} `json:"tls"`
	Request struct {
		ID       string `json:"id"`
		TraceID  string `json:"trace_id"`
		Protocol string `json:"protocol"`
		Method   string `json:"method"`
		Host     string `json:"host"`
		Path     string `json:"path"`
	} `json:"request"`
	Previous string `json:"previous"`
	line     []byte
}

func (r *auditRecord) times() int { return max(1, r.Count) }

func (g *gateway) auditPath() string { return filepath.Join(g.dir, "audit.jsonl") }

// audit returns the records written so far; a last line not yet whole is left for later.
func (g *gateway) audit(t *testing.T) []auditRecord {
	t.Helper()
	g.log.Lock()
	defer g.log.Unlock()
	file, err := os.Open(g.auditPath())
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	unread, err := io.ReadAll(io.NewSectionReader(file, g.log.offset, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(unread) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		record := auditRecord{line: bytes.TrimSuffix(line, []byte("\n"))}
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("audit line is no JSON: %v: %q", err, line)
		}
		g.log.offset += int64(len(line))
		g.log.records = append(g.log.records, record)
	}
	return g.log.records
}

// auditLog is what was read of the audit file.
type auditLog struct {
	sync.Mutex
	offset  int64
	records []auditRecord
}

// refusals returns the records of refusals that match.
func (g *gateway) refusals(t *testing.T, match func(*auditRecord) bool) []auditRecord {
	t.Helper()
	return matching(g.audit(t), match)
}

func matching(records []auditRecord, match func(*auditRecord) bool) (found []auditRecord) {
	for _, record := range records {
		if record.Event == "rejected" && match(&record) {
			found = append(found, record)
		}
	}
	return found
}

// waitForAudit waits for the record of a refusal; the contract gives it two seconds.
func (g *gateway) waitForAudit(t *testing.T, what string, match func(*auditRecord) bool) auditRecord {
	t.Helper()
	var found []auditRecord
	waitFor(t, "audit record: "+what, 2*time.Second, func() bool {
		found = g.refusals(t, match)
		return len(found) > 0
	})
	return found[0]
}

// recordOf waits for the record of an attempt. Ports come back, so only what was written since the
// attempt began is looked at.
func (g *gateway) recordOf(t *testing.T, what string, a attempt) auditRecord {
	t.Helper()
	var found []auditRecord
	waitFor(t, "audit record: "+what, 2*time.Second, func() bool {
		found = matching(g.audit(t)[a.before:], from(a.local))
		return len(found) > 0
	})
	return found[0]
}

func from(address string) func(*auditRecord) bool {
	return func(r *auditRecord) bool { return r.Client.Address == address }
}

func because(reason string) func(*auditRecord) bool {
	return func(r *auditRecord) bool { return r.Reason == reason }
}

func both(one, other func(*auditRecord) bool) func(*auditRecord) bool {
	return func(r *auditRecord) bool { return one(r) && other(r) }
}

// countAudit waits until as many refusals as wanted are recorded, folded ones counted as many.
func (g *gateway) countAudit(t *testing.T, want int, match func(*auditRecord) bool) {
	t.Helper()
	total := func() (n int) {
		for _, record := range g.refusals(t, match) {
			n += record.times()
		}
		return n
	}
	waitFor(t, "as many audit records as refusals", 5*time.Second, func() bool { return total() >= want })
	if got := total(); got != want {
		t.Errorf("%d refusals are recorded, want %d", got, want)
	}
}
