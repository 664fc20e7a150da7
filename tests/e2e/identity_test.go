package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

const login = "/user.UserService/Login"

// An attempt is one request with one certificate, and all that can be seen of what became of it.
type attempt struct {
	reply
	code   codes.Code // gRPC
	local  string
	before int // audit records written before
}

// alert returns the TLS alert the gateway answered with, or -1.
func (a attempt) alert() int { return alertIn(a.err) }

func alertIn(err error) int {
	if err == nil {
		return -1
	}
	found := -1
	for number, text := range alertTexts {
		// Some texts begin like others: the longest that fits is meant.
		if strings.Contains(err.Error(), "remote error: tls: "+text) &&
			(found < 0 || len(text) > len(alertTexts[found])) {
			found = number
		}
	}
	return found
}

// crypto/tls does not export the type of alerts received over TCP, only their text.
var alertTexts = map[int]string{
	40: "handshake failure", 42: "bad certificate", 43: "unsupported certificate",
	44: "revoked certificate", 45: "expired certificate", 46: "unknown certificate",
	47: "illegal parameter", 48: "unknown certificate authority", 49: "access denied",
	50: "error decoding message", 51: "error decrypting message", 71: "insufficient security level",
	70: "protocol version not supported",
	80: "internal error", 113: "bad certificate status response", 116: "certificate required",
	120: "no application protocol",
}

// try makes one request over a new connection of this TLS version and protocol.
func (g *gateway) try(t *testing.T, version uint16, protocol string, cert *tls.Certificate) attempt {
	t.Helper()
	config := g.trusting(cert)
	config.MinVersion, config.MaxVersion = version, version
	before := len(g.audit(t))
	a := map[string]func(*testing.T, *tls.Config) attempt{
		"gRPC": g.tryRPC, "h2": g.tryH2, "h1": g.tryH1}[protocol](t, config)
	a.before = before
	return a
}

func (g *gateway) tryH1(t *testing.T, config *tls.Config) attempt {
	t.Helper()
	config.NextProtos = []string{"http/1.1"}
	conn, err := g.dialTLS(t, config)
	a := attempt{local: conn.LocalAddr().String()}
	if err != nil {
		a.err = err
		return a
	}
	// A TLS 1.3 gateway may have refused already: the write may fail, the read tells why.
	writeErr := request("GET", "/hello", "").Write(conn)
	a.reply = (&wire{conn, t, newReader(conn)}).hear("GET")
	if a.err != nil {
		a.err = errors.Join(a.err, writeErr)
	}
	return a
}

func (g *gateway) tryH2(t *testing.T, config *tls.Config) attempt {
	t.Helper()
	config.NextProtos = []string{"h2"}
	conn, err := g.dialTLS(t, config)
	a := attempt{local: conn.LocalAddr().String()}
	if err != nil {
		a.err = err
		return a
	}
	h2conn, err := new(http2.Transport).NewClientConn(conn)
	if err != nil {
		a.err = err
		return a
	}
	a.reply = collect(h2conn.RoundTrip(request("GET", "/hello", "")))
	if a.err != nil { // the alert sticks to the TLS connection, http2 may not hand it on
		_, under := conn.Read(make([]byte, 1))
		a.err = errors.Join(a.err, under)
	}
	return a
}

func (g *gateway) tryRPC(t *testing.T, config *tls.Config) attempt {
	t.Helper()
	conn := g.rpcWith(t, config)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := backend.Invoke(ctx, conn, login, []byte("x"))
	a := attempt{code: status.Code(err), local: conn.local.Load().(string)}
	a.err = err
	_ = conn.Close()
	return a
}

var versions = map[string]uint16{"TLS1.2": tls.VersionTLS12, "TLS1.3": tls.VersionTLS13}

// everyWay runs the check over each TLS version and protocol.
func everyWay(t *testing.T, check func(t *testing.T, version uint16, protocol string)) {
	for name, version := range versions {
		for _, protocol := range []string{"h1", "h2", "gRPC"} {
			t.Run(name+" "+protocol, func(t *testing.T) { check(t, version, protocol) })
		}
	}
}

// guarded starts a gateway with one backend of each kind, every route of which needs no more than
// a good identity.
func guarded(t *testing.T, s setup) (*gateway, *backend.GRPC, *backend.HTTP) {
	t.Helper()
	users, web := grpcBackend(t), httpBackend(t)
	s.routes = append(s.routes, route(`grpc: "*"`, "backend: users"), route(`path: "/*"`, "backend: web"))
	s.backends = append(s.backends, h2("users", users.Address), http1("web", web.Address))
	return start(t, s), users, web
}

func TestEveryBadCertificateIsForbidden(t *testing.T) {
	t.Parallel()
	table := badCertificates()
	g, users, web := guarded(t, setup{mode: "forbid", crl: table.crl, trust: table.trust})
	for _, row := range table.rows {
		t.Run(row.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, version uint16, protocol string) {
				got := g.try(t, version, protocol, row.cert)
				wantForbidden(t, got, protocol, row)
				record := g.recordOf(t, row.name, got)
				wantReason(t, &record, row)
			})
		})
	}
	wantUntouched(t, users, web)
}

// Not one minute of leniency: half of one is too early as well.
func TestCertificateOfTheNearFutureIsForbidden(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{mode: "forbid"})
	for {
		began := time.Now()
		got := g.try(t, tls.VersionTLS13, "h1", common().root.svid(webID, valid(30*time.Second, time.Hour)))
		if time.Since(began) > 25*time.Second {
			continue // the machine stood still, and the future has come
		}
		if got.status != http.StatusForbidden {
			t.Errorf("status %d, %v", got.status, got.err)
		}
		return
	}
}

func TestEveryBadCertificateIsAlerted(t *testing.T) {
	t.Parallel()
	table := badCertificates()
	g, users, web := guarded(t, setup{mode: "alert", crl: table.crl, trust: table.trust})
	for _, row := range table.rows {
		t.Run(row.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, version uint16, protocol string) {
				got := g.try(t, version, protocol, row.cert)
				wantAlerted(t, got, version, protocol, row)
				record := g.recordOf(t, row.name, got)
				wantReason(t, &record, row)
			})
		})
	}
	wantUntouched(t, users, web)
}

// What the operator reads does not depend on how the caller was told.
func TestAnAlertedRefusalIsRecordedLikeAForbiddenOne(t *testing.T) {
	t.Parallel()
	table := badCertificates()
	forbids, _, _ := guarded(t, setup{mode: "forbid", crl: table.crl, trust: table.trust})
	alerts, _, _ := guarded(t, setup{mode: "alert", crl: table.crl, trust: table.trust})
	for _, row := range table.rows {
		t.Run(row.name, func(t *testing.T) {
			record := func(g *gateway) auditRecord {
				return g.recordOf(t, row.name, g.try(t, tls.VersionTLS13, "h1", row.cert))
			}
			forbidden, alerted := record(forbids), record(alerts)
			if alerted.Detail != forbidden.Detail {
				t.Errorf("detail %q, want %q", alerted.Detail, forbidden.Detail)
			}
			if alerted.PolicyName != forbidden.PolicyName || alerted.MatchedRule != forbidden.MatchedRule {
				t.Errorf("%s %s, want %s %s", alerted.PolicyName, alerted.MatchedRule, forbidden.PolicyName, forbidden.MatchedRule)
			}
			if alerted.Principal != forbidden.Principal {
				t.Errorf("principal %q, want %q", alerted.Principal, forbidden.Principal)
			}
		})
	}
}

func wantForbidden(t *testing.T, got attempt, protocol string, row badRow) {
	t.Helper()
	if protocol == "gRPC" {
		wantCode(t, got.err, row.grpcCode())
		return
	}
	wantStatus(t, got.reply, http.StatusForbidden)
	if reason := got.problem("reason"); !slices.Contains(row.reasons, reason) {
		t.Errorf("reason told %q, want one of %q", reason, row.reasons)
	}
	if got.problem("request_id") == "" || got.problem("title") == "" {
		t.Errorf("problem JSON lacks members: %s", got.body)
	}
	if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("content type %q", kind)
	}
}

func wantAlerted(t *testing.T, got attempt, version uint16, protocol string, row badRow) {
	t.Helper()
	if protocol == "gRPC" {
		wantCode(t, got.err, codes.Unavailable)
		return
	}
	alerts := row.alerts
	if len(alerts) == 0 {
		alerts = []int{42, 43, 46, 48, 49}
	}
	if version == tls.VersionTLS12 && slices.Contains(alerts, 116) {
		alerts = []int{40} // TLS 1.2 has no certificate_required
	}
	if !slices.Contains(alerts, got.alert()) {
		t.Errorf("got alert %d (%v), status %d, want one of the alerts %v", got.alert(), got.err, got.status, alerts)
	}
}

func wantReason(t *testing.T, record *auditRecord, row badRow) {
	t.Helper()
	if !slices.Contains(row.reasons, record.Reason) {
		t.Errorf("audit reason %q (%s), want one of %q", record.Reason, record.Detail, row.reasons)
	}
	if record.Authorized == nil || *record.Authorized {
		t.Errorf("audit record does not say authorized false: %s", record.line)
	}
	if row.cert != nil && record.Client.Certificate == nil {
		t.Errorf("audit record names no certificate: %s", record.line)
	}
}

// wantUntouched is the "not even by one byte" of the contract.
func wantUntouched(t *testing.T, users *backend.GRPC, web *backend.HTTP) {
	t.Helper()
	if n := users.Wire.Bytes.Load() + web.Wire.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes of refused callers reached the backends", n)
	}
	if calls := append(users.Journal.Calls(""), web.Journal.Calls("")...); len(calls) != 0 {
		t.Errorf("refused calls reached the backends: %+v", calls)
	}
}

func TestGoodCertificatesAreLetIn(t *testing.T) {
	t.Parallel()
	p := common()
	intermediate := p.root.intermediate("good intermediate")
	deep := intermediate.intermediate("deeper").intermediate("deepest")
	g, _, _ := guarded(t, setup{})
	for name, cert := range map[string]*tls.Certificate{
		"P-256":                  p.web,
		"P-384":                  p.root.svid(webID, withKey(newP384())),
		"RSA-2048":               p.rsaRoot.svid(webID, withKey(rsa2048())),
		"RSA-4096":               p.root.svid(webID, withKey(rsa4096())),
		"Ed25519":                p.root.svid(webID, withKey(newEd25519())),
		"intermediate":           intermediate.svid(webID),
		"three intermediates":    deep.svid(webID),
		"path length just right": p.root.intermediate("zero", pathLength(0)).svid(webID),
		"permitted by name constraints": p.root.intermediate("constrained",
			onlyURIDomain("cluster.local")).svid(webID),
		"no extended key usage":      p.root.svid(webID, extendedUsage()),
		"client and server usage":    p.root.svid(webID, extendedUsage(1, 2)),
		"names of other types":       p.root.svid(webID, dns("web.example"), email("a@b.example"), ip("127.0.0.1")),
		"DNS name first":             p.root.issue(dns("web.example"), uri(webID)),
		"another URI as common name": p.root.svid(webID, commonName("spiffe://cluster.local/admin")),
		"no subject":                 p.root.svid(webID, commonName("")),
		"all letters of a path":      p.root.svid("spiffe://cluster.local/AZaz09.-_/x"),
		"dots in a segment":          p.root.svid("spiffe://cluster.local/..a/..."),
		"2048 bytes":                 p.root.svid("spiffe://cluster.local/" + strings.Repeat("x", 2048-23)),
		"unrelated certificates sent along": p.root.svid(webID, func(d *draft) {
			d.padded = [][]byte{newRoot("unrelated").cert.Raw}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, version uint16, protocol string) {
				got := g.try(t, version, protocol, cert)
				if got.err != nil || (protocol != "gRPC" && got.status != http.StatusOK) {
					t.Errorf("not let in: status %d, %v: %s", got.status, got.err, got.body)
				}
			})
		})
	}
	if refused := g.refusals(t, func(*auditRecord) bool { return true }); len(refused) != 0 {
		t.Errorf("refusals audited: %s", refused[0].line)
	}
}

func TestPatternsMatchWholeSegments(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{patterns: []string{
		"spiffe://cluster.local/ns/*/sa/web", "spiffe://cluster.local/batch/*",
		"spiffe://cluster.local/exact", "spiffe://second.example/*"}})
	for id, in := range map[string]bool{
		"spiffe://cluster.local/ns/shop/sa/web":      true,
		"spiffe://cluster.local/ns/shop/eu/sa/web":   false,
		"spiffe://cluster.local/ns/sa/web":           false,
		"spiffe://cluster.local/ns/shop/sa/web/more": false,
		"spiffe://cluster.local/ns/shop/sa/webber":   false,
		"spiffe://cluster.local/batch/one":           true,
		"spiffe://cluster.local/batch/one/two":       true,
		"spiffe://cluster.local/batch":               false,
		"spiffe://cluster.local/batchelor/x":         false,
		"spiffe://cluster.local/exact":               true,
		"spiffe://cluster.local/Exact":               false,
		"spiffe://cluster.local/exact/x":             false,
		"spiffe://second.example/any/thing":          true,
		"spiffe://second.example.evil/any":           false,
		"spiffe://sub.second.example/any":            false,
		"spiffe://cluster.local.evil/exact":          false,
	} {
		t.Run(id, func(t *testing.T) {
			got := g.try(t, tls.VersionTLS13, "h1", common().root.svid(id))
			if in {
				wantStatus(t, got.reply, http.StatusOK)
				return
			}
			wantRefusal(t, got.reply, http.StatusForbidden, "identity_not_allowed")
			record := g.recordOf(t, id, got)
			if record.Principal != id {
				t.Errorf("principal %q in %s", record.Principal, record.line)
			}
		})
	}
}

func TestHugeChainsAreSurvived(t *testing.T) {
	t.Parallel()
	g, users, web := guarded(t, setup{})
	before := g.memory()
	for name, cert := range map[string]*tls.Certificate{
		"chain of 60 KiB":        common().root.svid(webID, padding(60<<10)),
		"chain of 4 MiB":         common().root.svid(webID, padding(4<<20)),
		"certificate of 900 KiB": common().root.svid(webID, fat(900<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				_ = g.try(t, tls.VersionTLS13, "h1", cert) // let in or refused, but over
			}
		})
	}
	if grown := g.memory() - before; grown > 32<<20 {
		t.Errorf("gateway grew by %d KiB", grown>>10)
	}
	wantStatus(t, g.client(t, "h1", common().web).get("/hello"), http.StatusOK)
	_, _ = users, web
}
