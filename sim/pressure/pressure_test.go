package pressure

import (
	"os"
	"strings"
	"testing"
	"time"
)

const schedstat = `version 15
timestamp 4294894074
cpu0 0 0 0 0 0 0 5398286774 1648678447 2192
domain0 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
cpu1 0 0 0 0 0 0 4181956746 1203149720 1819
`

func TestParseCPUs(t *testing.T) {
	got, err := parseCPUs([]byte(schedstat))
	if err != nil || len(got) != 2 || got[0] != (Use{5398286774, 1648678447}) || got[1] != (Use{4181956746, 1203149720}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{"", "version 15\n", "cpu0 1 2 3\n", "cpu0 0 0 0 0 0 0 x 2 3\n", "cpu0 0 0 0 0 0 0 1 x 3\n"} {
		if got, err := parseCPUs([]byte(text)); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

// TestThisProcess: every kernel has accounts of threads, and this one is running.
func TestThisProcess(t *testing.T) {
	uses, err := Threads(os.Getpid())
	if err != nil {
		t.Skipf("no accounts here: %v", err)
	}
	var run time.Duration
	for _, use := range uses {
		run += use.Run
	}
	if run <= 0 {
		t.Errorf("got %v", uses)
	}
	if uses, err := Threads(1 << 30); err == nil {
		t.Errorf("a process that is not there has %v", uses)
	}
}

func TestShared(t *testing.T) {
	s := time.Second
	for name, c := range map[string]struct {
		before, now []Use
		want        float64
	}{
		"idle":                               {[]Use{{}, {}}, []Use{{}, {}}, 1},
		"busy alone":                         {[]Use{{}}, []Use{{Run: s}}, 1},
		"four share one":                     {[]Use{{}}, []Use{{Run: s, Wait: 3 * s}}, 0.25},
		"four share one for half the time":   {[]Use{{}}, []Use{{Run: s / 2, Wait: 3 * s / 2}}, 0.625},
		"another CPU is idle":                {[]Use{{}, {}}, []Use{{Run: s, Wait: 3 * s}, {}}, 0.625},
		"what was before does not count":     {[]Use{{Run: 9 * s, Wait: 9 * s}}, []Use{{Run: 10 * s, Wait: 9 * s}}, 1},
		"a CPU came":                         {[]Use{{}}, []Use{{Run: s, Wait: s}, {}}, 1},
		"nothing is known":                   {nil, nil, 1},
		"a thousand share one":               {[]Use{{}}, []Use{{Run: s, Wait: 999 * s}}, least},
		"more time than passed, by rounding": {[]Use{{}}, []Use{{Run: s + s/100}}, 1},
	} {
		if got := Shared(c.before, c.now, s); abs(got-c.want) > 0.001 {
			t.Errorf("%s: got %.3f, want %.3f", name, got, c.want)
		}
	}
}

func TestScheduled(t *testing.T) {
	s := time.Second
	for name, c := range map[string]struct {
		before, now map[int]Use
		want        float64
	}{
		"nobody waited":              {map[int]Use{1: {}}, map[int]Use{1: {Run: s}}, 1},
		"one of two waited":          {map[int]Use{1: {}, 2: {Wait: s}}, map[int]Use{1: {Run: s}, 2: {Wait: s + 3*s/4}}, 0.25},
		"a thread came":              {map[int]Use{1: {}}, map[int]Use{1: {}, 2: {Wait: s / 2}}, 0.5},
		"one waited all of the time": {map[int]Use{1: {}}, map[int]Use{1: {Wait: s}}, least},
		"nothing is known":           {nil, nil, 1},
	} {
		if got := Scheduled(c.before, c.now, s); abs(got-c.want) > 0.001 {
			t.Errorf("%s: got %.3f, want %.3f", name, got, c.want)
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }

var start = time.Unix(1000, 0)

func after(d time.Duration) time.Time { return start.Add(d) }

// run feeds a clock with the same figures four times a second.
func run(c *Clock, from, to time.Duration, f Figures) {
	for at := from; at <= to; at += Interval {
		c.Add(after(at), f)
	}
}

func TestClock(t *testing.T) {
	good, tenth := Figures{Shared: 1, Scheduled: 1}, Figures{Shared: 0.5, Scheduled: 0.1}
	s := time.Second
	for name, c := range map[string]struct {
		feed     func(*Clock)
		from, to time.Duration
		want     time.Duration
	}{
		"nothing is measured":                {func(*Clock) {}, 0, 5 * s, 5 * s},
		"a good machine":                     {func(c *Clock) { run(c, 0, 10*s, good) }, s, 6 * s, 5 * s},
		"ordinary contention":                {func(c *Clock) { run(c, 0, 10*s, Figures{Shared: 0.5, Scheduled: 1}) }, s, 6 * s, 5 * s},
		"starved":                            {func(c *Clock) { run(c, 0, 10*s, tenth) }, s, 6 * s, s / 2},
		"starved for a part":                 {func(c *Clock) { run(c, 0, 5*s, good); run(c, 5*s+Interval, 10*s, tenth) }, 0, 10 * s, 5*s + s/2},
		"within an interval":                 {func(c *Clock) { run(c, 0, 10*s, tenth) }, s, s + 100*time.Millisecond, 10 * time.Millisecond},
		"before the first":                   {func(c *Clock) { run(c, 0, 10*s, tenth) }, -2 * s, 10 * s, 3 * s},
		"after the last, as it was":          {func(c *Clock) { run(c, 0, 10*s, tenth) }, 10 * s, 10*s + s/2, 50 * time.Millisecond},
		"long after the last":                {func(c *Clock) { run(c, 0, 10*s, good) }, 10 * s, 60 * s, mostGap},
		"the machine stood still":            {func(c *Clock) { run(c, 0, s, good); run(c, 60*s, 61*s, good) }, 0, 61 * s, 2*s + mostGap},
		"a slower processor":                 {func(c *Clock) { run(c, 0, 10*s, Figures{Shared: 1, Scheduled: 1, Slower: 4}) }, s, 6 * s, 5 * s / 2},
		"in the wrong order":                 {func(c *Clock) { run(c, 0, 10*s, good) }, 6 * s, s, 0},
		"the first measurement and no other": {func(c *Clock) { c.Add(start, tenth) }, 0, 5 * s, 5 * s},
	} {
		var clock Clock
		c.feed(&clock)
		if got := clock.Useful(after(c.from), after(c.to)); got < c.want-time.Millisecond || got > c.want+time.Millisecond {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestClockForgets: a worker may live for days.
func TestClockForgets(t *testing.T) {
	var clock Clock
	run(&clock, 0, 3*time.Hour, Figures{Shared: 1, Scheduled: 1})
	if n := len(clock.samples); n < kept || n > 2*kept {
		t.Errorf("it remembers %d measurements", n)
	}
	if got := clock.Useful(after(2*time.Hour+30*time.Minute), after(3*time.Hour)); got != 30*time.Minute {
		t.Errorf("got %v", got)
	}
}

func TestWords(t *testing.T) {
	var clock Clock
	run(&clock, 0, 20*time.Second, Figures{Shared: 0.5, Scheduled: 0.1, Slower: 1.7, Late: 300 * time.Millisecond})
	got := clock.Words(after(time.Second), after(11*time.Second))
	for _, want := range []string{"of 10s, 590ms were of use", "withheld processors for 90 %", "lost 50 %", "up to 300ms late", "1.7 times"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func TestAllowance(t *testing.T) {
	const limit = 10 * time.Second
	for name, c := range map[string]struct {
		figures Figures
		at      time.Duration
		want    State
	}{
		"at first":                           {Figures{Shared: 1, Scheduled: 1}, 9 * time.Second, Left},
		"on a good machine":                  {Figures{Shared: 1, Scheduled: 1}, 11 * time.Second, Spent},
		"half of the time is of use":         {Figures{Shared: 0.25, Scheduled: 1}, 19 * time.Second, Left},
		"and then it is spent":               {Figures{Shared: 0.25, Scheduled: 1}, 21 * time.Second, Spent},
		"starved, and there is hope":         {Figures{Shared: 0.5, Scheduled: 0.1}, 59 * time.Second, Left},
		"starved for too long":               {Figures{Shared: 0.5, Scheduled: 0.1}, 61 * time.Second, Starved},
		"spent in the end, however long ago": {Figures{Shared: 0.5, Scheduled: 0.1}, 101 * time.Second, Spent},
	} {
		var clock Clock
		run(&clock, 0, 120*time.Second, c.figures)
		a := Allowance{&clock, limit, start}
		if got := a.State(after(c.at)); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
