package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tollgate/tests/backend"
)

// Connections to backends outlive a reload, as far as it leaves them what they were.

// warm makes calls at once, so that each worker has connections.
func warm(t *testing.T, g *gateway, times int) {
	t.Helper()
	var all sync.WaitGroup
	for range times {
		all.Go(func() { wantStatus(t, g.client(t, "h1", common().web).get("/echo"), http.StatusOK) })
	}
	all.Wait()
}

func TestReloadCostsBackendsNoConnection(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ from, to string }{
		"nothing changed":          {"drain_timeout:", "drain_timeout:"},
		"a route":                  {"path: /*", "path: /echo"},
		"balance":                  {"protocol: http1", "protocol: http1, balance: least_requests"},
		"a health check":           {"protocol: http1", "protocol: http1, health_check: {tcp: true, interval: 1h}"},
		"another endpoint first":   {"endpoints: [", "weights: [1, 100], endpoints: [\"127.0.0.1:1\", "},
		"another backend in front": {"backends:\n", "backends:\n  - {name: first, endpoints: [\"127.0.0.1:1\"]}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httpBackend(t)
			g := start(t, setup{workers: 1, backends: []string{http1("web", web.Address)}, routes: []string{route("path: /first", "backend: web"), route("path: /*", "backend: web")}})
			warm(t, g, 8)
			before := web.Wire.Accepted.Load()
			if name == "another backend in front" {
				g.rewrite(t, "{path: /first}, backend: web", "{path: /first}, backend: first")
			}
			g.rewrite(t, row.from, row.to)
			for range 3 {
				g.hangUp(t)
			}
			for range 20 {
				wantStatus(t, g.client(t, "h2", common().web).get("/echo"), http.StatusOK)
			}
			if n := web.Wire.Accepted.Load() - before; n != 0 || web.Wire.Open() != int(before) {
				t.Errorf("%d new connections, %d of %d open", n, web.Wire.Open(), before)
			}
			series := fmt.Sprintf("tollgate_upstream_connections_active{backend=%q,endpoint=%q}", "web", web.Address)
			if n := g.metric(t, series); n != float64(before) {
				t.Errorf("%v connections are counted, %d are there", n, before)
			}
		})
	}
}

// Whatever stands where in the file, a backend is known by its name.
func TestBackendsInAnotherOrderKeepTheirConnections(t *testing.T) {
	t.Parallel()
	const count = 7
	var webs []*backend.HTTP
	s := setup{workers: 1}
	for i := range count {
		webs = append(webs, httpBackend(t))
		s.backends = append(s.backends, http1(fmt.Sprint("b", i), webs[i].Address))
		s.routes = append(s.routes, route(fmt.Sprintf("path: /%d/*", i), fmt.Sprint("backend: b", i)))
	}
	g := start(t, s)
	c := g.client(t, "h2", common().web)
	ask := func() {
		t.Helper()
		for i := range count {
			wantStatus(t, c.get(fmt.Sprintf("/%d/x", i)), http.StatusOK)
			if n := webs[i].Wire.Accepted.Load(); n != 1 {
				t.Errorf("backend %d has had %d connections", i, n)
			}
		}
	}
	ask()
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		other := g.setup
		other.backends = slices.Clone(s.backends)
		random.Shuffle(count, func(a, b int) { other.backends[a], other.backends[b] = other.backends[b], other.backends[a] })
		for range random.IntN(3) {
			at, name := random.IntN(count), fmt.Sprint("more", len(other.backends))
			other.backends = slices.Insert(other.backends, at, http1(name, "127.0.0.1:1"))
			other.routes = append(slices.Clone(other.routes), route("path: /"+name, "backend: "+name))
		}
		writeFile(t, g.dir, "tollgate.yaml", []byte(other.yaml(g.address, g.admin)))
		g.reload(t)
		ask()
	}
}

func TestEndpointThatAReloadRemovesIsLeft(t *testing.T) {
	t.Parallel()
	gone, stays := httpBackend(t), httpBackend(t)
	g := start(t, setup{workers: 1, backends: []string{http1("web", gone.Address, stays.Address)}, routes: []string{route("path: /*", "backend: web")}})
	warm(t, g, 8)
	kept := stays.Wire.Accepted.Load()
	g.rewrite(t, fmt.Sprintf("%q, ", gone.Address), "")
	g.hangUp(t)
	waitFor(t, "its connections to close", patience, func() bool { return gone.Wire.Open() == 0 })
	for range 4 {
		wantStatus(t, g.client(t, "h1", common().web).get("/echo"), http.StatusOK)
	}
	if n := stays.Wire.Accepted.Load(); n != kept || gone.Journal.Count("GET /echo") == 0 {
		t.Errorf("%d connections to the one that stays, %d before", n, kept)
	}
}

func TestAnotherProtocolTakesOtherConnections(t *testing.T) {
	t.Parallel()
	web := h2cBackend(t)
	g := start(t, setup{workers: 1, backends: []string{h2("web", web.Address)}, routes: []string{route("path: /*", "backend: web")}})
	warm(t, g, 4)
	g.rewrite(t, "protocol: h2", "protocol: http1")
	g.hangUp(t)
	waitFor(t, "the old connections to close", patience, func() bool { return web.Wire.Open() == 0 })
	g.rewrite(t, "protocol: http1", "protocol: h2")
	g.hangUp(t)
	warm(t, g, 4)
}

// Calls under way go on where they are, and the connection under them serves new ones.
func TestCallsUnderWayMoveWithTheirConnection(t *testing.T) {
	t.Parallel()
	g, server, c := passing(t, setup{workers: 1})
	stream := openStream(t, within(t, patience), c, chat)
	talk := func(text string) {
		t.Helper()
		if err := stream.Send([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Receive(); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	talk("before")
	for i := range 5 {
		g.hangUp(t)
		talk(fmt.Sprint("after reload ", i))
		_, err := backend.Invoke(within(t, patience), c, getUser, nil)
		wantCode(t, err, codes.OK)
	}
	if n := server.Wire.Accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	_ = stream.CloseSend()
}

func TestReloadsUnderLoadKeepFewConnections(t *testing.T) {
	t.Parallel()
	web := httpBackend(t)
	g := start(t, setup{backends: []string{http1("web", web.Address)}, routes: []string{route("path: /*", "backend: web")}})
	all, ctx := newCrowd()
	for i := range 8 {
		c := g.client(t, []string{"h1", "h2"}[i%2], common().web)
		all.add(ctx, fmt.Sprint("caller ", i), func() error { return wantOK(c.get("/echo")) })
	}
	for range 20 {
		g.hangUp(t)
	}
	all.leave(t)
	if n := web.Wire.Accepted.Load(); n > 40 {
		t.Errorf("%d connections were made for 8 callers and 20 reloads", n)
	}
	waitFor(t, "what is counted to be what is there", 5*time.Second, func() bool {
		return g.metric(t, fmt.Sprintf("tollgate_upstream_connections_active{backend=%q,endpoint=%q}", "web", web.Address)) == float64(web.Wire.Open())
	})
}
