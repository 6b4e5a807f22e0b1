package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"proxyproof/harness/lane"
	"proxyproof/harness/run"
	"proxyproof/harness/scenario"
	"proxyproof/harness/wire"
	"proxyproof/harness/worker"
)

// lintCommand checks scenario files.
type lintCommand struct {
	scenarioArgs
}

// Run is the command.
func (c *lintCommand) Run() error {
	scenarios, _, err := c.load()
	if err != nil {
		return err
	}
	cases := 0
	for _, s := range scenarios {
		cases += len(s.Cases())
	}
	fmt.Printf("%d scenarios, %d cases: no problem found\n", len(scenarios), cases)
	return nil
}

// listCommand lists cases.
type listCommand struct {
	scenarioArgs
}

// Run is the command.
func (c *listCommand) Run() error {
	scenarios, families, err := c.load()
	if err != nil {
		return err
	}
	plan := run.Plan{Scenarios: scenarios, Families: families}
	if err := plan.Check(); err != nil {
		return usageError{err}
	}
	for _, info := range plan.List() {
		fmt.Println(info)
	}
	return nil
}

// execCommand runs a test binary where the kernel is.
type execCommand struct {
	laneArgs
	Limit  time.Duration `help:"End the command after this time." default:"5m"`
	Env    []string      `help:"Set NAME=VALUE in its environment." sep:"none"`
	File   []string      `help:"Put a file beside the executable, in its working directory." type:"existingfile" sep:"none"`
	Binary string        `arg:"" type:"existingfile" help:"A static executable; nothing else of this host is there."`
	Args   []string      `arg:"" optional:"" passthrough:"" help:"Its arguments."`
}

// Run is the command.
func (c *execCommand) Run(ctx context.Context) error {
	file, err := run.HashFile(c.Binary)
	if err != nil {
		return err
	}
	where := c.config(func(text string) { fmt.Fprintln(os.Stderr, text) })
	if err := where.CanRun(ctx, c.Binary, true); err != nil {
		return usageError{err}
	}
	w, err := lane.Open(ctx, where)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Push(ctx, file); err != nil {
		return err
	}
	beside := map[string]string{}
	for _, path := range c.File {
		f, err := run.HashFile(path)
		if err != nil {
			return err
		}
		if err := w.Push(ctx, f); err != nil {
			return err
		}
		beside[filepath.Base(path)] = f.Hash
	}
	args := c.Args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	code, err := w.Exec(ctx, wire.Exec{ID: "exec", Binary: file.Hash, Files: beside, Args: args, Env: c.Env, Limit: c.Limit},
		func(data []byte) { _, _ = os.Stdout.Write(data) })
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// schemaCommand prints the schema.
type schemaCommand struct{}

// Run is the command.
func (schemaCommand) Run() error {
	schema, err := scenario.Schema()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(schema)
	return err
}

// workerCommand serves an orchestrator.
type workerCommand struct{}

// Run is the command. Standard input and output are the pipe, or, in the VM, both are the same virtio port.
func (workerCommand) Run(ctx context.Context) error {
	return worker.Serve(ctx, struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout})
}
