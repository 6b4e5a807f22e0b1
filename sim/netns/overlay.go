package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A node sees the machine's file system through a layer of its own: what a process writes where no directory belongs to the node
// lands in that layer, in memory. The machine is untouched, and the layer tells what was written.

// layer is that layer.
type layer struct {
	upper    *os.File        // the directory with what was written
	expected map[string]bool // made while the node was prepared
}

// stage is where a node's file system is put together before it takes the place of the old one.
const stage = "/run"

// overlay puts a layer over the root of the calling thread's mount namespace, which is private.
func overlay() (*layer, error) {
	others, err := otherMounts()
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return nil, fmt.Errorf("mount a tmpfs at %s: %w", stage, err)
	}
	root, upper, work := stage+"/root", stage+"/upper", stage+"/work"
	for _, dir := range []string{root, upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	options := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return nil, fmt.Errorf("put a layer over the file system: %w", err)
	}
	for _, m := range others {
		if err := carry(m, root); err != nil {
			return nil, err
		}
	}
	l := &layer{}
	if l.upper, err = os.Open(upper); err != nil {
		return nil, err
	}
	// The root of a machine that runs from its initial ram disk cannot be pivoted, but it can be mounted over.
	if err := errors.Join(unix.Chdir(root), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), unix.Chdir("/")); err != nil {
		return nil, errors.Join(fmt.Errorf("change the root: %w", err), l.upper.Close())
	}
	return l, nil
}

// kernelViews are mounted as they are; what a process writes there is meant for the kernel.
var kernelViews = []string{"/proc", "/sys", "/dev"}

// carry makes a mount of the old root part of the new one. Those with files are read-only there.
func carry(m, root string) error {
	to := filepath.Join(root, m)
	if info, err := os.Stat(m); err != nil || !info.IsDir() {
		return nil // a file that a container's runtime has put there: the layer below shows what it hides
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", m, err)
	}
	if slices.Contains(kernelViews, m) {
		return nil
	}
	return readOnly(to)
}

// readOnly makes a mount and those below it read-only.
func readOnly(path string) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

// otherMounts are the mounts directly below the root, those that a node replaces left out. A layer shows none of them.
func otherMounts() ([]string, error) {
	file, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var mounts []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 4 {
			mounts = append(mounts, unescape(words[4]))
		}
	}
	slices.Sort(mounts)
	var top []string
	for _, m := range mounts {
		below := func(dir string) bool { return m == dir || strings.HasPrefix(m, dir+"/") }
		if m != "/" && !slices.ContainsFunc(top, below) && !slices.ContainsFunc(emptyDirs, below) && !below("/etc") {
			top = append(top, m)
		}
	}
	return top, nil
}

// unescape reads the octal escapes of mountinfo: \040 is a space.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// written are the files that are not as the machine has them, made, changed or removed.
func (l *layer) written() ([]string, error) {
	top := fmt.Sprintf("/proc/self/fd/%d", l.upper.Fd())
	var paths []string
	err := filepath.WalkDir(top+"/.", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, top)
		if !e.IsDir() && !l.expected[name] {
			paths = append(paths, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for files that were written: %w", err)
	}
	return paths, nil
}

// settle remembers what is there now as expected.
func (l *layer) settle() error {
	paths, err := l.written()
	l.expected = map[string]bool{}
	for _, p := range paths {
		l.expected[p] = true
	}
	return err
}

func (l *layer) close() error { return l.upper.Close() }
