// Package upstream is somebody's git repository: its history, and builds of its commits. The repository itself is only read. All
// work happens in a scratch folder elsewhere, in a clone that borrows its objects, and a guard removes the folder when we end.
package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Repository is a borrowed view of somebody's repository.
type Repository struct {
	*Workshop
	users string // the repository itself
	clone string // a bare clone without objects of its own
	tree  string // the work tree of builds; made when it is first needed
}

// Open borrows the repository that a folder is in. The scratch folder is made below another one.
func Open(ctx context.Context, folder, below string) (*Repository, error) {
	common, err := git(ctx, folder, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if err != nil {
		return nil, fmt.Errorf("find the repository of %s: %w", folder, err)
	}
	workshop, err := NewWorkshop(below)
	if err != nil {
		return nil, err
	}
	r := &Repository{
		Workshop: workshop, users: folder,
		clone: filepath.Join(workshop.Folder(), "clone.git"), tree: filepath.Join(workshop.Folder(), "tree"),
	}
	// All references, so that the branches of remotes are there, too; no object is copied.
	if _, err := git(ctx, r.Folder(), "clone", "--quiet", "--mirror", "--shared", strings.TrimSpace(common), r.clone); err != nil {
		return nil, fmt.Errorf("borrow the objects of %s: %w", folder, errorsOf(err, r.Close()))
	}
	return r, nil
}

// checkout puts the work tree at a commit, with nothing of other commits or builds in it.
func (r *Repository) checkout(ctx context.Context, hash string) error {
	if _, err := os.Stat(r.tree); err != nil {
		_, err := git(ctx, r.clone, "worktree", "add", "--quiet", "--detach", r.tree, hash)
		return err
	}
	if _, err := git(ctx, r.tree, "checkout", "--quiet", "--force", "--detach", hash); err != nil {
		return err
	}
	_, err := git(ctx, r.tree, "clean", "-ffdxq")
	return err
}

// git runs a git command in a folder and returns what it prints.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	var out bytes.Buffer
	err := gitTo(ctx, &out, folder, args...)
	return out.String(), err
}

// gitTo runs a git command in a folder. Nothing that a person has set up for interactive work takes part: no hooks, no clean-up in
// the background, no optional locks, no variables that point to another repository.
func gitTo(ctx context.Context, out io.Writer, folder string, args ...string) error {
	var words bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", append([]string{
		"-C", folder, "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false",
	}, args...)...)
	cmd.Env = append(environment(), "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = out, &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(words.String()))
	}
	return nil
}

// environment is the user's, without what git sets for its hooks and for `git bisect run`.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") {
			env = append(env, v)
		}
	}
	return env
}
