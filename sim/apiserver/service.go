package apiserver

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proxyproof/sim/world"
)

// admitService does for a Service what the real API server does before it stores one: defaults, validation, and allocation of
// cluster addresses and node ports; what an update leaves out keeps its allocations.
func (s *Server) admitService(o, old *corev1.Service) error {
	if old != nil {
		keepAllocations(o, old)
		dropDependents(o, old)
	}
	s.defaultService(o)
	if errs := s.validateService(o, old); len(errs) > 0 {
		return apierrors.NewInvalid(serviceResource().gvk().GroupKind(), o.Name, errs)
	}
	if errs := s.alloc.allocate(o, old); len(errs) > 0 {
		return apierrors.NewInvalid(serviceResource().gvk().GroupKind(), o.Name, errs)
	}
	if old != nil {
		s.alloc.release(old, o)
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
// but the type is not told to clear the rest.
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
	if spec.Type == corev1.ServiceTypeExternalName && was.Type != spec.Type && spec.ClusterIP == was.ClusterIP {
		spec.ClusterIP, spec.ClusterIPs = "", nil
	}
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
func (s *Server) defaultService(o *corev1.Service) {
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
	external := spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer
	if external || len(spec.ExternalIPs) > 0 {
		if spec.ExternalTrafficPolicy == "" {
			spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
		}
	} else {
		spec.ExternalTrafficPolicy = ""
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		if spec.AllocateLoadBalancerNodePorts == nil {
			spec.AllocateLoadBalancerNodePorts = ptr.To(true)
		}
	} else {
		spec.AllocateLoadBalancerNodePorts, spec.LoadBalancerClass = nil, nil
	}
	if spec.Type != corev1.ServiceTypeExternalName {
		if spec.InternalTrafficPolicy == nil {
			spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
		}
		s.defaultFamilies(spec)
	}
}

// defaultFamilies decides the families of a Service from its policy and those of the cluster.
func (s *Server) defaultFamilies(spec *corev1.ServiceSpec) {
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
		spec.IPFamilies = []corev1.IPFamily{familyName(s.config.Families[0])}
	}
	dual := *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack
	for _, f := range s.config.Families {
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

// validateService reports what the real API server would refuse, in its words.
func (s *Server) validateService(o, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("spec")
	types := []string{"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}
	if !slices.Contains(types, string(o.Spec.Type)) {
		errs = append(errs, field.NotSupported(at.Child("type"), o.Spec.Type, types))
	}
	if o.Spec.Type != corev1.ServiceTypeLoadBalancer && len(o.Status.LoadBalancer.Ingress) > 0 {
		ingress := field.NewPath("status", "loadBalancer", "ingress")
		errs = append(errs, field.Forbidden(ingress, `may only be used when "spec.type" is LoadBalancer`))
	}
	if o.Spec.Type == corev1.ServiceTypeExternalName {
		if o.Spec.ExternalName == "" {
			errs = append(errs, field.Required(at.Child("externalName"), ""))
		}
		return errs
	}
	if len(o.Spec.Ports) == 0 && o.Spec.ClusterIP != corev1.ClusterIPNone {
		errs = append(errs, field.Required(at.Child("ports"), ""))
	}
	errs = append(errs, validatePorts(o, at.Child("ports"))...)
	if a := o.Spec.SessionAffinity; a != corev1.ServiceAffinityNone && a != corev1.ServiceAffinityClientIP {
		errs = append(errs, field.NotSupported(at.Child("sessionAffinity"), a, []string{"ClientIP", "None"}))
	}
	for i, ip := range o.Spec.ExternalIPs {
		if _, err := netip.ParseAddr(ip); err != nil {
			errs = append(errs, field.Invalid(at.Child("externalIPs").Index(i), ip, "must be a valid IP address"))
		}
	}
	for i, r := range o.Spec.LoadBalancerSourceRanges {
		if _, err := netip.ParsePrefix(r); err != nil {
			errs = append(errs, field.Invalid(at.Child("loadBalancerSourceRanges").Index(i), r, "must be a valid CIDR value"))
		}
	}
	if *o.Spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(s.config.Families) < 2 && o.Spec.ClusterIP != corev1.ClusterIPNone {
		errs = append(errs, field.Invalid(at.Child("ipFamilyPolicy"), *o.Spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range o.Spec.IPFamilies {
		if !slices.ContainsFunc(s.config.Families, func(have world.Family) bool { return familyName(have) == f }) {
			errs = append(errs, field.Invalid(at.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if old != nil && old.Spec.Type != corev1.ServiceTypeExternalName && old.Spec.ClusterIP != o.Spec.ClusterIP && old.Spec.ClusterIP != "" {
		errs = append(errs, field.Invalid(at.Child("clusterIPs").Index(0), o.Spec.ClusterIP, "may not change once set"))
	}
	return errs
}

func validatePorts(o *corev1.Service, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	names, ports := map[string]bool{}, map[string]bool{}
	for i, p := range o.Spec.Ports {
		where := at.Index(i)
		if p.Port < 1 || p.Port > 65535 {
			errs = append(errs, field.Invalid(where.Child("port"), p.Port, "must be between 1 and 65535, inclusive"))
		}
		if !slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, p.Protocol) {
			errs = append(errs, field.NotSupported(where.Child("protocol"), p.Protocol, []string{"SCTP", "TCP", "UDP"}))
		}
		if p.Name == "" && len(o.Spec.Ports) > 1 {
			errs = append(errs, field.Required(where.Child("name"), ""))
		}
		if p.Name != "" && names[p.Name] {
			errs = append(errs, field.Duplicate(where.Child("name"), p.Name))
		}
		pair := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if ports[pair] {
			errs = append(errs, field.Duplicate(where, pair))
		}
		if p.NodePort != 0 && !wantsNodePorts(o) && o.Spec.Type == corev1.ServiceTypeClusterIP {
			errs = append(errs, field.Forbidden(where.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
		}
		names[p.Name], ports[pair] = true, true
	}
	return errs
}
