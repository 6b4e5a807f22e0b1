// Package report tells people and programs what happened. Every report is a reader of the event stream and knows nothing else.
package report

import (
	"errors"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
)

// Case is what a report knows of a case before it runs.
type Case struct {
	ID       string // "scenario/family@subject"
	Scenario *scenario.Scenario
	Family   scenario.FamilySet
	Subject  string
	// Repeat is the command that runs just this case again.
	Repeat string
}

// Outcome is a case that has ended.
type Outcome struct {
	Case     Case
	Verdict  event.Verdict
	Findings []finding.Finding
	Events   []event.Event
	Start    time.Time
	Took     time.Duration // by the orchestrator's clock
	NotRun   bool          // it was given up before it began; its verdict is infra
}

// ErrNotRun is in the error of a case that was given up before it began.
var ErrNotRun = errors.New("not run")

// Summary is the end of a run.
type Summary struct {
	Outcomes []Outcome
	Took     time.Duration
	// Machines are what the workers ran on.
	Machines []event.Machine
	Speed    float64
}

// Count is the number of outcomes with a verdict.
func (s Summary) Count(kind event.VerdictKind) int {
	n := 0
	for _, o := range s.Outcomes {
		if o.Verdict.Kind == kind {
			n++
		}
	}
	return n
}

// authorErrors is the number of cases that could not run as their scenarios are written.
func (s Summary) authorErrors() int {
	n := 0
	for _, o := range s.Outcomes {
		if o.Verdict.Author {
			n++
		}
	}
	return n
}

// Reporter follows a run. Calls come from one goroutine at a time.
type Reporter interface {
	// Start tells which cases were selected.
	Start(cases []Case)
	// Notice is one line about the run as a whole: which lane, a fallback, a retry.
	Notice(text string)
	Event(e event.Event)
	Ended(o Outcome)
	Finish(s Summary) error
}

// OutcomeOf reads the stream of a case. A stream without a verdict is infra, with the error that ended it.
func OutcomeOf(c Case, events []event.Event, start time.Time, took time.Duration, err error) Outcome {
	o := Outcome{Case: c, Events: events, Start: start, Took: took, NotRun: errors.Is(err, ErrNotRun)}
	for _, e := range events {
		if e.Finding != nil {
			o.Findings = append(o.Findings, *e.Finding)
		}
		if e.Verdict != nil {
			o.Verdict = *e.Verdict
		}
	}
	switch {
	case err != nil:
		o.Verdict = event.Verdict{Kind: event.Infra, Reason: err.Error(), Took: took}
	case o.Verdict.Kind == "":
		o.Verdict = event.Verdict{Kind: event.Infra, Reason: "the worker ended the case without a verdict", Took: took}
	}
	return o
}
