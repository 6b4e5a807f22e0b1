package bisect

import (
	"slices"
	"time"

	"proxyproof/harness/finding"
)

// Outcome is how a search ended.
type Outcome string

// Found and Narrowed are answers. After BudgetSpent the suspects are what the answer was narrowed to by then. The others are
// refusals: to name a commit would be a guess.
const (
	// Found: one commit made the change, as surely as was asked for.
	Found Outcome = "found"
	// Narrowed: one of several commits did, and they cannot be told apart, since what is between them cannot be judged.
	Narrowed Outcome = "narrowed"
	// BudgetSpent: the time or the runs were spent before the answer was sure enough.
	BudgetSpent Outcome = "budget-spent"
	// NotReproduced: the finding does not come at the bad revision.
	NotReproduced Outcome = "not-reproduced"
	// Swapped: it comes at the good revision and not at the bad one.
	Swapped Outcome = "swapped"
	// NoDifference: it comes at both.
	NoDifference Outcome = "no-difference"
	// SameBinary: both revisions give the same binary.
	SameBinary Outcome = "same-binary"
	// Unjudgeable: an end, or the merge base, does not build, does not start, or lacks a feature.
	Unjudgeable Outcome = "unjudgeable"
	// OlderThanFork: the merge base has the finding already, so it was mended on the branch of the good revision.
	OlderThanFork Outcome = "older-than-fork"
	// NewerThanFork: searching a fix, the merge base does not have the finding, so the branch of the bad revision got it later.
	NewerThanFork Outcome = "newer-than-fork"
	// Inconsistent: no single commit explains what was seen.
	Inconsistent Outcome = "inconsistent"
	// Trouble: the harness itself failed; what was judged before is kept.
	Trouble Outcome = "infra"
)

// Answers tells whether the outcome names what was asked for.
func (o Outcome) Answers() bool { return o == Found || o == Narrowed }

// Result is all that a search found out.
type Result struct {
	Question Question `json:"question"`
	Outcome  Outcome  `json:"outcome"`
	// Sentence explains an outcome other than found.
	Sentence string `json:"sentence,omitempty"`
	// Suspects are the commits that made the change, oldest first: one if it was found. Confidence is the probability that it is
	// among them.
	Suspects   []Suspect `json:"suspects,omitempty"`
	Confidence float64   `json:"confidence,omitempty"`

	Bad  Commit `json:"bad"`
	Good Commit `json:"good"`
	// Forks are the merge bases of revisions on different branches.
	Forks []Commit `json:"forks,omitempty"`
	// Range is how many commits were to be told apart.
	Range int `json:"range"`

	// Hits of Tries runs showed the finding where it is.
	Hits  int `json:"hits"`
	Tries int `json:"tries"`
	// Before and After are the nearest commits on either side of the change that were judged, with what was found there.
	Before *Side `json:"before,omitempty"`
	After  *Side `json:"after,omitempty"`
	// Judged are all commits that were looked at, oldest first.
	Judged []Judged `json:"judged"`
	Costs  Costs    `json:"costs"`
}

// Suspect is a commit that may have made the change.
type Suspect struct {
	Commit
	// Share is its part of the probability.
	Share float64 `json:"share"`
	// Twins are commits on other branches that make the same change.
	Twins []Twin `json:"twins,omitempty"`
}

// Twin is the same change under another hash.
type Twin struct {
	Commit
	// How it is known: the same patch, or only the same author, date and subject.
	SamePatch bool `json:"samePatch"`
	// Branches and tags that have it first.
	In []string `json:"in,omitempty"`
}

// Side is what was found on one side of the change.
type Side struct {
	Commit   Commit       `json:"commit"`
	Findings []finding.ID `json:"findings"`
}

// Judged is a commit that was looked at.
type Judged struct {
	Commit
	Build Build `json:"build"`
	// Like is the first commit of the list with the same binary, if it is not this one.
	Like string `json:"like,omitempty"`
	Runs []Run  `json:"runs,omitempty"`
}

// Costs are what a search took.
type Costs struct {
	Took      time.Duration `json:"took"`
	Builds    int           `json:"builds"`
	BuildTime time.Duration `json:"buildTime"`
	Runs      int           `json:"runs"`
	RunTime   time.Duration `json:"runTime"`
	// Remembered builds and runs, of an earlier search or of releases, cost nothing; nor do commits whose binary was judged before.
	RememberedBuilds int `json:"rememberedBuilds"`
	RememberedRuns   int `json:"rememberedRuns"`
	SameBinaries     int `json:"sameBinaries"`
}

// result tells what is known when a search ends.
func (s *state) result(c conclusion) Result {
	bad, good := s.question.Ends(s.history)
	st := s.steadiness()
	r := Result{
		Question: s.question, Outcome: c.outcome, Sentence: c.sentence,
		Bad: bad, Good: good, Forks: s.history.Forks, Range: len(s.history.Range),
		Hits: st.hits, Tries: st.hits + st.misses, Judged: s.judged(),
	}
	b := s.believe()
	for _, i := range c.suspects {
		r.Suspects = append(r.Suspects, Suspect{Commit: s.history.Range[i], Share: b.inside[i]})
		r.Confidence += b.inside[i]
	}
	if c.outcome.Answers() {
		r.Before, r.After = s.sides(c.suspects)
	}
	return r
}

// judged lists the commits that were looked at.
func (s *state) judged() []Judged {
	var list []Judged
	first := map[string]string{}
	for _, c := range s.everywhere() {
		build, built := s.builds[c.Hash]
		if !built {
			continue
		}
		j := Judged{Commit: c, Build: build, Like: first[build.Binary], Runs: s.runs[build.Binary]}
		if build.Binary != "" && j.Like == "" {
			first[build.Binary] = c.Hash
		}
		list = append(list, j)
	}
	return list
}

// sides are the nearest judged commits before and after the suspects.
func (s *state) sides(suspects []int) (before, after *Side) {
	first, last := suspects[0], suspects[len(suspects)-1]
	for _, c := range s.everywhere() {
		t := s.known(c.Hash)
		if t.present+t.absent == 0 {
			continue
		}
		side := &Side{Commit: c, Findings: s.findings(c.Hash)}
		switch {
		case !s.lineage.contains(c.Hash, first):
			before = side
		case s.lineage.contains(c.Hash, last) && after == nil:
			after = side
		}
	}
	return before, after
}

// findings of all runs of a commit.
func (s *state) findings(commit string) []finding.ID {
	ids := []finding.ID{}
	for _, r := range s.of(commit) {
		ids = append(ids, r.Findings...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
