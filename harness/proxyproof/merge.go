package main

import (
	"errors"

	"proxyproof/harness/merge"
	"proxyproof/harness/report"
	"proxyproof/harness/run"
)

// mergeCommand joins the reports of shards.
type mergeCommand struct {
	Files []string `arg:"" type:"existingfile" help:"The files that run --events has written, of all shards."`
	reportArgs
}

// Run is the command.
func (c *mergeCommand) Run() error {
	var runs []merge.Run
	for _, file := range relative(c.Files) {
		r, err := merge.Read(file)
		if err != nil {
			return usageError{err}
		}
		runs = append(runs, r)
	}
	summary, err := merge.Join(runs)
	if twice := (merge.Twice{}); errors.As(err, &twice) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	reporters, files, err := c.open("")
	if err != nil {
		return usageError{err}
	}
	defer files.Close()
	if err := report.Replay(summary, notes(runs), reporters...); err != nil {
		return err
	}
	if code := run.ExitCode(summary); code != run.ExitPass {
		return exitError(code)
	}
	return nil
}

// notes tell what each file holds.
func notes(runs []merge.Run) []string {
	var lines []string
	for _, r := range runs {
		lines = append(lines, r.String())
	}
	return lines
}
