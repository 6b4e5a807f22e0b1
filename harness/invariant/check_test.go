package invariant_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// clusters are the family sets that every case runs in.
var clusters = map[string][]world.Family{
	"ipv4": {world.IPv4}, "ipv6": {world.IPv6}, "dual-v4": {world.IPv4, world.IPv6}, "dual-v6": {world.IPv6, world.IPv4},
}

func judge(v invariant.View) []finding.Finding {
	var found []finding.Finding
	for _, c := range invariant.All() {
		found = append(found, c.Judge(v)...)
	}
	return found
}

func print(found []finding.Finding) string {
	text := ""
	for _, f := range found {
		text += fmt.Sprintf("\n  %s", f)
		for _, e := range f.Evidence {
			text += "\n    " + e
		}
	}
	return text
}

func TestGoodNodesAreGood(t *testing.T) {
	for name, families := range clusters {
		for what, n := range map[string]*node{"kubernetes": newNode(families...), "example": newNode(families...).withExample(), "many": realistic(families...)} {
			if found := judge(n.View); len(found) > 0 {
				t.Errorf("%s, %s: found%s", name, what, print(found))
			}
		}
	}
}

// fault breaks a good node in one family in such a way that exactly one finding results.
type fault struct {
	id   finding.ID
	name string
	do   func(t *testing.T, n *node, f world.Family)
	// object is the finding's, if it matters.
	object func(f world.Family) string
	// unfamilied: the finding is about no family.
	unfamilied bool
	// only this family can have the fault; zero: both.
	only world.Family
}

func cluster(f world.Family) netip.Addr { return addr(f, "198.18.0.7", "2001:db8:18::7") }
func lb(f world.Family) netip.Addr      { return addr(f, "203.0.113.1", "2001:db8:113::1") }

var faults = []fault{
	{id: "local-ips-incomplete", name: "second address", do: func(t *testing.T, n *node, f world.Family) {
		n.remove(t, "kube-router-local-ips", f, secondAddr(f).String())
	}, object: func(f world.Family) string { return pick(f, "", "inet6:") + "kube-router-local-ips" }},
	{id: "local-ips-incomplete", name: "wrong type", do: func(t *testing.T, n *node, f world.Family) {
		n.set("kube-router-local-ips", f).Type = "hash:net"
	}},
	{id: "local-ips-incomplete", name: "address of a pod's link", do: func(t *testing.T, n *node, f world.Family) {
		n.put("pod-web", netip.PrefixFrom(addr(f, "198.19.1.1", "2001:db8:19:1::1"), 24), "global")
	}},
	{id: "local-ips-excess", name: "a VIP", do: func(t *testing.T, n *node, f world.Family) {
		n.add("kube-router-local-ips", f, lb(f).String())
	}},
	{id: "local-ips-excess", name: "an address that is gone", do: func(t *testing.T, n *node, f world.Family) {
		n.add("kube-router-local-ips", f, addr(f, "192.0.2.77", "2001:db8:2::77").String())
	}},
	{id: "svip-incomplete", do: func(t *testing.T, n *node, f world.Family) {
		n.remove(t, "kube-router-svip", f, lb(f).String())
	}},
	{id: "svip-has-foreign", name: "no entry", do: func(t *testing.T, n *node, f world.Family) {
		n.add("kube-router-svip", f, addr(f, "198.51.100.9", "2001:db8:51::9").String())
	}},
	{id: "svip-has-foreign", name: "entry of another program", do: func(t *testing.T, n *node, f world.Family) {
		a := addr(f, "198.51.100.9", "2001:db8:51::9")
		n.virtual(a, "TCP", 80)
		n.Before.IPVS = append(n.Before.IPVS, *n.entry(t, a, 80))
		n.remove(t, "kube-router-svip-prt", f, a.String()+",tcp:80")
	}},
	{id: "svip-prt-incomplete", do: func(t *testing.T, n *node, f world.Family) {
		n.remove(t, "kube-router-svip-prt", f, lb(f).String()+",tcp:1337")
	}},
	{id: "svip-prt-has-foreign", do: func(t *testing.T, n *node, f world.Family) {
		n.add("kube-router-svip-prt", f, lb(f).String()+",udp:1337")
	}},
	{id: "node-address-unprotected", name: "an address that no link has", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Addrs = slices.DeleteFunc(n.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == nodeAddr(f) })
		n.remove(t, "kube-router-local-ips", f, nodeAddr(f).String())
	}, object: func(f world.Family) string { return nodeAddr(f).String() }},
	{id: "ipvs-service-missing", name: "node port", do: func(t *testing.T, n *node, f world.Family) {
		n.unserve(t, nodeAddr(f), 31337)
	}, object: func(world.Family) string { return "Service default/example" }},
	{id: "ipvs-service-unjustified", do: func(t *testing.T, n *node, f world.Family) {
		a := addr(f, "198.51.100.9", "2001:db8:51::9")
		n.virtual(a, "TCP", 80)
		n.remove(t, "kube-router-svip", f, a.String())
		n.remove(t, "kube-router-svip-prt", f, a.String()+",tcp:80")
	}},
	{id: "ipvs-service-unjustified", name: "firewall mark", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.IPVS = append(n.Now.IPVS, netstate.IPVSService{FWMark: 77, IPv6: f == world.IPv6, Scheduler: "rr"})
	}},
	{id: "ipvs-service-wrong", name: "scheduler", do: func(t *testing.T, n *node, f world.Family) { n.entry(t, lb(f), 1337).Scheduler = "wrr" }},
	{id: "ipvs-service-wrong", name: "annotated scheduler", do: func(t *testing.T, n *node, f world.Family) {
		n.service("example").Annotations = map[string]string{"kube-router.io/service.scheduler": "mh"}
		for _, other := range n.Families {
			for _, s := range n.example(t, other) {
				s.Scheduler = "mh"
			}
		}
		n.entry(t, lb(f), 1337).Scheduler = "rr"
	}, object: func(f world.Family) string { return "TCP " + netip.AddrPortFrom(lb(f), 1337).String() }},
	{id: "ipvs-service-wrong", name: "netmask", do: func(t *testing.T, n *node, f world.Family) {
		n.service("example").Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		for _, other := range n.Families {
			for _, s := range n.example(t, other) {
				s.Persistent, s.Flags, s.Timeout = true, 1, 10800
			}
		}
		n.entry(t, lb(f), 1337).Netmask = 64
	}, object: func(f world.Family) string { return "TCP " + netip.AddrPortFrom(lb(f), 1337).String() }},
	{id: "ipvs-service-wrong", name: "one packet", do: func(t *testing.T, n *node, f world.Family) { n.entry(t, lb(f), 1337).Flags = 4 }},
	{id: "ipvs-service-wrong", name: "affinity without being asked", do: func(t *testing.T, n *node, f world.Family) {
		s := n.entry(t, lb(f), 1337)
		s.Persistent, s.Flags, s.Timeout = true, 1, 10800
	}},
	{id: "ipvs-service-wrong", name: "time-out of affinity", do: func(t *testing.T, n *node, f world.Family) {
		n.service("example").Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		for _, other := range n.Families {
			for _, s := range n.example(t, other) {
				s.Persistent, s.Flags, s.Timeout = true, 1, 10800
			}
		}
		n.entry(t, lb(f), 1337).Timeout = 360
	}},
	{id: "ipvs-dest-missing", do: func(t *testing.T, n *node, f world.Family) {
		s := n.entry(t, lb(f), 1337)
		s.Dests = s.Dests[:1]
	}, object: func(f world.Family) string { return "TCP " + netip.AddrPortFrom(lb(f), 1337).String() }},
	{id: "ipvs-dest-unjustified", do: func(t *testing.T, n *node, f world.Family) {
		s := n.entry(t, lb(f), 1337)
		s.Dests = append(s.Dests, netstate.IPVSDest{Address: farAddr(f).Next(), Port: 8080, Weight: 1, Forward: "Masq"})
	}},
	{id: "ipvs-dest-wrong", name: "weight", do: func(t *testing.T, n *node, f world.Family) { n.entry(t, lb(f), 1337).Dests[0].Weight = 0 }},
	{id: "ipvs-dest-wrong", name: "forwarding", do: func(t *testing.T, n *node, f world.Family) { n.entry(t, lb(f), 1337).Dests[0].Forward = "Route" }},
	{id: "vip-address-missing", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Addrs = slices.DeleteFunc(n.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == lb(f) })
		n.Now.Routes = slices.DeleteFunc(n.Now.Routes, func(r netstate.Route) bool { return r.Dst.Addr() == lb(f) })
	}},
	{id: "vip-address-missing", name: "but the route is there", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Addrs = slices.DeleteFunc(n.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == lb(f) })
	}},
	{id: "vip-address-unjustified", name: "left over", do: func(t *testing.T, n *node, f world.Family) {
		n.put("kube-dummy-if", netip.PrefixFrom(lb(f).Next(), f.HostBits()), "global")
	}},
	{id: "vip-address-unjustified", name: "node port", do: func(t *testing.T, n *node, f world.Family) {
		n.put("kube-dummy-if", netip.PrefixFrom(nodeAddr(f), f.HostBits()), "global")
	}},
	{id: "vip-address-unjustified", name: "wide mask", do: func(t *testing.T, n *node, f world.Family) {
		i, _ := find(n.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == lb(f) })
		n.Now.Addrs[i].Prefix = netip.PrefixFrom(lb(f), 24)
	}},
	{id: "vip-route-wrong", name: "no route", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Routes = slices.DeleteFunc(n.Now.Routes, func(r netstate.Route) bool { return r.Dst.Addr() == lb(f) })
	}},
	{id: "vip-route-wrong", name: "the kernel's own local route", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Routes = append(n.Now.Routes, netstate.Route{Table: 255, Type: "local", Dst: netip.PrefixFrom(lb(f), f.HostBits()), Link: "kube-dummy-if", Protocol: "kernel"})
	}},
	{id: "vip-route-wrong", name: "the kernel's own route in main", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Routes = append(n.Now.Routes, netstate.Route{Table: 254, Type: "unicast", Dst: netip.PrefixFrom(lb(f), f.HostBits()), Link: "kube-dummy-if", Protocol: "kernel", Metric: 256})
	}},
	{id: "vip-route-wrong", name: "source is the VIP", do: func(t *testing.T, n *node, f world.Family) {
		i, _ := find(n.Now.Routes, func(r netstate.Route) bool { return r.Dst.Addr() == lb(f) })
		n.Now.Routes[i].Src = lb(f)
	}},
	{id: "vip-route-wrong", name: "left over", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Routes = append(n.Now.Routes, netstate.Route{Table: 255, Type: "local", Dst: netip.PrefixFrom(lb(f).Next(), f.HostBits()), Link: "kube-dummy-if", Src: nodeAddr(f)})
	}},
	{id: "sysctl-wrong", unfamilied: true, do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Sysctls["net.ipv4.vs.expire_nodest_conn"] = "0"
	}},
	{id: "lb-address-missing", do: func(t *testing.T, n *node, f world.Family) {
		s := n.service("example")
		s.Status.LoadBalancer.Ingress = slices.DeleteFunc(s.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool { return i.IP == lb(f).String() })
		n.unserve(t, lb(f), 1337)
		n.remove(t, "kube-router-svip", f, lb(f).String())
		n.remove(t, "kube-router-svip-prt", f, lb(f).String()+",tcp:1337")
		n.Now.Addrs = slices.DeleteFunc(n.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == lb(f) })
		n.Now.Routes = slices.DeleteFunc(n.Now.Routes, func(r netstate.Route) bool { return r.Dst.Addr() == lb(f) })
	}, object: func(world.Family) string { return "Service default/example" }},
	{id: "lb-address-duplicate", do: func(t *testing.T, n *node, f world.Family) {
		s := n.object("twin", corev1.ServiceTypeLoadBalancer)
		for _, other := range n.Families {
			n.clusterIP("twin", other, addr(other, "198.18.0.8", "2001:db8:18::8"))
			given := lb(other)
			if other != f {
				given = given.Next()
			}
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: given.String()})
		}
	}, object: func(f world.Family) string { return lb(f).String() }},
	{id: "lb-address-wrong", name: "of no range", do: func(t *testing.T, n *node, f world.Family) {
		n.Ranges.LoadBalancers = maps.Clone(n.Ranges.LoadBalancers)
		n.Ranges.LoadBalancers[f] = n.Ranges.Externals[f]
	}, object: func(world.Family) string { return "Service default/example" }},
	{id: "lb-address-wrong", name: "not what it asks for", do: func(t *testing.T, n *node, f world.Family) {
		n.service("example").Spec.LoadBalancerIP = lb(f).Next().String()
	}, object: func(world.Family) string { return "Service default/example" }},
	{id: "conflict-untold", name: "silence", do: func(t *testing.T, n *node, f world.Family) { n.occupied(t, f) },
		object: func(world.Family) string { return "Service default/example" }},
	{id: "conflict-untold", name: "told of something else", do: func(t *testing.T, n *node, f world.Family) {
		n.occupied(t, f)
		n.tell("example", corev1.EventTypeNormal, "served at "+netip.AddrPortFrom(lb(f), 1337).String())
		n.tell("example", corev1.EventTypeWarning, "not served at "+netip.AddrPortFrom(lb(f), 13370).String()+"/tcp")
		n.tell("other", corev1.EventTypeWarning, "not served at "+netip.AddrPortFrom(lb(f), 1337).String()+"/tcp")
	}, object: func(world.Family) string { return "Service default/example" }},
	{id: "foreign-changed", unfamilied: true, name: "IPVS service removed", do: func(t *testing.T, n *node, f world.Family) {
		part := &netstate.State{IPVS: []netstate.IPVSService{{FWMark: 7, Scheduler: "wlc"}}}
		n.Injected = append(n.Injected, invariant.Injected{Name: "keepalived", State: part})
	}, object: func(world.Family) string { return "keepalived" }},
	{id: "firewall-jump-wrong", name: "no jump", do: func(t *testing.T, n *node, f world.Family) {
		n.chain(f, "INPUT").Rules = nil
	}},
	{id: "firewall-jump-wrong", name: "twice", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "INPUT")
		c.Rules = append(c.Rules, c.Rules[0])
	}},
	{id: "firewall-jump-wrong", name: "behind an accept", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "INPUT")
		c.Rules = append(rules("-p tcp -m tcp --dport 1337 -j ACCEPT"), c.Rules...)
	}},
	{id: "firewall-jump-wrong", name: "for TCP only", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "INPUT")
		c.Rules = rules("-p tcp " + c.Rules[0].Spec)
	}},
	{id: "firewall-reject-wrong", name: "before the accept", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		last := len(c.Rules) - 1
		c.Rules[last], c.Rules[last-1] = c.Rules[last-1], c.Rules[last]
	}},
	{id: "firewall-reject-wrong", name: "without exemption", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		last := len(c.Rules) - 1
		words := c.Rules[last].Args
		c.Rules[last] = rules(strings.Join(words[len(words)-4:], " "))[0]
	}},
	{id: "firewall-reject-wrong", name: "drops", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules[len(c.Rules)-1] = rules("-m set ! --match-set " + n.set("kube-router-local-ips", f).Name + " dst -j DROP")[0]
	}},
	{id: "firewall-accept-missing", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules = slices.Delete(c.Rules, len(c.Rules)-2, len(c.Rules)-1)
	}},
	{id: "firewall-set-wrong", name: "of the other family", do: func(t *testing.T, n *node, f world.Family) {
		n.Now.Sets = append(n.Now.Sets, netstate.Set{Name: "kube-router-x", Type: "hash:ip", IPv6: f != world.IPv6})
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules = append(rules("-m set --match-set kube-router-x dst -j ACCEPT"), c.Rules...)
	}},
	{id: "firewall-set-wrong", name: "that does not exist", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules = slices.Insert(c.Rules, len(c.Rules)-1, rules("-m set --match-set kube-router-x dst -j ACCEPT")...)
	}},
	{id: "firewall-rule-twice", do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules = append(c.Rules[:1:1], c.Rules...)
	}},
	{id: "firewall-mask-wrong", do: func(t *testing.T, n *node, f world.Family) {
		table := netstate.Table{IPv6: f == world.IPv6, Name: "nat", Chains: []netstate.Chain{{Name: "KUBE-ROUTER-HAIRPIN", Rules: rules(
			"-s " + pick(f, "198.19.1.0/24", "2001:db8::/32") + " -j ACCEPT")}}}
		n.Now.Tables = append(n.Now.Tables, table)
	}},
	{id: "firewall-not-understood", only: world.IPv6, do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules = append(rules("-m recent --rcheck -j RETURN"), c.Rules...)
	}},
	{id: "firewall-rejects-neighbour-discovery", only: world.IPv6, do: func(t *testing.T, n *node, f world.Family) {
		c := n.chain(f, "KUBE-ROUTER-SERVICES")
		c.Rules = slices.DeleteFunc(c.Rules, func(r netstate.Rule) bool { return strings.Contains(r.Spec, "--icmpv6-type 135") })
	}},
	{id: "subject-exited", unfamilied: true, do: func(t *testing.T, n *node, f world.Family) {
		n.Subject.Alive, n.Subject.Exit = false, 255
		n.Now.Sets = nil // what a dead subject leaves behind is not judged
	}},
	{id: "subject-log-error", unfamilied: true, do: func(t *testing.T, n *node, f world.Family) {
		n.Subject.Errors = []string{"level=ERROR msg=\"add VIP\""}
	}},
	{id: "subject-heartbeat-missed", unfamilied: true, do: func(t *testing.T, n *node, f world.Family) {
		n.Subject.Missed = []string{"Hairpin Controller heartbeat missed"}
	}},
	{id: "subject-wrote-outside", unfamilied: true, do: func(t *testing.T, n *node, f world.Family) {
		n.Subject.Written = []string{"/usr/lib/proxy.cache"}
	}},
}

// unserve takes a virtual service out of IPVS alone.
func (n *node) unserve(t *testing.T, a netip.Addr, port uint16) {
	t.Helper()
	n.entry(t, a, port)
	n.Now.IPVS = slices.DeleteFunc(n.Now.IPVS, func(s netstate.IPVSService) bool { return s.Address == a && s.Port == port })
}

// example are the virtual services of Service default/example.
func (n *node) example(t *testing.T, f world.Family) []*netstate.IPVSService {
	return []*netstate.IPVSService{n.entry(t, cluster(f), 1337), n.entry(t, lb(f), 1337), n.entry(t, nodeAddr(f), 31337)}
}

func TestEachFaultGivesExactlyItsFinding(t *testing.T) {
	for _, fault := range faults {
		for set, families := range clusters {
			for _, f := range families {
				if fault.only != 0 && f != fault.only {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s/%s", fault.id, fault.name, set, f), func(t *testing.T) {
					n := newNode(families...).withExample()
					fault.do(t, n, f)
					found := judge(n.View)
					if len(found) != 1 || found[0].ID != fault.id {
						t.Fatalf("want exactly %s, found%s", fault.id, print(found))
					}
					got := found[0]
					if want := f.String(); !fault.unfamilied && got.Family != want {
						t.Errorf("family is %q, want %q", got.Family, want)
					}
					if fault.object != nil && got.Object != fault.object(f) {
						t.Errorf("object is %q, want %q", got.Object, fault.object(f))
					}
					if got.Sentence == "" || len(got.Evidence) == 0 {
						t.Errorf("sentence or evidence is missing: %+v", got)
					}
				})
			}
		}
	}
}

// TestDrains: a destination without new connections is on its way out, unless it is an endpoint in use.
func TestDrains(t *testing.T) {
	n := newNode(world.IPv6).withExample()
	lbOf := func() *netstate.IPVSService { return n.entry(t, lb(world.IPv6), 1337) }
	if n.View.Drains() {
		t.Error("with all destinations in use something drains")
	}
	lbOf().Dests[0].Weight = 0
	if n.View.Drains() {
		t.Error("an endpoint in use that gets no connections is taken for one that drains")
	}
	lbOf().Dests = append(lbOf().Dests, netstate.IPVSDest{Address: farAddr(world.IPv6).Next(), Port: 8080, Forward: "Masq"})
	if !n.View.Drains() {
		t.Error("an endpoint that is no longer in use and gets no connections does not drain")
	}
}

// An address of a link cannot lose its protection without a gap in local-ips: this fault has two findings.
func TestNodeAddressUnprotected(t *testing.T) {
	for set, families := range clusters {
		for _, f := range families {
			n := newNode(families...).withExample()
			n.set("kube-router-local-ips", f).Members = nil
			found := judge(n.View)
			if got := ids(found); !slices.Equal(got, []finding.ID{"local-ips-incomplete", "node-address-unprotected"}) {
				t.Errorf("%s, %s: found%s", set, f, print(found))
			}
			if i, ok := find(found, func(f finding.Finding) bool { return f.ID == "node-address-unprotected" }); ok && found[i].Object != nodeAddr(f).String() {
				t.Errorf("%s, %s: the object is %q; the second address is not in svip", set, f, found[i].Object)
			}
		}
	}
}

// Without a node port the same gap closes nothing.
func TestGapWithoutNodePortIsNoLossOfProtection(t *testing.T) {
	n := newNode(world.IPv6)
	n.set("kube-router-local-ips", world.IPv6).Members = nil
	if found := judge(n.View); !slices.Equal(ids(found), []finding.ID{"local-ips-incomplete"}) {
		t.Errorf("found%s", print(found))
	}
}

func ids(found []finding.Finding) []finding.ID {
	var all []finding.ID
	for _, f := range found {
		all = append(all, f.ID)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestEveryFindingHasACase(t *testing.T) {
	have := map[finding.ID]bool{}
	for _, f := range faults {
		have[f.id] = true
	}
	known := map[finding.ID]bool{}
	for _, e := range finding.Catalogue() {
		known[e.ID] = true
	}
	for _, c := range invariant.All() {
		for _, id := range c.Findings {
			if !have[id] {
				t.Errorf("no case gives %s", id)
			}
			if !known[id] {
				t.Errorf("%s is not in the catalogue", id)
			}
			delete(have, id)
		}
	}
	for id := range have {
		t.Errorf("no check announces %s", id)
	}
}

func TestChecksKeepToWhatTheSubjectKeeps(t *testing.T) {
	cases := map[string]struct {
		keeps invariant.Keep
		want  []finding.ID
	}{
		"nothing":   {0, nil},
		"sets":      {invariant.KeepSets, []finding.ID{"local-ips-incomplete", "svip-incomplete", "svip-prt-incomplete"}},
		"ipvs":      {invariant.KeepIPVS, []finding.ID{"ipvs-service-missing"}},
		"addresses": {invariant.KeepAddresses, []finding.ID{"vip-address-missing"}},
	}
	for name, c := range cases {
		n := newNode(both...).withExample()
		n.Now.IPVS, n.Now.Sets, n.Now.Links, n.Now.Routes, n.Keeps = nil, nil, nil, nil, c.keeps
		n.Now.Addrs = slices.DeleteFunc(n.Now.Addrs, func(a netstate.Addr) bool { return a.Link == "kube-dummy-if" })
		if got := ids(judge(n.View)); !slices.Equal(got, c.want) {
			t.Errorf("%s: found %v, want %v", name, got, c.want)
		}
	}
}

// A subject that keeps no IPVS table is held to the Services themselves.
func TestSetsWithoutIPVS(t *testing.T) {
	n := newNode(both...).withExample()
	n.Now.IPVS, n.Keeps = nil, invariant.KeepSets
	if found := judge(n.View); len(found) > 0 {
		t.Errorf("found%s", print(found))
	}
	n.remove(t, "kube-router-svip", world.IPv6, lb(world.IPv6).String())
	if found := judge(n.View); !slices.Equal(ids(found), []finding.ID{"svip-incomplete"}) {
		t.Errorf("found%s", print(found))
	}
}

// Real proxies differ in whether the node's second family has node ports.
func TestNodePortsOfTheSecondFamily(t *testing.T) {
	for keeps, want := range map[invariant.Keep][]finding.ID{
		invariant.KeepAll: {"ipvs-service-missing"},
		invariant.KeepAll &^ invariant.KeepNodePortsPerFamily: nil,
	} {
		n := newNode(both...).withExample()
		n.Keeps = keeps
		n.unserve(t, nodeAddr(world.IPv6), 31337)
		n.remove(t, "kube-router-svip", world.IPv6, nodeAddr(world.IPv6).String())
		n.remove(t, "kube-router-svip-prt", world.IPv6, nodeAddr(world.IPv6).String()+",tcp:31337")
		if found := judge(n.View); !slices.Equal(ids(found), want) {
			t.Errorf("keeps %b: want %v, found%s", keeps, want, print(found))
		}
	}
}

// A node without an address of one of the cluster's families has nothing of that family.
func TestNodeOfOneFamilyInADualCluster(t *testing.T) {
	n := newNode(world.IPv4).withExample()
	n.Families = both
	for _, s := range n.Objects.Services {
		n.clusterIP(s.Name, world.IPv6, addr(world.IPv6, "", "2001:db8:18::99"))
	}
	n.service("example").Status.LoadBalancer.Ingress = append(n.service("example").Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: lb(world.IPv6).String()})
	if found := judge(n.View); len(found) > 0 {
		t.Errorf("found%s", print(found))
	}
}

func TestASubjectThatShouldNotRunIsNotJudged(t *testing.T) {
	n := newNode(both...).withExample()
	n.Now = &netstate.State{}
	for _, alive := range []bool{false, true} { // true while it is being stopped
		n.Subject = invariant.Subject{Name: "reference", Alive: alive, Errors: []string{"level=ERROR"}, Missed: []string{"x"}}
		if found := judge(n.View); len(found) > 0 {
			t.Errorf("alive %t: found%s", alive, print(found))
		}
	}
}

// tolerated are changes of a good node that are no fault.
var tolerated = map[string]func(t *testing.T, n *node, f world.Family){
	"a destination is being drained": func(t *testing.T, n *node, f world.Family) {
		s := n.entry(t, lb(f), 1337)
		s.Dests = append(s.Dests, netstate.IPVSDest{Address: farAddr(f).Next(), Port: 8080, Weight: 0, Forward: "Masq", ActiveConns: 3})
	},
	"loopback and link-local addresses in local-ips": func(t *testing.T, n *node, f world.Family) {
		n.add("kube-router-local-ips", f, addr(f, "127.0.0.1", "fe80::10").String())
		n.add("kube-router-local-ips", f, addr(f, "127.0.0.1", "::1").String())
	},
	"node ports on the second address": func(t *testing.T, n *node, f world.Family) {
		n.virtual(secondAddr(f), "TCP", 31337, netip.AddrPortFrom(podAddr(f), 8080), netip.AddrPortFrom(farAddr(f), 8080))
	},
	"an external address that is the node's own": func(t *testing.T, n *node, f world.Family) {
		n.service("example").Spec.ExternalIPs = []string{secondAddr(f).String()}
		n.virtual(secondAddr(f), "TCP", 1337, netip.AddrPortFrom(podAddr(f), 8080), netip.AddrPortFrom(farAddr(f), 8080))
	},
	"a Local address whose endpoint here is not ready": func(t *testing.T, n *node, f world.Family) {
		local, no := corev1.ServiceInternalTrafficPolicyLocal, false
		n.service("kubernetes").Spec.InternalTrafficPolicy = &local
		for _, s := range n.Objects.Slices {
			if s.Labels["kubernetes.io/service-name"] == "kubernetes" {
				s.Endpoints[0].NodeName, s.Endpoints[0].Conditions.Ready = &n.Node.Name, &no
			}
		}
		for _, other := range n.Families {
			n.drop(t, addr(other, "198.18.0.1", "2001:db8:18::1"), 443)
		}
	},
	"entries that were there before": func(t *testing.T, n *node, f world.Family) {
		a := addr(f, "198.51.100.9", "2001:db8:51::9")
		n.Now.IPVS = append(n.Now.IPVS, netstate.IPVSService{Protocol: "TCP", Address: a, Port: 80, IPv6: f == world.IPv6, Scheduler: "wlc"},
			netstate.IPVSService{FWMark: 77, IPv6: f == world.IPv6, Scheduler: "rr"})
		n.put("kube-dummy-if", netip.PrefixFrom(a, 24), "global")
		n.Now.Routes = append(n.Now.Routes, netstate.Route{Table: 255, Type: "local", Dst: netip.PrefixFrom(a.Next(), f.HostBits()), Link: "kube-dummy-if"})
		n.Before = copyState(t, n.Now)
		n.Before.Addrs = slices.DeleteFunc(n.Before.Addrs, func(b netstate.Addr) bool { return b.Prefix.Addr() != a })
		n.Before.IPVS = n.Before.IPVS[len(n.Before.IPVS)-2:]
	},
	"an entry of another program where a Service wants to be, if it is told": func(t *testing.T, n *node, f world.Family) {
		n.occupied(t, f)
		n.tell("example", corev1.EventTypeWarning, "not served at "+netip.AddrPortFrom(lb(f), 1337).String()+"/tcp")
	},
	"a pending Service, when the pool is exhausted": func(t *testing.T, n *node, f world.Family) {
		n.Ranges.LoadBalancers = maps.Clone(n.Ranges.LoadBalancers)
		n.Ranges.LoadBalancers[f] = netip.PrefixFrom(lb(f), f.HostBits()-1)
		n.object("late", corev1.ServiceTypeLoadBalancer).Spec.IPFamilies = []corev1.IPFamily{corev1.IPFamily(f.String())}
		n.clusterIP("late", f, addr(f, "198.18.0.9", "2001:db8:18::9"))
	},
	"a pending Service, whose address another one has": func(t *testing.T, n *node, f world.Family) {
		s := n.object("late", corev1.ServiceTypeLoadBalancer)
		s.Spec.IPFamilies, s.Spec.LoadBalancerIP = []corev1.IPFamily{corev1.IPFamily(f.String())}, lb(f).String()
		n.clusterIP("late", f, addr(f, "198.18.0.9", "2001:db8:18::9"))
	},
	"direct server return, however it is set up": func(t *testing.T, n *node, f world.Family) {
		n.service("example").Annotations = map[string]string{"kube-router.io/service.dsr": "tunnel"}
		n.Now.IPVS = append(n.Now.IPVS, netstate.IPVSService{FWMark: 77, IPv6: f == world.IPv6, Scheduler: "rr"})
		n.unserve(t, lb(f), 1337) // but it stays in the sets, and on kube-dummy-if without a route
		n.Now.Routes = slices.DeleteFunc(n.Now.Routes, func(r netstate.Route) bool { return r.Dst.Addr() == lb(f) })
	},
	"direct server return with a virtual service": func(t *testing.T, n *node, f world.Family) {
		n.service("example").Annotations = map[string]string{"kube-router.io/service.dsr": "tunnel"}
		n.entry(t, lb(f), 1337).Scheduler = "sh"
	},
}

// drop takes a VIP with its virtual service out of everything.
func (n *node) drop(t *testing.T, a netip.Addr, port uint16) {
	t.Helper()
	f := world.FamilyOf(a)
	n.unserve(t, a, port)
	n.remove(t, "kube-router-svip", f, a.String())
	n.remove(t, "kube-router-svip-prt", f, fmt.Sprintf("%s,tcp:%d", a, port))
	n.Now.Addrs = slices.DeleteFunc(n.Now.Addrs, func(have netstate.Addr) bool { return have.Prefix.Addr() == a })
	n.Now.Routes = slices.DeleteFunc(n.Now.Routes, func(r netstate.Route) bool { return r.Dst.Addr() == a })
}

func TestToleratedChangesGiveNothing(t *testing.T) {
	for name, change := range tolerated {
		for set, families := range clusters {
			for _, f := range families {
				t.Run(fmt.Sprintf("%s/%s/%s", name, set, f), func(t *testing.T) {
					n := newNode(families...).withExample()
					change(t, n, f)
					if found := judge(n.View); len(found) > 0 {
						t.Errorf("found%s", print(found))
					}
				})
			}
		}
	}
}

// What is missing as a whole is said to be, not enumerated.
func TestSentences(t *testing.T) {
	cases := map[string]func(n *node){
		"ipset inet6:kube-router-svip does not exist":                                      func(n *node) { n.Now.Sets = nil },
		"link kube-dummy-if, which should carry the VIPs, does not exist":                  func(n *node) { n.Now.Links = nil },
		"link kube-dummy-if, which should carry the VIPs, is down":                         func(n *node) { n.Now.Links[1].Up = false },
		"IPVS lacks 3 virtual services of Service default/example":                         func(n *node) { n.Now.IPVS = nil },
		"ipset inet6:kube-router-local-ips lacks 2001:db8:2::11 (on eth0)":                 func(n *node) { s := n.set("kube-router-local-ips", world.IPv6); s.Members = s.Members[:1] },
		"ipset inet6:kube-router-svip is of type hash:ip (IPv4) instead of hash:ip (IPv6)": func(n *node) { n.set("kube-router-svip", world.IPv6).IPv6 = false },
		"ipset inet6:kube-router-local-ips lacks 2001:db8:2::10 (on eth0), 2001:db8:2::11 (on eth0), 2001:db8:2::20 (on eth0), 2001:db8:2::21 (on eth0), 2001:db8:2::22 (on eth0) and 2 more": func(n *node) {
			n.set("kube-router-local-ips", world.IPv6).Members = nil
			a := netip.MustParseAddr("2001:db8:2::20")
			for range 5 {
				n.put("eth0", netip.PrefixFrom(a, 64), "global")
				a = a.Next()
			}
		},
	}
	for want, change := range cases {
		n := newNode(world.IPv6).withExample()
		change(n)
		if found := judge(n.View); !slices.ContainsFunc(found, func(f finding.Finding) bool { return f.Sentence == want }) {
			t.Errorf("want %q, found%s", want, print(found))
		}
	}
}

// Findings must not grow with the number of things that share one cause.
func TestManyMembersGiveOneFinding(t *testing.T) {
	n := newNode(world.IPv4).withExample()
	for i := range 40 {
		n.add("kube-router-svip", world.IPv4, fmt.Sprintf("198.51.100.%d", i+1))
	}
	found := judge(n.View)
	if len(found) != 1 || len(found[0].Evidence) > 10 {
		t.Fatalf("want one finding with short evidence, found%s", print(found))
	}
}
