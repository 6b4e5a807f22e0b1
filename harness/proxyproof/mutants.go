package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/lane"
	"proxyproof/harness/mutant"
	"proxyproof/harness/report"
	"proxyproof/harness/run"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/netstate"
)

// mutantsCommand runs the bug zoo.
type mutantsCommand struct {
	scenarioArgs
	laneArgs
	Full          bool     `help:"Every defect against every scenario, not only those that say that they catch it."`
	Defect        []string `help:"Only these defects." sep:","`
	Iptables      string   `help:"The iptables back end." enum:"legacy,nft" default:"legacy"`
	Seed          uint64   `help:"Decides every choice of an address or port." default:"1"`
	DieWithParent bool     `help:"End when the parent process does, as make's child should." hidden:""`
}

// Run is the command.
func (c *mutantsCommand) Run(ctx context.Context) error {
	if c.DieWithParent {
		if err := dieWithParent(); err != nil {
			return err
		}
	}
	scenarios, families, err := c.load()
	if err != nil {
		return err
	}
	zoo, subjects, err := c.zoo(ctx, scenarios)
	if err != nil {
		return err
	}
	summary, err := run.Run(ctx, run.Options{
		Plan: run.Plan{
			Scenarios: scenarios, Families: families, Subjects: subjects, Backend: netstate.Backend(c.Iptables), Seed: c.Seed,
			Pairs:      func(s *scenario.Scenario, sub subject.Subject) bool { return c.Full || caughtBy(zoo, s, sub) },
			PerturbFor: func(sub subject.Subject) []scenario.Perturbation { return defectOf(zoo, sub).Perturb },
		},
		Reporters: []report.Reporter{killing{}},
		Lane: func(ctx context.Context, notice func(string)) (*lane.Worker, error) {
			return lane.Open(ctx, c.config(notice))
		},
		Slots: run.DefaultSlots(),
	})
	if errors.Is(err, run.ErrNothing) {
		return usageError{fmt.Errorf("no scenario among these says that it catches %s: add the name to its catches", cmp.Or(strings.Join(c.Defect, " or "), "a defect"))}
	}
	if err != nil {
		return err
	}
	good := 0
	for _, r := range mutant.Judge(zoo, summary) {
		for _, line := range r.Lines() {
			fmt.Println(line)
		}
		if r.Good() {
			good++
		}
	}
	fmt.Printf("%d of %d defects killed as their entries say, in %d cases and %.0f s\n", good, len(zoo), len(summary.Outcomes), summary.Took.Seconds())
	if good < len(zoo) {
		return exitError(run.ExitFail)
	}
	return nil
}

// zoo are the defects that are asked for, and the subjects that have them. What scenarios say that they catch must exist.
func (c *mutantsCommand) zoo(ctx context.Context, scenarios []*scenario.Scenario) ([]mutant.Defect, []subject.Subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program's own file: %w", err)
	}
	all, err := mutant.Zoo(ctx, filepath.Join(filepath.Dir(self), "reference-defective"))
	if err != nil {
		return nil, nil, err
	}
	for _, s := range scenarios {
		for _, name := range s.Catches {
			if err := mutant.Has(all, name); err != nil {
				return nil, nil, usageError{fmt.Errorf("%s: catches %s: %w", s.File, name, err)}
			}
		}
	}
	var zoo []mutant.Defect
	var specs []string
	for _, name := range c.Defect {
		if err := mutant.Has(all, name); err != nil {
			return nil, nil, usageError{fmt.Errorf("--defect %s: %w", name, err)}
		}
	}
	for _, d := range all {
		if len(c.Defect) == 0 || slices.Contains(c.Defect, d.Name) {
			zoo, specs = append(zoo, d), append(specs, d.Spec())
		}
	}
	subjects, err := parseSubjects(ctx, "--subject", specs, c.config(nil))
	return zoo, subjects, err
}

func caughtBy(zoo []mutant.Defect, s *scenario.Scenario, sub subject.Subject) bool {
	return defectOf(zoo, sub).IsCaughtBy(s)
}

// defectOf is the one that a subject has.
func defectOf(zoo []mutant.Defect, sub subject.Subject) mutant.Defect {
	return zoo[slices.IndexFunc(zoo, func(d mutant.Defect) bool { return d.Spec() == sub.Name })]
}

// killing reports a run in which finding something is success.
type killing struct{}

func (killing) Start(cases []report.Case) { fmt.Printf("%d cases\n", len(cases)) }
func (killing) Notice(text string)        { fmt.Println(text) }
func (killing) Event(event.Event)         {}
func (killing) Ended(o report.Outcome) {
	ids := map[string]bool{}
	var list []string
	for _, f := range o.Findings {
		if !ids[string(f.ID)] {
			ids[string(f.ID)], list = true, append(list, string(f.ID))
		}
	}
	fmt.Printf("%-100s %5.1fs %v\n", o.Case.ID, o.Took.Seconds(), list)
}

// Finish prints the matrix.
func (killing) Finish(s report.Summary) error {
	for _, line := range report.Table(s) {
		fmt.Println(line)
	}
	return nil
}
