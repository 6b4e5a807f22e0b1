package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

// stream is what a run writes: a plan of four cases, of which this shard of two has the odd or the even ones.
func stream(shard int, change func(*event.Plan)) []event.Event {
	plan := event.Plan{Subjects: []string{"reference"}, Backend: "legacy", Shard: fmt.Sprintf("%d/2", shard)}
	for i := range 4 {
		plan.Cases = append(plan.Cases, event.PlannedCase{
			ID: fmt.Sprintf("s%d/ipv4@reference", i), Scenario: fmt.Sprintf("s%d", i), File: "s.yaml", Family: "ipv4", Subject: "reference",
			Repeat: "proxyproof run s.yaml", Part: i%2 + 1,
		})
	}
	if change != nil {
		change(&plan)
	}
	events := []event.Event{{Plan: &plan}}
	for _, c := range plan.Cases {
		if c.Part == shard {
			events = append(events,
				event.Event{Case: c.ID, Seq: 1, Phase: &event.Phase{Name: "world"}},
				event.Event{Case: c.ID, Seq: 2, Verdict: &event.Verdict{Kind: event.Pass, Took: time.Second}})
		}
	}
	return append(events, event.Event{End: &event.End{Took: time.Duration(shard) * time.Minute, Machines: []event.Machine{{Kernel: "6.1"}}}})
}

// wrote reads a stream back as a file of this name.
func wrote(t *testing.T, name string, events []event.Event) Run {
	t.Helper()
	var file bytes.Buffer
	for _, e := range events {
		if err := json.NewEncoder(&file).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	r, err := read(&file)
	if err != nil {
		t.Fatal(err)
	}
	r.File = name
	return r
}

func TestJoin(t *testing.T) {
	second := stream(2, nil)
	// The machine died under a case, which was then run again, and died again: that is told, not lost.
	second = slices.Insert(second, 1, event.Event{Case: "s1/ipv4@reference", Seq: 1, Finding: &finding.Finding{ID: "hold-lost"}})
	second[3].Verdict = &event.Verdict{Kind: event.Infra, Reason: "the worker died"}
	s, err := Join([]Run{wrote(t, "b", second), wrote(t, "a", stream(1, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range s.Outcomes {
		got = append(got, fmt.Sprintf("%s %s %d", o.Case.ID, o.Verdict.Kind, len(o.Findings)))
	}
	want := []string{"s0/ipv4@reference pass 0", "s1/ipv4@reference infra 0", "s2/ipv4@reference pass 0", "s3/ipv4@reference pass 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if s.Took != 2*time.Minute || len(s.Machines) != 2 || s.Outcomes[0].Took != time.Second {
		t.Errorf("got %v on %d machines, the first case in %v", s.Took, len(s.Machines), s.Outcomes[0].Took)
	}
}

// TestJoinOfSeveralMatrices: other back ends and kernels are other subjects, and nothing is there twice.
func TestJoinOfSeveralMatrices(t *testing.T) {
	var runs []Run
	for _, backend := range []string{"legacy", "nft"} {
		for shard := 1; shard <= 2; shard++ {
			runs = append(runs, wrote(t, fmt.Sprint(backend, shard), stream(shard, func(p *event.Plan) { p.Backend, p.Kernel = backend, map[string]string{"nft": "6.12"}[backend] })))
		}
	}
	s, err := Join(runs)
	if err != nil {
		t.Fatal(err)
	}
	subjects := map[string]int{}
	for _, o := range s.Outcomes {
		subjects[o.Case.Subject]++
	}
	if subjects["reference (kernel newest, legacy)"] != 4 || subjects["reference (kernel 6.12, nft)"] != 4 {
		t.Errorf("got %v", subjects)
	}
}

func TestMissingCasesAreNamed(t *testing.T) {
	first := wrote(t, "a", stream(1, nil))
	_, err := Join([]Run{first})
	var missing Missing
	if !errors.As(err, &missing) || len(missing) != 2 || !strings.Contains(err.Error(), "s1/ipv4@reference is missing: shard 2/2, which has it, is not among the files") {
		t.Errorf("a shard that was left out: got %v", err)
	}
	killed := stream(2, nil)
	_, err = Join([]Run{first, wrote(t, "b", killed[:4])})
	if !errors.As(err, &missing) || len(missing) != 1 || !strings.Contains(err.Error(), "s3/ipv4@reference is missing: b, of shard 2/2, has no verdict of it") {
		t.Errorf("a shard that was killed: got %v", err)
	}
	_, err = Join([]Run{first, wrote(t, "b", killed[:len(killed)-1])})
	if err == nil || !strings.Contains(err.Error(), "b: the run did not come to its end") {
		t.Errorf("a shard that was killed behind its last verdict: got %v", err)
	}
}

func TestCasesThatAreThereTwiceAreNamed(t *testing.T) {
	_, err := Join([]Run{wrote(t, "a", stream(1, nil)), wrote(t, "b", stream(2, nil)), wrote(t, "again", stream(1, nil))})
	if err == nil || err.Error() != "s0/ipv4@reference was run twice: in a and in again" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoStreamIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":               "event 1",
		"{":              "event 1",
		`{"case":"s/x"}`: "names no plan",
		`{"plan":{"cases":[]}}{"case":"s/ipv4@x","seq":1}`: "event 2 is of s/ipv4@x, which is not in the plan",
		`{"plan":{"cases":[]}}{"plan":{"cases":[]}}`:       "a second plan",
		`{"plan":{"cases":[]}}nonsense`:                    "event 2",
	} {
		if _, err := read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
