package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"proxyproof/sim/netstate"
)

// A node sees the host's files, except for those that a proxy might write: these are its own, in memory, and vanish with its
// mount namespace.
const (
	// ownDir holds what the harness adds to a node's file system.
	ownDir = "/run/proxyproof"
	// toolDir holds the iptables commands of the node's back end under their plain names.
	toolDir = ownDir + "/bin"
	// hostEtc is the host's /etc, read-only.
	hostEtc = ownDir + "/etc"
)

// emptyDirs are empty on a node that has just come up.
var emptyDirs = []string{"/run", "/tmp", "/var/lib"}

// tableDirs are where rt_tables may be; which one counts depends on the distribution and on the reader.
var tableDirs = []string{"/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"}

// standardTables is an rt_tables file as distributions have it.
const standardTables = "255\tlocal\n254\tmain\n253\tdefault\n0\tunspec\n"

// root is a node's file system.
type root struct {
	// own are the directories that belong to the node alone.
	own []string
	// layer takes what is written elsewhere; nil if the kernel has no such layers, and then everything else is read-only.
	layer *layer
}

// newRoot gives the calling thread, which must be locked and in the node's network namespace, a mount and a UTS namespace of
// its own and fills them.
func newRoot(hostname string, backend netstate.Backend) (*root, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return nil, fmt.Errorf("make a mount and a UTS namespace: %w", os.NewSyscallError("unshare", err))
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return nil, fmt.Errorf("set the host name %s: %w", hostname, err)
	}
	// Nothing that is mounted from here on is seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make all mounts private: %w", err)
	}
	r := &root{}
	var noLayer error
	if r.layer, noLayer = overlay(); noLayer != nil {
		if err := readOnly("/"); err != nil {
			return nil, errors.Join(noLayer, err)
		}
	}
	steps := []func() error{
		mountKernelViews,
		r.mountEmptyDirs,
		r.mountEtc,
		r.mountTableDirs,
		func() error { return linkTools(backend) },
		watchModprobe,
		func() error { return os.Chdir("/") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	if r.layer != nil {
		return r, r.layer.settle()
	}
	return r, nil
}

func (r *root) close() error {
	if r.layer == nil {
		return nil
	}
	return r.layer.close()
}

// written are the files outside of the node's own directories that were written on it.
func (r *root) written() ([]string, error) {
	if r.layer == nil {
		return nil, nil
	}
	return r.layer.written()
}

// mountKernelViews gives a /sys that shows the node's links, and a /proc/sys that can be written. A container's runtime may
// have mounted both read-only.
func mountKernelViews() error {
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs("/proc/sys", &s); err != nil {
		return fmt.Errorf("look at /proc/sys: %w", err)
	}
	if s.Flags&unix.ST_RDONLY == 0 {
		return nil
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// mountMemory makes a directory the node's own, and empty.
func (r *root) mountMemory(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", dir, err)
	}
	r.own = append(r.own, dir)
	return nil
}

func (r *root) mountEmptyDirs() error {
	for _, dir := range emptyDirs {
		if !isDir(dir) {
			continue
		}
		if err := r.mountMemory(dir); err != nil {
			return err
		}
	}
	if err := os.Chmod("/tmp", 0o777|fs.ModeSticky); err != nil {
		return err
	}
	for _, dir := range []string{toolDir, hostEtc} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// mountEtc makes a private /etc. Its files are copies; its directories are links to the host's, which are read-only here:
// there can be thousands of files in them, and no proxy writes there.
func (r *root) mountEtc() error {
	if err := unix.Mount("/etc", hostEtc, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind /etc to %s: %w", hostEtc, err)
	}
	if err := unix.Mount("", hostEtc, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", hostEtc, err)
	}
	if err := r.mountMemory("/etc"); err != nil {
		return err
	}
	entries, err := os.ReadDir(hostEtc)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(hostEtc, e.Name()), filepath.Join("/etc", e.Name())
		switch {
		case slices.Contains(tableDirs, to):
			err = readTree(from).write(to)
		case e.IsDir():
			err = os.Symlink(from, to)
		case e.Type() == fs.ModeSymlink, e.Type().IsRegular():
			err = copyFile(from, to)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", to, err)
		}
	}
	return nil
}

// mountTableDirs makes private copies of the other places of rt_tables, and an rt_tables file if there is none at all.
func (r *root) mountTableDirs() error {
	found := false
	for _, dir := range tableDirs {
		if filepath.Dir(dir) != "/etc" && isDir(dir) {
			files := readTree(dir)
			if err := r.mountMemory(dir); err != nil {
				return err
			}
			if err := files.write(dir); err != nil {
				return err
			}
		}
		_, err := os.Stat(filepath.Join(dir, "rt_tables"))
		found = found || err == nil
	}
	if found {
		return nil
	}
	return writeAll(filepath.Join(tableDirs[0], "rt_tables"), []byte(standardTables))
}

// owns tells whether the file at an absolute path belongs to the node alone.
func (r *root) owns(path string) bool {
	clean := filepath.Clean(path)
	return slices.ContainsFunc(r.own, func(dir string) bool { return strings.HasPrefix(clean, dir+"/") })
}

// write writes a file that belongs to the node alone.
func (r *root) write(path string, content []byte) error {
	if !r.owns(path) {
		return fmt.Errorf("write %s: a node's own files are below %s", path, strings.Join(r.own, ", "))
	}
	return writeAll(path, content)
}

// tree is the contents of the files of a directory, by relative path.
type tree map[string][]byte

// readTree reads what can be read.
func readTree(dir string) tree {
	t := tree{}
	_ = filepath.WalkDir(dir+"/.", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if content, err := os.ReadFile(path); err == nil {
			t[strings.TrimPrefix(path, dir+"/")] = content
		}
		return nil
	})
	return t
}

func (t tree) write(dir string) error {
	for path, content := range t {
		if err := writeAll(filepath.Join(dir, path), content); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file with its mode, or a symbolic link as it is.
func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// writeAll writes a file and makes its directories.
func writeAll(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// systemPath is where commands are looked for.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// linkTools makes the plain iptables names mean one back end. iptables is one binary per back end, which goes by the name that
// it was called by.
func linkTools(backend netstate.Backend) error {
	if backend == "" {
		return nil
	}
	binary := fmt.Sprintf("xtables-%s-multi", backend)
	for _, dir := range filepath.SplitList(systemPath) {
		target := filepath.Join(dir, binary)
		if info, err := os.Stat(target); err != nil || info.IsDir() {
			continue
		}
		for _, family := range []string{"iptables", "ip6tables"} {
			for _, command := range []string{"", "-save", "-restore"} {
				if err := os.Symlink(target, filepath.Join(toolDir, family+command)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return fmt.Errorf("iptables back end %s: no %s in %s: %w", backend, binary, systemPath, errors.ErrUnsupported)
}
