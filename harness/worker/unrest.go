package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

const (
	// unrestLooks is how often a system that is not at rest is looked at to find out why.
	unrestLooks = 6
	// unrestLines bounds the evidence of each kind.
	unrestLines = 8
)

// unrest is what went on with the subject on one node from look to look.
type unrest struct {
	node    string
	elapsed time.Duration
	// used is the CPU time of all its processes, those that have ended included.
	used    time.Duration
	threads map[int]*threadUnrest
	changes []string // of the kernel's state, in their order
	last    *netstate.State
	first   time.Duration // CPU time at the beginning
}

// threadUnrest is one thread that was seen.
type threadUnrest struct {
	world.Thread // as it was seen last
	first        time.Duration
	busy         int // looks at which it was at work
}

// unrest looks for a moment at what keeps the system from its rest, and describes it.
func (c *caseRun) unrest(ctx context.Context) []string {
	all := make([]unrest, len(c.proxies))
	start := time.Now()
	for i, p := range c.proxies {
		all[i] = unrest{node: p.node.Name(), threads: map[int]*threadUnrest{}}
	}
	for look := range unrestLooks {
		for i, p := range c.proxies {
			if err := all[i].look(ctx, p, look == 0); err != nil {
				return []string{fmt.Sprintf("what goes on cannot be looked at: %v", err)}
			}
		}
		if err := pause(ctx, c.window/settleLooks); err != nil {
			return nil
		}
	}
	var lines []string
	for _, u := range all {
		u.elapsed = time.Since(start)
		lines = append(lines, u.lines()...)
	}
	if n := c.missing(); n > 0 {
		lines = append(lines, fmt.Sprintf("it has not opened %d of its watches again", n))
	}
	if c.settler.pending > 0 {
		lines = append(lines, fmt.Sprintf("%d bytes or events that it was sent are not acknowledged", c.settler.pending))
	}
	if len(lines) == 0 {
		lines = []string{fmt.Sprintf("nothing was seen to change in %s of looking for it", brief(time.Since(start)))}
	}
	return lines
}

// look takes in what goes on now.
func (u *unrest) look(ctx context.Context, p *proxy, first bool) error {
	state, err := p.node.State(ctx)
	if err != nil {
		return err
	}
	if u.last != nil {
		for _, change := range netstate.Diff(u.last, state) {
			u.changes = append(u.changes, change.String())
		}
	}
	u.last = state
	if p.process == nil {
		return nil
	}
	activity, err := p.process.Activity()
	if err != nil {
		return err
	}
	threads, err := p.process.Threads()
	if err != nil {
		return err
	}
	if first {
		u.first = activity.CPU
	}
	u.used = activity.CPU - u.first
	u.see(threads, first)
	return nil
}

// see takes in threads. What a thread that came later used, it used since then.
func (u *unrest) see(threads []world.Thread, first bool) {
	for _, t := range threads {
		seen := u.threads[t.ID]
		if seen == nil {
			seen = &threadUnrest{}
			if first {
				seen.first = t.CPU
			}
			u.threads[t.ID] = seen
		}
		seen.Thread = t
		if t.Busy {
			seen.busy++
		}
	}
}

// lines describe it, most of the CPU time first; none if nothing went on.
func (u unrest) lines() []string {
	var lines []string
	if u.used > settleAllowance(u.elapsed) {
		lines = append(lines, fmt.Sprintf("on %s, it used %s of CPU time in %s", u.node, brief(u.used), brief(u.elapsed)))
	}
	var active []*threadUnrest
	for _, t := range u.threads {
		if t.busy > 0 || t.CPU > t.first {
			active = append(active, t)
		}
	}
	slices.SortFunc(active, func(a, b *threadUnrest) int {
		return cmp.Or(cmp.Compare(b.CPU-b.first, a.CPU-a.first), cmp.Compare(b.busy, a.busy), cmp.Compare(a.ID, b.ID))
	})
	for _, t := range active[:min(len(active), unrestLines)] {
		lines = append(lines, fmt.Sprintf("on %s, thread %d of process %d (%s) used %s of CPU time and was at work at %d of %d looks",
			u.node, t.ID, t.Pid, t.Process, brief(t.CPU-t.first), t.busy, unrestLooks))
	}
	for _, change := range u.changes[:min(len(u.changes), unrestLines)] {
		lines = append(lines, fmt.Sprintf("on %s, the kernel's state changed: %s", u.node, strings.TrimSpace(change)))
	}
	if over := len(u.changes) - unrestLines; over > 0 {
		lines = append(lines, fmt.Sprintf("on %s, %d more changes", u.node, over))
	}
	return lines
}

func brief(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
