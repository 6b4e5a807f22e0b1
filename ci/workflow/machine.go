package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// workspace is the folder of the project inside the machine.
const workspace = "/work"

const (
	// release is the Debian that is made when none is given.
	release = "bookworm"
	// runnerHas is what a hosted runner has beyond the least.
	runnerHas = "make,git,ca-certificates,curl"
)

// fresh is a folder with a fresh Debian.
func fresh(ctx context.Context, given string) (string, error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("run it as root: it mounts, and changes its root")
	}
	if given != "" {
		return filepath.Abs(given)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "proxyproof", "debian-"+release)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	// What debootstrap mounts there goes with its mount namespace, however it ends.
	if err := command(ctx, "unshare", "--mount", "--fork", "--kill-child", "debootstrap", "--variant=minbase", "--include="+runnerHas, release, part); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}

// machine is a Debian whose changes go to a layer of its own, which goes with it.
type machine struct {
	dir  string // for everything
	root string // where it is mounted
	// mounts are folders of this machine, each followed by where it is in that one.
	mounts []string
	env    []string
}

// newMachine mounts a layer over a folder with a Debian.
func newMachine(ctx context.Context, lower string, o options) (*machine, error) {
	dir, err := os.MkdirTemp("", "workflow-")
	if err != nil {
		return nil, err
	}
	m := &machine{dir: dir, root: filepath.Join(dir, "root")}
	for _, name := range []string{"upper", "layer", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/layer", lower, dir, dir)
	if err := syscall.Mount("overlay", m.root, "overlay", 0, layers); err != nil {
		return nil, errors.Join(fmt.Errorf("mount a layer over %s: %w", lower, err), os.RemoveAll(dir))
	}
	if err := m.furnish(ctx); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// furnish makes the folders that are mounted into it, and its environment: that of a hosted runner, and where Go is.
func (m *machine) furnish(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOCACHE", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	golang := strings.Split(string(out), "\n")
	// Modules are at the path that they have here: what was compiled from another path is not in the build cache.
	m.mounts = []string{golang[0], "/usr/local/go", golang[1], "/go/build", golang[2], golang[2]}
	for _, name := range []string{workspace, "/usr/local/go", "/go/build", golang[2], "/root", "/tmp"} {
		if err := os.MkdirAll(filepath.Join(m.root, name), 0o755); err != nil {
			return err
		}
	}
	// Who is trusted is a matter of this machine, too: its way to the network may have a certificate of its own.
	const trusted = "/etc/ssl/certs/ca-certificates.crt"
	if data, err := os.ReadFile(trusted); err == nil {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(m.root, trusted)), 0o755), os.WriteFile(filepath.Join(m.root, trusted), data, 0o644)); err != nil {
			return err
		}
	}
	m.env = []string{
		"HOME=/root", "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE=" + workspace, "GITHUB_STEP_SUMMARY=/tmp/summary.md", "GITHUB_OUTPUT=/tmp/output",
		"GOCACHE=/go/build", "GOMODCACHE=" + golang[2], "GOPROXY=" + golang[3], "GOTOOLCHAIN=local", "GOFLAGS=-buildvcs=false",
	}
	return nil
}

// enter mounts what a machine has of its host, in a mount namespace of its own, and changes the root.
const enter = `set -e
mount --make-rprivate /
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount --bind /sys "$ROOT/sys"
while [ "$1" != -- ]; do mount --bind "$1" "$ROOT$2"; shift 2; done
shift
exec chroot "$ROOT" /usr/bin/env -i "$@"`

// run executes a script as a runner does, and returns the outputs that it has written.
func (m *machine) run(ctx context.Context, script string, env map[string]string) (map[string]string, error) {
	output := filepath.Join(m.root, "tmp/output")
	if err := os.WriteFile(output, nil, 0o644); err != nil {
		return nil, err
	}
	args := append([]string{"--mount", "--fork", "--kill-child", "bash", "-c", enter, "enter"}, m.mounts...)
	args = append(append(args, "--"), m.env...)
	for _, name := range sortedKeys(env) {
		args = append(args, name+"="+env[name])
	}
	cmd := exec.CommandContext(ctx, "unshare", append(args, "bash", "-c", "cd "+workspace+" && "+`eval "$1"`, "step", "set -eo pipefail\n"+script)...)
	cmd.Env = append(os.Environ(), "ROOT="+m.root)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(output)
	outputs := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			outputs[name] = value
		}
	}
	return outputs, err
}

// clone makes a clone of the last commit of the repository that this program is started in.
func (m *machine) clone(ctx context.Context, to string) error {
	if to == filepath.Join(m.root, workspace) {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return command(ctx, "git", "clone", "--quiet", "--no-hardlinks", ".", to)
}

// close takes the machine away, after showing its summary.
func (m *machine) close() {
	if text, err := os.ReadFile(filepath.Join(m.root, "tmp/summary.md")); err == nil {
		fmt.Printf("-- summary\n%s", text)
	}
	if err := errors.Join(syscall.Unmount(m.root, syscall.MNT_DETACH), os.RemoveAll(m.dir)); err != nil {
		fmt.Fprintf(os.Stderr, "ci/workflow: take the machine away: %v\n", err)
	}
}

// copyFolder copies what is in a folder.
func copyFolder(ctx context.Context, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return command(ctx, "cp", "-a", from+"/.", to)
}

// command runs a program, and says what it said if it fails.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
