package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// owners tells to whom the cluster has given an address: as a cluster address, or as one of a load balancer. Whoever may create a
// Service may write any external address into it; what is another Service's he does not get (CVE-2020-8554).
type owners struct {
	of map[netip.Addr]map[types.NamespacedName]bool
	// has are the addresses of each Service, seeks those that it asks for.
	has, seeks map[types.NamespacedName][]netip.Addr
	// seekers are those that ask for an address.
	seekers map[netip.Addr]map[types.NamespacedName]bool
}

func newOwners() owners {
	return owners{
		of: map[netip.Addr]map[types.NamespacedName]bool{}, has: map[types.NamespacedName][]netip.Addr{},
		seeks: map[types.NamespacedName][]netip.Addr{}, seekers: map[netip.Addr]map[types.NamespacedName]bool{},
	}
}

// update takes in what became of a Service, and adds to affected those who ask for an address that has got or lost its owner.
func (o owners) update(object Object, affected map[types.NamespacedName]bool) {
	var has, seeks []netip.Addr
	if s := object.Service; s != nil {
		for _, text := range s.Spec.ClusterIPs {
			has = appendAddr(has, text)
		}
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
				has = appendAddr(has, ingress.IP)
			}
		}
		for _, text := range s.Spec.ExternalIPs {
			seeks = appendAddr(seeks, text)
		}
	}
	if !slices.Equal(has, o.has[object.Name]) {
		for _, a := range slices.Concat(has, o.has[object.Name]) {
			for name := range o.seekers[a] {
				affected[name] = true
			}
		}
	}
	move(o.of, o.has, object.Name, has)
	move(o.seekers, o.seeks, object.Name, seeks)
}

// move makes an index by address follow what a Service has.
func move(index map[netip.Addr]map[types.NamespacedName]bool, list map[types.NamespacedName][]netip.Addr, name types.NamespacedName, now []netip.Addr) {
	for _, a := range list[name] {
		if delete(index[a], name); len(index[a]) == 0 {
			delete(index, a)
		}
	}
	for _, a := range now {
		if index[a] == nil {
			index[a] = map[types.NamespacedName]bool{}
		}
		index[a][name] = true
	}
	if list[name] = now; len(now) == 0 {
		delete(list, name)
	}
}

// isAnothers tells that the cluster has given an address to another Service.
func (p *Planner) isAnothers(text string, by types.NamespacedName) bool {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	for name := range p.owners.of[a.Unmap()] {
		if name != by {
			return true
		}
	}
	return false
}

func appendAddr(list []netip.Addr, text string) []netip.Addr {
	if a, err := netip.ParseAddr(text); err == nil {
		return append(list, a.Unmap())
	}
	return list
}
