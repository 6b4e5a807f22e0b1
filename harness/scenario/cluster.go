package scenario

import "slices"

// PodChange is what becomes of a pod.
type PodChange struct {
	// Name of the pod.
	Name string `yaml:"name"`
	// Becomes "ready" or "unready"; "terminating", which serves as long as it was ready; "gone", when its object is deleted. A pod
	// that is terminating or gone and becomes "ready" is a new one of the same name and address.
	Becomes PodState `yaml:"becomes,omitempty"`
	// Labels that it has from now on, instead of those before.
	Labels map[string]string `yaml:"labels,omitempty"`
}

// PodState is a state of a pod, as its endpoints see it.
type PodState string

// The pod states.
const (
	PodReady       PodState = "ready"
	PodUnready     PodState = "unready"
	PodTerminating PodState = "terminating"
	PodGone        PodState = "gone"
)

// NodeChange is what becomes of a node's link.
type NodeChange struct {
	// Name of the node, or, for replug, of a client.
	Name string `yaml:"name"`
	// Addresses is the number of global addresses per family that it has from now on: 1, or 2 if it began with 2.
	Addresses int `yaml:"addresses,omitempty"`
	// Replug: its cable is pulled out and put in again.
	Replug bool `yaml:"replug,omitempty"`
}

// Endpoints are those behind one port of a Service without a selector. They are set as a whole: what was set before is gone.
type Endpoints struct {
	// Service without a selector, "web" or "other/web".
	Service string `yaml:"service"`
	// Port of the Service, "80" or "53/udp"; it can be left out if the Service has only one.
	Port Port `yaml:"port,omitempty" json:"Port,omitzero"`
	// Ready endpoints: pods with a port, "pod(web-1):8080".
	Ready Names `yaml:"ready,omitempty"`
	// Unready ones.
	Unready Names `yaml:"unready,omitempty"`
	// Terminating ones, which still serve.
	Terminating Names `yaml:"terminating,omitempty"`
}

// Source is whose address a server sees.
type Source string

// The sources.
const (
	SourceClient Source = "client"
	SourceNode   Source = "node"
)

// Life is how a pod is at some moment of a scenario.
type Life struct {
	Pod
	Terminating bool
	Gone        bool
}

// LifeOf is the pod at the beginning.
func LifeOf(p Pod) Life { return Life{Pod: p} }

// After is the pod after a change.
func (l Life) After(change PodChange) Life {
	if l.Gone && change.Becomes != "" {
		l.Terminating, l.Gone = false, false
	}
	switch change.Becomes {
	case PodReady:
		l.Unready, l.Terminating = false, false
	case PodUnready:
		l.Unready = true
	case PodTerminating:
		l.Terminating = true
	case PodGone:
		l.Gone = true
	}
	if change.Labels != nil {
		l.Labels = change.Labels
	}
	return l
}

// State is the word for how the pod is.
func (l Life) State() PodState {
	switch {
	case l.Gone:
		return PodGone
	case l.Terminating:
		return PodTerminating
	case l.Unready:
		return PodUnready
	}
	return PodReady
}

// APIAction is what happens to the API server.
type APIAction string

// The API actions. The first four last until it is healed.
const (
	APIOutage      APIAction = "outage"
	APIBlackHole   APIAction = "black-hole"
	APISlow        APIAction = "slow"
	APIErrors      APIAction = "errors"
	APIDropWatches APIAction = "drop-watches"
	APIExpire      APIAction = "expire"
	APIHeal        APIAction = "heal"
)

// Lasts tells whether the action lasts until the API server is healed.
func (a APIAction) Lasts() bool {
	return a == APIOutage || a == APIBlackHole || a == APISlow || a == APIErrors
}

// Deafens tells whether the subject can learn nothing from the API server then.
func (a APIAction) Deafens() bool { return a.Lasts() && a != APISlow }

// Cuts tells whether nobody reaches the API server then.
func (a APIAction) Cuts() bool { return a == APIOutage || a == APIBlackHole }

// ChangesNodes tells whether steps change a node's kernel or links besides the subject.
func (s *Scenario) ChangesNodes() bool {
	return slices.ContainsFunc(s.Steps, func(step Step) bool { return len(step.Foreign)+len(step.Disturb)+len(step.Nodes) > 0 })
}

// Swaps tells whether the scenario needs a second build of the subject.
func (s *Scenario) Swaps() bool {
	return slices.ContainsFunc(s.Steps, func(step Step) bool { return step.Subject == SubjectSwap })
}
