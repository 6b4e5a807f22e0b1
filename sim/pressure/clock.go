package pressure

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// Figures are what was measured in one interval.
type Figures struct {
	// Shared is the part of the time that was of use although CPUs of this machine were shared, Scheduled the part in which the host
	// gave the machine the processors that it wanted.
	Shared, Scheduled float64
	// Slower is how many times longer the same computation takes than when the clock began; 0 if that is not known.
	Slower float64
	// Late is how late the timer of the interval fired.
	Late time.Duration
}

// ordinary is the contention that budgets were made for: cases run side by side, some more than there are CPUs.
const ordinary = 2.0

// part is how much of the time counts.
func (f Figures) part() float64 {
	return min(1, ordinary*f.Shared*f.Scheduled/max(f.Slower, 1))
}

// mostGap is what an interval counts at the most. In a longer one nothing was observed: the machine, or the whole VM, stood still.
const mostGap = time.Second

// kept is how many measurements a clock remembers at least: an hour of four a second.
const kept = 4 * 3600

// Clock counts the time that is of use. The zero value counts all time. It is safe for concurrent use.
type Clock struct {
	lock    sync.Mutex
	samples []sample
}

// sample is a moment, with sums of the time since the first: what was of use, and each of the two parts.
type sample struct {
	at                        time.Time
	useful, shared, scheduled time.Duration
	late                      time.Duration
	slower                    float64
}

// Add counts the time since the last measurement. The first one begins the clock.
func (c *Clock) Add(now time.Time, f Figures) {
	c.lock.Lock()
	defer c.lock.Unlock()
	next := sample{at: now, late: f.Late, slower: f.Slower}
	if n := len(c.samples); n > 0 {
		last := c.samples[n-1]
		elapsed := now.Sub(last.at)
		if elapsed <= 0 {
			return
		}
		next.useful = last.useful + times(min(elapsed, mostGap), f.part())
		next.shared = last.shared + times(elapsed, f.Shared)
		next.scheduled = last.scheduled + times(elapsed, f.Scheduled)
	}
	if c.samples = append(c.samples, next); len(c.samples) > 2*kept {
		c.samples = append(c.samples[:0], c.samples[kept:]...)
	}
}

func times(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// Useful is how much of the time between two moments was of use.
func (c *Clock) Useful(from, to time.Time) time.Duration {
	if !to.After(from) {
		return 0
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	return min(max(c.until(to)-c.until(from), 0), to.Sub(from))
}

// until is the useful time from the first measurement to a moment. Before the first, all time counts; after the last, it counts as it did
// last.
func (c *Clock) until(t time.Time) time.Duration {
	n := len(c.samples)
	if n == 0 {
		return t.Sub(time.Unix(0, 0))
	}
	first, last := c.samples[0], c.samples[n-1]
	switch {
	case t.Before(first.at):
		return first.useful - first.at.Sub(t)
	case n == 1:
		return t.Sub(first.at)
	case !t.Before(last.at):
		return last.useful + times(min(t.Sub(last.at), mostGap), rate(c.samples[n-2], last))
	}
	i := sort.Search(n, func(i int) bool { return c.samples[i].at.After(t) })
	before, after := c.samples[i-1], c.samples[i]
	return before.useful + times(t.Sub(before.at), rate(before, after))
}

func rate(a, b sample) float64 { return float64(b.useful-a.useful) / float64(b.at.Sub(a.at)) }

// Words are the figures of the time between two moments, for people.
func (c *Clock) Words(from, to time.Time) string {
	useful, elapsed := c.Useful(from, to), to.Sub(from)
	words := fmt.Sprintf("of %s, %s were of use", brief(elapsed), brief(useful))
	c.lock.Lock()
	defer c.lock.Unlock()
	within := c.samples[c.index(from):c.index(to)]
	if len(within) < 2 {
		return words
	}
	a, b := within[0], within[len(within)-1]
	all := float64(b.at.Sub(a.at))
	parts := []string{words,
		fmt.Sprintf("the host withheld processors for %.0f %% of the time", 100*(1-float64(b.scheduled-a.scheduled)/all)),
		fmt.Sprintf("a thread lost %.0f %% of it to others on the same machine", 100*(1-float64(b.shared-a.shared)/all)),
	}
	var late time.Duration
	slower := 0.0
	for _, s := range within {
		late, slower = max(late, s.late), max(slower, s.slower)
	}
	parts = append(parts, fmt.Sprintf("a timer fired up to %s late", brief(late)))
	if slower > 1 {
		parts = append(parts, fmt.Sprintf("computing took up to %.1f times as long as at the start", slower))
	}
	return strings.Join(parts, "; ")
}

// index is that of the first measurement at a moment or after it.
func (c *Clock) index(t time.Time) int {
	return sort.Search(len(c.samples), func(i int) bool { return !c.samples[i].at.Before(t) })
}

// brief prints a duration as precisely as a person needs it.
func brief(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
