package bisect

import (
	"fmt"
	"math"
	"slices"
)

// step is what to do next: judge a commit once, or conclude.
type step struct {
	commit Commit
	why    string
	// conclusion, if the search is over.
	conclusion *conclusion
}

// conclusion ends a search.
type conclusion struct {
	outcome  Outcome
	sentence string
	// suspects are the commits that made the change, by index in the range.
	suspects []int
}

const (
	// reproductions is how often the finding is to be seen at the bad revision before anything else is asked.
	reproductions = 2
	// sightings is how often it is to be seen there and at the merge bases, to measure how steady it is.
	sightings = 3
	// attempts is how often it is tried there.
	attempts = 12
)

// next decides. It is a pure function of what is known.
func (s *state) next() step {
	for _, stage := range []func() *step{s.reproduce, s.glance, s.fork, s.measure, s.prove, s.narrow} {
		if st := stage(); st != nil {
			return *st
		}
	}
	return s.inconsistent()
}

func judge(c Commit, format string, args ...any) *step {
	return &step{commit: c, why: fmt.Sprintf(format, args...)}
}

func refuse(o Outcome, format string, args ...any) *step {
	return &step{conclusion: &conclusion{outcome: o, sentence: fmt.Sprintf(format, args...)}}
}

// unbuilt tells whether a commit was not yet looked at.
func (s *state) unbuilt(c Commit) bool { _, built := s.builds[c.Hash]; return !built }

// reproduce makes sure that the bad revision shows the finding, and measures how often. If it does not come there, the good
// revision is asked early: they may have been swapped.
func (s *state) reproduce() *step {
	bad, good := s.question.Ends(s.history)
	if s.closed(bad.Hash) && !s.fails(bad.Hash) {
		return refuse(Unjudgeable, "the bad revision %s cannot be judged: %s", bad, s.obstacle(bad))
	}
	if s.unbuilt(bad) {
		return judge(bad, "reproduce: the bad revision must show it")
	}
	if !s.unbuilt(good) && s.builds[good.Hash].Binary == s.builds[bad.Hash].Binary {
		return refuse(SameBinary, "the good and the bad revision give the same binary")
	}
	t, tried := s.known(bad.Hash), len(s.of(bad.Hash))
	switch {
	case t.present >= reproductions:
		return nil
	case t.present == 0 && tried >= reproductions && s.known(good.Hash).present > 0:
		return refuse(Swapped, "%s comes at the good revision %s and not at the bad one %s: are they swapped, or is it --find %s?",
			s.question.Finding, good, bad, s.question.Find.other())
	case t.present == 0 && tried >= reproductions && len(s.of(good.Hash)) < reproductions && !s.closed(good.Hash):
		return judge(good, "it does not come at the bad revision; does it come at the good one?")
	case tried < attempts:
		return judge(bad, "reproduce: it came in %d of %d runs", t.present, tried)
	case t.present == 0:
		return refuse(NotReproduced, "%s did not come in %d runs at the bad revision %s%s", s.question.Finding, tried, bad, s.instead(bad))
	}
	return nil // it is rare, but it is there
}

// fails tells whether a commit was seen to fail with other findings.
func (s *state) fails(commit string) bool {
	return slices.ContainsFunc(s.of(commit), func(r Run) bool { return r.Kind == Other })
}

func (f Find) other() Find {
	if f == Fix {
		return Regression
	}
	return Fix
}

// obstacle says why a commit cannot be judged.
func (s *state) obstacle(c Commit) string {
	build, built := s.builds[c.Hash]
	switch {
	case !built:
		return "no release was given for it, and no command to build it"
	case build.Binary == "":
		return "it does not build"
	}
	runs := s.of(c.Hash)
	return runs[len(runs)-1].String()
}

// instead names what came in place of the finding.
func (s *state) instead(c Commit) string {
	for _, r := range s.of(c.Hash) {
		if r.Kind != Good {
			return "; there was " + r.String()
		}
	}
	return ""
}

// measure sees the finding often enough to say how steady it is: the steadier, the fewer runs prove that it is not there. What the
// merge bases have shown counts, so they come first.
func (s *state) measure() *step {
	bad, _ := s.question.Ends(s.history)
	if s.steadiness().hits < sightings && len(s.of(bad.Hash)) < attempts {
		return judge(bad, "how steady is it?")
	}
	return nil
}

// glance looks at the good revision before more is asked: if the finding comes there, too, there is nothing to search for.
func (s *state) glance() *step { return s.absent(1) }

// prove makes sure that the good revision does not show the finding, as surely as is asked for: half of the doubt that is allowed
// goes to it.
func (s *state) prove() *step { return s.absent(s.allowed()) }

// absent judges the good revision until the doubt that it has the finding is no more than allowed.
func (s *state) absent(allowed float64) *step {
	_, good := s.question.Ends(s.history)
	if s.closed(good.Hash) {
		return refuse(Unjudgeable, "the good revision %s cannot be judged: %s", good, s.obstacle(good))
	}
	t := s.known(good.Hash)
	if t.present > 0 {
		return refuse(NoDifference, "%s comes at both revisions; at the good one %s in %d of %d runs",
			s.question.Finding, good, t.present, t.present+t.absent)
	}
	if t.absent == 0 || s.steadiness().missing(t.absent) > allowed {
		return judge(good, "prove that it does not come at the good revision")
	}
	return nil
}

// allowed is the doubt that one end may leave.
func (s *state) allowed() float64 { return (1 - s.question.Confidence) / 2 }

// fork makes sure that the merge bases are like the older end: otherwise the change was made on the other branch.
func (s *state) fork() *step {
	for _, c := range s.history.Forks {
		if s.closed(c.Hash) {
			return refuse(Unjudgeable, "the merge base %s cannot be judged, so it is not known on which branch the change was made: %s",
				c, s.obstacle(c))
		}
		t := s.known(c.Hash)
		switch {
		case s.question.Find == Fix && t.present > 0:
			continue
		case s.question.Find != Fix && t.present > 0:
			return refuse(OlderThanFork, "the merge base %s has the finding already: it was mended on the branch of the good revision; search there with --find fix", c)
		case s.unbuilt(c) || s.steadiness().missing(t.absent) > s.allowed():
			return judge(c, "the two revisions are on different branches: their merge base must be like %s", s.history.Old)
		case s.question.Find == Fix:
			return refuse(NewerThanFork, "the merge base %s does not have the finding: the branch of the bad revision got it later; search there with --find regression", c)
		}
	}
	return nil
}

// narrow judges the commit that is expected to teach most, until one of them, or a group that cannot be told apart, is sure enough.
func (s *state) narrow() *step {
	b := s.believe()
	if !b.possible() {
		return nil
	}
	suspects, sure := s.likeliest(b)
	if sure >= s.question.Confidence {
		if s.contradicts(suspects[0]) {
			return nil
		}
		return s.conclude(suspects)
	}
	if best := s.choose(b); best != nil {
		return best
	}
	return s.conclude(suspects)
}

// conclude names the suspects.
func (s *state) conclude(suspects []int) *step {
	c := &conclusion{outcome: Found, suspects: suspects}
	if len(suspects) > 1 {
		c.outcome = Narrowed
		c.sentence = fmt.Sprintf("%d commits cannot be told apart: those between them cannot be judged", len(suspects))
	}
	return &step{conclusion: c}
}

// likeliest is the group of commits with the highest probability together: those that no commit tells apart which can be judged.
func (s *state) likeliest(b belief) (suspects []int, sure float64) {
	var open []string
	for _, c := range s.everywhere() {
		if !s.closed(c.Hash) {
			open = append(open, c.Hash)
		}
	}
	keys, weights := make([]string, len(b.inside)), map[string]float64{}
	signature := make([]byte, len(open))
	for i, p := range b.inside {
		for j, commit := range open {
			signature[j] = '0'
			if s.present(commit, i) {
				signature[j] = '1'
			}
		}
		keys[i] = string(signature)
		weights[keys[i]] += p
	}
	likeliest := keys[0]
	for _, key := range keys {
		if weights[key] > weights[likeliest] {
			likeliest = key
		}
	}
	for i, p := range b.inside {
		if keys[i] == likeliest && p > 0 {
			suspects = append(suspects, i)
		}
	}
	return suspects, weights[likeliest]
}

// surprise is how unlikely the runs of a commit may be, as a share of the doubt that is allowed, before the search says that the
// history has more than one change.
const surprise = 0.1

// contradicts tells whether a commit that would have the finding kept missing it.
func (s *state) contradicts(hypothesis int) bool {
	all := s.groups()
	for i, g := range all {
		if !s.present(g.commits[0], hypothesis) || g.tally.present > 0 || g.tally.absent == 0 {
			continue
		}
		rest, _ := s.explain(slices.Delete(slices.Clone(all), i, i+1), hypothesis)
		if rest.missing(g.tally.absent) < surprise*(1-s.question.Confidence) {
			return true
		}
	}
	return false
}

// inconsistent says that no single change explains the runs.
func (s *state) inconsistent() step {
	return *refuse(Inconsistent, "no single commit explains what was seen: the finding comes and goes between %s and %s; narrow the range by hand",
		s.history.Old, s.history.New)
}

// building is what a run is worth if its commit must be built first, compared with one whose binary is there, or a release.
const building = 0.5

// worthless is the gain, in bits, below which a run is not worth its time.
const worthless = 1e-6

// choose finds the commit whose run is worth most. nil: no run would teach anything.
func (s *state) choose(b belief) *step {
	rate := s.steadiness().rate()
	distance := s.distances()
	var best *step
	most := worthless
	consider := func(c Commit, present, factor float64) {
		if worth := gain(present, rate) * factor; worth > most {
			best, most = &step{commit: c}, worth
			best.why = fmt.Sprintf("the chance that it comes here is %.0f %%", 100*present*rate)
		}
	}
	_, good := s.question.Ends(s.history)
	consider(good, b.outside, 1)
	for i, c := range s.history.Range {
		if c.Hash == good.Hash || s.closed(c.Hash) {
			continue
		}
		present := b.outside + b.sum(func(h int) bool { return s.present(c.Hash, h) })
		factor := float64(distance[i]) / float64(1+distance[i])
		if !s.atHand(c) && len(c.Tags) == 0 {
			factor *= building
		}
		consider(c, min(present, 1), factor)
	}
	return best
}

// distances tells for each commit of the range how far the next one is that cannot be judged: its neighbours are likely no better.
func (s *state) distances() []int {
	n := len(s.history.Range)
	far := make([]int, n)
	last := -n - 1
	scan := func(i int) {
		if c := s.history.Range[i]; !s.unbuilt(c) && s.closed(c.Hash) {
			last = i
		}
	}
	for i := range n {
		scan(i)
		far[i] = i - last
	}
	last = 2*n + 1
	for i := n - 1; i >= 0; i-- {
		scan(i)
		far[i] = min(far[i], last-i)
	}
	return far
}

// left estimates how many runs are still to come.
func (s *state) left() int {
	b := s.believe()
	sure := 0.0
	for _, p := range b.inside {
		sure = max(sure, p)
	}
	rate := s.steadiness().rate()
	// Half of the entropy goes with each run at best; in the end the neighbours of the culprit are asked again.
	confirm := 0.0
	if sure < s.question.Confidence {
		confirm = 1
	}
	return int(math.Ceil(b.entropy()/rate + confirm))
}
