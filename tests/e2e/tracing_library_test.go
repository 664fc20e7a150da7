package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The library that sends spans is loaded where the configuration says `tracing`, and nowhere else.

const tracingLibrary = "libcurl.so.4"

// tracingTo turns spans on, in a configuration that has none.
func (g *gateway) tracingTo(t *testing.T, address string) {
	t.Helper()
	g.rewrite(t, "workers: 2\n", fmt.Sprintf("workers: 2\ntracing: {endpoint: \"http://%s/v1/traces\"}\n", address))
}

// hasMapped tells whether a file of that name, or of a newer one behind it, is in the memory of the process.
func hasMapped(process int, name string) bool {
	return bytes.Contains(must(os.ReadFile(fmt.Sprintf("/proc/%d/maps", process))), []byte("/"+name))
}

func TestLibraryOfTracingIsLoadedWhereItIsWanted(t *testing.T) {
	t.Parallel()
	var exports counter
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && r.URL.Path == "/v1/traces" && strings.HasPrefix(r.UserAgent(), "tollgate/") {
			exports.add(1)
		}
	}))
	t.Cleanup(collector.Close)
	g := replaceable(t, setup{routes: []string{marked("path: /*", "ok")}})
	first := g.command.Process.Pid
	if hasMapped(first, tracingLibrary) || !hasMapped(first, "libcrypto.so.3") {
		t.Error("a gateway without tracing has loaded its library")
	}
	g.tracingTo(t, collector.Listener.Addr().String())
	g.provoked = []string{"reload refused, the old configuration stays", "problem in the configuration"}
	if status, text := g.post(t, "/reload"); status != http.StatusConflict || !strings.Contains(text, "tracing, between on and off, changed, which needs a restart or an upgrade") {
		t.Errorf("POST /reload: %d %s", status, text)
	}
	if hasMapped(first, tracingLibrary) {
		t.Error("a reload that is refused has loaded the library")
	}
	second := g.upgrade(t, first)
	if !hasMapped(second, tracingLibrary) {
		t.Error("a gateway with tracing has not loaded its library")
	}
	if closed := strings.Count(g.allSaid(), "sandbox: system calls closed"); closed != 2 && !instrumented() {
		t.Errorf("%d of two gateways have closed their sandbox", closed)
	}
	wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
	waitFor(t, "the span", patience, func() bool { return g.metric(t, `tollgate_trace_spans_total{result="exported"}`) == 1 })
	if exports.get() != 1 {
		t.Errorf("the collector was asked %d times", exports.get())
	}
}

// An older libcurl than any that would do: the functions are there.
const olderLibrary = `
#include "gateway/libcurl.h"
static const curl_version_info_data older = {.version = "7.86.0", .version_num = 0x075600};
#define STUB(name) \
	const void *stub_##name(void) __asm__("curl_" #name); \
	const void *stub_##name(void) { return &older; }
LIBCURL_FUNCTIONS(STUB)
`

// What may stand in front of the system's library.
var shadowed = []struct {
	name string
	make func(t *testing.T, path string)
	says string
}{
	{"an empty file", func(t *testing.T, path string) {
		writeFile(t, filepath.Dir(path), filepath.Base(path), nil)
	}, "file too short"},
	{"another library", func(t *testing.T, path string) {
		wantGood(t, "cc", "-shared", "-o", path, "-x", "c", "/dev/null")
	}, "undefined symbol: curl_global_init"},
	{"an older one", func(t *testing.T, path string) {
		source := filepath.Join(t.TempDir(), "older.c")
		writeFile(t, filepath.Dir(source), filepath.Base(source), []byte(olderLibrary))
		wantGood(t, "cc", "-shared", "-fPIC", "-I", "../..", "-o", path, source)
	}, "libcurl.so.4: its version is 7.86.0, 7.87.0 is needed"},
}

func wantGood(t *testing.T, words ...string) {
	t.Helper()
	if output, code := command(t, words[0], words[1:]...); code != 0 {
		t.Fatalf("%s: exit %d: %s", words[0], code, output)
	}
}

func TestTracingWithoutItsLibraryIsAProblemOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, row := range shadowed {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), tracingLibrary)
			row.make(t, path)
			env := "LD_LIBRARY_PATH=" + filepath.Dir(path)
			g := start(t, setup{env: []string{env}, routes: []string{marked("path: /*", "old")}})
			g.tracingTo(t, "127.0.0.1:4318")
			before, _, _ := strings.Cut(string(must(os.ReadFile(g.config))), "tracing:")
			want := fmt.Sprintf("%s:%d:10: tracing: cannot be had without libcurl, which does not load: ", g.config, 1+strings.Count(before, "\n"))
			for _, verb := range []string{"check", "run"} {
				output, code := command(t, "env", env, binary(), verb, "--config", g.config)
				if code != 2 || !strings.Contains(output, want) || !strings.Contains(output, row.says) {
					t.Errorf("%s: exit %d: %s, want %q and %q", verb, code, output, want, row.says)
				}
			}
			g.signal(syscall.SIGUSR2)
			waitFor(t, "the upgrade to fail", 10*time.Second, func() bool { return g.said("upgrade failed, this gateway goes on") })
			g.wantSaid(want)
			if got := g.once(t, g.trusting(common().web, "http/1.1")); got.body != "old" {
				t.Errorf("got %+v", got)
			}
		})
	}
}
