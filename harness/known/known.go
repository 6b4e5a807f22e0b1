// Package known are the known issues of real subjects: findings that a release has, each with its upstream reference. They are
// strict both ways: a finding that no entry expects fails the case, and so does an entry that expects one that does not come.
package known

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/goccy/go-yaml"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
)

// Issue is one fault of a subject as the scenarios see it.
type Issue struct {
	// Findings that it causes: all of them, in every case that the rest selects.
	Findings []finding.ID `yaml:"findings" json:"findings"`
	// Versions is a range of releases such as ">=v2.0.0 <v2.1.4"; all of them if empty.
	Versions string `yaml:"versions" json:"versions,omitempty"`
	// Scenarios are patterns of names such as "loadbalancer-*"; all of them if empty. Except takes some out again.
	Scenarios []string `yaml:"scenarios" json:"scenarios,omitempty"`
	Except    []string `yaml:"except" json:"except,omitempty"`
	// Families are the family sets; all four if empty.
	Families []scenario.FamilySet `yaml:"families" json:"families,omitempty"`
	// Sometimes: it is a race, and does not come every time.
	Sometimes bool `yaml:"sometimes" json:"sometimes,omitempty"`
	// Upstream is the report, "owner/repository#number", or a commit or file where nobody has reported it yet.
	Upstream string `yaml:"upstream" json:"upstream"`
	// Why says what goes wrong inside.
	Why string `yaml:"why" json:"why"`
}

//go:embed *.yaml
var files embed.FS

// Of are the known issues of a kind of subject; none if it has no file.
func Of(profile string) ([]Issue, error) {
	file := profile + ".yaml"
	text, err := files.ReadFile(file)
	if errIsMissing(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	issues, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("harness/known/%s: %w", file, err)
	}
	return issues, nil
}

func errIsMissing(err error) bool {
	_, is := err.(*fs.PathError)
	return is
}

// Parse reads and checks a list of issues.
func Parse(text []byte) ([]Issue, error) {
	var issues []Issue
	if err := yaml.UnmarshalWithOptions(text, &issues, yaml.Strict()); err != nil {
		return nil, err
	}
	return issues, Check(issues)
}

// Check tells what is wrong with the first issue that is not fine.
func Check(issues []Issue) error {
	for i, issue := range issues {
		if err := issue.check(); err != nil {
			return fmt.Errorf("issue %d (%s): %w", i+1, issue.Upstream, err)
		}
	}
	return nil
}

func (i Issue) check() error {
	if len(i.Findings) == 0 || i.Upstream == "" || i.Why == "" {
		return fmt.Errorf("findings, upstream and why are needed")
	}
	for _, id := range i.Findings {
		if _, ok := finding.Lookup(id); !ok {
			return fmt.Errorf("no finding is called %s", id)
		}
	}
	for _, f := range i.Families {
		if f.Families() == nil {
			return fmt.Errorf("no family set is called %s", f)
		}
	}
	for _, pattern := range append(slices.Clone(i.Scenarios), i.Except...) {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	if i.Versions != "" {
		if _, err := semver.NewConstraint(i.Versions); err != nil {
			return fmt.Errorf("versions %q: %w", i.Versions, err)
		}
	}
	return nil
}

// Case is what an issue is matched against.
type Case struct {
	Scenario string
	Family   scenario.FamilySet
	Version  string
}

// matches tells whether an issue is about a case. It was checked when it was read.
func (i Issue) matches(c Case) bool {
	any := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, c.Scenario); return ok })
	}
	switch {
	case len(i.Scenarios) > 0 && !any(i.Scenarios), any(i.Except):
		return false
	case len(i.Families) > 0 && !slices.Contains(i.Families, c.Family):
		return false
	case i.Versions == "":
		return true
	}
	version, err := semver.NewVersion(c.Version)
	constraint, wrong := semver.NewConstraint(i.Versions)
	return err == nil && wrong == nil && constraint.Check(version)
}

// exited is the finding that hides all others.
const exited finding.ID = "subject-exited"

// Judge compares what was found in a case that has ended with what is known. Only verdicts about the subject change.
func Judge(issues []Issue, c Case, found []finding.ID, v event.Verdict) event.Verdict {
	if v.Kind != event.Pass && v.Kind != event.Fail {
		return v
	}
	expected, must := map[finding.ID]bool{}, map[finding.ID]Issue{}
	for _, issue := range issues {
		if !issue.matches(c) {
			continue
		}
		for _, id := range issue.Findings {
			expected[id] = true
			if !issue.Sometimes {
				must[id] = issue
			}
		}
	}
	for _, id := range found {
		if !expected[id] {
			return v // it fails for a reason that is not known
		}
		delete(must, id)
	}
	if slices.Contains(found, exited) {
		must = nil // it has gone as it is known to do, before it could show anything else
	}
	switch {
	case len(must) > 0:
		v.Kind, v.Reason = event.StaleKnown, stale(must)
	case len(found) > 0:
		v.Kind = event.Known
	}
	return v
}

// stale tells which entries are out of date.
func stale(must map[finding.ID]Issue) string {
	var lines []string
	for id, issue := range must {
		lines = append(lines, fmt.Sprintf("%s is a known issue of this subject (%s) and did not come: correct the entry, or find out what hides it", id, issue.Upstream))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
