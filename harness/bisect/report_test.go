package bisect

import (
	"strings"
	"testing"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

func TestJudge(t *testing.T) {
	found := func(ids ...finding.ID) []finding.Finding {
		var list []finding.Finding
		for _, id := range ids {
			list = append(list, finding.Finding{ID: id, Sentence: "it says " + string(id)})
		}
		return list
	}
	for name, c := range map[string]struct {
		verdict  event.VerdictKind
		findings []finding.Finding
		want     Kind
	}{
		"nothing":                {event.Pass, nil, Good},
		"the finding":            {event.Fail, found("hold-lost", wanted), Bad},
		"another one":            {event.Fail, found("hold-lost"), Other},
		"it ended":               {event.Fail, found("hold-lost", "subject-exited"), Skip},
		"it ended, but after it": {event.Fail, found("subject-exited", wanted), Bad},
		"it lacks a feature":     {event.Skip, nil, Skip},
		"our trouble":            {event.Infra, found(wanted), Infra},
	} {
		if got := Judge(wanted, event.Verdict{Kind: c.verdict, Reason: "why"}, c.findings); got.Kind != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	// Who searches for an end of the subject finds it.
	if got := Judge("subject-exited", event.Verdict{Kind: event.Fail}, found("subject-exited")); got.Kind != Bad {
		t.Errorf("got %s", got)
	}
}

func TestSum(t *testing.T) {
	good, strange, hit := Run{Kind: Good}, Run{Kind: Other, Findings: []finding.ID{"hold-lost"}}, Run{Kind: Bad, Findings: []finding.ID{wanted}}
	q := Question{Finding: wanted}
	for _, c := range []struct {
		besides []finding.ID
		runs    []Run
		want    Kind
	}{
		{nil, []Run{good, good, hit}, Bad},
		{nil, []Run{good, good}, Good},
		{nil, []Run{good, strange}, Skip},
		{[]finding.ID{"hold-lost"}, []Run{good, strange}, Good},
		{nil, []Run{{Kind: Skip}}, Skip},
		{nil, nil, Skip},
	} {
		q.Besides = c.besides
		if got := q.Sum(c.runs); got != c.want {
			t.Errorf("%v beside %v: got %s, want %s", c.runs, c.besides, got, c.want)
		}
	}
}

func TestReports(t *testing.T) {
	y := newSynthetic(line(20, map[int]string{4: "unbuildable", 6: "buildable", 11: "breaks", 12: "noop"})...)
	y.twins = map[string]string{"c11": "c03"}
	r := y.search(t, Question{}, y.history("c00", "c19"), anyCommit)
	text := Markdown(r, Setting{Scenario: "a-scenario", Family: "ipv6", Again: "proxyproof bisect …", Shown: []string{"the API server was refused"}})
	for _, want := range []string{"c11 (commit c11) broke this. Confidence: 9", "The same change is c03", "`apiserver-refused`, in ", "the API server was refused",
		"| before | c10 | none |", "| after | c1", "proxyproof bisect …"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	y = newSynthetic(line(30, map[int]string{10: "unbuildable", 14: "buildable", 12: "breaks"})...)
	r = y.search(t, Question{}, y.history("c00", "c29"), anyCommit)
	text = Markdown(r, Setting{})
	for _, want := range []string{"No single commit was found (narrowed)", "- c10 commit c10", "- c14 commit c14", "does not build"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}
