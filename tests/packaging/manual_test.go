package packaging

import (
	"regexp"
	"strings"
	"testing"
)

var pages = []string{"/usr/local/share/man/man1/tollgate.1", "/usr/local/share/man/man5/tollgate.yaml.5"}

// Each tool prints what is wrong with a page, and nothing else.
func TestTheManualHasNoFaults(t *testing.T) {
	t.Parallel()
	destination := destination(t)
	for _, page := range pages {
		for _, tool := range [][]string{
			{"mandoc", "-T", "lint", "-W", "all"},
			{"groff", "-man", "-ww", "-z"},
			{"sh", "-c", `exec man --warnings=w -l "$1" 2>&1 >/dev/null`, "sh"},
		} {
			out, err := command(destination, append(tool, destination+page)...).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%s %s: %v\n%s", tool[0], page, err, out)
			}
		}
	}
	broken := strings.Replace(read(t, destination+pages[0]), ".SH SIGNALS", ".SH SIGNALS\n.NOSUCH", 1)
	page := t.TempDir() + "/broken.1"
	write(t, page, broken, 0o644)
	for _, tool := range [][]string{{"mandoc", "-T", "lint", "-W", "all"}, {"groff", "-man", "-ww", "-z"}} {
		if out, _ := command(destination, append(tool, page)...).CombinedOutput(); len(out) == 0 {
			t.Errorf("%s sees no fault in a page with one", tool[0])
		}
	}
}

// rendered is a page as a reader sees it, its spaces made one.
func rendered(t *testing.T, page string) string {
	t.Helper()
	text := run(t, root, "sh", "-c", `MANWIDTH=1000 MAN_KEEP_FORMATTING= man -l "$1" | col -bx`, "sh", page)
	return regexp.MustCompile(`[ \n]+`).ReplaceAllString(strings.ReplaceAll(text, "‐", "-"), " ")
}

func commands(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, line := range regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(run(t, root, "build/tollgate", "--help"), -1) {
		names = append(names, line[1])
	}
	if len(names) < 5 {
		t.Fatalf("--help names only %v", names)
	}
	return names
}

// Word for word: the page and --help come from one table.
func TestTheManualSaysWhatHelpSays(t *testing.T) {
	t.Parallel()
	page := rendered(t, destination(t)+pages[0])
	for _, name := range commands(t) {
		help := run(t, root, "build/tollgate", name, "--help")
		for _, sentence := range regexp.MustCompile(`[.;]\s+`).Split(strings.TrimPrefix(help, "usage: "), -1) {
			sentence = strings.Join(strings.Fields(strings.ReplaceAll(sentence, "`", "")), " ")
			if !strings.Contains(page, strings.TrimSuffix(sentence, ".")) {
				t.Errorf("tollgate(1) does not say of %s: %q", name, sentence)
			}
		}
	}
}

// As does conf/REFERENCE.md, which another test holds against the schema.
func TestTheManualHasEveryKeyOfTheReference(t *testing.T) {
	t.Parallel()
	page := rendered(t, destination(t)+pages[1])
	rows := regexp.MustCompile("(?m)^(?:## (.*)|\\| `([a-z_0-9]+)` \\|.*\\| ([^|]+) \\|)$").FindAllStringSubmatch(
		read(t, root+"/conf/REFERENCE.md"), -1)
	if len(rows) < 80 {
		t.Fatalf("only %d rows in the reference", len(rows))
	}
	for _, row := range rows {
		if row[1] == "Metrics" {
			break
		}
		for _, text := range row[1:] {
			text = strings.TrimSuffix(strings.ReplaceAll(text, "`", ""), " Secret: redacted in dumps.")
			if text != "Why a caller is refused" && !strings.Contains(page, text) {
				t.Errorf("tollgate.yaml(5) has no %q", text)
			}
		}
	}
}
