package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// runner runs the steps of a job or of an action.
type runner struct {
	machine *machine
	options options
	// values are what expressions stand for, by their names: "matrix.families".
	values     map[string]string
	checkedOut bool
}

func (r *runner) add(context string, values map[string]string) {
	for name, value := range values {
		if context == "needs" { // "job.name" is needs.job.outputs.name
			job, output, _ := strings.Cut(name, ".")
			name = job + ".outputs." + output
		}
		r.values[context+"."+name] = value
	}
}

// steps runs them in order. One that fails ends the job, but for those that always run.
func (r *runner) steps(ctx context.Context, steps []step, env map[string]string) error {
	var errs []error
	for _, s := range steps {
		runs, err := wanted(s.If, len(errs) > 0, r.values)
		if err != nil {
			return err
		}
		if !runs {
			continue
		}
		if err := r.step(ctx, s, env); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.Join(errs...)
}

func (r *runner) step(ctx context.Context, s step, env map[string]string) error {
	with, err := r.with(s)
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(s.Uses, "./"):
		return r.action(ctx, path.Join(workspace, s.Uses), with)
	case s.Uses != "":
		said, err := r.standIn(ctx, s.Uses, with)
		fmt.Printf("-- %s: %s\n", strings.SplitN(s.Uses, "@", 2)[0], said)
		return err
	}
	script, err := substitute(s.Run, r.values)
	if err != nil {
		return err
	}
	all := maps.Clone(env)
	if all == nil {
		all = map[string]string{}
	}
	for name, text := range s.Env {
		if all[name], err = substitute(text, r.values); err != nil {
			return err
		}
	}
	fmt.Printf("-- run: %s\n", strings.TrimSpace(script))
	start := time.Now()
	outputs, err := r.machine.run(ctx, script, all)
	fmt.Printf("-- %.1f s: %s\n", time.Since(start).Seconds(), outcome(err))
	for name, value := range outputs {
		r.values["steps."+s.ID+".outputs."+name] = value
	}
	if err != nil {
		return fmt.Errorf("run: %s: %w", strings.SplitN(strings.TrimSpace(script), "\n", 2)[0], err)
	}
	return nil
}

func outcome(err error) string {
	if err != nil {
		return err.Error()
	}
	return "done"
}

// with are the arguments of an action. Those of others than our own may be beyond us, and are not looked at unless they are needed.
func (r *runner) with(s step) (map[string]string, error) {
	values := map[string]string{}
	for name, value := range s.With {
		text, err := substitute(fmt.Sprint(value), r.values)
		if err != nil && strings.HasPrefix(s.Uses, "./") {
			return nil, err
		}
		values[name] = text
	}
	return values, nil
}

// action runs the steps of an action in the workspace.
func (r *runner) action(ctx context.Context, dir string, with map[string]string) error {
	w, err := readWorkflow(filepath.Join(r.machine.root, dir, "action.yaml"))
	if err != nil {
		return err
	}
	inputs, err := w.inputs(with)
	if err != nil {
		return fmt.Errorf("action %s: %w", dir, err)
	}
	inner := runner{machine: r.machine, options: r.options, checkedOut: r.checkedOut, values: map[string]string{
		"github.workspace": workspace, "github.action_path": dir, "github.action_ref": "here",
	}}
	inner.add("inputs", inputs)
	return inner.steps(ctx, w.Runs.Steps, nil)
}

// standIn does what takes the place of an action, and says so.
func (r *runner) standIn(ctx context.Context, uses string, with map[string]string) (string, error) {
	name, _, _ := strings.Cut(uses, "@")
	at := filepath.Join(r.machine.root, workspace, with["path"])
	switch name {
	case "actions/checkout":
		if with["repository"] == "" && r.options.project != "" {
			return "a copy of " + r.options.project, copyFolder(ctx, r.options.project, at)
		}
		return "a clone of the last commit here", r.machine.clone(ctx, at)
	case "actions/setup-go":
		return "the Go of this machine, with its caches", nil
	case "actions/cache":
		if r.options.cache == "" {
			return "nothing was cached", nil
		}
		return "what is in " + r.options.cache, copyFolder(ctx, r.options.cache, filepath.Join(r.machine.root, "root/.cache/proxyproof"))
	case "actions/upload-artifact":
		return r.upload(ctx, with)
	case "actions/download-artifact":
		return r.download(ctx, with, at)
	}
	return "", fmt.Errorf("nothing stands in for %s", uses)
}

// upload keeps files under the name of the artifact, without the folder that they have in common, as the action does.
func (r *runner) upload(ctx context.Context, with map[string]string) (string, error) {
	if r.options.artifacts == "" {
		return "not kept", nil
	}
	to := filepath.Join(r.options.artifacts, with["name"])
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	for _, name := range strings.Fields(with["path"]) {
		from := filepath.Join(r.machine.root, workspace, name)
		info, err := os.Stat(from)
		switch {
		case err != nil:
			continue
		case info.IsDir():
			err = copyFolder(ctx, from, to)
		default:
			err = command(ctx, "cp", "-p", from, to)
		}
		if err != nil {
			return "", err
		}
	}
	return "kept in " + to, nil
}

// download brings an artifact, or all that match a pattern, each in a folder of its name.
func (r *runner) download(ctx context.Context, with map[string]string, at string) (string, error) {
	if r.options.artifacts == "" {
		return "", fmt.Errorf("--artifacts must say where the artifacts of earlier jobs are")
	}
	if with["name"] != "" {
		from := filepath.Join(r.options.artifacts, with["name"])
		return "what is in " + from, copyFolder(ctx, from, at)
	}
	found, err := filepath.Glob(filepath.Join(r.options.artifacts, with["pattern"]))
	if err != nil {
		return "", err
	}
	for _, from := range found {
		if err := copyFolder(ctx, from, filepath.Join(at, filepath.Base(from))); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d artifacts of %s", len(found), r.options.artifacts), nil
}
