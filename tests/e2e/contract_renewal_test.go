package e2e

import (
	"strings"
	"testing"
	"time"
)

// Certificates are renewed by machines at night; configurations are edited by people by day. The one must not wait for
// the other, nor put it in force (BEHAVIOUR, 1.10; CONTRACT, section 1: SIGHUP reloads the configuration).
func TestRenewalLeavesTheConfigurationAlone(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(string) string{
		"being edited":         func(good string) string { return good + "nonsense: 1\n" },
		"edited, not yet told": func(good string) string { return strings.Replace(good, "{status: 200,", "{status: 203,", 1) },
		"asking for a restart": func(good string) string { return strings.Replace(good, "workers: 2", "workers: 3", 1) },
		"gone":                 func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, setup{})
			writeFile(t, g.dir, "tollgate.yaml", []byte(edit(g.setup.yaml(g.address, g.admin))))
			renewed := common().root.server("gateway.test")
			writeFile(t, g.dir, "gateway.key", pemKey(renewed.PrivateKey))
			writeFile(t, g.dir, "gateway.pem", pemCertificates(renewed.Certificate...))
			waitFor(t, "the renewed certificate", 5*time.Second, func() bool {
				conn, err := g.dialTLS(t, g.trusting(common().web))
				return err == nil && conn.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(leafOf(renewed).SerialNumber) == 0
			})
			wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), 200)
		})
	}
}
