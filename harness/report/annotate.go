package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"proxyproof/harness/event"
)

// Annotate writes workflow commands of GitHub, with which findings appear on the lines of the scenario files that they are about.
type Annotate struct {
	W io.Writer
}

// annotationsMost is how many there are at most: GitHub shows ten errors of a step.
const annotationsMost = 10

// Start has nothing to write.
func (Annotate) Start([]Case) {}

// Notice has nothing to write.
func (Annotate) Notice(string) {}

// Event is read from the outcomes.
func (Annotate) Event(event.Event) {}

// Ended waits for the end of the run: the same finding of several families is one annotation.
func (Annotate) Ended(Outcome) {}

// annotation is what is wrong at one place of a file.
type annotation struct {
	file  string
	line  int
	title string
	text  string
	cases []string
	again string
}

// Finish writes the commands.
func (a Annotate) Finish(s Summary) error {
	all := annotations(s)
	for _, x := range all[:min(len(all), annotationsMost)] {
		cases := x.cases[:min(len(x.cases), annotationsMost)]
		lines := []string{shortened(x.text, markdownLine), "in " + strings.Join(cases, ", ")}
		if more := len(x.cases) - len(cases); more > 0 {
			lines[1] += fmt.Sprintf(" and %d more", more)
		}
		_, err := fmt.Fprintf(a.W, "::error file=%s,line=%d,title=%s::%s\n", commandValue(x.file), x.line, commandValue(x.title),
			commandData(strings.Join(append(lines, "again: "+x.again), "\n")))
		if err != nil {
			return fmt.Errorf("write annotations: %w", err)
		}
	}
	return nil
}

// annotations are those of the cases that failed, in their order.
func annotations(s Summary) []*annotation {
	var all []*annotation
	add := func(o Outcome, line int, title, text string) {
		i := slices.IndexFunc(all, func(x *annotation) bool {
			return x.file == o.Case.Scenario.File && x.line == line && x.title == title
		})
		if i < 0 {
			i = len(all)
			all = append(all, &annotation{file: o.Case.Scenario.File, line: line, title: title, text: text, again: o.Case.Repeat})
		}
		if !slices.Contains(all[i].cases, o.Case.ID) {
			all[i].cases = append(all[i].cases, o.Case.ID)
		}
	}
	for _, o := range s.Outcomes {
		switch {
		case !bad(o):
		case o.Verdict.Kind == event.Fail && len(o.Findings) > 0:
			lines := stepLines(o.Events)
			for _, f := range sortedByWeight(o.Findings) {
				add(o, max(lines[f.Step], 1), string(f.ID), f.Sentence)
			}
		default:
			add(o, max(o.Verdict.Line, 1), title(o.Verdict), o.Verdict.Reason)
		}
	}
	return all
}

// title is a verdict without findings in a few words.
func title(v event.Verdict) string {
	if v.Author {
		return "error in the scenario"
	}
	return string(v.Kind)
}

// stepLines are where the steps that were taken stand in the scenario's file.
func stepLines(events []event.Event) map[int]int {
	lines := map[int]int{}
	for _, e := range events {
		if e.Phase != nil && e.Phase.Name == "step" {
			lines[e.Step] = e.Phase.Line
		}
	}
	return lines
}

// commandData is a text as the message of a workflow command, commandValue as the value of one of its properties.
func commandData(text string) string  { return dataEscapes.Replace(text) }
func commandValue(text string) string { return valueEscapes.Replace(text) }

var (
	dataEscapes  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	valueEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
