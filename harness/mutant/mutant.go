// Package mutant is the kill matrix: every defect of the zoo against the scenarios that claim to catch it. A defect that survives
// one of them, a finding that its entry does not list, and one that it lists and that never comes, are errors: of the scenario, of
// the harness, or of the entry.
package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
)

// Defect is an entry of the zoo, as the binary that has it says.
type Defect struct {
	Name     string       `json:"name"`
	Findings []finding.ID `json:"findings"`
	// Races are findings that may come or not.
	Races []finding.ID `json:"races"`
	// Perturb is what is done to the scenarios that claim to catch it besides what they say.
	Perturb []scenario.Perturbation `json:"perturb"`
}

// List asks a binary for its defects. Another build may know findings that this program does not.
func List(ctx context.Context, binary string) ([]Defect, error) {
	var words bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "--list-defects")
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		why, _, _ := strings.Cut(strings.TrimSpace(words.String()), "\n") // what follows is how to use it
		return nil, fmt.Errorf("ask %s for its defects: %w: %s", binary, err, why)
	}
	var zoo []Defect
	if err := json.Unmarshal(out, &zoo); err != nil {
		return nil, fmt.Errorf("read the defects that %s lists: %w", binary, err)
	}
	return zoo, nil
}

// Has checks that a defect is among others.
func Has(zoo []Defect, name string) error {
	var names []string
	for _, d := range zoo {
		names = append(names, d.Name)
	}
	if slices.Contains(names, name) {
		return nil
	}
	hint := "`reference-defective --list-defects` lists them"
	if near := scenario.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s? %s", near, hint)
	}
	return fmt.Errorf("no defect is called %q; %s", name, hint)
}

// Zoo asks the binary for its defects and checks that this program understands them.
func Zoo(ctx context.Context, binary string) ([]Defect, error) {
	zoo, err := List(ctx, binary)
	if err != nil {
		return nil, err
	}
	for _, d := range zoo {
		for _, id := range d.all() {
			if _, known := finding.Lookup(id); !known {
				return nil, fmt.Errorf("defect %s lists %s, which is no finding", d.Name, id)
			}
		}
		for _, kind := range d.Perturb {
			if !slices.Contains(scenario.Perturbations(), kind) {
				return nil, fmt.Errorf("defect %s is to be perturbed by %s, which is no perturbation", d.Name, kind)
			}
		}
	}
	return zoo, nil
}

// all are the findings that may come.
func (d Defect) all() []finding.ID { return slices.Concat(d.Findings, d.Races) }

// Spec is the subject that has the defect.
func (d Defect) Spec() string { return "reference+" + d.Name }

// IsCaughtBy tells whether a scenario claims to catch the defect.
func (d Defect) IsCaughtBy(s *scenario.Scenario) bool { return slices.Contains(s.Catches, d.Name) }

// Result is what became of one defect.
type Result struct {
	Defect Defect
	// Cases that ran with it, and those of them in which something was found.
	Cases, Killed int
	// Survived are the scenarios that claim to catch it and found nothing in any family.
	Survived []string
	// Unlisted are findings that its entry does not have, with a case of each; Missing are those that never came.
	Unlisted map[finding.ID]string
	Missing  []finding.ID
	// Trouble are cases without a verdict about the subject.
	Trouble []string
}

// Good tells whether the defect gave exactly its findings wherever it was to be caught.
func (r Result) Good() bool {
	return len(r.Survived)+len(r.Unlisted)+len(r.Missing)+len(r.Trouble) == 0 && r.Killed > 0
}

// Judge reads the matrix.
func Judge(zoo []Defect, s report.Summary) []Result {
	var results []Result
	for _, d := range zoo {
		results = append(results, d.judge(s.Outcomes))
	}
	return results
}

func (d Defect) judge(outcomes []report.Outcome) Result {
	r := Result{Defect: d, Unlisted: map[finding.ID]string{}}
	came, caught := map[finding.ID]bool{}, map[string]bool{}
	for _, o := range outcomes {
		if o.Case.Subject != d.Spec() {
			continue
		}
		r.Cases++
		name := o.Case.Scenario.Name
		switch {
		case o.Verdict.Kind != event.Pass && o.Verdict.Kind != event.Fail:
			r.Trouble = append(r.Trouble, fmt.Sprintf("%s: %s %s", o.Case.ID, o.Verdict.Kind, o.Verdict.Reason))
		case len(o.Findings) > 0:
			r.Killed++
			caught[name] = true
		case d.IsCaughtBy(o.Case.Scenario) && !caught[name]:
			caught[name] = false
		}
		for _, f := range o.Findings {
			came[f.ID] = true
			if !slices.Contains(d.all(), f.ID) {
				r.Unlisted[f.ID] = o.Case.ID
			}
		}
	}
	for name, was := range caught {
		if !was {
			r.Survived = append(r.Survived, name)
		}
	}
	slices.Sort(r.Survived)
	for _, id := range d.Findings {
		if !came[id] {
			r.Missing = append(r.Missing, id)
		}
	}
	return r
}

// Lines tell the result to a person.
func (r Result) Lines() []string {
	word := "KILLED"
	if !r.Good() {
		word = "WRONG"
	}
	lines := []string{fmt.Sprintf("%-7s %-40s in %d of %d cases", word, r.Defect.Name, r.Killed, r.Cases)}
	add := func(format string, args ...any) { lines = append(lines, "    "+fmt.Sprintf(format, args...)) }
	if r.Cases == 0 {
		add("no scenario says that it catches it: add its name to catches")
	}
	for _, name := range r.Survived {
		add("survived %s, which says that it catches it", name)
	}
	for _, id := range sortedIDs(r.Unlisted) {
		add("gave %s in %s, which its entry does not list", id, r.Unlisted[id])
	}
	for _, id := range r.Missing {
		add("never gave %s, which its entry lists", id)
	}
	for _, text := range r.Trouble {
		add("%s", text)
	}
	return lines
}

func sortedIDs(m map[finding.ID]string) []finding.ID {
	var ids []finding.ID
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
