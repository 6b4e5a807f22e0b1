// Package admission is what an API server does to an object before it stores it: defaults, validation, and the allocation of
// cluster addresses and node ports. It keeps no objects and serves no requests, so that a scenario's manifests can be checked by
// the API server's own rules before there is an API server.
package admission

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proxyproof/sim/world"
)

// Config is what admission depends on in a cluster.
type Config struct {
	Families     []world.Family // first is primary
	ServiceCIDRs map[world.Family]netip.Prefix
	NodePorts    [2]uint16 // inclusive; zero means 30000–32767
	// Seed decides every allocation.
	Seed uint64
}

// Admission holds what the Services of one cluster have been given. It is not safe for concurrent use.
type Admission struct {
	config Config
	alloc  *allocator
}

// New is the admission of an empty cluster.
func New(c Config) *Admission {
	if c.NodePorts == [2]uint16{} {
		c.NodePorts = [2]uint16{30000, 32767}
	}
	return &Admission{config: c, alloc: newAllocator(c)}
}

// Create completes and checks a new object in place. If it is refused, nothing stays allocated.
func (a *Admission) Create(o runtime.Object) field.ErrorList { return a.admit(o, nil) }

// Update completes and checks an object in place that is to replace old. Merge comes before it where only a part is written.
func (a *Admission) Update(o, old runtime.Object) field.ErrorList { return a.admit(o, old) }

func (a *Admission) admit(o, old runtime.Object) field.ErrorList {
	if service, ok := o.(*corev1.Service); ok {
		was, _ := old.(*corev1.Service)
		return a.admitService(service, was)
	}
	Default(o)
	switch o := o.(type) {
	case *discoveryv1.EndpointSlice:
		was, _ := old.(*discoveryv1.EndpointSlice)
		return validateSlice(o, was)
	case *networkingv1.NetworkPolicy:
		return validatePolicy(o)
	case *corev1.Namespace:
		return validateNamespace(o)
	}
	return nil
}

// Release gives back what a deleted object had been given.
func (a *Admission) Release(o runtime.Object) {
	if service, ok := o.(*corev1.Service); ok {
		a.alloc.release(service, nil)
	}
}

// Merge is the object that a write to one of two endpoints stores: with status, the status of o and everything else of old; without,
// the reverse. Objects without a status endpoint are stored whole and need no merging.
func Merge(o, old runtime.Object, status bool) runtime.Object {
	from, to := old.DeepCopyObject(), o
	if status {
		from, to = o, old.DeepCopyObject()
	}
	switch to := to.(type) {
	case *corev1.Service:
		to.Status = from.(*corev1.Service).Status
		if !status && to.Spec.Type != corev1.ServiceTypeLoadBalancer { // a real API server wipes it with any other write
			to.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		}
	case *corev1.Node:
		to.Status = from.(*corev1.Node).Status
	case *corev1.Pod:
		to.Status = from.(*corev1.Pod).Status
	case *corev1.Namespace:
		to.Status = from.(*corev1.Namespace).Status
	}
	return to
}

// FamilyOf is the family that a Service's spec names.
func FamilyOf(f corev1.IPFamily) world.Family {
	if f == corev1.IPv6Protocol {
		return world.IPv6
	}
	return world.IPv4
}
