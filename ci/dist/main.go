// Command dist makes what can be taken away: a static proxyproof for each architecture, with its scenarios and the reference proxy
// inside, checksums, and a bill of materials. The same commit gives the same bytes, wherever and whenever it is built with the same Go.
//
// Usage: go run ./ci/dist DIR
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// architectures are those of the binaries.
var architectures = []string{"amd64", "arm64"}

// packed is where the reference proxy is put for the build of the harness, which carries it.
const packed = "harness/carried/reference.gz"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./ci/dist DIR")
		os.Exit(2)
	}
	if err := dist(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "ci/dist: %v\n", err)
		os.Exit(1)
	}
}

func dist(dir string) error {
	commit, err := readCommit()
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	defer os.Remove(packed)
	bill := newBill(commit)
	var sums strings.Builder
	write := func(name string, data []byte) error {
		sum := sha256.Sum256(data)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), name)
		return commit.write(filepath.Join(dir, name), data, 0o644)
	}
	for _, arch := range architectures {
		name := "proxyproof-linux-" + arch
		file := filepath.Join(dir, name)
		reference := filepath.Join(dir, "reference")
		if err := build(arch, commit, reference, "./reference"); err != nil {
			return err
		}
		if err := errors.Join(pack(reference), bill.addModules(reference), os.Remove(reference)); err != nil {
			return err
		}
		if err := build(arch, commit, file, "./harness/proxyproof", "-tags", "carry"); err != nil {
			return err
		}
		if err := bill.addModules(file); err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := errors.Join(write(name, data), os.Chmod(file, 0o755)); err != nil {
			return err
		}
		bill.addFile(name, data)
	}
	text, err := bill.json()
	if err != nil {
		return err
	}
	if err := write("proxyproof.cdx.json", text); err != nil {
		return err
	}
	return commit.write(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// commit is what is built.
type commit struct {
	hash string
	// version is the tag of the commit, or else its hash.
	version string
	time    time.Time
}

// readCommit asks git. SOURCE_DATE_EPOCH overrides the time of the commit.
func readCommit() (commit, error) {
	hash, err := output("git", "rev-parse", "HEAD")
	if err != nil {
		return commit{}, err
	}
	c := commit{hash: hash, version: hash[:12]}
	tags, err := output("git", "tag", "--points-at", "HEAD", "--list", "v*", "--sort", "version:refname")
	if err != nil {
		return commit{}, err
	}
	if tags != "" {
		c.version = tags[strings.LastIndexByte(tags, '\n')+1:]
	}
	changed, err := output("git", "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return commit{}, err
	}
	if changed != "" {
		c.version += "-changed"
		fmt.Fprintln(os.Stderr, "ci/dist: the work tree differs from the commit, and so will what is built from it")
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if epoch, err = output("git", "log", "-1", "--format=%ct"); err != nil {
			return commit{}, err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return commit{}, fmt.Errorf("the time of the commit: %w", err)
	}
	c.time = time.Unix(seconds, 0).UTC()
	return c, nil
}

// write makes a file of the time of the commit.
func (c commit) write(file string, data []byte, mode os.FileMode) error {
	return errors.Join(os.WriteFile(file, data, mode), os.Chtimes(file, c.time, c.time))
}

// build makes a static binary that depends on nothing but the sources and the version of Go.
func build(arch string, c commit, out, pkg string, options ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version=" + c.version, "-o", out}, options...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s for %s: %w", pkg, arch, err)
	}
	return nil
}

// pack compresses the reference for the harness to carry. Go's own compression gives the same bytes on every machine.
func pack(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var small bytes.Buffer
	w, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("pack the reference: %w", err)
	}
	return os.WriteFile(packed, small.Bytes(), 0o644)
}

// output is what a command prints.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
