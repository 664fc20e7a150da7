package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// `bytes:` of `flow_limits`, as the far end sees them: nothing changed, and never too much.

// A meter counts what arrives of one bucket, and knows how much may have by now.
type meter struct {
	rate, burst float64
	began       time.Time
	mutex       sync.Mutex
	total       int
	worst       float64 // the most that was ever there too early
	sum         hash.Hash
}

// newMeter begins before the first byte is on its way.
func newMeter(rate, burst int) *meter {
	return &meter{rate: float64(rate), burst: float64(burst), began: time.Now(), sum: sha256.New()}
}

func (m *meter) Write(data []byte) (int, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.total += len(data)
	m.worst = max(m.worst, float64(m.total)-m.burst-m.rate*time.Since(m.began).Seconds())
	_, _ = m.sum.Write(data)
	return len(data), nil
}

func (m *meter) count() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.total
}

// wantMet checks the content, if there is one, and that no byte came early.
func (m *meter) wantMet(t *testing.T, what string, content []byte) {
	t.Helper()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.worst > 0 {
		t.Errorf("%s: %.0f bytes more than the limit lets pass", what, m.worst)
	}
	if want := sha256.Sum256(content); content != nil && (m.total != len(content) || !bytes.Equal(m.sum.Sum(nil), want[:])) {
		t.Errorf("%s: %d bytes of %d, or others", what, m.total, len(content))
	}
}

// A depot takes uploads and gives downloads, over HTTP/1.1 or h2c.
type depot struct {
	address string
	server  *http.Server
	mutex   sync.Mutex
	meters  map[string]*meter // by path
	content []byte            // of downloads
}

func newDepot(t *testing.T, up string) *depot {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(up == "h1")
	protocols.SetUnencryptedHTTP2(up == "h2")
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	d := &depot{address: listener.Addr().String(), meters: map[string]*meter{}}
	d.server = &http.Server{Handler: http.HandlerFunc(d.serve), Protocols: protocols}
	go func() { _ = d.server.Serve(listener) }()
	t.Cleanup(func() { _ = d.server.Close() })
	return d
}

// expect has a path's uploads counted.
func (d *depot) expect(path string, m *meter) *meter {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.meters[path] = m
	return m
}

func (d *depot) of(path string) *meter {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.meters[path]
}

func (d *depot) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == "GET" || r.Method == "HEAD" {
		if r.URL.Query().Has("stated") {
			w.Header().Set("Content-Length", strconv.Itoa(len(d.content)))
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(d.content)
		if r.URL.Query().Has("endless") {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
		return
	}
	var to io.Writer = io.Discard
	if m := d.of(r.URL.Path); m != nil {
		to = m
	}
	n, err := io.CopyBuffer(to, struct{ io.Reader }{r.Body}, make([]byte, 4096))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = fmt.Fprint(w, n)
}

func (d *depot) backend(up string) string {
	return map[string]func(string, ...string) string{"h1": http1, "h2": h2}[up]("web", d.address)
}

// limitedBytes starts a gateway before a depot; each path has the limits of its name.
func limitedBytes(t *testing.T, up string, s setup, limits map[string]string) (*gateway, *depot) {
	t.Helper()
	d := newDepot(t, up)
	for path, limit := range limits {
		s.routes = append(s.routes, route("path: "+path, "backend: web, flow_limits: ["+limit+"]"))
	}
	s.routes = append(s.routes, route("path: /*", "backend: web"))
	s.backends = append(s.backends, d.backend(up))
	return start(t, s), d
}

// patiently is a client without a deadline of its own.
func (g *gateway) patiently(t *testing.T, protocol string) *client {
	t.Helper()
	c := g.client(t, protocol, common().web)
	c.Timeout = 3 * patience
	return c
}

type byteRate struct {
	path, limit string
	rate, burst int
	size        int // a second and a bit
}

var byteRates = []byteRate{
	{"/slow", "bytes: 64KiB/s, burst: 10000", 64 << 10, 10000, 80000},
	{"/quick", "bytes: 1MiB/s, burst: 64KiB", 1 << 20, 64 << 10, 1 << 20},
}

func TestUploadsPassUnchangedAndInTime(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		limits := map[string]string{}
		for _, r := range byteRates {
			limits[r.path] = "{" + r.limit + "}"
		}
		g, d := limitedBytes(t, up, setup{}, limits)
		c := g.patiently(t, down)
		for _, r := range byteRates {
			for _, stated := range []bool{true, false} {
				body, what := pattern(r.size), fmt.Sprintf("%s, stated %v", r.path, stated)
				m := d.expect(r.path, newMeter(r.rate, r.burst))
				got := c.do(uploads(r.path, body, stated))
				if wantStatus(t, got, 200); got.body != strconv.Itoa(r.size) {
					t.Errorf("%s: answered %q, %v", what, got.body, got.err)
				}
				m.wantMet(t, what, body)
				wantNear(t, what, m, r)
			}
		}
	})
}

// wantNear is generous: others use the machine, too.
func wantNear(t *testing.T, what string, m *meter, r byteRate) {
	t.Helper()
	most := slow(time.Duration(float64(r.size-r.burst)/0.7/float64(r.rate)*float64(time.Second)) + 2*time.Second)
	if took := time.Since(m.began); took > most {
		t.Errorf("%s: took %v, expected no more than %v", what, took, most)
	}
}

func TestDownloadsPassUnchangedAndInTime(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		limits := map[string]string{}
		for _, r := range byteRates {
			limits[r.path] = "{direction: responses, " + r.limit + "}"
		}
		g, d := limitedBytes(t, up, setup{}, limits)
		c := g.patiently(t, down)
		for _, r := range byteRates {
			for _, query := range []string{"", "?stated"} {
				d.content = pattern(r.size)
				m := newMeter(r.rate, r.burst)
				answer, err := c.Get("https://gateway.test" + r.path + query)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyBuffer(m, struct{ io.Reader }{answer.Body}, make([]byte, 4096)); err != nil {
					t.Error(err)
				}
				_ = answer.Body.Close()
				m.wantMet(t, r.path+query, d.content)
				wantNear(t, r.path+query, m, r)
			}
		}
	})
}

// Neither direction pays for the other, and each for all that is on its way.
func TestBothDirectionsAreLimitedOnTheirOwn(t *testing.T) {
	t.Parallel()
	g, d := limitedBytes(t, "h1", setup{}, map[string]string{
		"/both": "{bytes: 64KiB/s, burst: 8KiB}, {bytes: 128KiB/s, burst: 8KiB, direction: responses}"})
	d.content = pattern(128 << 10)
	up, down := d.expect("/both", newMeter(64<<10, 8<<10)), newMeter(128<<10, 8<<10)
	var both sync.WaitGroup
	both.Go(func() { wantStatus(t, g.patiently(t, "h1").do(uploads("/both", pattern(64<<10), true)), 200) })
	both.Go(func() {
		answer, err := g.patiently(t, "h2").Get("https://gateway.test/both")
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(down, answer.Body)
		_ = answer.Body.Close()
	})
	both.Wait()
	up.wantMet(t, "up", pattern(64<<10))
	down.worst -= 2 // the answer to the upload is one of five bytes from the same bucket
	down.wantMet(t, "down", d.content)
}

// Timers ring every 8 ms: what a rate gives in as long has to fit into the burst.
func TestFastLimitsAreReached(t *testing.T) {
	t.Parallel()
	const rate, size = 20 << 20, 20 << 20
	for name, burst := range map[string]int{"1MiB": 1 << 20, "256KiB": 256 << 10} {
		t.Run(name, func(t *testing.T) {
			g, d := limitedBytes(t, "h1", setup{}, map[string]string{"/fast": fmt.Sprintf("{bytes: 20MiB/s, burst: %s}", name)})
			c, body, reached := g.patiently(t, "h1"), pattern(size), false
			for range 4 {
				m := d.expect("/fast", newMeter(rate, burst))
				wantStatus(t, c.do(uploads("/fast", body, true)), 200)
				took := time.Since(m.began)
				m.wantMet(t, name, body)
				// What the machine does at all, whatever else it does.
				began := time.Now()
				wantStatus(t, c.do(uploads("/free", body, true)), 200)
				share := float64(size-burst) / took.Seconds() / rate
				t.Logf("%.0f %% of the rate, %v without it", share*100, time.Since(began))
				if reached = share > 0.7 || took < 3*time.Since(began); reached {
					break
				}
			}
			if !reached {
				t.Error("the rate is never reached")
			}
		})
	}
}

// A limit that nobody reaches takes nobody's time.
func TestLimitsThatAreNotReachedCostLittle(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h1", setup{workers: 1}, map[string]string{"/limited": "{bytes: 500GiB/s, burst: 1GiB}"})
	c, body := g.patiently(t, "h1"), pattern(32<<20)
	spent := map[string]time.Duration{}
	for range 3 {
		for _, path := range []string{"/free", "/limited"} {
			before := g.spent(t)
			wantStatus(t, c.do(uploads(path, body, true)), 200)
			spent[path] += g.spent(t) - before
		}
	}
	t.Logf("CPU: %v", spent)
	if spent["/limited"] > 2*spent["/free"]+slow(300*time.Millisecond) {
		t.Errorf("96 MiB take %v with a limit, %v without", spent["/limited"], spent["/free"])
	}
}
