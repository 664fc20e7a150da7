package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// What may not pass and may not wait either: refused before the answer has begun, else broken off.

func byFlowLimit(n int) func(*auditRecord) bool {
	return func(r *auditRecord) bool {
		return r.Reason == "rate_limited" && r.MatchedRule == fmt.Sprintf("flow_limits[%d]", n)
	}
}

const rejecting = "{bytes: 1KiB/m, burst: 20KiB, on_excess: reject}"

// A byte of 1 KiB/m takes 59 ms, and no more than one is paid for at once.
func wantExcess(t *testing.T, got reply) {
	t.Helper()
	wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
	if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 || after > 2 {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("Content-Type %q", kind)
	}
}

func TestUploadsOverTheBurstAreRefused(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		for _, stated := range []bool{true, false} {
			for _, size := range []int{20<<10 + 100, 100_000, 3 << 20} {
				g, d := limitedBytes(t, up, setup{}, map[string]string{"/in": rejecting})
				c, m := g.client(t, down, common().web), d.expect("/in", newMeter(18, 20<<10))
				var got reply
				long := down == "h1" && size > 1<<20 // the connection is closed while the client is still sending
				if got = c.do(uploads("/in", pattern(size), stated)); got.err != nil && long {
					continue
				}
				wantExcess(t, got)
				m.wantMet(t, "what came through", nil)
				g.countAudit(t, 1, byFlowLimit(0))
				if n := g.metric(t, `tollgate_flow_limit_events_total{route="/in",limit="flow_limits[0]",event="refused"}`); n != 1 {
					t.Errorf("%v refusals are counted", n)
				}
				if long && !stated {
					c = g.client(t, down, common().web) // what no header told, the client may not have seen yet
				}
				wantStatus(t, c.do(uploads("/free", pattern(size), stated)), 200)
			}
		}
	})
}

func TestUploadsWithinTheBurstPassWhereOthersAreRefused(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, d := limitedBytes(t, up, setup{}, map[string]string{"/in": rejecting})
		c, m := g.client(t, down, common().web), d.expect("/in", newMeter(18, 20<<10))
		wantStatus(t, c.do(uploads("/in", pattern(20<<10), true)), 200)
		m.wantMet(t, "the burst", pattern(20<<10))
		wantExcess(t, c.do(uploads("/in", pattern(1<<10), true)))
		g.countAudit(t, 1, byFlowLimit(0))
		wantStatus(t, c.do(uploads("/in", nil, true)), 200) // nothing costs nothing
	})
}

// Over HTTP/1.1 the connection says whether it goes on, and holds to it.
func TestConnectionOfARefusedUploadGoesOnOrSaysThatItEnds(t *testing.T) {
	t.Parallel()
	for _, size := range []int{25_000, 60_000, 3 << 20} {
		g, _ := limitedBytes(t, "h1", setup{}, map[string]string{"/in": rejecting})
		w := g.wire(t, common().web)
		w.say(fmt.Sprintf("POST /in HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: %d\r\n\r\n%s", size, pattern(size)[:21000]))
		got := w.hear("POST")
		wantExcess(t, got)
		if got.closes {
			if !w.closed() {
				t.Error("stays open")
			}
			if size < 1<<20 {
				t.Errorf("closed for the rest of %d bytes", size)
			}
			continue
		}
		w.say(string(pattern(size)[21000:]) + "POST /free HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\nabc")
		if got = w.hear("POST"); got.body != "3" {
			t.Errorf("%d: the next request got %+v", size, got)
		}
	}
}

func TestHTTP2ConnectionOfARefusedUploadGoesOn(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h2", setup{}, map[string]string{"/in": rejecting})
	c := g.client(t, "h2", common().web)
	d := c.drips(uploads("/free", nil, false))
	_, _ = d.Write([]byte("before"))
	for range 20 {
		wantExcess(t, c.do(uploads("/in", pattern(50_000), false)))
	}
	_, _ = d.Write([]byte("behind"))
	_ = d.Close()
	if got := <-d.answer; got.body != "12" || c.connections() != 1 {
		t.Errorf("answered %+v, over %d connections", got, c.connections())
	}
}

func TestUploadThatWaitsForContinueIsRefused(t *testing.T) {
	t.Parallel()
	for _, down := range []string{"h1", "h2"} {
		g, _ := limitedBytes(t, "h1", setup{}, map[string]string{"/in": rejecting})
		r := uploads("/in", pattern(50_000), true)
		r.Header.Set("Expect", "100-continue")
		wantExcess(t, g.client(t, down, common().web).do(r))
		g.countAudit(t, 1, byFlowLimit(0))
	}
}

// It has begun: nothing may look whole that is not.
func TestAnswersOverTheBurstAreBrokenOff(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		for _, size := range []int{20<<10 + 1, 40_000, 1 << 20} {
			for _, query := range []string{"", "?stated"} {
				g, d := limitedBytes(t, up, setup{}, map[string]string{"/out": strings.Replace(rejecting, "{", "{direction: responses, ", 1)})
				d.content = pattern(size)
				c := g.client(t, down, common().web)
				got := c.get("/out" + query)
				if got.err == nil || got.status != 200 && got.status != 0 {
					t.Errorf("%d%s: status %d, %d bytes, %v", size, query, got.status, len(got.body), got.err)
				}
				if len(got.body) > 20<<10+18 {
					t.Errorf("%d%s: %d bytes came", size, query, len(got.body))
				}
				g.countAudit(t, 1, byFlowLimit(0))
				wantStatus(t, c.get("/none"), 200)
				g.awaitRequests(t, 0)
			}
		}
	})
}

// HTTP/1.0 knows the end of an answer only by that of the connection.
func TestAnswerBrokenOffLooksBrokenOverHTTP10(t *testing.T) {
	t.Parallel()
	g, d := limitedBytes(t, "h1", setup{}, map[string]string{"/out": strings.Replace(rejecting, "{", "{direction: responses, ", 1)})
	d.content = pattern(60_000)
	for range 3 {
		w := g.wire(t, common().web)
		w.say("GET /out HTTP/1.0\r\nHost: gateway.test\r\n\r\n")
		if got, err := io.ReadAll(w.reader); err == nil {
			t.Errorf("%d bytes look whole", len(got))
		}
	}
	g.countAudit(t, 3, byFlowLimit(0))
}

// The first to refuse is named, and what the others would have taken is left to them.
func TestTheLimitThatRefusesIsNamed(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h1", setup{}, map[string]string{
		"/in": "{bytes: 1KiB/m, burst: 60KiB, on_excess: reject}, {bytes: 512/m, burst: 20KiB, on_excess: reject, per: [identity]}"})
	c := g.client(t, "h2", common().web)
	got := c.do(uploads("/in", pattern(30_000), true))
	wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
	record := g.waitForAudit(t, "the refusal", because("rate_limited"))
	if record.MatchedRule != "flow_limits[1]" || !strings.Contains(record.Detail, "512/m burst 20KiB of requests per identity") {
		t.Errorf("audited %q by %q", record.Detail, record.MatchedRule)
	}
	if record.Answer.Status != 429 || record.Answer.RetryAfterMS == nil || *record.Answer.RetryAfterMS < 100 || *record.Answer.RetryAfterMS > 300 {
		t.Errorf("audited answer %+v", record.Answer)
	}
}

// Who would wait for more than a minute does not.
func TestPausesOfMoreThanAMinuteAreRefusals(t *testing.T) {
	t.Parallel()
	g, _ := limitedBytes(t, "h1", setup{}, map[string]string{"/in": "{bytes: 1/m, burst: 10}"})
	first, second := g.wire(t, common().web), g.wire(t, common().web)
	const head = "POST /in HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 11\r\n\r\n"
	first.say(head + "0123456789a")
	waitFor(t, "a pause", patience, func() bool {
		return g.metric(t, `tollgate_flow_limit_events_total{route="/in",limit="flow_limits[0]",event="paused"}`) == 1
	})
	second.say(head + "0")
	got := second.hear("POST")
	wantRefusal(t, got, http.StatusTooManyRequests, "rate_limited")
	if after, _ := strconv.Atoi(got.header.Get("Retry-After")); after < 100 || after > 120 {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	g.countAudit(t, 1, byFlowLimit(0))
}

// An upload over the limit whose answer has begun is broken off, over HTTP/2 with a code of its own.
func TestUploadOverTheBurstInTheMiddleOfItsAnswerIsBrokenOff(t *testing.T) {
	t.Parallel()
	back := newTroupe(t, "h2", 1)
	back.play("/in", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	})
	g := start(t, setup{routes: []string{route("path: /*", "backend: web, flow_limits: ["+rejecting+"]")}, backends: []string{h2("web", back.addresses[0])}})
	framer := g.framed(t)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
		BlockFragment: block(":method", "POST", ":scheme", "https", ":authority", "gateway.test", ":path", "/in")})
	began, since := false, time.Now()
	for time.Since(since) < patience {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.DataFrame); ok && !began {
			began = true
			for range 3 {
				_ = framer.WriteData(1, false, pattern(10_000))
			}
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok {
			if reset.ErrCode != http2.ErrCodeEnhanceYourCalm || !began {
				t.Errorf("reset with %v", reset.ErrCode)
			}
			break
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) && frame.Header().Type == http2.FrameData {
			t.Fatal("the answer looks whole")
		}
	}
	g.countAudit(t, 1, byFlowLimit(0))
}
