package run

import (
	"context"
	"fmt"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/lane"
	"proxyproof/harness/report"
)

// Bench runs one case after another on a worker that stays warm in between, for those who decide by an outcome what to run next.
// It has nothing to do with Ginkgo. It is not safe for concurrent use.
type Bench struct {
	pool *pool
	held string // the hash of the binary that the worker has
}

// NewBench makes a bench; the worker is opened when it is first needed. Notices are lines about the worker.
func NewBench(open func(context.Context, func(string)) (*lane.Worker, error), reporters ...report.Reporter) *Bench {
	p := &pool{slots: Fixed(1), tell: newReporters(reporters)}
	p.open = func(ctx context.Context) (*lane.Worker, error) { return open(ctx, p.tell.notice) }
	return &Bench{pool: p}
}

// Run executes the only case of a plan. The worker keeps one binary at a time: it holds them in memory, and a search goes through
// many.
func (b *Bench) Run(ctx context.Context, p Plan) (report.Outcome, error) {
	tasks := p.tasks()
	if len(tasks) != 1 {
		return report.Outcome{}, fmt.Errorf("a bench runs one case at a time, not %d", len(tasks))
	}
	if err := hashFiles(tasks); err != nil {
		return report.Outcome{}, err
	}
	if w := b.pool.worker; w != nil && b.held != tasks[0].file.Hash {
		_ = w.Drop(b.held) // a worker that is gone has forgotten it anyway
	}
	b.held = tasks[0].file.Hash
	return b.pool.execute(ctx, tasks[0]), nil
}

// Close ends the worker and tells what it ran on.
func (b *Bench) Close() []event.Machine {
	b.pool.retire(b.pool.worker)
	return b.pool.machines
}

// Worker describes the machine of the cases so far; "" before the first.
func (b *Bench) Worker() string {
	w := b.pool.worker
	if w == nil {
		return ""
	}
	f := w.Figures()
	return fmt.Sprintf("%s, kernel %s, up in %.1f s", f.Where, w.Hello.Kernel, f.Boot.Round(100*time.Millisecond).Seconds())
}
