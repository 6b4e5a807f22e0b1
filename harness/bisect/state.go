package bisect

import (
	"slices"

	"proxyproof/harness/finding"
)

// state is everything that is known at some point of a search. All that is decided is a function of it.
type state struct {
	question Question
	history  History
	lineage  lineage
	// canBuild: any commit can be built, not only taken from the releases.
	canBuild bool
	// released are the commits whose binary is there already.
	released map[string]bool
	builds   map[string]Build // by commit
	runs     map[string][]Run // by binary: commits with the same binary share them
}

func newState(q Question, h History) *state {
	return &state{question: q, history: h, lineage: newLineage(h), builds: map[string]Build{}, runs: map[string][]Run{}}
}

// of are the runs of a commit's binary.
func (s *state) of(commit string) []Run {
	if b := s.builds[commit]; b.Binary != "" {
		return s.runs[b.Binary]
	}
	return nil
}

// familiar are findings that do not hide the one that is searched for: they came beside it, or the good revision has them anyway,
// or the user says so.
func (s *state) familiar() map[finding.ID]bool {
	ids := map[finding.ID]bool{}
	add := func(r Run) {
		for _, id := range r.Findings {
			ids[id] = true
		}
	}
	for _, id := range s.question.Besides {
		ids[id] = true
	}
	for _, runs := range s.runs {
		for _, r := range runs {
			if r.Kind == Bad {
				add(r)
			}
		}
	}
	_, good := s.question.Ends(s.history)
	for _, r := range s.of(good.Hash) {
		if r.Kind == Other {
			add(r)
		}
	}
	return ids
}

// tally counts what runs say. A run with strange findings says nothing: they may hide the one that is searched for.
func (s *state) tally(runs []Run, familiar map[finding.ID]bool) (t tally, mute int) {
	strange := func(id finding.ID) bool { return !familiar[id] }
	for _, r := range runs {
		switch {
		case r.Kind == Bad:
			t.present++
		case r.Kind == Good, r.Kind == Other && !slices.ContainsFunc(r.Findings, strange):
			t.absent++
		default:
			mute++
		}
	}
	return t, mute
}

// known is what the runs of a commit say.
func (s *state) known(commit string) tally {
	t, _ := s.tally(s.of(commit), s.familiar())
	return t
}

// maxMute is how many runs of a commit may say nothing before it is left alone: one may be bad luck.
const maxMute = 2

// closed tells whether there is nothing more to learn from a commit: it does not build, does not start, lacks a feature, or
// another fault hides what is searched for.
func (s *state) closed(commit string) bool {
	build, built := s.builds[commit]
	if !built {
		return !s.canBuild && !s.released[commit]
	}
	if build.Binary == "" {
		return true
	}
	t, mute := s.tally(s.of(commit), s.familiar())
	return mute >= maxMute && t == tally{}
}

// atHand tells whether the commit's binary is there, so that judging it costs no build.
func (s *state) atHand(c Commit) bool {
	return s.released[c.Hash] || s.builds[c.Hash].Binary != ""
}

// present tells whether a commit has the finding if a hypothesis is true.
func (s *state) present(commit string, hypothesis int) bool {
	if hypothesis == outside {
		return true
	}
	return s.lineage.contains(commit, hypothesis) != (s.question.Find == Fix)
}

// group are commits with the same binary, and what its runs say.
type group struct {
	commits []string
	tally   tally
}

// groups are all binaries that were made.
func (s *state) groups() []group {
	familiar := s.familiar()
	byBinary := map[string]*group{}
	var order []string
	for _, c := range s.everywhere() {
		binary := s.builds[c.Hash].Binary
		if binary == "" {
			continue
		}
		if byBinary[binary] == nil {
			t, _ := s.tally(s.runs[binary], familiar)
			byBinary[binary] = &group{tally: t}
			order = append(order, binary)
		}
		byBinary[binary].commits = append(byBinary[binary].commits, c.Hash)
	}
	var all []group
	for _, binary := range order {
		all = append(all, *byBinary[binary])
	}
	return all
}

// everywhere are all commits that may be judged, the older end and the merge bases first.
func (s *state) everywhere() []Commit {
	return slices.Concat([]Commit{s.history.Old}, s.history.Forks, s.history.Range)
}

// explain counts what a hypothesis makes of the runs: hits and misses of commits that would have the finding. ok is false if it
// contradicts them.
func (s *state) explain(groups []group, hypothesis int) (st steadiness, ok bool) {
	for _, g := range groups {
		present := s.present(g.commits[0], hypothesis)
		for _, c := range g.commits[1:] {
			if s.present(c, hypothesis) != present {
				return st, false
			}
		}
		if present {
			st.hits += g.tally.present
			st.misses += g.tally.absent
		} else if g.tally.present > 0 {
			return st, false
		}
	}
	return st, true
}

// believe weighs all hypotheses.
func (s *state) believe() belief {
	groups := s.groups()
	weigh := func(hypothesis int, prior float64) float64 {
		st, ok := s.explain(groups, hypothesis)
		if !ok {
			return 0
		}
		return prior * steadiness{hits: st.hits}.missing(st.misses)
	}
	n := len(s.history.Range)
	b := belief{outside: weigh(outside, 0.5), inside: make([]float64, n)}
	total := b.outside
	for i := range n {
		b.inside[i] = weigh(i, 0.5/float64(n))
		total += b.inside[i]
	}
	if total > 0 {
		b.outside /= total
		for i := range b.inside {
			b.inside[i] /= total
		}
	}
	return b
}

// steadiness is what is known of the finding where it surely is: at the bad revision, and wherever it was seen.
func (s *state) steadiness() steadiness {
	bad, _ := s.question.Ends(s.history)
	var st steadiness
	for _, g := range s.groups() {
		if g.tally.present > 0 || slices.Contains(g.commits, bad.Hash) {
			st.hits += g.tally.present
			st.misses += g.tally.absent
		}
	}
	return st
}
