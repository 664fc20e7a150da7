package packaging

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/CycloneDX/cyclonedx-go" // its module brings the schemas
	"github.com/santhosh-tekuri/jsonschema/v6"
)

type bill struct {
	Metadata struct {
		Component struct {
			Hashes []struct{ Alg, Content string }
		}
	}
	Components []struct {
		Name, Version, Purl string
		Licenses            []struct{ License struct{ ID, Name string } }
		Properties          []struct{ Name, Value string }
	}
	Dependencies []struct {
		Ref       string
		DependsOn []string
	}
}

func billOf(t *testing.T) (string, bill) {
	t.Helper()
	run(t, root, "make", "-s", "sbom")
	text := read(t, root+"/build/deploy/tollgate.cdx.json")
	var b bill
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	return text, b
}

func (b bill) names(linkage string) []string {
	var names []string
	for _, component := range b.Components {
		for _, property := range component.Properties {
			if property.Name == "tollgate:linkage" && property.Value == linkage {
				names = append(names, component.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// schema is CycloneDX's own for version 1.5, with the two that it refers to.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	module := strings.TrimSpace(run(t, ".", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go"))
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.5.schema.json":  "bom-1.5.schema.json",
		"spdx.schema.json":     "spdx.schema.json",
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json", // as the module spells it
	} {
		document := must(jsonschema.UnmarshalJSON(must(os.Open(module + "/schema/" + file))))
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, document); err != nil {
			t.Fatal(err)
		}
	}
	compiler.AssertFormat()
	compiled, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestTheBillIsCycloneDX(t *testing.T) {
	t.Parallel()
	text, _ := billOf(t)
	compiled := schema(t)
	if err := compiled.Validate(must(jsonschema.UnmarshalJSON(strings.NewReader(text)))); err != nil {
		t.Errorf("%v", err)
	}
	for good, bad := range map[string]string{
		`"type": "library"`:    `"type": "librarian"`,
		`"id": "MIT"`:          `"id": "Expat"`,
		`"serialNumber": "urn`: `"serialNumber": "run`,
		`"bomFormat"`:          `"format"`,
	} {
		broken := strings.Replace(text, good, bad, 1)
		if broken == text || compiled.Validate(must(jsonschema.UnmarshalJSON(strings.NewReader(broken)))) == nil {
			t.Errorf("the schema lets pass: %s", bad)
		}
	}
}

// libraryNote is what the program says of the libraries that it loads where they are wanted
// (systemd.io/ELF_DLOPEN_METADATA): a header of three words, the owner's name, JSON.
func libraryNote(t *testing.T, program *elf.File) (sonames []string) {
	t.Helper()
	note := must(program.Section(".note.dlopen").Data())
	header := program.ByteOrder
	if owner, kind := string(note[12:16]), header.Uint32(note[8:]); owner != "FDO\x00" || header.Uint32(note) != 4 || kind != 0x407c0c0a {
		t.Fatalf("a note of %q, type %#x", owner, kind)
	}
	var entries []struct{ Soname []string }
	text := note[16 : 16+header.Uint32(note[4:])]
	if err := json.Unmarshal(bytes.TrimRight(text, "\x00"), &entries); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	for _, entry := range entries {
		sonames = append(sonames, entry.Soname...)
	}
	return sonames
}

func TestTheBillNamesWhatIsLinkedAndNothingElse(t *testing.T) {
	t.Parallel()
	_, b := billOf(t)
	program := must(elf.Open(root + "/build/tollgate"))
	needed := must(program.ImportedLibraries())
	slices.Sort(needed)
	if !slices.Equal(needed, b.names("dynamic")) {
		t.Errorf("the program needs %v, the bill says %v", needed, b.names("dynamic"))
	}
	if loaded := libraryNote(t, program); !slices.Equal(loaded, b.names("loaded")) {
		t.Errorf("the program may load %v, the bill says %v", loaded, b.names("loaded"))
	}
	// What the debug information names by a whole path was compiled from outside the project.
	var outside []string
	debug := must(must(elf.Open(root + "/build/tollgate.debug")).DWARF())
	for reader := debug.Reader(); ; reader.SkipChildren() {
		unit := must(reader.Next())
		if unit == nil {
			break
		}
		if name, _ := unit.Val(0x03).(string); strings.HasPrefix(name, "/") {
			outside = append(outside, filepath.Base(filepath.Dir(name)))
		}
	}
	slices.Sort(outside)
	if outside = slices.Compact(outside); !slices.Equal(outside, b.names("static")) {
		t.Errorf("compiled from outside: %v, the bill says %v", outside, b.names("static"))
	}
	if depends := b.Dependencies[0].DependsOn; b.Dependencies[0].Ref != "tollgate" || len(depends) != len(b.Components) {
		t.Errorf("%d components, and the program depends on %v", len(b.Components), depends)
	}
	sum := sha256.Sum256([]byte(read(t, root+"/build/tollgate")))
	if hashes := b.Metadata.Component.Hashes; len(hashes) != 1 || hashes[0].Content != hex.EncodeToString(sum[:]) {
		t.Errorf("the bill is of another program: %v", hashes)
	}
}

// Versions are those that dpkg knows, and the licences of most are told.
func TestTheBillSaysWhatTheSystemHas(t *testing.T) {
	t.Parallel()
	_, b := billOf(t)
	licensed := 0
	for _, component := range b.Components {
		match := regexp.MustCompile(`^pkg:deb/debian/([^@]+)@.*\?arch=`).FindStringSubmatch(component.Purl)
		if match == nil {
			t.Errorf("%s: its package URL is %q", component.Name, component.Purl)
			continue
		}
		version := strings.Fields(run(t, root, "dpkg-query", "-W", "-f", "${Version}\n", match[1]))[0]
		if version != component.Version {
			t.Errorf("%s: version %q, dpkg says %q", component.Name, component.Version, version)
		}
		if len(component.Licenses) > 0 || match[1] == "libc6" { // whose copyright file is prose
			licensed++
		}
	}
	if licensed < len(b.Components) {
		t.Errorf("the licence of %d of %d is told", licensed, len(b.Components))
	}
}
