// Command workflow runs a job of a workflow file on this machine: the run: steps, in order, as root in a fresh Debian. Steps that use an
// action are skipped, with a line that says what stands in for it; an action of this repository is run like the job. It prints the time
// that each step takes. Expressions of which it does not know the value end it: nothing is guessed.
//
// Usage: go run ./ci/workflow [FLAG...] FILE JOB
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// pairs are flags of the form NAME=VALUE.
type pairs map[string]string

func (p pairs) String() string { return fmt.Sprint(map[string]string(p)) }

// Set reads one.
func (p pairs) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("want NAME=VALUE")
	}
	p[name] = value
	return nil
}

// options are the command line.
type options struct {
	matrix, inputs, needs pairs
	chroot                string
	project               string
	artifacts             string
	cache                 string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o := options{matrix: pairs{}, inputs: pairs{}, needs: pairs{}}
	flag.Var(o.matrix, "matrix", "run only the combinations with NAME=VALUE")
	flag.Var(o.inputs, "input", "an input of a workflow that is called, NAME=VALUE")
	flag.Var(o.needs, "needs", "an output of an earlier job, JOB.NAME=VALUE")
	flag.StringVar(&o.chroot, "chroot", "", "a folder with a fresh Debian, which is not written to; made by debootstrap if there is none")
	flag.StringVar(&o.project, "project", "", "the folder of the project that calls the workflow; by default this repository")
	flag.StringVar(&o.artifacts, "artifacts", "", "a folder that stands for uploaded artifacts")
	flag.StringVar(&o.cache, "cache", "", "a folder that stands for what actions/cache has kept; by default nothing was")
	flag.Parse()
	code := run(ctx, o, flag.Args())
	stop()
	os.Exit(code)
}

func run(ctx context.Context, o options, args []string) int {
	if len(args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./ci/workflow [FLAG...] FILE JOB; -help lists the flags")
		return 2
	}
	err := runJob(ctx, o, args[0], args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "ci/workflow: %v\n", err)
		return 1
	}
	return 0
}

// runJob runs all combinations of the job's matrix that are meant.
func runJob(ctx context.Context, o options, file, name string) error {
	w, err := readWorkflow(file)
	if err != nil {
		return err
	}
	j, ok := w.Jobs[name]
	if !ok {
		return fmt.Errorf("%s has no job %s", file, name)
	}
	inputs, err := w.inputs(o.inputs)
	if err != nil {
		return err
	}
	all, err := j.combinations(inputs)
	if err != nil {
		return err
	}
	lower, err := fresh(ctx, o.chroot)
	if err != nil {
		return err
	}
	var errs []error
	ran := 0
	for _, matrix := range all {
		if !matches(matrix, o.matrix) {
			continue
		}
		ran++
		title := strings.TrimSpace(name + " " + describe(matrix))
		fmt.Printf("== %s: %s\n", filepath.Base(file), title)
		start := time.Now()
		err := o.once(ctx, lower, j, matrix, inputs)
		word := "green"
		if err != nil {
			word = "red"
			errs = append(errs, fmt.Errorf("%s: %w", title, err))
		}
		fmt.Printf("== %s: %s in %.0f s\n", title, word, time.Since(start).Seconds())
	}
	if ran == 0 {
		return fmt.Errorf("job %s has no combination with %v", name, o.matrix)
	}
	return errors.Join(errs...)
}

// once runs the steps of one combination on a machine of its own.
func (o options) once(ctx context.Context, lower string, j job, matrix, inputs map[string]string) error {
	m, err := newMachine(ctx, lower, o)
	if err != nil {
		return err
	}
	defer m.close()
	r := runner{machine: m, options: o, values: map[string]string{
		"github.workspace": workspace, "github.ref_name": "v0.0.0", "github.token": "", "github.workflow": "workflow", "github.ref": "refs/heads/main",
	}}
	r.add("matrix", matrix)
	r.add("inputs", inputs)
	r.add("needs", o.needs)
	return r.steps(ctx, j.Steps, j.Env)
}

func matches(matrix, wanted map[string]string) bool {
	for name, value := range wanted {
		if matrix[name] != value {
			return false
		}
	}
	return true
}

// describe is a combination for people.
func describe(matrix map[string]string) string {
	var parts []string
	for _, name := range sortedKeys(matrix) {
		parts = append(parts, name+"="+matrix[name])
	}
	return strings.Join(parts, " ")
}
