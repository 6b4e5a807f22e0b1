package run

import (
	"testing"

	"proxyproof/harness/event"
	"proxyproof/harness/report"
)

func TestExitCode(t *testing.T) {
	author := event.Verdict{Kind: event.Infra, Author: true}
	kind := func(k event.VerdictKind) event.Verdict { return event.Verdict{Kind: k} }
	for _, test := range []struct {
		name     string
		verdicts []event.Verdict
		want     int
	}{
		{"nothing", nil, ExitPass},
		{"good", []event.Verdict{kind(event.Pass), kind(event.Known), kind(event.Skip)}, ExitPass},
		{"fail", []event.Verdict{kind(event.Pass), kind(event.Fail)}, ExitFail},
		{"stale", []event.Verdict{kind(event.StaleKnown)}, ExitFail},
		{"harness error", []event.Verdict{kind(event.Pass), kind(event.Infra)}, ExitInfra},
		{"scenario error", []event.Verdict{kind(event.Pass), author}, ExitUsage},
		{"both errors", []event.Verdict{kind(event.Infra), author}, ExitUsage},
		{"a result outweighs", []event.Verdict{author, kind(event.Infra), kind(event.Fail)}, ExitFail},
	} {
		var s report.Summary
		for _, v := range test.verdicts {
			s.Outcomes = append(s.Outcomes, report.Outcome{Verdict: v})
		}
		if got := ExitCode(s); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}
