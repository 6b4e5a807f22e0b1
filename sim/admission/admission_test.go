package admission

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proxyproof/sim/world"
)

func newAdmission() *Admission {
	return New(Config{Families: []world.Family{world.IPv4, world.IPv6}, ServiceCIDRs: world.DefaultRanges().Services, Seed: 1})
}

func service(name string, change func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

// TestRefusedTakesNothing: what a refused Service asked for, and what a deleted one had, is free for the next.
func TestRefusedTakesNothing(t *testing.T) {
	a := newAdmission()
	wants := func(s *corev1.ServiceSpec) {
		s.Type, s.ClusterIP, s.Ports[0].NodePort = corev1.ServiceTypeNodePort, "198.18.0.9", 30080
	}
	refused := service("a", func(s *corev1.ServiceSpec) {
		wants(s)
		s.Ports = append(s.Ports, corev1.ServicePort{Name: "b", Port: 81, NodePort: 1})
		s.Ports[0].Name = "a"
	})
	if errs := a.Create(refused); len(errs) == 0 {
		t.Fatal("node port 1 is given out")
	}
	first := service("b", wants)
	if errs := a.Create(first); len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := a.Create(service("c", wants)); len(errs) == 0 {
		t.Error("an address is given out twice")
	}
	a.Release(first)
	if errs := a.Create(service("c", wants)); len(errs) > 0 {
		t.Error(errs)
	}
}

// TestOnlyTheTypeChanges: a client that reads a Service, changes its type and writes it back need not clear what the old type had. One
// that changes such a field as well is refused.
func TestOnlyTheTypeChanges(t *testing.T) {
	balancer := service("a", func(s *corev1.ServiceSpec) {
		s.Type, s.ExternalTrafficPolicy, s.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal, ptr.To("a/b")
	})
	for name, test := range map[string]struct {
		change  func(*corev1.ServiceSpec)
		refused string
	}{
		"to ClusterIP":    {func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeClusterIP }, ""},
		"to NodePort":     {func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }, ""},
		"to ExternalName": {func(s *corev1.ServiceSpec) { s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "example.com" }, ""},
		"another class": {func(s *corev1.ServiceSpec) {
			s.Type, s.LoadBalancerClass = corev1.ServiceTypeClusterIP, ptr.To("a/c")
		}, "spec.loadBalancerClass"},
		"another policy": {func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeClusterIP, corev1.ServiceExternalTrafficPolicyCluster
		}, "spec.externalTrafficPolicy"},
		"another health port": {func(s *corev1.ServiceSpec) { s.Type, s.HealthCheckNodePort = corev1.ServiceTypeClusterIP, 30081 }, "spec.healthCheckNodePort"},
		"health port changed": {func(s *corev1.ServiceSpec) { s.HealthCheckNodePort = 30081 }, "spec.healthCheckNodePort"},
		"another family":      {func(s *corev1.ServiceSpec) { s.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }, "spec.ipFamilies[0]"},
		"one family of two":   {func(s *corev1.ServiceSpec) { s.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAdmission()
			old := balancer.DeepCopy()
			if errs := a.Create(old); len(errs) > 0 {
				t.Fatal(errs)
			}
			now := old.DeepCopy()
			test.change(&now.Spec)
			errs := a.Update(now, old)
			switch {
			case test.refused == "" && len(errs) > 0:
				t.Error(errs)
			case test.refused != "" && !slices.ContainsFunc(errs, func(e *field.Error) bool { return e.Field == test.refused }):
				t.Errorf("got %v, want one of %s", errs, test.refused)
			}
		})
	}
}
