package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
)

// placed is an outcome of another case.
func placed(name string, family scenario.FamilySet, subject string, o Outcome) Outcome {
	o.Case.ID = name + "/" + string(family) + "@" + subject
	o.Case.Scenario, o.Case.Family, o.Case.Subject = &scenario.Scenario{Name: name, File: "scenarios/" + name + ".yaml"}, family, subject
	return o
}

func markdown(t *testing.T, s Summary) string {
	t.Helper()
	var b bytes.Buffer
	if err := (Markdown{&b}).Finish(s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMarkdown(t *testing.T) {
	refused := finding.Finding{ID: "apiserver-refused", Sentence: "a <b> & | c", Step: 1}
	got := markdown(t, Summary{
		Machines: []event.Machine{{Where: "a VM", Kernel: "6.1"}, {Where: "a VM", Kernel: "6.1"}},
		Outcomes: []Outcome{
			placed("s", "dual-v6", "reference", outcome(event.Pass)), placed("s", "ipv4", "reference", outcome(event.Fail, refused)),
			placed("t", "ipv4", "reference", outcome(event.Known, refused)), placed("t", "ipv4", "my_proxy", outcome(event.Skip)),
		},
	})
	want := `## 2 passed, 1 failed, 1 skipped (1 passed with known issues)

4 cases in 0 s, on a VM, kernel 6.1

### reference

| scenario | ipv4 | dual-v6 |
|---|---|---|
| s | **✗ A** | ✓ |
| t | (A) |  |

### my\_proxy

| scenario | ipv4 |
|---|---|
| t | – |

✓ passed, ✗ failed with the findings, (…) has known issues only, – skipped. A = apiserver-refused

### What failed

**s/ipv4@reference** fail
<pre>
apiserver-refused: a &lt;b&gt; &amp; | c, since step 1 (apply Service example)
again: proxyproof run s.yaml
</pre>
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestMarkdownIsBounded: GitHub refuses a summary of more than a megabyte. What passed everywhere goes first.
func TestMarkdownIsBounded(t *testing.T) {
	long := finding.Finding{ID: "apiserver-refused", Sentence: strings.Repeat("wörter ", 10000), Evidence: []string{strings.Repeat("x", 100000)}}
	var s Summary
	for i := range 3000 {
		o := outcome(event.Pass)
		if i%2 == 0 {
			o = outcome(event.Fail, long, long)
		}
		s.Outcomes = append(s.Outcomes, placed(fmt.Sprintf("s%d", i), "ipv4", fmt.Sprintf("subject-%d", i%100), o))
	}
	got := markdown(t, s)
	if len(got) > 200<<10 || strings.Count(got, "✗ A**") != markdownRows || strings.Contains(got, passed+" |") {
		t.Errorf("%d bytes, %d rows", len(got), strings.Count(got, "✗ A**"))
	}
	for _, want := range []string{"more scenarios are in the JUnit report", "more scenarios passed in every family set", "… and 1490 more"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

func annotated(t *testing.T, s Summary) []string {
	t.Helper()
	var b bytes.Buffer
	if err := (Annotate{&b}).Finish(s); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestAnnotate(t *testing.T) {
	refused := finding.Finding{ID: "apiserver-refused", Sentence: "100 % of\nit: refused, all", Step: 1}
	failed := outcome(event.Fail, refused, refused)
	failed.Events[0].Phase.Line = 17
	odd := placed("u,x", "ipv4", "reference", outcome(event.Infra))
	odd.Verdict.Reason = "the worker died"
	got := annotated(t, Summary{Outcomes: []Outcome{
		placed("s", "ipv4", "reference", failed), placed("s", "ipv6", "reference", failed), odd,
		placed("t", "ipv4", "reference", outcome(event.Known, refused)), placed("v", "ipv4", "reference", outcome(event.Pass)),
	}})
	want := []string{
		"::error file=scenarios/s.yaml,line=17,title=apiserver-refused::100 %25 of%0Ait: refused, all%0Ain s/ipv4@reference, s/ipv6@reference%0Aagain: proxyproof run s.yaml",
		"::error file=scenarios/u%2Cx.yaml,line=1,title=infra::the worker died%0Ain u,x/ipv4@reference%0Aagain: proxyproof run s.yaml",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestAnnotationsAreBounded(t *testing.T) {
	var s Summary
	for i := range 100 {
		s.Outcomes = append(s.Outcomes, placed(fmt.Sprintf("s%d", i), "ipv4", "x", outcome(event.Fail, finding.Finding{ID: "hold-lost", Sentence: strings.Repeat("long ", 1000)})))
	}
	got := annotated(t, s)
	if len(got) != annotationsMost || len(got[0]) > 2*markdownLine {
		t.Errorf("%d annotations, the first of %d bytes", len(got), len(got[0]))
	}
}
