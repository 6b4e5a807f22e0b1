package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"proxyproof/harness/known"
	"proxyproof/harness/lane"
	"proxyproof/harness/run"
	"proxyproof/harness/scenario"
	"proxyproof/harness/shard"
	"proxyproof/harness/subject"
	"proxyproof/scenarios"
	"proxyproof/sim/guest/image"
	"proxyproof/sim/netstate"
)

// scenarioArgs say which scenario files are meant.
type scenarioArgs struct {
	Paths    []string `arg:"" optional:"" help:"Scenario files or folders; the folder scenarios if none is given. Where there is none, those that this program carries under the same names." type:"path" default:"scenarios"`
	Families []string `help:"Run only these family sets: ipv4, ipv6, dual-v4, dual-v6." sep:","`
}

// load reads the scenarios and the family sets.
func (a scenarioArgs) load() ([]*scenario.Scenario, []scenario.FamilySet, error) {
	families, err := familySets(a.Families)
	if err != nil {
		return nil, nil, usageError{err}
	}
	all, err := scenario.Shelf{Folder: "scenarios", Files: scenarios.Files}.LoadAll(relative(a.Paths))
	if err != nil {
		return nil, nil, usageError{err}
	}
	return all, families, nil
}

func familySets(names []string) ([]scenario.FamilySet, error) {
	var sets []scenario.FamilySet
	for _, name := range names {
		set := scenario.FamilySet(name)
		if set.Families() == nil {
			return nil, fmt.Errorf("--families: no family set is called %q; %s", name, scenario.Suggest(name, scenario.FamilySetNames(), "family sets"))
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// relative shortens paths below the working directory, for reading and repeating.
func relative(paths []string) []string {
	wd, err := os.Getwd()
	if err != nil {
		return paths
	}
	short := make([]string, len(paths))
	for i, path := range paths {
		short[i] = path
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			short[i] = rel
		}
	}
	return short
}

// laneArgs say where workers live.
type laneArgs struct {
	Lane string `help:"Where cases run: host (root and IPVS needed), guest (a throwaway VM), or auto." enum:"auto,host,guest" default:"auto"`
	guestArgs
}

// Validate is called by the parser: a host has its own kernel.
func (a laneArgs) Validate() error {
	if kind := lane.Kind(a.Lane); kind == lane.Host && a.Kernel != (image.Kernel{}) {
		return fmt.Errorf("--kernel %s: only the lane guest boots a kernel; the lane host has that of this machine", a.Kernel)
	}
	return nil
}

// guestArgs say what the VM is like.
type guestArgs struct {
	Memory  int          `help:"Memory of the VM in MiB." default:"1024"`
	Kernel  image.Kernel `help:"The VM's kernel: a version of the distribution's packages, such as 6.12, or the path of a kernel; by default the newest package." placeholder:"VERSION|PATH"`
	Modules string       `help:"The folder lib/modules/VERSION of a kernel that is given by its path." type:"existingdir" placeholder:"DIR"`
}

func (a laneArgs) config(notice func(string)) lane.Config {
	c := a.guestArgs.config(notice)
	c.Kind = lane.Kind(a.Lane)
	return c
}

func (a guestArgs) config(notice func(string)) lane.Config {
	kernel := a.Kernel
	if kernel.Image != "" {
		kernel.Modules = a.Modules
	}
	return lane.Config{Memory: a.Memory, Kernel: kernel, Notice: notice}
}

// kernel is what was asked for, in the words of the command line.
func (a guestArgs) kernel() string {
	if a.Kernel.Image != "" && a.Modules != "" {
		return a.Kernel.String() + " --modules " + a.Modules
	}
	return a.Kernel.String()
}

// runCommand runs scenarios.
type runCommand struct {
	scenarioArgs
	laneArgs
	reportArgs
	Subject       []string                `help:"The proxy under test: reference, reference+DEFECT, reference=BINARY, kube-router=BINARY[@VERSION], exec=FILE. May be given several times." default:"reference" sep:"none"`
	Other         string                  `help:"The build that scenarios swap the subject for, in the forms of --subject; without it they are skipped." sep:"none"`
	Iptables      string                  `help:"The iptables back end that the subject finds in its PATH." enum:"legacy,nft" default:"legacy"`
	Focus         []string                `help:"Run only cases whose name matches this regular expression."`
	Skip          []string                `help:"Leave out cases whose name matches this regular expression."`
	Labels        string                  `help:"A Ginkgo label filter over family sets, subjects and tags, e.g. 'ipv6 && smoke'."`
	Perturb       []scenario.Perturbation `help:"What is done to every case besides what its scenario says, and must change nothing: restart or touch (all Services) after each step, clean at the end (all Services are deleted)." enum:"restart,touch,clean" placeholder:"KIND"`
	Seed          uint64                  `help:"Decides every choice of an address or port." default:"1"`
	Parallel      int                     `help:"Cases at a time; 0: one more than the worker has CPUs, up to twice as many while it is idle." default:"0"`
	Times         int                     `help:"How often each case is run." default:"1"`
	Shard         string                  `help:"Run only this part of the cases, such as 2/4, the second of four; each machine makes the same division." default:"1/1"`
	ShardBy       string                  `help:"Divide by how long cases took in an earlier run: its JUnit report, the same on every machine." type:"path"`
	Events        string                  `help:"Write every event as a line of JSON to this file." type:"path"`
	DieWithParent bool                    `help:"End when the parent process does, as make's child should." hidden:""`
	Known         bool                    `help:"Take what is known of a release into account; --no-known fails on it." default:"true" negatable:""`
}

// Run is the command.
func (c *runCommand) Run(ctx context.Context) error {
	if c.DieWithParent {
		if err := dieWithParent(); err != nil {
			return err
		}
	}
	scenarios, families, err := c.load()
	if err != nil {
		return err
	}
	subjects, err := parseSubjects(ctx, "--subject", c.Subject, c.config(nil))
	if err != nil {
		return err
	}
	var other *subject.Subject
	if c.Other != "" {
		others, err := parseSubjects(ctx, "--other", []string{c.Other}, c.config(nil))
		if err != nil {
			return err
		}
		other = &others[0]
	}
	part, lengths, err := c.shard()
	if err != nil {
		return usageError{err}
	}
	reporters, files, err := c.open(c.Events)
	if err != nil {
		return usageError{err}
	}
	defer files.Close()
	issues, err := c.issues(subjects)
	if err != nil {
		return err
	}
	summary, err := run.Run(ctx, run.Options{
		Plan: run.Plan{
			Scenarios: scenarios, Families: families, Subjects: subjects, Other: other,
			Backend: netstate.Backend(c.Iptables), Seed: c.Seed, Times: c.Times, Perturb: c.Perturb, Known: issues, Kernel: c.kernel(),
			Program: os.Args[0],
		},
		Selection: run.Selection{Focus: c.Focus, Skip: c.Skip, Labels: c.Labels, Tags: carriedTags},
		Reporters: reporters,
		Lane: func(ctx context.Context, notice func(string)) (*lane.Worker, error) {
			return lane.Open(ctx, c.config(notice))
		},
		Slots: c.slots(), Shard: part, Lengths: lengths,
	})
	if wrong := (run.SelectionError{}); errors.As(err, &wrong) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if code := run.ExitCode(summary); code != run.ExitPass {
		return exitError(code)
	}
	return nil
}

// shard is the part of the run that is meant, and by what it is divided.
func (c *runCommand) shard() (shard.Shard, shard.Lengths, error) {
	part, err := shard.Parse(c.Shard)
	if err != nil {
		return part, nil, fmt.Errorf("--shard %w", err)
	}
	if c.ShardBy == "" {
		return part, nil, nil
	}
	lengths, err := shard.ReadLengths(c.ShardBy)
	if err != nil {
		return part, nil, fmt.Errorf("--shard-by: %w", err)
	}
	return part, lengths, nil
}

// issues are the known issues of the subjects whose version is known.
func (c *runCommand) issues(subjects []subject.Subject) (map[string][]known.Issue, error) {
	issues := map[string][]known.Issue{}
	for _, s := range subjects {
		var err error
		switch {
		case !c.Known:
		case s.Definition != nil:
			issues[s.Name] = s.Definition.Known
		case s.Version != "":
			issues[s.Name], err = known.Of(s.Profile)
		}
		if err != nil {
			return nil, err
		}
	}
	return issues, nil
}

// slots is how many cases run at a time: enough to fill the cores while some cases wait for states.
func (c *runCommand) slots() run.Slots {
	if c.Parallel > 0 {
		return run.Fixed(c.Parallel)
	}
	return run.DefaultSlots()
}
