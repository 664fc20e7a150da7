package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Sockets that systemd has opened, handed over by its own tool (sd_listen_fds(3)).

// activated starts the gateway by systemd-socket-activate, which holds the sockets and runs the program at the first
// connection. Each socket is an address, or NAME=ADDRESS.
func activated(t *testing.T, s setup, sockets ...string) *gateway {
	t.Helper()
	if _, err := exec.LookPath("systemd-socket-activate"); err != nil {
		t.Fatal("systemd-socket-activate is missing: install systemd")
	}
	s.under = []string{"systemd-socket-activate"}
	var names []string
	for _, socket := range sockets {
		name, address, named := strings.Cut(socket, "=")
		if !named {
			name, address = "unknown", socket
		}
		names = append(names, name)
		s.under = append(s.under, "--listen="+address)
	}
	s.under = append(s.under, "--fdname="+strings.Join(names, ":"))
	g := &gateway{t: t, setup: s, dir: t.TempDir(), address: freeAddress(t), admin: freeAddress(t)}
	for i := range g.setup.under {
		g.setup.under[i] = strings.NewReplacer("LISTENER", g.address, "ADMIN", g.admin).Replace(g.setup.under[i])
	}
	g.config = g.setup.write(t, g.dir, g.address, g.admin)
	g.run()
	t.Cleanup(g.kill)
	return g
}

func TestSocketsOfSystemdAreTakenByTheirAddress(t *testing.T) {
	t.Parallel()
	g := activated(t, setup{workers: 2, routes: []string{marked("path: /*", "ok")}}, "LISTENER", "ADMIN")
	var got reply
	waitFor(t, "systemd's socket to listen", patience, func() bool {
		conn, err := g.tryTLS(g.trusting(common().web, "http/1.1"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	for range 20 { // both workers take from the one socket
		got = g.once(t, g.trusting(common().web, "http/1.1"))
		wantStatus(t, got, http.StatusOK)
	}
	if !g.becomesReady() {
		t.Errorf("the admin listener does not answer:\n%s", g.stderr)
	}
	g.endsWell()
	if strings.Contains(g.stderr.String(), "belongs to no listener") {
		t.Errorf("a socket was not taken:\n%s", g.stderr)
	}
}

func TestSocketsOfSystemdAreTakenByTheirName(t *testing.T) {
	t.Parallel()
	elsewhere, stray := freeAddress(t), freeAddress(t)
	g := activated(t, setup{routes: []string{marked("path: /*", "ok")}}, "edge="+elsewhere, "stray="+stray)
	own := g.address
	g.address = elsewhere // not what the configuration says, but what the unit's name says
	waitFor(t, "the gateway to be activated", patience, func() bool {
		conn, err := g.tryTLS(g.trusting(common().web, "http/1.1"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
	waitFor(t, "the stray socket to be told", 5*time.Second, func() bool {
		return strings.Contains(g.stderr.String(), `belongs to no listener, closed" name="stray"`)
	})
	if !strings.Contains(g.stderr.String(), `listens elsewhere than configured" name="edge" configured=`+own) {
		t.Errorf("not told:\n%s", g.stderr)
	}
	// A successor would not find it: the upgrade is refused, and whoever calls there is served on.
	g.signal(syscall.SIGUSR2)
	waitFor(t, "the upgrade to be refused", patience, func() bool { return strings.Contains(g.stderr.String(), `msg="upgrade refused"`) })
	wantStatus(t, g.once(t, g.trusting(common().web, "http/1.1")), http.StatusOK)
	g.address = own
	if conn, err := g.tryTLS(g.trusting(common().web)); err == nil {
		_ = conn.Close()
		t.Error("it listens on the configured address too")
	}
	g.signal(syscall.SIGTERM)
	if code := g.exitCode(10 * time.Second); code != 0 {
		t.Errorf("exit code %d:\n%s", code, fmt.Sprint(g.stderr))
	}
}
