package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/harness/wire"
)

// exec runs a pushed file as a command in the worker's own namespaces and streams what it prints.
func (w *Worker) exec(ctx context.Context, command wire.Exec) wire.Done {
	ctx, cancel := context.WithTimeout(ctx, command.Limit)
	defer cancel()
	path, err := w.materialize(command)
	if err != nil {
		return wire.Done{Exit: -1, Error: err.Error()}
	}
	cmd := exec.CommandContext(ctx, path, command.Args...)
	cmd.Dir = scratch
	cmd.Env = append(os.Environ(), command.Env...)
	output := &outputStream{w.conn, command.ID}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return wire.Done{Exit: -1, Error: fmt.Sprintf("run the command: ended after %v: %v", command.Limit, context.Cause(ctx))}
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return wire.Done{Exit: exit.ExitCode()}
	case err != nil:
		return wire.Done{Exit: -1, Error: fmt.Sprintf("run the command: %v", err)}
	}
	return wire.Done{}
}

// scratch is where commands lie as files: a RAM file system that only this worker's mount namespace sees.
const scratch = "/mnt"

// materialize gives a pushed command, and the files beside it, names: programs that start themselves again need one.
func (w *Worker) materialize(command wire.Exec) (string, error) {
	if err := unix.Mount("proxyproof", scratch, "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("mount a place for the command: %w", err)
	}
	path := filepath.Join(scratch, "command")
	if err := w.copyOut(command.Binary, path); err != nil {
		return "", fmt.Errorf("place the command: %w", err)
	}
	for name, hash := range command.Files {
		if err := w.copyOut(hash, filepath.Join(scratch, filepath.Base(name))); err != nil {
			return "", fmt.Errorf("place %s beside the command: %w", name, err)
		}
	}
	return path, nil
}

// copyOut writes a stored file to where it can be executed.
func (w *Worker) copyOut(hash, path string) error {
	from, err := w.store.path(hash)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o755)
}

// outputStream sends what a command prints to the orchestrator.
type outputStream struct {
	conn *wire.Conn
	id   string
}

func (o *outputStream) Write(data []byte) (int, error) {
	if err := o.conn.Send(wire.TypeOutput, wire.Output{ID: o.id, Data: data}); err != nil {
		return 0, err
	}
	return len(data), nil
}
