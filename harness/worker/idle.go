package worker

import (
	"time"

	"proxyproof/sim/world"
)

// idleLimit is how long a subject may be idle in all before it is ready: twice what its own delays may take. Waiting longer for one that does
// not work is waiting in vain.
const idleLimit = 2 * readyRest

// idleness adds up the time in which a subject did nothing.
type idleness struct {
	total time.Duration
	// longest is what counts between two looks at most: a worker that is starved looks seldom, and may be what the subject waits for.
	longest time.Duration
	at      time.Time // of the last look; zero before the first
	cpu     time.Duration
}

// look adds the time since the last look if the subject was idle. quiet: nothing is on its way to it.
func (i *idleness) look(now time.Time, a world.Activity, quiet bool) {
	gap, used := now.Sub(i.at), a.CPU-i.cpu
	if !i.at.IsZero() && quiet && !a.Busy && float64(used) <= settleCPU*float64(gap)+float64(time.Millisecond) {
		i.total += min(gap, i.longest)
	}
	i.at, i.cpu = now, a.CPU
}

// hopeless tells that nothing is to be expected any more.
func (i *idleness) hopeless() bool { return i.total > idleLimit }
