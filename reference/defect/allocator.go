package defect

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"proxyproof/reference/allocate"
	"proxyproof/reference/proxy"
)

// addressGivenTwice chooses for each Service by itself, as kube-router does: its allocator sees only what has come back from the API
// server, and goes on to the next Service before it has written the address of the last.
var addressGivenTwice = Defect{
	Name:     "lb-address-given-twice",
	Issue:    "cloudnativelabs/kube-router#1501",
	Summary:  "Services that come at the same time get the same load balancer address",
	Findings: []string{"lb-address-duplicate"},
	When:     "wherever several Services wait for an address",
	Wrap: proxy.Middleware{Choice: func(choose allocate.Choice) allocate.Choice {
		return func(services []*corev1.Service, ranges []netip.Prefix) ([]allocate.Change, error) {
			given := func(s *corev1.Service) bool { return len(s.Status.LoadBalancer.Ingress) > 0 }
			var all []allocate.Change
			var errs []error
			for _, s := range services {
				if given(s) {
					continue
				}
				known := append(slices.DeleteFunc(slices.Clone(services), func(o *corev1.Service) bool { return !given(o) }), s)
				changes, err := choose(known, ranges)
				all, errs = append(all, changes...), append(errs, err)
			}
			return all, errors.Join(errs...)
		}
	}},
}

// requestIgnored gives any address, as kube-router does.
var requestIgnored = Defect{
	Name:     "requested-address-ignored",
	Issue:    "cloudnativelabs/kube-router#1835",
	Summary:  "loadBalancerIP of a Service is not heeded",
	Findings: []string{"lb-address-wrong"},
	When:     "wherever a Service asks for an address that is not the next free one",
	Wrap: proxy.Middleware{Choice: func(choose allocate.Choice) allocate.Choice {
		return func(services []*corev1.Service, ranges []netip.Prefix) ([]allocate.Change, error) {
			wishless := make([]*corev1.Service, len(services))
			for i, s := range services {
				wishless[i] = s.DeepCopy()
				wishless[i].Spec.LoadBalancerIP = ""
			}
			changes, err := choose(wishless, ranges)
			for i, c := range changes {
				changes[i].Service = services[slices.Index(wishless, c.Service)]
			}
			return changes, err
		}
	}},
}

// addressChangesOnUpdate did away with the address before it looked whether the update asks for that, as the load balancer of Azure did.
var addressChangesOnUpdate = Defect{
	Name:     "lb-address-changes-on-update",
	Issue:    "kubernetes/kubernetes#66424",
	Summary:  "an update of a Service that says nothing of its address gives it another one",
	Findings: []string{"touch-changed-state"},
	Perturb:  []string{"touch"},
	When:     "wherever a Service with a load balancer address is annotated",
	Wrap: proxy.Middleware{Choice: func(choose allocate.Choice) allocate.Choice {
		seen := map[types.UID]map[string]string{}
		return func(services []*corev1.Service, ranges []netip.Prefix) ([]allocate.Change, error) {
			asked := slices.Clone(services)
			for i, s := range services {
				before, known := seen[s.UID]
				seen[s.UID] = s.Annotations
				if known && !maps.Equal(before, s.Annotations) {
					asked[i] = s.DeepCopy()
					asked[i].Status.LoadBalancer.Ingress = nil
					asked = append(asked, s) // nobody gets what it has
				}
			}
			changes, err := choose(asked, ranges)
			for i, c := range changes {
				if of := slices.Index(asked, c.Service); of < len(services) {
					changes[i].Service = services[of]
				}
			}
			return changes, err
		}
	}},
}
