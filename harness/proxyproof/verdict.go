package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"proxyproof/harness/bisect"
	"proxyproof/harness/keep"
	"proxyproof/harness/scenario"
	"proxyproof/harness/upstream"
)

// verdictCommand judges the work tree that it is started in, in the language of `git bisect run`.
type verdictCommand struct {
	questionArgs
	Binary string `help:"Judge this executable instead of building one." type:"existingfile"`
	Times  int    `help:"A commit is good when so many runs did not show the finding." default:"3"`
}

// Exit codes that `git bisect run` understands. It takes any other below 128 for bad, and stops at 128 and above.
const (
	exitGood    = 0
	exitBad     = 1
	exitSkip    = 125
	exitTrouble = 129 // 128 is what git itself exits with
)

// crashLoudly makes a crash of this program a signal instead of exit code 2, which `git bisect run` would take for bad.
func crashLoudly() { debug.SetTraceback("crash") }

// Run is the command.
func (c *verdictCommand) Run(ctx context.Context) error {
	if (c.Build == "") == (c.Binary == "") {
		return usageError{fmt.Errorf("give either --build or --binary")}
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Binary != "" {
		sub, err := c.subject(c.Binary)
		if err != nil {
			return err
		}
		if err := startable(ctx, sub, c.config(nil)); err != nil {
			return usageError{fmt.Errorf("--binary: %w", err)}
		}
	}
	say := func(text string) { fmt.Fprintln(os.Stderr, text) }
	v, err := newVerdicts(&c.questionArgs, say)
	if err != nil {
		return err
	}
	defer v.close()
	path := c.Binary
	if c.Build != "" {
		workshop, err := c.workshop()
		if err != nil {
			return err
		}
		path = filepath.Join(workshop.Folder(), "out")
		failure, err := workshop.Run(ctx, c.Build, ".", path)
		if err == nil && failure == "" {
			err = c.judge(ctx, v, path)
		} else if err == nil {
			fmt.Println("skip: it does not build:", failure)
			err = exitError(exitSkip)
		}
		return errors.Join(err, workshop.Close())
	}
	return c.judge(ctx, v, path)
}

// workshop is where the work tree's binary goes.
func (c *verdictCommand) workshop() (*upstream.Workshop, error) {
	dir, err := folder("scratch")
	if err != nil {
		return nil, err
	}
	return upstream.NewWorkshop(dir)
}

// judge runs the case until a run shows the finding, or until enough did not.
func (c *verdictCommand) judge(ctx context.Context, v *verdicts, path string) error {
	binary, err := keep.Hash(path)
	if err != nil {
		return err
	}
	var runs []bisect.Run
	for n := range max(c.Times, 1) {
		for _, family := range c.families() {
			r, err := c.once(ctx, v, family, path, binary, n)
			if err != nil {
				return err
			}
			if runs = append(runs, r); r.Kind == bisect.Bad {
				return c.exit(bisect.Bad)
			}
		}
	}
	kind := c.question().Sum(runs)
	return c.exit(kind)
}

// once is one run.
func (c *verdictCommand) once(ctx context.Context, v *verdicts, family scenario.FamilySet, path, binary string, n int) (bisect.Run, error) {
	e, _, err := v.run(ctx, family, path, binary, n)
	if err != nil {
		return bisect.Run{}, err
	}
	r := bisect.Judge(c.question().Finding, e.Verdict, e.Findings)
	fmt.Printf("%s run %d: %s\n", family, n+1, r)
	if r.Kind == bisect.Infra {
		return r, errors.New(r.Reason)
	}
	return r, nil
}

// exit tells the verdict to git. While a fix is searched, the old state is the faulty one, which git calls good.
func (c *verdictCommand) exit(kind bisect.Kind) error {
	codes := map[bisect.Kind]int{bisect.Good: exitGood, bisect.Bad: exitBad, bisect.Skip: exitSkip}
	if bisect.Find(c.Find) == bisect.Fix {
		codes[bisect.Good], codes[bisect.Bad] = exitBad, exitGood
	}
	code := codes[kind]
	fmt.Printf("%s: exit code %d for git bisect\n", kind, code)
	if code == 0 {
		return nil
	}
	return exitError(code)
}

// isVerdict tells whether the program was started as `proxyproof verdict`, before its arguments were understood.
func isVerdict(args []string) bool { return len(args) > 0 && args[0] == "verdict" }
