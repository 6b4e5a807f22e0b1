package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// bill is a bill of materials in the format of CycloneDX: the binaries, and every module that is linked into one of them, as the
// binaries themselves say.
type bill struct {
	commit  commit
	files   []component
	modules map[string]component
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
	Ref     string `json:"bom-ref,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

func newBill(c commit) *bill { return &bill{commit: c, modules: map[string]component{}} }

// addModules reads what is linked into a binary.
func (b *bill) addModules(file string) error {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read what is linked into %s: %w", file, err)
	}
	b.module("std", strings.TrimPrefix(info.GoVersion, "go"))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.module(m.Path, m.Version)
	}
	return nil
}

func (b *bill) module(path, version string) {
	purl := "pkg:golang/" + path + "@" + version
	b.modules[purl] = component{Type: "library", Name: path, Version: version, PURL: purl, Ref: purl}
}

// addFile adds a binary.
func (b *bill) addFile(name string, data []byte) {
	sum := sha256.Sum256(data)
	b.files = append(b.files, component{Type: "file", Name: name, Ref: name, Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}})
}

// json is the bill; it has no serial number, so that the same commit has the same one.
func (b *bill) json() ([]byte, error) {
	components := slices.Clone(b.files)
	for _, purl := range sortedKeys(b.modules) {
		components = append(components, b.modules[purl])
	}
	text, err := json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata": map[string]any{
			"timestamp":  b.commit.time.Format(time.RFC3339),
			"component":  component{Type: "application", Name: "proxyproof", Version: b.commit.version, Ref: "proxyproof"},
			"properties": []map[string]string{{"name": "commit", "value": b.commit.hash}},
		},
		"components": components,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the bill of materials: %w", err)
	}
	return append(text, '\n'), nil
}

func sortedKeys(m map[string]component) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
