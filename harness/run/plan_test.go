package run

import (
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/netstate"
)

// TestPerturbedCases have names of their own, so that times and reports are not mixed up with those of plain ones, and repeat as they were.
func TestPerturbedCases(t *testing.T) {
	p := Plan{
		Scenarios: []*scenario.Scenario{{Name: "a", File: "a.yaml", Families: []scenario.FamilySet{scenario.FamilyIPv6}}},
		Subjects:  []subject.Subject{{Name: "reference", Spec: "reference"}}, Backend: netstate.Legacy, Seed: 7,
		Perturb: []scenario.Perturbation{scenario.PerturbRestart, scenario.PerturbClean},
	}
	tasks := p.tasks()
	if len(tasks) != 1 || tasks[0].job.ID != "a/ipv6@reference~restart~clean" || !slices.Equal(tasks[0].job.Perturb, p.Perturb) {
		t.Fatalf("got %+v", tasks)
	}
	if again := tasks[0].info.Repeat; !strings.Contains(again, "--perturb restart --perturb clean") {
		t.Errorf("it is repeated by %q", again)
	}
}

// TestPerturbedSubjects: what is done to the cases of one subject is not done to those of another.
func TestPerturbedSubjects(t *testing.T) {
	p := Plan{
		Scenarios: []*scenario.Scenario{{Name: "a", File: "a.yaml", Families: []scenario.FamilySet{scenario.FamilyIPv6}}},
		Subjects:  []subject.Subject{{Name: "reference+x"}, {Name: "reference+y"}},
		PerturbFor: func(s subject.Subject) []scenario.Perturbation {
			if s.Name == "reference+x" {
				return []scenario.Perturbation{scenario.PerturbTouch}
			}
			return nil
		},
	}
	tasks := p.tasks()
	if tasks[0].job.ID != "a/ipv6@reference+x~touch" || tasks[1].job.ID != "a/ipv6@reference+y" || len(tasks[1].job.Perturb) != 0 {
		t.Errorf("got %s %v and %s %v", tasks[0].job.ID, tasks[0].job.Perturb, tasks[1].job.ID, tasks[1].job.Perturb)
	}
}
