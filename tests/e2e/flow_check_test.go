package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// What `check` says of flow limits.

func checkedFlow(t *testing.T, routes string) (output string, code int) {
	t.Helper()
	s := setup{routes: strings.Split(routes, "\n"), backends: []string{h2("users", "127.0.0.1:1")}}
	return tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
}

func TestCheckRefusesFlowLimitsThatCannotBe(t *testing.T) {
	t.Parallel()
	calls := func(limits string) string {
		return route(`grpc: "user.*/*"`, "backend: users, flow_limits: ["+limits+"]")
	}
	for name, row := range map[string]struct{ routes, key, hint string }{
		"messages of what need not be gRPC": {route("path: /*", "backend: users, flow_limits: [{messages: 1/s, burst: 1}]"), "routes[0].flow_limits[0].messages", "grpc"},
		"the second of them":                {route("path: /*", "backend: users, flow_limits: [{bytes: 1KiB/s, burst: 1KiB}, {messages: 1/s, burst: 1}]"), "routes[0].flow_limits[1].messages", "grpc"},
		"both":                              {calls("{messages: 1/s, bytes: 1KiB/s, burst: 1}"), "flow_limits[0].bytes", "messages"},
		"none":                              {calls("{burst: 1}"), "flow_limits[0]", "expected messages or bytes"},
		"beside respond":                    {route(`grpc: "user.*/*"`, "respond: {status: 200, body: x}, flow_limits: [{messages: 1/s, burst: 1}]"), "routes[0].flow_limits", "respond"},
		"beside redirect":                   {route("path: /*", `redirect: {status: 302, host: example.com}, flow_limits: [{bytes: 1KiB/s, burst: 1KiB}]`), "routes[0].flow_limits", "redirect"},
		"less than one a minute":            {calls("{messages: 59/h, burst: 1}"), "flow_limits[0].messages", "a minute"},
		"one a day":                         {calls("{messages: 1/d, burst: 1, on_excess: pause}"), "flow_limits[0].messages", ""},
		"bytes, less than one a minute":     {calls("{bytes: 59/h, burst: 1}"), "flow_limits[0].bytes", "a minute"},
		"the same twice":                    {calls("{messages: 1/s, burst: 1}, {messages: 1/s, burst: 1}"), "flow_limits[1]", "never fires"},
		"another that refuses first":        {calls("{messages: 1/s, burst: 1}, {messages: 2/s, burst: 1, per: [identity]}"), "flow_limits[1]", "never fires"},
		"the first that never fires":        {calls("{messages: 60/s, burst: 9}, {messages: 1/s, burst: 8}"), "flow_limits[0]", "never fires"},
		"a burst of nothing":                {calls("{messages: 1/s, burst: 0}"), "flow_limits[0].burst", ""},
		"no burst":                          {calls("{messages: 1/s}"), "flow_limits[0].burst", ""},
		"a burst of years":                  {calls("{messages: 1/h, burst: 1000000, on_excess: reject}"), "flow_limits[0]", "burst"},
		"another burst of years":            {calls("{bytes: 1/m, burst: 1024GiB, on_excess: reject}"), "flow_limits[0]", "burst"},
		"a rate of nothing":                 {calls("{messages: 0/s, burst: 1}"), "flow_limits[0].messages", ""},
		"a rate of no time":                 {calls("{messages: 5, burst: 1}"), "flow_limits[0].messages", ""},
		"a rate of bytes":                   {calls("{messages: 1KiB/s, burst: 1}"), "flow_limits[0].messages", ""},
		"another direction":                 {calls("{messages: 1/s, burst: 1, direction: both}"), "flow_limits[0].direction", "responses"},
		"another end":                       {calls("{messages: 1/s, burst: 1, on_excess: drop}"), "flow_limits[0].on_excess", "reject"},
		"per what there is not":             {calls("{messages: 1/s, burst: 1, per: [caller]}"), "flow_limits[0].per", ""},
		"keys of nobody":                    {calls("{messages: 1/s, burst: 1, max_keys: 5}"), "flow_limits[0].max_keys", ""},
		"too many":                          {calls(strings.Repeat("{messages: 1/s, burst: 1}, ", 9)), "flow_limits", "8"},
		"an override that is never used": {calls("{messages: 1/s, burst: 1, overrides: [{identity: 'spiffe://cluster.local/*', messages: 2/s, burst: 1}, {identity: " + batchID + ", messages: 3/s, burst: 1}]}"),
			"flow_limits[0].overrides[1]", "is never used"},
		"an override of bytes":                  {calls("{messages: 1/s, burst: 1, overrides: [{identity: " + batchID + ", bytes: 2/s, burst: 1}]}"), "flow_limits[0].overrides[0].bytes", "expected messages"},
		"a trial beside what lets no more pass": {calls("{messages: 1/s, burst: 1}, {messages: 2/s, burst: 1, shadow: true}"), "flow_limits[1]", "never fires"},
		"a word misspelt":                       {calls("{message: 1/s, burst: 1}"), "flow_limits[0].message", "messages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, code := checkedFlow(t, row.routes)
			want := regexp.MustCompile(`(?m)^\S+:\d+:\d+: \S*` + regexp.QuoteMeta(row.key) + `\S*: .*` + regexp.QuoteMeta(row.hint))
			if code != 2 || !want.MatchString(output) {
				t.Errorf("exit %d, said %q; want %s", code, output, want)
			}
		})
	}
}

func TestCheckTakesFlowLimitsThatCanBe(t *testing.T) {
	t.Parallel()
	for _, limits := range []string{
		"{messages: 1/m, burst: 1}", "{messages: 60/h, burst: 1}", "{messages: 1/h, burst: 1, on_excess: reject}",
		"{messages: 1/s, burst: 1}, {messages: 1/s, burst: 1, direction: responses}",
		"{messages: 1/s, burst: 5}, {messages: 2/s, burst: 1}",
		"{messages: 5/s, burst: 5}, {messages: 1/s, burst: 1, per: [identity], max_keys: 7}",
		"{messages: 1000000000/s, burst: 1000000000}", "{bytes: 1GiB/s, burst: 100GiB, direction: responses}",
	} {
		if output, code := checkedFlow(t, route(`grpc: "user.*/*"`, "backend: users, flow_limits: ["+limits+"]")); code != 0 {
			t.Errorf("%s: exit %d, said %q", limits, code, output)
		}
	}
}
