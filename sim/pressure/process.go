package pressure

import (
	"context"
	"time"
)

// Watch measures how another process is scheduled until the context ends, and reports each interval. It reports nothing where the
// kernel has no accounts.
func Watch(ctx context.Context, pid int, interval time.Duration, report func(now time.Time, scheduled float64)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := time.Now()
	before, err := Threads(pid)
	for err == nil {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var threads map[int]Use
		if threads, err = Threads(pid); err != nil {
			return
		}
		now := time.Now()
		report(now, Scheduled(before, threads, now.Sub(last)))
		before, last = threads, now
	}
}
