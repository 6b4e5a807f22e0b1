package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"proxyproof/harness/finding"
	"proxyproof/harness/subject"
	"proxyproof/sim/pressure"
	"proxyproof/sim/world"
)

// starving is a clock on which nearly nothing is of use.
func starving(t *testing.T) *pressure.Clock {
	t.Helper()
	clock := &pressure.Clock{}
	now := time.Now()
	for at := now.Add(-time.Second); at.Before(now.Add(10 * time.Second)); at = at.Add(pressure.Interval) {
		clock.Add(at, pressure.Figures{Shared: 0.1, Scheduled: 0.1})
	}
	return clock
}

// TestAwaitOnAStarvedMachine: what a subject did not do in time says nothing about it.
func TestAwaitOnAStarvedMachine(t *testing.T) {
	silent := []finding.Finding{wrong}
	for name, c := range map[string]struct {
		moments []moment
		found   []finding.Finding
		doubts  bool
		rest    time.Duration
	}{
		"it never settles":          {[]moment{{busy: true}}, nil, false, 0},
		"it seems to be cut off":    {[]moment{{pending: 9, busy: true}}, nil, false, 0},
		"probes have got no answer": {[]moment{{}}, silent, true, 0},
		"it seems to rest":          {[]moment{{}}, silent, false, 20 * time.Millisecond},
	} {
		s := quietly(&script{moments: c.moments})
		s.clock = starving(t)
		var doubts int64
		check := func(context.Context) ([]finding.Finding, error) {
			if c.doubts {
				doubts++
			}
			return c.found, nil
		}
		p := patience{budget: 30 * time.Millisecond, deaf: 20 * time.Millisecond, rest: lasting(c.rest), doubts: func() int64 { return doubts }}
		result, err := await(t.Context(), s, p, check, everything)
		var starved *pressure.StarvedError
		if !errors.As(err, &starved) || !strings.Contains(err.Error(), "of use") {
			t.Errorf("%s: got %+v, %v", name, result, err)
		}
	}
}

// TestAwaitLooksAgainWhenItDoubts: that a probe without enough time is not believed does not keep a good case from passing.
func TestAwaitLooksAgainWhenItDoubts(t *testing.T) {
	var doubts int64
	check := func(context.Context) ([]finding.Finding, error) {
		if doubts++; doubts < 3 {
			return []finding.Finding{wrong}, nil
		}
		return nil, nil
	}
	p := patience{budget: time.Minute, deaf: time.Minute, rest: lasting(0), doubts: func() int64 { return doubts }}
	result, err := await(t.Context(), quietly(&script{moments: []moment{{}}}), p, check, everything)
	if err != nil || len(result.findings) != 0 || result.rounds != 3 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestStretchFor(t *testing.T) {
	for useful, want := range map[time.Duration]float64{recently: 1, recently / 2: 2, recently / 100: mostStretch, 0: mostStretch} {
		if got := stretchFor(useful); got != want {
			t.Errorf("with %v of %v: got %v, want %v", useful, recently, got, want)
		}
	}
}

// TestUnrest: the evidence names what used the processor and what changed, the worst first.
func TestUnrest(t *testing.T) {
	u := unrest{node: "cp", elapsed: time.Second, used: 700 * time.Millisecond, threads: map[int]*threadUnrest{}, changes: []string{"+ a", "- a"}}
	proxy := world.Thread{Pid: 7, ID: 8, Process: "proxy", CPU: 5 * time.Second}
	idle := world.Thread{Pid: 7, ID: 7, Process: "proxy", CPU: time.Second}
	u.see([]world.Thread{proxy, idle}, true)
	proxy.CPU += 100 * time.Millisecond
	proxy.Busy = true
	u.see([]world.Thread{proxy, idle, {Pid: 9, ID: 9, Process: "iptables-save", CPU: 300 * time.Millisecond}}, false)
	got := strings.Join(u.lines(), "\n")
	want := strings.Join([]string{
		"on cp, it used 700ms of CPU time in 1s",
		"on cp, thread 9 of process 9 (iptables-save) used 300ms of CPU time and was at work at 0 of 6 looks",
		"on cp, thread 8 of process 7 (proxy) used 100ms of CPU time and was at work at 1 of 6 looks",
		"on cp, the kernel's state changed: + a",
		"on cp, the kernel's state changed: - a",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	still := unrest{node: "cp", elapsed: time.Second, threads: map[int]*threadUnrest{}}
	still.see([]world.Thread{idle}, true)
	if lines := still.lines(); len(lines) > 0 {
		t.Errorf("of one that rests: %q", lines)
	}
	u.changes = make([]string, unrestLines+5)
	if lines := u.lines(); !strings.Contains(lines[len(lines)-1], "5 more changes") {
		t.Errorf("got %q", lines)
	}
}

// TestOverdue: a sign of life that is missing is told from one that is late.
func TestOverdue(t *testing.T) {
	beat := subject.Heartbeat{Of: "part", Due: 3 * time.Second, Grace: time.Second, Again: 5 * time.Second}
	start := time.Unix(1000, 0)
	all := func(from, to time.Time) time.Duration { return to.Sub(from) }
	for name, c := range map[string]struct {
		at     []int // seconds after the start
		speed  float64
		useful func(from, to time.Time) time.Duration
		want   int
	}{
		"none":                                 {nil, 1, all, 0},
		"one on a nominal machine":             {[]int{10}, 1, all, 1},
		"one on a slow machine":                {[]int{10}, 9, all, 0},
		"again and again on a slow machine":    {[]int{10, 15, 20}, 9, all, 1},
		"late twice":                           {[]int{10, 15, 40, 45}, 9, all, 0},
		"again and again on a starved machine": {[]int{10, 15, 20}, 9, func(a, b time.Time) time.Duration { return b.Sub(a) / 9 }, 0},
		"for ever, even on a starved machine":  {[]int{10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85}, 9, func(a, b time.Time) time.Duration { return b.Sub(a) / 9 }, 1},
	} {
		o := overdue{}
		for _, at := range c.at {
			if !o.add(beat, "missed", start, start.Add(time.Duration(at)*time.Second)) {
				t.Errorf("%s: due after %v, and not after %d s", name, beat.Due, at)
			}
		}
		if got := o.missed(c.speed, c.useful); len(got) != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if o := (overdue{}); o.add(beat, "missed", start, start.Add(2*time.Second)) {
		t.Error("a process is believed to owe a sign of life before it is due")
	}
}
