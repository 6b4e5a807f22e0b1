package run

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2/types"

	"proxyproof/harness/scenario"
)

// Selection is what Ginkgo offers to choose cases by.
type Selection struct {
	// Focus and Skip are regular expressions over the case's full name.
	Focus, Skip []string
	// Labels is a Ginkgo label filter, e.g. "ipv6 && smoke": labels are the family sets, subjects and tags.
	Labels string
	// Tags are labels that exist although no case of this run may have them. Nil: there are none.
	Tags func() []string
}

// ErrNothing is in the error of a selection that leaves no case.
var ErrNothing = errors.New("no case matches the selection")

// SelectionError is a selection that cannot be understood, or that leaves no case.
type SelectionError struct {
	text  string
	cause error
}

func (e SelectionError) Error() string { return e.text }

func (e SelectionError) Unwrap() error { return e.cause }

func wrongSelection(format string, args ...any) error {
	return SelectionError{text: fmt.Sprintf(format, args...)}
}

// check makes sure that the selection can be understood. Ginkgo would panic, or report it in its own way.
func (s Selection) check(tasks []task) error {
	for _, option := range []struct {
		name        string
		expressions []string
	}{{"--focus", s.Focus}, {"--skip", s.Skip}} {
		for _, text := range option.expressions {
			if _, err := regexp.Compile(text); err != nil {
				return wrongSelection("%s %q is no regular expression: %s", option.name, text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
		}
	}
	if s.Labels == "" {
		return nil
	}
	if _, err := types.ParseLabelFilter(s.Labels); err != nil {
		return wrongSelection("--labels %q is no label filter: %s", s.Labels, filterProblem(err))
	}
	return s.checkLabels(tasks)
}

// filterProblem is the last line of what Ginkgo says about a filter, which it colours.
func filterProblem(err error) string {
	var ginkgo types.GinkgoError
	if errors.As(err, &ginkgo) {
		lines := strings.Split(strings.TrimSpace(ginkgo.Message), "\n")
		return strings.TrimSpace(colours.ReplaceAllString(lines[len(lines)-1], ""))
	}
	return err.Error()
}

// colours are the marks by which Ginkgo's formatter colours a text.
var colours = regexp.MustCompile(`\{\{[^}]*\}\}`)

// checkLabels refuses labels that nothing has.
func (s Selection) checkLabels(tasks []task) error {
	known := labelsOf(tasks)
	for _, label := range wordsOf(s.Labels) {
		if containsFold(known, label) {
			continue
		}
		if s.Tags != nil {
			known = append(known, s.Tags()...)
			slices.Sort(known)
			known, s.Tags = slices.Compact(known), nil
		}
		if !containsFold(known, label) {
			return wrongSelection("--labels: nothing has the label %q; %s", label, scenario.Suggest(label, known, "labels"))
		}
	}
	return nil
}

func containsFold(list []string, word string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) })
}

// labelsOf are those of all tasks, and those of all family sets.
func labelsOf(tasks []task) []string {
	var all []string
	for _, f := range scenario.AllFamilies {
		all = append(all, string(f))
	}
	for _, t := range tasks {
		all = append(all, t.labels...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// expression is a regular expression in a label filter.
var expression = regexp.MustCompile(`/[^/]*/?`)

// wordsOf are the labels that a label filter names.
func wordsOf(filter string) []string {
	var words []string
	for _, word := range strings.FieldsFunc(expression.ReplaceAllString(filter, "|"), func(r rune) bool { return strings.ContainsRune("&|!,()", r) }) {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// nothing is the error of a selection that leaves none of the plan's cases: which part of it leaves how many.
func (o Options) nothing(tasks []task) error {
	text := ErrNothing.Error()
	switch parts := o.Selection.parts(tasks); {
	case len(tasks) == 0:
		text = o.Plan.noCases()
	case len(parts) > 0:
		text += ": of " + counted(len(tasks), "case") + ", " + strings.Join(parts, ", ")
		if near := o.Selection.meant(tasks); near != "" {
			text += "; did you mean " + near + "?"
		}
	}
	return SelectionError{text, ErrNothing}
}

// parts are what each option leaves by itself.
func (s Selection) parts(tasks []task) []string {
	var parts []string
	add := func(option string, n int) { parts = append(parts, fmt.Sprintf("%s leaves %d", option, n)) }
	if len(s.Focus) > 0 {
		add("--focus "+strings.Join(s.Focus, " --focus "), len(named(tasks, s.Focus)))
	}
	if len(s.Skip) > 0 {
		add("--skip "+strings.Join(s.Skip, " --skip "), len(tasks)-len(named(tasks, s.Skip)))
	}
	if matches, err := types.ParseLabelFilter(s.Labels); err == nil && s.Labels != "" {
		add(fmt.Sprintf("--labels %q", s.Labels), len(slices.DeleteFunc(slices.Clone(tasks), func(t task) bool { return !matches(t.labels) })))
	}
	return parts
}

// named are the tasks whose full name matches one of the expressions, as Ginkgo matches it.
func named(tasks []task, expressions []string) []task {
	wanted, err := regexp.Compile(strings.Join(expressions, "|"))
	if err != nil {
		return nil // check has refused it
	}
	var found []task
	for _, t := range tasks {
		if wanted.MatchString(suiteName + " " + t.info.Scenario.Name + " " + t.info.ID) {
			found = append(found, t)
		}
	}
	return found
}

// meant is the scenario whose name is closest to what was focused on; "" if the focus finds something.
func (s Selection) meant(tasks []task) string {
	if len(s.Focus) != 1 || len(named(tasks, s.Focus)) > 0 {
		return ""
	}
	var names []string
	for _, t := range tasks {
		names = append(names, t.info.Scenario.Name)
	}
	return scenario.Nearest(s.Focus[0], names)
}

// noCases is why a plan has no cases.
func (p Plan) noCases() string {
	if len(p.Families) == 0 || p.Pairs != nil {
		return ErrNothing.Error()
	}
	var want, have []string
	for _, f := range p.Families {
		want = append(want, string(f))
	}
	for _, f := range scenario.AllFamilies {
		if slices.ContainsFunc(p.Scenarios, func(s *scenario.Scenario) bool {
			return slices.ContainsFunc(s.Cases(), func(c scenario.Case) bool { return c.Family == f })
		}) {
			have = append(have, string(f))
		}
	}
	return fmt.Sprintf("no case runs in the family sets %s: the scenarios are for %s", strings.Join(want, ", "), strings.Join(have, ", "))
}

// Check makes sure that the plan has cases.
func (p Plan) Check() error {
	if len(p.List()) == 0 {
		return SelectionError{p.noCases(), ErrNothing}
	}
	return nil
}

func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
