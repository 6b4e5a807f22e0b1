// Package carried is what a program that is to be taken away has inside itself beside its scenarios: the reference proxy, as a program
// of its own, which is started like any other subject. The judge carries it and shares no code with it.
package carried

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Has tells whether there is anything: builds of ci/dist have it, those of make find the reference beside them.
func Has() bool { return len(reference) > 0 }

// Unpack writes the reference proxy into a folder below dir, unless it is there, and returns that folder.
func Unpack(dir string) (string, error) {
	sum := sha256.Sum256(reference)
	folder := filepath.Join(dir, "carried", hex.EncodeToString(sum[:6]))
	file := filepath.Join(folder, "reference")
	if _, err := os.Stat(file); err == nil {
		return folder, nil
	}
	if err := unpack(folder, file); err != nil {
		return "", fmt.Errorf("unpack the reference proxy that this program carries: %w", err)
	}
	return folder, nil
}

// unpack makes the file, whole or not at all.
func unpack(folder, file string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	packed, err := gzip.NewReader(bytes.NewReader(reference))
	if err != nil {
		return err
	}
	part, err := os.CreateTemp(folder, "part-*")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	_, err = io.Copy(part, packed)
	if err = errors.Join(err, part.Chmod(0o755), part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), file)
}
