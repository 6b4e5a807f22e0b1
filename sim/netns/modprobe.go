package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"proxyproof/sim/guest/image"
	"proxyproof/sim/world"
)

// vainFile is where a node's modprobe writes down what it was asked for in vain.
const vainFile = ownDir + "/modprobe"

// watchModprobe puts a modprobe first in a node's PATH that is the machine's and takes down its failures.
func watchModprobe() error {
	for _, dir := range filepath.SplitList(systemPath) {
		real := filepath.Join(dir, "modprobe")
		if info, err := os.Stat(real); err != nil || info.IsDir() {
			continue
		}
		script := fmt.Sprintf("#!/bin/sh\n%s \"$@\"\ncode=$?\n[ $code = 0 ] || echo \"$*\" >>%s\nexit $code\n", real, vainFile)
		return os.WriteFile(filepath.Join(toolDir, "modprobe"), []byte(script), 0o755)
	}
	return nil
}

// MissingModules implements world.Node.
func (n *node) MissingModules(ctx context.Context) (missing []world.Module, err error) {
	err = n.Do(ctx, func() error {
		asked, err := os.ReadFile(vainFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		names := slices.DeleteFunc(askedModules(string(asked)), func(name string) bool { return exists("/sys/module/" + name) })
		if len(names) == 0 {
			return nil
		}
		known, err := kernelHas()
		for _, name := range names {
			missing = append(missing, world.Module{Name: name, Exists: known[name]})
		}
		return err
	})
	return missing, err
}

// askedModules are the modules in lines of modprobe's arguments, each once, under the names that the kernel has for them.
func askedModules(lines string) []string {
	var names []string
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if slices.Contains(words, "-r") {
			continue // to remove what is not there asks for nothing
		}
		for _, word := range words {
			name := strings.ReplaceAll(word, "-", "_")
			if strings.HasPrefix(word, "-") || strings.Contains(word, "=") || slices.Contains(names, name) {
				continue
			}
			names = append(names, name)
		}
	}
	return names
}

// kernelHas are the modules of this kernel: those of its package in the guest, those that are installed elsewhere.
func kernelHas() (map[string]bool, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, os.NewSyscallError("uname", err)
	}
	has := map[string]bool{}
	for _, list := range []string{image.Available, "modules.dep"} {
		file, err := os.Open(filepath.Join("/lib/modules", unix.ByteSliceToString(name.Release[:]), list))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			path, _, _ := strings.Cut(lines.Text(), ":")
			module, _, _ := strings.Cut(filepath.Base(path), ".ko")
			has[strings.ReplaceAll(module, "-", "_")] = true
		}
		file.Close()
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	return has, nil
}
