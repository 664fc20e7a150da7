package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Names that have no address when the configuration is loaded, and what may be said of name servers.

func TestANameWithoutAddressIsAProblemOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"SERVFAIL", "REFUSED", "NXDOMAIN", "no address", "silence", "another id", "an alias alone", "0.0.0.0",
		"truncated, and silence over TCP", "truncated, and SERVFAIL over TCP"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names := startNameServer(t)
			names.set(usersName, records{play: badAnswers[what]})
			wantUnresolved(t, names.asks(""))
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		names := startNameServer(t)
		names.stop()
		wantUnresolved(t, names.asks(""))
	})
	// Each of them is given three seconds, and all together five.
	t.Run("silence all around", func(t *testing.T) {
		t.Parallel()
		var mute []string
		for range 3 {
			names := startNameServer(t)
			names.set(usersName, records{play: saysNothing})
			mute = append(mute, names.address)
		}
		wantUnresolved(t, "dns: {servers: ["+quoted(mute)+"]}")
	})
}

// wantUnresolved fails the test unless `check` says so within the deadline and a little.
func wantUnresolved(t *testing.T, dns string) {
	t.Helper()
	s := setup{top: []string{dns}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", "127.0.0.1:1", usersName+":2")}}
	config := s.write(t, t.TempDir(), freeAddress(t), freeAddress(t))
	began := time.Now()
	output, code := tollgate(t, "check", "--config", config)
	if want := "backends[0].endpoints[1]: found '" + usersName + ":2', whose name cannot be resolved ("; code != 2 || !strings.Contains(output, want) {
		t.Errorf("exit %d: %s", code, output)
	}
	if took := time.Since(began); took > slow(6500*time.Millisecond) {
		t.Errorf("it took %v", took)
	}
}

// It takes three seconds, and whoever loads the file does nothing else meanwhile: a reload answers no health check.
func TestOneSilenceOfDNSIsWaitedFor(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	var silent []string
	for i := range 8 {
		silent = append(silent, fmt.Sprintf("silent%d.test:1", i))
		names.set(fmt.Sprintf("silent%d.test", i), records{play: saysNothing})
	}
	s := setup{top: []string{names.asks("")}, routes: []string{route("path: /*", "backend: web")},
		backends: []string{http1("web", append(silent, "no port")...)}}
	began := time.Now()
	output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
	if took := time.Since(began); took > slow(6500*time.Millisecond) {
		t.Errorf("it took %v", took)
	}
	for _, want := range []string{"endpoints[0]: found 'silent0.test:1', whose name cannot be resolved", "endpoints[8]: found 'no port'"} {
		if code != 2 || !strings.Contains(output, want) {
			t.Errorf("exit %d, want %s: %s", code, want, output)
		}
	}
}

// For where the names of a cluster are not known, and for a reload while DNS is away.
func TestCheckOfflineAsksNobodyForNames(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.silences(usersName, "redis.test")
	s := setup{files: theMesh().files(), top: []string{names.asks(""), "redis: {address: 'redis.test:6379'}"}, routes: []string{
		route("path: /x", "backend: web, rate_limits: [{rate: 1/s, burst: 1, store: redis}]"), route("path: /*", "backend: service")},
		backends: []string{http1("web", usersName+":1", "absent.test:2", "127.0.0.1:1"), secured("service", "h2", "server_name: users.test", webService)}}
	path := s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2")
	began := time.Now()
	for _, words := range [][]string{{"--config", path, "--offline"}, {"--offline", "--config=" + path}} {
		if output, code := tollgate(t, append([]string{"check"}, words...)...); code != 0 || !strings.Contains(output, "the configuration is good") {
			t.Errorf("exit %d: %s", code, output)
		}
	}
	if asked := len(names.asked(usersName)) + len(names.asked("redis.test")) + len(names.asked("absent.test")); asked != 0 || time.Since(began) > slow(2*time.Second) {
		t.Errorf("%d questions in %v", asked, time.Since(began))
	}
	s.backends = []string{http1("web", usersName+":1", "no port"), http1("service", webService), "{name: web, nonsense: 1}"}
	output, code := tollgate(t, "check", "--offline", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
	for _, want := range []string{"endpoints[1]: found 'no port'", "nonsense: "} {
		if code != 2 || !strings.Contains(output, want) || strings.Contains(output, "resolved") {
			t.Errorf("exit %d, want %s: %s", code, want, output)
		}
	}
	if output, code := tollgate(t, "check", "--offline", "--offline", "--config", path); code != 2 || !strings.Contains(output, "--offline is given twice") {
		t.Errorf("exit %d: %s", code, output)
	}
}

// One problem does not hide another, nor have the others wait.
func TestEveryNameWithoutAddressIsTold(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.point(usersName, "127.0.0.2")
	names.set("failing.test", records{play: errs(dnsmessage.RCodeServerFailure)})
	s := setup{top: []string{names.asks("")}, routes: []string{route("path: /one", "backend: one"), route("path: /*", "backend: two")},
		backends: []string{http1("one", "absent.test:1", usersName+":2"), http1("two", "failing.test:1", "no_such.test:1")}}
	output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
	for _, want := range []string{"backends[0].endpoints[0]: found 'absent.test:1'", "backends[1].endpoints[0]: found 'failing.test:1'",
		"backends[1].endpoints[1]: found 'no_such.test:1'"} {
		if code != 2 || !strings.Contains(output, want) || strings.Contains(output, usersName) {
			t.Errorf("exit %d, want %s: %s", code, want, output)
		}
	}
}

func TestDNSIsChecked(t *testing.T) {
	t.Parallel()
	for block, want := range map[string]string{
		"min_ttl: 10s, max_ttl: 1s":                          "dns.max_ttl: leaves nothing: min_ttl is above max_ttl",
		"min_ttl: 10m":                                       "dns.min_ttl: leaves nothing: min_ttl is above max_ttl",
		"max_ttl: 1s":                                        "dns.max_ttl: leaves nothing: min_ttl is above max_ttl",
		"min_ttl: 99ms":                                      "dns.min_ttl: ",
		"min_ttl: 61m, max_ttl: 2h":                          "dns.min_ttl: ",
		"min_ttl: 1":                                         "dns.min_ttl: ",
		"max_ttl: soon":                                      "dns.max_ttl: ",
		"min_ttl: 100ms, max_ttl: 50ms":                      "dns.max_ttl: ",
		"ttl: 1s":                                            "dns.ttl: ",
		"servers: []":                                        "dns.servers: ",
		"servers: ''":                                        "dns.servers",
		"servers: ['unix:/run/dns.sock']":                    "dns.servers[0]: found 'unix:/run/dns.sock', expected the IP address",
		"servers: ['127.0.0.1:53', 'ns.test:53']":            "dns.servers[1]: found 'ns.test:53', expected the IP address",
		"servers: ['ns.test']":                               "dns.servers[0]: ",
		"servers: ['localhost:53']":                          "dns.servers[0]: ",
		"servers: ['127.0.0.1:0']":                           "dns.servers[0]: ",
		"servers: ['127.0.0.1:65536']":                       "dns.servers[0]: ",
		"servers: ['127.0.0.1:dns']":                         "dns.servers[0]: ",
		"servers: ['127.0.0.1:']":                            "dns.servers[0]: ",
		"servers: ['127.1:53']":                              "dns.servers[0]: ",
		"servers: ['::1:53:']":                               "dns.servers[0]: ",
		"servers: ['[::1']":                                  "dns.servers[0]: ",
		"servers: ['[127.0.0.1]:53']":                        "dns.servers[0]: ",
		"servers: ['udp://127.0.0.1:53']":                    "dns.servers[0]: ",
		"servers: ['']":                                      "dns.servers[0]: ",
		"servers: [53]":                                      "dns.servers[0]: ",
		"servers: [{address: 127.0.0.1}]":                    "dns.servers[0]: ",
		"servers: {address: 127.0.0.1}":                      "dns.servers: ",
		"servers: [" + strings.Repeat("10.0.0.1, ", 9) + "]": "dns.servers: ",
	} {
		output, code := checkDNS(t, "dns: {"+block+"}")
		if code != 2 || !strings.Contains(output, ": "+want) || strings.Count(output, "tollgate.yaml:") != 1 {
			t.Errorf("%s: exit %d: %s", block, code, output)
		}
	}
	for _, block := range []string{"{}", "{servers: ['127.0.0.1:5353']}", "{servers: ['[::1]:53', '10.0.0.10:53']}", "{min_ttl: 5m, max_ttl: 5m}",
		"{min_ttl: 100ms, max_ttl: 1h}", "{max_ttl: 1m}"} {
		if output, code := checkDNS(t, "dns: "+block); code != 0 {
			t.Errorf("%s: exit %d: %s", block, code, output)
		}
	}
}

func checkDNS(t *testing.T, line string) (output string, code int) {
	t.Helper()
	s := setup{top: []string{line}, routes: []string{marked("path: /*", "ok")}}
	return tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
}

// Who writes no name needs no name server.
func TestAddressesAreAskedOfNobody(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "::1")
	g := resolving(t, setup{}, names, "protocol: http1", web.endpoint("127.0.0.2"), fmt.Sprintf("[::1]:%d", web.port))
	g.awaitAnswers(t, "127.0.0.2", "::1")
	names.mutex.Lock()
	defer names.mutex.Unlock()
	if len(names.queries) != 0 {
		t.Errorf("asked: %v", names.queries)
	}
}
