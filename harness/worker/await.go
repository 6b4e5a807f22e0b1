package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"proxyproof/harness/finding"
	"proxyproof/sim/pressure"
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
	// budget is the longest wait altogether, in useful time.
	budget time.Duration
	// rest is how long findings must stay the same on a settled system before they are believed: longer than any delay after
	// which the subject might still act by itself, as things are.
	rest func() time.Duration
	// hopeless tells that the subject will not come to rest, whatever the budget; nil: it may.
	hopeless func() bool
	// deaf is how long a subject may fail to acknowledge what it was sent, in useful time.
	deaf time.Duration
	// doubts counts the probes that had too little time for an answer; nil: none had. Findings of a judgement with such probes are not believed.
	doubts func() int64
	// unrest describes what goes on in a system that is not at rest; nil: nobody knows.
	unrest func(ctx context.Context) []string
}

// await judges until nothing is found and the system is settled. It gives up when the budget is spent, or when the system has
// been settled, for longer in all than the subject could be resting and for two judgements at least, without a change in the kernel
// or in what is found; then it returns the last findings. fresh tells which findings are worth waiting for: those that were reported at an earlier step are
// not. All of these times count as far as they were of use to the subject. The error is a *pressure.StarvedError if the machine was too
// starved for the budget to be spent.
func await(ctx context.Context, s *settler, p patience, check checks, fresh func([]finding.Finding) []finding.Finding) (awaited, error) {
	start := time.Now()
	budget := s.clock.Allow(p.budget)
	var result awaited
	var last string                  // fingerprint and findings at the last judgement
	var rested, cutOff time.Duration // settled with these; without an acknowledgement of the subject
	alike := 0                       // judgements with these
	var paused time.Duration         // before the present look
	for {
		before := time.Now()
		state, fingerprint, err := s.observe(ctx)
		result.settling += time.Since(before)
		if err != nil {
			return result, err
		}
		if s.pending > 0 { // whether the process is at work or not: it is the kernel that acknowledges
			cutOff += s.clock.Useful(before, time.Now())
		} else {
			cutOff = 0
		}
		left := budget.State(time.Now())
		if left == pressure.Starved {
			return result, budget.Err("that the subject did not come to rest with everything as it should be")
		}
		spent, unreachable := left == pressure.Spent || p.hopeless != nil && p.hopeless(), cutOff > p.deaf
		if state != settled && !spent && !unreachable {
			paused = 0 // nobody knows what went on in it
			continue
		}
		doubts := p.doubted()
		if result.findings, err = check(ctx); err != nil {
			return result, err
		}
		result.rounds++
		if p.doubted() > doubts && len(fresh(result.findings)) > 0 {
			if budget.Over(time.Now()) {
				return result, budget.Err("that probes got no answer")
			}
			last, paused = "", 0
			continue
		}
		switch {
		case unreachable:
			result.findings = append(result.findings, cutOffFinding(p.deaf))
			fingerprint = "" // it may try to reach the API server again and again, and is not looked at while it does
		case spent && state != settled:
			result.findings = append(result.findings, unsettled(time.Since(start), p.goingOn(ctx)))
		}
		awaiting := fresh(result.findings)
		if now := fingerprint + keys(awaiting); now != last {
			last, rested, alike, paused = now, 0, 0, 0
		}
		rested += s.clock.Useful(before.Add(-paused), time.Now())
		alike++
		rest := p.rest()
		if len(awaiting) == 0 || spent || rested > rest && alike > 1 {
			return result, nil
		}
		paused = breather(alike, s.window, rest)
		if err := pause(ctx, paused); err != nil {
			return result, err
		}
	}
}

// breather is how long to leave a system alone that was judged alike several times: what takes long to change need not be looked at all the
// time, and looking takes the processors from others. What changes is noticed late by an eighth of the longest rest at most.
func breather(alike int, window, rest time.Duration) time.Duration {
	const eager = 3
	if alike < eager {
		return 0
	}
	return min(window<<min(alike-eager, 10), rest/8)
}

// cutOffFinding is about a subject that cannot hear the API server.
func cutOffFinding(after time.Duration) finding.Finding {
	return finding.Finding{
		ID:       "subject-cut-off",
		Sentence: fmt.Sprintf("the subject is cut off from the API server: for %v it has not acknowledged what its watches were sent", after.Round(time.Second)),
	}
}

// keys identifies findings.
func keys(findings []finding.Finding) string {
	var all strings.Builder
	for _, f := range findings {
		all.WriteString(f.Key() + "\n")
	}
	return all.String()
}

// doubted is how many probes had too little time so far.
func (p patience) doubted() int64 {
	if p.doubts == nil {
		return 0
	}
	return p.doubts()
}

// goingOn is evidence of what keeps the system from its rest.
func (p patience) goingOn(ctx context.Context) []string {
	if p.unrest == nil {
		return nil
	}
	return p.unrest(ctx)
}

// unsettled is the finding that the system never came to rest.
func unsettled(after time.Duration, evidence []string) finding.Finding {
	return finding.Finding{
		ID:       "subject-not-settled",
		Sentence: fmt.Sprintf("the subject did not come to rest within %v: it kept working or the kernel's state kept changing", after.Round(time.Second)),
		Evidence: evidence,
	}
}
