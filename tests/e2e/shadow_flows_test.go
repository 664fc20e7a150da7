package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tollgate/tests/backend"
)

// Trials of `flow_limits`.

// byFlowShadow is a record of what that limit would have done.
func byFlowShadow(limit int, would string) func(*auditRecord) bool {
	return func(r *auditRecord) bool {
		return *r.Authorized && r.Reason == "rate_limited" && r.MatchedRule == fmt.Sprintf("flow_limits[%d]", limit) &&
			strings.HasSuffix(r.Detail, ": would "+would) && r.Principal == webID && r.Answer.Status == 0 && *r.Answer.RetryAfterMS > 0
	}
}

func (g *gateway) eventsOf(t *testing.T, path, event string) float64 {
	t.Helper()
	return g.metric(t, fmt.Sprintf(`tollgate_flow_limit_events_total{route=%q,limit="flow_limits[0]",event=%q}`, path, event))
}

// A minute would go by for each message more than the burst, or the call would end.
func TestShadowOfAFlowLimitLetsMessagesPass(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"requests", "responses"} {
		for onExcess, row := range map[string]struct {
			would  string
			events float64
		}{
			"pause":  {"pause", 10},
			"reject": {"refuse", 1}, // the call would have ended there
		} {
			t.Run(direction+" "+onExcess, func(t *testing.T) {
				t.Parallel()
				g, _, conn := flowing(t, "{messages: 1/m, burst: 5, shadow: true, direction: "+direction+", on_excess: "+onExcess+"}")
				stream := openStream(t, within(t, patience), conn, chat)
				sayAndHear(t, stream, 15)
				_ = stream.CloseSend()
				if _, err := stream.Receive(); err != io.EOF {
					t.Error(err)
				}
				g.wantShadows(t, 1, func(r *auditRecord) bool {
					return byFlowShadow(0, row.would)(r) && r.RPCMethod == chat && strings.HasPrefix(r.Detail, "1/m messages burst 5 of "+direction)
				})
				if n := g.flowEvents(t, 0, "would_"+row.would); n != row.events {
					t.Errorf("%v events are counted, want %v", n, row.events)
				}
				if paused, refused := g.flowEvents(t, 0, "paused"), g.flowEvents(t, 0, "refused"); paused != 0 || refused != 0 {
					t.Errorf("%v messages were paused and %v refused", paused, refused)
				}
				g.countAudit(t, 0, because("rate_limited"))
			})
		}
	}
}

// Each call is told of once, however much of it is over.
func TestShadowOfAFlowLimitTellsOfEachCallOnce(t *testing.T) {
	t.Parallel()
	g, _, conn := flowing(t, "{messages: 1/m, burst: 5, shadow: true}")
	for range 3 {
		stream := openStream(t, within(t, patience), conn, chat)
		sayAndHear(t, stream, 4)
	}
	g.wantShadows(t, 2, byFlowShadow(0, "pause"))
	if n := g.flowEvents(t, 0, "would_pause"); n != 7 {
		t.Errorf("%v pauses are counted, want 7", n)
	}
}

func TestShadowOfAFlowLimitLetsBodiesPass(t *testing.T) {
	t.Parallel()
	const limit = "bytes: 1KiB/m, burst: 20KiB, shadow: true"
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, d := limitedBytes(t, up, setup{}, map[string]string{
			"/in": "{" + limit + "}", "/ends": "{" + limit + ", on_excess: reject}", "/out": "{" + limit + ", direction: responses}"})
		c := g.client(t, down, common().web)
		d.content = pattern(100_000)
		for _, path := range []string{"/in", "/ends"} {
			m := d.expect(path, newMeter(1<<30, 1<<30))
			wantStatus(t, c.do(uploads(path, d.content, true)), http.StatusOK)
			m.wantMet(t, path, d.content)
		}
		if got := c.get("/out"); got.status != http.StatusOK || got.body != string(d.content) {
			t.Errorf("%d, %d bytes, %v", got.status, len(got.body), got.err)
		}
		seen := map[string]int{}
		g.wantShadows(t, 3, func(r *auditRecord) bool {
			seen[r.Request.Path]++
			return byFlowShadow(0, map[bool]string{true: "refuse", false: "pause"}[r.Request.Path == "/ends"])(r)
		})
		if len(seen) != 3 {
			t.Errorf("recorded is %v", seen)
		}
		// As they come, and not by the byte in which they would be paid for.
		if in, out := g.eventsOf(t, "/in", "would_pause"), g.eventsOf(t, "/out", "would_pause"); in < 1 || in > 1000 || out < 1 || out > 1000 {
			t.Errorf("%v and %v pauses are counted", in, out)
		}
		if n := g.eventsOf(t, "/ends", "would_refuse"); n != 1 {
			t.Errorf("%v refusals are counted, want 1", n)
		}
	})
}

func TestShadowOfAFlowLimitLetsTunnelsPass(t *testing.T) {
	t.Parallel()
	const size = 60 << 10
	for _, direction := range []string{"requests", "responses"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			g := tunnelled(t, "{bytes: 1KiB/m, burst: 8KiB, shadow: true, direction: "+direction+"}", func(p *backend.Peer) {
				_, _ = io.Copy(p, io.LimitReader(p.Reader, size))
			})
			w := g.tunnel(t, "/")
			go w.say(string(pattern(size)))
			got := make([]byte, size)
			if n, err := io.ReadFull(w.reader, got); err != nil || !bytes.Equal(got, pattern(size)) {
				t.Errorf("%d bytes, %v", n, err)
			}
			g.wantShadows(t, 1, byFlowShadow(0, "pause"))
			if n := g.eventsOf(t, "/*", "would_pause"); n < 1 {
				t.Errorf("%v pauses are counted", n)
			}
		})
	}
}

// What was over took nothing, so the limit begins with what the rest has left.
func TestShadowOfAFlowLimitThatEndsRefusesAtOnce(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, _ := limitedBytes(t, up, setup{}, map[string]string{"/in": "{bytes: 1/h, burst: 20KiB, shadow: true, on_excess: reject}"})
		c := g.client(t, down, common().web)
		for _, size := range []int{18 << 10, 4 << 10, 1 << 10} {
			wantStatus(t, c.do(uploads("/in", pattern(size), true)), http.StatusOK)
		}
		g.wantShadows(t, 2, byFlowShadow(0, "refuse"))
		g.rewrite(t, "shadow: true, ", "")
		g.reload(t)
		c = g.client(t, down, common().web)
		wantStatus(t, c.do(uploads("/in", pattern(64), true)), http.StatusTooManyRequests)
		g.countAudit(t, 1, byFlowLimit(0))
		if would, refused := g.eventsOf(t, "/in", "would_refuse"), g.eventsOf(t, "/in", "refused"); would != 2 || refused != 1 {
			t.Errorf("%v would have been refused and %v were, want 2 and 1", would, refused)
		}
	})
}

func TestShadowOfAFlowLimitStandsBesideOneInForce(t *testing.T) {
	t.Parallel()
	g, _, conn := flowing(t, "{messages: 1/h, burst: 4, on_excess: reject}, {messages: 1/h, burst: 2, on_excess: reject, shadow: true}")
	stream := openStream(t, within(t, patience), conn, chat)
	sayAndHear(t, stream, 4)
	send(t, stream, "one too many")
	_, err := stream.Receive()
	wantExhausted(t, err)
	g.countAudit(t, 1, byFlowLimit(0))
	g.wantShadows(t, 1, byFlowShadow(1, "refuse"))
	// Whoever is refused casts none.
	wantExhausted(t, invoke(t, conn, login))
	g.countAudit(t, 2, byFlowLimit(0))
	g.wantShadows(t, 1, byFlowShadow(1, "refuse"))
}

// A pause in force, and a trial that would keep nothing back for longer.
func TestShadowOfAFlowLimitDoesNotHurryPauses(t *testing.T) {
	t.Parallel()
	g, _, _ := measured(t, setup{}, "flow_limits: [{messages: 20/s, burst: 2}, {messages: 1/h, burst: 5, on_excess: reject, shadow: true}]")
	stream := openStream(t, within(t, patience), g.rpc(t, common().web), chat)
	// All at once: who says one when he has heard the last may be as slow as the limit.
	for range 8 {
		send(t, stream, "a message")
	}
	for range 8 {
		_ = must(stream.Receive())
	}
	if paused := g.flowEvents(t, 0, "paused"); paused < 3 {
		t.Errorf("%v pauses are counted", paused)
	}
	g.wantShadows(t, 1, byFlowShadow(1, "refuse"))
}
