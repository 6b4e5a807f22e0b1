package run

import (
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
)

func TestWordsOf(t *testing.T) {
	for filter, want := range map[string]string{
		"": "", "smoke": "smoke", "ipv6 && smoke": "ipv6|smoke", "!(a || b),c": "a|b|c", "/^reference/ && dual-v4": "dual-v4", "/a,b/": "", "kube-router@v2.1.2": "kube-router@v2.1.2",
	} {
		if got := strings.Join(wordsOf(filter), "|"); got != want {
			t.Errorf("%q: got %q, want %q", filter, got, want)
		}
	}
}

// TestLabelsThatNothingHas: a label of another folder is no mistake, and may well be negated.
func TestLabelsThatNothingHas(t *testing.T) {
	tasks := []task{{labels: []string{"ipv4", "reference", "clusterip"}, info: report.Case{Scenario: &scenario.Scenario{Name: "a"}}}}
	elsewhere := func() []string { return []string{"smoke"} }
	for filter, want := range map[string]string{
		"": "", "clusterip": "", "ClusterIP": "", "ipv6": "", "!smoke": "", "/x/": "",
		"clusterpi": "did you mean clusterip?", "!smok": "did you mean smoke?", "a b": `nothing has the label "a b"`, "&&": "is no label filter", "(smoke": "is no label filter",
	} {
		err := Selection{Labels: filter, Tags: elsewhere}.check(tasks)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %s", filter, err, want)
		}
	}
	if err := (Selection{Labels: "!smoke"}).check(tasks); err == nil {
		t.Error("smoke is known though nothing has it")
	}
}

// TestNamedAsGinkgo: what is counted in the message is what Ginkgo selects by.
func TestNamedAsGinkgo(t *testing.T) {
	tasks := []task{
		{info: report.Case{ID: "a/ipv4@reference", Scenario: &scenario.Scenario{Name: "a"}}},
		{info: report.Case{ID: "b/ipv6@reference", Scenario: &scenario.Scenario{Name: "b"}}},
	}
	for expression, want := range map[string][]string{
		"^proxyproof b": {"b/ipv6@reference"}, "ipv4": {"a/ipv4@reference"}, "reference$": {"a/ipv4@reference", "b/ipv6@reference"}, "zzz": nil, "a a/": {"a/ipv4@reference"},
	} {
		var got []string
		for _, t := range named(tasks, []string{expression}) {
			got = append(got, t.info.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", expression, got, want)
		}
	}
}
