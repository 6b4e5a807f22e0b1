package defect

import (
	"errors"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

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
