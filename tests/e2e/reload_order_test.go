package e2e

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// What is asked behind a reload that was answered is served by the new configuration, though the worker has so much to do
// that it finds the question before it hears of the reload.
func TestReloadThatIsAnsweredIsInForce(t *testing.T) {
	t.Parallel()
	const rounds, callers, step = 25, 16, 20
	g := start(t, setup{workers: 1, routes: []string{marked("path: /x", "0")}})
	some := strings.Repeat("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n", step)
	var reloaded atomic.Int64
	var group sync.WaitGroup
	for range callers {
		w := g.wire(t, common().web)
		group.Go(func() {
			for known := int64(0); known < rounds; {
				known = reloaded.Load()
				if _, err := io.WriteString(w, some); err != nil {
					t.Error(err)
					return
				}
				for range step {
					got := w.hear("GET")
					if served, err := strconv.Atoi(got.body); err != nil || int64(served) < known {
						t.Errorf("behind reload %d configuration %q answered, %d %v", known, got.body, got.status, got.err)
						return
					}
				}
			}
		})
	}
	for round := range rounds {
		g.rewrite(t, fmt.Sprintf(`body: "%d"`, round), fmt.Sprintf(`body: "%d"`, round+1))
		g.reload(t)
		reloaded.Store(int64(round + 1))
	}
	group.Wait()
}
