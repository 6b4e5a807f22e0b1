package oracle

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Labels and annotations that decide how a Service is served. The annotations are kube-router's, documented in its user guide.
const (
	labelServiceProxyName = "service.kubernetes.io/service-proxy-name"
	annotationScheduler   = "kube-router.io/service.scheduler"
	annotationDSR         = "kube-router.io/service.dsr"
	annotationLocal       = "kube-router.io/service.local"
	annotationSkipLBIPs   = "kube-router.io/service.skiplbips"
)

// schedulers that a Service can ask for; the first is the default.
var schedulers = []string{"rr", "lc", "dh", "sh", "mh"}

// defaultAffinity is the time-out of session affinity when the Service names none: three hours.
const defaultAffinity = 10800

// served tells whether a Service is any business of this proxy: it has a cluster address, and no other proxy is named for it.
func served(s *corev1.Service) bool {
	if s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return false
	}
	for _, label := range []string{labelServiceProxyName, corev1.IsHeadlessService} {
		if _, ok := s.Labels[label]; ok {
			return false
		}
	}
	return true
}

// beyond tells why a Service as a whole is beyond the oracle's understanding; "" if it is not.
func beyond(s *corev1.Service) string {
	for _, a := range []string{annotationLocal, annotationSkipLBIPs} {
		if _, ok := s.Annotations[a]; ok {
			return "what annotation " + a + " does is not modelled"
		}
	}
	if name, ok := s.Annotations[annotationScheduler]; ok && !slices.Contains(schedulers, name) {
		return fmt.Sprintf("scheduler %q is none of %v", name, schedulers)
	}
	if s.Spec.TrafficDistribution != nil || s.Annotations[corev1.AnnotationTopologyMode] != "" {
		return "topology-aware routing is a hint that proxies may follow or not"
	}
	return ""
}

// leaveOut separates the claims that are not judged from those that are.
func leaveOut(s *corev1.Service, claims []claim) (judged []claim, left []Unjudged) {
	direct := Unjudged{Owner: nameOf(s), Marks: true, Why: "direct server return works through firewall marks, which are not modelled"}
	_, dsr := s.Annotations[annotationDSR]
	for _, c := range claims {
		if dsr && (c.kind == ExternalIP || c.kind == LoadBalancerIP) {
			direct.Keys = append(direct.Keys, c.Key)
		} else {
			judged = append(judged, c)
		}
	}
	if len(direct.Keys) > 0 {
		left = append(left, direct)
	}
	return judged, left
}

// virtual is the virtual service that a claim leads to; ok is false if this node must not serve it: a policy Local without a
// local endpoint.
func (in Input) virtual(s *corev1.Service, c claim) (v Service, ok bool) {
	endpoints := in.endpoints(s, c)
	if localOnly(s, c.kind) {
		endpoints = slices.DeleteFunc(endpoints, func(e endpoint) bool { return e.node != in.Node })
		if len(endpoints) == 0 {
			return Service{}, false
		}
		// Endpoints that are here but cannot serve: refused either way, with or without an entry.
		c.required = c.required && len(usable(endpoints)) > 0
	}
	return Service{
		Key: c.Key, Owner: nameOf(s), Kind: c.kind, Required: c.required, Holder: c.holder,
		Scheduler: schedulerOf(s), Affinity: affinityOf(s), Dests: destsOf(usable(endpoints)),
	}, true
}

// localOnly tells whether an address takes traffic to endpoints of its own node only. The internal policy rules the cluster
// address, the external one all the others, and neither touches what the other rules.
func localOnly(s *corev1.Service, k Kind) bool {
	if k == ClusterIP {
		p := s.Spec.InternalTrafficPolicy
		return p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal
	}
	return s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func schedulerOf(s *corev1.Service) string {
	if name, ok := s.Annotations[annotationScheduler]; ok {
		return name
	}
	return schedulers[0]
}

func affinityOf(s *corev1.Service) uint32 {
	if s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return uint32(*c.ClientIP.TimeoutSeconds)
	}
	return defaultAffinity
}

func nameOf(s *corev1.Service) string { return s.Namespace + "/" + s.Name }

// loadBalancer tells whether the proxy's allocator has to give a Service addresses: in every family of the Service that has a
// range. A Service of a named class is some other implementation's.
func (in Input) loadBalancer(s *corev1.Service) (l LoadBalancer, ok bool) {
	if !in.Options.LoadBalancer || s.Spec.Type != corev1.ServiceTypeLoadBalancer || s.Spec.LoadBalancerClass != nil {
		return LoadBalancer{}, false
	}
	l.Owner = nameOf(s)
	if a, err := netip.ParseAddr(s.Spec.LoadBalancerIP); err == nil {
		l.Requested = a
	}
	for _, f := range familiesOf(s) {
		if r := in.Ranges.LoadBalancers[f]; r.IsValid() && slices.Contains(in.Families, f) {
			l.Wanted = append(l.Wanted, f)
		}
	}
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(ingress.IP); err == nil {
			l.Given = append(l.Given, a)
		}
	}
	return l, true
}
