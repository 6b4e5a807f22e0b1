package bisect

import "math"

// A run that shows the finding is proof; one that does not is only as good as the finding is steady. So what is known after some
// runs is a probability for each commit that it made the change:
//
//   - before any run, it is as likely inside the range as not there at all (then the good revision has the finding, too), and
//     inside, each commit is as likely as the others;
//   - if a commit has the finding, each run shows it with the same unknown probability. Its prior is Jeffreys', which says that
//     faults come either nearly always or nearly never, and the runs themselves teach the rest;
//   - a hypothesis by which a run showed what was not there is out, and so is one that has a binary differ from itself.
//
// The unknown probability is integrated out exactly: what a hypothesis is worth depends only on how many runs it must explain as
// misses.

// outside is the hypothesis that no commit of the range made the change. The others are indices of commits in the range.
const outside = -1

// jeffreys is the prior weight of a hit and of a miss.
const jeffreys = 0.5

// tally counts the runs of one binary that say something.
type tally struct{ present, absent int }

// steadiness is what is known of the probability that a run shows the finding where it is.
type steadiness struct{ hits, misses int }

// rate is the mean of that probability.
func (s steadiness) rate() float64 {
	return (float64(s.hits) + jeffreys) / (float64(s.hits+s.misses) + 2*jeffreys)
}

// missing is the probability that n more runs would all miss the finding.
func (s steadiness) missing(n int) float64 {
	a, b := float64(s.hits)+jeffreys, float64(s.misses)+jeffreys
	return math.Exp(logBeta(a, b+float64(n)) - logBeta(a, b))
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// belief is the probability of each hypothesis after all runs so far.
type belief struct {
	outside float64
	inside  []float64 // by index in the range
}

// possible tells whether any hypothesis is left that the runs do not contradict.
func (b belief) possible() bool { return b.outside > 0 || b.sum(func(int) bool { return true }) > 0 }

func (b belief) sum(of func(int) bool) float64 {
	total := 0.0
	for i, p := range b.inside {
		if of(i) {
			total += p
		}
	}
	return total
}

// entropy is what is still to be learnt, in bits.
func (b belief) entropy() float64 {
	bits := plogp(b.outside)
	for _, p := range b.inside {
		bits += plogp(p)
	}
	return bits
}

func plogp(p float64) float64 {
	if p <= 0 {
		return 0
	}
	return -p * math.Log2(p)
}

// doubt is the entropy of one yes or no.
func doubt(p float64) float64 { return plogp(p) + plogp(1-p) }

// gain is what one run at a commit is expected to teach, in bits: present is the probability that it has the finding.
func gain(present, rate float64) float64 { return doubt(present*rate) - present*doubt(rate) }
