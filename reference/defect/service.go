package defect

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// misread makes the proxy plan from another Service than the API has.
func misread(change func(*corev1.Service)) proxy.Middleware {
	return proxy.Middleware{Object: func(o plan.Object) plan.Object {
		if o.Service != nil {
			o.Service = o.Service.DeepCopy()
			change(o.Service)
		}
		return o
	}}
}

// externalPolicyStarvesClusterIP took one policy for all addresses, until kube-router v1.0.
var externalPolicyStarvesClusterIP = Defect{
	Name:     "external-policy-starves-cluster-ip",
	Issue:    "cloudnativelabs/kube-router#818",
	Summary:  "externalTrafficPolicy Local rules the cluster address, too",
	Findings: []string{"ipvs-service-missing", "vip-address-missing", "ipvs-dest-missing", "reach-failed", "backend-unused"},
	When: "wherever a Service has the policy: ipvs-service-missing, vip-address-missing and reach-failed on a node without an endpoint, " +
		"ipvs-dest-missing and backend-unused on one with an endpoint beside others",
	Wrap: misread(func(s *corev1.Service) {
		if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
			s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
		}
	}),
}

// affinityTimeoutIgnored had 10800 seconds written in the code, until kube-router v1.0.
var affinityTimeoutIgnored = Defect{
	Name:     "affinity-timeout-ignored",
	Issue:    "cloudnativelabs/kube-router#882",
	Summary:  "session affinity always lasts three hours",
	Findings: []string{"ipvs-service-wrong"},
	When:     "wherever a Service names another time-out",
	Wrap:     misread(func(s *corev1.Service) { s.Spec.SessionAffinityConfig = nil }),
}

// affinityIgnored is how kube-router began: the field was there and nobody read it.
var affinityIgnored = Defect{
	Name:     "session-affinity-ignored",
	Issue:    "cloudnativelabs/kube-router#159",
	Summary:  "a Service with session affinity is spread like any other",
	Findings: []string{"ipvs-service-wrong", "affinity-broken"},
	When:     "wherever a Service has session affinity; affinity-broken where a client's connections are expected to stay together",
	Wrap:     misread(func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityNone }),
}

// serviceProxyNameIgnored served what is another proxy's, until kube-router v2.1.
var serviceProxyNameIgnored = Defect{
	Name:     "service-proxy-name-ignored",
	Issue:    "cloudnativelabs/kube-router#979",
	Summary:  "Services labelled for another proxy are served",
	Findings: []string{"ipvs-service-unjustified", "vip-address-unjustified", "svip-has-foreign", "svip-prt-has-foreign"},
	When:     "wherever a Service has the label",
	Wrap:     misread(func(s *corev1.Service) { delete(s.Labels, "service.kubernetes.io/service-proxy-name") }),
}

// nodePortOfOneFamily is how kube-proxy was in dual-stack clusters with IPVS, and kube-router until v2.11.
var nodePortOfOneFamily = Defect{
	Name:     "node-port-of-one-family",
	Issue:    "kubernetes/kubernetes#93858",
	Summary:  "node ports are served in the first family of a Service only",
	Findings: []string{"ipvs-service-missing", "reach-failed"},
	When:     "wherever a Service of two families has node ports; reach-failed where the second one is expected to answer",
	Wrap: misread(func(s *corev1.Service) {
		if len(s.Spec.IPFamilies) > 1 {
			s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
		}
	}),
}

// modeProxyBound is how every proxy was before KEP-1860, and kube-router until v2.9.
var modeProxyBound = Defect{
	Name:     "mode-proxy-bound",
	Issue:    "cloudnativelabs/kube-router#2017",
	Summary:  "load balancer addresses of mode Proxy are served by the node",
	Findings: []string{"ipvs-service-unjustified", "vip-address-unjustified", "svip-has-foreign", "svip-prt-has-foreign"},
	When:     "wherever an address has that mode",
	Wrap: misread(func(s *corev1.Service) {
		for i := range s.Status.LoadBalancer.Ingress {
			s.Status.LoadBalancer.Ingress[i].IPMode = nil
		}
	}),
}

// externalAddressOfOthersServed is CVE-2020-8554, as far as it concerns addresses that the cluster has given to somebody.
var externalAddressOfOthersServed = Defect{
	Name:     "external-address-of-others-served",
	Issue:    "kubernetes/kubernetes#97076",
	Summary:  "a Service is served at any external address that it names, also at another Service's cluster address",
	Findings: []string{"ipvs-service-unjustified", "svip-prt-has-foreign"},
	When:     "wherever a Service names such an address, at the ports that the other Service has not",
	Wrap: misread(func(s *corev1.Service) { // as if somebody had given it the addresses
		for _, ip := range s.Spec.ExternalIPs {
			s.Spec.Type = corev1.ServiceTypeLoadBalancer
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}),
}

// otherNodesAddressTaken is how kube-proxy is in its ipvs mode, and how kube-router was before v2.8.0: each node puts every external and load
// balancer address on a link of its own, and then no longer reaches the node that really has it.
var otherNodesAddressTaken = Defect{
	Name:     "address-of-another-node-taken",
	Issue:    "kubernetes/kubernetes#75290",
	Summary:  "an external or load balancer address that another node or a pod has is put on the node's own link",
	Findings: []string{"vip-address-unjustified", "apiserver-refused", "apiserver-ping-lost", "hold-lost", "reach-failed"},
	When: "vip-address-unjustified wherever a Service names such an address; apiserver-ping-lost where the address is a pod's, which then gets no " +
		"answers; the others where the node that took it probes the node or the pod that has it",
	Wrap: proxy.Middleware{Picture: func(p plan.Picture) plan.Picture { // as if it knew no other node, and no pod ranges
		p.Others = nil
		p.Node = p.Node.DeepCopy()
		p.Node.Spec.PodCIDRs = nil
		return p
	}},
}
