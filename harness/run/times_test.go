package run

import (
	"testing"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
)

func timed(name string) task {
	return task{info: report.Case{ID: name, Scenario: &scenario.Scenario{Name: name}, Family: scenario.FamilyIPv4, Subject: "reference"}}
}

func TestTheLongestBeginFirst(t *testing.T) {
	t.Setenv("PROXYPROOF_CACHE", t.TempDir())
	short, long, broken, fresh := timed("short"), timed("long"), timed("broken"), timed("fresh")
	outcome := func(x task, kind event.VerdictKind, took time.Duration) report.Outcome {
		return report.Outcome{Case: x.info, Verdict: event.Verdict{Kind: kind}, Took: took}
	}
	err := rememberedTimes().remember([]report.Outcome{
		outcome(short, event.Pass, time.Second), outcome(long, event.Fail, 9*time.Second), outcome(broken, event.Infra, time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, x := range rememberedTimes().longestFirst([]task{short, fresh, long, broken}) {
		order = append(order, x.info.ID)
	}
	want := []string{"fresh", "broken", "long", "short"}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("the order is %v; want %v: what never ran to a verdict, then by length", order, want)
		}
	}
}
