package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tollgate/tests/backend"
)

// A name server of the tests' own, over UDP and TCP. Its zone changes as a test wishes, and it remembers who asked what.

type nameServer struct {
	address string
	packets net.PacketConn
	streams net.Listener
	mutex   sync.Mutex
	zone    map[string]records
	queries []query
}

// records are what there is under a name.
type records struct {
	addresses []string // of both families
	services  []string // SRV, as in a zone file: "priority weight port target"
	ttl       uint32   // in seconds
	alias     string   // a CNAME to another name of the zone
	play      play     // nil: the plain truth
}

type query struct {
	name string
	kind dnsmessage.Type
	tcp  bool
	at   time.Time
	id   uint16
}

// A play answers one question, in a goroutine of its own.
type play func(a *inquiry)

type inquiry struct {
	truth dnsmessage.Message // what there would be to say
	tcp   bool
	from  net.Addr
	room  int              // what a packet may be long
	send  func(raw []byte) // by the way that the question came
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	return onFreePort(t, func(port int) (*nameServer, error) { return startNameServerAt(t, fmt.Sprintf("127.0.0.1:%d", port)) })
}

// onFreePort tries again where the port is taken: a process that is just begun may hold what was looked at a moment longer.
func onFreePort[T any](t *testing.T, start func(port int) (T, error)) (started T) {
	t.Helper()
	var err error
	for range 5 {
		if started, err = start(freePort(t)); err == nil {
			return started
		}
	}
	t.Fatal(err)
	return started
}

func startNameServerAt(t *testing.T, address string) (*nameServer, error) {
	t.Helper()
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	streams, err := net.Listen("tcp", address)
	if err != nil {
		_ = packets.Close()
		return nil, err
	}
	s := &nameServer{address: address, packets: packets, streams: streams, zone: map[string]records{}}
	t.Cleanup(s.stop)
	go s.servePackets()
	go s.serveStreams()
	return s, nil
}

func (s *nameServer) stop() {
	_ = s.packets.Close()
	_ = s.streams.Close()
}

// set says what there is under the name from now on.
func (s *nameServer) set(name string, r records) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.zone[name] = r
}

// point gives the name these addresses, for no longer than the moment.
func (s *nameServer) point(name string, addresses ...string) {
	s.set(name, records{addresses: addresses})
}

func (s *nameServer) servePackets() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := s.packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		s.take(slices.Clone(buffer[:n]), inquiry{from: from, room: 512, send: func(raw []byte) { _, _ = s.packets.WriteTo(raw, from) }})
	}
}

func (s *nameServer) serveStreams() {
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			for {
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				raw := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := io.ReadFull(conn, raw); err != nil {
					return
				}
				s.take(raw, inquiry{tcp: true, from: conn.RemoteAddr(), room: 64 << 10, send: func(raw []byte) { sayInPieces(conn, raw) }})
			}
		}()
	}
}

// sayInPieces shows that a stream has no packets: even the length comes in two. Nothing is a hang-up.
func sayInPieces(conn net.Conn, raw []byte) {
	if len(raw) == 0 {
		_ = conn.Close()
		return
	}
	whole := append([]byte{byte(len(raw) >> 8), byte(len(raw))}, raw...)
	_, _ = conn.Write(whole[:1])
	for piece := range slices.Chunk(whole[1:], 1000) {
		_, _ = conn.Write(piece)
	}
}

func (s *nameServer) take(raw []byte, a inquiry) {
	var asked dnsmessage.Message
	if asked.Unpack(raw) != nil || len(asked.Questions) != 1 {
		return
	}
	for _, one := range asked.Additionals {
		if one.Header.Type == dnsmessage.TypeOPT {
			a.room = max(a.room, int(one.Header.Class))
		}
	}
	question := asked.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	s.mutex.Lock()
	s.queries = append(s.queries, query{name, question.Type, a.tcp, time.Now(), asked.ID})
	how := s.zone[name].play
	a.truth = s.truth(&asked)
	s.mutex.Unlock()
	if how == nil {
		how = tells
	}
	go how(&a)
}

// truth is the answer by the zone, a name's aliases followed.
func (s *nameServer) truth(asked *dnsmessage.Message) dnsmessage.Message {
	question := asked.Questions[0]
	m := dnsmessage.Message{Questions: asked.Questions, Header: dnsmessage.Header{ID: asked.ID, Response: true,
		RecursionDesired: asked.RecursionDesired, RecursionAvailable: true}}
	for owner := question.Name; ; {
		r, known := s.zone[strings.ToLower(strings.TrimSuffix(owner.String(), "."))]
		if !known {
			m.RCode = dnsmessage.RCodeNameError
			return m
		}
		header := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: r.ttl}
		if r.alias == "" {
			m.Answers = append(m.Answers, r.of(header, question.Type)...)
			return m
		}
		target := dnsmessage.MustNewName(r.alias + ".")
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: target}})
		owner = target
	}
}

func (r *records) of(header dnsmessage.ResourceHeader, kind dnsmessage.Type) (found []dnsmessage.Resource) {
	for _, text := range r.addresses {
		address := netip.MustParseAddr(text)
		if address.Is4() && kind == dnsmessage.TypeA {
			found = append(found, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		} else if address.Is6() && kind == dnsmessage.TypeAAAA {
			found = append(found, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	for _, text := range r.services {
		if kind != dnsmessage.TypeSRV {
			break
		}
		var one dnsmessage.SRVResource
		var target string
		_ = must(fmt.Sscan(text, &one.Priority, &one.Weight, &one.Port, &target))
		one.Target = dnsmessage.MustNewName(strings.TrimSuffix(target, ".") + ".")
		found = append(found, dnsmessage.Resource{Header: header, Body: &one})
	}
	return found
}

// say sends a message: too long a one with the first of its answers, and the mark that there are more.
func (a *inquiry) say(m dnsmessage.Message) {
	raw := must(m.Pack())
	if len(raw) > a.room {
		m.Truncated, m.Answers = true, m.Answers[:10]
		raw = must(m.Pack())
	}
	a.send(raw)
}

// asked returns the questions for the name so far, of all kinds or of these.
func (s *nameServer) asked(name string, kinds ...dnsmessage.Type) []query {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(s.queries), func(q query) bool {
		return q.name != name || len(kinds) > 0 && !slices.Contains(kinds, q.kind)
	})
}

// await waits until the name was asked for so many times more.
func (s *nameServer) await(t *testing.T, name string, more int) {
	t.Helper()
	kind := dnsmessage.TypeA
	if strings.HasPrefix(name, "_") {
		kind = dnsmessage.TypeSRV
	}
	before := len(s.asked(name, kind))
	waitFor(t, fmt.Sprintf("%d more questions for %s", more, name), patience, func() bool { return len(s.asked(name, kind)) >= before+more })
}

// --- services

// A provider has servers of two ports, a and b, each at several addresses. They answer their port and the end of the address: "a2".
type provider struct {
	*nameServer
	ports *strings.Replacer // of their letters
	at    map[string]*backend.Scripted
}

func newProvider(t *testing.T, lines string) *provider {
	t.Helper()
	p, number := &provider{nameServer: startNameServer(t), at: map[string]*backend.Scripted{}}, []string{}
	for _, letter := range []string{"a", "b"} {
		team := newTeam(t, func(address string) (b *backend.Scripted, err error) {
			host, _, _ := net.SplitHostPort(address)
			own := letter + host[strings.LastIndexAny(host, ".:")+1:]
			p.at[own], err = backend.StartScripted(address, func(p *backend.Peer) {
				for p.Request() != nil {
					p.Answer(own)
				}
			})
			return p.at[own], err
		}, "127.0.0.2", "127.0.0.3", usurperHost, "::1")
		number = append(number, " "+letter+" ", fmt.Sprintf(" %d ", team.port))
	}
	p.ports = strings.NewReplacer(number...)
	for name, addresses := range map[string][]string{"two": {"127.0.0.2"}, "three": {"127.0.0.3"}, "six": {"::1"}, "empty": nil,
		"both": {"127.0.0.2", "127.0.0.3", "::1"}, "usurper": {usurperHost}} {
		p.point(name+".test", addresses...)
	}
	p.set("alias.test", records{alias: "three.test"})
	p.offer(lines)
	return p
}

// offered are these records: "0 3 a two.test, 0 1 b three.test".
func (p *provider) offered(lines string) records {
	return records{services: strings.Split(p.ports.Replace(lines), ", ")}
}

func (p *provider) offer(lines string) { p.set(webService, p.offered(lines)) }

// --- plays

func tells(a *inquiry) { a.say(a.truth) }

func saysNothing(*inquiry) {}

func errs(code dnsmessage.RCode) play {
	return func(a *inquiry) { a.sayInstead(func(m *dnsmessage.Message) { m.RCode, m.Answers = code, nil }) }
}

// sayInstead sends the truth, changed.
func (a *inquiry) sayInstead(change func(m *dnsmessage.Message)) {
	m := a.truth
	m.Questions, m.Answers = slices.Clone(m.Questions), slices.Clone(m.Answers)
	change(&m)
	a.say(m)
}

// lies sends the changed truth, where a usurper is the one address.
func lies(change func(m *dnsmessage.Message)) play {
	return func(a *inquiry) {
		a.sayInstead(func(m *dnsmessage.Message) {
			m.Answers = usurper(m.Questions[0].Name)
			change(m)
		})
	}
}

const usurperHost = "127.0.0.66"

func usurper(owner dnsmessage.Name) []dnsmessage.Resource {
	r := records{addresses: []string{usurperHost}, ttl: 3600}
	return r.of(dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: r.ttl}, dnsmessage.TypeA)
}

// liesFromElsewhere sends it from another port than the one that was asked.
func liesFromElsewhere(a *inquiry) {
	conn := must(net.ListenPacket("udp", "127.0.0.1:0"))
	defer func() { _ = conn.Close() }()
	m := a.truth
	m.Answers = usurper(m.Questions[0].Name)
	_, _ = conn.WriteTo(must(m.Pack()), a.from)
}
