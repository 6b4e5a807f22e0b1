package admission

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// Default completes an object other than a Service as a real API server does before it stores it, whoever wrote it. Clients rely
// on it and follow pointers that are never nil in a cluster: kube-router reads a Pod's terminationGracePeriodSeconds that way.
func Default(o runtime.Object) {
	switch o := o.(type) {
	case *discoveryv1.EndpointSlice:
		defaultSlice(o)
	case *networkingv1.NetworkPolicy:
		defaultPolicy(o)
	case *corev1.Pod:
		defaultPod(o)
	}
}

// defaultSlice fills in what a client left out of an EndpointSlice.
func defaultSlice(o *discoveryv1.EndpointSlice) {
	for i := range o.Ports {
		if o.Ports[i].Name == nil {
			o.Ports[i].Name = ptr.To("")
		}
		if o.Ports[i].Protocol == nil {
			o.Ports[i].Protocol = ptr.To(corev1.ProtocolTCP)
		}
	}
}

// defaultPolicy completes a NetworkPolicy as a real API server does: ports are of TCP, and it rules what it has rules for, but incoming
// traffic always.
func defaultPolicy(p *networkingv1.NetworkPolicy) {
	complete := func(ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			if ports[i].Protocol == nil {
				ports[i].Protocol = ptr.To(corev1.ProtocolTCP)
			}
		}
	}
	for _, rule := range p.Spec.Ingress {
		complete(rule.Ports)
	}
	for _, rule := range p.Spec.Egress {
		complete(rule.Ports)
	}
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
}

// defaultPod fills in what a client left out of a Pod. What concerns volumes, probes and resources is left out: no Pod here has them.
func defaultPod(p *corev1.Pod) {
	spec := &p.Spec
	fill(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	fill(&spec.DNSPolicy, corev1.DNSClusterFirst)
	fill(&spec.SchedulerName, corev1.DefaultSchedulerName)
	fill(&spec.TerminationGracePeriodSeconds, ptr.To[int64](corev1.DefaultTerminationGracePeriodSeconds))
	fill(&spec.EnableServiceLinks, ptr.To(corev1.DefaultEnableServiceLinks))
	fill(&spec.SecurityContext, &corev1.PodSecurityContext{})
	for i := range spec.Containers {
		c := &spec.Containers[i]
		fill(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
		fill(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
		fill(&c.ImagePullPolicy, corev1.PullIfNotPresent)
		for j := range c.Ports {
			fill(&c.Ports[j].Protocol, corev1.ProtocolTCP)
		}
	}
	fill(&p.Status.Phase, corev1.PodPending)
	fill(&p.Status.QOSClass, corev1.PodQOSBestEffort)
}

// fill sets what is not set.
func fill[T comparable](field *T, value T) {
	var unset T
	if *field == unset {
		*field = value
	}
}
