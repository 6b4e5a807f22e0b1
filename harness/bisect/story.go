package bisect

import (
	"fmt"
	"io"
	"strings"
	"time"

	"proxyproof/harness/finding"
)

// Story is the log of a search: each step with its reason and what came of it, for a person to audit.
type Story struct{ W io.Writer }

func (t Story) say(format string, args ...any) { fmt.Fprintf(t.W, format+"\n", args...) }

func (t Story) begins(q Question, h History) {
	bad, good := q.Ends(h)
	t.say("%s? bad is %s, good is %s; commits to tell apart: %d", q, bad, good, len(h.Range))
	for _, c := range h.Forks {
		t.say("they are on different branches; the merge base is %s, %q", c, c.Subject)
	}
}

func (t Story) step(n int, c Commit, why string) {
	t.say("%d. %s %q: %s", n, c, c.Subject, why)
}

func (t Story) built(b Build, like *Commit) {
	how := fmt.Sprintf("built in %.1f s", b.Took.Seconds())
	if b.Remembered {
		how = "the binary is there"
	}
	switch {
	case b.Binary == "":
		last := b.Failure[strings.LastIndexByte(b.Failure, '\n')+1:]
		t.say("   does not build: %s", last)
	case like != nil:
		t.say("   %s, and is the same as that of %s: nothing to run", how, like)
	default:
		t.say("   %s: %.12s", how, b.Binary)
	}
}

func (t Story) ran(c Commit, n int, r Run, took time.Duration, remembered bool, p *progress) {
	how := fmt.Sprintf("%.1f s", took.Seconds())
	if remembered {
		how = "remembered"
	}
	line := fmt.Sprintf("   %s run %d: %s, %s", c, n+1, r, how)
	if p != nil {
		line += fmt.Sprintf("; about %d runs and %.0f min left", p.left, p.time.Minutes())
		if p.sure > 0.5 {
			line += fmt.Sprintf(", %s at %.0f %%", p.likeliest, 100*p.sure)
		}
	}
	t.say("%s", line)
}

func (t Story) ends(r Result) {
	for _, line := range r.Lines() {
		t.say("%s", line)
	}
}

// shown is how many suspects are told at either end of a range in which they cannot be told apart.
const shown = 10

// Lines tell the result to a person.
func (r Result) Lines() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	verb := "broke it"
	if r.Question.Find == Fix {
		verb = "mended it"
	}
	switch {
	case r.Outcome == Found:
		add("%s %s: %q, with %s confidence", r.Suspects[0].Hash, verb, r.Suspects[0].Subject, percent(r.Confidence))
	default:
		add("%s: %s", r.Outcome, r.Sentence)
		for i, s := range r.Suspects {
			if hidden := len(r.Suspects) - 2*shown; hidden > 0 && i == shown {
				add("    …      and %d more, which --json and --markdown list", hidden)
			} else if hidden <= 0 || i < shown || i >= shown+hidden {
				add("    %5s  %s %q", share(s.Share), s.Commit, s.Subject)
			}
		}
	}
	for _, s := range r.Suspects {
		for _, twin := range s.Twins {
			add("    the same change as %s%s: %s", twin.Hash, twin.where(), twin.how())
		}
	}
	if r.Tries > 0 {
		add("    it came in %d of %d runs where it is", r.Hits, r.Tries)
	}
	for _, side := range []struct {
		word string
		*Side
	}{{"before", r.Before}, {"after ", r.After}} {
		if side.Side != nil {
			add("    %s, at %s: %s", side.word, side.Commit, orNothing(side.Findings))
		}
	}
	c := r.Costs
	add("    %.0f s; %d builds (%.0f s), %d remembered; %d runs (%.0f s), %d remembered; %d binaries were the same as others",
		c.Took.Seconds(), c.Builds, c.BuildTime.Seconds(), c.RememberedBuilds, c.Runs, c.RunTime.Seconds(), c.RememberedRuns, c.SameBinaries)
	return lines
}

// percent never rounds up to certainty.
func percent(p float64) string { return fmt.Sprintf("%.1f %%", min(100*p, 99.9)) }

// share is a small part of a certainty: "2 %", "<1 %".
func share(p float64) string {
	if p < 0.005 {
		return "<1 %"
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}

func (t Twin) where() string {
	if len(t.In) == 0 {
		return ""
	}
	return " (in " + strings.Join(t.In, ", ") + ")"
}

func (t Twin) how() string {
	if t.SamePatch {
		return "the patch is the same"
	}
	return "author, date and subject are the same, the patch is not"
}

// orNothing lists findings.
func orNothing(ids []finding.ID) string {
	if len(ids) == 0 {
		return "no finding"
	}
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = string(id)
	}
	return strings.Join(words, ", ")
}
