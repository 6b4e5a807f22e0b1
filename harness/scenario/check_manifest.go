package scenario

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// NamesAddresses tells whether a text of a manifest is a target, which stands for its addresses: "unused(externals)".
func NamesAddresses(text string) bool {
	t, err := ParseTarget(text)
	return err == nil && t.Port == 0
}

// checkAddresses checks the addresses of an object: targets, since one that is written out would be of one family only.
func (c *checker) checkAddresses(o object, now *story) {
	for _, text := range rangesOf(o) {
		if t, err := parseTarget(text); err == nil && t.Port == 0 {
			if message, hint := c.absent(t, now); message != "" {
				c.report(o.at, hint, "%s: %s", o.Ref, message)
			}
		}
	}
	var written []string
	switch v := o.object.(type) {
	case *corev1.Service:
		written = append(written, v.Spec.ExternalIPs...)
		if v.Spec.LoadBalancerIP != "" {
			written = append(written, v.Spec.LoadBalancerIP)
		}
		for _, ingress := range v.Status.LoadBalancer.Ingress {
			written = append(written, ingress.IP)
		}
	case *discoveryv1.EndpointSlice:
		for _, e := range v.Endpoints {
			written = append(written, e.Addresses...)
		}
	}
	for _, text := range written {
		if _, err := netip.ParseAddr(text); err == nil {
			continue
		}
		t, err := parseTarget(text)
		if err != nil || t.Port != 0 {
			c.report(o.at, `such as "unused(externals)", "node(cp)" or "pod(web-1)"`, "%s: %q names no address", o.Ref, text)
			continue
		}
		if message, hint := c.absent(t, now); message != "" {
			c.report(o.at, hint, "%s: %s", o.Ref, message)
		}
	}
}

// rangesOf are the ranges of addresses in an object. Here, too, targets can stand; what is neither, the API server refuses.
func rangesOf(o object) []string {
	var all []string
	peers := func(list []networkingv1.NetworkPolicyPeer) {
		for _, peer := range list {
			if peer.IPBlock != nil {
				all = append(append(all, peer.IPBlock.CIDR), peer.IPBlock.Except...)
			}
		}
	}
	switch v := o.object.(type) {
	case *corev1.Service:
		return v.Spec.LoadBalancerSourceRanges
	case *networkingv1.NetworkPolicy:
		for _, rule := range v.Spec.Ingress {
			peers(rule.From)
		}
		for _, rule := range v.Spec.Egress {
			peers(rule.To)
		}
	}
	return all
}
