package packaging

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// recipe is the Containerfile as BuildKit reads it, and what its linter says of it.
func recipe(t *testing.T, text string) (stages []instructions.Stage, said []string) {
	t.Helper()
	tree, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, warning := range tree.Warnings {
		said = append(said, warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(name, _, _, message string, _ []parser.Range) { said = append(said, name+": "+message) }})
	stages, _, err = instructions.Parse(tree.AST, lint)
	if err != nil {
		said = append(said, err.Error())
	}
	return stages, said
}

func containerfile(t *testing.T) string { return read(t, root+"/deploy/container/Containerfile") }

func TestBuildKitUnderstandsTheContainerfile(t *testing.T) {
	t.Parallel()
	stages, said := recipe(t, containerfile(t))
	if len(said) > 0 || len(stages) != 2 {
		t.Errorf("%d stages; %v", len(stages), said)
	}
	for good, bad := range map[string]string{
		"EXPOSE 8443":      "EXPOSED 8443",
		"AS build":         "as build",
		"USER 65532:65532": "USER",
	} {
		if _, said := recipe(t, replace(t, containerfile(t), good, bad)); len(said) == 0 {
			t.Errorf("%q passes as well", bad)
		}
	}
}

func TestTheImageRunsAsNobodyInParticular(t *testing.T) {
	t.Parallel()
	stages, _ := recipe(t, containerfile(t))
	var user, entry, argument []string
	for _, c := range stages[len(stages)-1].Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = strings.Split(c.User, ":")
		case *instructions.EntrypointCommand:
			entry = c.CmdLine
		case *instructions.CmdCommand:
			argument = c.CmdLine
		}
	}
	if len(user) != 2 || !regexp.MustCompile(`^[1-9]\d*$`).MatchString(user[0]) {
		t.Errorf("the user is %v, not a number above zero", user)
	}
	tree := t.TempDir()
	run(t, root, "dpkg-deb", "-x", debianPackage(t), tree)
	if _, err := os.Stat(tree + entry[0]); err != nil {
		t.Errorf("the package has no %v", entry)
	}
	if _, err := os.Stat(tree + argument[2]); err != nil || argument[0] != "run" || argument[1] != "--config" {
		t.Errorf("the package has no %v", argument)
	}
}

// There is no container engine here: that apt would install what each RUN asks for is as far as a replay goes.
func TestWhatTheImageInstallsCanBeInstalled(t *testing.T) {
	t.Parallel()
	stages, _ := recipe(t, containerfile(t))
	asked := 0
	for _, stage := range stages {
		for _, c := range stage.Commands {
			step, is := c.(*instructions.RunCommand)
			if !is {
				continue
			}
			install := regexp.MustCompile(`apt-get install -y --no-install-recommends ([^&]+)`).FindStringSubmatch(strings.Join(step.CmdLine, " "))
			if install == nil {
				continue
			}
			packages := strings.Fields(strings.ReplaceAll(install[1], "/tmp/tollgate_*.deb", debianPackage(t)))
			out := run(t, root, append([]string{"apt-get", "install", "--simulate", "--no-install-recommends"}, packages...)...)
			if strings.Contains(out, "Remv systemd ") && !slices.Contains(packages, "systemd-standalone-sysusers") {
				t.Error(out)
			}
			asked += len(packages)
		}
	}
	if asked < 5 {
		t.Errorf("only %d packages were asked for", asked)
	}
}
