package invariant_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

var both = []world.Family{world.IPv4, world.IPv6}

// pick is the first text for IPv4 and the second for IPv6.
func pick(f world.Family, v4, v6 string) string {
	if f == world.IPv4 {
		return v4
	}
	return v6
}

func addr(f world.Family, v4, v6 string) netip.Addr { return netip.MustParseAddr(pick(f, v4, v6)) }

// The addresses of the node, its API server, its pods and a pod elsewhere.
func nodeAddr(f world.Family) netip.Addr   { return addr(f, "192.0.2.10", "2001:db8:2::10") }
func secondAddr(f world.Family) netip.Addr { return addr(f, "192.0.2.11", "2001:db8:2::11") }
func podAddr(f world.Family) netip.Addr    { return addr(f, "198.19.1.20", "2001:db8:19:1::20") }
func farAddr(f world.Family) netip.Addr    { return addr(f, "198.19.2.20", "2001:db8:19:2::20") }

// node is a View under construction. Its kernel state is written by hand, entry by entry, never from what the oracle says.
type node struct{ invariant.View }

// newNode is a control-plane node on which the proxy serves nothing but the kubernetes Service.
func newNode(families ...world.Family) *node {
	n := &node{invariant.View{
		Node:     invariant.Node{Name: "cp", Addresses: map[world.Family][]netip.Addr{}, PodCIDR: map[world.Family]netip.Prefix{}},
		Families: families, Ranges: world.DefaultRanges(), Options: scenario.Options{LoadBalancer: true}, Keeps: invariant.KeepAll,
		Before: &netstate.State{}, Now: &netstate.State{},
		Subject: invariant.Subject{Name: "reference", Expected: true, Alive: true},
	}}
	n.Now.Links = []netstate.Link{
		{Name: "eth0", Kind: "veth", Up: true}, {Name: "kube-dummy-if", Kind: "dummy", Up: true}, {Name: "lo", Kind: "loopback", Up: true},
	}
	n.Now.Sysctls = map[string]string{
		"net.ipv4.vs.conntrack": "1", "net.ipv4.vs.expire_nodest_conn": "1", "net.ipv4.vs.expire_quiescent_template": "1", "net.ipv4.vs.conn_reuse_mode": "0",
		"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2", "net.ipv4.ip_forward": "1",
	}
	for _, f := range families {
		n.Node.Addresses[f] = []netip.Addr{nodeAddr(f), secondAddr(f)}
		for _, a := range n.Node.Addresses[f] {
			n.put("eth0", netip.PrefixFrom(a, map[world.Family]int{world.IPv4: 24, world.IPv6: 64}[f]), "global")
			n.add("kube-router-local-ips", f, a.String())
		}
		n.put("lo", netip.PrefixFrom(addr(f, "127.0.0.1", "::1"), f.HostBits()), "host")
		n.firewall(f)
	}
	if len(families) == 0 || families[0] == world.IPv6 || len(families) == 2 {
		n.put("eth0", netip.MustParsePrefix("fe80::10/64"), "link")
		n.put("kube-dummy-if", netip.MustParsePrefix("fe80::20/64"), "link")
		// what the kernel adds for any IPv6 link
		n.Now.Routes = append(n.Now.Routes,
			netstate.Route{Table: 254, Type: "unicast", Dst: netip.MustParsePrefix("fe80::/64"), Link: "kube-dummy-if", Metric: 256, Protocol: "kernel"},
			netstate.Route{Table: 255, Type: "local", Dst: netip.MustParsePrefix("fe80::20/128"), Link: "kube-dummy-if", Protocol: "kernel"},
			netstate.Route{Table: 255, Type: "multicast", Dst: netip.MustParsePrefix("ff00::/8"), Link: "kube-dummy-if", Metric: 256, Protocol: "kernel"})
	}
	n.object("kubernetes", corev1.ServiceTypeClusterIP, corev1.ServicePort{Name: "https", Port: 443})
	for _, f := range families {
		n.clusterIP("kubernetes", f, addr(f, "198.18.0.1", "2001:db8:18::1"))
		n.slice("kubernetes", f, 6443, "https", discoveryv1.Endpoint{Addresses: []string{nodeAddr(f).String()}})
		n.vip(addr(f, "198.18.0.1", "2001:db8:18::1"), "TCP", 443, netip.AddrPortFrom(nodeAddr(f), 6443))
	}
	return n
}

// withExample adds the LoadBalancer Service of the founding bug: port 1337, node port 31337, two endpoints, one of them here.
func (n *node) withExample() *node {
	s := n.object("example", corev1.ServiceTypeLoadBalancer, corev1.ServicePort{Port: 1337, NodePort: 31337})
	for _, f := range n.Families {
		cluster, lb := addr(f, "198.18.0.7", "2001:db8:18::7"), addr(f, "203.0.113.1", "2001:db8:113::1")
		n.clusterIP("example", f, cluster)
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: lb.String()})
		n.slice("example", f, 8080, "", endpoint("web-1", "cp", podAddr(f)), endpoint("web-2", "worker", farAddr(f)))
		dests := []netip.AddrPort{netip.AddrPortFrom(podAddr(f), 8080), netip.AddrPortFrom(farAddr(f), 8080)}
		n.vip(cluster, "TCP", 1337, dests...)
		n.vip(lb, "TCP", 1337, dests...)
		n.virtual(nodeAddr(f), "TCP", 31337, dests...)
	}
	return n
}

func endpoint(pod, nodeName string, a netip.Addr) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{a.String()}, NodeName: &nodeName, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod},
	}
}

// object adds a Service without addresses.
func (n *node) object(name string, kind corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	s.Spec.Type, s.Spec.Ports = kind, ports
	n.Objects.Services = append(n.Objects.Services, s)
	return s
}

func (n *node) service(name string) *corev1.Service {
	for _, s := range n.Objects.Services {
		if s.Name == name {
			return s
		}
	}
	panic("no Service " + name)
}

func (n *node) clusterIP(name string, f world.Family, a netip.Addr) {
	s := n.service(name)
	if s.Spec.ClusterIP == "" {
		s.Spec.ClusterIP = a.String()
	}
	s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, a.String())
	s.Spec.IPFamilies = append(s.Spec.IPFamilies, corev1.IPFamily(f.String()))
}

func (n *node) slice(service string, f world.Family, port int32, portName string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return n.sliceOf(service, f, corev1.ProtocolTCP, port, portName, endpoints...)
}

func (n *node) sliceOf(service string, f world.Family, protocol corev1.Protocol, port int32, portName string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: fmt.Sprintf("%s-%s-%s", service, strings.ToLower(f.String()), portName),
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressType(f.String()), Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}},
	}
	n.Objects.Slices = append(n.Objects.Slices, s)
	return s
}

// vip is a virtual service with the address on kube-dummy-if and its route.
func (n *node) vip(a netip.Addr, protocol string, port uint16, dests ...netip.AddrPort) {
	f := world.FamilyOf(a)
	if _, ok := find(n.Now.Addrs, func(have netstate.Addr) bool { return have.Prefix.Addr() == a }); !ok {
		n.put("kube-dummy-if", netip.PrefixFrom(a, f.HostBits()), "global")
		r := netstate.Route{
			Table: 255, Type: "local", Dst: netip.PrefixFrom(a, f.HostBits()), Link: "kube-dummy-if", Src: nodeAddr(f),
			Protocol: "kernel", Scope: "host",
		}
		if f == world.IPv6 {
			r.Metric, r.Scope = 1024, "global"
		}
		n.Now.Routes = append(n.Now.Routes, r)
	}
	n.virtual(a, protocol, port, dests...)
}

// virtual is a virtual service with its members in the sets.
func (n *node) virtual(a netip.Addr, protocol string, port uint16, dests ...netip.AddrPort) *netstate.IPVSService {
	f := world.FamilyOf(a)
	s := netstate.IPVSService{
		Protocol: protocol, Address: a, Port: port, IPv6: f == world.IPv6, Scheduler: "rr",
		Netmask: map[world.Family]uint32{world.IPv4: 0xffffffff, world.IPv6: 128}[f],
	}
	for _, d := range dests {
		s.Dests = append(s.Dests, netstate.IPVSDest{Address: d.Addr(), Port: d.Port(), Weight: 1, Forward: "Masq"})
	}
	n.Now.IPVS = append(n.Now.IPVS, s)
	n.add("kube-router-svip", f, a.String())
	n.add("kube-router-svip-prt", f, fmt.Sprintf("%s,%s:%d", a, strings.ToLower(protocol), port))
	return &n.Now.IPVS[len(n.Now.IPVS)-1]
}

// put adds an address to a link.
func (n *node) put(link string, p netip.Prefix, scope string) {
	n.Now.Addrs = append(n.Now.Addrs, netstate.Addr{Link: link, Prefix: p, Scope: scope, Usable: true})
}

// occupied gives the virtual service of the example's load balancer address to somebody else.
func (n *node) occupied(t *testing.T, f world.Family) {
	n.drop(t, lb(f), 1337)
	n.Now.IPVS = append(n.Now.IPVS, netstate.IPVSService{Protocol: "TCP", Address: lb(f), Port: 1337, IPv6: f == world.IPv6, Scheduler: "wlc"})
	n.Before.IPVS = n.Now.IPVS[len(n.Now.IPVS)-1:]
	n.put("kube-dummy-if", netip.PrefixFrom(lb(f), f.HostBits()), "global") // whether the VIP is there is another matter
	n.Now.Routes = append(n.Now.Routes, netstate.Route{Table: 255, Type: "local", Dst: netip.PrefixFrom(lb(f), f.HostBits()), Link: "kube-dummy-if", Src: nodeAddr(f)})
}

// tell makes an Event on a Service.
func (n *node) tell(service, kind, message string) {
	n.Objects.Events = append(n.Objects.Events, &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Service", Namespace: "default", Name: service}, Type: kind, Reason: "Test", Message: message,
	})
}

// set is the set of a family, made if it is not there.
func (n *node) set(base string, f world.Family) *netstate.Set {
	name := pick(f, base, "inet6:"+base)
	for i := range n.Now.Sets {
		if n.Now.Sets[i].Name == name {
			return &n.Now.Sets[i]
		}
	}
	kind := "hash:ip"
	if base == "kube-router-svip-prt" {
		kind = "hash:ip,port"
	}
	n.Now.Sets = append(n.Now.Sets, netstate.Set{Name: name, Type: kind, IPv6: f == world.IPv6, Options: "timeout 0"})
	return &n.Now.Sets[len(n.Now.Sets)-1]
}

// add puts a member into a set, once.
func (n *node) add(base string, f world.Family, member string) {
	s := n.set(base, f)
	if _, ok := find(s.Members, func(m string) bool { return m == member }); !ok {
		s.Members = append(s.Members, member)
	}
}

// remove takes a member out of a set.
func (n *node) remove(t *testing.T, base string, f world.Family, member string) {
	t.Helper()
	s := n.set(base, f)
	i, ok := find(s.Members, func(m string) bool { return m == member })
	if !ok {
		t.Fatalf("set %s has no member %s", s.Name, member)
	}
	s.Members = append(s.Members[:i:i], s.Members[i+1:]...)
}

// entry is the virtual service at an address and port.
func (n *node) entry(t *testing.T, a netip.Addr, port uint16) *netstate.IPVSService {
	t.Helper()
	i, ok := find(n.Now.IPVS, func(s netstate.IPVSService) bool { return s.Address == a && s.Port == port })
	if !ok {
		t.Fatalf("no IPVS service at %s port %d", a, port)
	}
	return &n.Now.IPVS[i]
}

// firewall writes the rules that the contract asks for.
func (n *node) firewall(f world.Family) {
	svip, ports, local := pick(f, "", "inet6:")+"kube-router-svip", pick(f, "", "inet6:")+"kube-router-svip-prt", pick(f, "", "inet6:")+"kube-router-local-ips"
	services := []string{
		"-p icmp -m icmp --icmp-type 8 -j ACCEPT", "-p icmp -m icmp --icmp-type 3 -j ACCEPT", "-p icmp -m icmp --icmp-type 11 -j ACCEPT",
	}
	refuse := "icmp-port-unreachable"
	if f == world.IPv6 {
		services = nil
		for _, kind := range []int{128, 1, 3, 135, 136, 129} {
			services = append(services, fmt.Sprintf("-p ipv6-icmp -m icmp6 --icmpv6-type %d -j ACCEPT", kind))
		}
		refuse = "icmp6-port-unreachable"
	}
	services = append(services,
		"-m set --match-set "+ports+" dst,dst -j ACCEPT",
		"-m set ! --match-set "+local+" dst -j REJECT --reject-with "+refuse)
	n.Now.Tables = append(n.Now.Tables, netstate.Table{IPv6: f == world.IPv6, Name: "filter", Chains: []netstate.Chain{
		{Name: "INPUT", Policy: "ACCEPT", Rules: rules("-m set --match-set " + svip + " dst -j KUBE-ROUTER-SERVICES")},
		{Name: "KUBE-ROUTER-SERVICES", Rules: rules(services...)},
	}})
}

// chain is a chain of the filter table.
func (n *node) chain(f world.Family, name string) *netstate.Chain {
	for i, t := range n.Now.Tables {
		if t.Name == "filter" && t.IPv6 == (f == world.IPv6) {
			for j, c := range t.Chains {
				if c.Name == name {
					return &n.Now.Tables[i].Chains[j]
				}
			}
		}
	}
	return nil
}

func rules(specs ...string) []netstate.Rule {
	var all []netstate.Rule
	for _, s := range specs {
		all = append(all, netstate.Rule{Spec: s, Args: strings.Fields(s)})
	}
	return all
}

func find[T any](all []T, is func(T) bool) (int, bool) {
	for i, one := range all {
		if is(one) {
			return i, true
		}
	}
	return -1, false
}

// copyState is a deep copy.
func copyState(t *testing.T, s *netstate.State) *netstate.State {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var c netstate.State
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}
