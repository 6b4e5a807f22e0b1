package apiserver

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proxyproof/sim/world"
)

// Since Kubernetes 1.33 the ranges of cluster addresses and their use are objects: a ServiceCIDR for the ranges that the API server was
// started with, and an IPAddress for each address that a Service has. kube-proxy watches the former. The server keeps both and takes no
// writes of either: ranges do not change here.

// defaultCIDR is the name of the ServiceCIDR that an API server makes of its own ranges.
const defaultCIDR = "kubernetes"

// cidrFinalizer keeps a real cluster's ServiceCIDR as long as it is in use.
const cidrFinalizer = "networking.k8s.io/service-cidr-finalizer"

func cidrResource() *resource      { return byPath(networkingv1.GroupName, "v1", "servicecidrs") }
func ipAddressResource() *resource { return byPath(networkingv1.GroupName, "v1", "ipaddresses") }

// serviceCIDR is the object of the server's ranges.
func (s *Server) serviceCIDR() *networkingv1.ServiceCIDR {
	o := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: defaultCIDR, Finalizers: []string{cidrFinalizer}}}
	for _, f := range s.config.Families {
		o.Spec.CIDRs = append(o.Spec.CIDRs, s.config.ServiceCIDRs[f].String())
	}
	o.Status.Conditions = []metav1.Condition{{
		Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: metav1.Now().Rfc3339Copy(),
		Message: "Kubernetes default Service CIDR is ready",
	}}
	return o
}

// keepAddresses makes the IPAddresses of a Service be those of its cluster addresses. old is nil for a new Service, now for one that is
// gone. The lock is held.
func (s *Server) keepAddresses(old, now *corev1.Service) {
	had, has := addressesOf(old), addressesOf(now)
	for _, ip := range had {
		if o := s.store.get(ipAddressResource(), "", ip.String()); o != nil && !slices.Contains(has, ip) {
			s.store.remove(ipAddressResource(), o)
		}
	}
	for _, ip := range has {
		s.set(ipAddressResource(), ipAddress(now, ip))
	}
}

// addressesOf are the cluster addresses of a Service: none if it is headless, an ExternalName or nil.
func addressesOf(o *corev1.Service) []netip.Addr {
	if o == nil {
		return nil
	}
	var ips []netip.Addr
	for _, text := range o.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil {
			ips = append(ips, ip)
		}
	}
	return ips
}

// ipAddress is the object of a cluster address, as the allocator of a real API server makes it. Its name is the canonical form.
func ipAddress(of *corev1.Service, ip netip.Addr) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip.String(), Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: world.FamilyOf(ip).String(),
			networkingv1.LabelManagedBy:       "ipallocator.k8s.io",
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: serviceResource().name, Namespace: of.Namespace, Name: of.Name,
		}},
	}
}
