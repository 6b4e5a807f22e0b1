package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// tools are the packages whose programs subjects and readers of state exec. ipvsadm is for tests, which
// compare what is read with what it lists. busybox gives a shell and modprobe.
var tools = []string{"iptables", "nftables", "ipset", "iproute2", "conntrack", "ipvsadm", "busybox-static"}

// kernelMetas are the packages that depend on the distribution's newest kernel for virtual machines, best first: Debian, Ubuntu.
var kernelMetas = map[string][]string{
	"amd64": {"linux-image-cloud-amd64", "linux-image-virtual"},
	"arm64": {"linux-image-cloud-arm64", "linux-image-virtual"},
}

// kernelPackage matches those that hold a kernel or its modules, as opposed to what maintains them on an installed system.
var kernelPackage = regexp.MustCompile(`^linux-(image|modules)(-unsigned)?-[0-9]`)

// apt runs the distribution's package client on a state of its own, so that nothing of the host is read as installed, nothing
// is written to it, and no root is needed.
type apt struct {
	dir     string // of the cache
	private bool   // use package lists of our own instead of the host's
}

// pkg is a package file that apt would fetch.
type pkg struct {
	name string
	file string // base name
}

// command is one of apt-get's.
func (a apt) command(ctx context.Context, args ...string) *exec.Cmd {
	return a.client(ctx, "apt-get", append([]string{"-q", "-y", "--no-install-recommends"}, args...)...)
}

// client runs one of apt's programs on our state.
func (a apt) client(ctx context.Context, program string, args ...string) *exec.Cmd {
	options := []string{
		"-o", "Debug::NoLocking=1",
		"-o", "Dir::State::status=/dev/null",
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "apt"),
		"-o", "APT::Sandbox::User=",
	}
	if a.private {
		options = append(options, "-o", "Dir::State="+filepath.Join(a.dir, "apt"))
	}
	cmd := exec.CommandContext(ctx, program, append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

func (a apt) run(cmd *exec.Cmd) (string, error) {
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[len(cmd.Args)-min(3, len(cmd.Args)):], " "), err, lastLines(words.String(), 3))
	}
	return string(out), nil
}

// lastLines are the last n lines of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// closure lists the packages that installing names on an empty system would fetch. apt prints a line for each:
// 'URI' FILE SIZE HASH.
func (a apt) closure(ctx context.Context, names ...string) ([]pkg, error) {
	out, err := a.run(a.command(ctx, append([]string{"--print-uris", "install"}, names...)...))
	if err != nil {
		return nil, err
	}
	var list []pkg
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(line, "'") {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "_")
		list = append(list, pkg{name, fields[1]})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("apt-get names no package for %s", strings.Join(names, " "))
	}
	return list, nil
}

// resolve finds the packages of the tools and of the kernel; none of a kernel that somebody gives.
func (a apt) resolve(ctx context.Context, k Kernel) (tool, kernel []pkg, err error) {
	if tool, err = a.closure(ctx, tools...); err != nil || k.Image != "" {
		return tool, nil, err
	}
	metas := kernelMetas[runtime.GOARCH]
	if k.Version != "" {
		name, err := a.kernelNamed(ctx, k.Version)
		if err != nil {
			return nil, nil, err
		}
		metas = []string{name}
	}
	var errs []error
	for _, meta := range metas {
		all, err := a.closure(ctx, meta)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range all {
			if kernelPackage.MatchString(p.name) {
				kernel = append(kernel, p)
			}
		}
		if len(kernel) > 0 {
			return tool, kernel, nil
		}
	}
	return nil, nil, errors.Join(append(errs, fmt.Errorf("no kernel package is known for %s", runtime.GOARCH))...)
}

// update fetches package lists of our own.
func (a apt) update(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(a.dir, "apt", "lists", "partial"), 0o755); err != nil {
		return err
	}
	_, err := a.run(a.command(ctx, "update"))
	return err
}

// download fetches package files into the cache and returns their paths.
func (a apt) download(ctx context.Context, list []pkg) ([]string, error) {
	dir := filepath.Join(a.dir, "packages")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var paths, missing []string
	for _, p := range list {
		path := filepath.Join(dir, p.file)
		paths = append(paths, path)
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, p.name)
		}
	}
	if len(missing) > 0 {
		cmd := a.command(ctx, append([]string{"download"}, missing...)...)
		cmd.Dir = dir
		if _, err := a.run(cmd); err != nil {
			return nil, err
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("apt-get did not fetch %s", filepath.Base(path))
		}
	}
	return paths, nil
}
