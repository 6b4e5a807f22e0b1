package apiserver

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// addresses are the names of the IPAddresses of a Service, sorted.
func (a *api) addresses(service string) []string {
	a.Helper()
	list, err := a.proto.NetworkingV1().IPAddresses().List(a.ctx(), metav1.ListOptions{})
	a.must(err)
	var names []string
	for _, o := range list.Items {
		if p := o.Spec.ParentRef; p.Group == "" && p.Resource == "services" && p.Namespace == "default" && p.Name == service {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return names
}

func dualStack(s *corev1.Service) {
	policy := corev1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy = &policy
}

var cidrChecks = []check{
	{"ServiceCIDR of the ranges", func(a *api) {
		for _, client := range []*kubernetes.Clientset{a.json, a.proto} {
			o, err := client.NetworkingV1().ServiceCIDRs().Get(a.ctx(), "kubernetes", metav1.GetOptions{})
			a.must(err)
			a.true(slices.Equal(o.Spec.CIDRs, []string{"198.18.0.0/20", "2001:db8:18::/112"}), "got %v", o.Spec)
			a.true(len(o.Status.Conditions) == 1 && o.Status.Conditions[0].Type == "Ready" && o.Status.Conditions[0].Status == "True", "got %+v", o.Status)
		}
	}},
	{"ServiceCIDRs are listed and watched", func(a *api) {
		list, err := a.json.NetworkingV1().ServiceCIDRs().List(a.ctx(), metav1.ListOptions{})
		a.must(err)
		a.true(len(list.Items) == 1, "got %v", list.Items)
		w, err := a.proto.NetworkingV1().ServiceCIDRs().Watch(a.ctx(), metav1.ListOptions{})
		a.must(err)
		a.Cleanup(w.Stop)
		a.expect(w, watch.Added, "kubernetes")
	}},
	{"ServiceCIDRs are the server's own", func(a *api) {
		o := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"203.0.113.0/24"}}}
		_, err := a.json.NetworkingV1().ServiceCIDRs().Create(a.ctx(), o, metav1.CreateOptions{})
		a.refused(apierrors.IsMethodNotSupported, err)
	}},
	{"IPAddress of each cluster address", func(a *api) {
		s := a.service(dualStack)
		want := slices.Sorted(slices.Values(s.Spec.ClusterIPs))
		a.true(len(want) == 2 && slices.Equal(a.addresses(s.Name), want), "want %v, got %v", want, a.addresses(s.Name))
		o, err := a.json.NetworkingV1().IPAddresses().Get(a.ctx(), s.Spec.ClusterIPs[1], metav1.GetOptions{})
		a.must(err)
		a.true(o.Labels["ipaddress.kubernetes.io/ip-family"] == "IPv6" && o.Labels["ipaddress.kubernetes.io/managed-by"] == "ipallocator.k8s.io", "got %v", o.Labels)
		a.true(len(a.addresses("kubernetes")) == 1, "got %v", a.addresses("kubernetes"))
	}},
	{"no IPAddress without a cluster address", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
		a.true(len(a.addresses(s.Name)) == 0, "got %v", a.addresses(s.Name))
	}},
	{"IPAddress goes with its Service", func(a *api) {
		s := a.service(dualStack)
		version := a.version()
		w, err := a.json.NetworkingV1().IPAddresses().Watch(a.ctx(), metav1.ListOptions{ResourceVersion: version})
		a.must(err)
		a.Cleanup(w.Stop)
		a.must(a.json.CoreV1().Services("default").Delete(a.ctx(), s.Name, metav1.DeleteOptions{}))
		a.expect(w, watch.Deleted, s.Spec.ClusterIPs[0])
		a.expect(w, watch.Deleted, s.Spec.ClusterIPs[1])
		a.true(len(a.addresses(s.Name)) == 0, "got %v", a.addresses(s.Name))
	}},
	{"IPAddress goes with the second family", func(a *api) {
		s := a.service(dualStack)
		single := corev1.IPFamilyPolicySingleStack
		first := s.Spec.ClusterIPs[:1]
		s.Spec.IPFamilyPolicy, s.Spec.IPFamilies, s.Spec.ClusterIPs = &single, s.Spec.IPFamilies[:1], first
		_, err := a.json.CoreV1().Services("default").Update(a.ctx(), s, metav1.UpdateOptions{})
		a.must(err)
		a.true(slices.Equal(a.addresses(s.Name), first), "want %v, got %v", first, a.addresses(s.Name))
	}},
}
