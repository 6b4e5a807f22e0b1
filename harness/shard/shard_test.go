package shard

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
)

// shipped are the cases of this repository's scenarios.
func shipped(t *testing.T) []report.Case {
	t.Helper()
	scenarios, err := scenario.LoadAll([]string{"../../scenarios"})
	if err != nil {
		t.Fatal(err)
	}
	var cases []report.Case
	for _, s := range scenarios {
		for _, c := range s.Cases() {
			cases = append(cases, report.Case{ID: c.ID() + "@reference", Scenario: s, Family: c.Family, Subject: "reference"})
		}
	}
	return cases
}

// measured are the times of a run of all scenarios on two cores, under emulation.
func measured(t *testing.T) Lengths {
	t.Helper()
	lengths, err := ReadLengths("testdata/junit.xml")
	if err != nil {
		t.Fatal(err)
	}
	return lengths
}

// TestParts: with and without earlier times, every case is in exactly one part, and the longest part is not much longer than the others
// by the times that were measured.
func TestParts(t *testing.T) {
	cases, real := shipped(t), measured(t)
	for name, by := range map[string]Lengths{"earlier times": real, "the scenarios alone": nil} {
		for n := 1; n <= 7; n++ {
			part := Divide(by.Items(cases), n)
			if len(part) != len(cases) {
				t.Errorf("by %s: %d of %d cases are in a part", name, len(part), len(cases))
			}
			sums, total := make([]float64, n), 0.
			for _, item := range real.Items(cases) {
				i := part[item.ID]
				if i < 1 || i > n {
					t.Fatalf("by %s: %s is in part %d of %d", name, item.ID, i, n)
				}
				sums[i-1], total = sums[i-1]+item.Length, total+item.Length
			}
			for i, sum := range sums {
				if ratio := sum / (total / float64(n)); ratio > 1.3 {
					t.Errorf("by %s: part %d/%d takes %.2f times the mean", name, i+1, n, ratio)
				}
			}
		}
	}
}

// TestEveryMachineDividesAlike: the order in which the cases come, which is that of Ginkgo's seed, is of no importance.
func TestEveryMachineDividesAlike(t *testing.T) {
	items := measured(t).Items(shipped(t))
	want := Divide(items, 5)
	for range 10 {
		rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		if got := Divide(items, 5); !maps.Equal(got, want) {
			t.Fatal("another order of the cases gives another division")
		}
	}
}

func TestMorePartsThanCases(t *testing.T) {
	if got := Divide([]Item{{"a", 1}, {"b", 2}}, 4); !maps.Equal(got, map[string]int{"b": 1, "a": 2}) {
		t.Errorf("got %v", got)
	}
}

// TestWhatIsNewIsEstimatedOnTheScaleOfTheOthers: seconds and steps are not added up.
func TestWhatIsNewIsEstimatedOnTheScaleOfTheOthers(t *testing.T) {
	of := func(name string, steps int) report.Case {
		return report.Case{ID: name, Scenario: &scenario.Scenario{Name: name, Steps: make([]scenario.Step, steps)}, Family: scenario.FamilyIPv4, Subject: "x"}
	}
	items := Lengths{"old/ipv4@x": 60}.Items([]report.Case{of("old", 1), of("new", 4)})
	if want := (Item{"new", 120}); items[1] != want {
		t.Errorf("got %v, want %v", items[1], want)
	}
}

func TestParse(t *testing.T) {
	if s, err := Parse("2/4"); err != nil || s != (Shard{2, 4}) || s.String() != "2/4" {
		t.Errorf("2/4: got %v, %v", s, err)
	}
	for text, advice := range map[string]string{
		"": "write I/N", "2": "write I/N", "a/b": "write I/N", "1/2/3": "write I/N", "1/0": "write I/N",
		"0/4": "between 1/4 and 4/4", "5/4": "between 1/4 and 4/4", "-1/4": "between 1/4 and 4/4",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), advice) || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: got %v, want the advice %q", text, err, advice)
		}
	}
}

func TestEarlierTimesThatAreNone(t *testing.T) {
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "junit.xml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, file := range []string{"nowhere.xml", write("{}"), write("<testsuites></testsuites>"),
		write(`<testsuites><testsuite><testcase name="a/ipv4" classname="x" time="9"><error message="infra"></error></testcase></testsuite></testsuites>`)} {
		if _, err := ReadLengths(file); err == nil || !strings.Contains(err.Error(), "earlier times") {
			t.Errorf("%s: got %v", file, err)
		}
	}
}
