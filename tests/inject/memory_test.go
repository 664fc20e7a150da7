package inject

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// ask makes one connection and one request on it; status 0: an end without an answer.
func ask(town *town, config *tls.Config) (status int) {
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true,
		ForceAttemptHTTP2: config.NextProtos[0] == "h2"}
	client := http.Client{Transport: transport, Timeout: harness.Patience}
	answer, err := client.Get("https://" + town.Address + "/h1/x")
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0
	}
	return answer.StatusCode
}

// Where a library is refused memory, the connection ends, or the program says that it has none and stops: nobody is let
// in for want of memory, and nothing is half done.
func TestLibraryWithoutMemoryLetsNobodyIn(t *testing.T) {
	for name, faults := range map[string]string{
		"OpenSSL, often":   "openssl:ENOMEM:1009:0:40000",
		"OpenSSL, rarely":  "openssl:ENOMEM:4999:0:40000",
		"nghttp2, at once": "nghttp2:ENOMEM:97",
		"nghttp2, later":   "nghttp2:ENOMEM:61:0:600",
	} {
		t.Run(name, func(t *testing.T) {
			town := start(t, faults)
			served := 0
			for i := 0; i < 60 && town.Running(); i++ {
				good := harness.ClientTLS([]string{"h2", "http/1.1"}[i%2])
				if ask(town, good) == http.StatusOK {
					served++
				}
				stranger := good.Clone()
				stranger.Certificates = nil
				if status := ask(town, stranger); status == http.StatusOK {
					t.Fatalf("a stranger was let in")
				}
			}
			if conn, err := net.DialTimeout("tcp", town.Address, harness.Patience); err == nil {
				_ = conn.Close()
			} else { // its end may take a moment to be noticed
				harness.WaitFor(t, "the end of who does not listen", 10*time.Second, func() bool { return !town.Running() })
			}
			if town.Running() {
				if served == 0 {
					t.Error("nobody was served")
				}
				town.end(t)
				return
			}
			town.Exit(time.Second)
			if said := town.Said(); !strings.Contains(said, "tollgate: ") {
				t.Errorf("it ended without a word:\n%s", said)
			}
		})
	}
}

// Its own memory running out ends the program with a word.
func TestOutOfMemoryIsSaid(t *testing.T) {
	town := start(t, "calloc:ENOMEM:1500:1")
	for range 1500 {
		if !town.Running() {
			break
		}
		_ = ask(town, harness.ClientTLS("http/1.1"))
	}
	town.Exit(5 * time.Second)
	if said := town.Said(); !strings.Contains(said, "tollgate: out of memory") {
		t.Errorf("it said:\n%s", said)
	}
}
