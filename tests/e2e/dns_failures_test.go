package e2e

import (
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Lookups that fail take no address away, and answers of nobody that was asked bring none.

// badAnswers are no answers: each of them is a failure at once or in time, and the usurper is called by nobody.
var badAnswers = map[string]play{
	"SERVFAIL":          errs(dnsmessage.RCodeServerFailure),
	"REFUSED":           errs(dnsmessage.RCodeRefused),
	"NXDOMAIN":          errs(dnsmessage.RCodeNameError),
	"FORMERR":           errs(dnsmessage.RCodeFormatError),
	"no address":        errs(dnsmessage.RCodeSuccess),
	"silence":           saysNothing,
	"no DNS at all":     func(a *inquiry) { a.send([]byte("this is no answer, is it?")) },
	"another id":        lies(func(m *dnsmessage.Message) { m.ID++ }),
	"from another port": liesFromElsewhere,
	"the question itself": func(a *inquiry) {
		a.sayInstead(func(m *dnsmessage.Message) { m.Response, m.RecursionAvailable, m.Answers = false, false, nil })
	},
	"to another question": lies(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("other.test.") }),
	"of another type":     lies(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX }),
	"an alias alone": lies(func(m *dnsmessage.Message) {
		m.Answers[0].Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("other.test.")}
		m.Answers[0].Header.Type = dnsmessage.TypeCNAME
	}),
	"an alias of itself": lies(func(m *dnsmessage.Message) {
		m.Answers[0].Body = &dnsmessage.CNAMEResource{CNAME: m.Questions[0].Name}
		m.Answers[0].Header.Type = dnsmessage.TypeCNAME
	}),
	"an address of three bytes": lies(func(m *dnsmessage.Message) {
		m.Answers[0].Body = &dnsmessage.UnknownResource{Type: dnsmessage.TypeA, Data: []byte{127, 0, 0}}
	}),
	"an address of another class": lies(func(m *dnsmessage.Message) { m.Answers[0].Header.Class = dnsmessage.ClassCHAOS }),
	"an address somewhere else": lies(func(m *dnsmessage.Message) {
		m.Additionals, m.Answers = m.Answers, nil
	}),
	"0.0.0.0": lies(func(m *dnsmessage.Message) { m.Answers[0].Body = &dnsmessage.AResource{} }),
	"cut short": func(a *inquiry) {
		m := a.truth
		m.Answers = usurper(m.Questions[0].Name)
		raw := must(m.Pack())
		a.send(raw[:len(raw)-2])
	},
	"a name that points at itself": func(a *inquiry) {
		m := a.truth
		m.Answers = usurper(m.Questions[0].Name)
		raw := must(m.Pack())
		at := len(raw) - 16 // the owner, two bytes before ten more and the address
		raw[at], raw[at+1] = 0xc0, byte(at)
		a.send(raw)
	},
	"truncated, and a hang-up over TCP":  truncatedThen(func(a *inquiry) { a.send(nil) }),
	"truncated, and silence over TCP":    truncatedThen(saysNothing),
	"truncated, and garbage over TCP":    truncatedThen(func(a *inquiry) { a.send([]byte("this is no answer either")) }),
	"truncated, and SERVFAIL over TCP":   truncatedThen(errs(dnsmessage.RCodeServerFailure)),
	"truncated, and another id over TCP": truncatedThen(lies(func(m *dnsmessage.Message) { m.ID++ })),
}

// truncatedThen shows the usurper over UDP, under the mark that this is not all.
func truncatedThen(then play) play {
	truncated := lies(func(m *dnsmessage.Message) { m.Truncated = true })
	return func(a *inquiry) {
		if a.tcp {
			then(a)
		} else {
			truncated(a)
		}
	}
}

func TestNamesThatCannotBeResolvedKeepTheirAddresses(t *testing.T) {
	t.Parallel()
	for what, answer := range badAnswers {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", usurperHost)
			names.point(usersName, "127.0.0.2")
			g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
			g.awaitAnswers(t, "127.0.0.2")
			names.set(usersName, records{play: answer})
			g.awaitLookups(t, "failed", 1)
			names.await(t, usersName, 1)
			g.awaitAnswers(t, "127.0.0.2")
			warned := g.saying(t, "name cannot be resolved, its addresses stay")
			if len(warned) != 1 || warned[0]["level"] != "warn" || warned[0]["name"] != usersName || warned[0]["problem"] == "" {
				t.Errorf("the log warns %d times: %v", len(warned), warned)
			}
			if n := len(g.saying(t, "name is resolved again")); n != 0 || g.lookups(t, "changed") != 0 {
				t.Errorf("%d times resolved again, %d changes", n, g.lookups(t, "changed"))
			}
			names.point(usersName, "127.0.0.3")
			g.awaitAnswers(t, "127.0.0.3")
			again := g.eventually(t, "name is resolved again")
			if len(again) != 1 || again[0]["level"] != "info" || again[0]["name"] != usersName {
				t.Errorf("the log tells of the end %d times: %v", len(again), again)
			}
			if n := web.at[usurperHost].Wire.Accepted.Load(); n != 0 {
				t.Errorf("%d connections to the usurper", n)
			}
		})
	}
}

func TestEveryOutageOfANameIsToldOnce(t *testing.T) {
	t.Parallel()
	names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2")
	names.point(usersName, "127.0.0.2")
	names.point("api.test", "127.0.0.2")
	g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName), web.endpoint("api.test"))
	for round := range 3 {
		names.set(usersName, records{play: errs(dnsmessage.RCodeServerFailure)})
		g.awaitLookups(t, "failed", 3)
		names.set(usersName, records{play: errs(dnsmessage.RCodeNameError)})
		g.awaitLookups(t, "failed", 3)
		names.point(usersName, "127.0.0.2")
		waitFor(t, "the end to be told", patience, func() bool { return len(g.saying(t, "name is resolved again")) == round+1 })
		if warned := g.saying(t, "name cannot be resolved, its addresses stay"); len(warned) != round+1 || warned[round]["name"] != usersName {
			t.Errorf("after %d outages: %v", round+1, warned)
		}
	}
}

// RFC 5452: who guesses one thing has not guessed the others, and the true answer is still waited for.
func TestNamesAreNotTakenFromWhoWasNotAsked(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"another id", "from another port", "to another question", "of another type"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", usurperHost)
			forged := func(a *inquiry) {
				if !a.tcp {
					badAnswers[what](a)
				}
				tells(a)
			}
			names.set(usersName, records{addresses: []string{"127.0.0.2"}, play: forged})
			g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
			g.awaitAnswers(t, "127.0.0.2")
			names.set(usersName, records{addresses: []string{"127.0.0.3"}, play: forged})
			g.awaitAnswers(t, "127.0.0.3")
			g.awaitLookups(t, "unchanged", 3)
			if n := g.lookups(t, "failed"); n != 0 || web.at[usurperHost].Wire.Accepted.Load() != 0 {
				t.Errorf("%d lookups failed, %d connections to the usurper", n, web.at[usurperHost].Wire.Accepted.Load())
			}
		})
	}
}

// What stands beside a name's own addresses in an answer is not the name's.
func TestOnlyWhatANameHasIsTaken(t *testing.T) {
	t.Parallel()
	other, target := dnsmessage.MustNewName("other.test."), dnsmessage.MustNewName("target.test.")
	for what, change := range map[string]func(m *dnsmessage.Message){
		"another name's addresses": func(m *dnsmessage.Message) { m.Answers = append(usurper(other), m.Answers...) },
		"further sections": func(m *dnsmessage.Message) {
			m.Authorities, m.Additionals = usurper(m.Questions[0].Name), usurper(m.Questions[0].Name)
		},
		"another class": func(m *dnsmessage.Message) {
			m.Answers = append(m.Answers, usurper(m.Questions[0].Name)...)
			m.Answers[len(m.Answers)-1].Header.Class = dnsmessage.ClassCHAOS
		},
		"capitals": func(m *dnsmessage.Message) {
			for i := range m.Answers {
				m.Answers[i].Header.Name = dnsmessage.MustNewName("USERS.test.")
			}
		},
		"an alias on the way": func(m *dnsmessage.Message) {
			for i := range m.Answers {
				m.Answers[i].Header.Name = target
			}
			m.Answers = slices.Insert(m.Answers, 0, dnsmessage.Resource{Body: &dnsmessage.CNAMEResource{CNAME: target},
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}})
		},
		"a signature": func(m *dnsmessage.Message) {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
				Body: &dnsmessage.UnknownResource{Type: 46, Data: make([]byte, 60)}})
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3", usurperHost)
			changed := func(a *inquiry) { a.sayInstead(change) }
			names.set(usersName, records{addresses: []string{"127.0.0.2"}, play: changed})
			g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
			g.awaitAnswers(t, "127.0.0.2")
			names.set(usersName, records{addresses: []string{"127.0.0.3"}, play: changed})
			g.awaitAnswers(t, "127.0.0.3")
			if n := g.lookups(t, "failed"); n != 0 || web.at[usurperHost].Wire.Accepted.Load() != 0 {
				t.Errorf("%d lookups failed, %d connections to the usurper", n, web.at[usurperHost].Wire.Accepted.Load())
			}
		})
	}
}

// toOne plays so for questions of that type, and tells the truth to others.
func toOne(kind dnsmessage.Type, how play) play {
	return func(a *inquiry) {
		if a.truth.Questions[0].Type == kind {
			how(a)
		} else {
			tells(a)
		}
	}
}

// One half of the truth is none: a name whose IPv4 addresses cannot be had just now is not at its IPv6 ones alone.
func TestANameIsNotHalfResolved(t *testing.T) {
	t.Parallel()
	for what, bad := range map[string]play{"SERVFAIL": badAnswers["SERVFAIL"], "REFUSED": badAnswers["REFUSED"], "silence": saysNothing} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "::1")
			names.point(usersName, "127.0.0.2", "::1")
			g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
			g.awaitAnswers(t, "127.0.0.2")
			names.set(usersName, records{addresses: []string{"127.0.0.2", "::1"}, play: toOne(dnsmessage.TypeA, bad)})
			names.await(t, usersName, 3)
			g.awaitAnswers(t, "127.0.0.2")
			if n := g.lookups(t, "changed"); n != 0 {
				t.Errorf("%d changes", n)
			}
		})
	}
}

// There are name servers that know of no IPv6, and say so badly. Who has IPv4 addresses needs none.
func TestNamesWithIPv4AddressesNeedNoAnswerAboutIPv6(t *testing.T) {
	t.Parallel()
	for what, bad := range map[string]play{"SERVFAIL": badAnswers["SERVFAIL"], "NXDOMAIN": badAnswers["NXDOMAIN"], "silence": saysNothing} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			names, web := startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
			names.set(usersName, records{addresses: []string{"127.0.0.2"}, play: toOne(dnsmessage.TypeAAAA, bad)})
			g := resolving(t, setup{workers: 1}, names, "protocol: http1", web.endpoint(usersName))
			g.awaitAnswers(t, "127.0.0.2")
			names.set(usersName, records{addresses: []string{"127.0.0.3"}, play: toOne(dnsmessage.TypeAAAA, bad)})
			g.awaitAnswers(t, "127.0.0.3")
			g.awaitLookups(t, "unchanged", 1)
			if n := g.lookups(t, "failed"); n != 0 {
				t.Errorf("%d lookups failed", n)
			}
		})
	}
}

// With several servers, one that is gone or mute is passed over, at load and while serving.
func TestNamesAreAskedOfTheNextServer(t *testing.T) {
	t.Parallel()
	for what, first := range map[string]play{"gone": nil, "mute": saysNothing, "failing": badAnswers["SERVFAIL"], "refusing": badAnswers["REFUSED"]} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			bad, names, web := startNameServer(t), startNameServer(t), newTeam(t, tellsHost, "127.0.0.2", "127.0.0.3")
			bad.set(usersName, records{play: first})
			if first == nil {
				bad.stop()
			}
			names.point(usersName, "127.0.0.2")
			g := balanced(t, setup{top: []string{"dns: {servers: [" + quoted([]string{bad.address, names.address}) + "], min_ttl: 100ms}"}},
				[]string{web.endpoint(usersName)}, "protocol: http1")
			g.awaitAnswers(t, "127.0.0.2")
			names.point(usersName, "127.0.0.3")
			g.awaitAnswers(t, "127.0.0.3")
			if n := g.lookups(t, "failed"); n != 0 {
				t.Errorf("%d lookups failed", n)
			}
		})
	}
}

// Whoever sees no query has to guess its number; two gateways must not count alike.
func TestNumbersOfQueriesAreNobodysToKnow(t *testing.T) {
	t.Parallel()
	const queries = 10
	var first map[uint16]bool
	for range 2 {
		names := startNameServer(t)
		names.point(usersName, "127.0.0.1")
		resolving(t, setup{}, names, "", usersName+":1")
		waitFor(t, "the name to be looked up again and again", patience, func() bool { return len(names.asked(usersName, dnsmessage.TypeA)) >= queries })
		numbers, known := map[uint16]bool{}, 0
		for _, q := range names.asked(usersName, dnsmessage.TypeA)[:queries] {
			numbers[q.id] = true
			if first[q.id] {
				known++
			}
		}
		if known > 2 { // by chance once in a hundred million
			t.Errorf("%d of %d numbers are those of another gateway", known, queries)
		}
		first = numbers
	}
}
