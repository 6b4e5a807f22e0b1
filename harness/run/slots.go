package run

import (
	"time"

	"proxyproof/harness/lane"
	"proxyproof/harness/wire"
)

// Slots bound how many cases run at a time.
type Slots struct {
	// Always is how many run however busy the machine is, Most how many while it is not. Cases also wait for states, some of them for a
	// minute: those take a slot and no processor.
	Always, Most int
}

// DefaultSlots are one more than a worker has processors, and twice as many while it is idle.
func DefaultSlots() Slots {
	always := lane.CPUs() + 1
	return Slots{always, 2 * always}
}

// Fixed is n cases at a time.
func Fixed(n int) Slots { return Slots{n, n} }

// What a machine must have to spare for one case more than always.
const (
	enoughIdle   = 0.15
	enoughMemory = 192 << 20
	// settling is how long the last case that began must have shown what it needs.
	settling = 2 * wire.BeatInterval
)

// admit tells whether one more case may begin, given how many run, when the last one began, and what room there was then.
func (s Slots) admit(running int, last time.Time, room lane.Room) bool {
	switch {
	case running < s.Always:
		return true
	case running >= s.Most || room.At.Before(last.Add(settling)):
		return false
	}
	return room.Idle >= enoughIdle && room.Free >= enoughMemory
}
