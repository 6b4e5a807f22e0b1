package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"proxyproof/harness/finding"
)

// script is a system that goes through moments; the last one stays.
type script struct {
	moments []moment
	at      int
}

func (s *script) look(context.Context) (moment, error) {
	m := s.moments[min(s.at, len(s.moments)-1)]
	s.at++
	return m, nil
}

func quietly(s *script) *settler { return &settler{window: 3 * time.Millisecond, look: s.look} }

func repeat(m moment, n int) []moment {
	all := make([]moment, n)
	for i := range all {
		all[i] = m
	}
	return all
}

func TestObserve(t *testing.T) {
	still := moment{fingerprint: "a"}
	for name, c := range map[string]struct {
		moments []moment
		want    rest
	}{
		"nothing happens":            {repeat(still, 4), settled},
		"the kernel changes":         {append(repeat(still, 3), moment{fingerprint: "b"}), working},
		"a thread runs at the end":   {append(repeat(still, 3), moment{fingerprint: "a", busy: true}), working},
		"a thread runs at first":     {append([]moment{{fingerprint: "a", busy: true}}, repeat(still, 3)...), working},
		"CPU is used":                {append(repeat(still, 3), moment{fingerprint: "a", cpu: time.Second}), working},
		"bytes stay on their way":    {repeat(moment{fingerprint: "a", pending: 9}, 4), waiting},
		"bytes arrive in the window": {append([]moment{{fingerprint: "a", pending: 9}}, repeat(still, 3)...), settled},
		"a little CPU is background": {append(repeat(still, 3), moment{fingerprint: "a", cpu: 50 * time.Microsecond}), settled},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := quietly(&script{moments: c.moments}).observe(t.Context())
			if err != nil || got != c.want {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func everything(f []finding.Finding) []finding.Finding { return f }

var wrong = finding.Finding{ID: "reach-failed", Object: "x"}

func TestAwaitPassesWhenNothingIsFound(t *testing.T) {
	rounds := 0
	check := func(context.Context) ([]finding.Finding, error) {
		if rounds++; rounds < 3 {
			return []finding.Finding{wrong}, nil
		}
		return nil, nil
	}
	still := &script{moments: []moment{{fingerprint: "a"}}}
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: time.Minute}, check, everything)
	if err != nil || len(result.findings) != 0 || result.rounds != 3 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitGivesUpOnASystemAtRest(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return []finding.Finding{wrong}, nil }
	still := &script{moments: []moment{{fingerprint: "a"}}}
	start := time.Now()
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: 20 * time.Millisecond}, check, everything)
	if err != nil || len(result.findings) != 1 || time.Since(start) > 10*time.Second {
		t.Errorf("got %+v, %v after %v", result, err, time.Since(start))
	}
}

func TestAwaitDoesNotWaitForWhatIsKnown(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return []finding.Finding{wrong}, nil }
	still := &script{moments: []moment{{fingerprint: "a"}}}
	nothingNew := func([]finding.Finding) []finding.Finding { return nil }
	result, err := await(t.Context(), quietly(still), patience{budget: time.Minute, deaf: time.Minute, rest: time.Minute}, check, nothingNew)
	if err != nil || result.rounds != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitSaysThatTheSystemNeverSettled(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return nil, nil }
	restless := &script{moments: []moment{{fingerprint: "a", busy: true}}}
	result, err := await(t.Context(), quietly(restless), patience{budget: 30 * time.Millisecond, deaf: time.Minute, rest: time.Minute}, check, everything)
	if err != nil || len(result.findings) != 1 || result.findings[0].ID != "subject-not-settled" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitSaysThatTheSubjectIsCutOff(t *testing.T) {
	check := func(context.Context) ([]finding.Finding, error) { return nil, nil }
	cut := &script{moments: []moment{{fingerprint: "a", pending: 100}}}
	result, err := await(t.Context(), quietly(cut), patience{budget: time.Minute, deaf: 10 * time.Millisecond, rest: 10 * time.Millisecond}, check, everything)
	if err != nil || len(result.findings) != 1 || result.findings[0].ID != "subject-cut-off" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	still := &script{moments: []moment{{fingerprint: "a"}}}
	if _, err := await(ctx, quietly(still), patience{}, nil, everything); !errors.Is(err, over) {
		t.Errorf("got %v", err)
	}
}
