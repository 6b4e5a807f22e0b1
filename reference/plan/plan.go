package plan

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Picture is what the proxy knows of the cluster. Its objects are not changed.
type Picture struct {
	Node     *corev1.Node
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
}

// Facts are what the proxy knows of the machine, and how it was told to behave.
type Facts struct {
	// Local are the addresses of all links that are not the proxy's or another container tool's.
	Local         []netip.Addr
	MasqueradeAll bool
}

const (
	proxyNameLabel      = "service.kubernetes.io/service-proxy-name"
	schedulerAnnotation = "kube-router.io/service.scheduler"
	defaultScheduler    = "rr"
	defaultAffinity     = 10800 // seconds, Kubernetes' default
)

var schedulers = map[string]bool{"rr": true, "lc": true, "dh": true, "sh": true, "mh": true}

// Plan decides.
func Plan(p Picture, f Facts) State { return NewPlanner(p, f).State() }

// older orders Services by age, then by name.
func older(a, b *corev1.Service) int {
	switch {
	case a.CreationTimestamp.Before(&b.CreationTimestamp):
		return -1
	case b.CreationTimestamp.Before(&a.CreationTimestamp):
		return 1
	case a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name:
		return -1
	}
	return 1
}

// NodeIPs are the first internal addresses of a Node, by family.
func NodeIPs(node *corev1.Node) map[Family]netip.Addr {
	ips := map[Family]netip.Addr{}
	if node == nil {
		return ips
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, address := range node.Status.Addresses {
			a, err := netip.ParseAddr(address.Address)
			if address.Type != kind || err != nil {
				continue
			}
			if a = a.Unmap(); !ips[FamilyOf(a)].IsValid() {
				ips[FamilyOf(a)] = a
			}
		}
	}
	return ips
}

// served tells whether a Service is this proxy's to serve.
func served(s *corev1.Service) bool {
	return s.Labels[proxyNameLabel] == "" && s.Spec.Type != corev1.ServiceTypeExternalName &&
		s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone && s.DeletionTimestamp == nil
}

// target is a Service that is being planned.
type target struct {
	state   *State
	service *corev1.Service
	slices  []*discoveryv1.EndpointSlice
	nodeIPs map[Family]netip.Addr
	node    string
}

// plan adds all virtual services of the Service.
func (t target) plan() {
	spec := &t.service.Spec
	internal := spec.InternalTrafficPolicy != nil && *spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	external := spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	for _, port := range spec.Ports {
		for _, ip := range spec.ClusterIPs {
			t.vip(ip, port, internal)
		}
		for _, ip := range spec.ExternalIPs {
			t.vip(ip, port, external)
		}
		for _, ingress := range t.service.Status.LoadBalancer.Ingress {
			if spec.Type == corev1.ServiceTypeLoadBalancer && (ingress.IPMode == nil || *ingress.IPMode == corev1.LoadBalancerIPModeVIP) {
				t.vip(ingress.IP, port, external)
			}
		}
		t.nodePort(port, external)
	}
}

// vip serves a port on an address that the node takes on, unless it is a node's own.
func (t target) vip(text string, port corev1.ServicePort, local bool) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return
	}
	a = a.Unmap()
	source := t.nodeIPs[FamilyOf(a)]
	if !source.IsValid() || t.state.LocalIPs[a] {
		return
	}
	if t.add(a, uint16(port.Port), port, local) {
		t.state.VIPs[a] = source
	}
}

// nodePort serves a port on the node's address of each family that the Service has.
func (t target) nodePort(port corev1.ServicePort, local bool) {
	if port.NodePort == 0 {
		return
	}
	for _, family := range t.service.Spec.IPFamilies {
		f := IPv4
		if family == corev1.IPv6Protocol {
			f = IPv6
		}
		if a := t.nodeIPs[f]; a.IsValid() {
			t.add(a, uint16(port.NodePort), port, local)
		}
	}
}

// add plans one virtual service. With a policy that wants local endpoints only and none there, the address is not served.
func (t target) add(a netip.Addr, number uint16, port corev1.ServicePort, local bool) bool {
	protocol, ok := map[corev1.Protocol]Protocol{"": TCP, corev1.ProtocolTCP: TCP, corev1.ProtocolUDP: UDP}[port.Protocol]
	if !ok {
		return false
	}
	key := Service{a, number, protocol}
	if _, taken := t.state.Services[key]; taken {
		return false
	}
	dests := t.dests(FamilyOf(a), port, local)
	if local && len(dests) == 0 {
		return false
	}
	t.state.Services[key] = Virtual{Scheduler: t.scheduler(), Affinity: t.affinity(), Dests: dests}
	return true
}

func (t target) scheduler() string {
	if name := t.service.Annotations[schedulerAnnotation]; schedulers[name] {
		return name
	}
	return defaultScheduler
}

func (t target) affinity() uint32 {
	if t.service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := t.service.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return uint32(*c.ClientIP.TimeoutSeconds)
	}
	return defaultAffinity
}

// dests are the endpoints that serve a port: the ready ones, or, if there are none, those that terminate but still serve
// (KEP-1669).
func (t target) dests(f Family, port corev1.ServicePort, local bool) map[Dest]bool {
	ready, serving := map[Dest]bool{}, map[Dest]bool{}
	for _, slice := range t.slices {
		if (slice.AddressType == discoveryv1.AddressTypeIPv4) != (f == IPv4) || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for _, number := range slicePorts(slice, port) {
			for _, endpoint := range slice.Endpoints {
				if local && (endpoint.NodeName == nil || *endpoint.NodeName != t.node) {
					continue
				}
				t.sort(endpoint, number, ready, serving)
			}
		}
	}
	if len(ready) == 0 {
		return serving
	}
	return ready
}

// sort puts an endpoint where it belongs.
func (t target) sort(e discoveryv1.Endpoint, port uint16, ready, serving map[Dest]bool) {
	into := ready
	switch c := e.Conditions; {
	case c.Ready == nil || *c.Ready:
	case t.service.Spec.PublishNotReadyAddresses:
	case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
		into = serving
	default:
		return
	}
	for _, text := range e.Addresses {
		if a, err := netip.ParseAddr(text); err == nil {
			into[Dest{a.Unmap(), port}] = true
		}
	}
}

// slicePorts are the numbers under which a slice has a Service's port: by name, as the endpoint controller resolved it.
func slicePorts(slice *discoveryv1.EndpointSlice, port corev1.ServicePort) []uint16 {
	var numbers []uint16
	for _, p := range slice.Ports {
		name, protocol := "", corev1.ProtocolTCP
		if p.Name != nil {
			name = *p.Name
		}
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		if want := port.Protocol; p.Port != nil && name == port.Name && (protocol == want || want == "" && protocol == corev1.ProtocolTCP) {
			numbers = append(numbers, uint16(*p.Port))
		}
	}
	return numbers
}
