package main

import (
	"path/filepath"
	"testing"
)

func TestExpressions(t *testing.T) {
	values := map[string]string{"matrix.families": "ipv6", "inputs.artifact": "", "inputs.list": `["a"]`}
	for text, want := range map[string]string{
		"run ${{ matrix.families }} and ${{inputs.artifact}}.": "run ipv6 and .",
		"${{ inputs.artifact != '' }}":                         "false",
		"${{ matrix.families == 'ipv6' }}":                     "true",
		"${{ fromJSON(inputs.list) }}":                         `["a"]`,
		"$HOME":                                                "$HOME",
	} {
		if got, err := substitute(text, values); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${{ matrix.typo }}", "${{ hashFiles('x') }}", "${{ secrets.TOKEN }}"} {
		if got, err := substitute(text, values); err == nil {
			t.Errorf("%s: got %q, want an error", text, got)
		}
	}
}

func TestWanted(t *testing.T) {
	values := map[string]string{"inputs.a": ""}
	for _, c := range []struct {
		condition    string
		failed, want bool
	}{{"", false, true}, {"", true, false}, {"always()", true, true}, {"${{ always() }}", true, true}, {"inputs.a != ''", false, false}, {"inputs.a == ''", false, true}, {"inputs.a == ''", true, false}} {
		if got, err := wanted(c.condition, c.failed, values); err != nil || got != c.want {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}

// TestOurWorkflows: every job of every workflow is understood as far as its matrix goes, and the numbers are those that GitHub would start.
func TestOurWorkflows(t *testing.T) {
	want := map[string]map[string]int{
		"pull-request.yaml": {"lint": 1, "unit": 1, "kernel": 1, "harness": 1, "scenarios": 6, "report": 1, "kill-matrix": 1},
		"nightly.yaml":      {"kernels": 8, "kernels-report": 1, "kill-matrix": 1, "releases-list": 1, "releases": -1, "releases-report": 1},
		"proxy.yaml":        {"scenarios": 6},
		"release.yaml":      {"binaries": 1, "publish": 1},
	}
	for file, jobs := range want {
		w, err := readWorkflow(filepath.Join("../../.github/workflows", file))
		if err != nil {
			t.Fatal(err)
		}
		if len(w.Jobs) != len(jobs) {
			t.Errorf("%s has the jobs %v", file, sortedKeys(w.Jobs))
		}
		inputs, err := w.inputs(nil)
		if file == "proxy.yaml" {
			if err == nil {
				t.Errorf("%s: a required input is not asked for", file)
			}
			inputs, err = w.inputs(map[string]string{"proxyproof": "a/b", "ref": "main", "subject": "exec=x.yaml"})
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range jobs {
			all, err := w.Jobs[name].combinations(inputs)
			if n < 0 && err == nil {
				t.Errorf("%s %s: a matrix that an earlier job makes is taken for known", file, name)
			}
			if n >= 0 && (err != nil || len(all) != n) {
				t.Errorf("%s %s: got %d combinations, %v", file, name, len(all), err)
			}
		}
	}
}

func TestIncludeAddsToTheCombinationsItAgreesWith(t *testing.T) {
	w, err := readWorkflow("../../.github/workflows/nightly.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.Jobs["kernels"].combinations(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one["part"] != one["shard"][:1] {
			t.Errorf("got %v", one)
		}
	}
}
