package oracle_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "proxyproof"

// Arrows point down only: scenarios -> harness -> sim. The reference is a subject like any other: judge and judged share no code,
// or one mistake would hide another.
func TestArrowsPointDown(t *testing.T) {
	forbidden := []struct {
		from, to string
		why      string
	}{
		{"harness", "reference", "the judge must not share code with what it judges"},
		{"sim", "reference", "the world must not know who runs in it"},
		{"sim", "harness", "the world must not know its judge"},
		{"reference", "harness", "the reference runs on real nodes, without a judge"},
		{"reference", "sim", "the reference runs on real nodes, without a world"},
	}
	imports := importsOf(t, filepath.Join("..", ".."))
	for _, room := range []string{"harness/oracle", "harness/invariant", "sim/world"} {
		if len(imports[room]) == 0 {
			t.Fatalf("no imports of %s were found: this test looks at the wrong place", room)
		}
	}
	for _, rule := range forbidden {
		for _, pkg := range violations(imports, rule.from, rule.to) {
			t.Errorf("%s: %s", pkg, rule.why)
		}
	}
}

// The test itself must be able to fail.
func TestArrowsAreFollowed(t *testing.T) {
	imports := map[string][]string{
		"harness/oracle": {"harness/text"}, "harness/text": {"sim/world"}, "sim/world": {"reference/plan"}, "reference": {"reference/plan"},
		"harnessed": {"reference"},
	}
	want := []string{"harness/oracle -> harness/text -> sim/world -> reference/plan", "harness/text -> sim/world -> reference/plan"}
	if got := violations(imports, "harness", "reference"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := violations(imports, "reference", "harness"); len(got) > 0 {
		t.Errorf("got %q, want none", got)
	}
}

// violations are the ways from packages in one room to packages in another, sorted.
func violations(imports map[string][]string, from, to string) []string {
	var found []string
	for pkg := range imports {
		if in(pkg, from) {
			if way := wayTo(imports, pkg, to, map[string]bool{}); way != nil {
				found = append(found, strings.Join(way, " -> "))
			}
		}
	}
	slices.Sort(found)
	return found
}

// wayTo is a chain of imports from pkg to a package in a room, or nil if there is none.
func wayTo(imports map[string][]string, pkg, to string, seen map[string]bool) []string {
	if in(pkg, to) {
		return []string{pkg}
	}
	if seen[pkg] {
		return nil
	}
	seen[pkg] = true
	for _, next := range imports[pkg] {
		if way := wayTo(imports, next, to, seen); way != nil {
			return append([]string{pkg}, way...)
		}
	}
	return nil
}

func in(pkg, room string) bool { return pkg == room || strings.HasPrefix(pkg, room+"/") }

// importsOf reads which packages of this module import which others, tests included, whatever their build constraints.
func importsOf(t *testing.T, root string) map[string][]string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("this test reads the module's sources: %v", err)
	}
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(imported, module+"/"); ok {
				imports[pkg] = append(imports[pkg], path.Clean(rest))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}
