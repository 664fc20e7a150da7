package e2e

import (
	"strconv"
	"testing"
	"time"
)

// A sidecar mostly waits, and there are thousands of them: what wakes each for nothing adds up. Twenty times a second
// would be forty here; the clock that looks after files and certificates ticks once a second, and the look at memory.
func TestAnIdleGatewaySleeps(t *testing.T) {
	t.Parallel()
	g := start(t, setup{routes: []string{marked("path: /*", "here")}})
	wantStatus(t, g.client(t, "h1", common().web).get("/"), 200)
	woken := func() (sum int) {
		for _, thread := range g.threads(t) {
			sum += must(strconv.Atoi(thread["voluntary_ctxt_switches"]))
		}
		return sum
	}
	most := 15
	if instrumented() { // whose run-time may have a thread of its own
		most = 60
	}
	before := woken()
	<-time.After(2 * time.Second) // what is measured
	if times := woken() - before; times > most {
		t.Errorf("it woke %d times in two seconds", times)
	}
}
