package upstream

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// guard owns a scratch folder: a process of its own that waits for the end of ours, however it comes, then ends the build that was
// under way and removes the folder. The end is that of the pipe between us.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// guarding reads the process groups of builds, one a line, 0 when one has ended. A git that outlives us for a moment may still
// write to the folder, hence the second and third try.
const guarding = `while read -r group; do building=$group; done
[ "${building:-0}" = 0 ] || kill -KILL -- "-$building"
for try in 1 2 3 4 5; do rm -rf -- "$1" && exit || sleep 1; done 2>/dev/null; exit 1`

// newGuard starts it, in a process group of its own, so that a signal to ours leaves it alone. It shares the lock on the folder.
func newGuard(dir string, lock *os.File) (*guard, error) {
	g := &guard{cmd: exec.Command("sh", "-c", guarding, "proxyproof-guard", dir)}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.cmd.ExtraFiles = []*os.File{lock}
	pipe, err := g.cmd.StdinPipe()
	if err == nil {
		g.pipe = pipe
		err = g.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the guard of %s: %w", dir, err)
	}
	return g, nil
}

// building tells it which process group to end; 0 is none.
func (g *guard) building(group int) error {
	if _, err := fmt.Fprintln(g.pipe, group); err != nil {
		return fmt.Errorf("tell the guard of the build: %w", err)
	}
	return nil
}

// release lets it remove the folder, and waits for that.
func (g *guard) release() error {
	g.pipe.Close()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("remove the scratch folder: %w", err)
	}
	return nil
}
