package upstream

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Workshop is a scratch folder in which things are built. It is gone when we are.
type Workshop struct {
	dir   string
	lock  *os.File
	guard *guard
}

// NewWorkshop makes one below a folder, and removes those there whose owner and guard are both gone, as after a power cut.
func NewWorkshop(below string) (*Workshop, error) {
	w, err := newWorkshop(below)
	if err != nil {
		return nil, fmt.Errorf("make room for builds: %w", err)
	}
	return w, nil
}

func newWorkshop(below string) (*Workshop, error) {
	if err := os.MkdirAll(below, 0o755); err != nil {
		return nil, err
	}
	entrance, err := locked(below, unix.LOCK_EX) // nobody sweeps what is not locked yet
	if err != nil {
		return nil, err
	}
	defer entrance.Close()
	if err := sweep(below); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(below, "scratch-*")
	if err != nil {
		return nil, err
	}
	lock, err := locked(dir, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	guard, err := newGuard(dir, lock)
	if err != nil {
		lock.Close()
		return nil, errorsOf(err, os.Remove(dir))
	}
	return &Workshop{dir, lock, guard}, nil
}

// locked opens a folder and locks it until it is closed by all who have it.
func locked(dir string, how int) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), how); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return file, nil
}

// sweep removes the workshops that nobody holds.
func sweep(below string) error {
	stale, err := filepath.Glob(filepath.Join(below, "scratch-*"))
	if err != nil {
		return err
	}
	for _, dir := range stale {
		lock, err := locked(dir, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // somebody works there, or has just removed it
		}
		err = os.RemoveAll(dir)
		lock.Close()
		if err != nil {
			return fmt.Errorf("remove what a search has left: %w", err)
		}
	}
	return nil
}

// errorsOf prefers the first error.
func errorsOf(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// Folder is its path.
func (w *Workshop) Folder() string { return w.dir }

// Close removes it.
func (w *Workshop) Close() error {
	defer w.lock.Close()
	return w.guard.release()
}

// lastWords is how much of a failed build's output is kept.
const lastWords = 2000

// Run runs a user's build command in a folder. A failure are the last words of a command that failed; an error is our own trouble.
func (w *Workshop) Run(ctx context.Context, command, folder, out string) (failure string, err error) {
	if err := os.RemoveAll(out); err != nil {
		return "", fmt.Errorf("make room for the build: %w", err)
	}
	log, err := os.Create(filepath.Join(w.dir, "build.log"))
	if err != nil {
		return "", fmt.Errorf("write down what the build says: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env = folder, append(environment(), "OUT="+out)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start the build command: %w", err)
	}
	guarded := w.guard.building(cmd.Process.Pid)
	ended := cmd.Wait()
	if err := errorsOf(guarded, w.guard.building(0)); err != nil {
		return "", err
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	info, missing := os.Stat(out)
	switch {
	case ended != nil:
		return tail(log, ended.Error()), nil
	case missing != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return tail(log, "the command ended well but left no executable at $OUT"), nil
	}
	return "", nil
}

// tail is why a build ended, and the end of what it said.
func tail(log *os.File, why string) string {
	text, err := os.ReadFile(log.Name())
	if err != nil {
		return why
	}
	text = text[max(0, len(text)-lastWords):]
	return strings.TrimSpace(why + "\n" + strings.TrimSpace(string(text)))
}
