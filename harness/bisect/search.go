package bisect

import (
	"context"
	"fmt"
	"time"
)

// Lab builds commits and runs them. Errors are trouble of the lab's own: they end the search.
type Lab interface {
	// Build makes the commit's binary.
	Build(ctx context.Context, c Commit) (Build, error)
	// Run executes the scenario against a binary that was built. n counts the runs of that binary from 0. Remembered runs cost
	// nothing.
	Run(ctx context.Context, c Commit, binary string, n int) (r Run, remembered bool, err error)
	// Twins are the commits on other branches that make the same change.
	Twins(ctx context.Context, c Commit) ([]Twin, error)
}

// Sources say where binaries come from.
type Sources struct {
	// CanBuild: any commit can be built.
	CanBuild bool
	// Released are the commits whose binary is there already.
	Released map[string]bool
}

// mostWithTwins is the number of suspects up to which their like is looked for on other branches: of many none is known to be the
// one, and each look reads the history.
const mostWithTwins = 5

// search is one search under way.
type search struct {
	*state
	lab   Lab
	story Story
	costs Costs
	steps int
	start time.Time
}

// Search answers a question about a history. It always returns a result: trouble is one, too.
func Search(ctx context.Context, q Question, h History, from Sources, lab Lab, story Story) Result {
	s := &search{state: newState(q, h), lab: lab, story: story, start: time.Now()}
	s.canBuild, s.released = from.CanBuild, from.Released
	story.begins(q, h)
	conclusion, err := s.run(ctx)
	if err != nil {
		conclusion.outcome, conclusion.sentence = Trouble, err.Error()
	}
	r := s.result(conclusion)
	for i, suspect := range r.Suspects {
		if !r.Outcome.Answers() || len(r.Suspects) > mostWithTwins {
			break
		}
		if r.Suspects[i].Twins, err = lab.Twins(ctx, suspect.Commit); err != nil {
			story.say("the commits that make the same change as %s were not looked for: %v", suspect.Commit, err)
		}
	}
	s.costs.Took = time.Since(s.start)
	r.Costs = s.costs
	story.ends(r)
	return r
}

// run takes steps until one of them concludes.
func (s *search) run(ctx context.Context) (conclusion, error) {
	for {
		if len(s.history.Range) == 0 {
			return conclusion{outcome: SameBinary, sentence: "there is no commit between the two revisions"}, nil
		}
		step := s.next()
		if step.conclusion != nil {
			return *step.conclusion, nil
		}
		if s.spent() {
			return s.exhausted(), nil
		}
		if err := s.take(ctx, step); err != nil {
			return conclusion{}, err
		}
	}
}

// spent tells whether the budget is used up.
func (s *search) spent() bool {
	q := s.question
	return q.MaxRuns > 0 && s.costs.Runs >= q.MaxRuns || !q.Until.IsZero() && !time.Now().Before(q.Until)
}

// exhausted concludes with what is known: the likeliest commits that together are as sure as was asked for.
func (s *search) exhausted() conclusion {
	c := conclusion{outcome: BudgetSpent, sentence: "the budget is spent before the answer is as sure as was asked for; the same command goes on from here"}
	b := s.believe()
	taken := map[int]bool{}
	for total := 0.0; total < s.question.Confidence; {
		best := outside
		for i, p := range b.inside {
			if p > 0 && !taken[i] && (best == outside || p > b.inside[best]) {
				best = i
			}
		}
		if best == outside {
			break
		}
		taken[best], total = true, total+b.inside[best]
	}
	for i := range b.inside {
		if taken[i] {
			c.suspects = append(c.suspects, i)
		}
	}
	return c
}

// take builds a commit, or runs it once if that has been done.
func (s *search) take(ctx context.Context, step step) error {
	c := step.commit
	build, built := s.builds[c.Hash]
	if !built {
		s.steps++
		s.story.step(s.steps, c, step.why)
		return s.build(ctx, c)
	}
	n := len(s.runs[build.Binary])
	start := time.Now()
	r, remembered, err := s.lab.Run(ctx, c, build.Binary, n)
	if err == nil && r.Kind == Infra {
		err = fmt.Errorf("%s", r.Reason)
	}
	if err != nil {
		return fmt.Errorf("run %d of %s: %w", n+1, c, err)
	}
	took := time.Since(start)
	s.runs[build.Binary] = append(s.runs[build.Binary], r)
	if remembered {
		s.costs.RememberedRuns++
	} else {
		s.costs.Runs++
		s.costs.RunTime += took
	}
	s.story.ran(c, n, r, took, remembered, s.progress())
	return nil
}

// build makes a commit's binary. If that was judged before, the commit is, too.
func (s *search) build(ctx context.Context, c Commit) error {
	build, err := s.lab.Build(ctx, c)
	if err != nil {
		return fmt.Errorf("build %s: %w", c, err)
	}
	if build.Remembered {
		s.costs.RememberedBuilds++
	} else {
		s.costs.Builds++
		s.costs.BuildTime += build.Took
	}
	var like *Commit
	for _, other := range s.everywhere() {
		if b := s.builds[other.Hash]; b.Binary != "" && b.Binary == build.Binary {
			like = &other
			s.costs.SameBinaries++
			break
		}
	}
	s.builds[c.Hash] = build
	s.story.built(build, like)
	return nil
}

// progress is how far the search has come.
type progress struct {
	left      int           // runs still to come
	time      time.Duration // that they will take
	likeliest Commit
	sure      float64
}

// progress estimates.
func (s *search) progress() *progress {
	b := s.believe()
	if !b.possible() || s.costs.Runs == 0 {
		return nil
	}
	suspects, sure := s.likeliest(b)
	if len(suspects) == 0 {
		return nil
	}
	p := &progress{left: s.left(), likeliest: s.history.Range[suspects[0]], sure: sure}
	p.time = time.Duration(p.left) * s.costs.RunTime / time.Duration(s.costs.Runs)
	if s.costs.Builds > 0 { // every other run is of a commit that must be built first
		p.time += time.Duration(p.left) * s.costs.BuildTime / time.Duration(2*s.costs.Builds)
	}
	return p
}
