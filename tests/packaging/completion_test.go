package packaging

import (
	"slices"
	"strings"
	"testing"
)

// What the shell offers after these words, the last of them not yet finished, asked of the shell itself.
type completer func(t *testing.T, destination, directory string, words ...string) []string

const askBash = `source "$1"; cd "$2"; shift 2
compopt() { :; } # outside of a completion there is nothing to tell
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tollgate
printf '%s\n' "${COMPREPLY[@]}"`

func bash(t *testing.T, destination, directory string, words ...string) []string {
	script := destination + "/usr/local/share/bash-completion/completions/tollgate"
	run(t, root, "bash", "-n", script)
	return strings.Fields(run(t, root, append([]string{"bash", "--norc", "-c", askBash, "bash", script, directory}, words...)...))
}

const askFish = `source $argv[1]; cd $argv[2]; complete --do-complete (string join ' ' -- $argv[3..])`

func fish(t *testing.T, destination, directory string, words ...string) []string {
	script := destination + "/usr/local/share/fish/vendor_completions.d/tollgate.fish"
	run(t, root, "fish", "--no-execute", script)
	var found []string
	for line := range strings.Lines(run(t, root, append([]string{"fish", "--no-config", "-c", askFish, script, directory}, words...)...)) {
		found = append(found, strings.TrimSpace(strings.Split(line, "\t")[0]))
	}
	return found
}

// zsh completes only in a terminal: a shell in a pseudo terminal is asked, and shows what it would list.
const askZsh = `zmodload zsh/zpty
zpty asked zsh -f -i
zpty -w asked "PS1=; fpath=($1 \$fpath); cd ${(q)2}"
zpty -w asked 'autoload -Uz compinit; compinit -u -D; LISTMAX=10000; zstyle ":completion:*" list-prompt ""; stty columns 500 rows 500
show() { compstate[list]=list; compstate[insert]=; print -rl -- BEGIN; }
zle -C show-all complete-word collect
collect() { compadd() { local -a hits; builtin compadd -O hits "$@"; print -rl -- "HIT $hits"; builtin compadd "$@"; }; _main_complete; print -r -- "DONE 1"; compstate[insert]=; compstate[list]=; unfunction compadd }
bindkey "^X" show-all; print READY$((1+1))'
while zpty -r asked line; do [[ $line == *READY2* ]] && break; done
zpty -w -n asked "${(j: :)@[3,-1]}"$'\x18'
while zpty -r asked line; do print -r -- "$line"; [[ $line == *"DONE 1"* ]] && break; done
zpty -d asked`

func zsh(t *testing.T, destination, directory string, words ...string) []string {
	scripts := destination + "/usr/local/share/zsh/site-functions"
	run(t, root, "zsh", "-n", scripts+"/_tollgate")
	var found []string
	for line := range strings.Lines(run(t, root, append([]string{"timeout", "20", "zsh", "-f", "-c", askZsh, "zsh", scripts, directory}, words...)...)) {
		if _, hit, is := strings.Cut(strings.TrimSpace(line), "HIT "); is {
			found = append(found, strings.Fields(hit)...)
		}
	}
	return found
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	destination := destination(t)
	directory := t.TempDir()
	for _, name := range []string{"gateway.yaml", "other.yaml", "sub/x"} {
		write(t, directory+"/"+name, "", 0o644)
	}
	for name, complete := range map[string]completer{"bash": bash, "fish": fish, "zsh": zsh} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			offered := complete(t, destination, directory, "tollgate", "")
			for _, command := range commands(t) {
				if !slices.Contains(offered, command) {
					t.Errorf("%s is not offered: %q", command, offered)
				}
			}
			for _, c := range []struct {
				words         string
				wanted, never string
			}{
				{"tollgate ch", "check", "run"},
				{"tollgate run --con", "--config", "--version"},
				{"tollgate check --config gat", "gateway.yaml", "other.yaml"},
				{"tollgate audit ", "verify", ""},
				{"tollgate audit verify oth", "other.yaml", "gateway.yaml"},
				{"tollgate pki ", "sub", "gateway.yaml"},
			} {
				offered := complete(t, destination, directory, strings.Split(c.words, " ")...)
				for i := range offered {
					offered[i] = strings.Trim(offered[i], "/=")
				}
				if !slices.Contains(offered, c.wanted) || c.never != "" && slices.Contains(offered, c.never) {
					t.Errorf("after %q: %q, wanted %s and not %s", c.words, offered, c.wanted, c.never)
				}
			}
		})
	}
}
