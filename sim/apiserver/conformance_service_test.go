//lint:file-ignore SA1019 Old proxies read the legacy Endpoints, and a real API server still keeps them.

package apiserver

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"proxyproof/sim/world"
)

// make tries to create a Service.
func (a *api) makeService(change func(*corev1.Service)) (*corev1.Service, error) {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	change(s)
	return a.json.CoreV1().Services("default").Create(a.ctx(), s, metav1.CreateOptions{})
}

func (a *api) service(change func(*corev1.Service)) *corev1.Service {
	a.Helper()
	s, err := a.makeService(change)
	a.must(err)
	return s
}

// balanced is a Service with an address of a load balancer.
func (a *api) balanced() *corev1.Service {
	a.Helper()
	s := a.service(ofType(corev1.ServiceTypeLoadBalancer))
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
	s, err := a.json.CoreV1().Services("default").UpdateStatus(a.ctx(), s, metav1.UpdateOptions{})
	a.must(err)
	return s
}

func ofType(t corev1.ServiceType) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Type = t }
}

var serviceChecks = []check{
	{"defaults", func(a *api) {
		s := a.service(func(*corev1.Service) {}).Spec
		p := s.Ports[0]
		a.true(s.Type == "ClusterIP" && s.SessionAffinity == "None" && *s.InternalTrafficPolicy == "Cluster" && s.ExternalTrafficPolicy == "" &&
			p.Protocol == "TCP" && p.TargetPort.IntValue() == 80 && *s.IPFamilyPolicy == "SingleStack" && len(s.IPFamilies) == 1 && s.IPFamilies[0] == "IPv4", "got %+v", s)
	}},
	{"affinity lasts three hours", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.SessionAffinity = "ClientIP" }).Spec
		a.true(*s.SessionAffinityConfig.ClientIP.TimeoutSeconds == 10800, "got %+v", s.SessionAffinityConfig)
	}},
	{"a LoadBalancer has node ports and an external policy", func(a *api) {
		s := a.service(ofType("LoadBalancer")).Spec
		a.true(*s.AllocateLoadBalancerNodePorts && s.ExternalTrafficPolicy == "Cluster" && s.Ports[0].NodePort >= 30000, "got %+v", s)
	}},
	{"a LoadBalancer without node ports", func(a *api) {
		s := a.service(func(s *corev1.Service) {
			s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = "LoadBalancer", ptr.To(false)
		}).Spec
		a.true(s.Ports[0].NodePort == 0, "got %+v", s)
	}},
	{"a local LoadBalancer has a health port", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.Type, s.Spec.ExternalTrafficPolicy = "LoadBalancer", "Local" }).Spec
		a.true(s.HealthCheckNodePort >= 30000, "got %+v", s)
	}},
	{"dual stack on request", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) }).Spec
		a.true(len(s.ClusterIPs) == 2 && s.IPFamilies[0] == "IPv4" && s.IPFamilies[1] == "IPv6" && s.ClusterIP == s.ClusterIPs[0], "got %+v", s)
	}},
	{"the second family alone", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{"IPv6"} }).Spec
		a.true(len(s.ClusterIPs) == 1 && strings.Contains(s.ClusterIP, ":"), "got %+v", s)
	}},
	{"single-stack clusters refuse to require both", func(a *api) {
		one := newAPI(a.T, world.IPv6)
		_, err := one.makeService(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack) })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"addresses are distinct and of the range", func(a *api) {
		seen := map[string]bool{}
		for range 20 {
			s := a.service(func(*corev1.Service) {})
			a.true(!seen[s.Spec.ClusterIP] && world.DefaultRanges().Services[world.IPv4].Contains(netip.MustParseAddr(s.Spec.ClusterIP)), "got %s", s.Spec.ClusterIP)
			seen[s.Spec.ClusterIP] = true
		}
	}},
	{"the same seed makes the same choices", func(a *api) {
		other := newAPI(a.T, dual...)
		one, two := a.service(ofType("NodePort")).Spec, other.service(ofType("NodePort")).Spec
		a.true(one.ClusterIP == two.ClusterIP && one.Ports[0].NodePort == two.Ports[0].NodePort, "got %v and %v", one, two)
	}},
	{"a requested address is given", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.ClusterIP = "198.18.1.7" })
		a.true(s.Spec.ClusterIPs[0] == "198.18.1.7", "got %+v", s.Spec)
	}},
	{"a taken address is refused", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		_, err := a.makeService(func(n *corev1.Service) { n.Spec.ClusterIP = s.Spec.ClusterIP })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"an address of no range is refused", func(a *api) {
		_, err := a.makeService(func(s *corev1.Service) { s.Spec.ClusterIP = "203.0.113.7" })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"a deleted Service gives its address and port back", func(a *api) {
		s := a.service(ofType("NodePort"))
		a.must(a.json.CoreV1().Services("default").Delete(a.ctx(), s.Name, metav1.DeleteOptions{}))
		again := a.service(func(n *corev1.Service) {
			n.Spec.Type, n.Spec.ClusterIP, n.Spec.Ports[0].NodePort = "NodePort", s.Spec.ClusterIP, s.Spec.Ports[0].NodePort
		})
		a.true(again.Spec.ClusterIP == s.Spec.ClusterIP, "got %+v", again.Spec)
	}},
	{"a refused Service takes nothing", func(a *api) {
		_, err := a.makeService(func(s *corev1.Service) {
			s.Spec.Type, s.Spec.ClusterIP, s.Spec.Ports[0].NodePort = "NodePort", "198.18.1.9", 5
		})
		a.refused(apierrors.IsInvalid, err)
		a.service(func(s *corev1.Service) { s.Spec.ClusterIP = "198.18.1.9" })
	}},
	{"a taken node port is refused", func(a *api) {
		s := a.service(ofType("NodePort"))
		_, err := a.makeService(func(n *corev1.Service) { n.Spec.Type, n.Spec.Ports[0].NodePort = "NodePort", s.Spec.Ports[0].NodePort })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"an update without them keeps address and port", func(a *api) {
		s := a.service(ofType("NodePort"))
		change := s.DeepCopy()
		change.Spec.ClusterIP, change.Spec.ClusterIPs, change.Spec.Ports[0].NodePort = "", nil, 0
		change.Spec.Ports[0].TargetPort = intstr.FromInt32(9)
		now, err := a.json.CoreV1().Services("default").Update(a.ctx(), change, metav1.UpdateOptions{})
		a.must(err)
		a.true(now.Spec.ClusterIP == s.Spec.ClusterIP && now.Spec.Ports[0].NodePort == s.Spec.Ports[0].NodePort, "got %+v", now.Spec)
	}},
	{"an address may not change", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "198.18.1.7", []string{"198.18.1.7"}
		_, err := a.json.CoreV1().Services("default").Update(a.ctx(), s, metav1.UpdateOptions{})
		a.refused(apierrors.IsInvalid, err)
	}},
	{"a change of type gives the node port back", func(a *api) {
		s := a.service(ofType("NodePort"))
		port := s.Spec.Ports[0].NodePort
		s.Spec.Type, s.Spec.Ports[0].NodePort = "ClusterIP", 0
		now, err := a.json.CoreV1().Services("default").Update(a.ctx(), s, metav1.UpdateOptions{})
		a.must(err)
		a.true(now.Spec.Ports[0].NodePort == 0 && now.Spec.ExternalTrafficPolicy == "", "got %+v", now.Spec)
		a.service(func(n *corev1.Service) { n.Spec.Type, n.Spec.Ports[0].NodePort = "NodePort", port })
	}},
	{"headless and external names have no address", func(a *api) {
		headless := a.service(func(s *corev1.Service) { s.Spec.ClusterIP = "None" })
		name := a.service(func(s *corev1.Service) { s.Spec.Type, s.Spec.ExternalName = "ExternalName", "x.example" })
		a.true(headless.Spec.ClusterIPs[0] == "None" && name.Spec.ClusterIP == "", "got %+v and %+v", headless.Spec, name.Spec)
	}},
	{"several ports need names", func(a *api) {
		_, err := a.makeService(func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Port: 81}) })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"a port twice is refused", func(a *api) {
		_, err := a.makeService(func(s *corev1.Service) {
			s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 80}, {Name: "b", Port: 80}}
		})
		a.refused(apierrors.IsInvalid, err)
	}},
	{"an unknown protocol is refused", func(a *api) {
		_, err := a.makeService(func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "ICMP" })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"no ports are refused", func(a *api) {
		_, err := a.makeService(func(s *corev1.Service) { s.Spec.Ports = nil })
		a.refused(apierrors.IsInvalid, err)
	}},
	{"the kubernetes Service has the first address", func(a *api) {
		s, err := a.json.CoreV1().Services("default").Get(a.ctx(), "kubernetes", metav1.GetOptions{})
		a.must(err)
		a.true(s.Spec.ClusterIP == "198.18.0.1" && s.Spec.Ports[0].Port == 443, "got %+v", s.Spec)
	}},
	{"manifests are strict", func(a *api) {
		for _, bad := range []string{
			"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {typ: NodePort}\n",
			"apiVersion: v1\nkind: Service\nkind: Service\nmetadata: {name: x}\n",
			"apiVersion: v1\nkind: Unicorn\nmetadata: {name: x}\n",
			"apiVersion: v1\nkind: Service\nmetadata: {}\n",
		} {
			_, err := a.server.Control().Apply(a.ctx(), []byte(bad))
			a.true(err != nil, "accepted %q", bad)
		}
	}},
	{"manifests create, update and change nothing", func(a *api) {
		form := "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: PORT}]}\n"
		for _, step := range [][2]string{{"80", "created"}, {"80", "unchanged"}, {"81", "updated"}} {
			changes, err := a.server.Control().Apply(a.ctx(), []byte(strings.Replace(form, "PORT", step[0], 1)))
			a.must(err)
			a.true(len(changes) == 1 && changes[0].Verb == step[1], "want %s, got %+v", step[1], changes)
		}
	}},
}

// pod puts a running Pod.
func (a *api) pod(name string, ready bool, change func(*corev1.Pod)) {
	a.Helper()
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "cp", Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "198.19.1.2", PodIPs: []corev1.PodIP{{IP: "198.19.1.2"}, {IP: "2001:db8:19:1::2"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}},
		},
	}
	change(p)
	a.must(a.server.Control().Put(a.ctx(), p))
}

// slices are the EndpointSlices of a Service.
func (a *api) slices(service string) []discoveryv1.EndpointSlice {
	a.Helper()
	list, err := a.proto.DiscoveryV1().EndpointSlices("default").List(a.ctx(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	a.must(err)
	return list.Items
}

func asIs(*corev1.Pod) {}

var endpointChecks = []check{
	{"a slice for each family, in either order of creation", func(a *api) {
		a.pod("one", true, asIs)
		s := a.service(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) })
		a.pod("two", true, func(p *corev1.Pod) { p.Status.PodIPs = p.Status.PodIPs[:1] })
		all := a.slices(s.Name)
		a.true(len(all) == 2 && len(all[0].Endpoints) == 2 && len(all[1].Endpoints) == 1, "got %+v", all)
		e := all[0].Endpoints[0]
		a.true(*e.Conditions.Ready && *e.NodeName == "cp" && e.TargetRef.Name == "one", "got %+v", e)
	}},
	{"a Service without Pods has an empty slice", func(a *api) {
		all := a.slices(a.service(func(*corev1.Service) {}).Name)
		a.true(len(all) == 1 && len(all[0].Endpoints) == 0, "got %+v", all)
	}},
	{"unready Pods are not ready", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		a.pod("one", false, asIs)
		a.true(!*a.slices(s.Name)[0].Endpoints[0].Conditions.Ready, "it is ready")
		a.pod("one", true, asIs)
		a.true(*a.slices(s.Name)[0].Endpoints[0].Conditions.Ready, "it is not ready")
	}},
	{"a deleted Pod is no endpoint", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		a.pod("one", true, asIs)
		_, err := a.server.Control().Delete(a.ctx(), "pod", "default", "one")
		a.must(err)
		a.true(len(a.slices(s.Name)[0].Endpoints) == 0, "it still is")
	}},
	{"a Pod that is going serves and is not ready, unless that is published", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		a.pod("one", true, func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.Now().Rfc3339Copy()) })
		c := a.slices(s.Name)[0].Endpoints[0].Conditions
		a.true(!*c.Ready && *c.Serving && *c.Terminating, "got %+v", c)
		s = a.service(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true })
		c = a.slices(s.Name)[0].Endpoints[0].Conditions
		a.true(*c.Ready && *c.Serving && *c.Terminating, "got %+v", c)
	}},
	{"Pods that disagree about a named port have a slice each", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("http") })
		a.pod("one", true, asIs)
		a.pod("two", true, func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort++ })
		all := a.slices(s.Name)
		a.true(len(all) == 2 && *all[0].Ports[0].Port+1 == *all[1].Ports[0].Port && all[1].Endpoints[0].TargetRef.Name == "two", "got %+v", all)
	}},
	{"named ports are resolved", func(a *api) {
		a.pod("one", true, asIs)
		s := a.service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("http") })
		a.true(*a.slices(s.Name)[0].Ports[0].Port == 8080, "got %+v", a.slices(s.Name)[0].Ports)
	}},
	{"other Pods are no endpoints", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		a.pod("other", true, func(p *corev1.Pod) { p.Labels = nil })
		a.true(len(a.slices(s.Name)[0].Endpoints) == 0, "it is one")
	}},
	{"slices go with their Service", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		a.must(a.json.CoreV1().Services("default").Delete(a.ctx(), s.Name, metav1.DeleteOptions{}))
		a.true(len(a.slices(s.Name)) == 0, "they stay")
	}},
	{"a Service without selector keeps its user's slices", func(a *api) {
		s := a.service(func(s *corev1.Service) { s.Spec.Selector = nil })
		own := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: "own", Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
			AddressType: "IPv4", Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"198.19.1.9"}}}, Ports: []discoveryv1.EndpointPort{{Port: ptr.To(int32(80))}},
		}
		made, err := a.json.DiscoveryV1().EndpointSlices("default").Create(a.ctx(), own, metav1.CreateOptions{})
		a.must(err)
		a.true(len(a.slices(s.Name)) == 1 && *made.Ports[0].Name == "" && *made.Ports[0].Protocol == "TCP", "got %+v", made)
	}},
	{"legacy Endpoints follow", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		a.pod("one", true, asIs)
		a.pod("two", false, func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: "198.19.1.3"}} })
		e, err := a.json.CoreV1().Endpoints("default").Get(a.ctx(), s.Name, metav1.GetOptions{})
		a.must(err)
		a.true(len(e.Subsets) == 1 && len(e.Subsets[0].Addresses) == 1 && len(e.Subsets[0].NotReadyAddresses) == 1, "got %+v", e)
	}},
	{"the API server's own endpoints", func(a *api) {
		a.must(a.server.Control().SetAPIServer([]netip.Addr{netip.MustParseAddr("192.0.2.10")}, nil, 6443))
		all := a.slices("kubernetes")
		a.true(len(all) == 1 && all[0].Endpoints[0].Addresses[0] == "192.0.2.10" && *all[0].Ports[0].Port == 6443, "got %+v", all)
	}},
}
