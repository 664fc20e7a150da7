package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// Who shares a bucket, a connection or the memory with somebody who is paused.

// hoard begins uploads that will be paused, and returns when all of them are; they end with the test.
func hoard(t *testing.T, g *gateway, c *client, path string, count, size int) (all *sync.WaitGroup, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	all = new(sync.WaitGroup)
	for range count {
		r := uploads(path, nil, false)
		r.Body = io.NopCloser(io.LimitReader(zeros{}, int64(size)))
		all.Go(func() { _ = c.do(r.WithContext(ctx)) })
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	g.awaitPauses(t, path, float64(count))
	return all, cancel
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestUploadsOfOneBucketTakeTurns(t *testing.T) {
	t.Parallel()
	const rate, burst, count = 1 << 20, 64 << 10, 10
	for _, down := range []string{"h1", "h2"} {
		g, d := limitedBytes(t, "h1", setup{}, map[string]string{"/in/*": "{bytes: 1MiB/s, burst: 64KiB}"})
		all := newMeter(rate, burst)
		var meters []*meter
		ctx, cancel := context.WithCancel(context.Background())
		var sent sync.WaitGroup
		for i := range count {
			path := fmt.Sprintf("/in/%d", i)
			meters = append(meters, d.expect(path, newMeter(rate, burst)))
			r := uploads(path, nil, false)
			r.Body = io.NopCloser(zeros{})
			c := g.patiently(t, down)
			sent.Go(func() { _ = c.do(r.WithContext(ctx)) })
		}
		total := func() (n int) {
			for _, m := range meters {
				n += m.count()
			}
			return n
		}
		waitFor(t, "3 MiB", patience, func() bool { return total() > 3<<20 })
		for i, m := range meters {
			if share := m.count() * count; share < total()/3 || share > 3*total() {
				t.Errorf("%s: upload %d has %d bytes of %d", down, i, m.count(), total())
			}
		}
		if most := burst + rate*time.Since(all.began).Seconds(); float64(total()) > most {
			t.Errorf("%s: %d bytes passed, %.0f may have", down, total(), most)
		}
		cancel()
		sent.Wait()
	}
}

func TestIdentitiesAndAddressesHaveBucketsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, per := range []string{"identity", "source_ip"} {
		t.Run(per, func(t *testing.T) {
			t.Parallel()
			g, _ := limitedBytes(t, "h1", setup{}, map[string]string{"/in": "{bytes: 1/h, burst: 5000, on_excess: reject, per: [" + per + "]}"})
			one, other := g.client(t, "h1", common().web), g.client(t, "h1", common().root.svid("spiffe://cluster.local/ns/web/sa/other"))
			same := g.client(t, "h2", common().web)
			if per == "source_ip" {
				other = g.clientFrom(t, "127.0.0.2")
			}
			wantStatus(t, one.do(uploads("/in", pattern(5000), true)), 200)
			wantStatus(t, other.do(uploads("/in", pattern(5000), true)), 200)
			for _, c := range []*client{one, other, same} {
				wantStatus(t, c.do(uploads("/in", pattern(1), true)), 429)
			}
			g.countAudit(t, 3, byFlowLimit(0))
		})
	}
}

// The sender is slowed, and what it has sent is in nobody's memory.
func TestPausedUploadsNeedLittleMemory(t *testing.T) {
	t.Parallel()
	const count, size = 50, 64 << 20
	for _, down := range []string{"h1", "h2"} {
		g, _ := limitedBytes(t, "h1", setup{}, map[string]string{"/in": "{bytes: 500KiB/s, burst: 16KiB}"})
		before := g.memory()
		_, leave := hoard(t, g, g.patiently(t, down), "/in", count, size)
		g.awaitPauses(t, "/in", 2*count)
		grown := g.memory() - before
		t.Logf("%s: %d KiB", down, grown>>10)
		if grown > 50*512<<10 && !harness.Instrumented() {
			t.Errorf("%s: %d paused uploads take %d KiB", down, count, grown>>10)
		}
		leave()
	}
}

func TestPausedStreamsHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			g, d := limitedBytes(t, up, setup{workers: 1}, map[string]string{
				"/in": "{bytes: 1000/s, burst: 1000}", "/out": "{bytes: 1000/s, burst: 1000, direction: responses}"})
			d.content = pattern(200_000)
			c := g.patiently(t, "h2")
			wantStatus(t, c.get("/free"), 200) // or net/http would begin several connections
			_, leave := hoard(t, g, c, "/in", 60, 1<<20)
			ctx, cancel := context.WithCancel(context.Background())
			var down sync.WaitGroup
			for range 30 {
				down.Go(func() { _ = c.do(request("GET", "/out", "").WithContext(ctx)) })
			}
			g.awaitPauses(t, "/out", 30)
			began := time.Now()
			for range 5 {
				if got := c.do(uploads("/free", pattern(1<<20), true)); got.body != fmt.Sprint(1<<20) {
					t.Fatalf("answered %+v", got)
				}
				if got := c.get("/free"); got.body != string(d.content) {
					t.Fatalf("%d bytes, %v", len(got.body), got.err)
				}
			}
			if took := time.Since(began); took > slow(15*time.Second) {
				t.Errorf("took %v", took)
			}
			if n := c.connections(); n != 1 {
				t.Errorf("%d connections", n)
			}
			cancel()
			leave()
			down.Wait()
			g.awaitRequests(t, 0)
		})
	}
}

// Who borrowed first is served first, over all workers.
func TestASmallUploadWaitsForItsTurnOnly(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h1", setup{}, map[string]string{"/in": "{bytes: 100KiB/s, burst: 10KiB}"})
	_, leave := hoard(t, g, g.patiently(t, "h2"), "/in", 10, 10<<20)
	began := time.Now()
	wantStatus(t, g.patiently(t, "h1").do(uploads("/in", pattern(1000), true)), 200)
	// Ten pieces of 10 KiB before it, and its last byte alone behind as many.
	if took := time.Since(began); took > slow(5*time.Second) {
		t.Errorf("took %v", took)
	}
	leave()
}

// tunnel opens a WebSocket's connection, without its frames.
func (g *gateway) tunnel(t *testing.T, path string) *wire {
	t.Helper()
	w := g.wire(t, common().web)
	w.say("GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	answer, err := http.ReadResponse(w.reader, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", answer, err)
	}
	return w
}

// What came while Redis was asked is paid for like the rest.
func TestBodiesThatArriveBeforeTheVerdictPayToo(t *testing.T) {
	t.Parallel()
	redis := harness.StartRedis(t, harness.RedisSetup{})
	for _, up := range []string{"h1", "h2"} {
		d := newDepot(t, up)
		g := start(t, setup{top: []string{store(redis.Address)}, backends: []string{d.backend(up)}, routes: []string{route("path: /*",
			"backend: web, rate_limits: [{rate: 1000/s, burst: 1000, store: redis}], flow_limits: [{bytes: 64KiB/s, burst: 8KiB}]")}})
		wantStatus(t, g.client(t, "h1", common().web).do(uploads("/before", nil, true)), 200)
		redis.Pause()
		body := pattern(60_000)
		r, told := upload("/in", body, true)
		answer := make(chan reply, 1)
		go func() { answer <- g.patiently(t, "h2").do(r) }()
		told.await(t)
		g.awaitRequests(t, 1)
		m := d.expect("/in", newMeter(64<<10, 8<<10)) // nothing has passed yet
		redis.Resume()
		wantStatus(t, <-answer, 200)
		m.wantMet(t, up, body)
	}
}
