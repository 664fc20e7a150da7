package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// A crowd of clients asks on and on, over connections kept and new, until it is told to stop; any failure is the test's.
type crowd struct {
	stop    context.CancelFunc
	waiting sync.WaitGroup
	calls   atomic.Int64
	failed  sync.Map
}

func newCrowd() (*crowd, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	return &crowd{stop: cancel}, ctx
}

func (c *crowd) add(ctx context.Context, name string, call func() error) {
	c.waiting.Go(func() {
		for ctx.Err() == nil {
			if err := call(); err != nil {
				c.failed.Store(name+": "+err.Error(), true)
			}
			c.calls.Add(1)
		}
	})
}

func (c *crowd) leave(t *testing.T) {
	t.Helper()
	c.stop()
	c.waiting.Wait()
	c.failed.Range(func(what, _ any) bool {
		t.Errorf("%v", what)
		return true
	})
	if c.calls.Load() == 0 {
		t.Error("nobody asked for anything")
	}
}

func (g *gateway) crowd(t *testing.T) *crowd {
	t.Helper()
	c, ctx := newCrowd()
	for i := range 3 {
		kept := map[string]*client{"h1": g.client(t, "h1", common().web), "h2": g.client(t, "h2", common().web)}
		for protocol, client := range kept {
			c.add(ctx, fmt.Sprint(protocol, " kept ", i), func() error { return wantOK(client.get("/x")) })
		}
		c.add(ctx, fmt.Sprint("h1 anew ", i), func() error {
			client := g.client(t, "h1", common().web)
			defer client.transport.CloseIdleConnections()
			return wantOK(client.get("/x"))
		})
		// POST is not sent again by Go's client: what is lost is seen.
		post := g.client(t, "h1", common().web)
		c.add(ctx, fmt.Sprint("h1 post ", i), func() error { return wantOK(post.do(request("POST", "/x", "text"))) })
	}
	return c
}

func wantOK(r reply) error {
	if r.err != nil || r.status != http.StatusOK {
		return fmt.Errorf("status %d, error %w", r.status, r.err)
	}
	return nil
}
