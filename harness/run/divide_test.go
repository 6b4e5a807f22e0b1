package run

import (
	"fmt"
	"slices"
	"testing"

	"proxyproof/harness/report"
	"proxyproof/harness/shard"
	"proxyproof/harness/subject"
)

// TestDivide: the plan names every selected case, in its own order and not in Ginkgo's, and each is a task of exactly one shard.
func TestDivide(t *testing.T) {
	var tasks []task
	for i := range 9 {
		x := timed(fmt.Sprintf("s%d", i))
		x.info.ID = fmt.Sprintf("s%d/ipv4@reference", i)
		tasks = append(tasks, x)
	}
	selected := []int{7, 1, 3, 8, 0, 5} // 2, 4 and 6 were not
	ran := map[int]int{}
	for i := 1; i <= 4; i++ {
		plan, ours := Options{Plan: Plan{Subjects: []subject.Subject{{Name: "reference"}}}, Shard: shard.Shard{Index: i, Of: 4}}.divide(tasks, selected)
		var ids []string
		for _, c := range plan.Cases {
			ids = append(ids, c.Scenario)
		}
		if want := []string{"s0", "s1", "s3", "s5", "s7", "s8"}; !slices.Equal(ids, want) || plan.Shard != fmt.Sprintf("%d/4", i) {
			t.Errorf("shard %s has the plan %v", plan.Shard, ids)
		}
		for _, index := range ours {
			ran[index]++
		}
		s := newOutcomes(len(tasks))
		s.leave(selected, ours)
		for _, index := range selected {
			left := false
			select {
			case _, open := <-s.outcomes[index]:
				left = !open
			default:
			}
			if left == slices.Contains(ours, index) {
				t.Errorf("shard %d: the spec of case %d is released: %v", i, index, left)
			}
		}
	}
	for _, index := range selected {
		if ran[index] != 1 {
			t.Errorf("case %d is in %d shards", index, ran[index])
		}
	}
	if _, ours := (Options{}).divide(tasks, selected); !slices.Equal(ours, selected) {
		t.Errorf("a run that is not divided has %v", ours)
	}
}

// newOutcomes is a suite without Ginkgo's tree.
func newOutcomes(n int) *suite {
	s := &suite{}
	for range n {
		s.outcomes = append(s.outcomes, make(chan report.Outcome, 1))
	}
	return s
}
