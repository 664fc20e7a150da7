package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// moment is what the kernel knows of the watched processes and of the machine at one time.
type moment struct {
	at        time.Time
	processes map[string]usage
	cores     []core
}

// usage of a process and all its threads. total is in nanoseconds (schedstat); user and system are the kernel's
// estimate of its parts, in ticks of 10 ms.
type usage struct{ total, user, system time.Duration }

type core struct{ busy, idle, stolen time.Duration }

const tick = 10 * time.Millisecond

func look(watched map[string][]int) (moment, error) {
	now := moment{processes: map[string]usage{}}
	for name, pids := range watched {
		var sum usage
		for _, pid := range pids {
			one, err := processUsage(pid)
			if err != nil {
				return now, fmt.Errorf("%s: %w", name, err)
			}
			sum.total += one.total
			sum.user += one.user
			sum.system += one.system
		}
		now.processes[name] = sum
	}
	now.cores = coreTimes()
	now.at = time.Now()
	return now, nil
}

func processUsage(pid int) (usage, error) {
	var sum usage
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return sum, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	sum.user, sum.system = ticks(fields[11]), ticks(fields[12])
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, thread := range threads {
		if text, err := os.ReadFile(thread); err == nil {
			nanoseconds, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			sum.total += time.Duration(nanoseconds)
		}
	}
	if sum.total == 0 {
		sum.total = sum.user + sum.system
	}
	return sum, nil
}

func ticks(text string) time.Duration {
	count, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(count) * tick
}

// cpuN user nice system idle iowait irq softirq steal
func coreTimes() []core {
	text, _ := os.ReadFile("/proc/stat")
	var cores []core
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") || fields[0] == "cpu" {
			continue
		}
		cores = append(cores, core{
			busy: ticks(fields[1]) + ticks(fields[2]) + ticks(fields[3]) + ticks(fields[6]) + ticks(fields[7]),
			idle: ticks(fields[4]) + ticks(fields[5]), stolen: ticks(fields[8]),
		})
	}
	return cores
}

func residentKiB(pids []int) int {
	sum := 0
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib, _ := strconv.Atoi(fields[0])
			sum += kib
		}
	}
	return sum
}
