package report

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/scenario"
)

// Markdown writes a summary for people who see a run in a browser: what it ran on, a table of verdicts for each subject, and the
// stories of the first cases that failed. Its size is bounded, however much was run and found.
type Markdown struct {
	W io.Writer
}

// Bounds of a summary: rows of all tables together, stories, and characters of a story's line.
const (
	markdownRows    = 400
	markdownStories = 10
	markdownLine    = 400
)

// Start has nothing to write.
func (Markdown) Start([]Case) {}

// Notice has no place in a summary.
func (Markdown) Notice(string) {}

// Event is read from the outcomes.
func (Markdown) Event(event.Event) {}

// Ended waits for the end of the run.
func (Markdown) Ended(Outcome) {}

// Finish writes the summary.
func (m Markdown) Finish(s Summary) error {
	blocks := []string{"## " + CountLine(s), machines(s)}
	blocks = append(blocks, verdictTables(s)...)
	blocks = append(blocks, stories(s)...)
	blocks = slices.DeleteFunc(blocks, func(b string) bool { return b == "" })
	if _, err := io.WriteString(m.W, strings.Join(blocks, "\n\n")+"\n"); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// machines is one line on where the cases ran and how long that took.
func machines(s Summary) string {
	var list []string
	for _, m := range s.Machines {
		if text := fmt.Sprintf("%s, kernel %s", m.Where, m.Kernel); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	line := fmt.Sprintf("%d cases in %.0f s", len(s.Outcomes), s.Took.Seconds())
	if list != nil {
		line += ", on " + strings.Join(list, "; on ")
	}
	return markdownText(line)
}

// verdictTables are a heading and a table for each subject: a row for each scenario, a column for each family set.
func verdictTables(s Summary) []string {
	letters := letters(s)
	subjects, whole := grids(s, letters)
	rows := 0
	for _, g := range whole {
		rows += len(g.rows)
	}
	var blocks []string
	left := markdownRows
	for i, subject := range subjects {
		g := whole[i]
		var without int
		if rows > markdownRows {
			g, without = g.remarkable()
		}
		shown := min(left, len(g.rows))
		left -= shown
		if shown > 0 {
			blocks = append(blocks, "### "+markdownText(subject), g.table(shown))
		}
		if without > 0 {
			blocks = append(blocks, fmt.Sprintf("%s: %d more scenarios passed in every family set that they ran in.", markdownText(subject), without))
		}
		if cut := len(g.rows) - shown; cut > 0 {
			blocks = append(blocks, fmt.Sprintf("%s: %d more scenarios are in the JUnit report.", markdownText(subject), cut))
		}
	}
	if len(letters) > 0 {
		blocks = append(blocks, "✓ passed, ✗ failed with the findings, (…) has known issues only, – skipped. "+strings.Join(legend(letters), ", "))
	}
	return blocks
}

// grid is the table of one subject.
type grid struct {
	families []scenario.FamilySet
	rows     []string // names of scenarios
	cells    map[string]string
}

// grids are those of all subjects, in the order in which they come.
func grids(s Summary, letters letterOf) (subjects []string, all []grid) {
	for _, o := range s.Outcomes {
		i := slices.Index(subjects, o.Case.Subject)
		if i < 0 {
			i = len(subjects)
			subjects, all = append(subjects, o.Case.Subject), append(all, grid{cells: map[string]string{}})
		}
		g := &all[i]
		if !slices.Contains(g.families, o.Case.Family) {
			g.families = append(g.families, o.Case.Family)
		}
		if !slices.Contains(g.rows, o.Case.Scenario.Name) {
			g.rows = append(g.rows, o.Case.Scenario.Name)
		}
		key, mark := o.Case.Scenario.Name+"/"+string(o.Case.Family), mark(o, letters)
		if old, ran := g.cells[key]; ran && old != mark { // a case that was run several times
			mark = old + " " + mark
		}
		g.cells[key] = mark
	}
	for _, g := range all {
		slices.SortFunc(g.families, func(a, b scenario.FamilySet) int {
			return cmp.Compare(slices.Index(scenario.AllFamilies, a), slices.Index(scenario.AllFamilies, b))
		})
	}
	return subjects, all
}

// passed is the mark of a case that has.
const passed = "✓"

// mark is the cell of one case.
func mark(o Outcome, letters letterOf) string {
	text := cell(o, letters)
	switch o.Verdict.Kind {
	case event.Pass:
		return passed
	case event.Known:
		return text
	case event.Skip:
		return "–"
	case event.Fail:
		return "**✗ " + text + "**"
	}
	return "**" + text + "**"
}

// remarkable leaves out the scenarios that passed everywhere, and counts them.
func (g grid) remarkable() (rest grid, without int) {
	rest = grid{families: g.families, cells: g.cells}
	for _, row := range g.rows {
		if slices.ContainsFunc(g.families, func(f scenario.FamilySet) bool {
			cell, ran := g.cells[row+"/"+string(f)]
			return ran && cell != passed
		}) {
			rest.rows = append(rest.rows, row)
		}
	}
	return rest, len(g.rows) - len(rest.rows)
}

// table is the first rows as Markdown.
func (g grid) table(rows int) string {
	var b strings.Builder
	b.WriteString("| scenario |")
	for _, f := range g.families {
		fmt.Fprintf(&b, " %s |", f)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(g.families)))
	for _, row := range g.rows[:rows] {
		fmt.Fprintf(&b, "\n| %s |", markdownText(row))
		for _, f := range g.families {
			fmt.Fprintf(&b, " %s |", g.cells[row+"/"+string(f)])
		}
	}
	return b.String()
}

// stories are those of the first cases that failed.
func stories(s Summary) []string {
	failed := slices.DeleteFunc(slices.Clone(s.Outcomes), func(o Outcome) bool { return !bad(o) })
	if len(failed) == 0 {
		return nil
	}
	blocks := []string{"### What failed"}
	for _, o := range failed[:min(len(failed), markdownStories)] {
		var lines []string
		for _, line := range Story(o) {
			lines = append(lines, html.EscapeString(shortened(line, markdownLine)))
		}
		blocks = append(blocks, fmt.Sprintf("**%s** %s\n<pre>\n%s\n</pre>", markdownText(o.Case.ID), o.Verdict.Kind, strings.Join(lines, "\n")))
	}
	if more := len(failed) - markdownStories; more > 0 {
		blocks = append(blocks, fmt.Sprintf("… and %d more, in the JUnit report.", more))
	}
	return blocks
}

// bad tells whether a case is one that fails the run.
func bad(o Outcome) bool {
	return o.Verdict.Kind == event.Fail || o.Verdict.Kind == event.StaleKnown || o.Verdict.Kind == event.Infra
}

// shortened is a text of at most so many characters.
func shortened(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// markdownText is a text in which nothing has a meaning for Markdown.
func markdownText(text string) string {
	return markdownEscapes.Replace(html.EscapeString(text))
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "|", `\|`, "~", `\~`, "\n", " ")
