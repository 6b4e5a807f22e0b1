package worker

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"proxyproof/harness/wire"
)

// load measures how busy this machine is, from one look to the next.
type load struct{ idle, all uint64 }

// look tells what was idle since the last look, and what memory is free. What cannot be read counts as none.
func (l *load) look() wire.Beat {
	var beat wire.Beat
	if stat, err := os.ReadFile("/proc/stat"); err == nil {
		if now, err := parseLoad(string(stat)); err == nil {
			if now.all > l.all {
				beat.Idle = float64(now.idle-l.idle) / float64(now.all-l.all)
			}
			*l = now
		}
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		beat.Free = parseFree(string(info))
	}
	return beat
}

// parseLoad reads the first line of /proc/stat: "cpu", then ticks of user, nice, system, idle, iowait, irq, softirq, steal, and those of
// guests, which user has, too (proc(5)).
func parseLoad(stat string) (load, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	const ticks = 8
	if len(fields) < 1+ticks || fields[0] != "cpu" {
		return load{}, fmt.Errorf("the first line of /proc/stat is %q", line)
	}
	var now load
	for i, field := range fields[1 : 1+ticks] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return load{}, fmt.Errorf("read /proc/stat: %w", err)
		}
		now.all += n
		if i == 3 || i == 4 {
			now.idle += n
		}
	}
	return now, nil
}

// parseFree is MemAvailable of /proc/meminfo in bytes.
func parseFree(info string) int64 {
	_, rest, _ := strings.Cut(info, "\nMemAvailable:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}
