package cost

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tollgate/tests/harness"
)

// Between few and many lies nothing but requests: what a start and an end take is in both.
const few, many = 200, 1200

var (
	library    = regexp.MustCompile(`/(lib[a-z0-9-]+)\.so[.0-9]*$`)
	allocators = regexp.MustCompile(`^(malloc|calloc|realloc|aligned_alloc|memalign|posix_memalign)$`)
	spaces     = map[string]string{"ob": "ob", "cob": "ob", "fl": "fl", "cfi": "fl", "cfl": "fl", "fn": "fn", "cfn": "fn"}
)

// A tally is what a run took; allocations are by the object that asked for memory.
type tally struct {
	instructions int
	allocations  map[string]int
}

type function struct{ object, name string }

type edge struct{ from, to function }

// A profile reads callgrind's output, in which a name comes once and is a number from then on.
type profile struct {
	program      string
	names        map[string]string
	at           map[string]string // the line's kind, one of spaces, to the name that holds
	called       bool              // the line to come is what the called one did
	instructions int
	files        map[function]string
	calls        map[edge]int
}

// name notes that from here on another object, file or function is meant, and tells whether the line says so.
func (p *profile) name(line string) bool {
	kind, text, _ := strings.Cut(line, "=")
	space, known := spaces[kind]
	if !known {
		return false
	}
	number, name, first := strings.Cut(text, " ")
	if first {
		p.names[space+number] = name
	}
	p.at[kind] = p.names[space+number]
	if kind == "ob" {
		p.at["cob"] = p.at["ob"] // a call that names no object stays in its own
	}
	return true
}

func (p *profile) owner(object string) string {
	if object == p.program {
		return "tollgate"
	}
	if found := library.FindStringSubmatch(object); found != nil {
		return found[1]
	}
	return "others"
}

// line reads one. Instructions are of the program and the HTTP/2 library: how many a system call, the memory functions
// or the cryptography take differs by processor.
func (p *profile) line(line string) {
	switch {
	case line == "" || p.name(line):
	case strings.HasPrefix(line, "calls="):
		count, _, _ := strings.Cut(strings.TrimPrefix(line, "calls="), " ")
		from := function{p.at["ob"], p.at["fn"]}
		p.files[from] = p.at["fl"]
		p.calls[edge{from, function{p.at["cob"], p.at["cfn"]}}] += harness.Must(strconv.Atoi(count))
		p.at["cob"], p.called = p.at["ob"], true
	case strings.ContainsRune("0123456789+-*", rune(line[0])):
		words, owner := strings.Fields(line), p.owner(p.at["ob"])
		if !p.called && len(words) == 2 && (owner == "tollgate" || owner == "libnghttp2") {
			p.instructions += harness.Must(strconv.Atoi(words[1]))
		}
		p.called = false
	}
}

// allocations counts the calls of libc's allocators, but not those by each other. Callgrind takes the linkage table of
// a program with CET (.plt.sec) for functions of an object without a name: who calls such a one is meant. And
// h2_memory.c is there for nghttp2 alone.
func (p *profile) allocations() map[string]int {
	direct := func(f function) bool { return p.owner(f.object) == "libc" && allocators.MatchString(f.name) }
	table := map[function]bool{}
	for call := range p.calls {
		if call.from.object == "???" && direct(call.to) {
			table[call.from] = true
		}
	}
	found := map[string]int{}
	for call, count := range p.calls {
		if !direct(call.to) && !table[call.to] || direct(call.from) || table[call.from] {
			continue
		}
		owner := p.owner(call.from.object)
		if owner == "tollgate" && strings.HasSuffix(p.files[call.from], "/h2_memory.c") {
			owner = "libnghttp2"
		}
		found[owner] += count
	}
	return found
}

func read(from io.Reader, program string) tally {
	p := profile{program: program, names: map[string]string{}, at: map[string]string{}, files: map[function]string{},
		calls: map[edge]int{}}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.line(lines.Text())
	}
	return tally{p.instructions, p.allocations()}
}

// counted runs a gateway under callgrind for so many requests, one after the other.
func counted(t *testing.T, count int, one load) tally {
	t.Helper()
	out := filepath.Join(t.TempDir(), "callgrind.out")
	run(t, one, []string{"valgrind", "--tool=callgrind", "--callgrind-out-file=" + out}, 1, count)
	file := harness.Must(os.Open(out))
	defer func() { _ = file.Close() }()
	found := read(file, harness.Must(filepath.EvalSymlinks(harness.Binary())))
	if found.instructions == 0 || found.allocations["tollgate"] == 0 {
		t.Fatalf("nothing counted in %s: %+v", out, found)
	}
	return found
}

// ended stops a gateway, whose figures are whole only then.
func ended(t *testing.T, g *harness.Gateway) {
	t.Helper()
	g.Signal(syscall.SIGTERM)
	if code := g.Exit(patience); code != 0 {
		t.Fatalf("exit status %d:\n%s", code, g.Said())
	}
}
