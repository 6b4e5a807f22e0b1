package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"proxyproof/harness/carried"
	"proxyproof/harness/lane"
	"proxyproof/harness/mutant"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/scenarios"
	"proxyproof/sim/guest"
)

// builds is the folder with the reference: that of this program, where make puts it, or else what this program carries.
func builds() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's own file: %w", err)
	}
	dir := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(dir, "reference")); err == nil || !carried.Has() {
		return dir, nil
	}
	cache, err := guest.CacheDir()
	if err != nil {
		return "", err
	}
	return carried.Unpack(cache)
}

// parseSubjects reads the values of an option that names subjects, and makes sure that they can be started where cases run.
func parseSubjects(ctx context.Context, option string, specs []string, where lane.Config) ([]subject.Subject, error) {
	dir, err := builds()
	if err != nil {
		return nil, err
	}
	var subjects []subject.Subject
	for _, spec := range specs {
		s, err := subject.Parse(spec, dir)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s %w", option, err)}
		}
		if err := startable(ctx, s, where); err != nil {
			return nil, usageError{fmt.Errorf("%s %s: %w", option, spec, err)}
		}
		subjects = append(subjects, s)
	}
	if err := subject.Distinct(subjects); err != nil {
		return nil, usageError{fmt.Errorf("%s %w", option, err)}
	}
	return subjects, nil
}

// startable reports what keeps a subject from being started: its file, or a defect that its build does not have.
func startable(ctx context.Context, s subject.Subject, where lane.Config) error {
	if err := where.CanRun(ctx, s.Binary, s.Definition != nil); err != nil {
		return err
	}
	if s.Defect() == "" {
		return nil
	}
	zoo, err := mutant.List(ctx, s.Binary)
	if err != nil {
		return err
	}
	return mutant.Has(zoo, s.Defect())
}

// carriedName is a folder that is on no disk: what is on the disk would be read instead.
const carriedName = "(carried)"

// carriedTags are the tags of the scenarios that this program carries: labels that make sense in every folder.
func carriedTags() []string {
	all, err := scenario.Shelf{Folder: carriedName, Files: scenarios.Files}.LoadAll([]string{carriedName})
	if err != nil {
		return nil // lint reports it
	}
	var tags []string
	for _, s := range all {
		tags = append(tags, s.Tags...)
	}
	return tags
}
