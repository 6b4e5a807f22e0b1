package report

import (
	"fmt"
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

// storyMost is the number of lines of a story: it must fit on a screen beside the next one.
const storyMost = 20

// Story is what a person reads of a case that did not pass: why, since which step, with which evidence, and how to repeat it.
// It has at most storyMost lines.
func Story(o Outcome) []string {
	var lines []string
	if o.Verdict.Reason != "" {
		lines = append(lines, strings.Split(o.Verdict.Reason, "\n")...)
	}
	titles := stepTitles(o.Events)
	findings := sortedByWeight(o.Findings)
	budget := storyMost - len(lines) - 1
	for i, f := range findings {
		block := paragraph(f, titles)
		rest := len(findings) - i - 1
		if len(block)+min(rest, 1) > budget {
			block = append(block[:1:1], block[1:max(1, min(len(block), budget-min(rest, 1)))]...)
		}
		if budget < len(block)+min(rest, 1) {
			lines = append(lines, fmt.Sprintf("… and %d more: %s", rest+1, ids(findings[i:])))
			budget = 0
			break
		}
		lines = append(lines, block...)
		budget -= len(block)
	}
	if len(lines) > storyMost-1 {
		lines = append(lines[:storyMost-2], "…")
	}
	return append(lines, "again: "+o.Case.Repeat)
}

// paragraph tells one finding: what, since when, and its evidence.
func paragraph(f finding.Finding, titles map[int]string) []string {
	since := "from the start"
	if f.Step > 0 {
		since = fmt.Sprintf("since step %d", f.Step)
		if title := titles[f.Step]; title != "" {
			since += " (" + title + ")"
		}
	}
	lines := []string{fmt.Sprintf("%s: %s, %s", f.ID, strings.TrimSuffix(f.Sentence, "."), since)}
	for _, e := range f.Evidence {
		lines = append(lines, "  "+e)
	}
	return lines
}

// sortedByWeight puts first what a person should read first.
func sortedByWeight(findings []finding.Finding) []finding.Finding {
	return slices.SortedStableFunc(slices.Values(findings), func(a, b finding.Finding) int { return weight(b) - weight(a) })
}

// weight orders findings: what traffic suffers comes before what the tables say.
func weight(f finding.Finding) int {
	if strings.HasPrefix(string(f.ID), "apiserver-") {
		return 2
	}
	if strings.HasPrefix(string(f.ID), "subject-") {
		return 3
	}
	return 0
}

// ids lists the distinct ids.
func ids(findings []finding.Finding) string {
	var list []string
	seen := map[finding.ID]int{}
	for _, f := range findings {
		if seen[f.ID]++; seen[f.ID] == 1 {
			list = append(list, string(f.ID))
		}
	}
	return strings.Join(list, ", ")
}

// stepTitles are the titles of the steps that were taken.
func stepTitles(events []event.Event) map[int]string {
	titles := map[int]string{}
	for _, e := range events {
		if e.Phase != nil && e.Phase.Name == "step" {
			titles[e.Step] = e.Phase.Title
		}
	}
	return titles
}
