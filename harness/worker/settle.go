package worker

import (
	"context"
	"time"
)

// A node is settled when the subject has received every byte of every event, it and its children have used no CPU for a
// while, and the kernel's state is the same at both ends of that while. No barrier objects are written to find out: they
// would heal the very faults that are hunted.
const (
	settleWindow = 60 * time.Millisecond // on a nominal machine
	settleLooks  = 3                     // looks at the process within the window
	// settleCPU is what an idle runtime may use in a window: timers of leases and informers.
	settleCPU = 0.05
)

// moment is what is known of the system at one time.
type moment struct {
	fingerprint string
	cpu         time.Duration // that the subjects have used
	busy        bool          // a subject was at work
	pending     int           // bytes or events on their way to the subjects
}

// rest is how quiet a window was.
type rest int

const (
	working rest = iota // something went on
	// waiting: nothing goes on, but the subject has not received everything.
	waiting
	settled
)

// settler watches the subjects of a case.
type settler struct {
	window time.Duration
	look   func(ctx context.Context) (moment, error)
}

// observe waits for one window and tells how quiet it was, and the fingerprint at its end.
func (s *settler) observe(ctx context.Context) (rest, string, error) {
	start := time.Now()
	first, err := s.look(ctx)
	if err != nil {
		return working, "", err
	}
	last := first
	for range settleLooks {
		if err := pause(ctx, s.window/settleLooks); err != nil {
			return working, "", err
		}
		pending := last.pending
		if last, err = s.look(ctx); err != nil {
			return working, "", err
		}
		used := float64(last.cpu - first.cpu)
		if first.busy || last.busy || last.fingerprint != first.fingerprint || used > settleCPU*float64(time.Since(start))+float64(time.Millisecond) {
			return working, last.fingerprint, nil
		}
		last.pending = min(pending, last.pending)
	}
	if last.pending > 0 {
		return waiting, last.fingerprint, nil
	}
	return settled, last.fingerprint, nil
}

// pause is the interval of a poll. It ends early with the context.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
