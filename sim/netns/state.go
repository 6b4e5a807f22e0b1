package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"proxyproof/sim/netstate"
)

func (n *node) State(ctx context.Context) (*netstate.State, error) {
	r, err := n.stateReader()
	if err != nil {
		return nil, err
	}
	s, err := r.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state of %s: %w", n.name, err)
	}
	return s, nil
}

func (n *node) Fingerprint(ctx context.Context) (netstate.Fingerprint, error) {
	r, err := n.stateReader()
	if err != nil {
		return "", err
	}
	f, err := r.Fingerprint(ctx)
	if err != nil {
		return "", fmt.Errorf("fingerprint the state of %s: %w", n.name, err)
	}
	return f, nil
}

// stateReader is made when it is first needed.
func (n *node) stateReader() (*netstate.Reader, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.closed {
		return nil, errClosed
	}
	if n.reader == nil {
		r, err := netstate.NewReader(netstate.Config{NS: n.fd, Backend: n.backend, Exec: n.Run, Still: n.Still})
		if err != nil {
			return nil, fmt.Errorf("read the state of %s: %w", n.name, err)
		}
		n.reader = r
	}
	return n.reader, nil
}

// Still can be called within itself.
func (n *node) Still(f func() error) error {
	if n.group == nil {
		return f()
	}
	return errors.Join(n.freezer.stop(n.group), f(), n.freezer.start(n.group))
}

// tool is where a command of the node is: that of its iptables back end comes first. exec looks through the PATH of this process, not
// through that of the new one.
func tool(name string) string {
	if path := filepath.Join(toolDir, name); exists(path) {
		return path
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (n *node) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out []byte
	err := n.Do(ctx, func() (err error) {
		var words bytes.Buffer
		cmd := exec.CommandContext(ctx, tool(name), args...)
		cmd.Args[0] = name // iptables is the back end that it is called by
		cmd.Env = withPath(nil)
		cmd.Stderr = &words
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(words.String()))
		}
		return nil
	})
	return out, err
}
