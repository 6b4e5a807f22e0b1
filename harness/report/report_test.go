package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
)

func outcome(kind event.VerdictKind, findings ...finding.Finding) Outcome {
	c := Case{ID: "s/ipv6@reference", Scenario: &scenario.Scenario{Name: "s", File: "s.yaml"}, Family: "ipv6", Subject: "reference", Repeat: "proxyproof run s.yaml"}
	events := []event.Event{{Step: 1, Phase: &event.Phase{Name: "step", Title: "apply Service example"}}}
	for _, f := range findings {
		events = append(events, event.Event{Step: f.Step, Finding: &f})
	}
	return OutcomeOf(c, append(events, event.Event{Verdict: &event.Verdict{Kind: kind}}), time.Time{}, time.Second, nil)
}

func TestStoryTellsWhySinceWhenAndHowToRepeat(t *testing.T) {
	story := Story(outcome(event.Fail,
		finding.Finding{ID: "local-ips-incomplete", Sentence: "the set lacks an address", Evidence: []string{"expected one"}},
		finding.Finding{ID: "apiserver-refused", Step: 1, Sentence: "the API server refuses", Evidence: []string{"from laptop: rejected"}}))
	want := []string{
		"apiserver-refused: the API server refuses, since step 1 (apply Service example)",
		"  from laptop: rejected",
		"local-ips-incomplete: the set lacks an address, from the start",
		"  expected one",
		"again: proxyproof run s.yaml",
	}
	if strings.Join(story, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(story, "\n"))
	}
}

func TestStoryFitsOnAScreen(t *testing.T) {
	for n := range 40 {
		var findings []finding.Finding
		for i := range n {
			findings = append(findings, finding.Finding{ID: finding.ID(fmt.Sprintf("kind-%d", i)), Sentence: "wrong", Evidence: make([]string, i%7)})
		}
		story := Story(outcome(event.Fail, findings...))
		if len(story) > storyMost || !strings.HasPrefix(story[len(story)-1], "again: ") {
			t.Errorf("%d findings: %d lines:\n%s", n, len(story), strings.Join(story, "\n"))
		}
	}
}

func TestOutcomeWithoutVerdictIsInfra(t *testing.T) {
	c := Case{ID: "s/ipv4@x"}
	for name, o := range map[string]Outcome{
		"no verdict":         OutcomeOf(c, nil, time.Time{}, 0, nil),
		"the worker died":    OutcomeOf(c, nil, time.Time{}, 0, errors.New("gone")),
		"died after verdict": OutcomeOf(c, []event.Event{{Verdict: &event.Verdict{Kind: event.Pass}}}, time.Time{}, 0, errors.New("gone")),
	} {
		if o.Verdict.Kind != event.Infra || o.Verdict.Reason == "" {
			t.Errorf("%s: %+v", name, o.Verdict)
		}
	}
}

func TestCasesThatWereNotRunAreCountedNotListed(t *testing.T) {
	c := Case{ID: "s/ipv4@x", Scenario: &scenario.Scenario{Name: "s"}}
	var b bytes.Buffer
	terminal := Terminal{W: &b}
	s := Summary{}
	for _, err := range []error{errors.New("no image"), fmt.Errorf("%w: no worker", ErrNotRun), fmt.Errorf("%w: no worker", ErrNotRun)} {
		o := OutcomeOf(c, nil, time.Time{}, 0, err)
		terminal.Ended(o)
		s.Outcomes = append(s.Outcomes, o)
	}
	if err := terminal.Finish(s); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Count(text, c.ID) != 1 || !strings.Contains(text, "no image") || !strings.Contains(text, "\n2 more cases not run: no worker\n") ||
		!strings.HasSuffix(text, "0 passed, 3 failed (3 harness errors)\n") {
		t.Errorf("got\n%s", text)
	}
}

func TestCountLine(t *testing.T) {
	s := Summary{Outcomes: []Outcome{outcome(event.Pass), outcome(event.Known), outcome(event.Fail), outcome(event.Infra), outcome(event.StaleKnown), outcome(event.Skip)}}
	if got := CountLine(s); got != "2 passed, 3 failed, 1 skipped (1 passed with known issues, 1 harness error)" {
		t.Errorf("got %q", got)
	}
}

func TestJUnitIsXMLWithTheRightCounts(t *testing.T) {
	var b bytes.Buffer
	s := Summary{Outcomes: []Outcome{outcome(event.Pass), outcome(event.Fail, finding.Finding{ID: "x", Sentence: "a < b & c"}), outcome(event.Infra), outcome(event.Skip)}}
	if err := (JUnit{W: &b}).Finish(s); err != nil {
		t.Fatal(err)
	}
	var back junitSuites
	if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	suite := back.Suites[0]
	if suite.Tests != 4 || suite.Failures != 1 || suite.Errors != 1 || suite.Skipped != 1 || !strings.Contains(suite.Cases[1].Failure.Text, "a < b & c") {
		t.Errorf("got %+v", suite)
	}
}

func TestTable(t *testing.T) {
	at := func(name, subject string, o Outcome) Outcome {
		o.Case.Scenario, o.Case.Family, o.Case.Subject = &scenario.Scenario{Name: name}, "ipv6", subject
		return o
	}
	refused, lost := finding.Finding{ID: "apiserver-refused"}, finding.Finding{ID: "hold-lost"}
	s := Summary{Outcomes: []Outcome{
		at("a", "old", outcome(event.Fail, lost, refused, lost)), at("a", "new", outcome(event.Pass)),
		at("b", "old", outcome(event.Known, refused)), at("b", "new", outcome(event.StaleKnown)),
	}}
	want := []string{
		"scenario/family  old  new",
		"a/ipv6           AB   pass",
		"b/ipv6           (A)  stale-known",
		"A = apiserver-refused",
		"B = hold-lost",
	}
	if got := Table(s); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if got := Table(Summary{Outcomes: s.Outcomes[:1]}); got != nil {
		t.Errorf("one subject: got %q", got)
	}
}
