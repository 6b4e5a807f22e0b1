package defect

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"proxyproof/reference/apply"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// misreadSlices makes the proxy plan from other endpoints than the API has.
func misreadSlices(change func(*corev1.Service, *discoveryv1.EndpointSlice)) proxy.Middleware {
	return proxy.Middleware{Object: func(o plan.Object) plan.Object {
		if o.Service == nil {
			return o
		}
		o.Slices = slices.Clone(o.Slices)
		for i, s := range o.Slices {
			o.Slices[i] = s.DeepCopy()
			change(o.Service, o.Slices[i])
		}
		return o
	}}
}

// terminatingDropped is how every proxy was before KEP-1669: the last endpoint of a node was lost with the pod that goes.
var terminatingDropped = Defect{
	Name:     "terminating-endpoints-dropped",
	Issue:    "kubernetes/kubernetes#85643",
	Summary:  "endpoints that terminate get nothing, even if there are no others",
	Findings: []string{"ipvs-dest-missing", "ipvs-service-missing", "vip-address-missing", "reach-failed"},
	When: "wherever a Service has only endpoints that terminate and still serve; ipvs-service-missing and vip-address-missing where a Local policy " +
		"rules the address",
	Wrap: misreadSlices(func(_ *corev1.Service, slice *discoveryv1.EndpointSlice) {
		slice.Endpoints = slices.DeleteFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return ptr.Deref(e.Conditions.Terminating, false) })
	}),
}

// servingBesideReady is kube-router since v2.1: whatever serves is used, also if others are ready.
var servingBesideReady = Defect{
	Name:     "terminating-endpoints-beside-ready-ones",
	Issue:    "kubernetes/kubernetes#128479",
	Summary:  "endpoints that terminate and still serve get connections beside those that are ready",
	Findings: []string{"ipvs-dest-unjustified", "wrong-backend"},
	When:     "wherever a Service has both; wrong-backend where a connection is led there",
	Wrap: misreadSlices(func(_ *corev1.Service, slice *discoveryv1.EndpointSlice) {
		for i := range slice.Endpoints {
			if c := &slice.Endpoints[i].Conditions; ptr.Deref(c.Serving, false) {
				c.Ready = ptr.To(true)
			}
		}
	}),
}

// onlyFirstSlice reads endpoints as if there were one object of them, as there was before EndpointSlices.
var onlyFirstSlice = Defect{
	Name:     "only-one-slice-read",
	Issue:    "cloudnativelabs/kube-router#824",
	Summary:  "only one EndpointSlice of a Service and family is read",
	Findings: []string{"ipvs-dest-missing", "backend-unused", "reach-failed"},
	When:     "wherever a Service has several; backend-unused and reach-failed where a connection is expected to be led to an endpoint of another one",
	Wrap: proxy.Middleware{Object: func(o plan.Object) plan.Object {
		sorted, seen := slices.SortedFunc(slices.Values(o.Slices), func(a, b *discoveryv1.EndpointSlice) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}), map[discoveryv1.AddressType]bool{}
		o.Slices = slices.DeleteFunc(sorted, func(s *discoveryv1.EndpointSlice) bool {
			again := seen[s.AddressType]
			seen[s.AddressType] = true
			return again
		})
		return o
	}},
}

// stalePortOfEndpoint told endpoints apart by their addresses alone, until kube-router v1.0.
var stalePortOfEndpoint = Defect{
	Name:     "stale-port-of-endpoint",
	Issue:    "cloudnativelabs/kube-router#841",
	Summary:  "when an endpoint gets another port, the old destination stays beside the new one",
	Findings: []string{"ipvs-dest-unjustified", "restart-changed-state"},
	Perturb:  []string{"restart"},
	When:     "wherever the port of an endpoint changes while its address stays; restart-changed-state at a restart after that, which forgets the old one",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return portsForgotten{w, map[plan.Service]map[plan.Dest]bool{}} }},
}

type portsForgotten struct {
	apply.Writer
	dests map[plan.Service]map[plan.Dest]bool
}

func (w portsForgotten) AddDest(s plan.Service, d plan.Dest) error {
	if w.dests[s] == nil {
		w.dests[s] = map[plan.Dest]bool{}
	}
	w.dests[s][d] = true
	return w.Writer.AddDest(s, d)
}

// isElsewhere tells that an endpoint has another port by now.
func (w portsForgotten) isElsewhere(s plan.Service, d plan.Dest) bool {
	for other := range w.dests[s] {
		if other.Address == d.Address && other.Port != d.Port {
			return true
		}
	}
	return false
}

func (w portsForgotten) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	if weight == 0 && w.isElsewhere(s, d) {
		return nil
	}
	return w.Writer.WeighDest(s, d, weight)
}

func (w portsForgotten) DeleteDest(s plan.Service, d plan.Dest) error {
	if w.isElsewhere(s, d) {
		return nil
	}
	delete(w.dests[s], d)
	return w.Writer.DeleteDest(s, d)
}

// hairpinMissing is how kube-router was in its first weeks, and is unless it is told otherwise.
var hairpinMissing = Defect{
	Name:     "hairpin-missing",
	Issue:    "cloudnativelabs/kube-router#9",
	Summary:  "an endpoint that is led back to itself gets its own address as the client's",
	Findings: []string{"reach-failed"},
	When:     "where a pod is expected to reach itself through a Service",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return hairpinsLost{w} }},
}

type hairpinsLost struct{ apply.Writer }

func (w hairpinsLost) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if s == apply.Hairpins {
		return nil
	}
	return w.Writer.AddMembers(s, f, members)
}

func (w hairpinsLost) DeleteMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if s == apply.Hairpins {
		return nil
	}
	return w.Writer.DeleteMembers(s, f, members)
}

// hairpinMask32 wrote the mask of an IPv4 host behind every address, in kube-router v2.0 and v2.1.
var hairpinMask32 = Defect{
	Name:     "hairpin-mask-32-for-ipv6",
	Issue:    "cloudnativelabs/kube-router#1696",
	Summary:  "the rule for an IPv6 endpoint that is led back to itself has the source mask /32, which is that of the whole cluster",
	Findings: []string{"firewall-mask-wrong", "wrong-source"},
	When:     "wherever an IPv6 endpoint is on the node; wrong-source where another pod is expected to be seen as who it is",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return maskTooShort{w} }},
}

type maskTooShort struct{ apply.Writer }

func (w maskTooShort) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if err := w.Writer.AddMembers(s, f, members); err != nil || s != apply.Hairpins {
		return err
	}
	return w.rules("-A", f, members)
}

func (w maskTooShort) DeleteMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if err := w.Writer.DeleteMembers(s, f, members); err != nil || s != apply.Hairpins {
		return err
	}
	return w.rules("-D", f, members)
}

func (w maskTooShort) rules(verb string, f plan.Family, members []apply.Member) error {
	if f == plan.IPv4 {
		return nil
	}
	for _, m := range members {
		rule := " -s " + m.Address.String() + "/32 -d " + m.Address.String() + "/128 -m ipvs --ipvs -p " + m.Protocol.String() + " -j MASQUERADE"
		if err := iptables(f, "-t nat "+verb+" KUBE-ROUTER-HAIRPIN"+rule); err != nil {
			return err
		}
	}
	return nil
}
