package worker

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
	"proxyproof/sim/apiserver"
	"proxyproof/sim/netstate"
)

// perturbations are what a run may do to any scenario in addition to its steps, and that must change nothing; see docs/scenarios.md.
var perturbations = map[scenario.Perturbation]struct {
	finding  finding.ID
	title    string
	sentence string // of what changed, and of the node that it changed on
}{
	scenario.PerturbRestart: {"restart-changed-state", "a restart, which must change nothing", "a restart of the subject changed the state of node %s"},
	scenario.PerturbTouch:   {"touch-changed-state", "updates that say nothing new", "an update of the Services that says nothing new changed the state of node %s"},
	scenario.PerturbClean:   {"state-left-behind", "all Services are deleted", "with all Services deleted, the state of node %s is not what it was before the first"},
}

// perturb does between two steps, or between the last one and the end, what must change nothing, and judges whether it did.
func (c *caseRun) perturb(ctx context.Context, index int, step scenario.Step) (gone bool, err error) {
	for _, kind := range c.job.Perturb {
		if kind == scenario.PerturbClean || !c.steady() || len(step.Disturb) > 0 {
			continue
		}
		if gone, err := c.unchanged(ctx, index, kind, c.lastStates()); err != nil || gone {
			return gone, err
		}
	}
	return false, nil
}

// clean deletes all Services, if that is asked for and brings back the state before the first.
func (c *caseRun) clean(ctx context.Context) error {
	for _, kind := range c.job.Perturb {
		if kind != scenario.PerturbClean || c.first == nil || !c.steady() || c.job.Scenario.ChangesNodes() {
			continue
		}
		if _, err := c.unchanged(ctx, len(c.job.Scenario.Steps), kind, c.first); err != nil {
			return err
		}
	}
	return nil
}

// steady tells whether the subject runs, and can hear and be judged.
func (c *caseRun) steady() bool {
	for _, p := range c.proxies {
		if !p.wanted || !p.alive() {
			return false
		}
	}
	return c.faults.now == "" && !c.restless()
}

// lastStates are the nodes' states that were judged last.
func (c *caseRun) lastStates() []*netstate.State {
	var states []*netstate.State
	for _, p := range c.proxies {
		states = append(states, p.last)
	}
	return states
}

// unchanged perturbs, and judges whether the state of the nodes is as it is given.
func (c *caseRun) unchanged(ctx context.Context, index int, kind scenario.Perturbation, want []*netstate.State) (gone bool, err error) {
	c.record.enter(index, event.Phase{Name: "perturb", Title: perturbations[kind].title})
	switch kind {
	case scenario.PerturbRestart:
		gone, err = c.act(ctx, scenario.SubjectRestart)
	case scenario.PerturbTouch:
		err = c.touch(ctx)
	case scenario.PerturbClean:
		err = c.deleteServices(ctx)
	}
	if err != nil || gone {
		return gone, err
	}
	return c.judgeUntil(ctx, func(ctx context.Context) ([]finding.Finding, error) {
		found, err := c.judge(ctx, scenario.Step{})
		return append(found, c.changed(kind, want)...), err
	})
}

// changed compares the states that were judged with those that were wanted.
func (c *caseRun) changed(kind scenario.Perturbation, want []*netstate.State) []finding.Finding {
	var found []finding.Finding
	for i, p := range c.proxies {
		changes := netstate.Diff(want[i], p.judged)
		if len(changes) == 0 {
			continue
		}
		f := finding.Finding{ID: perturbations[kind].finding, Node: p.node.Name(), Sentence: fmt.Sprintf(perturbations[kind].sentence, p.node.Name())}
		for _, change := range changes {
			f.Evidence = append(f.Evidence, change.String())
		}
		found = append(found, f)
	}
	return found
}

// touchedAnnotation is of no meaning to anybody.
const touchedAnnotation = "proxyproof/touched"

// touch updates every Service in a way that means nothing, as controllers and people do all the time.
func (c *caseRun) touch(ctx context.Context) error {
	for _, s := range c.objects().Services {
		touched := s.DeepCopy()
		if touched.Annotations == nil {
			touched.Annotations = map[string]string{}
		}
		touched.Annotations[touchedAnnotation] = time.Now().UTC().Format(time.RFC3339Nano)
		if err := c.control.Put(ctx, touched); err != nil {
			return err
		}
		c.recordWrites([]apiserver.Change{{Verb: "touched", Object: nameOf(s)}})
	}
	return nil
}

// deleteServices deletes all that scenarios make.
func (c *caseRun) deleteServices(ctx context.Context) error {
	var refs []string
	for _, s := range c.objects().Services {
		if s.Namespace != "default" || s.Name != "kubernetes" {
			refs = append(refs, "service/"+s.Namespace+"/"+s.Name)
		}
	}
	return c.delete(ctx, refs)
}

func nameOf(s *corev1.Service) string { return "Service " + s.Namespace + "/" + s.Name }
