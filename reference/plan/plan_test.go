package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

var testNode = &corev1.Node{
	ObjectMeta: metav1.ObjectMeta{Name: "cp"},
	Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "192.0.2.10"}, {Type: corev1.NodeInternalIP, Address: "2001:db8:2::10"},
	}},
}

var otherNode = withPods(&corev1.Node{
	ObjectMeta: metav1.ObjectMeta{Name: "worker"},
	Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "192.0.2.20"}, {Type: corev1.NodeHostName, Address: "worker"},
	}},
}, "198.19.2.0/24")

func withPods(n *corev1.Node, ranges ...string) *corev1.Node {
	n = n.DeepCopy()
	n.Spec.PodCIDRs = ranges
	return n
}

var testFacts = Facts{Local: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8:2::10")}}

// randomPicture makes Services of every kind, with and without endpoints.
func randomPicture(r *rand.Rand) Picture {
	p := Picture{Node: testNode}
	types := []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName}
	for i := range r.IntN(8) {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("s%d", i)}}
		s.Spec.Type = types[r.IntN(len(types))]
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
		if s.Spec.Type != corev1.ServiceTypeExternalName {
			s.Spec.ClusterIPs = []string{fmt.Sprintf("198.18.0.%d", 1+r.IntN(6)), fmt.Sprintf("2001:db8:18::%d", 1+r.IntN(6))}
			s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
		}
		port := corev1.ServicePort{Port: int32(80 + r.IntN(3)), Protocol: corev1.ProtocolTCP}
		if s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			port.NodePort = int32(30000 + i)
			s.Spec.HealthCheckNodePort = int32(31000 + i)
		}
		if r.IntN(3) == 0 { // often another Service's cluster address
			s.Spec.ExternalIPs = []string{fmt.Sprintf("198.18.0.%d", 1+r.IntN(8)), "203.0.113.1"}
		}
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("203.0.113.%d", 1+r.IntN(4))}}
		}
		s.Spec.Ports = []corev1.ServicePort{port}
		p.Services = append(p.Services, s)
		p.Slices = append(p.Slices, randomSlice(r, s, discoveryv1.AddressTypeIPv4, "198.19.1.%d"), randomSlice(r, s, discoveryv1.AddressTypeIPv6, "2001:db8:19:1::%d"))
	}
	return p
}

func randomSlice(r *rand.Rand, s *corev1.Service, kind discoveryv1.AddressType, form string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name + string(kind), Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
		AddressType: kind, Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(8080)), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	for range r.IntN(4) {
		e := discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf(form, 1+r.IntN(5))}}
		if r.IntN(2) == 0 {
			e.NodeName = ptr.To("cp")
		}
		if r.IntN(3) == 0 {
			e.Conditions = discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(r.IntN(2) == 0), Terminating: ptr.To(true)}
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return slice
}

func TestPlanIsAFunctionOfTheSetOfObjects(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := randomPicture(r)
		first := Plan(p, testFacts)
		if again := Plan(p, testFacts); !reflect.DeepEqual(first, again) {
			t.Fatalf("seed %d: the second plan differs", seed)
		}
		r.Shuffle(len(p.Services), func(i, j int) { p.Services[i], p.Services[j] = p.Services[j], p.Services[i] })
		r.Shuffle(len(p.Slices), func(i, j int) { p.Slices[i], p.Slices[j] = p.Slices[j], p.Slices[i] })
		if shuffled := Plan(p, testFacts); !reflect.DeepEqual(first, shuffled) {
			t.Fatalf("seed %d: another order of objects gives another plan:\n%+v\n%+v", seed, first, shuffled)
		}
	}
}

func TestPlanHoldsTogether(t *testing.T) {
	for seed := range uint64(300) {
		s := Plan(randomPicture(rand.New(rand.NewPCG(seed, 2))), testFacts)
		for vip, source := range s.VIPs {
			if FamilyOf(vip) != FamilyOf(source) || s.LocalIPs[vip] {
				t.Fatalf("seed %d: VIP %s with source %s", seed, vip, source)
			}
			if !s.ServiceIPs(FamilyOf(vip))[vip] {
				t.Fatalf("seed %d: VIP %s is served by nothing", seed, vip)
			}
		}
		for key, v := range s.Services {
			for d := range v.Dests {
				if FamilyOf(d.Address) != FamilyOf(key.Address) {
					t.Fatalf("seed %d: %s has a destination of the other family: %s", seed, key, d)
				}
			}
		}
	}
}

func TestPlanOneService(t *testing.T) {
	service := func(change func(*corev1.Service)) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: "198.18.0.5", ClusterIPs: []string{"198.18.0.5"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Port: 80, NodePort: 30080, Protocol: corev1.ProtocolTCP}},
		}}
		change(s)
		return s
	}
	endpoint := func(address, node string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: []string{address}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{
			Ready: ready, Serving: ptr.To(true), Terminating: ptr.To(ready != nil && !*ready),
		}}
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(8080)), Protocol: ptr.To(corev1.ProtocolTCP)}},
		Endpoints: []discoveryv1.Endpoint{endpoint("198.19.1.1", "cp", nil), endpoint("198.19.2.1", "worker", nil), endpoint("198.19.2.2", "worker", ptr.To(false))},
	}
	for name, c := range map[string]struct {
		change func(*corev1.Service)
		want   map[string]int // service to number of destinations
	}{
		"cluster and node port": {func(*corev1.Service) {}, map[string]int{"198.18.0.5:80/tcp": 2, "192.0.2.10:30080/tcp": 2}},
		"external policy local": {func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = "Local" }, map[string]int{"198.18.0.5:80/tcp": 2, "192.0.2.10:30080/tcp": 1}},
		"internal policy local": {func(s *corev1.Service) {
			s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
		}, map[string]int{"198.18.0.5:80/tcp": 1, "192.0.2.10:30080/tcp": 2}},
		"another proxy's":                {func(s *corev1.Service) { s.Labels = map[string]string{proxyNameLabel: "other"} }, map[string]int{}},
		"headless":                       {func(s *corev1.Service) { s.Spec.ClusterIP = "None" }, map[string]int{}},
		"headless by label":              {func(s *corev1.Service) { s.Labels = map[string]string{corev1.IsHeadlessService: ""} }, map[string]int{}},
		"SCTP has no endpoints of TCP's": {func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "SCTP" }, map[string]int{"198.18.0.5:80/sctp": 0, "192.0.2.10:30080/sctp": 0}},
		"mode Proxy is not bound": {func(s *corev1.Service) {
			s.Spec.Type = corev1.ServiceTypeLoadBalancer
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)}, {IP: "203.0.113.2"}}
		}, map[string]int{"198.18.0.5:80/tcp": 2, "192.0.2.10:30080/tcp": 2, "203.0.113.2:80/tcp": 2}},
		"a node's address is no VIP": {func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.10"} }, map[string]int{"198.18.0.5:80/tcp": 2, "192.0.2.10:30080/tcp": 2}},
		"another node's address, or a pod's, is nobody's VIP": {func(s *corev1.Service) {
			s.Spec.Type = corev1.ServiceTypeLoadBalancer
			s.Spec.ExternalIPs = []string{"192.0.2.20", "198.19.1.9", "198.19.2.9", "192.0.2.99"}
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.10"}, {IP: "192.0.2.20"}, {IP: "198.19.2.9"}, {IP: "127.0.0.1"}, {IP: "203.0.113.2"}}
		}, map[string]int{"198.18.0.5:80/tcp": 2, "192.0.2.10:30080/tcp": 2, "192.0.2.99:80/tcp": 2, "203.0.113.2:80/tcp": 2}},
		"UDP has no endpoints of TCP's": {func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "UDP" }, map[string]int{"198.18.0.5:80/udp": 0, "192.0.2.10:30080/udp": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := Plan(Picture{Node: withPods(testNode, "198.19.1.0/24"), Others: []*corev1.Node{otherNode}, Services: []*corev1.Service{service(c.change)}, Slices: []*discoveryv1.EndpointSlice{slice}}, testFacts)
			got := map[string]int{}
			for key, v := range s.Services {
				got[key.String()] = len(v.Dests)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestPlanKeepsExternalAddressesFromOthers, whoever comes first.
func TestPlanKeepsExternalAddressesFromOthers(t *testing.T) {
	service := func(name, ip string, external ...string) Object {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		s.Spec = corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, ExternalIPs: external, Ports: []corev1.ServicePort{{Port: 80}}}
		return Object{Name: types.NamespacedName{Namespace: "default", Name: name}, Service: s}
	}
	thief, owner := service("thief", "198.18.0.5", "198.18.0.6", "192.0.2.10", "198.51.100.5"), service("owner", "198.18.0.6")
	owner.Service.Spec.Ports[0].Port = 81
	gone := Object{Name: owner.Name}
	stolen := Service{netip.MustParseAddr("198.18.0.6"), 80, TCP}
	p := NewPlanner(Picture{Node: testNode}, testFacts)
	for _, step := range []struct {
		object Object
		served bool
	}{{thief, true}, {owner, false}, {gone, true}, {owner, false}} {
		change := p.Update(step.object)
		if _, served := p.State().Services[stolen]; served != step.served {
			t.Errorf("after %s %v: served is %t", step.object.Name, step.object.Service != nil, served)
		}
		if !change.Services[stolen] {
			t.Errorf("after %s: the change does not name %s", step.object.Name, stolen)
		}
	}
	if s := p.State(); s.LocalIPs[netip.MustParseAddr("198.51.100.5")] || len(s.Services) != 3 {
		t.Errorf("serves %v", s.Services)
	}
}

func TestPlanHairpinsAndHealth(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "198.18.0.5", ClusterIPs: []string{"198.18.0.5"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		HealthCheckNodePort: 31000, Ports: []corev1.ServicePort{{Port: 80, NodePort: 30080, Protocol: corev1.ProtocolTCP}},
	}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(8080))}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"198.19.1.1"}, NodeName: ptr.To("cp")}, {Addresses: []string{"198.19.2.1"}, NodeName: ptr.To("worker")},
			{Addresses: []string{"198.19.1.2"}, NodeName: ptr.To("cp"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)}},
		},
	}
	facts := testFacts
	facts.Local = append(slices.Clone(facts.Local), netip.MustParseAddr("192.0.2.11"))
	facts.NodePortsOnAll = true
	p := NewPlanner(Picture{Node: testNode, Services: []*corev1.Service{s}, Slices: []*discoveryv1.EndpointSlice{slice}}, facts)
	state := p.State()
	if want := (Hairpin{Dest{netip.MustParseAddr("198.19.1.1"), 8080}, TCP}); len(state.Hairpins) != 1 || !state.Hairpins[want] {
		t.Errorf("hairpins: %v", state.Hairpins)
	}
	name := types.NamespacedName{Namespace: "default", Name: "web"}
	if got := state.Health[31000]; got != (Health{name, 1}) {
		t.Errorf("health: %v", got)
	}
	for _, ip := range []string{"192.0.2.10", "192.0.2.11"} {
		if _, ok := state.Services[Service{netip.MustParseAddr(ip), 30080, TCP}]; !ok {
			t.Errorf("no node port on %s", ip)
		}
	}
	if len(state.Services) != 3 {
		t.Errorf("serves %v", state.Services)
	}
	change := p.Update(Object{Name: name})
	if state := p.State(); len(state.Hairpins)+len(state.Health)+len(state.Services) > 0 || len(change.Hairpins) != 1 || !change.Health {
		t.Errorf("after the Service has gone: %+v; the change is %+v", state, change)
	}
}
