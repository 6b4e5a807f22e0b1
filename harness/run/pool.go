package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/known"
	"proxyproof/harness/lane"
	"proxyproof/harness/report"
	"proxyproof/harness/wire"
	"proxyproof/sim/guest"
)

// pool executes tasks on workers that it opens when needed and replaces when they die.
type pool struct {
	open  func(context.Context) (*lane.Worker, error)
	slots Slots
	tell  reporters

	lock     sync.Mutex
	worker   *lane.Worker
	failures int // of opening, in a row
	machines []event.Machine
	speed    float64
}

// maxOpenFailures is how often in a row a worker may fail to come up before the rest of the run is given up.
const maxOpenFailures = 2

// errGivenUp ends a run whose workers do not come up.
var errGivenUp = fmt.Errorf("%w: no worker comes up", report.ErrNotRun)

// run executes the tasks in their order, as many at a time as there is room for, and delivers each outcome. It returns when all have ended.
func (p *pool) run(ctx context.Context, tasks []task, deliver func(report.Outcome)) {
	ended := make(chan struct{})
	look := time.NewTicker(wire.BeatInterval / 2)
	defer look.Stop()
	running, last := 0, time.Time{}
	for _, t := range tasks {
		for !p.slots.admit(running, last, p.room()) {
			select {
			case <-ended:
				running--
			case <-look.C:
			}
		}
		running, last = running+1, time.Now()
		go func() {
			deliver(p.execute(ctx, t))
			ended <- struct{}{}
		}()
	}
	for ; running > 0; running-- {
		<-ended
	}
	p.retire(p.worker)
}

// room is what the present worker has to spare.
func (p *pool) room() lane.Room {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.worker == nil {
		return lane.Room{}
	}
	return p.worker.Room()
}

// execute runs one task. If the machine dies under it, that is no verdict, and it is run once more on another machine.
func (p *pool) execute(ctx context.Context, t task) report.Outcome {
	outcome, err := p.try(ctx, t)
	if errors.Is(err, lane.ErrGone) && ctx.Err() == nil {
		p.tell.notice(fmt.Sprintf("%s is run again: %s", t.info.ID, strings.SplitN(err.Error(), "; its last words", 2)[0]))
		outcome, _ = p.try(ctx, t)
	}
	if !slices.ContainsFunc(outcome.Events, func(e event.Event) bool { return e.Verdict != nil && *e.Verdict == outcome.Verdict }) {
		// The worker could not say it any more: we do, since what is not in the stream did not happen.
		p.tell.event(event.Event{Case: t.info.ID, Seq: len(outcome.Events) + 1, Time: time.Now(), Verdict: &outcome.Verdict})
	}
	return outcome
}

// try runs one task on the current worker.
func (p *pool) try(ctx context.Context, t task) (report.Outcome, error) {
	worker, err := p.prepare(ctx, &t)
	start := time.Now()
	var events []event.Event
	var found []finding.ID
	if err == nil {
		err = worker.Run(ctx, t.job, func(e event.Event) {
			if e.Finding != nil {
				found = append(found, e.Finding.ID)
			}
			if e.Verdict != nil {
				verdict := known.Judge(t.known, known.Case{Scenario: t.info.Scenario.Name, Family: t.info.Family, Version: t.subject.Version}, found, *e.Verdict)
				e.Verdict = &verdict
			}
			events = append(events, e)
			p.tell.event(e)
		})
	}
	return report.OutcomeOf(t.info, events, start, time.Since(start), err), err
}

// prepare finds a worker and makes sure that it has the subject's binary.
func (p *pool) prepare(ctx context.Context, t *task) (*lane.Worker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	worker, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	if t.job.Other != nil {
		t.job.Other.Binary = t.otherFile.Hash
		if err := worker.Push(ctx, t.otherFile); err != nil {
			return worker, err
		}
	}
	t.job.Subject.Binary = t.file.Hash
	return worker, worker.Push(ctx, t.file)
}

// current is the living worker, opened if there is none.
func (p *pool) current(ctx context.Context) (*lane.Worker, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.worker != nil && p.worker.Alive() {
		return p.worker, nil
	}
	if p.worker != nil {
		p.tell.notice("the worker died; starting another one" + write(p.worker.LastWords()))
		p.retireLocked(p.worker)
	}
	if p.failures >= maxOpenFailures {
		return nil, errGivenUp
	}
	worker, err := p.open(ctx)
	if err != nil {
		p.failures++
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	p.failures, p.worker, p.speed = 0, worker, worker.Hello.Speed
	figures := worker.Figures()
	p.tell.notice(fmt.Sprintf("worker on %s: kernel %s, %d CPUs, budgets ×%.1f, up in %.1f s",
		figures.Where, worker.Hello.Kernel, worker.Hello.CPUs, worker.Hello.Speed, figures.Boot.Seconds()))
	return worker, nil
}

// write writes the last words of a worker to a file, and tells where.
func write(words string) string {
	dir, err := guest.CacheDir()
	if err != nil || words == "" {
		return ""
	}
	path := filepath.Join(dir, "last-words.log")
	if err := os.WriteFile(path, []byte(words+"\n"), 0o644); err != nil {
		return ""
	}
	return "; its last words are in " + path
}

func (p *pool) retire(w *lane.Worker) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.retireLocked(w)
}

func (p *pool) retireLocked(w *lane.Worker) {
	if w == nil {
		return
	}
	w.Close()
	p.machines = append(p.machines, w.Figures())
	p.worker = nil
}
