// Package bisect finds the commit that changed a behaviour: the one that broke it, or the one that mended it, and says how sure
// it is. What to do next and what may be concluded is decided here, purely, from a history and the runs so far; how commits are
// built and run is the Lab's matter.
//
// The order of work: the finding is reproduced on the bad revision, which also tells how often it comes; the good revision and,
// if they are on different branches, the merge base are proven; releases narrow the range; commits decide. Each run goes where it
// is expected to teach most, so that a finding that comes in one run of three simply takes more runs, at the commits that matter.
package bisect

import (
	"fmt"
	"time"

	"proxyproof/harness/finding"
)

// Find says which change is looked for.
type Find string

// A regression is what broke the behaviour, older good and newer bad; a fix is what mended it.
const (
	Regression Find = "regression"
	Fix        Find = "fix"
)

// Question is what is to be found out.
type Question struct {
	Find    Find       `json:"find"`
	Finding finding.ID `json:"finding"`
	// Besides are findings of other faults that do not hide the one that is searched for. Those that come together with it, or at
	// the good revision, are recognised without being named.
	Besides []finding.ID `json:"besides,omitempty"`
	// Confidence to be reached, below 1.
	Confidence float64 `json:"confidence"`
	// MaxRuns bounds the runs, not counting remembered ones; 0: no bound.
	MaxRuns int `json:"maxRuns,omitempty"`
	// Until is when to conclude with what is known by then; zero: when it is done.
	Until time.Time `json:"-"`
}

// Ends are the bad and the good revision of a history.
func (q Question) Ends(h History) (bad, good Commit) {
	if q.Find == Fix {
		return h.Old, h.New
	}
	return h.New, h.Old
}

// String is the question in words.
func (q Question) String() string {
	if q.Find == Fix {
		return fmt.Sprintf("which commit mended %s", q.Finding)
	}
	return fmt.Sprintf("which commit broke it, so that %s comes", q.Finding)
}

// Build is what became of building a commit.
type Build struct {
	// Binary identifies the executable by content; "" if the commit does not build.
	Binary string `json:"binary,omitempty"`
	// Failure are the last words of a build that failed.
	Failure string        `json:"failure,omitempty"`
	Took    time.Duration `json:"took"`
	// Remembered builds cost nothing: they are of an earlier search, or a release that was there.
	Remembered bool `json:"remembered,omitempty"`
}
