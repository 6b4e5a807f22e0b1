package run

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/onsi/ginkgo/v2"

	"proxyproof/harness/event"
	"proxyproof/harness/keep"
	"proxyproof/harness/lane"
	"proxyproof/harness/report"
	"proxyproof/harness/shard"
)

// Options say how a plan is run.
type Options struct {
	Plan      Plan
	Selection Selection
	Reporters []report.Reporter
	// Lane says where workers live and opens them.
	Lane  func(ctx context.Context, notice func(string)) (*lane.Worker, error)
	Slots Slots
	// Shard is the part of the selected cases that is run here; the zero value means all of them. Lengths, of an earlier run, decide
	// with the cases themselves which are in which part.
	Shard   shard.Shard
	Lengths shard.Lengths
}

// Run executes the plan. It may be called once per process, since Ginkgo runs one suite per process.
func Run(ctx context.Context, o Options) (report.Summary, error) {
	start := time.Now()
	tell := newReporters(o.Reporters)
	tasks := o.Plan.tasks()
	if err := o.Selection.check(tasks); err != nil {
		return report.Summary{}, err
	}
	if err := hashFiles(tasks); err != nil {
		return report.Summary{}, err
	}
	suite := newSuite(tasks)
	config, reporter := configuration(o.Selection)
	selected, err := suite.selected(config, reporter)
	if err != nil {
		return report.Summary{}, err
	}
	if len(selected) == 0 {
		return report.Summary{}, o.nothing(tasks)
	}
	plan, ours := o.divide(tasks, selected)
	tell.event(event.Event{Time: start, Plan: &plan})
	suite.leave(selected, ours)
	chosen := make([]task, len(ours))
	infos := make([]report.Case, len(ours))
	for i, index := range ours {
		chosen[i], infos[i] = tasks[index], tasks[index].info
	}
	tell.start(infos)
	earlier := rememberedTimes()

	p := &pool{slots: o.Slots, tell: tell}
	p.open = func(ctx context.Context) (*lane.Worker, error) { return o.Lane(ctx, tell.notice) }
	byID := map[string]chan report.Outcome{}
	for i, t := range tasks {
		byID[t.info.ID] = suite.outcomes[i]
	}
	outcomes := collect(ctx, p, chosen, earlier.longestFirst(chosen), func(outcome report.Outcome) {
		tell.ended(outcome)
		byID[outcome.Case.ID] <- outcome
	})
	ginkgo.RunSpecs(failing{}, suiteName, config, reporter)

	summary := report.Summary{Outcomes: <-outcomes, Took: time.Since(start), Machines: p.machines, Speed: p.speed}
	tell.event(event.Event{Time: time.Now(), End: &event.End{Took: summary.Took, Speed: summary.Speed, Machines: summary.Machines}})
	if err := earlier.remember(summary.Outcomes); err != nil {
		tell.notice(fmt.Sprintf("cannot remember how long the cases took: %v", err))
	}
	return summary, tell.finish(summary)
}

// divide is the plan that the selection leaves, with the part that each case is in, and the tasks of our part in the order of selected.
func (o Options) divide(tasks []task, selected []int) (plan event.Plan, ours []int) {
	mine := o.Shard
	if mine.Of == 0 {
		mine = shard.Whole
	}
	cases := make([]report.Case, len(selected))
	for i, index := range slices.Sorted(slices.Values(selected)) {
		cases[i] = tasks[index].info
	}
	part := shard.Divide(o.Lengths.Items(cases), mine.Of)
	plan = event.Plan{Backend: string(o.Plan.Backend), Kernel: o.Plan.Kernel, Shard: mine.String()}
	for _, sub := range o.Plan.Subjects {
		plan.Subjects = append(plan.Subjects, sub.Name)
	}
	for _, c := range cases {
		plan.Cases = append(plan.Cases, event.PlannedCase{
			ID: c.ID, Scenario: c.Scenario.Name, File: c.Scenario.File, Family: string(c.Family), Subject: c.Subject, Repeat: c.Repeat,
			Part: part[c.ID],
		})
	}
	for _, index := range selected {
		if part[tasks[index].info.ID] == mine.Index {
			ours = append(ours, index)
		}
	}
	return plan, ours
}

// collect runs the tasks in the background, in the order of queue, and sends all outcomes, in that of tasks, when the last has ended.
func collect(ctx context.Context, p *pool, tasks, queue []task, deliver func(report.Outcome)) <-chan []report.Outcome {
	result := make(chan []report.Outcome, 1)
	go func() {
		order := map[string]int{}
		for i, t := range tasks {
			order[t.info.ID] = i
		}
		arrived := make(chan report.Outcome)
		var outcomes []report.Outcome
		go func() {
			p.run(ctx, queue, func(o report.Outcome) { arrived <- o })
			close(arrived)
		}()
		for o := range arrived {
			outcomes = append(outcomes, o)
			deliver(o)
		}
		sort.Slice(outcomes, func(i, j int) bool { return order[outcomes[i].Case.ID] < order[outcomes[j].Case.ID] })
		result <- outcomes
	}()
	return result
}

// hashFiles identifies the binaries of all tasks by content, each once.
func hashFiles(tasks []task) error {
	files := map[string]lane.File{}
	hash := func(path string) (lane.File, error) {
		if file, done := files[path]; done {
			return file, nil
		}
		file, err := HashFile(path)
		files[path] = file
		return file, err
	}
	for i := range tasks {
		t := &tasks[i]
		var err error
		if t.file, err = hash(t.subject.Binary); err != nil {
			return err
		}
		if t.job.Other == nil {
			continue
		}
		if t.otherFile, err = hash(t.other.Binary); err != nil {
			return err
		}
	}
	return nil
}

// OwnFile is this program, for what needs a file that every worker can be given.
func OwnFile() (lane.File, error) {
	self, err := os.Executable()
	if err != nil {
		return lane.File{}, fmt.Errorf("find this program's own file: %w", err)
	}
	return HashFile(self)
}

// HashFile identifies a file by content.
func HashFile(path string) (lane.File, error) {
	hash, err := keep.Hash(path)
	if err != nil {
		return lane.File{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return lane.File{}, err
	}
	return lane.File{Path: path, Hash: hash, Size: info.Size()}, nil
}

// Exit codes of a run.
const (
	ExitPass  = 0 // every case passed, is a known issue or was skipped
	ExitFail  = 1 // a case failed, or should have failed and did not
	ExitUsage = 2 // bad arguments or a bad scenario
	ExitInfra = 3 // our own trouble
)

// ExitCode of a finished run. A fail outweighs infra: it is a result. A scenario that cannot run outweighs a harness error: to try
// again is of no use before it is fixed.
func ExitCode(s report.Summary) int {
	has := func(kinds ...event.VerdictKind) bool {
		return slices.ContainsFunc(s.Outcomes, func(o report.Outcome) bool { return slices.Contains(kinds, o.Verdict.Kind) })
	}
	switch {
	case has(event.Fail, event.StaleKnown):
		return ExitFail
	case slices.ContainsFunc(s.Outcomes, func(o report.Outcome) bool { return o.Verdict.Author }):
		return ExitUsage
	case has(event.Infra):
		return ExitInfra
	}
	return ExitPass
}
