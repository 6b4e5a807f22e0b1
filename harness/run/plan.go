// Package run selects cases, has a bounded pool of workers execute them, and lets Ginkgo order, label and report them: each
// spec only awaits its case.
package run

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"proxyproof/harness/known"
	"proxyproof/harness/lane"
	"proxyproof/harness/report"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/harness/wire"
	"proxyproof/sim/netstate"
)

// Plan is what is to be run, before selection by Ginkgo.
type Plan struct {
	Scenarios []*scenario.Scenario
	// Families restricts the family sets; empty means those of each scenario.
	Families []scenario.FamilySet
	Subjects []subject.Subject
	// Other is the build that scenarios swap the subject for; nil if none was given.
	Other   *subject.Subject
	Backend netstate.Backend
	// Kernel is that of the guest, as it was asked for; "" if it was not.
	Kernel string
	Seed   uint64
	// Program is this program, as the user called it; "proxyproof" if it is empty.
	Program string
	// Times is how often each case is run; 1 unless steadiness is to be shown.
	Times int
	// Perturb is what is done to every case besides what its scenario says.
	Perturb []scenario.Perturbation
	// PerturbFor is what is done to the cases of a subject instead; nil: Perturb for all.
	PerturbFor func(subject.Subject) []scenario.Perturbation
	// Known are the known issues by the name of the subject.
	Known map[string][]known.Issue
	// Pairs tells which scenarios are run against which subjects; nil: all against all.
	Pairs func(*scenario.Scenario, subject.Subject) bool
}

// task is one case with everything that a worker needs.
type task struct {
	info    report.Case
	job     wire.Job
	subject subject.Subject
	other   *subject.Subject
	// file is the subject's binary, otherFile that of the other one.
	file, otherFile lane.File
	known           []known.Issue
	round           int
	labels          []string
}

// tasks are the cases of the plan in order: scenario, family, subject, round.
func (p Plan) tasks() []task {
	var tasks []task
	for round := range max(p.Times, 1) {
		for _, s := range p.Scenarios {
			for _, c := range s.Cases() {
				if !p.wants(c.Family) {
					continue
				}
				for _, sub := range p.Subjects {
					if p.Pairs != nil && !p.Pairs(s, sub) {
						continue
					}
					tasks = append(tasks, p.task(c, sub, round))
				}
			}
		}
	}
	return tasks
}

func (p Plan) wants(f scenario.FamilySet) bool {
	for _, want := range p.Families {
		if want == f {
			return true
		}
	}
	return len(p.Families) == 0
}

func (p Plan) task(c scenario.Case, sub subject.Subject, round int) task {
	if p.PerturbFor != nil {
		p.Perturb = p.PerturbFor(sub)
	}
	id := c.ID() + "@" + sub.Name
	for _, kind := range p.Perturb {
		id += "~" + string(kind)
	}
	if round > 0 {
		id += "#" + strconv.Itoa(round+1)
	}
	labels := append([]string{string(c.Family), sub.Name}, c.Scenario.Tags...)
	var other *wire.Subject
	if p.Other != nil && c.Scenario.Swaps() {
		build := wireSubject(*p.Other)
		other = &build
	}
	return task{
		info: report.Case{
			ID: id, Scenario: c.Scenario, Family: c.Family, Subject: sub.Name,
			Repeat: p.repeat(c, sub),
		},
		job: wire.Job{
			ID: id, Scenario: c.Scenario, Family: c.Family, Seed: p.Seed, Backend: p.Backend,
			Subject: wireSubject(sub), Other: other, Perturb: p.Perturb,
		},
		subject: sub,
		other:   p.Other,
		known:   p.Known[sub.Name],
		round:   round,
		labels:  labels,
	}
}

// wireSubject is a subject as a worker needs to know it, still without the hash of its binary.
func wireSubject(s subject.Subject) wire.Subject {
	return wire.Subject{Profile: s.Profile, Version: s.Version, Args: s.Args, Definition: s.Definition}
}

// repeat is the command that runs just this case again.
func (p Plan) repeat(c scenario.Case, sub subject.Subject) string {
	words := []string{cmp.Or(p.Program, "proxyproof"), "run", c.Scenario.File, "--families " + string(c.Family)}
	if sub.Spec != "reference" {
		words = append(words, "--subject "+sub.Spec)
	}
	if p.Other != nil && c.Scenario.Swaps() {
		words = append(words, "--other "+p.Other.Spec)
	}
	if p.Backend != netstate.Legacy {
		words = append(words, "--iptables "+string(p.Backend))
	}
	if p.Kernel != "" {
		words = append(words, "--kernel "+p.Kernel)
	}
	for _, kind := range p.Perturb {
		words = append(words, "--perturb "+string(kind))
	}
	words = append(words, fmt.Sprintf("--seed %d", p.Seed))
	return strings.Join(words, " ")
}

// List names the plan's cases without a subject.
func (p Plan) List() []string {
	var ids []string
	for _, s := range p.Scenarios {
		for _, c := range s.Cases() {
			if p.wants(c.Family) {
				ids = append(ids, c.ID())
			}
		}
	}
	return ids
}
