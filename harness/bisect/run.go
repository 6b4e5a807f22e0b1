package bisect

import (
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

// Kind is what one run says about a commit, with respect to the finding that is searched for.
type Kind string

// The verdicts. Other is a fail for other reasons: it is never taken for the finding, and only taken for its absence if what came
// is known not to hide it. Skip says nothing, and infra ends the search.
const (
	Good  Kind = "good"
	Bad   Kind = "bad"
	Skip  Kind = "skip"
	Other Kind = "other"
	Infra Kind = "infra"
)

// Run is one execution of the scenario.
type Run struct {
	Kind     Kind         `json:"kind"`
	Findings []finding.ID `json:"findings,omitempty"`
	// Reason is of a skip and of infra.
	Reason string `json:"reason,omitempty"`
}

// dead are findings that end a case: nothing was judged after them.
var dead = []finding.ID{"subject-not-ready", "subject-exited"}

// Judge reads the end of a case.
func Judge(want finding.ID, v event.Verdict, findings []finding.Finding) Run {
	r := Run{Findings: distinct(findings), Reason: v.Reason}
	has := func(id finding.ID) bool { return slices.Contains(r.Findings, id) }
	switch {
	case v.Kind == event.Infra:
		r.Kind = Infra
	case v.Kind == event.Skip:
		r.Kind = Skip
	case has(want):
		r.Kind = Bad
	case slices.ContainsFunc(dead, has):
		r.Kind, r.Reason = Skip, sentence(findings)
	case len(r.Findings) == 0:
		r.Kind = Good
	default:
		r.Kind = Other
	}
	return r
}

// sentence is what the finding that ended a case says.
func sentence(findings []finding.Finding) string {
	for _, f := range findings {
		if slices.Contains(dead, f.ID) {
			return string(f.ID) + ": " + f.Sentence
		}
	}
	return ""
}

func distinct(findings []finding.Finding) []finding.ID {
	var ids []finding.ID
	for _, f := range findings {
		ids = append(ids, f.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// String is the verdict with what was found.
func (r Run) String() string {
	words := string(r.Kind)
	if r.Kind == Skip || r.Kind == Infra {
		reason, _, _ := strings.Cut(r.Reason, "\n")
		return words + ": " + reason
	}
	if len(r.Findings) > 0 {
		words += " (" + orNothing(r.Findings) + ")"
	}
	return words
}

// Sum is what runs of one commit say together, where nothing else is known: one that shows the finding decides, and it is only
// absent if none of them has a strange finding, which may hide it.
func (q Question) Sum(runs []Run) Kind {
	s := newState(q, History{})
	t, mute := s.tally(runs, s.familiar())
	switch {
	case t.present > 0:
		return Bad
	case mute > 0 || t.absent == 0:
		return Skip
	}
	return Good
}
