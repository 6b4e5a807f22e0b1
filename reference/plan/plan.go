package plan

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Picture is what the proxy knows of the cluster. Its objects are not changed.
type Picture struct {
	// Node is the proxy's own, Others are all the others.
	Node     *corev1.Node
	Others   []*corev1.Node
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
}

// Facts are what the proxy knows of the machine, and how it was told to behave.
type Facts struct {
	// Local are the addresses of all links that are not the proxy's or another container tool's.
	Local         []netip.Addr
	MasqueradeAll bool
	// NodePortsOnAll: node ports are served on all addresses of the node, not only on the first of each family.
	NodePortsOnAll bool
}

const (
	proxyNameLabel      = "service.kubernetes.io/service-proxy-name"
	schedulerAnnotation = "kube-router.io/service.scheduler"
	defaultScheduler    = "rr"
	defaultAffinity     = 10800 // seconds, Kubernetes' default
)

var protocols = map[corev1.Protocol]Protocol{"": TCP, corev1.ProtocolTCP: TCP, corev1.ProtocolUDP: UDP, corev1.ProtocolSCTP: SCTP}

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
	for _, label := range []string{proxyNameLabel, corev1.IsHeadlessService} {
		if _, others := s.Labels[label]; others {
			return false
		}
	}
	return s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone && s.DeletionTimestamp == nil
}

// target is a Service that is being planned.
type target struct {
	*Planner
	wish *wish
	Object
}

// plan adds all virtual services of the Service.
func (t target) plan() {
	spec := &t.Service.Spec
	internal := spec.InternalTrafficPolicy != nil && *spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	external := spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	for _, port := range spec.Ports {
		for _, ip := range spec.ClusterIPs {
			t.vip(ip, port, internal)
		}
		for _, ip := range spec.ExternalIPs {
			if !t.isAnothers(ip, t.Name) && t.mayTakeOn(ip) {
				t.vip(ip, port, external)
			}
		}
		for _, ingress := range t.Service.Status.LoadBalancer.Ingress {
			if spec.Type == corev1.ServiceTypeLoadBalancer && (ingress.IPMode == nil || *ingress.IPMode == corev1.LoadBalancerIPModeVIP) && t.mayTakeOn(ingress.IP) {
				t.vip(ingress.IP, port, external)
			}
		}
		t.nodePort(port, external)
	}
	t.health()
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
		t.wish.vips[a] = source
	}
}

// nodePort serves a port on the node's address of each family that the Service has, or on all of them.
func (t target) nodePort(port corev1.ServicePort, local bool) {
	if port.NodePort == 0 {
		return
	}
	for _, family := range t.Service.Spec.IPFamilies {
		for _, a := range t.nodePortIPs[familyNamed(family)] {
			t.add(a, uint16(port.NodePort), port, local)
		}
	}
}

func familyNamed(f corev1.IPFamily) Family {
	if f == corev1.IPv6Protocol {
		return IPv6
	}
	return IPv4
}

// add plans one virtual service. With a policy that wants local endpoints only and none there, the address is not served.
func (t target) add(a netip.Addr, number uint16, port corev1.ServicePort, local bool) bool {
	protocol, ok := protocols[port.Protocol]
	if !ok {
		return false
	}
	key := Service{a, number, protocol}
	if _, taken := t.wish.services[key]; taken {
		return false
	}
	dests := t.dests(FamilyOf(a), port, local)
	if local && len(dests) == 0 {
		return false
	}
	t.wish.services[key] = Virtual{Scheduler: t.scheduler(), Affinity: t.affinity(), Dests: dests}
	return true
}

func (t target) scheduler() string {
	if name := t.Service.Annotations[schedulerAnnotation]; schedulers[name] {
		return name
	}
	return defaultScheduler
}

func (t target) affinity() uint32 {
	if t.Service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := t.Service.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return uint32(*c.ClientIP.TimeoutSeconds)
	}
	return defaultAffinity
}

// dests are the endpoints that serve a port: the ready ones, or, if there are none, those that terminate but still serve
// (KEP-1669).
func (t target) dests(f Family, port corev1.ServicePort, local bool) map[Dest]bool {
	ready, serving := map[Dest]bool{}, map[Dest]bool{}
	for _, slice := range t.Slices {
		if (slice.AddressType == discoveryv1.AddressTypeIPv4) != (f == IPv4) || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for _, number := range slicePorts(slice, port) {
			for _, endpoint := range slice.Endpoints {
				if !local || t.isHere(endpoint) {
					t.sort(endpoint, number, ready, serving)
				}
			}
		}
	}
	if len(ready) == 0 {
		return serving
	}
	return ready
}

// isHere tells whether an endpoint is on this node.
func (t target) isHere(e discoveryv1.Endpoint) bool {
	return e.NodeName != nil && *e.NodeName == t.node
}

// health counts the endpoints that a health-check node port tells of: those here that are ready, of the Service's first family.
func (t target) health() {
	spec := &t.Service.Spec
	if spec.HealthCheckNodePort == 0 || len(spec.IPFamilies) == 0 || len(spec.Ports) == 0 {
		return
	}
	ready := map[netip.Addr]bool{}
	for _, port := range spec.Ports {
		for _, slice := range t.Slices {
			if slice.AddressType != discoveryv1.AddressType(spec.IPFamilies[0]) || len(slicePorts(slice, port)) == 0 {
				continue
			}
			for _, e := range slice.Endpoints {
				here := map[Dest]bool{}
				if t.isHere(e) {
					t.sort(e, 0, here, map[Dest]bool{})
				}
				for d := range here {
					ready[d.Address] = true
				}
			}
		}
	}
	t.wish.health = map[uint16]Health{uint16(spec.HealthCheckNodePort): {t.Name, len(ready)}}
}

// sort puts an endpoint where it belongs.
func (t target) sort(e discoveryv1.Endpoint, port uint16, ready, serving map[Dest]bool) {
	into := ready
	switch c := e.Conditions; {
	case c.Ready == nil || *c.Ready:
	case t.Service.Spec.PublishNotReadyAddresses:
	case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
		into = serving
	default:
		return
	}
	for _, text := range e.Addresses {
		if a, err := netip.ParseAddr(text); err == nil {
			into[Dest{a.Unmap(), port}] = true
			if t.isHere(e) {
				t.wish.here[Dest{a.Unmap(), port}] = true
			}
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
