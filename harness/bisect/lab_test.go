package bisect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/finding"
)

// wanted is the finding that the synthetic searches are about.
const wanted = finding.ID("apiserver-refused")

// made is a commit of a synthetic history. Traits take effect from it on, in all that descend from it:
//
//	breaks, mends          the finding that is searched for begins, ends
//	+ID, -ID               another finding begins, ends
//	hides, shows           the other findings hide the wanted one, or no longer do
//	unbuildable, buildable
//	dies, lives            it does not start on the node
//	noop                   (this commit only) the binary is that of the first parent
type made struct {
	hash    string
	parents []string
	traits  []string
	tag     string
}

// synthetic is a history with a lab that knows the truth about it.
type synthetic struct {
	commits []made
	rate    float64 // that a run shows the wanted finding where it is
	random  *rand.Rand
	trouble int // the run that fails for reasons of our own, from 1
	runs    int
	builds  map[string]int
	ran     map[string]int
	twins   map[string]string
}

func newSynthetic(commits ...made) *synthetic {
	return &synthetic{commits: commits, rate: 1, random: rand.New(rand.NewPCG(1, 2)), builds: map[string]int{}, ran: map[string]int{}}
}

// line is a linear history of n commits c0 … c(n-1).
func line(n int, traits map[int]string) []made {
	var commits []made
	for i := range n {
		m := made{hash: fmt.Sprintf("c%02d", i)}
		if i > 0 {
			m.parents = []string{fmt.Sprintf("c%02d", i-1)}
		}
		if t := traits[i]; t != "" {
			m.traits = strings.Fields(t)
		}
		commits = append(commits, m)
	}
	return commits
}

func (y *synthetic) find(hash string) made {
	for _, m := range y.commits {
		if m.hash == hash {
			return m
		}
	}
	panic("no commit " + hash)
}

// ancestors of a commit and itself, in the order of the list.
func (y *synthetic) ancestors(hash string) []made {
	in := map[string]bool{hash: true}
	for _, m := range slices.Backward(y.commits) {
		if in[m.hash] {
			for _, p := range m.parents {
				in[p] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(y.commits), func(m made) bool { return !in[m.hash] })
}

func (y *synthetic) commit(hash string) Commit {
	m := y.find(hash)
	c := Commit{Hash: m.hash, Parents: m.parents, Subject: "commit " + hash}
	if m.tag != "" {
		c.Tags = []string{m.tag}
	}
	return c
}

// history is what git would say is between two revisions.
func (y *synthetic) history(old, new string, forks ...string) History {
	h := History{Old: y.commit(old), New: y.commit(new)}
	has := y.ancestors(old)
	for _, m := range y.ancestors(new) {
		if !slices.ContainsFunc(has, func(o made) bool { return o.hash == m.hash }) {
			h.Range = append(h.Range, y.commit(m.hash))
		}
	}
	for _, f := range forks {
		h.Forks = append(h.Forks, y.commit(f))
	}
	return h
}

func (y *synthetic) Build(_ context.Context, c Commit) (Build, error) {
	y.builds[c.Hash]++
	on := map[string]bool{}
	for _, m := range y.ancestors(c.Hash) {
		for _, t := range m.traits {
			switch t {
			case "unbuildable":
				on[t] = true
			case "buildable":
				delete(on, "unbuildable")
			}
		}
	}
	if on["unbuildable"] {
		return Build{Failure: "syntax error"}, nil
	}
	m := y.find(c.Hash)
	for slices.Contains(m.traits, "noop") {
		m = y.find(m.parents[0])
	}
	return Build{Binary: "binary of " + m.hash}, nil
}

func (y *synthetic) Run(_ context.Context, c Commit, binary string, _ int) (Run, bool, error) {
	y.runs++
	y.ran[c.Hash]++
	if y.runs == y.trouble {
		return Run{}, false, errors.New("the machine is on fire")
	}
	var found []finding.ID
	begin := func(id finding.ID) { found = append(found, id) }
	end := func(id finding.ID) { found = slices.DeleteFunc(found, func(f finding.ID) bool { return f == id }) }
	hides, dies := false, false
	for _, m := range y.ancestors(strings.TrimPrefix(binary, "binary of ")) {
		for _, t := range m.traits {
			switch {
			case t == "breaks":
				begin(wanted)
			case t == "mends":
				end(wanted)
			case t == "hides", t == "shows":
				hides = t == "hides"
			case t == "dies", t == "lives":
				dies = t == "dies"
			case t[0] == '+':
				begin(finding.ID(t[1:]))
			case t[0] == '-':
				end(finding.ID(t[1:]))
			}
		}
	}
	if dies {
		return Run{Kind: Skip, Findings: []finding.ID{"subject-exited"}, Reason: "subject-exited: it ended"}, false, nil
	}
	if hides || y.random.Float64() >= y.rate {
		end(wanted)
	}
	switch {
	case slices.Contains(found, wanted):
		return Run{Kind: Bad, Findings: found}, false, nil
	case len(found) > 0:
		return Run{Kind: Other, Findings: found}, false, nil
	}
	return Run{Kind: Good}, false, nil
}

func (y *synthetic) Twins(_ context.Context, c Commit) ([]Twin, error) {
	if hash := y.twins[c.Hash]; hash != "" {
		return []Twin{{Commit: y.commit(hash), SamePatch: true}}, nil
	}
	return nil, nil
}

// log collects a story for the case that a test fails.
type log struct{ strings.Builder }

func (y *synthetic) search(t *testing.T, q Question, h History, from Sources) Result {
	t.Helper()
	q.Finding = wanted
	if q.Confidence == 0 {
		q.Confidence = 0.95
	}
	if q.MaxRuns == 0 {
		q.MaxRuns = 500
	}
	if q.Find == "" {
		q.Find = Regression
	}
	var told log
	r := Search(t.Context(), q, h, from, y, Story{&told})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + told.String())
		}
	})
	return r
}
