package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// extension of scenario files.
const extension = ".yaml"

// Load reads one file. The error is Problems.
func (s Shelf) Load(path string) (*Scenario, error) {
	text, err := s.read(path)
	if err != nil {
		return nil, Problems{unreadable(path, err)}
	}
	return Parse(path, text)
}

// LoadAll reads files from the disk alone.
func LoadAll(paths []string) ([]*Scenario, error) { return Shelf{}.LoadAll(paths) }

// LoadAll reads files, and all files named *.yaml in folders and below. Each file is read once. The error is Problems: those of
// all files.
func (s Shelf) LoadAll(paths []string) ([]*Scenario, error) {
	files, problems := s.find(paths)
	var scenarios []*Scenario
	named := map[string]*Scenario{}
	for _, file := range files {
		one, err := s.Load(file)
		var more Problems
		if errors.As(err, &more) {
			problems = append(problems, more...)
			continue
		}
		if first, taken := named[one.Name]; taken {
			problems = append(problems, sameName(one, first))
		}
		named[one.Name] = one
		scenarios = append(scenarios, one)
	}
	if err := problems.orNil(); err != nil {
		return nil, err
	}
	return scenarios, nil
}

// Parse reads a scenario. file is its path, for errors. The error is Problems.
//
// Problems come in layers, since one of a lower layer makes those above meaningless: the syntax, then the shape (fields and
// types, in manifests as well), then the sense, of the world first. All of a layer are reported together.
func Parse(file string, text []byte) (*Scenario, error) {
	unix := bytes.ReplaceAll(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	d := newDecoder(newSource(file, unix), "yaml", offset{})
	root := d.parse(unix)
	if root == nil && len(d.problems) == 0 {
		d.report(spot{1, 1, 1}, "begin with name, description, world and steps", "the file holds no scenario")
	}
	if err := d.problems.orNil(); err != nil {
		return nil, err
	}
	s := &Scenario{File: file, Source: text}
	d.decode(root, reflect.ValueOf(s).Elem(), "scenario")
	manifests := d.manifests(s)
	if err := d.problems.orNil(); err != nil {
		return nil, err
	}
	s.number(d.places)
	s.Description = strings.TrimSpace(s.Description)
	c := checker{decoder: d, scenario: s, manifests: manifests}
	c.check()
	if err := c.problems.orNil(); err != nil {
		return nil, err
	}
	return s, nil
}

// number tells steps, checks and holds on which line they stand.
func (s *Scenario) number(places map[any]spot) {
	for i := range s.Hold {
		s.Hold[i].Line = places[&s.Hold[i]].line
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		step.Line = places[step].line
		for j := range step.Expect {
			step.Expect[j].Line = places[&step.Expect[j]].line
		}
	}
}

// find lists the files that are meant, in the order of the paths and below them by name.
func (s Shelf) find(paths []string) (files []string, problems Problems) {
	seen := map[string]bool{}
	add := func(path string) {
		if clean := filepath.Clean(path); !seen[clean] {
			seen[clean] = true
			files = append(files, path)
		}
	}
	for _, path := range paths {
		info, err := s.stat(path)
		switch {
		case err != nil:
			problems = append(problems, unreadable(path, err))
		case !info.IsDir():
			add(path)
		default:
			found, more := s.list(path)
			problems = append(problems, more...)
			for _, file := range found {
				add(file)
			}
		}
	}
	return files, problems
}

// list names the scenario files of a folder. Hidden files and folders are left out.
func (s Shelf) list(folder string) (files []string, problems Problems) {
	err := s.walk(folder, func(path string, entry fs.DirEntry, err error) error {
		hidden := path != folder && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			return err
		case entry.IsDir() && hidden:
			return filepath.SkipDir
		case entry.IsDir() || hidden:
		case filepath.Ext(path) == extension:
			files = append(files, path)
		case filepath.Ext(path) == ".yml":
			problems = append(problems, Problem{File: path, Message: "this file would not be read", Suggestion: "rename it: scenario files end in " + extension})
		}
		return nil
	})
	switch {
	case err != nil:
		problems = append(problems, unreadable(folder, err))
	case len(files) == 0 && len(problems) == 0:
		problems = append(problems, Problem{File: folder, Message: "the folder holds no scenario", Suggestion: "scenario files end in " + extension})
	}
	return files, problems
}

func unreadable(path string, err error) Problem {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return Problem{File: path, Message: fmt.Sprintf("cannot be read: %v", err)}
}

func sameName(s, first *Scenario) Problem {
	text := newSource(s.File, s.Source)
	at := spot{1, 1, 1}
	if i := slices.IndexFunc(text.lines, func(line string) bool { return strings.HasPrefix(line, "name:") }); i >= 0 {
		at = text.within(spot{i + 1, 6, 1}, s.Name)
	}
	return text.problem(at, fmt.Sprintf("the name %s is taken by %s", s.Name, first.File), "choose another: cases are selected and reported by it")
}

// CatchesOf lists, by defect, the names of the scenarios that must fail on it.
func CatchesOf(scenarios []*Scenario) map[string][]string {
	catches := map[string][]string{}
	for _, s := range scenarios {
		for _, defect := range s.Catches {
			catches[defect] = append(catches[defect], s.Name)
		}
	}
	return catches
}
