package e2e

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Refusals that clients lose when they come at the wrong moment, or say too little.

func TestCurlHearsWhyItsUploadIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, setup{listener: []string{"limits: {body_bytes: 100KiB}"}, routes: []string{
		route("path: /limited", "respond: {status: 200}, rate_limits: [{rate: 1/h, burst: 1}]"),
		route("path: /others", `respond: {status: 200}, allow: ["spiffe://cluster.local/x"]`), route("path: /fine", "respond: {status: 200}")}})
	wantStatus(t, g.client(t, "h1", common().web).get("/limited"), 200)
	writeFile(t, g.dir, "web.pem", pemCertificates(common().web.Certificate...))
	writeFile(t, g.dir, "web.key", pemKey(common().web.PrivateKey))
	writeFile(t, g.dir, "upload", make([]byte, 600000))
	for path, want := range map[string]string{"/limited": "429", "/others": "403", "/nowhere": "404", "/fine": "413", "/%2f": "400", "without": "403"} {
		for _, protocol := range []string{"--http1.1", "--http2"} {
			arguments := []string{"--silent", "--max-time", "10", protocol, "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}",
				"--data-binary", "@" + g.dir + "/upload", "--header", "Expect:", "https://" + g.address + "/" + strings.TrimPrefix(path, "/")}
			if path != "without" {
				arguments = append(arguments, "--cert", g.dir+"/web.pem", "--key", g.dir+"/web.key")
			}
			if told, err := exec.Command("curl", arguments...).Output(); string(told) != want {
				t.Errorf("%s %s: %s, %v, want %s", protocol, path, told, err, want)
			}
		}
	}
}

func TestWhoeverIsTooSlowIsToldAndCutOff(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{listener: []string{"timeouts: {request: 300ms}"}})
	w := g.wire(t, common().web)
	w.say("POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\nx")
	got := w.hear("POST")
	wantRefusal(t, got, 408, "request_timeout")
	since := time.Now()
	_, _ = io.ReadAll(w.reader)
	if !got.closes || time.Since(since) > slow(3*time.Second) {
		t.Errorf("says close: %v; the connection lives on for %v", got.closes, time.Since(since))
	}
}

func TestAlertedClientsAreRecordedWithTheirTLS(t *testing.T) {
	t.Parallel()
	g, _, _ := guarded(t, setup{mode: "alert"})
	for name, version := range versions {
		for _, cert := range badCertificates().rows[:3] {
			record := g.recordOf(t, name, g.try(t, version, "h1", cert.cert))
			if record.TLS.Version != strings.Replace(name, "TLS", "TLSv", 1) || record.TLS.Cipher == "" || record.TLS.SNI != "gateway.test" {
				t.Errorf("%s", record.line)
			}
		}
	}
}
