package pressure

import (
	"fmt"
	"time"
)

// Most is how many times longer than its limit a wait may take by the clock while the machine is starved.
const Most = 6

// State is what is left of an allowance.
type State int

// States. Spent: the limit was reached in useful time, so that whoever had it had all that was due to him. Starved: it was not, and
// Most times the limit has passed by the clock.
const (
	Left State = iota
	Spent
	Starved
)

// Allowance is a limit in useful time that has begun to count.
type Allowance struct {
	clock *Clock
	limit time.Duration
	start time.Time
}

// Allow begins an allowance.
func (c *Clock) Allow(limit time.Duration) Allowance { return Allowance{c, limit, time.Now()} }

// State is what is left at a moment.
func (a Allowance) State(now time.Time) State {
	switch {
	case a.clock.Useful(a.start, now) > a.limit:
		return Spent
	case a.Over(now):
		return Starved
	}
	return Left
}

// Over tells whether even the clock has passed Most times the limit, whatever of that was of use.
func (a Allowance) Over(now time.Time) bool { return now.Sub(a.start) > Most*a.limit }

// Err is the error that a wait for something ended because the machine was starved all the time.
func (a Allowance) Err(what string) error {
	return &StarvedError{fmt.Sprintf("the machine is starved: %s is not conclusive, since the limit is %s: %s",
		what, brief(a.limit), a.clock.Words(a.start, time.Now()))}
}

// StarvedError reports that a machine had too little time for its work for anything to be concluded from what did not happen in time.
type StarvedError struct{ Words string }

func (s *StarvedError) Error() string { return s.Words }
