package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// binary is a program of the host's. If the node's own directories hide it, it is brought along: a detached mount of this one
// file, which can be attached in another mount namespace.
type binary struct {
	path string // without symbolic links
	info os.FileInfo
	tree int // descriptor of the detached mount, or -1
}

// find looks for a program as this process sees it.
func (r *root) find(path string) (*binary, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s: want an absolute path", path)
	}
	if strings.HasPrefix(path, "/proc/") {
		// A descriptor of some process: the file may have no name at all, and every mount namespace shows it.
		info, err := os.Stat(path)
		return &binary{path: path, info: info, tree: -1}, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	b := &binary{path: real, tree: -1}
	if b.info, err = os.Stat(real); err != nil {
		return nil, err
	}
	if !r.owns(real) {
		return b, nil
	}
	b.tree, err = unix.OpenTree(unix.AT_FDCWD, real, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: real, Err: err}
	}
	return b, nil
}

// show makes the program visible at its path in the mount namespace of the calling thread.
func (b *binary) show() error {
	if b.tree < 0 {
		return nil
	}
	if shown, err := os.Stat(b.path); err == nil && os.SameFile(shown, b.info) {
		return nil
	}
	// Nothing can be mounted on a program that was replaced since it was shown.
	if err := unix.Unmount(b.path, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return &os.PathError{Op: "umount", Path: b.path, Err: err}
	}
	if err := touch(b.path); err != nil {
		return fmt.Errorf("make a place for a program: %w", err)
	}
	if err := unix.MoveMount(b.tree, "", unix.AT_FDCWD, b.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: b.path, Err: err}
	}
	return nil
}

func (b *binary) close() {
	if b.tree >= 0 {
		unix.Close(b.tree)
	}
}

// touch makes an empty file if there is none.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}
