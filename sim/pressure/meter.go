package pressure

import (
	"context"
	"crypto/sha256"
	"os"
	"sync/atomic"
	"time"
)

// Interval is the time between two measurements. One takes less than a millisecond of an emulated CPU.
const Interval = 250 * time.Millisecond

// Meter measures this machine until its context ends.
type Meter struct {
	Clock
	// scheduled is what the host reported last, in millionths; 0 before the first report.
	scheduled atomic.Int64

	cpus     []Use
	threads  map[int]Use
	computed [benchmarks]time.Duration
	first    time.Duration
	turn     int
}

// HostReports takes over what the host has measured of the machine as a whole: the part of the time in which it was scheduled.
func (m *Meter) HostReports(scheduled float64) { m.scheduled.Store(int64(scheduled * 1e6)) }

// Run measures until the context ends.
func (m *Meter) Run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	last := time.Now()
	m.look(0)
	m.Add(last, Figures{Shared: 1, Scheduled: 1})
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now := time.Now()
			figures := m.look(now.Sub(last))
			figures.Late = max(0, now.Sub(last)-Interval)
			m.Add(now, figures)
			last = now
		}
	}
}

// look measures the time since the last look.
func (m *Meter) look(elapsed time.Duration) Figures {
	f := Figures{Shared: m.shared(elapsed), Scheduled: 1, Slower: m.slower()}
	if reported := m.scheduled.Load(); reported > 0 {
		f.Scheduled = float64(reported) / 1e6
	}
	return f
}

// shared looks at the CPUs, or, where the kernel has no account of them, at the threads of this process, which share them with all others.
func (m *Meter) shared(elapsed time.Duration) float64 {
	if cpus, err := CPUs(); err == nil {
		before := m.cpus
		m.cpus = cpus
		return Shared(before, cpus, elapsed)
	}
	threads, err := Threads(os.Getpid())
	if err != nil {
		return 1
	}
	before := m.threads
	if m.threads = threads; before == nil {
		return 1
	}
	return Scheduled(before, threads, elapsed)
}

// The benchmark is a little computation once a second. The best of the last ones is what the processor gives while it is given.
const (
	benchmarks    = 8
	benchmarkWork = 4 << 10
	benchmarkTurn = int(time.Second / Interval)
	// noise is a difference between two bests that means nothing.
	noise = 1.5
)

// slower is how many times longer the benchmark takes than at the start; 0 if that is not known yet.
func (m *Meter) slower() float64 {
	if m.turn%benchmarkTurn == 0 {
		data := make([]byte, benchmarkWork)
		start := time.Now()
		sha256.Sum256(data)
		m.computed[m.turn/benchmarkTurn%benchmarks] = time.Since(start)
	}
	m.turn++
	if m.turn/benchmarkTurn < benchmarks {
		return 0
	}
	best := m.computed[0]
	for _, d := range m.computed {
		best = min(best, d)
	}
	if m.first == 0 {
		m.first = best
	}
	m.first = min(m.first, best)
	if ratio := float64(best) / float64(m.first); ratio > noise {
		return ratio
	}
	return 1
}
