package scenario

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Shelf holds files that are not on the disk: those that a program carries, as if they lay in a folder of this name in the working
// directory. What is on the disk comes first. The zero value is the disk alone.
type Shelf struct {
	Folder string
	Files  fs.FS
}

// name is that of a file on the shelf; "" if it could not be there.
func (s Shelf) name(path string) string {
	clean := filepath.ToSlash(filepath.Clean(path))
	rest, below := strings.CutPrefix(clean, s.Folder+"/")
	switch {
	case s.Files == nil:
		return ""
	case clean == s.Folder:
		return "."
	case below:
		return rest
	}
	return ""
}

// has tells whether a path is on the shelf and not on the disk.
func (s Shelf) has(path string) bool {
	name := s.name(path)
	if _, err := os.Lstat(path); name == "" || !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err := fs.Stat(s.Files, name)
	return err == nil
}

func (s Shelf) stat(path string) (fs.FileInfo, error) {
	if s.has(path) {
		return fs.Stat(s.Files, s.name(path))
	}
	return os.Stat(path)
}

func (s Shelf) read(path string) ([]byte, error) {
	if s.has(path) {
		return fs.ReadFile(s.Files, s.name(path))
	}
	return os.ReadFile(path)
}

// walk is filepath.WalkDir; paths on the shelf begin with its folder.
func (s Shelf) walk(folder string, visit fs.WalkDirFunc) error {
	if !s.has(folder) {
		return filepath.WalkDir(folder, visit)
	}
	return fs.WalkDir(s.Files, s.name(folder), func(name string, d fs.DirEntry, err error) error {
		return visit(filepath.Join(s.Folder, filepath.FromSlash(name)), d, err)
	})
}
