package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/harness/wire"
	"proxyproof/sim/netstate"
	"proxyproof/sim/pressure"
)

// caseRun is one case from start to verdict.
type caseRun struct {
	job wire.Job
	// speed is how many times slower this machine is than the nominal one, and window the time for which the system must be at rest.
	speed  float64
	window time.Duration
	record *record
	meter  *pressure.Meter
	// doubts counts the probes that got no answer at a time when there was not enough useful time to get one.
	doubts atomic.Int64
	build         // of the subject that runs
	other  *build // that it is swapped for; nil if there is none
	helps  *helps
	*cluster
	proxies []*proxy
	foreign []injection
	faults  faults
	// excused: the subject may log errors, since the API server is or was not as it should be.
	excused atomic.Bool
	holds   []*hold
	holding bool // the holds of Services have begun
	settler *settler
	turns   turns
	// keptPorts are the ports of flows.
	keptPorts map[flow]uint16
	first     []*netstate.State // of the nodes, when the subject had been started and there was no Service yet; nil if it never was so
	patience
}

// caseLimit bounds a case, whatever happens in it. On a nominal machine, in useful time.
const caseLimit = 90 * time.Second

// runCase executes a job and streams its events, the last of which is the verdict.
func (w *Worker) runCase(ctx context.Context, job wire.Job) wire.Done {
	start := time.Now()
	record := newRecord(job.ID, func(e event.Event) {
		if err := w.conn.SendEvent(e); err != nil {
			fmt.Fprintf(os.Stderr, "worker: %v\n", err)
		}
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go w.enforce(ctx, w.scale(caseLimit), cancel)
	verdict := verdictOf(w.attempt(ctx, job, record), record)
	verdict.Took = time.Since(start)
	record.add(event.Event{Note: &event.Note{Text: "the machine during the case: " + w.meter.Words(start, time.Now())}})
	record.add(event.Event{Verdict: &verdict})
	return wire.Done{}
}

// enforce cancels a case at the end of its limit.
func (w *Worker) enforce(ctx context.Context, limit time.Duration, cancel context.CancelCauseFunc) {
	allowance := w.meter.Allow(limit)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			switch allowance.State(now) {
			case pressure.Spent:
				cancel(fmt.Errorf("the case took longer than %v", limit))
			case pressure.Starved:
				cancel(allowance.Err("that the case did not end"))
			}
		}
	}
}

// verdictOf reads the end of a case.
func verdictOf(err error, record *record) event.Verdict {
	var lacks *subject.Lacks
	var unfit *unfit
	var author *authorError
	switch {
	case errors.As(err, &lacks):
		return event.Verdict{Kind: event.Skip, Reason: lacks.Error()}
	case errors.As(err, &unfit):
		return event.Verdict{Kind: event.Skip, Reason: unfit.Error()}
	case errors.As(err, &author):
		return event.Verdict{Kind: event.Infra, Author: true, Line: author.problem.Line, Reason: author.Error()}
	case err != nil:
		return event.Verdict{Kind: event.Infra, Reason: err.Error()}
	case record.failed():
		return event.Verdict{Kind: event.Fail}
	}
	return event.Verdict{Kind: event.Pass}
}

// attempt runs the case. A panic is our own trouble and must not take the other cases of this worker along.
func (w *Worker) attempt(ctx context.Context, job wire.Job, record *record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the worker panicked: %v\n%s", p, debug.Stack())
		}
	}()
	subjectBuild, err := w.build(job.Subject)
	if err != nil {
		return err
	}
	now := measureSpeed()
	c := &caseRun{job: job, speed: max(w.speed, now), window: stretch(settleWindow, min(now, windowMost)), record: record, meter: w.meter, build: subjectBuild, helps: &w.helps,
		keptPorts: map[flow]uint16{}}
	if job.Other != nil {
		other, err := w.build(*job.Other)
		if err != nil {
			return err
		}
		c.other = &other
	}
	c.job.Scenario = unhurried(job.Scenario, c.speed*c.stretchNow())
	c.settler = &settler{window: c.window, clock: &w.meter.Clock, look: c.look, print: c.print}
	c.patience = patience{budget: c.scale(stepBudget), rest: c.rest, hopeless: c.restless, deaf: c.scale(deafLimit), doubts: c.doubts.Load, unrest: c.unrest}
	defer func() {
		record.enter(len(job.Scenario.Steps)+1, event.Phase{Name: "close"})
		err = errors.Join(err, c.close())
	}()
	return c.play(ctx)
}

// rest is how long the subject may rest before it acts on what it knows. Its own delays are by the clock, however slow the machine is;
// that they have ended takes a window to be seen. A dead one does not act at all, and where nothing drains, nothing waits for that.
func (c *caseRun) rest() time.Duration {
	if c.subjectsGone() {
		return c.window
	}
	options := c.job.Scenario.Subject.Options
	if !slices.ContainsFunc(c.proxies, func(p *proxy) bool { return p.drains }) {
		options.GracefulPeriod = 0
	}
	return max(c.profile.Patience(options), time.Duration(options.SyncPeriod)) + c.window
}

// repairSpeed is the machine that short sync periods are written for: an emulated one with nothing else to do.
const repairSpeed = 4.0

// unhurried is the scenario with a sync period that leaves the subject time to rest between two repairs on a machine this slow: one that
// is always at work can never be judged.
func unhurried(s *scenario.Scenario, speed float64) *scenario.Scenario {
	slower := *s
	options := &slower.Subject.Options
	options.SyncPeriod = scenario.Duration(stretch(time.Duration(options.SyncPeriod), max(1, speed/repairSpeed)))
	return &slower
}

// stepBudget is how long the checks of one step may take to hold, on a nominal machine, in useful time.
const stepBudget = 10 * time.Second

// deafLimit is how long bytes may stay unacknowledged, on a nominal machine: the kernel acknowledges them, not the process.
const deafLimit = 700 * time.Millisecond

// scale stretches a duration that is meant for a nominal machine.
func (w *Worker) scale(d time.Duration) time.Duration { return stretch(d, w.speed) }

func (c *caseRun) scale(d time.Duration) time.Duration { return stretch(d, c.speed) }

func stretch(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// play is the story of a case: the world, the API, the subject, the steps.
func (c *caseRun) play(ctx context.Context) error {
	if err := c.preflight(); err != nil {
		return err
	}
	c.record.enter(0, event.Phase{Name: "world"})
	var err error
	if c.cluster, err = newCluster(ctx, c.job, c.record); err != nil {
		return err
	}
	if err := c.baseline(ctx); err != nil {
		return err
	}
	if c.job.Scenario.Subject.Start != scenario.StartByStep {
		c.record.enter(0, event.Phase{Name: "subject", Title: "the subject starts"})
		if gone, err := c.startSubjects(ctx); err != nil || gone {
			return err
		}
		if gone, err := c.judgeStep(ctx, scenario.Step{}); err != nil || gone {
			return err
		}
		c.first = c.lastStates()
	}
	for i, step := range c.job.Scenario.Steps {
		c.record.enter(i+1, event.Phase{Name: "step", Title: step.Title(), Line: step.Line})
		gone, err := c.take(ctx, step)
		if err == nil && !gone {
			gone, err = c.perturb(ctx, i+1, step)
		}
		if err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, step.Title(), err)
		}
		if gone {
			return nil
		}
	}
	if err := c.endHolds(ctx); err != nil {
		return err
	}
	return c.clean(ctx)
}

// take does what a step says and judges. gone tells that no subject is left to be tested.
func (c *caseRun) take(ctx context.Context, step scenario.Step) (gone bool, err error) {
	switch {
	case step.Apply != "":
		err = blame(c.job.Scenario, step, c.apply(ctx, step.Apply))
	case len(step.Delete) > 0:
		err = blame(c.job.Scenario, step, c.delete(ctx, step.Delete))
	case len(step.Pods) > 0:
		err = c.changePods(ctx, step.Pods)
	case len(step.Endpoints) > 0:
		err = c.setEndpoints(ctx, step.Endpoints)
	case len(step.Nodes) > 0:
		err = c.changeNodes(ctx, step.Nodes)
	case step.API != "":
		gone, err = c.harm(ctx, step.API)
	case len(step.Foreign) > 0:
		err = c.inject(ctx, step.Foreign)
	case len(step.Withdraw) > 0:
		err = c.withdraw(ctx, step.Withdraw)
	case len(step.Disturb) > 0:
		err = c.disturb(ctx, step.Disturb)
	case step.Subject != "":
		gone, err = c.act(ctx, step.Subject)
	}
	if err != nil || gone {
		return gone, err
	}
	return c.judgeStep(ctx, step)
}

// judgeStep judges what must hold after a step.
func (c *caseRun) judgeStep(ctx context.Context, step scenario.Step) (gone bool, err error) {
	return c.judgeUntil(ctx, func(ctx context.Context) ([]finding.Finding, error) { return c.judge(ctx, step) })
}

// judgeUntil waits until everything that must hold does, or records what does not. gone tells that what would follow says nothing
// about the subject.
func (c *caseRun) judgeUntil(ctx context.Context, judge checks) (gone bool, err error) {
	start := time.Now()
	result, err := await(ctx, c.settler, c.patience, judge, c.record.fresh)
	if err != nil {
		return false, err
	}
	c.record.find(result.findings...)
	if c.faults.now == "" {
		c.excused.Store(false)
	}
	if err := c.recordKernel(ctx); err != nil {
		return false, err
	}
	if err := c.holdServices(ctx); err != nil {
		return false, err
	}
	c.record.add(event.Event{StepDone: &event.StepDone{Took: time.Since(start), Settled: result.settling, Rounds: result.rounds}})
	return c.subjectsGone() || c.restless(), nil
}

// restless tells that the subject does not come to rest. There is no moment at which it can be judged, and each further step
// would wait for one in vain.
func (c *caseRun) restless() bool { return c.record.has("subject-not-settled", "subject-log-flood") }

// holdServices begins the holds of Services once, when the subject has first been judged.
func (c *caseRun) holdServices(ctx context.Context) error {
	if c.holding || c.subjectsGone() || len(c.proxies) > 0 && c.proxies[0].process == nil {
		return nil
	}
	c.holding = true
	return c.startHolds(ctx, true)
}

// close ends everything that the case began, the youngest first.
func (c *caseRun) close() error {
	var errs []error
	for _, h := range c.holds {
		h.held.Stop()
	}
	for _, p := range c.proxies {
		errs = append(errs, p.kill())
	}
	if c.cluster != nil {
		errs = append(errs, c.cluster.close())
	}
	return errors.Join(errs...)
}
