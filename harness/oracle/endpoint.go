package oracle

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"proxyproof/sim/world"
)

// endpoint is one address and port behind a Service's port.
type endpoint struct {
	netip.AddrPort
	node string
	why  string
	// ready endpoints take traffic. Those that are going but still serve take it when no ready one exists (KEP-1669).
	ready, going bool
}

// endpoints lists all endpoints behind a claim, sorted, each once.
func (in Input) endpoints(s *corev1.Service, c claim) []endpoint {
	var all []endpoint
	for _, slice := range in.Slices {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Name || !holds(slice, c.Family()) {
			continue
		}
		for _, p := range slice.Ports {
			// A port without a number stands for all ports, which a virtual service cannot express.
			if p.Port != nil && value(p.Name, "") == c.port && protocolOf(value(p.Protocol, "")) == c.Protocol {
				all = append(all, endpointsOf(slice, uint16(*p.Port), s.Spec.PublishNotReadyAddresses)...)
			}
		}
	}
	// The same endpoint may be in several slices while the controller moves it: the better state counts.
	slices.SortFunc(all, func(a, b endpoint) int {
		return cmp.Or(a.AddrPort.Compare(b.AddrPort), rank(a)-rank(b), cmp.Compare(a.why, b.why))
	})
	return slices.CompactFunc(all, func(a, b endpoint) bool { return a.AddrPort == b.AddrPort })
}

// endpointsOf lists the endpoints of a slice with one of its ports. Only the first address of an endpoint has a meaning. A Service that
// publishes those that are not ready wants any indication of readiness to be disregarded.
func endpointsOf(slice *discoveryv1.EndpointSlice, port uint16, always bool) []endpoint {
	var all []endpoint
	for _, e := range slice.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		a, err := netip.ParseAddr(e.Addresses[0])
		if err != nil {
			continue
		}
		ready := always || value(e.Conditions.Ready, true)
		all = append(all, endpoint{
			AddrPort: netip.AddrPortFrom(a, port), node: value(e.NodeName, ""), why: describe(slice, e), ready: ready,
			going: value(e.Conditions.Terminating, false) && value(e.Conditions.Serving, ready),
		})
	}
	return all
}

// usable are the endpoints that traffic goes to: the ready ones, or without any those that are going.
func usable(all []endpoint) []endpoint {
	var ready, going []endpoint
	for _, e := range all {
		if e.ready {
			ready = append(ready, e)
		} else if e.going {
			going = append(going, e)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return going
}

// rank orders states, best first.
func rank(e endpoint) int {
	switch {
	case e.ready:
		return 0
	case e.going:
		return 1
	}
	return 2
}

func destsOf(endpoints []endpoint) []Dest {
	var dests []Dest
	for _, e := range endpoints {
		dests = append(dests, Dest{e.AddrPort, e.why})
	}
	return dests
}

func holds(slice *discoveryv1.EndpointSlice, f world.Family) bool {
	return slice.AddressType == discoveryv1.AddressTypeIPv4 && f == world.IPv4 ||
		slice.AddressType == discoveryv1.AddressTypeIPv6 && f == world.IPv6
}

// describe is "pod web-1 on worker of EndpointSlice default/example-x7k2p".
func describe(slice *discoveryv1.EndpointSlice, e discoveryv1.Endpoint) string {
	who := "endpoint"
	if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
		who = "pod " + e.TargetRef.Name
	}
	if e.NodeName != nil {
		who += " on " + *e.NodeName
	}
	return fmt.Sprintf("%s of EndpointSlice %s/%s", who, slice.Namespace, slice.Name)
}

// value is what a pointer points to, or the default.
func value[T any](p *T, unset T) T {
	if p == nil {
		return unset
	}
	return *p
}
