package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var told = regexp.MustCompile(`(?m)^(Name|State|SigPnd|ShdPnd|SigBlk|SigCgt):.*$`)

// Threads says what each thread of a process that does not end is at: its state, the system call it
// is in and the signals it has not taken.
func Threads(pid int) string {
	var all strings.Builder
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	for _, task := range tasks {
		status, _ := os.ReadFile(filepath.Join(task, "status"))
		call, _ := os.ReadFile(filepath.Join(task, "syscall"))
		words := told.FindAllString(string(status), -1)
		fmt.Fprintf(&all, "%s %s call=%s\n", filepath.Base(task), strings.Join(words, " "), strings.TrimSpace(string(call)))
	}
	return strings.ReplaceAll(all.String(), "\t", "")
}
