package cost

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tollgate/tests/harness"
)

const (
	flight = 64
	brief  = 10 * flight
	long   = 50 * flight
)

// asked runs a gateway under strace for so many requests, and counts its system calls by name. strace is the
// grandchild (-D): signals and the exit status are the gateway's, and its output ends when strace ends.
func asked(t *testing.T, count, clients int, one load) map[string]int {
	t.Helper()
	out := filepath.Join(t.TempDir(), "strace.out")
	run(t, one, []string{"strace", "-D", "-f", "-q", "-c", "-U", "calls,name", "-o", out}, clients, count)
	found := map[string]int{}
	for line := range strings.Lines(string(harness.Must(os.ReadFile(out)))) {
		words := strings.Fields(line)
		if len(words) != 2 || words[1] == "total" {
			continue
		}
		if calls, err := strconv.Atoi(words[0]); err == nil {
			found[words[1]] += calls
		}
	}
	if found["epoll_wait"]+found["epoll_pwait"] == 0 {
		t.Fatalf("nothing counted in %s: %v", out, found)
	}
	return found
}
