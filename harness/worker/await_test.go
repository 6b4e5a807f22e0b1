package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"proxyproof/harness/finding"
	"proxyproof/sim/pressure"
)

// script is a system that goes through moments and fingerprints; the last of each stays.
type script struct {
	moments     []moment
	prints      []string
	at, printed int
}

func (s *script) look(context.Context) (moment, error) {
	m := s.moments[min(s.at, len(s.moments)-1)]
	s.at++
	return m, nil
}

func (s *script) print(context.Context) (string, error) {
	if len(s.prints) == 0 {
		return "a", nil
	}
	p := s.prints[min(s.printed, len(s.prints)-1)]
	s.printed++
	return p, nil
}

func quietly(s *script) *settler {
	return &settler{clock: &pressure.Clock{}, window: 3 * time.Millisecond, look: s.look, print: s.print}
}

func lasting(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestObserve(t *testing.T) {
	still, busy, late := moment{}, moment{busy: true}, moment{pending: 9}
	for name, c := range map[string]struct {
		script script
		want   rest
	}{
		"nothing happens":            {script{moments: []moment{still}}, settled},
		"the kernel changes":         {script{moments: []moment{still}, prints: []string{"a", "b"}}, working},
		"a thread runs at the end":   {script{moments: []moment{still, still, still, still, busy}}, working},
		"a thread runs in between":   {script{moments: []moment{still, still, still, busy, still}}, working},
		"a thread runs at first":     {script{moments: []moment{busy, still}}, working},
		"CPU is used":                {script{moments: []moment{still, still, still, still, {cpu: time.Second}}}, working},
		"bytes stay on their way":    {script{moments: []moment{late}}, waiting},
		"bytes arrive in the window": {script{moments: []moment{late, late, still}}, settled},
		"a little CPU is background": {script{moments: []moment{still, still, still, still, {cpu: 50 * time.Microsecond}}}, settled},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := quietly(&c.script).observe(t.Context())
			if err != nil || got != c.want {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestBreather(t *testing.T) {
	const window = 300 * time.Millisecond
	for _, c := range []struct {
		alike      int
		rest, want time.Duration
	}{
		{1, time.Minute, 0}, {2, time.Minute, 0}, {3, time.Minute, window}, {5, time.Minute, 4 * window}, {99, time.Minute, time.Minute / 8},
		{3, time.Second, time.Second / 8},
	} {
		if got := breather(c.alike, window, c.rest); got != c.want {
			t.Errorf("judged alike %d times with a rest of %v: got %v, want %v", c.alike, c.rest, got, c.want)
		}
	}
}

func everything(f []finding.Finding) []finding.Finding { return f }

var wrong = finding.Finding{ID: "reach-failed", Object: "x"}

// TestAwaitLooksTwice: one judgement may take longer than a subject can rest, when it waits for an answer in vain.
func TestAwaitLooksTwice(t *testing.T) {
	rounds := 0
	check := func(context.Context) ([]finding.Finding, error) {
		if rounds++; rounds < 2 {
			return []finding.Finding{wrong}, nil
		}
		return nil, nil
	}
	still := &script{moments: []moment{{}}}
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: lasting(0)}, check, everything)
	if err != nil || len(result.findings) != 0 || result.rounds != 2 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitPassesWhenNothingIsFound(t *testing.T) {
	rounds := 0
	check := func(context.Context) ([]finding.Finding, error) {
		if rounds++; rounds < 3 {
			return []finding.Finding{wrong}, nil
		}
		return nil, nil
	}
	still := &script{moments: []moment{{}}}
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: lasting(time.Minute)}, check, everything)
	if err != nil || len(result.findings) != 0 || result.rounds != 3 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitGivesUpOnASystemAtRest(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return []finding.Finding{wrong}, nil }
	still := &script{moments: []moment{{}}}
	start := time.Now()
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: lasting(20 * time.Millisecond)}, check, everything)
	if err != nil || len(result.findings) != 1 || time.Since(start) > 10*time.Second {
		t.Errorf("got %+v, %v after %v", result, err, time.Since(start))
	}
}

func TestAwaitDoesNotWaitForWhatIsKnown(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return []finding.Finding{wrong}, nil }
	still := &script{moments: []moment{{}}}
	nothingNew := func([]finding.Finding) []finding.Finding { return nil }
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: lasting(time.Minute)}, check, nothingNew)
	if err != nil || result.rounds != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitSaysThatTheSystemNeverSettled(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return nil, nil }
	restless := &script{moments: []moment{{busy: true}}}
	result, err := await(t.Context(), quietly(restless), patience{budget: 30 * time.Millisecond, deaf: time.Minute, rest: lasting(time.Minute)}, check, everything)
	if err != nil || len(result.findings) != 1 || result.findings[0].ID != "subject-not-settled" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitGivesUpWhereThereIsNoHope(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return nil, nil }
	floods, looks := &script{moments: []moment{{busy: true}}}, 0
	hopeless := func() bool { looks++; return looks > 3 }
	p := patience{budget: time.Minute, deaf: time.Minute, rest: lasting(time.Minute), hopeless: hopeless}
	result, err := await(t.Context(), quietly(floods), p, check, everything)
	if err != nil || looks != 4 || len(result.findings) != 1 || result.findings[0].ID != "subject-not-settled" {
		t.Errorf("after %d looks: %+v, %v", looks, result, err)
	}
}

func TestAwaitSaysThatTheSubjectIsCutOff(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return nil, nil }
	for name, moments := range map[string][]moment{
		"at rest":                   {{pending: 100}},
		"trying to connect forever": {{pending: 100, busy: true}},
	} {
		cut := &script{moments: moments}
		result, err := await(t.Context(), quietly(cut), patience{budget: time.Minute, deaf: 10 * time.Millisecond, rest: lasting(10 * time.Millisecond)}, check, everything)
		if err != nil || len(result.findings) != 1 || result.findings[0].ID != "subject-cut-off" {
			t.Errorf("%s: got %+v, %v", name, result, err)
		}
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	still := &script{moments: []moment{{}}}
	if _, err := await(ctx, quietly(still), patience{}, nil, everything); !errors.Is(err, over) {
		t.Errorf("got %v", err)
	}
}
