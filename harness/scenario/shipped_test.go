package scenario

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shipped are the scenarios of this repository.
func shipped(t testing.TB) []*Scenario {
	t.Helper()
	scenarios, err := LoadAll([]string{"../../scenarios"})
	if err != nil {
		t.Fatal(err)
	}
	return scenarios
}

// TestShipped: what is found by its name in a report is found by it in the tree, by its area as a tag, and can be edited with help.
func TestShipped(t *testing.T) {
	for _, s := range shipped(t) {
		if want := s.Name + extension; filepath.Base(s.File) != want {
			t.Errorf("%s holds scenario %s; want %s", s.File, s.Name, want)
		}
		if area := filepath.Base(filepath.Dir(s.File)); len(s.Tags) == 0 || s.Tags[0] != area {
			t.Errorf("%s: the first tag is not %s", s.File, area)
		}
		first, _, _ := strings.Cut(string(s.Source), "\n")
		path, ok := strings.CutPrefix(first, "# yaml-language-server: $schema=")
		if _, err := os.Stat(filepath.Join(filepath.Dir(s.File), path)); !ok || err != nil {
			t.Errorf("%s: the first line does not lead to the schema: %s", s.File, first)
		}
		if len(s.Cases()) != len(AllFamilies) {
			t.Errorf("%s runs in %v; want all four family sets", s.File, s.Families)
		}
	}
}

// TestShelf: what a program carries is found under the names that the files have in the tree, unless they are on the disk.
func TestShelf(t *testing.T) {
	want := shipped(t)
	folder, err := filepath.Abs("../../scenarios")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	shelf := Shelf{Folder: "scenarios", Files: os.DirFS(folder)}
	got, err := shelf.LoadAll([]string{"scenarios"})
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d of %d scenarios, %v", len(got), len(want), err)
	}
	for i, s := range got {
		if s.Name != want[i].Name || s.File != strings.TrimPrefix(want[i].File, "../../") {
			t.Errorf("got %s in %s, want %s", s.Name, s.File, want[i].Name)
		}
	}
	if one, err := shelf.LoadAll([]string{got[0].File}); err != nil || len(one) != 1 {
		t.Errorf("%s alone: got %d, %v", got[0].File, len(one), err)
	}
	if _, err := shelf.LoadAll([]string{"scenarios/nowhere.yaml", "elsewhere"}); err == nil || strings.Count(err.Error(), "cannot be read") != 2 {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir("scenarios", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := shelf.LoadAll([]string{"scenarios"}); err == nil || !strings.Contains(err.Error(), "holds no scenario") {
		t.Errorf("an empty folder on the disk: got %v", err)
	}
}

// TestDocumented: every example of a whole scenario in the documentation is one, the fragments have the format's verbs, and every
// word of the format is explained.
func TestDocumented(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, path := range []string{docs, "../../README.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole := 0
		for _, m := range block.FindAllSubmatch(text, -1) {
			example := string(m[1])
			if strings.HasPrefix(example, "  - ") { // steps alone
				example = strings.Replace(string(base), "steps:\n", "steps:\n"+example, 1)
			} else {
				whole++
			}
			if _, err := Parse(path, []byte(example)); err != nil {
				t.Errorf("an example in %s:\n%v", path, err)
			}
		}
		if whole == 0 {
			t.Errorf("%s has no example of a scenario", path)
		}
	}
	text, _ := os.ReadFile(docs)
	words := append(Invariants(), holdKinds()...)
	words = append(words, wordsOf(AllFamilies...)...)
	words = append(words, kindNames()...)
	for _, kind := range TargetKinds() {
		words = append(words, "| `"+string(kind)+"(")
	}
	for _, word := range words {
		if !strings.Contains(string(text), word) {
			t.Errorf("%s does not mention %s", docs, word)
		}
	}
}

// TestExampleProblem: the problem that the documentation shows is what one sees.
func TestExampleProblem(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(# yaml-language-server.*?)```").FindSubmatch(text)[1]
	broken := strings.Replace(string(example), "backends: [web-1]", "backends: [web-2]", 1)
	_, err = Parse("scenarios/clusterip/clusterip-reaches-its-pod.yaml", []byte(broken))
	if err == nil || !strings.Contains(string(text), "```\n"+err.Error()+"\n```") {
		t.Errorf("%s does not show this problem:\n%v", docs, err)
	}
}
