package e2e

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/tests/backend"
)

// The log for people: every line can be read, by a person and by a program, whatever happened; a flood is folded and
// counted; what expires is said in time.

// An event is one line of the log.
type event map[string]string

var (
	bareValue = regexp.MustCompile(`^[^\s"=]+`)
	stamp     = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	pairKey   = regexp.MustCompile(`^([a-z_0-9]+)=`)
	quotedOne = regexp.MustCompile(`^"(?:[^"\\]|\\.)*"`)
)

// parseLogfmt reads a line as strictly as logfmt's readers do.
func parseLogfmt(line string) (event, error) {
	found := event{}
	for rest := line; rest != ""; rest = strings.TrimPrefix(rest, " ") {
		key := pairKey.FindStringSubmatch(rest)
		if key == nil || found[key[1]] != "" {
			return nil, fmt.Errorf("no pair, or one twice, at %q", rest)
		}
		rest = rest[len(key[0]):]
		value := bareValue.FindString(rest)
		found[key[1]] = value
		if text := quotedOne.FindString(rest); text != "" {
			var decoded string
			if err := json.Unmarshal([]byte(text), &decoded); err != nil {
				return nil, err
			}
			found[key[1]], value = decoded, text
		} else if value == "" {
			return nil, fmt.Errorf("no value at %q", rest)
		}
		rest = rest[len(value):]
		if rest != "" && rest[0] != ' ' {
			return nil, fmt.Errorf("a value goes on at %q", rest)
		}
	}
	return found, nil
}

func parseJSON(line string) (event, error) {
	var members map[string]any
	if err := json.Unmarshal([]byte(line), &members); err != nil {
		return nil, err
	}
	found := event{}
	for key, value := range members {
		switch value := value.(type) {
		case string:
			found[key] = value
		case float64:
			found[key] = strconv.FormatInt(int64(value), 10)
		default:
			return nil, fmt.Errorf("%s is %v", key, value)
		}
	}
	return found, nil
}

// events reads all that the gateway logged so far, every line of it.
func (g *gateway) events(t *testing.T) (found []event) {
	t.Helper()
	parse := parseLogfmt
	if slices.Contains(g.setup.flags, "json") {
		parse = parseJSON
	}
	for line := range strings.Lines(g.stderr.String()) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		one, err := parse(strings.TrimSuffix(line, "\n"))
		if err != nil || !stamp.MatchString(one["time"]) || one["msg"] == "" ||
			!slices.Contains([]string{"info", "warn", "error"}, one["level"]) {
			t.Errorf("%v: %q", err, line)
		}
		found = append(found, one)
	}
	return found
}

// saying returns the events of that name.
func (g *gateway) saying(t *testing.T, name string) (found []event) {
	t.Helper()
	for _, one := range g.events(t) {
		if one["msg"] == name {
			found = append(found, one)
		}
	}
	return found
}

func TestEveryLineOfTheLogCanBeRead(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"logfmt", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			root := newRoot("evil", commonName("a \"root\" = of\nall \x01evil"))
			g := answering(t, setup{flags: []string{"--log-format", format}, trust: pemCertificates(common().root.cert.Raw, root.cert.Raw),
				backends: []string{http1("web", freeAddress(t))}, routes: []string{route("path: /dead", "backend: web")}})
			c := g.client(t, "h2", common().web)
			wantStatus(t, c.get("/x"), 200)
			wantStatus(t, c.get("/dead"), 503)
			_ = g.try(t, versions["TLS1.3"], "h1", nil)
			g.rewrite(t, "trusted_ca: ca.pem", `trusted_ca: "no \"such\" = file\n\u0007 é.pem"`)
			g.signal(syscall.SIGHUP)
			waitFor(t, "the refusal", patience, func() bool { return len(g.saying(t, "problem in the configuration")) > 0 })
			problem := g.saying(t, "problem in the configuration")[0]
			if !strings.Contains(problem["problem"], `no "such" = file\x0a`) || !strings.Contains(problem["problem"], "tollgate.yaml:15:") || problem["level"] != "error" {
				t.Errorf("the problem is told as %q", problem)
			}
			g.rewrite(t, `trusted_ca: "no \"such\" = file\n\u0007 é.pem"`, "trusted_ca: ca.pem")
			g.signal(syscall.SIGHUP)
			waitFor(t, "the reload", patience, func() bool { return len(g.saying(t, "configuration reloaded")) > 0 })
			g.stop()
			if said := g.saying(t, "stopped"); len(said) != 1 {
				t.Errorf("it stopped %d times", len(said))
			}
		})
	}
}

func TestUnreadableConfigurationsAreLoggedAsJSON(t *testing.T) {
	t.Parallel()
	s := setup{routes: []string{"nonsense"}}
	path := s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2")
	output, code := tollgate(t, "run", "--config", path, "--log-format", "json")
	one, err := parseJSON(strings.TrimSuffix(output, "\n"))
	if code != 2 || err != nil || !strings.HasPrefix(one["problem"], path+":") || !strings.Contains(one["problem"], ": listeners[0].routes[0]: ") {
		t.Errorf("exit %d, %v: %s", code, err, output)
	}
	for _, flags := range [][]string{{"--log-format"}, {"--log-format", "xml"}, {"--log-format=json", "--log-format=json"}} {
		if output, code := tollgate(t, append([]string{"run", "--config", path}, flags...)...); code != 2 || !strings.Contains(output, "--log-format") {
			t.Errorf("%v: exit %d: %s", flags, code, output)
		}
	}
}

func TestTheStartIsSummedUp(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{mode: "alert", crl: common().root.crl(), top: []string{"access_log: {path: access.jsonl}"},
		patterns: []string{"spiffe://cluster.local/ns/a/*", "spiffe://cluster.local/ns/b/*"}})
	waitFor(t, "the start to be told", patience, func() bool { return len(g.saying(t, "ready")) == 1 })
	want := func(name string, pairs ...string) {
		t.Helper()
		said := g.saying(t, name)
		if len(said) == 0 {
			t.Errorf("nothing is said as %q:\n%s", name, g.stderr)
			return
		}
		for i := 0; i < len(pairs); i += 2 {
			if got := said[0][pairs[i]]; !strings.Contains(got, pairs[i+1]) {
				t.Errorf("%s: %s is %q, want %q", name, pairs[i], got, pairs[i+1])
			}
		}
	}
	want("listening", "listener", "edge", "address", g.address, "unauthenticated", "alert", "routes", "1",
		"identities", "spiffe://cluster.local/ns/a/*, spiffe://cluster.local/ns/b/*")
	want("serving", "certificate", "/gateway.pem", "name", "CN=gateway.test", "left", "h", "ends", "T")
	want("trusting", "authorities", "2", "names", "CN=tollgate test root; CN=tollgate RSA root", "lists", "1", "left", "m")
	want("recording", "audit", "/audit.jsonl", "access_log", "/access.jsonl", "when_it_fails", "continue")
	want("ready", "workers", "2", "admin", g.admin, "version", "", "sandbox", "")
	if lines := len(g.events(t)); lines > 12 {
		t.Errorf("%d lines at the start:\n%s", lines, g.stderr)
	}
}

func TestManyCertificatesMakeFewLines(t *testing.T) {
	t.Parallel()
	served := make([]servedPair, 30)
	for i := range served {
		cert := common().root.server(fmt.Sprintf("host%d.test", i))
		served[i] = servedPair{fmt.Sprint("host", i), pemCertificates(cert.Certificate...), pemKey(cert.PrivateKey)}
	}
	g := answering(t, setup{served: served, flags: []string{"--log-format", "json"}})
	waitFor(t, "the start to be told", patience, func() bool { return len(g.saying(t, "ready")) == 1 })
	if named, more := len(g.saying(t, "serving")), g.saying(t, "serving more"); len(more) != 1 || strconv.Itoa(30-named) != more[0]["certificates"] || named > 10 {
		t.Errorf("%d certificates are named, and %v", named, more)
	}
}

// A backend that breaks the protocol is worth a line, not one each time.
func TestFloodsOfTheLogAreFoldedAndCounted(t *testing.T) {
	t.Parallel()
	var opened counter
	broken := scripted(t, func(p *backend.Peer) {
		opened.add(1)
		p.Say("%s", "\x00\x00\x00\x04\x00\x00\x00\x00\x01") // SETTINGS on a stream
		_, _ = io.Copy(io.Discard, p.Reader)
	})
	g := start(t, setup{flags: []string{"--log-format", "json"}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{h2("web", broken.Address)}})
	c := g.client(t, "h2", common().web)
	const times = 300
	for range times {
		if got := c.get("/x"); got.err == nil && got.status < 500 {
			t.Fatalf("answered %d", got.status)
		}
	}
	g.stop()
	lines, count := 0, 0
	for _, one := range g.saying(t, "backend broke the protocol") {
		lines++
		repeated, err := strconv.Atoi(or(one["repeated"], "1"))
		if err != nil || one["backend"] != "web" || one["endpoint"] != broken.Address {
			t.Errorf("%v: %v", err, one)
		}
		count += repeated
	}
	if connections := opened.get(); count != connections || count < times/2 {
		t.Errorf("told %d times, of %d connections", count, connections)
	}
	if lines > 20 {
		t.Errorf("%d lines of one kind", lines)
	}
}

// crlUntil is a list whose next update is due then.
func (a *authority) crlUntil(from, to time.Duration) []byte {
	der := must(x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1),
		ThisUpdate: time.Now().Add(from), NextUpdate: time.Now().Add(to)}, a.cert, a.key))
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// ending is a setup in which everything but the root ends soon.
func ending(life time.Duration) setup {
	brief := valid(-10*life, life)
	intermediate := common().root.intermediate("ending intermediate", brief)
	leaf := intermediate.issue(brief, extendedUsage(x509.ExtKeyUsageServerAuth), commonName("ending"), func(d *draft) { d.DNSNames = []string{"gateway.test"} })
	return setup{served: []servedPair{{"gateway", pemCertificates(leaf.Certificate...), pemKey(leaf.PrivateKey)}},
		trust: pemCertificates(common().root.cert.Raw, newRoot("ending root", brief).cert.Raw),
		crl:   common().root.crlUntil(-10*life, life)}
}

func TestWhatExpiresIsSaidBeforeAndAfterwards(t *testing.T) {
	t.Parallel()
	g := answering(t, ending(slow(4*time.Second)))
	said := func(level string, names ...string) func() bool {
		return func() bool {
			for _, name := range names {
				found := g.saying(t, name)
				if len(found) > 1 {
					t.Fatalf("%q is said %d times", name, len(found))
				}
				if len(found) == 0 || found[0]["level"] != level || found[0]["listener"] != "edge" || found[0]["file"] == "" || found[0]["left"] == "" {
					return false
				}
			}
			return true
		}
	}
	waitFor(t, "the warnings", patience, said("warn", "a served certificate expires soon", "an intermediate of a served certificate expires soon",
		"a trusted CA expires soon", "a revocation list wants its next update soon"))
	g.reload(t) // is no reason to say it again
	waitFor(t, "the errors", patience, said("error", "a served certificate has expired", "an intermediate of a served certificate has expired",
		"a trusted CA has expired", "a revocation list is out of date; it still revokes"))
	if !said("warn", "a served certificate expires soon", "a trusted CA expires soon")() {
		t.Errorf("a warning is gone:\n%s", g.stderr)
	}
	if left := g.saying(t, "a trusted CA expires soon")[0]; left["name"] != "CN=ending root" {
		t.Errorf("it is said of %v", left)
	}
}

func TestCheckWarnsOfWhatExpiresAndPasses(t *testing.T) {
	t.Parallel()
	s := ending(time.Hour)
	s.routes = []string{marked("path: /*", "ok")}
	output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
	if code != 0 || strings.Count(output, ": warning: ") != 4 || !strings.Contains(output, "(CN=ending), ends 20") || !strings.Contains(output, "good") {
		t.Errorf("exit %d: %s", code, output)
	}
	lasting := setup{routes: s.routes}
	if output, _ := tollgate(t, "check", "--config", lasting.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2")); strings.Contains(output, "warning") {
		t.Error(output)
	}
}
