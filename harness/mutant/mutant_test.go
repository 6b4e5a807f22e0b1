package mutant

import (
	"testing"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
)

var (
	leaky  = Defect{Name: "leaky", Findings: []finding.ID{"hold-lost", "reach-failed"}, Races: []finding.ID{"subject-cut-off"}}
	named  = &scenario.Scenario{Name: "named", Catches: []string{"leaky"}}
	others = &scenario.Scenario{Name: "others"}
)

func outcome(s *scenario.Scenario, kind event.VerdictKind, ids ...finding.ID) report.Outcome {
	o := report.Outcome{Case: report.Case{ID: s.Name, Scenario: s, Subject: "reference+leaky"}, Verdict: event.Verdict{Kind: kind}}
	for _, id := range ids {
		o.Findings = append(o.Findings, finding.Finding{ID: id})
	}
	return o
}

func TestJudge(t *testing.T) {
	both := outcome(named, event.Fail, "hold-lost", "reach-failed")
	for name, c := range map[string]struct {
		outcomes []report.Outcome
		good     bool
	}{
		"exactly its findings":               {[]report.Outcome{both, outcome(others, event.Pass)}, true},
		"in one family of the named one":     {[]report.Outcome{outcome(named, event.Pass), both, outcome(named, event.Pass)}, true},
		"found elsewhere, survived by named": {[]report.Outcome{outcome(named, event.Pass), outcome(others, event.Fail, "hold-lost", "reach-failed")}, false},
		"a finding that is not listed":       {[]report.Outcome{both, outcome(others, event.Fail, "ping-lost")}, false},
		"a finding that never comes":         {[]report.Outcome{outcome(named, event.Fail, "hold-lost")}, false},
		"one that a race decides":            {[]report.Outcome{both, outcome(others, event.Fail, "subject-cut-off")}, true},
		"our own trouble":                    {[]report.Outcome{both, outcome(named, event.Infra)}, false},
		"nobody tried":                       {nil, false},
	} {
		r := Judge([]Defect{leaky}, report.Summary{Outcomes: c.outcomes})[0]
		if r.Good() != c.good {
			t.Errorf("%s: good is %v: %q", name, r.Good(), r.Lines())
		}
		if !c.good && len(r.Lines()) < 2 {
			t.Errorf("%s: it does not say why: %q", name, r.Lines())
		}
	}
}
