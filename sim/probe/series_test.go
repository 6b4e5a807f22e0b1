package probe

import (
	"testing"
	"time"
)

// clock is told in units of 10 ms.
func clock(n int) time.Time { return time.Unix(1000, 0).Add(time.Duration(n) * 10 * time.Millisecond) }

func TestSeries(t *testing.T) {
	const interval, patience = 50 * time.Millisecond, 100 * time.Millisecond
	type result struct {
		sent, answered int
		outage         time.Duration
		broken         bool
		why            string
	}
	// A step is at a time: send the next one, or decide the fate of one.
	send := func(s *series, now time.Time) { s.send(now) }
	answer := func(n int) func(*series, time.Time) {
		return func(s *series, now time.Time) { s.decide(n, answered, "", now) }
	}
	reject := func(n int) func(*series, time.Time) {
		return func(s *series, now time.Time) { s.decide(n, lost, "rejected", now) }
	}
	type step struct {
		at int
		do func(*series, time.Time)
	}
	for name, c := range map[string]struct {
		steps []step
		at    int
		want  result
	}{
		"nothing":                    {nil, 0, result{}},
		"one answered":               {[]step{{0, send}, {1, answer(0)}}, 5, result{sent: 1, answered: 1}},
		"one open is no loss":        {[]step{{0, send}, {1, answer(0)}, {5, send}}, 14, result{sent: 2, answered: 1}},
		"impatient":                  {[]step{{0, send}, {1, answer(0)}, {5, send}}, 16, result{2, 1, 50 * time.Millisecond, true, "no answer"}},
		"two lost, then recovery":    {[]step{{0, send}, {1, answer(0)}, {5, send}, {10, send}, {15, send}, {16, answer(3)}}, 30, result{4, 2, 100 * time.Millisecond, false, "no answer"}},
		"out of order":               {[]step{{0, send}, {5, send}, {6, answer(1)}, {7, answer(0)}}, 30, result{sent: 2, answered: 2}},
		"late by less than patience": {[]step{{0, send}, {9, answer(0)}}, 30, result{sent: 1, answered: 1}},
		"too late":                   {[]step{{0, send}, {5, send}, {6, answer(1)}, {12, answer(0)}}, 30, result{2, 1, 50 * time.Millisecond, false, "no answer"}},
		"rejected at once":           {[]step{{0, send}, {1, answer(0)}, {5, send}, {5, reject(1)}}, 5, result{2, 1, 50 * time.Millisecond, true, "rejected"}},
		"rejected for a while":       {[]step{{0, send}, {1, reject(0)}, {5, send}, {5, reject(1)}, {10, send}, {11, answer(2)}}, 11, result{3, 1, 100 * time.Millisecond, false, "rejected"}},
		"a duplicate":                {[]step{{0, send}, {1, answer(0)}, {2, answer(0)}, {3, reject(0)}}, 5, result{sent: 1, answered: 1}},
		"an answer to nothing":       {[]step{{0, send}, {1, answer(7)}, {2, answer(0)}}, 5, result{sent: 1, answered: 1}},
		"the longest of two counts":  {[]step{{0, send}, {0, reject(0)}, {5, send}, {5, answer(1)}, {10, send}, {10, reject(2)}, {15, send}, {15, reject(3)}, {20, send}, {20, answer(4)}}, 20, result{5, 2, 100 * time.Millisecond, false, "rejected"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := series{patience: patience, elapsed: Pace{}.orDefault().Elapsed}
			for _, step := range c.steps {
				step.do(&s, clock(step.at))
			}
			r := s.report(HeldResult{}, interval, clock(c.at))
			if got := (result{r.Sent, r.Answered, r.LongestOutage, r.Broken, r.Why}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestSeriesOnAStarvedMachine: patience and outages are in the time that counts.
func TestSeriesOnAStarvedMachine(t *testing.T) {
	tenth := func(from, to time.Time) time.Duration { return to.Sub(from) / 10 }
	s := series{patience: 100 * time.Millisecond, elapsed: tenth}
	s.send(clock(0))
	if r := s.report(HeldResult{}, 50*time.Millisecond, clock(90)); r.Broken || r.LongestOutage > 0 || !r.Open {
		t.Errorf("after 900 ms of which 90 count: %+v", r)
	}
	s.decide(0, answered, "", clock(90))
	if r := s.report(HeldResult{}, 50*time.Millisecond, clock(90)); r.Answered != 1 || r.Open {
		t.Errorf("answered after that: %+v", r)
	}
	s.send(clock(100))
	if r := s.report(HeldResult{}, 50*time.Millisecond, clock(210)); !r.Broken || r.Why != "no answer" || r.Open {
		t.Errorf("after 1.1 s of which 110 ms count: %+v", r)
	}
}
