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

// quiet is what is compared at both ends of the window.
type quiet struct {
	fingerprint string
	cpu         time.Duration
}

// settler watches the subjects of a case.
type settler struct {
	window time.Duration
	// look reads fingerprint and CPU time of all nodes; busy tells that something is going on right now.
	look func(ctx context.Context) (q quiet, busy bool, err error)
}

// window waits for one window and tells whether everything was quiet in it, and the fingerprint at its end.
func (s *settler) observe(ctx context.Context) (settled bool, fingerprint string, err error) {
	start := time.Now()
	first, busy, err := s.look(ctx)
	if err != nil {
		return false, "", err
	}
	for range settleLooks {
		if err := pause(ctx, s.window/settleLooks); err != nil {
			return false, "", err
		}
		last, nowBusy, err := s.look(ctx)
		if err != nil {
			return false, "", err
		}
		used := last.cpu - first.cpu
		if busy || nowBusy || last.fingerprint != first.fingerprint || float64(used) > settleCPU*float64(time.Since(start))+float64(time.Millisecond) {
			return false, last.fingerprint, nil
		}
	}
	return true, first.fingerprint, nil
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
