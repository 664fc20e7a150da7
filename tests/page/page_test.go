// Package page looks at the admin page with a real browser.
package page

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// A town is a gateway with some of everything, and what may be asked of it.
type town struct {
	*harness.Gateway
	h1, h2 *http.Client
}

func newTown(t *testing.T) *town {
	t.Helper()
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "here")
	}))
	t.Cleanup(back.Close)
	g := harness.Start(t, harness.Setup{
		Routes: []string{
			harness.Route("path: /api/*", "backend: orders, rate_limits: [{rate: 1000/s, burst: 2000, per: [identity]}]"),
			harness.Route("path: /login", "backend: orders, rate_limits: [{rate: 5/h, burst: 3, per: [identity]}]"),
			harness.Route("path: /search/*", "backend: search"),
			harness.Route("path: /archive/*", "backend: archive"),
			harness.Route("path: /healthz", `respond: {status: 200, body: "ok\n"}`)},
		Backends: []string{harness.HTTP1("orders", back.Listener.Addr().String()), harness.HTTP1("search", harness.FreeAddress(t)),
			fmt.Sprintf("{name: archive, endpoints: [%q], tls: {trusted_ca: ca.pem}, health_check: {tcp: true, interval: 20ms, unhealthy: 1}}",
				harness.FreeAddress(t))}})
	return &town{g, g.Client(t, "h1"), g.Client(t, "h2")}
}

func (g *town) origin() string { return "http://" + g.Admin }

// bustle makes traffic of both protocols until the test stops it.
func (g *town) bustle() (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	for i, client := range []*http.Client{g.h1, g.h2, g.h2} {
		all.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(time.Duration(10+i*7) * time.Millisecond):
					_ = harness.Get(client, []string{"/api/cart", "/healthz", "/api/list"}[i])
				}
			}
		})
	}
	return func() { close(ended); all.Wait() }
}

const nasty = `<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>'"&`

// stranger is a certificate of nobody's, whose names are markup.
func stranger() tls.Certificate {
	key := harness.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	names := harness.Must(asn1.Marshal([]asn1.RawValue{{Class: 2, Tag: 6, Bytes: []byte("spiffe://cluster.local/" + nasty)}}))
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: nasty},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}}
	der := harness.Must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// attack has hostile words end up in audit records: a path, a host, an agent, a certificate's names.
func (g *town) attack(t *testing.T) {
	t.Helper()
	w := g.Wire(t)
	w.Say("GET /nowhere?" + strings.ReplaceAll(nasty, " ", "+") + " HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: " + nasty + "\r\n\r\n")
	_, _ = w.Rest()
	config := harness.ClientTLS("http/1.1")
	config.Certificates = []tls.Certificate{stranger()}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &config.Certificates[0], nil }
	conn := tls.Client(g.DialTCP(t), config)
	_, _ = fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
	_, _ = io.ReadAll(conn)
	_ = conn.Close()
}

// Every text of the page against what lies behind it, by WCAG 2's formula: the pairs below 4.5.
const faintTexts = `(() => {
const parts = (color) => color.match(/[\d.]+/g).map(Number);
const light = (color) => { const [r, g, b] = parts(color).slice(0, 3).map((v) => { v /= 255;
	return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (node) => { for (; node; node = node.parentElement) { const color = getComputedStyle(node).backgroundColor;
	const [, , , alpha = 1] = parts(color); if (alpha === 1) return color; } return "rgb(255, 255, 255)"; };
const faint = [];
for (const node of document.body.querySelectorAll("*")) {
	if (!node.checkVisibility() || ![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
	const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
	if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(node.tagName + "." + node.className + ": " + node.textContent.slice(0, 40));
}
return faint; })()`

// What assistive technology needs, as far as a script can tell.
const unnamed = `(() => {
const wrong = [];
for (const node of document.querySelectorAll("th")) if (!node.scope && !node.colSpan) wrong.push("th without scope");
for (const node of document.querySelectorAll("section")) if (node.checkVisibility() && !node.querySelector("h2")) wrong.push("section without heading");
for (const node of document.querySelectorAll(".plot svg")) if (!node.getAttribute("aria-label")) wrong.push("chart without words");
for (const name of ["header", "main", "footer", "nav"]) if (document.querySelectorAll(name).length !== 1) wrong.push("not one " + name);
if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
if (document.querySelector("[style], [onclick], [onload]")) wrong.push("inline style or handler");
return wrong; })()`

func TestThePageShowsWhatHappens(t *testing.T) {
	t.Parallel()
	g, b := newTown(t), openBrowser(t)
	b.size(1280, 900, false)
	b.scheme("light")
	b.open(g.origin() + "/")
	b.until("the first figures", "!document.getElementById('live').hidden")
	if before := b.text("traffic-now"); before != "–" && before != "0" {
		t.Errorf("before any traffic there are %s requests a second", before)
	}
	eval[any](b, "window.mark = 1; page.tickMs = 200") // as it is, but for a patience of two seconds
	stop := g.bustle()
	b.until("traffic", "parseFloat(document.getElementById('traffic-now').textContent) > 5")
	b.until("latency", "/\\d ms/.test(document.getElementById('latency-now').textContent)")
	for range 5 {
		_ = harness.Get(g.h1, "/login")
	}
	_ = harness.Get(g.h1, "/search/x")
	_ = harness.Get(g.h1, "/api/broken")
	g.attack(t)
	b.until("a refusal", "document.getElementById('audit').textContent.includes('rate_limited')")
	b.until("a stranger's", "document.getElementById('audit').textContent.includes('certificate_untrusted')")
	b.until("an endpoint to be out", "document.getElementById('backends').textContent.includes('archiveHTTP/1.1 over TLS') && [...document.querySelectorAll('#backends .is-bad')].some((one) => one.textContent === 'out')")
	b.until("what a reason's row says", "document.getElementById('reasons').textContent.includes('no_route')")
	for id, words := range map[string][]string{
		"backends":     {"orders", "some failures", "search", "failing"},
		"limits":       {"edge//login/rate_limits[0]", "burst 3", "0 %"},
		"certificates": {"CN=gateway.test", "served", "trusted CA", "less than a day: renew now"},
		"audit":        {"/login", harness.Identity, "claims spiffe://cluster.local/" + nasty},
	} {
		text := b.text(id)
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("#%s does not say %q:\n%s", id, word, text)
			}
		}
	}
	if eval[int](b, "document.querySelectorAll('.plot polyline').length") < 3 {
		t.Error("the charts have no curves")
	}
	if eval[int](b, "window.mark") != 1 {
		t.Error("the page was loaded again")
	}
	t.Run("hostile words stay text", func(t *testing.T) {
		eval[any](b, "document.querySelectorAll('#audit details').forEach((one) => { one.open = true; })")
		if n := eval[int](b, "document.querySelectorAll('main img, main script, main [onerror]').length"); n != 0 {
			t.Errorf("%d elements came from the network", n)
		}
		if pwned := eval[any](b, "window.pwned"); pwned != nil {
			t.Errorf("a script from the network ran: %v", pwned)
		}
		eval[any](b, "document.querySelectorAll('#audit details').forEach((one) => { one.open = false; })")
	})
	t.Run("what is opened stays open", func(t *testing.T) {
		eval[any](b, "document.querySelector('#audit details').open = true; window.opened = document.querySelector('#audit details')")
		_ = harness.Get(g.h1, "/nowhere/else")
		b.until("another refusal", "document.getElementById('audit').textContent.includes('/nowhere/else')")
		if !eval[bool](b, "opened.isConnected && opened.open") {
			t.Error("a record was closed under its reader")
		}
		eval[any](b, "opened.open = false")
	})
	t.Run("light and dark, desk and phone", func(t *testing.T) {
		papers := map[string]string{}
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			papers[scheme] = eval[string](b, "getComputedStyle(document.body).backgroundColor")
			for _, wrong := range append(eval[[]string](b, faintTexts), eval[[]string](b, unnamed)...) {
				t.Errorf("%s: %s", scheme, wrong)
			}
			for name, width := range map[string]int{"desk": 1280, "tablet": 768, "phone": 360} {
				b.size(width, 800, width < 500)
				if got := eval[int](b, "document.documentElement.scrollWidth"); got > width {
					t.Errorf("%s, %s: the page is %d wide on %d", scheme, name, got, width)
				}
				if scheme+name == "lightdesk" || scheme+name == "darkphone" {
					b.picture(scheme + "-" + name)
				}
			}
			b.size(1280, 900, false)
		}
		if papers["light"] == papers["dark"] {
			t.Errorf("dark is as light as light: %v", papers)
		}
		b.scheme("light")
	})
	t.Run("a refused reload is an alarm", func(t *testing.T) {
		path := g.Path("tollgate.yaml")
		good := harness.Must(os.ReadFile(path))
		if err := os.WriteFile(path, append([]byte("nonsense: <b>1</b>\n"), good...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = g.Ask("POST", "/reload")
		b.until("the alarm", "!document.getElementById('alarm').hidden")
		if text := b.text("alarm"); !strings.Contains(text, "nonsense") || !strings.Contains(text, "in force") {
			t.Errorf("the alarm says %q", text)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = g.Ask("POST", "/reload")
		b.until("the end of the alarm", "document.getElementById('alarm').hidden")
	})
	t.Run("a hidden page rests", func(t *testing.T) {
		eval[any](b, "Object.defineProperty(document, 'hidden', { configurable: true, value: true }); document.dispatchEvent(new Event('visibilitychange'))")
		b.until("the page to rest", "!page.busy && document.getElementById('link').textContent.startsWith('Paused')")
		asked := eval[int](b, "tick().then(() => performance.getEntriesByType('resource').length)")
		if again := eval[int](b, "tick().then(() => performance.getEntriesByType('resource').length)"); again != asked {
			t.Error("it asks although nobody looks")
		}
		eval[any](b, "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
		b.until("the page to go on", "document.getElementById('link').textContent.startsWith('Live')")
	})
	stop()
	b.quiet(g.origin())
	t.Run("a gateway that is gone", func(t *testing.T) {
		g.Kill()
		b.until("the page to say so", "document.getElementById('link').textContent.includes('does not answer')")
		if text := b.text("state"); !strings.Contains(text, "unreachable") {
			t.Errorf("the state is %q", text)
		}
		g.Restart()
		b.until("it to be back", "document.getElementById('state').textContent.includes('serving')")
	})
}

func TestThePageWithoutScripts(t *testing.T) {
	t.Parallel()
	g, b := newTown(t), openBrowser(t)
	_ = harness.Get(g.h1, "/healthz")
	_ = harness.Get(g.h1, "/nowhere")
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.size(360, 740, true)
	b.open(g.origin() + "/")
	text := eval[string](b, "document.body.innerText")
	for _, want := range []string{"tollgate", "serving", "Requests answered\t2", "Callers refused\t1", "/metrics", "/certificates"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Latency") {
		t.Error("what only a script can fill is shown")
	}
	if got := eval[int](b, "document.documentElement.scrollWidth"); got > 360 {
		t.Errorf("the page is %d wide on 360", got)
	}
	b.quiet(g.origin())
}

// The arithmetic of the page, in the engine that runs it.
func TestFiguresOfThePage(t *testing.T) {
	t.Parallel()
	g, b := newTown(t), openBrowser(t)
	b.open(g.origin() + "/")
	for script, want := range map[string]string{
		"quantile(0.5, [0, 10, 0, 0], [1, 2, 3])":           "1.5", // as histogram_quantile says
		"quantile(0.99, [50, 50, 0, 0], [1, 2, 3])":         "1.98",
		"quantile(0.5, [0, 0, 0, 4], [1, 2, 3])":            "Infinity",
		"quantile(0.5, [0, 0, 0, 0], [1, 2, 3])":            "NaN",
		"textOfSeconds(0.00042)":                            "0.4 ms",
		"textOfSeconds(0.0374)":                             "37 ms",
		"textOfSeconds(2.5)":                                "2.5 s",
		"textOfSeconds(Infinity)":                           "> 10 s",
		"textOfSeconds(NaN)":                                "–",
		"textOfRate(0)":                                     "0",
		"textOfRate(0.04)":                                  "0.04",
		"textOfRate(12345.6)":                               "12\u202f346",
		"textOfShare(0)":                                    "0 %",
		"textOfShare(0.00001)":                              "< 0.1 %",
		"textOfShare(0.25)":                                 "25 %",
		"textOfBytes(1536)":                                 "1.5 KiB",
		"textOfSpan(0)":                                     "0 s",
		"textOfSpan(59)":                                    "59 s",
		"textOfSpan(90061)":                                 "1 d 1 h",
		"roundUp(0)":                                        "1",
		"roundUp(0.25).toFixed(3)":                          "0.300",
		"roundUp(120)":                                      "150",
		"evenScale([3, 7]).marks":                           "8,4,0",
		"decadeScale([0.002, 0.3]).marks.map(textOfDecade)": "1 s,100 ms,10 ms,1 ms",
		"decadeScale([]).marks.map(textOfDecade)":           "100 ms,10 ms,1 ms",
		"textOfMark(0.3)":                                   "0.3/s",
		"urgencyOf(0, '2030-01-01T00:00:00Z', Date.parse('2031-01-01')).text":   "expired",
		"urgencyOf(3, '2030-01-05T00:00:00Z', Date.parse('2030-01-01')).level":  "bad",
		"urgencyOf(20, '2030-01-21T00:00:00Z', Date.parse('2030-01-01')).text":  "20 days: renew soon",
		"urgencyOf(90, '2030-04-01T00:00:00Z', Date.parse('2030-01-01')).level": "good",
		"standingOf(2, 2) === null && standingOf(undefined, 2) === null":        "true",
		"standingOf(1, 4).text":                          "out for 3 of 4",
		"standingOf(0, 2).level + standingOf(0, 2).text": "badout",
		"isFailure('http1', '503') && !isFailure('http1', '429') && isFailure('grpc', '14') && !isFailure('grpc', '8')":                      "true",
		"isBackendFailure('502') && isBackendFailure('connect_failed') && !isBackendFailure('404') && !isBackendFailure('client_cancelled')": "true",
		"rate({first: {n: 5}, last: {n: 25}, seconds: 10}, (one) => one.n)":                                                                  "2",
		"rate({first: {n: 25}, last: {n: 5}, seconds: 10}, (one) => one.n)":                                                                  "0", // a counter begun anew
	} {
		if got := eval[string](b, "String("+script+")"); got != want {
			t.Errorf("%s is %s, want %s", script, got, want)
		}
	}
}
