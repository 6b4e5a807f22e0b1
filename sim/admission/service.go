package admission

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proxyproof/sim/world"
)

// admitService does for a Service what the real API server does before it stores one: defaults, validation, and allocation of
// cluster addresses and node ports; what an update leaves out keeps its allocations.
func (a *Admission) admitService(o, old *corev1.Service) field.ErrorList {
	if old != nil {
		keepAllocations(o, old)
		dropDependents(o, old)
	}
	if errs := validateStack(o, old); len(errs) > 0 {
		return errs
	}
	a.defaultService(o)
	if errs := a.validateService(o, old); len(errs) > 0 {
		return errs
	}
	if errs := a.alloc.allocate(o, old); len(errs) > 0 {
		return errs
	}
	if old != nil {
		a.alloc.release(old, o)
	}
	return nil
}

// keepAllocations carries over what the client did not repeat.
func keepAllocations(o, old *corev1.Service) {
	spec, was := &o.Spec, &old.Spec
	if spec.Type == corev1.ServiceTypeExternalName || was.Type == corev1.ServiceTypeExternalName {
		return
	}
	if spec.ClusterIP == "" && len(spec.ClusterIPs) == 0 {
		spec.ClusterIP, spec.ClusterIPs = was.ClusterIP, slices.Clone(was.ClusterIPs)
		if spec.IPFamilyPolicy == nil {
			spec.IPFamilyPolicy = was.IPFamilyPolicy
		}
		if len(spec.IPFamilies) == 0 {
			spec.IPFamilies = slices.Clone(was.IPFamilies)
		}
	}
	if !wantsNodePorts(o) {
		return
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		for _, before := range was.Ports {
			if before.Port == p.Port && protocolOf(before) == protocolOf(*p) {
				p.NodePort = before.NodePort
			}
		}
	}
	if spec.HealthCheckNodePort == 0 && wantsHealthPort(o) {
		spec.HealthCheckNodePort = was.HealthCheckNodePort
	}
}

// dropDependents clears what only the old type needed, if the client has sent it back as it was: a client that changes nothing
// but the type is not asked to clear the rest. What it did change stays, to be refused.
func dropDependents(o, old *corev1.Service) {
	spec, was := &o.Spec, &old.Spec
	same := func(a, b corev1.ServicePort) bool { return a.NodePort == b.NodePort }
	if wantsNodePorts(old) && !wantsNodePorts(o) && slices.EqualFunc(spec.Ports, was.Ports, same) {
		for i := range spec.Ports {
			spec.Ports[i].NodePort = 0
		}
	}
	if wantsHealthPort(old) && !wantsHealthPort(o) && spec.HealthCheckNodePort == was.HealthCheckNodePort {
		spec.HealthCheckNodePort = 0
	}
	if isLoadBalancer(old) && !isLoadBalancer(o) {
		drop(&spec.AllocateLoadBalancerNodePorts, was.AllocateLoadBalancerNodePorts)
		drop(&spec.LoadBalancerClass, was.LoadBalancerClass)
	}
	if isExternal(old) && !isExternal(o) && spec.ExternalTrafficPolicy == was.ExternalTrafficPolicy {
		spec.ExternalTrafficPolicy = ""
	}
	if spec.Type != corev1.ServiceTypeExternalName || was.Type == spec.Type {
		return
	}
	if spec.ClusterIP == was.ClusterIP {
		spec.ClusterIP, spec.ClusterIPs = "", nil
	}
	if slices.Equal(spec.IPFamilies, was.IPFamilies) {
		spec.IPFamilies = nil
	}
	drop(&spec.IPFamilyPolicy, was.IPFamilyPolicy)
}

// drop clears a field that is as it was.
func drop[T comparable](value **T, was *T) {
	if ptr.Equal(*value, was) {
		*value = nil
	}
}

func isLoadBalancer(o *corev1.Service) bool { return o.Spec.Type == corev1.ServiceTypeLoadBalancer }

// isExternal reports whether a Service is reached from outside of the cluster.
func isExternal(o *corev1.Service) bool {
	return o.Spec.Type == corev1.ServiceTypeNodePort || isLoadBalancer(o) || o.Spec.Type == corev1.ServiceTypeClusterIP && len(o.Spec.ExternalIPs) > 0
}

func protocolOf(p corev1.ServicePort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

// wantsNodePorts tells whether a Service has node ports.
func wantsNodePorts(o *corev1.Service) bool {
	switch o.Spec.Type {
	case corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeLoadBalancer:
		return ptr.Deref(o.Spec.AllocateLoadBalancerNodePorts, true)
	}
	return false
}

func wantsHealthPort(o *corev1.Service) bool {
	return o.Spec.Type == corev1.ServiceTypeLoadBalancer && o.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

const defaultAffinityTimeout = 10800 // seconds

// defaultService fills in what the client left out.
func (a *Admission) defaultService(o *corev1.Service) {
	spec := &o.Spec
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	if spec.SessionAffinity == corev1.ServiceAffinityNone {
		spec.SessionAffinityConfig = nil
	} else if spec.SessionAffinityConfig == nil || spec.SessionAffinityConfig.ClientIP == nil || spec.SessionAffinityConfig.ClientIP.TimeoutSeconds == nil {
		spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](defaultAffinityTimeout)}}
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		p.Protocol = protocolOf(*p)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if isExternal(o) && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if isLoadBalancer(o) && spec.AllocateLoadBalancerNodePorts == nil {
		spec.AllocateLoadBalancerNodePorts = ptr.To(true)
	}
	if spec.Type != corev1.ServiceTypeExternalName {
		if spec.InternalTrafficPolicy == nil {
			spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
		}
		a.defaultFamilies(spec)
	}
}

// defaultFamilies decides the families of a Service from its policy and those of the cluster.
func (a *Admission) defaultFamilies(spec *corev1.ServiceSpec) {
	if spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		if len(spec.IPFamilies) == 2 || len(spec.ClusterIPs) == 2 {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		if spec.ClusterIP == corev1.ClusterIPNone && len(spec.Selector) == 0 {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		spec.IPFamilyPolicy = &policy
	}
	if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	if len(spec.IPFamilies) == 0 {
		for _, ip := range spec.ClusterIPs {
			if a, err := netip.ParseAddr(ip); err == nil {
				spec.IPFamilies = append(spec.IPFamilies, familyName(world.FamilyOf(a)))
			}
		}
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{familyName(a.config.Families[0])}
	}
	dual := *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack
	for _, f := range a.config.Families {
		if dual && !slices.Contains(spec.IPFamilies, familyName(f)) {
			spec.IPFamilies = append(spec.IPFamilies, familyName(f))
		}
	}
	if !dual {
		spec.IPFamilies = spec.IPFamilies[:1]
		if len(spec.ClusterIPs) > 1 {
			spec.ClusterIPs = spec.ClusterIPs[:1]
		}
	}
}

func familyName(f world.Family) corev1.IPFamily { return corev1.IPFamily(f.String()) }
