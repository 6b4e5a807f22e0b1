package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/onsi/ginkgo/v2"

	"proxyproof/harness/event"
	"proxyproof/harness/lane"
	"proxyproof/harness/report"
)

// Options say how a plan is run.
type Options struct {
	Plan      Plan
	Selection Selection
	Reporters []report.Reporter
	// Lane says where workers live and opens them.
	Lane func(ctx context.Context, notice func(string)) (*lane.Worker, error)
	// Slots is the number of cases at a time.
	Slots int
}

// ErrNothing says that the selection leaves no case.
var ErrNothing = errors.New("no case matches the selection")

// Run executes the plan. It may be called once per process, since Ginkgo runs one suite per process.
func Run(ctx context.Context, o Options) (report.Summary, error) {
	start := time.Now()
	tell := newReporters(o.Reporters)
	tasks := o.Plan.tasks()
	files, err := hashFiles(tasks)
	if err != nil {
		return report.Summary{}, err
	}
	suite := newSuite(tasks)
	config, reporter := configuration(o.Selection)
	selected, err := suite.selected(config, reporter)
	if err != nil {
		return report.Summary{}, err
	}
	if len(selected) == 0 {
		return report.Summary{}, ErrNothing
	}
	chosen := make([]task, len(selected))
	infos := make([]report.Case, len(selected))
	for i, index := range selected {
		chosen[i], infos[i] = tasks[index], tasks[index].info
	}
	tell.start(infos)

	p := &pool{slots: min(o.Slots, len(chosen)), files: files, tell: tell}
	p.open = func(ctx context.Context) (*lane.Worker, error) { return o.Lane(ctx, tell.notice) }
	byID := map[string]chan report.Outcome{}
	for i, t := range tasks {
		byID[t.info.ID] = suite.outcomes[i]
	}
	outcomes := collect(ctx, p, chosen, func(outcome report.Outcome) {
		tell.ended(outcome)
		byID[outcome.Case.ID] <- outcome
	})
	ginkgo.RunSpecs(failing{}, "proxyproof", config, reporter)

	summary := report.Summary{Outcomes: <-outcomes, Took: time.Since(start), Machines: p.machines, Speed: p.speed}
	return summary, tell.finish(summary)
}

// collect runs the tasks in the background and sends all outcomes, in the order of the tasks, when the last has ended.
func collect(ctx context.Context, p *pool, tasks []task, deliver func(report.Outcome)) <-chan []report.Outcome {
	result := make(chan []report.Outcome, 1)
	go func() {
		order := map[string]int{}
		for i, t := range tasks {
			order[t.info.ID] = i
		}
		arrived := make(chan report.Outcome)
		var outcomes []report.Outcome
		go func() {
			p.run(ctx, tasks, func(o report.Outcome) { arrived <- o })
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

// hashFiles identifies the binaries of all subjects by content.
func hashFiles(tasks []task) (map[string]lane.File, error) {
	files := map[string]lane.File{}
	for _, t := range tasks {
		paths := []string{t.subject.Binary}
		if t.job.Other != nil {
			paths = append(paths, t.other.Binary)
		}
		for _, path := range paths {
			if _, done := files[path]; done {
				continue
			}
			file, err := HashFile(path)
			if err != nil {
				return nil, err
			}
			files[path] = file
		}
	}
	return files, nil
}

// HashFile identifies a file by content.
func HashFile(path string) (lane.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return lane.File{}, fmt.Errorf("read %s: %w", path, err)
	}
	defer file.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return lane.File{}, fmt.Errorf("read %s: %w", path, err)
	}
	return lane.File{Path: path, Hash: hex.EncodeToString(sum.Sum(nil)), Size: size}, nil
}

// Exit codes of a run.
const (
	ExitPass  = 0 // every case passed, is a known issue or was skipped
	ExitFail  = 1 // a case failed, or should have failed and did not
	ExitUsage = 2 // bad arguments or a bad scenario
	ExitInfra = 3 // our own trouble
)

// ExitCode of a finished run. A fail outweighs infra: it is a result.
func ExitCode(s report.Summary) int {
	has := func(kinds ...event.VerdictKind) bool {
		return slices.ContainsFunc(s.Outcomes, func(o report.Outcome) bool { return slices.Contains(kinds, o.Verdict.Kind) })
	}
	switch {
	case has(event.Fail, event.StaleKnown):
		return ExitFail
	case has(event.Infra):
		return ExitInfra
	}
	return ExitPass
}
