package report

import (
	"bytes"
	"strings"
	"testing"

	"proxyproof/harness/event"
)

// TestScenarioErrorIsNoHarnessError: every report says whose error it is, and where it stands.
func TestScenarioErrorIsNoHarnessError(t *testing.T) {
	o := outcome(event.Infra)
	o.Verdict.Author, o.Verdict.Line, o.Verdict.Reason = true, 7, "s.yaml:7:3: the API server refuses this step: no\n    7 |   - apply: |"
	s := Summary{Outcomes: []Outcome{o, outcome(event.Infra)}}
	if got := CountLine(s); got != "0 passed, 2 failed (1 scenario error, 1 harness error)" {
		t.Error(got)
	}
	for name, test := range map[string]struct {
		report func(w *bytes.Buffer) Reporter
		want   string
	}{
		"terminal":    {func(w *bytes.Buffer) Reporter { return Terminal{W: w} }, "    s.yaml:7:3: the API server refuses this step: no\n"},
		"annotations": {func(w *bytes.Buffer) Reporter { return Annotate{W: w} }, "::error file=s.yaml,line=7,title=error in the scenario::s.yaml:7:3"},
		"JUnit":       {func(w *bytes.Buffer) Reporter { return JUnit{W: w} }, `<error message="error in the scenario">s.yaml:7:3`},
	} {
		var text bytes.Buffer
		r := test.report(&text)
		r.Ended(o)
		if err := r.Finish(s); err != nil || !strings.Contains(text.String(), test.want) {
			t.Errorf("%s: got %v\n%s", name, err, text.String())
		}
	}
}
