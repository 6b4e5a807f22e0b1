package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder makes files in a folder of the test's own.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func named(name string) string {
	return strings.Replace(base, "name: example\ndesc", "name: "+name+"\ndesc", 1)
}

// TestLoadAll reads files and folders, each file once, in order.
func TestLoadAll(t *testing.T) {
	dir := folder(t, map[string]string{
		"b/two.yaml": named("two"), "a/one.yaml": named("one"), "a/deep/three.yaml": named("three"),
		"a/README.md": "no scenario", ".hidden/x.yaml": "no: scenario", "a/.x.yaml": "no: scenario",
	})
	scenarios, err := LoadAll([]string{filepath.Join(dir, "b", "two.yaml"), dir, dir + "/"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range scenarios {
		names = append(names, s.Name)
	}
	if want := []string{"two", "three", "one"}; !cmp.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if catches := CatchesOf(scenarios); !cmp.Equal(catches, map[string][]string{"local-ips-ipv4-only": {"two", "three", "one"}}) {
		t.Errorf("catches: %v", catches)
	}
}

// TestLoadAllProblems reports everything that is wrong with all files, in their order.
func TestLoadAllProblems(t *testing.T) {
	dir := folder(t, map[string]string{
		"c.yaml":     strings.Replace(strings.Replace(named("c"), "addresses: 2", "addresses: two", 1), "[smoke]", "smoke", 1),
		"b.yaml":     "name: [\n",
		"a.yaml":     named("same"),
		"d.yaml":     named("same"),
		"empty.yaml": "# nothing\n",
		"e.yml":      named("e"),
	})
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o755); err != nil {
		t.Fatal(err)
	}
	scenarios, err := LoadAll([]string{dir, filepath.Join(dir, "none"), filepath.Join(dir, "nowhere")})
	var problems Problems
	if !errors.As(err, &problems) || scenarios != nil {
		t.Fatalf("got %v, %v", scenarios, err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s:%d:%d: %s", strings.TrimPrefix(p.File, dir+"/"), p.Line, p.Column, strings.ReplaceAll(p.Message, dir+"/", "")))
	}
	want := []string{
		"b.yaml:1:7: sequence end token ']' not found",
		`c.yaml:5:7: tags: want a list, got the text "smoke"`,
		`c.yaml:9:59: addresses: want a whole number, got the text "two"`,
		"d.yaml:2:7: the name same is taken by a.yaml",
		"e.yml:0:0: this file would not be read",
		"empty.yaml:1:1: the file holds no scenario",
		"none:0:0: the folder holds no scenario",
		"nowhere:0:0: cannot be read: no such file or directory",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.HasSuffix(err.Error(), "\n\n8 problems") {
		t.Errorf("the text does not end with the number of problems:\n%v", err)
	}
}

// TestLines: neither a byte order mark nor the line ends of other systems disturb.
func TestLines(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(base, "\n", "\r\n")
	s, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Steps[0].Objects[0].String(); got != "Service example" {
		t.Errorf("the first step applies %s", got)
	}
	p := problemsOf(t, strings.Replace(text, "selector: {app", "selektor: {app", 1))
	if p[0].Line != 28 || p[0].Column != 9 || strings.Contains(p[0].Excerpt, "\r") {
		t.Errorf("got %v", p)
	}
}

// TestWire: a scenario reaches the worker whole, as JSON.
func TestWire(t *testing.T) {
	s, err := Parse("x.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again Scenario
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, &again); diff != "" {
		t.Error(diff)
	}
	if got := again.Steps[0].Title(); got != "apply Service example" {
		t.Errorf("title after the journey: %s", got)
	}
}

// BenchmarkLoadAll reads 100 files.
func BenchmarkLoadAll(b *testing.B) {
	files := map[string]string{}
	for i := range 100 {
		name := fmt.Sprintf("s%d", i)
		files[name+extension] = named(name)
	}
	dir := folder(b, files)
	for b.Loop() {
		if _, err := LoadAll([]string{dir}); err != nil {
			b.Fatal(err)
		}
	}
}
