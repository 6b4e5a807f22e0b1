package image

import (
	"fmt"
	"io"
	"path"
	"slices"
	"sort"

	"github.com/cavaliergopher/cpio"
)

// File is a file for an initramfs.
type File struct {
	Path string // without a leading slash
	Mode int64
	Link string // target of a symbolic link; "" for a regular file
	Size int64
	Data io.Reader
}

// WriteCPIO writes an archive that the kernel unpacks as its first file system, or on top of an earlier one: archives may be
// concatenated. Parent folders are added.
func WriteCPIO(w io.Writer, files []File) error {
	archive := cpio.NewWriter(w)
	sort.SliceStable(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := writeParents(archive, f.Path, made); err != nil {
			return err
		}
		if err := writeFile(archive, f); err != nil {
			return fmt.Errorf("add %s to the image: %w", f.Path, err)
		}
	}
	return archive.Close()
}

func writeParents(archive *cpio.Writer, file string, made map[string]bool) error {
	var parents []string
	for dir := path.Dir(file); !made[dir]; dir = path.Dir(dir) {
		made[dir] = true
		parents = append(parents, dir)
	}
	for _, dir := range slices.Backward(parents) {
		if err := archive.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755, Links: 2}); err != nil {
			return fmt.Errorf("add folder %s to the image: %w", dir, err)
		}
	}
	return nil
}

func writeFile(archive *cpio.Writer, f File) error {
	if f.Link != "" {
		if err := archive.WriteHeader(&cpio.Header{Name: f.Path, Mode: cpio.TypeSymlink | 0o777, Size: int64(len(f.Link)), Links: 1}); err != nil {
			return err
		}
		_, err := io.WriteString(archive, f.Link)
		return err
	}
	if err := archive.WriteHeader(&cpio.Header{Name: f.Path, Mode: cpio.TypeReg | cpio.FileMode(f.Mode), Size: f.Size, Links: 1}); err != nil {
		return err
	}
	_, err := io.Copy(archive, f.Data)
	return err
}
