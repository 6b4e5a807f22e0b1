package worker

import (
	"context"
	"errors"
	"time"

	"proxyproof/sim/pressure"
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
	cpu     time.Duration // that the subjects have used
	busy    bool          // a subject was at work
	pending int           // bytes or events on their way to the subjects
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
	clock  *pressure.Clock
	look   func(ctx context.Context) (moment, error)
	// print is the fingerprint of the kernel's state. To take it disturbs the subjects a little: it is taken at the ends only.
	print func(ctx context.Context) (string, error)
	// pending is what was on its way to the subjects at the last look.
	pending int
}

// see looks at the subjects.
func (s *settler) see(ctx context.Context) (moment, error) {
	m, err := s.look(ctx)
	s.pending = m.pending
	return m, err
}

// observe waits for one window, or until something moves in it. It tells how quiet it was, and the fingerprint at its end.
func (s *settler) observe(ctx context.Context) (rest, string, error) {
	if m, err := s.see(ctx); err != nil || m.busy {
		return working, "", errors.Join(err, pause(ctx, s.window/settleLooks))
	}
	before, err := s.print(ctx)
	if err != nil {
		return working, "", err
	}
	quiet, pending, err := s.watch(ctx)
	if err != nil {
		return working, "", err
	}
	after, err := s.print(ctx)
	switch {
	case err != nil || !quiet || before != after:
		return working, after, err
	case pending > 0:
		return waiting, after, nil
	}
	return settled, after, nil
}

// watch looks at the subjects for a window. pending is what was on its way to them all the time.
func (s *settler) watch(ctx context.Context) (quiet bool, pending int, err error) {
	start := time.Now()
	first, err := s.see(ctx)
	if err != nil || first.busy {
		return false, 0, err
	}
	pending = first.pending
	// On a starved machine, a window of the clock may be one in which nobody could have done anything.
	window := s.clock.Allow(s.window)
	for look := 0; look < settleLooks || window.State(time.Now()) == pressure.Left; look++ {
		if err := pause(ctx, s.window/settleLooks); err != nil {
			return false, 0, err
		}
		m, err := s.see(ctx)
		if err != nil {
			return false, 0, err
		}
		if used := m.cpu - first.cpu; m.busy || used > settleAllowance(time.Since(start)) {
			return false, 0, nil
		}
		pending = min(pending, m.pending)
	}
	return true, pending, nil
}

// settleAllowance is the CPU time that a system at rest may use in a while.
func settleAllowance(elapsed time.Duration) time.Duration {
	return stretch(elapsed, settleCPU) + time.Millisecond
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
