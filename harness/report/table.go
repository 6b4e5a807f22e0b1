package report

import (
	"fmt"
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

// Table compares subjects: a row for each scenario and family set, a column for each subject, and in the cell the findings, each
// by a letter, or the verdict if there are none. "known" findings are in parentheses. It is empty for a single subject.
func Table(s Summary) []string {
	var subjects, rows []string
	cells := map[string]string{}
	letters := letters(s)
	for _, o := range s.Outcomes {
		row := o.Case.Scenario.Name + "/" + string(o.Case.Family)
		if !slices.Contains(subjects, o.Case.Subject) {
			subjects = append(subjects, o.Case.Subject)
		}
		if !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
		cell, key := cell(o, letters), row+"\n"+o.Case.Subject
		if old, ok := cells[key]; ok && old != cell { // a case that was run several times
			cell = old + " | " + cell
		}
		cells[key] = cell
	}
	if len(subjects) < 2 {
		return nil
	}
	grid := [][]string{append([]string{"scenario/family"}, subjects...)}
	for _, row := range rows {
		line := []string{row}
		for _, subject := range subjects {
			line = append(line, cells[row+"\n"+subject])
		}
		grid = append(grid, line)
	}
	return append(aligned(grid), legend(letters)...)
}

// letterOf is the letter of each finding that came.
type letterOf map[finding.ID]string

// letters give each finding that came a letter, in the order of the catalogue.
func letters(s Summary) letterOf {
	came := map[finding.ID]bool{}
	for _, o := range s.Outcomes {
		for _, f := range o.Findings {
			came[f.ID] = true
		}
	}
	const names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	letters := letterOf{}
	for _, entry := range finding.Catalogue() {
		if came[entry.ID] && len(letters) < len(names) {
			letters[entry.ID] = names[len(letters) : len(letters)+1]
		}
	}
	return letters
}

// cell is the outcome of one case.
func cell(o Outcome, letters letterOf) string {
	seen := map[string]bool{}
	for _, f := range o.Findings {
		seen[letters[f.ID]] = true
	}
	var found []string
	for letter := range seen {
		found = append(found, letter)
	}
	slices.Sort(found)
	text := strings.Join(found, "")
	switch {
	case o.Verdict.Kind == event.Known:
		return "(" + text + ")"
	case o.Verdict.Kind == event.Fail && text != "":
		return text
	}
	return strings.TrimSpace(string(o.Verdict.Kind) + " " + text)
}

// aligned pads the columns.
func aligned(grid [][]string) []string {
	widths := make([]int, len(grid[0]))
	for _, line := range grid {
		for i, text := range line {
			widths[i] = max(widths[i], len(text))
		}
	}
	var lines []string
	for _, line := range grid {
		var b strings.Builder
		for i, text := range line {
			fmt.Fprintf(&b, "%-*s  ", widths[i], text)
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

func legend(letters letterOf) []string {
	var lines []string
	for id, letter := range letters {
		lines = append(lines, letter+" = "+string(id))
	}
	slices.Sort(lines)
	return lines
}
