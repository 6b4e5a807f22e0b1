package report

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

// Terminal writes one line per case as it ends, and the story of those that did not pass.
type Terminal struct {
	W io.Writer
	// Verbose adds what happened in cases that passed.
	Verbose bool
}

// Start says how much there is to do.
func (t Terminal) Start(cases []Case) {
	scenarios := map[string]bool{}
	for _, c := range cases {
		scenarios[c.Scenario.Name] = true
	}
	fmt.Fprintf(t.W, "%s of %s\n", counted(len(cases), "case"), counted(len(scenarios), "scenario"))
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// Notice writes the line.
func (t Terminal) Notice(text string) { fmt.Fprintln(t.W, text) }

// Event is of no interest before the case has ended.
func (t Terminal) Event(event.Event) {}

// Ended writes the case's line. Cases that were not run are only counted at the end: they would bury the reason.
func (t Terminal) Ended(o Outcome) {
	if o.NotRun {
		return
	}
	fmt.Fprintf(t.W, "%-11s %-70s %6.1fs\n", strings.ToUpper(string(o.Verdict.Kind)), o.Case.ID, o.Took.Seconds())
	switch o.Verdict.Kind {
	case event.Pass, event.Known:
		if !t.Verbose {
			return
		}
	case event.Skip:
		fmt.Fprintf(t.W, "    skipped: %s\n", o.Verdict.Reason)
		return
	}
	for _, line := range Story(o) {
		fmt.Fprintf(t.W, "    %s\n", line)
	}
}

// Finish writes where the time went and the counts.
func (t Terminal) Finish(s Summary) error {
	for _, m := range s.Machines {
		fmt.Fprintf(t.W, "lane %s: %s; up in %.1f s; %d retries", m.Lane, m.Where, m.Boot.Seconds(), m.Retries)
		if m.PeakMemory > 0 {
			fmt.Fprintf(t.W, "; peak memory %d MiB", m.PeakMemory>>20)
		}
		fmt.Fprintln(t.W)
	}
	if line := notRun(s); line != "" {
		fmt.Fprintln(t.W, line)
	}
	if len(s.Outcomes) > 0 {
		fmt.Fprintln(t.W, times(s))
	}
	for _, line := range findingCounts(s) {
		fmt.Fprintln(t.W, line)
	}
	for _, line := range Table(s) {
		fmt.Fprintln(t.W, line)
	}
	_, err := fmt.Fprintln(t.W, CountLine(s))
	return err
}

// CountLine is the last line of a run: "N passed, N failed", then the other verdicts that occurred. A case with known issues only
// has passed, and one that should have had some has failed.
func CountLine(s Summary) string {
	parts := []string{
		fmt.Sprintf("%d passed", s.Count(event.Pass)+s.Count(event.Known)),
		fmt.Sprintf("%d failed", s.Count(event.Fail)+s.Count(event.StaleKnown)+s.Count(event.Infra)),
	}
	if n := s.Count(event.Skip); n > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", n))
	}
	line := strings.Join(parts, ", ")
	var notes []string
	if n := s.Count(event.Known); n > 0 {
		notes = append(notes, fmt.Sprintf("%d passed with known issues", n))
	}
	authors := s.authorErrors()
	if authors > 0 {
		notes = append(notes, counted(authors, "scenario error"))
	}
	if n := s.Count(event.Infra) - authors; n > 0 {
		notes = append(notes, counted(n, "harness error"))
	}
	if len(notes) > 0 {
		line += " (" + strings.Join(notes, ", ") + ")"
	}
	return line
}

// notRun counts the cases that were given up, and says why.
func notRun(s Summary) string {
	var reason string
	n := 0
	for _, o := range s.Outcomes {
		if o.NotRun {
			n, reason = n+1, o.Verdict.Reason
		}
	}
	if n == 0 {
		return ""
	}
	return counted(n, "more case") + " " + reason
}

// times tells where the wall time went.
func times(s Summary) string {
	phases := map[string]time.Duration{}
	var all []time.Duration
	for _, o := range s.Outcomes {
		all = append(all, o.Took)
		for name, d := range phaseTimes(o.Events) {
			phases[name] += d
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	var parts []string
	for _, name := range []string{"world", "api", "subject", "step", "close"} {
		if phases[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %.1f s", name, phases[name].Seconds()))
		}
	}
	line := fmt.Sprintf("wall time %.1f s; a case takes %.1f s in the median, %.1f s at worst",
		s.Took.Seconds(), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
	if len(parts) > 0 {
		line += "; summed over cases: " + strings.Join(parts, ", ")
	}
	return line
}

// phaseTimes sums the time between phase events.
func phaseTimes(events []event.Event) map[string]time.Duration {
	sums := map[string]time.Duration{}
	var name string
	var since time.Time
	for _, e := range events {
		if e.Phase == nil && e.Verdict == nil {
			continue
		}
		if name != "" {
			sums[name] += e.Time.Sub(since)
		}
		if e.Phase != nil {
			name, since = e.Phase.Name, e.Time
		}
	}
	return sums
}

// findingCounts tells how often each finding came, over all cases.
func findingCounts(s Summary) []string {
	cases := map[finding.ID]int{}
	for _, o := range s.Outcomes {
		seen := map[finding.ID]bool{}
		for _, f := range o.Findings {
			if !seen[f.ID] {
				seen[f.ID] = true
				cases[f.ID]++
			}
		}
	}
	var lines []string
	for id, n := range cases {
		lines = append(lines, fmt.Sprintf("finding %-28s in %d of %d cases", id, n, len(s.Outcomes)))
	}
	sort.Strings(lines)
	return lines
}
