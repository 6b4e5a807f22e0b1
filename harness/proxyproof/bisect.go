package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"proxyproof/harness/bisect"
	"proxyproof/harness/run"
	"proxyproof/harness/scenario"
	"proxyproof/harness/upstream"
)

// bisectCommand finds the commit that broke or mended a behaviour of a real proxy.
type bisectCommand struct {
	questionArgs
	Repo          string        `required:"" type:"existingdir" help:"A clone of the proxy's repository; it is only read."`
	Bad           string        `required:"" help:"A revision that has the fault."`
	Good          string        `required:"" help:"A revision that does not."`
	Releases      string        `help:"Where binaries of releases are, e.g. 'dir/{tag}/kube-router': they narrow the range before anything is built."`
	Confidence    float64       `help:"How sure the answer must be." default:"0.95"`
	Budget        time.Duration `help:"Conclude after this time with what is known." default:"2h"`
	Runs          int           `help:"Conclude after so many runs with what is known; 0: no bound." default:"0"`
	JSON          string        `name:"json" help:"Write the result to this file." type:"path"`
	Markdown      string        `help:"Write a report to this file, fit for an issue upstream." type:"path"`
	DieWithParent bool          `help:"End when the parent process does, as make's child should." hidden:""`
}

// Run is the command.
func (c *bisectCommand) Run(ctx context.Context) error {
	if c.DieWithParent {
		if err := dieWithParent(); err != nil {
			return err
		}
	}
	if err := c.check(); err != nil {
		return err
	}
	lab, err := c.open(ctx)
	if err != nil {
		return err
	}
	result, err := c.search(ctx, lab)
	if err = errors.Join(err, lab.close()); err != nil {
		return err
	}
	if lab.verdicts.unusable != nil {
		return lab.verdicts.unusable
	}
	if err := c.write(lab, result); err != nil {
		return err
	}
	switch {
	case result.Outcome == bisect.Found:
		return nil
	case result.Outcome == bisect.Trouble:
		return exitError(run.ExitInfra)
	}
	return exitError(run.ExitFail)
}

// check makes sure that the question makes sense.
func (c *bisectCommand) check() error {
	switch {
	case c.Build == "" && c.Releases == "":
		return usageError{fmt.Errorf("nothing can be judged without --build or --releases")}
	case c.Releases != "" && !strings.Contains(c.Releases, "{tag}"):
		return usageError{fmt.Errorf("--releases %s: {tag} is missing", c.Releases)}
	case c.Confidence <= 0 || c.Confidence >= 1:
		return usageError{fmt.Errorf("--confidence %g: want more than 0 and less than 1", c.Confidence)}
	}
	return c.questionArgs.check()
}

// laboratory builds commits of a repository and runs them.
type laboratory struct {
	repository *upstream.Repository
	builder    *upstream.Builder
	verdicts   *verdicts
	question   bisect.Question
	family     scenario.FamilySet
	story      bisect.Story
	worker     string   // on which a run was made
	shown      []string // the story of a run that showed the finding
}

func (c *bisectCommand) open(ctx context.Context) (*laboratory, error) {
	scratch, err := folder("scratch")
	if err != nil {
		return nil, err
	}
	l := &laboratory{question: c.question(), story: bisect.Story{W: os.Stdout}}
	l.question.Confidence, l.question.MaxRuns, l.question.Until = c.Confidence, c.Runs, time.Now().Add(c.Budget)
	if l.verdicts, err = newVerdicts(&c.questionArgs, func(text string) { fmt.Println(text) }); err != nil {
		return nil, err
	}
	if l.repository, err = upstream.Open(ctx, c.Repo, scratch); err != nil {
		return nil, usageError{err}
	}
	l.builder = &upstream.Builder{Repository: l.repository, Command: c.Build, Releases: c.Releases, Kept: l.verdicts.kept, Fresh: c.Fresh}
	return l, nil
}

func (l *laboratory) close() error {
	l.verdicts.close()
	return l.repository.Close()
}

// search finds the family set, if it was not given, and the commit.
func (c *bisectCommand) search(ctx context.Context, l *laboratory) (bisect.Result, error) {
	old, new := c.Good, c.Bad
	if l.question.Find == bisect.Fix {
		old, new = c.Bad, c.Good
	}
	history, err := l.repository.History(ctx, old, new)
	if err != nil {
		return bisect.Result{}, usageError{err}
	}
	if len(history.Range) == 0 {
		return bisect.Result{}, usageError{fmt.Errorf("%s has everything that %s has, so nothing lies between them in this direction; to look for %s, ask with --find %s",
			old, new, map[bisect.Find]string{bisect.Fix: "what broke it", bisect.Regression: "what mended it"}[l.question.Find],
			map[bisect.Find]string{bisect.Fix: "regression", bisect.Regression: "fix"}[l.question.Find])}
	}
	bad, _ := l.question.Ends(history)
	if l.family, err = l.where(ctx, bad, c.families()); err != nil {
		return bisect.Result{}, err
	}
	from := bisect.Sources{CanBuild: c.Build != "", Released: l.builder.Released(history)}
	return bisect.Search(ctx, l.question, history, from, l, l.story), nil
}

// rounds is how often each family set is tried for the finding.
const rounds = 2

// where is the first family set in which the finding comes at the bad revision. If it comes in none, the search will say so.
func (l *laboratory) where(ctx context.Context, bad bisect.Commit, families []scenario.FamilySet) (scenario.FamilySet, error) {
	if len(families) == 1 {
		return families[0], nil
	}
	build, err := l.Build(ctx, bad)
	if err != nil || build.Binary == "" {
		return families[0], err
	}
	for n := range rounds {
		for _, family := range families {
			l.family = family
			r, _, err := l.Run(ctx, bad, build.Binary, n)
			if err != nil {
				return family, err
			}
			fmt.Fprintf(l.story.W, "%s in %s: %s\n", bad, family, r)
			if r.Kind == bisect.Bad {
				return family, nil
			}
		}
	}
	return families[0], nil
}

// Build is of the laboratory.
func (l *laboratory) Build(ctx context.Context, c bisect.Commit) (bisect.Build, error) {
	return l.builder.Build(ctx, c)
}

// Run is of the laboratory.
func (l *laboratory) Run(ctx context.Context, c bisect.Commit, binary string, n int) (bisect.Run, bool, error) {
	e, remembered, err := l.verdicts.run(ctx, l.family, l.builder.Path(binary), binary, n)
	if err != nil {
		return bisect.Run{}, false, err
	}
	l.worker = e.Worker
	r := bisect.Judge(l.question.Finding, e.Verdict, e.Findings)
	if r.Kind == bisect.Bad && l.shown == nil {
		for _, f := range e.Findings {
			if f.ID == l.question.Finding {
				l.shown = append([]string{f.String()}, f.Evidence...)
				break
			}
		}
	}
	return r, remembered, nil
}

// Twins is of the laboratory.
func (l *laboratory) Twins(ctx context.Context, c bisect.Commit) ([]bisect.Twin, error) {
	return l.repository.Twins(ctx, c)
}

// write writes the reports that were asked for.
func (c *bisectCommand) write(l *laboratory, r bisect.Result) error {
	if c.JSON != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(c.JSON, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	if c.Markdown != "" {
		text := bisect.Markdown(r, bisect.Setting{
			Scenario: c.scenario.Name, Description: c.scenario.Description, Family: string(l.family), Subject: c.Subject,
			Build: c.Build, Worker: l.worker, Shown: l.shown, Again: c.again(l.family),
		})
		if err := os.WriteFile(c.Markdown, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// again is the command that repeats the search.
func (c *bisectCommand) again(family scenario.FamilySet) string {
	words := []string{"proxyproof bisect --repo .", "--scenario " + c.scenario.File, "--family " + string(family), "--finding " + c.Finding,
		"--find " + c.Find, "--bad " + c.Bad, "--good " + c.Good}
	if c.Build != "" {
		words = append(words, "--build '"+strings.ReplaceAll(c.Build, "'", `'\''`)+"'")
	}
	if c.Subject != "kube-router={binary}" {
		words = append(words, "--subject '"+c.Subject+"'")
	}
	if c.Iptables != "legacy" {
		words = append(words, "--iptables "+c.Iptables)
	}
	return strings.Join(append(words, fmt.Sprintf("--seed %d", c.Seed)), " ")
}
