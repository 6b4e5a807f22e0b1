package oracle

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/sim/world"
)

// claim is an address and port that a Service asks to be served at.
type claim struct {
	Key
	kind     Kind
	required bool
	// holder names who has the address already; "" if a node may take it on.
	holder string
	// port is the name of the Service's port, by which slices refer to it.
	port string
}

// claims lists everything that a Service asks for on this node, whatever its traffic policies.
func (in Input) claims(s *corev1.Service) []claim {
	var all []claim
	for _, p := range s.Spec.Ports {
		add := func(kind Kind, text string) {
			a, err := netip.ParseAddr(text)
			if err != nil || !in.serves(world.FamilyOf(a)) || kind == ExternalIP && in.isTaken(a, s) {
				return
			}
			// Endpoints exist only in the Service's own families. What becomes of an address of another one is not defined.
			c := claim{
				Key: Key{a, protocolOf(p.Protocol), uint16(p.Port)}, kind: kind, required: slices.Contains(familiesOf(s), world.FamilyOf(a)), port: p.Name,
			}
			if kind != ClusterIP {
				if isSpecial(a) {
					return
				}
				c.holder = in.holder(a)
				c.required = c.required && c.holder == "" && !in.isOwn(a) && in.expected(kind, a)
			}
			all = append(all, c)
		}
		for _, text := range clusterIPs(s) {
			add(ClusterIP, text)
		}
		for _, text := range s.Spec.ExternalIPs {
			add(ExternalIP, text)
		}
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			for _, ingress := range s.Status.LoadBalancer.Ingress {
				// KEP-1860: with mode Proxy the balancer delivers to the node or the pod, and the node does not bind the address.
				if value(ingress.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
					add(LoadBalancerIP, ingress.IP)
				}
			}
		}
		all = append(all, in.nodePorts(s, p)...)
	}
	return all
}

// isTaken tells that the cluster has given an address to another Service. Whoever may create a Service may write any external address
// into it, and must not get hold of what others send there (CVE-2020-8554).
func (in Input) isTaken(a netip.Addr, by *corev1.Service) bool {
	is := func(text string) bool { b, err := netip.ParseAddr(text); return err == nil && a == b }
	return slices.ContainsFunc(in.Services, func(s *corev1.Service) bool {
		if s.Namespace == by.Namespace && s.Name == by.Name {
			return false
		}
		return slices.ContainsFunc(clusterIPs(s), is) || slices.ContainsFunc(s.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool { return is(i.IP) })
	})
}

// nodePorts lists the node's addresses at which a node port may be served. Kubernetes lets proxies choose among the addresses
// of a node; the contract wants the primary one, or all if the proxy is told so.
func (in Input) nodePorts(s *corev1.Service, p corev1.ServicePort) []claim {
	if p.NodePort == 0 || s.Spec.Type != corev1.ServiceTypeNodePort && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	var all []claim
	for _, f := range in.Families {
		if !slices.Contains(familiesOf(s), f) {
			continue
		}
		for i, a := range in.Addresses[f] {
			required := i == 0 && (in.NodePortsPerFamily || f == in.Families[0]) || in.Options.NodePortsOnAllAddresses
			all = append(all, claim{Key: Key{a, protocolOf(p.Protocol), uint16(p.NodePort)}, kind: NodePort, required: required, port: p.Name})
		}
		for _, a := range in.Local {
			if in.Options.NodePortsOnAllAddresses && world.FamilyOf(a) == f && !slices.Contains(in.Addresses[f], a) {
				all = append(all, claim{Key: Key{a, protocolOf(p.Protocol), uint16(p.NodePort)}, kind: NodePort, port: p.Name})
			}
		}
	}
	return all
}

// serves tells whether a family is served on this node.
func (in Input) serves(f world.Family) bool {
	return slices.Contains(in.Families, f) && len(in.Addresses[f]) > 0
}

func clusterIPs(s *corev1.Service) []string {
	if len(s.Spec.ClusterIPs) > 0 {
		return s.Spec.ClusterIPs
	}
	return []string{s.Spec.ClusterIP}
}

// familiesOf are the families in which a Service has endpoints.
func familiesOf(s *corev1.Service) []world.Family {
	var all []world.Family
	for _, f := range s.Spec.IPFamilies {
		switch f {
		case corev1.IPv4Protocol:
			all = append(all, world.IPv4)
		case corev1.IPv6Protocol:
			all = append(all, world.IPv6)
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, text := range clusterIPs(s) {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, world.FamilyOf(a))
		}
	}
	return all
}

// protocolOf: a port without a protocol is a TCP port.
func protocolOf(p corev1.Protocol) world.Protocol {
	if p == "" {
		return world.TCP
	}
	return world.Protocol(p)
}

func keysOf(claims []claim) []Key {
	keys := make([]Key, len(claims))
	for i, c := range claims {
		keys[i] = c.Key
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}
