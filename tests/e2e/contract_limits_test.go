package e2e

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"tollgate/tests/backend"
)

// Token buckets as callers meet them (CONTRACT, section 2; BEHAVIOUR, section 7).

func TestBurstIsExactOverAllProtocolsAtOnce(t *testing.T) {
	t.Parallel()
	back := httpBackend(t)
	g := start(t, setup{workers: 4, backends: []string{http1("web", back.Address)},
		routes: []string{route("path: /*", "backend: web, rate_limits: [{rate: 1/h, burst: 37, per: [identity]}]")}})
	var group sync.WaitGroup
	var passed, refused counter
	for i := range 16 {
		c := g.client(t, []string{"h1", "h2"}[i%2], common().root.svid(webID))
		for range 4 {
			group.Go(func() {
				for range 3 {
					got := c.do(request([]string{"GET", "POST", "PUT"}[i%3], "/x/"+strconv.Itoa(i), ""))
					switch got.status {
					case 200:
						passed.add(1)
					case 429:
						refused.add(1)
					}
				}
			})
		}
	}
	group.Wait()
	if passed.get() != 37 || refused.get() != 16*4*3-37 || back.Journal.Count("") != 37 {
		t.Errorf("%d pass, %d are refused, %d reach the backend", passed.get(), refused.get(), back.Journal.Count(""))
	}
	g.countAudit(t, refused.get(), because("rate_limited"))
}

func TestRefillIsContinuousAndWaitsAreNeverTooShort(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 10/s, burst: 2}")
	conn := g.rpc(t, common().web)
	since := time.Now()
	var granted []time.Duration
	for time.Since(since) < 1200*time.Millisecond {
		var trailer metadata.MD
		_, err := backend.Invoke(within(t, patience), conn, login, nil, grpc.Trailer(&trailer))
		if err == nil {
			granted = append(granted, time.Since(since))
			continue
		}
		wait := must(strconv.Atoi(trailer.Get("grpc-retry-pushback-ms")[0]))
		if wait < 1 || wait > 101 {
			t.Errorf("pushback %d ms at 10/s", wait)
		}
		<-time.After(time.Duration(wait) * time.Millisecond)
		if _, err := backend.Invoke(within(t, patience), conn, login, nil); err != nil {
			t.Fatalf("after %d ms: %v", wait, err)
		}
		granted = append(granted, time.Since(since))
	}
	total := time.Since(since)
	if most := 2 + int(total/(100*time.Millisecond)) + 1; len(granted) > most {
		t.Errorf("%d granted in %v", len(granted), total)
	}
	records := g.refusals(t, because("rate_limited"))
	for _, record := range records {
		if record.Answer.RetryAfterMS == nil || *record.Answer.RetryAfterMS < 1 || *record.Answer.RetryAfterMS > 101 {
			t.Errorf("%s", record.line)
		}
	}
}

func TestRetryAfterIsTheTrueWaitRoundedUp(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string][2]int{"rate: 1/m, burst: 1": {59, 60}, "rate: 1/h, burst: 3": {3598, 3600}, "rate: 4/s, burst: 1": {1, 1},
		"rate: 7/m, burst: 2": {8, 9}, "rate: 1/s, burst: 1": {1, 1}, "rate: 100/s, burst: 1": {1, 1}} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			g, _ := limitedWeb(t, "{"+limit+"}")
			c := g.client(t, "h2", common().web)
			var got reply
			for range 200 {
				if got = c.get("/limited/x"); got.status == 429 {
					break
				}
			}
			wantRefusal(t, got, 429, "rate_limited")
			after, err := strconv.Atoi(got.header.Get("Retry-After"))
			if err != nil || after < want[0]-3 && want[0] > 5 || after < 1 || after > want[1] {
				t.Errorf("Retry-After %q, want %v", got.header.Get("Retry-After"), want)
			}
			record := g.waitForAudit(t, "refusal", because("rate_limited"))
			if ms := *record.Answer.RetryAfterMS; ms > after*1000 || ms < 1 {
				t.Errorf("Retry-After %d, but %d ms on record", after, ms)
			}
			if strings.Contains(got.body, "burst") || strings.Contains(got.body, "cluster.local") {
				t.Errorf("the answer describes the policy: %s", got.body)
			}
		})
	}
}

func TestNothingButTheIdentityMakesAnotherBucket(t *testing.T) {
	t.Parallel()
	g, back := limitedWeb(t, "{rate: 1/h, burst: 1, per: [identity]}")
	wantStatus(t, g.client(t, "h1", common().web).get("/limited/x"), 200)
	for name, r := range map[string]*http.Request{
		"another header":       request("GET", "/limited/x", "", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/b"),
		"another method":       request("DELETE", "/limited/x", ""),
		"another path":         request("GET", "/limited/y/z", ""),
		"a query":              request("GET", "/limited/x?user=other", ""),
		"an authorization":     request("GET", "/limited/x", "", "Authorization", "Basic b3RoZXI6"),
		"a cookie":             request("GET", "/limited/x", "", "Cookie", "session=other"),
		"a parameter":          request("GET", "/limited/x;a=b", ""),
		"an escape":            request("GET", "/%6c%69mited/x", ""),
		"two slashes":          request("GET", "//limited//x", ""),
		"a body":               request("POST", "/limited/x", strings.Repeat("b", 200000)),
		"a request id":         request("GET", "/limited/x", "", "X-Request-Id", "other"),
		"an override":          request("POST", "/limited/x", "", "X-HTTP-Method-Override", "PUT"),
		"an original URL":      request("GET", "/limited/x", "", "X-Original-URL", "/free", "X-Rewrite-URL", "/free"),
		"a gRPC content type":  request("POST", "/limited/x", "", "Content-Type", "application/grpc"),
		"an upgrade":           request("GET", "/limited/x", "", "Upgrade", "websocket", "Connection", "Upgrade"),
		"dots":                 request("GET", "/free/../limited/x", ""),
		"another host's spelt": func() *http.Request { r := request("GET", "/limited/x", ""); r.Host = "GATEWAY.test:8443"; return r }(),
	} {
		for _, protocol := range []string{"h1", "h2"} {
			if protocol == "h2" && name == "an upgrade" {
				continue
			}
			got := g.client(t, protocol, common().root.svid(webID, commonName(name))).do(r.Clone(t.Context()))
			if got.status != 429 && got.status != 400 && got.header.Get("Grpc-Status") != "8" {
				t.Errorf("%s over %s: status %d, %v", name, protocol, got.status, got.err)
			}
		}
	}
	if n := back.Journal.Count(""); n != 1 {
		t.Errorf("%d requests reached the backend", n)
	}
	config := g.trusting(common().web, "http/1.1")
	config.ServerName, config.InsecureSkipVerify = "other.test", true
	if got := g.once(t, config); got.status != 200 { // another SNI, and the free route
		t.Errorf("status %d", got.status)
	}
}

func TestConnectionIsUsableAfter429WithABody(t *testing.T) {
	t.Parallel()
	g, back := limitedWeb(t, "{rate: 1/h, burst: 1}")
	wantStatus(t, g.client(t, "h1", common().web).get("/limited/x"), 200)
	w := g.wire(t, common().web)
	smuggled := "GET /free/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
	w.say("POST /limited/x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled)
	got := w.hear("POST")
	wantRefusal(t, got, 429, "rate_limited")
	if !got.closes {
		w.say("GET /free/genuine HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
		wantStatus(t, w.hear("GET"), 200)
	}
	_, _ = io.ReadAll(w.reader)
	if back.Journal.Count("GET /free/smuggled") != 0 {
		t.Error("the body of a refused request was read as a request")
	}
}

func TestChangedNumbersKeepTheFill(t *testing.T) {
	t.Parallel()
	g, _ := limited(t, "{rate: 1/h, burst: 10, per: [identity]}")
	conn := g.rpc(t, common().web)
	wantPasses(t, "before", passes(t, conn, 6, login), 6)
	text := g.setup.yaml(g.address, g.admin)
	writeFile(t, g.dir, "tollgate.yaml", []byte(strings.Replace(text, "burst: 10", "burst: 8", 1)))
	g.reload(t)
	waitFor(t, "the new burst to be in force", patience, func() bool {
		_, limits := g.adminGet("/limits")
		return strings.Contains(limits, `"burst":8`)
	})
	got := passes(t, conn, 12, login)
	if got < 2 || got > 4 {
		t.Errorf("%d pass of a bucket of 8 from which 6 were taken when it held 10", got)
	}
}
