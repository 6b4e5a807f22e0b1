package worker

import (
	"context"
	"fmt"
	"time"

	"proxyproof/harness/finding"
)

// checks judge the present state. They are pure looks: repeating them changes nothing.
type checks func(ctx context.Context) ([]finding.Finding, error)

// awaited is how a wait ended.
type awaited struct {
	findings []finding.Finding
	rounds   int
	settling time.Duration
}

// patience bounds a wait for checks to hold.
type patience struct {
	// budget is the longest wait altogether.
	budget time.Duration
	// rest is how long findings must stay the same on a settled system before they are believed: longer than any delay after
	// which the subject might still act by itself.
	rest time.Duration
}

// await judges until nothing is found and the system is settled. It gives up when the budget is spent, or when the system has
// been settled with findings for longer than the subject could be resting; then it returns the last findings. fresh tells which
// findings are worth waiting for: those that were reported at an earlier step are not.
func await(ctx context.Context, s *settler, p patience, check checks, fresh func([]finding.Finding) []finding.Finding) (awaited, error) {
	start := time.Now()
	var result awaited
	var last string    // fingerprint at the last judgement
	var rest time.Time // since when settled with findings
	for {
		before := time.Now()
		settled, fingerprint, err := s.observe(ctx)
		result.settling += time.Since(before)
		if err != nil {
			return result, err
		}
		spent := time.Since(start) > p.budget
		if !settled && !spent {
			rest = time.Time{}
			continue
		}
		if rest.IsZero() || fingerprint != last {
			rest = time.Now()
		}
		last = fingerprint
		if result.findings, err = check(ctx); err != nil {
			return result, err
		}
		result.rounds++
		awaiting := fresh(result.findings)
		switch {
		case len(awaiting) == 0 && settled:
			return result, nil
		case spent:
			if !settled {
				result.findings = append(result.findings, unsettled(p.budget))
			}
			return result, nil
		case time.Since(rest) > p.rest:
			return result, nil
		}
	}
}

// unsettled is the finding that the system never came to rest.
func unsettled(budget time.Duration) finding.Finding {
	return finding.Finding{
		ID:       "subject-not-settled",
		Sentence: fmt.Sprintf("the subject did not come to rest within %v: it kept working or the kernel's state kept changing", budget.Round(time.Second)),
	}
}
