package upstream

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guard owns a scratch folder: a process of its own that waits for the end of ours, however it comes, then ends the build that was
// under way and removes the folder. The end is that of the pipe between us.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// guarding reads the process groups of builds, one a line, 0 when one has ended.
const guarding = `while read -r group; do building=$group; done
[ "${building:-0}" = 0 ] || kill -KILL -- "-$building"
rm -rf -- "$1"`

// newGuard starts it, in a process group of its own, so that a signal to ours leaves it alone.
func newGuard(dir string) (*guard, error) {
	g := &guard{cmd: exec.Command("sh", "-c", guarding, "proxyproof-guard", dir)}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
