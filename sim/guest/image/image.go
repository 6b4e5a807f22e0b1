// Package image makes the kernel and the first file system of the throwaway VM out of the distribution's packages, without
// installing any. Images are cached by what they are made of.
package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// format changes when an image of the same packages would be made differently.
const format = "2"

// Image is a kernel with a base file system, to which the program that is to be init is still to be added.
type Image struct {
	// Kernel and Base are paths: the kernel and an uncompressed cpio archive.
	Kernel string `json:"kernel"`
	Base   string `json:"base"`
	// Version is the kernel's, "6.1.0-56-cloud-amd64".
	Version string `json:"version"`
	// Lacking are wanted modules that this kernel does not have.
	Lacking []string `json:"lacking,omitempty"`
}

// ModuleList is the file in the image that names the modules in the order in which init loads them, one path a line.
const ModuleList = "lib/modules/load"

// Ensure returns the cached image with this kernel, or makes it. dir is the cache; note receives a line when something takes long.
func Ensure(ctx context.Context, dir string, kernel Kernel, note func(string)) (Image, error) {
	kernel, err := kernel.withModules()
	if err != nil {
		return Image{}, err
	}
	recipe, err := recipe(kernel)
	if err != nil {
		return Image{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Image{}, fmt.Errorf("make the image cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	index := filepath.Join(dir, "image-"+recipe+".json")
	if image, ok := load(index); ok {
		return image, nil
	}
	note("making the VM's image from the distribution's packages (once)")
	image, err := build(ctx, dir, kernel)
	if err != nil {
		return Image{}, fmt.Errorf("make the VM's image: %w", err)
	}
	data, err := json.Marshal(image)
	if err != nil {
		return Image{}, err
	}
	return image, publish(index, data)
}

// recipe identifies what an image would be made of, as far as it is known without asking for the newest packages.
func recipe(kernel Kernel) (string, error) {
	release, _ := os.ReadFile("/etc/os-release")
	parts := []string{format, string(release), strings.Join(modules, " "), strings.Join(tools, " "), fmt.Sprint(kernelMetas)}
	if kernel != (Kernel{}) {
		which, err := kernel.recipe()
		if err != nil {
			return "", err
		}
		parts = append(parts, which)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:6]), nil
}

// load reads an index entry whose files are still there.
func load(index string) (Image, bool) {
	data, err := os.ReadFile(index)
	if err != nil {
		return Image{}, false
	}
	var image Image
	if json.Unmarshal(data, &image) != nil {
		return Image{}, false
	}
	for _, file := range []string{image.Kernel, image.Base} {
		if _, err := os.Stat(file); err != nil {
			return Image{}, false
		}
	}
	return image, true
}

// lock excludes other processes that make images. It is released by the kernel, however we end.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the image cache: %w", err)
	}
	locked := make(chan error, 1)
	go func() {
		for {
			err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
			if !errors.Is(err, syscall.EINTR) {
				locked <- err
				return
			}
		}
	}()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock the image cache: %w", err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { // the lock call cannot be interrupted; it ends when the other process ends
			<-locked
			f.Close()
		}()
		return nil, fmt.Errorf("wait for another process that makes an image: %w", context.Cause(ctx))
	}
}

// build makes an image from the newest packages.
func build(ctx context.Context, dir string, which Kernel) (Image, error) {
	if err := sweep(dir); err != nil {
		return Image{}, err
	}
	toolFiles, kernelFiles, err := fetch(ctx, dir, which)
	if err != nil {
		return Image{}, err
	}
	var image Image
	var files []File
	kernel, modules, err := readKernel(ctx, which, kernelFiles, &image)
	if err != nil {
		return Image{}, err
	}
	files = append(files, modules...)
	for _, deb := range toolFiles {
		entries, err := readDeb(ctx, deb, wanted)
		if err != nil {
			return Image{}, err
		}
		for _, e := range entries {
			files = append(files, e.file())
		}
	}
	files = append(files, shellLinks()...)
	var base bytes.Buffer
	if err := WriteCPIO(&base, files); err != nil {
		return Image{}, err
	}
	sum := sha256.Sum256(base.Bytes())
	content := hex.EncodeToString(sum[:8])
	code := sha256.Sum256(kernel)
	image.Kernel = filepath.Join(dir, "vmlinuz-"+image.Version+"-"+hex.EncodeToString(code[:4]))
	image.Base = filepath.Join(dir, "base-"+content+".cpio")
	return image, errors.Join(publish(image.Kernel, kernel), publish(image.Base, base.Bytes()))
}

// fetch gets the packages, with the host's package lists if they lead anywhere, else with lists of our own.
func fetch(ctx context.Context, dir string, which Kernel) (tool, kernel []string, err error) {
	if err := os.MkdirAll(filepath.Join(dir, "apt", "archives", "partial"), 0o755); err != nil {
		return nil, nil, err
	}
	try := func(a apt) error {
		tools, kernels, err := a.resolve(ctx, which)
		if err != nil {
			return err
		}
		if tool, err = a.download(ctx, tools); err != nil {
			return err
		}
		kernel, err = a.download(ctx, kernels)
		return err
	}
	first := try(apt{dir: dir})
	if first == nil {
		return tool, kernel, nil
	}
	own := apt{dir: dir, private: true}
	if err := own.update(ctx); err != nil {
		return nil, nil, Unfetched{dir, errors.Join(err, first)}
	}
	err = try(own)
	if none := (NoKernel{}); errors.As(err, &none) {
		return nil, nil, none
	}
	if err != nil {
		return nil, nil, Unfetched{dir, err}
	}
	return tool, kernel, nil
}

// Unfetched tells that packages could not be had.
type Unfetched struct {
	dir string
	err error
}

func (u Unfetched) Error() string {
	return "fetch the packages of its kernel and tools: " + u.err.Error()
}

func (u Unfetched) Unwrap() error { return u.err }

// Mend is what a person can do about it.
func (u Unfetched) Mend() string {
	return fmt.Sprintf("see that `apt-get update` and `apt-get download %s` work here, or copy %s from a machine with the same release where they do", tools[0], u.dir)
}

// readKernel takes the kernel and its modules out of their packages, or from where somebody gives them.
func readKernel(ctx context.Context, which Kernel, debs []string, image *Image) (kernel []byte, files []File, err error) {
	var entries []entry
	if which.Image != "" {
		if entries, err = which.entries(); err != nil {
			return nil, nil, err
		}
	}
	for _, deb := range debs {
		more, err := readDeb(ctx, deb, func(p string) bool {
			return strings.HasPrefix(p, "boot/vmlinuz-") || strings.Contains(p, "lib/modules/")
		})
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, more...)
	}
	for _, e := range entries {
		if version, ok := strings.CutPrefix(e.path, "boot/vmlinuz-"); ok {
			image.Version, kernel = version, e.data
		}
	}
	if kernel == nil {
		return nil, nil, fmt.Errorf("no kernel in %s", strings.Join(debs, ", "))
	}
	files, image.Lacking, err = newKernelModules(entries).tree(ctx, path.Join("lib/modules", image.Version))
	return kernel, files, err
}

func text(name, content string) File {
	return File{Path: name, Mode: 0o644, Size: int64(len(content)), Data: strings.NewReader(content)}
}

func (e entry) file() File {
	return File{Path: e.path, Mode: e.mode, Link: e.link, Size: int64(len(e.data)), Data: bytes.NewReader(e.data)}
}

// wanted leaves out of a tool's package what no program reads.
func wanted(p string) bool {
	for _, part := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bash-completion", "usr/share/bug", "/gconv/", "/perl", "var/lib", "usr/share/debconf", "usr/share/perl5", "usr/share/gcc"} {
		if strings.Contains("/"+p, "/"+strings.TrimPrefix(part, "/")) {
			return false
		}
	}
	return true
}

// shellLinks are the names under which busybox is called, and the plain names of iptables, which the packages leave to their
// installation scripts.
func shellLinks() []File {
	var files []File
	for _, name := range strings.Fields("bin/sh bin/cat bin/ls bin/ps bin/grep bin/sed bin/sleep bin/echo bin/true bin/false bin/kill bin/mkdir bin/rm bin/cp bin/mv bin/ln bin/env bin/hostname bin/mount bin/umount sbin/modprobe sbin/lsmod") {
		files = append(files, File{Path: name, Link: "/bin/busybox"})
	}
	for _, name := range strings.Fields("iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore") {
		files = append(files, File{Path: "usr/sbin/" + name, Link: "xtables-legacy-multi"})
	}
	return files
}

// partial marks files that are being written; a killed process leaves them for the next one to sweep.
const partial = ".part"

func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "*"+partial))
	if err != nil {
		return err
	}
	for _, file := range left {
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("sweep the image cache: %w", err)
		}
	}
	return nil
}

// publish writes a file that readers see whole or not at all.
func publish(file string, data []byte) error {
	if err := os.WriteFile(file+partial, data, 0o644); err != nil {
		return fmt.Errorf("write to the image cache: %w", err)
	}
	if err := os.Rename(file+partial, file); err != nil {
		return fmt.Errorf("write to the image cache: %w", err)
	}
	return nil
}
