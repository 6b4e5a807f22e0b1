// Package pressure measures how much of the time that passes is of use to the work on a machine, and how much is lost because others
// have its processors.
//
// Two things take time away. Threads of one machine share its CPUs, which the machine's own scheduler accounts. The threads that emulate
// or run the CPUs of a VM wait for processors of the host: with KVM the guest may learn that as steal time, under emulation it never
// does, since a CPU that is not run sees only a clock that jumps. The scheduler of the host accounts it.
package pressure

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Use is what a scheduler accounts for a CPU or a thread since its start: the time for which it ran, and the time for which threads,
// or it, could have run and did not.
type Use struct{ Run, Wait time.Duration }

// CPUs reads the accounts of this machine's CPUs. A kernel without CONFIG_SCHEDSTATS has none.
func CPUs() ([]Use, error) {
	text, err := os.ReadFile("/proc/schedstat")
	if err != nil {
		return nil, err
	}
	return parseCPUs(text)
}

// Threads reads the accounts of the threads of a process, by their ids.
func Threads(pid int) (map[int]Use, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return nil, err
	}
	uses := map[int]Use{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		tid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		if uses[tid], err = parseUse(bytes.Fields(text)); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
	if len(uses) == 0 {
		return nil, fmt.Errorf("read the scheduler's accounts of process %d: %w", pid, os.ErrNotExist)
	}
	return uses, nil
}

// parseCPUs reads /proc/schedstat (Documentation/scheduler/sched-stats.rst): of the nine figures of a CPU, the seventh is the time for
// which threads ran on it, the eighth that for which they waited.
func parseCPUs(text []byte) ([]Use, error) {
	var uses []Use
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || !bytes.HasPrefix(fields[0], []byte("cpu")) {
			continue
		}
		if len(fields) < 9 {
			return nil, fmt.Errorf("a CPU has %d figures in /proc/schedstat: %q", len(fields)-1, line)
		}
		use, err := parseUse(fields[7:9])
		if err != nil {
			return nil, fmt.Errorf("read /proc/schedstat: %w", err)
		}
		uses = append(uses, use)
	}
	if len(uses) == 0 {
		return nil, fmt.Errorf("no CPU in /proc/schedstat")
	}
	return uses, nil
}

// parseUse reads the nanoseconds of running and of waiting.
func parseUse(fields [][]byte) (Use, error) {
	if len(fields) < 2 {
		return Use{}, fmt.Errorf("want the times of running and waiting, got %q", fields)
	}
	run, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return Use{}, err
	}
	wait, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return Use{time.Duration(run), time.Duration(wait)}, err
}

// least is the smallest part of the time that is taken to be of use: nothing stands still for good without being dead.
const least = 0.01

// Shared is the part of the time that is of use to a thread of a machine whose CPUs several share: all of the time in which a CPU is
// idle, and of the rest what is left for one of those that want to run.
func Shared(before, now []Use, elapsed time.Duration) float64 {
	if len(before) != len(now) || len(now) == 0 || elapsed <= 0 {
		return 1
	}
	var sum float64
	for i := range now {
		run, wait := float64(now[i].Run-before[i].Run), float64(now[i].Wait-before[i].Wait)
		if run = min(max(run, 0), float64(elapsed)); run == 0 {
			sum++
			continue
		}
		idle := float64(elapsed) - run
		sum += (idle + run*run/(run+max(wait, 0))) / float64(elapsed)
	}
	return max(sum/float64(len(now)), least)
}

// Scheduled is the part of the time in which a process had the processors that it wanted, as the thread that waited longest had them:
// that may be the CPU which all others wait for.
func Scheduled(before, now map[int]Use, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 1
	}
	var longest time.Duration
	for tid, use := range now {
		longest = max(longest, use.Wait-before[tid].Wait)
	}
	return max(1-float64(longest)/float64(elapsed), least)
}
