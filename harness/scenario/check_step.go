package scenario

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// story is what there is at one moment of the scenario: the objects, and whether the subject runs.
type story struct {
	objects map[Ref]*corev1.Service // nil for what is no Service
	// deleted is the line that deleted an object.
	deleted map[Ref]int
	// foreign is the line that brought a foreign thing.
	foreign map[string]int
	// pods are those that have changed, by name.
	pods map[string]Life
	// nodes is the number of addresses of those that have changed, by name.
	nodes map[string]int
	// api is the fault of the API server, and apiLine where it began.
	api     APIAction
	apiLine int
	started bool // the subject was started at least once
	running bool
}

// newStory is the moment before the first step.
func newStory(start StartMode) *story {
	api := &corev1.Service{}
	api.Namespace, api.Name = defaultNamespace, apiService
	api.Spec.Ports = []corev1.ServicePort{{Port: apiServicePort}}
	first := start != StartByStep
	return &story{
		objects: map[Ref]*corev1.Service{serviceRef(defaultNamespace, apiService): api, {Kind: "Namespace", Name: defaultNamespace}: nil},
		deleted: map[Ref]int{}, foreign: map[string]int{}, pods: map[string]Life{}, nodes: map[string]int{}, started: first, running: first,
	}
}

func serviceRef(namespace, name string) Ref { return Ref{"Service", namespace, name} }

// services are the names of all Services, as targets write them.
func (s *story) services() []string {
	var list []string
	for ref, service := range s.objects {
		if service != nil {
			list = append(list, strings.TrimPrefix(ref.String(), "Service "))
		}
	}
	slices.Sort(list)
	return list
}

// checkSteps goes through the steps as they will happen.
func (c *checker) checkSteps() {
	s := c.scenario
	if len(s.Steps) == 0 {
		c.report(c.at(&s.Steps), "add a step: "+strings.Join(verbNames, ", "), "there are no steps")
	}
	now := newStory(s.Subject.Start)
	for i := range s.Steps {
		c.checkStep(&s.Steps[i], now)
	}
	if !now.started {
		c.report(c.at(&s.Subject.Start), "add a step subject: start", "start: by-step, but no step starts the subject")
	}
}

// verbNames are the things that a step can do, in the order in which the documentation has them.
var verbNames = []string{"apply", "delete", "pods", "endpoints", "nodes", "api", "foreign", "withdraw", "disturb", "subject", "expect", "state"}

func (c *checker) checkStep(step *Step, now *story) {
	checks := map[string]func(*Step, *story){
		"apply": c.checkApply, "delete": c.checkDelete, "pods": c.checkPods, "endpoints": c.checkEndpoints, "nodes": c.checkNodes, "api": c.checkAPI, "foreign": c.checkForeign,
		"withdraw": c.checkWithdraw, "disturb": c.checkDisturb, "subject": c.checkAction, "expect": c.checkExpects,
		"state": c.checkStates,
	}
	verbs := c.written(map[string]any{
		"apply": &step.Apply, "delete": &step.Delete, "pods": &step.Pods, "endpoints": &step.Endpoints, "nodes": &step.Nodes, "api": &step.API, "foreign": &step.Foreign,
		"withdraw": &step.Withdraw, "disturb": &step.Disturb, "subject": &step.Subject, "expect": &step.Expect, "state": &step.State,
	})
	switch len(verbs) {
	case 0:
		c.report(c.at(step), "add one of "+strings.Join(verbNames, ", "), "the step does nothing")
	case 1:
		checks[verbs[0]](step, now)
	default:
		c.report(c.at(step), "make a step of each", "the step does %d things at once: %s", len(verbs), strings.Join(verbs, ", "))
	}
}

func (c *checker) checkExpects(step *Step, now *story) {
	if len(step.Expect) == 0 {
		c.report(c.at(&step.Expect), "add a check, or remove the step: what always holds is judged after every step anyway", "expect is empty")
	}
	for i := range step.Expect {
		c.checkExpect(&step.Expect[i], now)
	}
}

// written are the names of the fields that the file has, in alphabetical order.
func (c *checker) written(fields map[string]any) []string {
	var list []string
	for name, value := range fields {
		if _, ok := c.decoder.places[value]; ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func (c *checker) checkApply(step *Step, now *story) {
	for _, o := range c.manifests[step] {
		if slices.Contains(step.Objects, o.Ref) {
			c.report(o.at, "one of them would replace the other: make two steps", "%s comes twice in one manifest", o.Ref)
		}
		step.Objects = append(step.Objects, o.Ref)
		if _, exists := now.objects[Ref{Kind: "Namespace", Name: o.Namespace}]; o.Namespace != "" && !exists {
			c.report(o.at, "apply a Namespace before it", "%s: namespace %s does not exist at this step", o.Ref, o.Namespace)
		}
		service, _ := o.object.(*corev1.Service)
		if service != nil && o.Ref == serviceRef(defaultNamespace, apiService) {
			c.report(o.at, "choose another name", "Service kubernetes is the API server's own")
		}
		c.checkAddresses(o, now)
		now.objects[o.Ref] = service
		delete(now.deleted, o.Ref)
	}
}

func (c *checker) checkDelete(step *Step, now *story) {
	if len(step.Delete) == 0 {
		c.report(c.at(&step.Delete), "", "delete: the list is empty")
	}
	for i, written := range step.Delete {
		at := c.at(&step.Delete[i])
		ref, err := parseRef(written)
		if err != nil {
			c.phrase(at, err)
			continue
		}
		_, exists := now.objects[ref]
		switch line := now.deleted[ref]; {
		case ref == serviceRef(defaultNamespace, apiService) || ref == Ref{Kind: "Namespace", Name: defaultNamespace}:
			c.report(at, "", "%s is part of every cluster", ref)
		case exists:
			delete(now.objects, ref)
			now.deleted[ref] = c.at(step).line
		case line > 0:
			c.report(at, "", "%s was deleted already, on line %d", ref, line)
		default:
			c.report(at, Suggest(written, now.words(ref.Kind), "objects"), "%s does not exist at this step", ref)
		}
	}
}

// words are the objects of a kind, as delete writes them.
func (s *story) words(kind string) []string {
	var list []string
	for ref := range s.objects {
		if ref.Kind != kind || ref == serviceRef(defaultNamespace, apiService) || ref.Name == defaultNamespace {
			continue
		}
		list = append(list, strings.ToLower(kind)+"/"+strings.TrimPrefix(ref.String(), kind+" "))
	}
	slices.Sort(list)
	return list
}

// checkAction checks that the subject can do what is asked, and takes note.
func (c *checker) checkAction(step *Step, now *story) {
	start := step.Subject == SubjectStart
	at := c.at(&step.Subject)
	switch {
	case start && now.running && c.scenario.Subject.Start != StartByStep:
		c.report(at, "write subject: {start: by-step} at the top to start it only here, or restart", "the subject runs already")
	case start && now.running:
		c.report(at, "write restart, or stop or kill it before", "the subject runs already")
	case !start && !now.running:
		c.report(at, "write start", "the subject does not run at this step: it cannot %s", step.Subject)
	}
	now.running = start || step.Subject == SubjectRestart || step.Subject == SubjectSwap
	now.started = now.started || now.running
}

// labelError tells what is wrong with a label of a pod.
func labelError(key, value string) error {
	if problems := validation.IsQualifiedName(key); len(problems) > 0 {
		return fmt.Errorf("key %q: %s", key, problems[0])
	}
	if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
		return fmt.Errorf("value %q: %s", value, problems[0])
	}
	return nil
}
