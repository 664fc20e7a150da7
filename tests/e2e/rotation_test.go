package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Certificates are replaced in every way that is in use, while clients call: the new one is served in time, and no call is lost.

// replacement puts the pair into the directory that the configuration names.
type replacement func(t *testing.T, dir string, round int, chain, key []byte)

func inPlace(t *testing.T, dir string, _ int, chain, key []byte) {
	writeFile(t, dir, "gateway.pem", chain)
	writeFile(t, dir, "gateway.key", key)
}

func byRename(t *testing.T, dir string, _ int, chain, key []byte) {
	t.Helper()
	for name, text := range map[string][]byte{"gateway.pem": chain, "gateway.key": key} {
		writeFile(t, dir, name+".new", text)
		rename(t, filepath.Join(dir, name+".new"), filepath.Join(dir, name))
	}
}

// byLink does as the kubelet: files are links into `..data`, which is a link to a directory of the time, and that one is swapped.
func byLink(t *testing.T, dir string, round int, chain, key []byte) {
	t.Helper()
	stamp := fmt.Sprint("..2026_11_28_", round)
	if err := os.Mkdir(filepath.Join(dir, stamp), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, filepath.Join(stamp, "gateway.pem"), chain)
	writeFile(t, dir, filepath.Join(stamp, "gateway.key"), key)
	link(t, stamp, filepath.Join(dir, "..data"))
	for _, name := range []string{"gateway.pem", "gateway.key"} {
		link(t, filepath.Join("..data", name), filepath.Join(dir, name))
	}
	if round > 0 {
		_ = os.RemoveAll(filepath.Join(dir, fmt.Sprint("..2026_11_28_", round-1)))
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+"_tmp"); err != nil {
		t.Fatal(err)
	}
	rename(t, path+"_tmp", path)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesRotateUnderLoadInEveryWay(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]replacement{"rewritten": inPlace, "renamed over": byRename, "by links, as Kubernetes does": byLink} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, setup{routes: []string{marked("path: /*", "ok")}})
			c := g.crowd(t)
			for round := range 3 {
				renewed := common().root.server("gateway.test")
				replace(t, g.dir, round, pemCertificates(renewed.Certificate...), pemKey(renewed.PrivateKey))
				g.serves(t, renewed)
			}
			c.leave(t)
			if failures := g.metric(t, `tollgate_certificate_reloads_total{result="failure"}`); name != "rewritten" && failures > 1 {
				t.Errorf("%v of three rotations were caught half-way", failures)
			}
		})
	}
}

// serves waits until the certificate is presented to new connections.
func (g *gateway) serves(t *testing.T, cert *tls.Certificate) {
	t.Helper()
	serial := leafOf(cert).SerialNumber
	waitFor(t, "the certificate to be served", renewal, func() bool {
		conn, err := g.tryTLS(g.trusting(common().web))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(serial) == 0
	})
}

func TestABadPairIsNotServedAndTheLastGoodOneIs(t *testing.T) {
	t.Parallel()
	stranger := newRoot("a stranger's root")
	good, old := common().root.server("gateway.test"), common().root.issue(expired)
	for name, row := range map[string]struct {
		chain, key []byte
		says       string
	}{
		"another key":            {pemCertificates(good.Certificate...), pemKey(newECDSA()), "does not belong to the certificate"},
		"a chain to nowhere":     {pemCertificates(good.Certificate[0], stranger.cert.Raw), pemKey(good.PrivateKey), "issued none of those before it"},
		"an expired one":         {pemCertificates(old.Certificate...), pemKey(old.PrivateKey), " expired at "},
		"half a certificate":     {pemCertificates(good.Certificate...)[:300], pemKey(good.PrivateKey), "is damaged"},
		"nothing where it stood": {nil, pemKey(good.PrivateKey), "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, setup{})
			writeFile(t, g.dir, "gateway.pem", row.chain)
			writeFile(t, g.dir, "gateway.key", row.key)
			waitFor(t, "the failure to be counted", renewal, func() bool {
				return g.metric(t, `tollgate_certificate_reloads_total{result="failure"}`) > 0
			})
			_, config := g.adminGet("/config")
			for where, text := range map[string]string{"/config": config, "the log": g.stderr.String()} {
				if !strings.Contains(text, row.says) {
					t.Errorf("%s does not say %q:\n%s", where, row.says, tail(text))
				}
			}
			g.serves(t, common().gateway)
			renewed := common().root.server("gateway.test")
			byRename(t, g.dir, 0, pemCertificates(renewed.Certificate...), pemKey(renewed.PrivateKey))
			g.serves(t, renewed)
			waitFor(t, "all to be well again", renewal, func() bool { return g.metric(t, reloadSuccess) == 1 })
		})
	}
}

// A FIFO nobody writes to would hold up whoever opens it: the reader is the thread that answers the admin pages.
func TestAPipeInPlaceOfAFileHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gateway.pem", "gateway.key", "ca.pem", "ca.crl", "ticket.key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, setup{crl: common().root.crl(), tls: []string{"session_ticket_keys: [ticket.key]"},
				files: map[string][]byte{"ticket.key": []byte(strings.Repeat("0123456789", 8))}})
			path := filepath.Join(g.dir, name)
			rename(t, path, path+".good")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the failure to be told", renewal, func() bool {
				_, config := g.adminGet("/config")
				return strings.Contains(config, name+": is ")
			})
			wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
			if output, code := tollgate(t, "check", "--config", g.config); code != 2 || !strings.Contains(output, name+": is ") {
				t.Errorf("check: exit %d: %s", code, output)
			}
			rename(t, path+".good", path)
			waitFor(t, "all to be well again", renewal, func() bool { return g.metric(t, reloadSuccess) == 1 })
		})
	}
}
