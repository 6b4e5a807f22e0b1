package bisect

import (
	"fmt"
	"strings"
)

// Setting is what a report says of how the runs were made.
type Setting struct {
	Scenario    string
	Description string
	Family      string
	Subject     string
	Build       string // the command; "" if only releases were judged
	Worker      string // what the runs were made on
	// Shown is what a run that showed the finding said.
	Shown []string
	// Again is the command that repeats the search.
	Again string
}

// Markdown is a report that can be pasted into an issue of the proxy.
func Markdown(r Result, s Setting) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	r.headline(say)
	say("")
	say("**What was tested:** scenario `%s` (%s). %s", s.Scenario, s.Family, strings.TrimSpace(s.Description))
	say("")
	say("**The finding:** `%s`, in %d of %d runs where it is.", r.Question.Finding, r.Hits, r.Tries)
	if len(s.Shown) > 0 {
		say("\n```\n%s\n```", strings.Join(s.Shown, "\n"))
	}
	if r.Before != nil && r.After != nil {
		say("")
		say("| | commit | findings |")
		say("|---|---|---|")
		say("| before | %s | %s |", r.Before.Commit, code(r.Before))
		say("| after | %s | %s |", r.After.Commit, code(r.After))
	}
	say("")
	say("<details><summary>%d revisions were judged; commits between %s (good) and %s (bad): %d</summary>", len(r.Judged), r.Good, r.Bad, r.Range)
	say("")
	say("| commit | | runs |")
	say("|---|---|---|")
	for _, j := range r.Judged {
		say("| %s | %s | %s |", j.Commit, escape(j.Subject), j.summary())
	}
	say("")
	say("</details>")
	say("")
	say("Found with proxyproof, which runs the unmodified binary on a real kernel, without a cluster: %d builds and %d runs in %.0f min%s. To repeat it:",
		r.Costs.Builds+r.Costs.RememberedBuilds, r.Costs.Runs+r.Costs.RememberedRuns, r.Costs.Took.Minutes(), on(s.Worker))
	say("\n```sh\n%s\n```", s.Again)
	return b.String()
}

// headline is the answer, or why there is none.
func (r Result) headline(say func(string, ...any)) {
	verb := map[Find]string{Regression: "broke this", Fix: "fixed this"}[r.Question.Find]
	if r.Outcome == Found {
		say("%s (%s) %s. Confidence: %s.", r.Suspects[0].Hash, r.Suspects[0].Subject, verb, percent(r.Confidence))
	} else {
		say("No single commit was found (%s): %s.", r.Outcome, r.Sentence)
		if len(r.Suspects) > 0 {
			say("\nWith %s confidence it is one of these:\n", percent(r.Confidence))
		}
		for _, s := range r.Suspects {
			say("- %s %s", s.Hash, s.Subject)
		}
	}
	for _, s := range r.Suspects {
		for _, twin := range s.Twins {
			say("\nThe same change is %s%s (%s).", twin.Hash, twin.where(), twin.how())
		}
	}
}

func code(s *Side) string {
	if len(s.Findings) == 0 {
		return "none"
	}
	return "`" + strings.ReplaceAll(orNothing(s.Findings), ", ", "`, `") + "`"
}

// summary counts the runs of a commit by what came of them.
func (j Judged) summary() string {
	switch {
	case j.Build.Binary == "":
		return "does not build"
	case j.Like != "":
		return fmt.Sprintf("the binary of %.8s", j.Like)
	}
	counts := map[string]int{}
	var order []string
	for _, r := range j.Runs {
		words := r.String()
		if counts[words]++; counts[words] == 1 {
			order = append(order, words)
		}
	}
	for i, words := range order {
		order[i] = fmt.Sprintf("%d × %s", counts[words], escape(words))
	}
	return strings.Join(order, "; ")
}

// escape keeps a cell of a table in its cell.
func escape(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func on(worker string) string {
	if worker == "" {
		return ""
	}
	return ", on " + worker
}
