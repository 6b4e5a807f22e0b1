package worker

import (
	"time"

	"proxyproof/sim/pressure"
)

// A machine that is starved by others says nothing about a subject that does nothing in time. Limits count the time that was of use
// (pressure.Clock); where that is not possible, because a kernel's timer runs, they are stretched by what was of use recently, and what
// ended in silence nevertheless is looked at again.
const (
	// recently is how far back one looks to find out how the machine is now.
	recently = 5 * time.Second
	// mostStretch bounds how far a timer is stretched.
	mostStretch = 4.0
	// enoughUseful is the part of a timer's time that must have been of use for its end to mean something.
	enoughUseful = 0.5
)

// stretched is a limit for a timer, by the clock, on the machine as it is now.
func (c *caseRun) stretched(limit time.Duration) time.Duration {
	return stretch(limit, c.stretchNow())
}

// stretchNow is by how much to stretch what cannot be changed later.
func (c *caseRun) stretchNow() float64 {
	now := time.Now()
	return stretchFor(c.meter.Useful(now.Add(-recently), now))
}

// stretchFor is by how much to stretch a timer when so much of the recent time was of use.
func stretchFor(useful time.Duration) float64 {
	return min(float64(recently)/max(float64(useful), 1), mostStretch)
}

// hadNoTime tells whether a timer that was set to a limit has ended just now without enough useful time.
func (c *caseRun) hadNoTime(limit time.Duration) bool {
	now := time.Now()
	return c.meter.Useful(now.Add(-c.stretched(limit)), now) < stretch(limit, enoughUseful)
}

// starved is the error that a machine gave too little time for a conclusion.
func (c *caseRun) starved(since time.Duration, what string) error {
	now := time.Now()
	return &pressure.StarvedError{Words: "the machine is starved: " + what + " is not conclusive: " + c.meter.Words(now.Add(-since), now)}
}
