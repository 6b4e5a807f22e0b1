package oracle

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// Whoever may create a Service may write any address into spec.externalIPs, and a load balancer may write any address into the status.
// docs/contract.md has the matrix: whose address × where it is written → must, may or must not, with the source of each cell.

// isSpecial tells that no Service can be reached at an address from outside of the node. The API refuses such external addresses
// (ValidateNonSpecialIP in k8s.io/kubernetes/pkg/apis/core/validation); it does not look at those in a status.
func isSpecial(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast()
}

// holder names the node or pods that an external or load balancer address already belongs to; "" for the addresses of this node and for
// all others. The API says so in the Node objects. A node that takes such an address for its own can no longer reach the holder:
// not at the Service's port only, but at all (kubernetes/kubernetes#75290, k3s-io/k3s#5000).
func (in Input) holder(a netip.Addr) string {
	for _, n := range in.Nodes {
		for _, own := range n.Status.Addresses {
			if b, err := netip.ParseAddr(own.Address); err == nil && b.Unmap() == a && n.Name != in.Node {
				return "an address of node " + n.Name
			}
		}
		if p, ok := podRange(n, a); ok {
			return fmt.Sprintf("an address of the pods of node %s (%s)", n.Name, p)
		}
	}
	return ""
}

// podRange is the range of a node's pods that an address is in.
func podRange(n *corev1.Node, a netip.Addr) (netip.Prefix, bool) {
	for _, text := range append([]string{n.Spec.PodCIDR}, n.Spec.PodCIDRs...) {
		if p, err := netip.ParsePrefix(text); err == nil && p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// expected tells whether a proxy has to serve an external or load balancer address. Outside of the ranges that it is configured with it may
// refuse to: kube-router does from v2.8.0 on (--strict-external-ip-validation), kube-proxy does not.
func (in Input) expected(kind Kind, a netip.Addr) bool {
	ranges := in.Ranges.Externals
	if kind == LoadBalancerIP {
		ranges = in.Ranges.LoadBalancers
	}
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return len(ranges) == 0
}

// isOwn tells that an address is on one of the node's own links, or in its Node object. It needs nobody to take it on, and to serve a Service
// there, or to keep a Service from the node's ports, is up to the proxy.
func (in Input) isOwn(a netip.Addr) bool {
	for _, addresses := range in.Addresses {
		for _, own := range addresses {
			if own == a {
				return true
			}
		}
	}
	for _, own := range in.Local {
		if own == a {
			return true
		}
	}
	return false
}
