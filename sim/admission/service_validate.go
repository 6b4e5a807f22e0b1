package admission

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proxyproof/sim/world"
)

// validateStack refuses a new Service that asks for one family and names two. An update may: it releases the second.
func validateStack(o, old *corev1.Service) field.ErrorList {
	spec := &o.Spec
	if old == nil && ptr.Deref(spec.IPFamilyPolicy, "") == corev1.IPFamilyPolicySingleStack && max(len(spec.IPFamilies), len(spec.ClusterIPs)) > 1 {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), *spec.IPFamilyPolicy,
			"must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")}
	}
	return nil
}

// validateService reports what the real API server would refuse, in its words. old is nil for a new Service.
func (a *Admission) validateService(o, old *corev1.Service) field.ErrorList {
	at := field.NewPath("spec")
	var before corev1.Service
	if old != nil {
		before = *old
	}
	errs := validateMeta(&o.ObjectMeta, true, apivalidation.NameIsDNSLabel)
	errs = append(errs, oneOf(at.Child("type"), o.Spec.Type,
		corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
	errs = append(errs, validateByType(o, at)...)
	errs = append(errs, validatePorts(o, at.Child("ports"))...)
	errs = append(errs, metavalidation.ValidateLabels(o.Spec.Selector, at.Child("selector"))...)
	errs = append(errs, validateAffinity(&o.Spec, at)...)
	if o.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, a.validateFamilies(&o.Spec, at)...)
		errs = append(errs, validateClusterIPs(&o.Spec, &before.Spec, at.Child("clusterIPs"))...)
	}
	for i, ip := range o.Spec.ExternalIPs {
		where := at.Child("externalIPs").Index(i)
		errs = append(errs, validateIP(where, ip, before.Spec.ExternalIPs)...)
		errs = append(errs, validateReachable(where, ip)...)
	}
	errs = append(errs, validateSourceRanges(o, &before, at.Child("loadBalancerSourceRanges"))...)
	errs = append(errs, validatePolicies(o, at)...)
	errs = append(errs, validateIngress(o, &before)...)
	if old != nil {
		errs = append(errs, validateChange(o, old, at)...)
	}
	return errs
}

// validateByType checks the fields that only some types of Services have.
func validateByType(o *corev1.Service, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec, headless := &o.Spec, o.Spec.ClusterIP == corev1.ClusterIPNone
	only := func(set bool, name string) {
		if set && !isLoadBalancer(o) {
			errs = append(errs, field.Forbidden(at.Child(name), "may only be used when `type` is 'LoadBalancer'"))
		}
	}
	only(spec.AllocateLoadBalancerNodePorts != nil, "allocateLoadBalancerNodePorts")
	only(spec.LoadBalancerClass != nil, "loadBalancerClass")
	if isLoadBalancer(o) && spec.LoadBalancerClass != nil {
		errs = append(errs, invalid(at.Child("loadBalancerClass"), *spec.LoadBalancerClass, validation.IsQualifiedName(*spec.LoadBalancerClass))...)
	}
	if headless && (isLoadBalancer(o) || spec.Type == corev1.ServiceTypeNodePort) {
		errs = append(errs, field.Invalid(at.Child("clusterIPs").Index(0), spec.ClusterIP, fmt.Sprintf("may not be set to 'None' for %s services", spec.Type)))
	}
	if spec.Type != corev1.ServiceTypeExternalName {
		if len(spec.Ports) == 0 && !headless {
			errs = append(errs, field.Required(at.Child("ports"), ""))
		}
		return errs
	}
	const message = "may not be set for ExternalName services"
	if spec.ClusterIP != "" || len(spec.ClusterIPs) > 0 {
		errs = append(errs, field.Forbidden(at.Child("clusterIPs"), message))
	}
	if len(spec.IPFamilies) > 0 {
		errs = append(errs, field.Forbidden(at.Child("ipFamilies"), message))
	}
	if spec.IPFamilyPolicy != nil {
		errs = append(errs, field.Forbidden(at.Child("ipFamilyPolicy"), message))
	}
	if spec.ExternalName == "" {
		return append(errs, field.Required(at.Child("externalName"), ""))
	}
	return append(errs, validateHostname(at.Child("externalName"), spec.ExternalName)...)
}

func validatePorts(o *corev1.Service, at *field.Path) field.ErrorList {
	type pair struct {
		protocol corev1.Protocol
		number   int32
	}
	var errs field.ErrorList
	names, ports, nodePorts := map[string]bool{}, map[pair]bool{}, map[pair]bool{}
	for i, p := range o.Spec.Ports {
		where := at.Index(i)
		switch {
		case p.Name == "" && len(o.Spec.Ports) > 1:
			errs = append(errs, field.Required(where.Child("name"), ""))
		case p.Name != "":
			errs = append(errs, invalid(where.Child("name"), p.Name, validation.IsDNS1123Label(p.Name))...)
			if names[p.Name] {
				errs = append(errs, field.Duplicate(where.Child("name"), p.Name))
			}
		}
		errs = append(errs, invalid(where.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
		errs = append(errs, oneOf(where.Child("protocol"), p.Protocol, protocols...)...)
		errs = append(errs, validatePort(where.Child("targetPort"), p.TargetPort)...)
		errs = append(errs, validateAppProtocol(where.Child("appProtocol"), p.AppProtocol)...)
		if p.NodePort != 0 {
			if o.Spec.Type == corev1.ServiceTypeClusterIP {
				errs = append(errs, field.Forbidden(where.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
			if nodePorts[pair{p.Protocol, p.NodePort}] {
				errs = append(errs, field.Duplicate(where.Child("nodePort"), p.NodePort))
			}
		}
		if ports[pair{p.Protocol, p.Port}] {
			errs = append(errs, field.Duplicate(where, fmt.Sprintf("%d/%s", p.Port, p.Protocol)))
		}
		names[p.Name], ports[pair{p.Protocol, p.Port}], nodePorts[pair{p.Protocol, p.NodePort}] = true, true, true
	}
	return errs
}

// maxAffinityTimeout is a day, in seconds.
const maxAffinityTimeout = 86400

func validateAffinity(spec *corev1.ServiceSpec, at *field.Path) field.ErrorList {
	errs := oneOf(at.Child("sessionAffinity"), spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	if len(errs) > 0 || spec.SessionAffinity == corev1.ServiceAffinityNone {
		return errs
	}
	if n := *spec.SessionAffinityConfig.ClientIP.TimeoutSeconds; n <= 0 || n > maxAffinityTimeout {
		where := at.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds")
		errs = append(errs, field.Invalid(where, n, fmt.Sprintf("must be greater than 0 and less than %d", maxAffinityTimeout)))
	}
	return errs
}

// validateFamilies checks the families against each other and against those of the cluster.
func (a *Admission) validateFamilies(spec *corev1.ServiceSpec, at *field.Path) field.ErrorList {
	policy, headless := *spec.IPFamilyPolicy, spec.ClusterIP == corev1.ClusterIPNone
	errs := oneOf(at.Child("ipFamilyPolicy"), policy,
		corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)
	if policy == corev1.IPFamilyPolicyRequireDualStack && len(a.config.Families) < 2 && !headless {
		errs = append(errs, field.Invalid(at.Child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"))
	}
	// A headless Service without a selector has both families whatever the cluster has.
	anyFamily := headless && len(spec.Selector) == 0
	for i, f := range spec.IPFamilies {
		where := at.Child("ipFamilies").Index(i)
		known := oneOf(where, f, corev1.IPv4Protocol, corev1.IPv6Protocol)
		errs = append(errs, known...)
		if slices.Contains(spec.IPFamilies[:i], f) {
			errs = append(errs, field.Duplicate(where, f))
		}
		served := slices.ContainsFunc(a.config.Families, func(have world.Family) bool { return familyName(have) == f })
		if len(known) == 0 && !served && !anyFamily {
			errs = append(errs, field.Invalid(where, f, "not configured on this cluster"))
		}
	}
	return errs
}

// validateClusterIPs checks addresses that the client asks for, as texts and against the families.
func validateClusterIPs(spec, before *corev1.ServiceSpec, at *field.Path) field.ErrorList {
	ips := spec.ClusterIPs
	switch {
	case len(ips) == 0:
		return nil
	case ips[0] != spec.ClusterIP:
		return field.ErrorList{field.Invalid(at, ips, "first value must match `clusterIP`")}
	case len(ips) > 1 && ips[0] == corev1.ClusterIPNone:
		return field.ErrorList{field.Invalid(at, ips, "'None' must be the first and only value")}
	case ips[0] == corev1.ClusterIPNone:
		return nil
	case len(ips) > 2:
		return field.ErrorList{field.Invalid(at, ips, "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	for i, text := range ips {
		errs = append(errs, validateIP(at.Index(i), text, before.ClusterIPs)...)
	}
	if len(errs) > 0 {
		return errs
	}
	for i, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil || i >= len(spec.IPFamilies) {
			continue
		}
		if f := spec.IPFamilies[i]; familyName(world.FamilyOf(ip)) != f {
			errs = append(errs, field.Invalid(at.Index(i), text, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", f, i)))
		}
	}
	return errs
}

// validateSourceRanges checks the ranges of clients; the field wins over the annotation. Blanks around a range are allowed.
func validateSourceRanges(o, before *corev1.Service, at *field.Path) field.ErrorList {
	ranges, was := o.Spec.LoadBalancerSourceRanges, before.Spec.LoadBalancerSourceRanges
	where := func(i int) *field.Path { return at.Index(i) }
	if text, set := o.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]; set && len(ranges) == 0 {
		at = field.NewPath("metadata", "annotations").Key(corev1.AnnotationLoadBalancerSourceRangesKey)
		where = func(int) *field.Path { return at }
		ranges, was = strings.Split(text, ","), strings.Split(before.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey], ",")
		if strings.TrimSpace(text) == "" {
			ranges = nil
		}
	}
	var errs field.ErrorList
	if len(ranges) > 0 && !isLoadBalancer(o) {
		errs = append(errs, field.Forbidden(at, "may only be used when `type` is 'LoadBalancer'"))
	}
	for i, text := range ranges {
		if !slices.Contains(was, text) {
			errs = append(errs, validateCIDR(where(i), strings.TrimSpace(text), nil)...)
		}
	}
	return errs
}

// validatePolicies checks how traffic is to be distributed.
func validatePolicies(o *corev1.Service, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec := &o.Spec
	external := at.Child("externalTrafficPolicy")
	switch {
	case isExternal(o):
		errs = append(errs, oneOf(external, spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	case spec.ExternalTrafficPolicy != "":
		errs = append(errs, field.Invalid(external, spec.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
	}
	if spec.HealthCheckNodePort != 0 && !wantsHealthPort(o) {
		errs = append(errs, field.Invalid(at.Child("healthCheckNodePort"), spec.HealthCheckNodePort,
			"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	}
	if spec.InternalTrafficPolicy != nil {
		errs = append(errs, oneOf(at.Child("internalTrafficPolicy"), *spec.InternalTrafficPolicy,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	}
	if spec.TrafficDistribution != nil {
		errs = append(errs, oneOf(at.Child("trafficDistribution"), *spec.TrafficDistribution,
			corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameNode, corev1.ServiceTrafficDistributionPreferSameZone)...)
	}
	return errs
}

// validateIngress checks the addresses that a load balancer reports.
func validateIngress(o, before *corev1.Service) field.ErrorList {
	at := field.NewPath("status", "loadBalancer", "ingress")
	ingress := o.Status.LoadBalancer.Ingress
	if len(ingress) > 0 && !isLoadBalancer(o) {
		return field.ErrorList{field.Forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	var was []string
	for _, i := range before.Status.LoadBalancer.Ingress {
		was = append(was, i.IP)
	}
	var errs field.ErrorList
	for i, one := range ingress {
		where := at.Index(i)
		if one.IP != "" {
			errs = append(errs, validateIP(where.Child("ip"), one.IP, was)...)
		}
		switch {
		case one.IPMode == nil:
		case one.IP == "":
			errs = append(errs, field.Forbidden(where.Child("ipMode"), "may not be specified when `ip` is not set"))
		default:
			errs = append(errs, oneOf(where.Child("ipMode"), *one.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
		}
		if one.Hostname == "" {
			continue
		}
		errs = append(errs, invalid(where.Child("hostname"), one.Hostname, validation.IsDNS1123Subdomain(one.Hostname))...)
		if _, err := netip.ParseAddr(one.Hostname); err == nil {
			errs = append(errs, field.Invalid(where.Child("hostname"), one.Hostname, "must be a DNS name, not an IP address"))
		}
	}
	return errs
}

// validateChange checks what may not change while a Service lives. From and to ExternalName everything may.
func validateChange(o, old *corev1.Service, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec, was := &o.Spec, &old.Spec
	const message = "may not change once set"
	if isLoadBalancer(o) && isLoadBalancer(old) && !ptr.Equal(spec.LoadBalancerClass, was.LoadBalancerClass) {
		errs = append(errs, field.Invalid(at.Child("loadBalancerClass"), ptr.Deref(spec.LoadBalancerClass, ""), message))
	}
	if wantsHealthPort(o) && wantsHealthPort(old) && spec.HealthCheckNodePort != was.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(at.Child("healthCheckNodePort"), "field is immutable"))
	}
	if spec.Type == corev1.ServiceTypeExternalName || was.Type == corev1.ServiceTypeExternalName {
		return errs
	}
	for i := range min(len(spec.ClusterIPs), len(was.ClusterIPs)) {
		if spec.ClusterIPs[i] != was.ClusterIPs[i] {
			errs = append(errs, field.Invalid(at.Child("clusterIPs").Index(i), spec.ClusterIPs[i], message))
		}
	}
	if spec.ClusterIP == corev1.ClusterIPNone || was.ClusterIP == corev1.ClusterIPNone {
		return errs
	}
	if len(spec.IPFamilies) > 0 && len(was.IPFamilies) > 0 && spec.IPFamilies[0] != was.IPFamilies[0] {
		errs = append(errs, field.Invalid(at.Child("ipFamilies").Index(0), spec.IPFamilies[0], message))
	}
	return errs
}
