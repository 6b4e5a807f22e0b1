package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/goccy/go-yaml"
)

// workflow is what is read of a workflow file, or of an action's.
type workflow struct {
	On struct {
		Call struct {
			Inputs map[string]input `yaml:"inputs"`
		} `yaml:"workflow_call"`
	} `yaml:"on"`
	Inputs map[string]input `yaml:"inputs"` // of an action
	Jobs   map[string]job   `yaml:"jobs"`
	Runs   job              `yaml:"runs"` // of an action
}

type input struct {
	Default  any  `yaml:"default"`
	Required bool `yaml:"required"`
}

type job struct {
	Strategy struct {
		Matrix yaml.MapSlice `yaml:"matrix"`
	} `yaml:"strategy"`
	Env   map[string]string `yaml:"env"`
	Steps []step            `yaml:"steps"`
}

type step struct {
	ID   string            `yaml:"id"`
	If   string            `yaml:"if"`
	Uses string            `yaml:"uses"`
	With map[string]any    `yaml:"with"`
	Run  string            `yaml:"run"`
	Env  map[string]string `yaml:"env"`
}

func readWorkflow(file string) (workflow, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return workflow{}, err
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		return workflow{}, fmt.Errorf("%s: %w", file, err)
	}
	return w, nil
}

// inputs are those that are given, and the defaults of the others.
func (w workflow) inputs(given map[string]string) (map[string]string, error) {
	wanted := w.On.Call.Inputs
	if w.Inputs != nil {
		wanted = w.Inputs
	}
	for name := range given {
		if _, known := wanted[name]; !known {
			return nil, fmt.Errorf("there is no input %s", name)
		}
	}
	values := map[string]string{}
	for name, in := range wanted {
		value, has := given[name]
		switch {
		case has:
			values[name] = value
		case in.Required:
			return nil, fmt.Errorf("the input %s is missing", name)
		case in.Default != nil:
			values[name] = fmt.Sprint(in.Default)
		default:
			values[name] = ""
		}
	}
	return values, nil
}

// combinations are those of the job's matrix; one without anything if it has none.
func (j job) combinations(inputs map[string]string) ([]map[string]string, error) {
	all := []map[string]string{{}}
	var include []any
	for _, axis := range j.Strategy.Matrix {
		name := fmt.Sprint(axis.Key)
		values, err := axisValues(axis.Value, inputs)
		if err != nil {
			return nil, fmt.Errorf("matrix %s: %w", name, err)
		}
		if name == "include" {
			include = values
			continue
		}
		var longer []map[string]string
		for _, one := range all {
			for _, value := range values {
				next := maps.Clone(one)
				next[name] = fmt.Sprint(value)
				longer = append(longer, next)
			}
		}
		all = longer
	}
	for _, extra := range include {
		if err := merge(all, extra); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// axisValues are a list, or an expression whose value is one in JSON.
func axisValues(value any, inputs map[string]string) ([]any, error) {
	if list, ok := value.([]any); ok {
		return list, nil
	}
	values := map[string]string{}
	for name, text := range inputs {
		values["inputs."+name] = text
	}
	text, err := substitute(fmt.Sprint(value), values)
	if err != nil {
		return nil, err
	}
	var list []any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%s is no list in JSON: %w", text, err)
	}
	return list, nil
}

// merge adds what an entry of include has to the combinations that it agrees with.
func merge(all []map[string]string, extra any) error {
	fields, ok := extra.(map[string]any)
	if !ok {
		return fmt.Errorf("include: want a mapping, got %v", extra)
	}
	for _, one := range all {
		agrees := true
		for name, value := range fields {
			have, has := one[name]
			agrees = agrees && (!has || have == fmt.Sprint(value))
		}
		if !agrees {
			continue
		}
		for name, value := range fields {
			one[name] = fmt.Sprint(value)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
