package plan

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// holders knows the addresses that belong to other nodes and to pods. A Service can name them, as one of its external addresses or through a
// load balancer that writes node addresses into the status (k3s' ServiceLB). A node that put such an address on a link of its own could not
// reach the other node any more, the API server on it included (kubernetes/kubernetes#75290).
type holders struct {
	nodes map[netip.Addr]bool
	pods  []netip.Prefix
}

func newHolders(p Picture) holders {
	h := holders{nodes: map[netip.Addr]bool{}}
	for _, n := range p.Others {
		for _, address := range n.Status.Addresses {
			if a, err := netip.ParseAddr(address.Address); err == nil {
				h.nodes[a.Unmap()] = true
			}
		}
		h.addPods(n)
	}
	h.addPods(p.Node)
	return h
}

func (h *holders) addPods(n *corev1.Node) {
	for _, text := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			h.pods = append(h.pods, p)
		}
	}
}

// mayTakeOn tells whether the node may take on an external or load balancer address. Addresses that mean something on the node alone, or to
// many at once, are no Service's either; the API refuses those as external addresses, but does not look at a status.
func (p *Planner) mayTakeOn(text string) bool {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	a = a.Unmap()
	if p.holders.nodes[a] || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, pods := range p.holders.pods {
		if pods.Contains(a) {
			return false
		}
	}
	return true
}
