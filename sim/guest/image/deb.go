package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
)

// entry is a file of a package.
type entry struct {
	path string // without a leading slash
	mode int64  // permission bits
	link string // target of a symbolic link; "" for a regular file
	data []byte
}

// readDeb reads the files of a Debian package whose paths keep wants. Nothing is unpacked to disk: dpkg-deb writes the package's
// tar archive to a pipe.
func readDeb(ctx context.Context, file string, keep func(path string) bool) ([]entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("read package %s: %w", file, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("read package %s: %w", file, err)
	}
	entries, err := readTar(out, keep)
	if err == nil {
		_, err = io.Copy(io.Discard, out)
	} else {
		cancel()
	}
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return nil, fmt.Errorf("read package %s: %w: %s", file, err, strings.TrimSpace(words.String()))
	}
	return entries, nil
}

// readTar reads regular files and links. Hard links become copies, which is what a cpio archive can hold without inodes.
func readTar(r io.Reader, keep func(string) bool) ([]entry, error) {
	var entries []entry
	byPath := map[string]int{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if !keep(name) {
			continue
		}
		e := entry{path: name, mode: h.Mode & 0o7777}
		switch h.Typeflag {
		case tar.TypeReg:
			if e.data, err = io.ReadAll(archive); err != nil {
				return nil, err
			}
		case tar.TypeSymlink:
			e.link = h.Linkname
		case tar.TypeLink:
			target := strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
			i, ok := byPath[target]
			if !ok {
				return nil, fmt.Errorf("%s is a hard link to %s, which was left out", name, target)
			}
			e.data, e.link = entries[i].data, entries[i].link
		default:
			continue
		}
		byPath[name] = len(entries)
		entries = append(entries, e)
	}
}
