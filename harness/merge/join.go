package merge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
)

// Twice is a case that two runs have.
type Twice struct{ Case, First, Second string }

func (t Twice) Error() string {
	return fmt.Sprintf("%s was run twice: in %s and in %s", t.Case, t.First, t.Second)
}

// Missing are cases of a plan that no run has.
type Missing []string

// missingMost is how many of them are named.
const missingMost = 20

func (m Missing) Error() string {
	lines := []string(m)
	if over := len(lines) - missingMost; over > 0 {
		lines = append(lines[:missingMost:missingMost], fmt.Sprintf("… and %d more", over))
	}
	return "the reports are not whole:\n" + strings.Join(lines, "\n")
}

// Join puts runs together as if they had been one. Every case that a plan names must have ended in exactly one of them.
func Join(runs []Run) (report.Summary, error) {
	var s report.Summary
	var order []string
	planned, ended := map[string]event.PlannedCase{}, map[string]string{}
	outcomes := map[string]report.Outcome{}
	name := namer(runs)
	for _, r := range runs {
		for _, c := range r.Plan.Cases {
			c.Subject += name(r.Plan)
			id := c.ID + name(r.Plan)
			if _, known := planned[id]; !known {
				planned[id], order = c, append(order, id)
			}
			o, has := r.outcome(id, c)
			if !has {
				continue
			}
			if first, twice := ended[id]; twice {
				return s, Twice{id, first, r.File}
			}
			ended[id], outcomes[id] = r.File, o
		}
		if r.End != nil {
			s.Took, s.Speed = max(s.Took, r.End.Took), max(s.Speed, r.End.Speed)
			s.Machines = append(s.Machines, r.End.Machines...)
		}
	}
	var missing Missing
	for _, id := range order {
		if o, has := outcomes[id]; has {
			s.Outcomes = append(s.Outcomes, o)
			continue
		}
		missing = append(missing, id+" is missing: "+absence(runs, planned[id]))
	}
	if missing != nil {
		return s, missing
	}
	return s, unended(runs)
}

// absence tells why a planned case may not be there.
func absence(runs []Run, c event.PlannedCase) string {
	var shard string
	for _, r := range runs {
		if !slices.ContainsFunc(r.Plan.Cases, func(p event.PlannedCase) bool { return p.ID == c.ID }) {
			continue
		}
		_, of, _ := strings.Cut(r.Plan.Shard, "/")
		if shard = fmt.Sprintf("%d/%s", c.Part, of); r.Plan.Shard == shard {
			return fmt.Sprintf("%s, of shard %s, has no verdict of it", r.File, shard)
		}
	}
	return fmt.Sprintf("shard %s, which has it, is not among the files", shard)
}

// unended tells of runs that have all their verdicts and broke off behind the last.
func unended(runs []Run) error {
	var errs []error
	for _, r := range runs {
		if r.End == nil {
			errs = append(errs, fmt.Errorf("%s: the run did not come to its end", r.File))
		}
	}
	return errors.Join(errs...)
}

// outcome is that of a case, if it has ended in this run.
func (r Run) outcome(id string, c event.PlannedCase) (report.Outcome, bool) {
	events := r.Events[c.ID]
	if len(events) == 0 || events[len(events)-1].Verdict == nil {
		return report.Outcome{}, false
	}
	return report.OutcomeOf(report.Case{
		ID: id, Scenario: &scenario.Scenario{Name: c.Scenario, File: c.File}, Family: scenario.FamilySet(c.Family), Subject: c.Subject, Repeat: c.Repeat,
	}, events, events[0].Time, took(events), nil), true
}

// took is the time that a case has taken.
func took(events []event.Event) time.Duration {
	last := events[len(events)-1]
	if last.Verdict.Took > 0 {
		return last.Verdict.Took
	}
	return last.Time.Sub(events[0].Time)
}

// namer tells what is added to the names of subjects: in what their runs differ.
func namer(runs []Run) func(event.Plan) string {
	backends, kernels := map[string]bool{}, map[string]bool{}
	for _, r := range runs {
		backends[r.Plan.Backend], kernels[r.Plan.Kernel] = true, true
	}
	return func(p event.Plan) string {
		var parts []string
		if len(kernels) > 1 {
			kernel := p.Kernel
			if kernel == "" {
				kernel = "newest"
			}
			parts = append(parts, "kernel "+kernel)
		}
		if len(backends) > 1 {
			parts = append(parts, p.Backend)
		}
		if parts == nil {
			return ""
		}
		return " (" + strings.Join(parts, ", ") + ")"
	}
}
