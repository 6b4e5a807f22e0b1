// Package keep remembers things between runs of the program: small answers by key, and files by content. All of it may be thrown
// away at any time.
package keep

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Keep is a folder of what is remembered.
type Keep struct{ dir string }

// Open makes the folder if it is not there.
func Open(dir string) (Keep, error) {
	for _, sub := range []string{"answers", "files"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return Keep{}, fmt.Errorf("keep things in %s: %w", dir, err)
		}
	}
	return Keep{dir}, nil
}

// Key is the name of an answer: everything that it depends on.
func Key(parts ...any) (string, error) {
	text, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("name what is remembered: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Answer reads what was remembered under a key. What cannot be read was not remembered.
func (k Keep) Answer(key string, into any) bool {
	text, err := os.ReadFile(k.answer(key))
	return err == nil && json.Unmarshal(text, into) == nil
}

// Remember writes an answer, whole or not at all.
func (k Keep) Remember(key string, answer any) error {
	text, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("remember an answer: %w", err)
	}
	file, err := os.CreateTemp(k.dir, "answer-*")
	if err != nil {
		return fmt.Errorf("remember an answer: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), k.answer(key))
	}
	if err != nil {
		return fmt.Errorf("remember an answer: %w", err)
	}
	return nil
}

func (k Keep) answer(key string) string { return filepath.Join(k.dir, "answers", key+".json") }

// File is the path of a kept file, and whether it is there. Looking for it makes it young again.
func (k Keep) File(hash string) (string, bool) {
	path := filepath.Join(k.dir, "files", hash)
	now := time.Now()
	return path, os.Chtimes(path, now, now) == nil
}

// Take moves a file of the same file system in, and names it by its content.
func (k Keep) Take(path string) (hash string, err error) {
	if hash, err = Hash(path); err != nil {
		return "", err
	}
	kept, _ := k.File(hash)
	if err := os.Rename(path, kept); err != nil {
		return "", fmt.Errorf("keep %s: %w", path, err)
	}
	return hash, nil
}

// Hash is the SHA-256 of a file.
func Hash(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Trim removes the files that were not used for the longest time until the rest fits.
func (k Keep) Trim(limit int64) error {
	entries, err := os.ReadDir(filepath.Join(k.dir, "files"))
	if err != nil {
		return fmt.Errorf("trim what is kept: %w", err)
	}
	var files []fs.FileInfo
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // somebody else has removed it
		}
		files, total = append(files, info), total+info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= limit {
			return nil
		}
		if err := os.Remove(filepath.Join(k.dir, "files", f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim what is kept: %w", err)
		}
		total -= f.Size()
	}
	return nil
}
