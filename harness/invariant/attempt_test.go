package invariant_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/invariant"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// workerAddr is the address of the second node.
func workerAddr(f world.Family) netip.Addr { return addr(f, "192.0.2.20", "2001:db8:2::20") }

// twoNodes are cp and worker. On the worker the proxy serves a Service at an address of cp, which is in its status.
func twoNodes(f world.Family) (cp, worker *node) {
	cp, worker = newNode(f), newNode(f)
	worker.Node.Name = "worker"
	worker.Node.Addresses[f] = []netip.Addr{workerAddr(f)}
	worker.set("kube-router-local-ips", f).Members = []string{workerAddr(f).String()}
	for i, a := range worker.Now.Addrs {
		if a.Prefix.Addr() == nodeAddr(f) {
			worker.Now.Addrs[i].Prefix = netip.PrefixFrom(workerAddr(f), a.Prefix.Bits())
		}
	}
	worker.Now.Addrs = slices.DeleteFunc(worker.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == secondAddr(f) })
	for _, n := range []*node{cp, worker} {
		s := n.object("web", corev1.ServiceTypeLoadBalancer, corev1.ServicePort{Port: 80})
		n.clusterIP("web", f, addr(f, "198.18.0.9", "2001:db8:18::9"))
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: nodeAddr(f).String()}}
		n.slice("web", f, 8080, "", endpoint("web-1", "cp", podAddr(f)))
		n.vip(addr(f, "198.18.0.9", "2001:db8:18::9"), "TCP", 80, netip.AddrPortFrom(podAddr(f), 8080))
	}
	worker.vip(nodeAddr(f), "TCP", 80, netip.AddrPortFrom(podAddr(f), 8080))
	return cp, worker
}

// fromWorker is an attempt of node worker to reach the API server at an address of cp.
func fromWorker(f world.Family) invariant.Attempt {
	return invariant.Attempt{
		From: "worker", Entry: "worker", FromNode: true, Local: nodeAddr(f), To: nodeAddr(f), Port: 6443, Protocol: "tcp", Home: "cp", HomeNode: "cp",
	}
}

// k3s-io/k3s#5000: the worker itself rejects what is meant for cp. Whoever reads this has to learn which node, and which Service.
func TestExplainTheProbersOwnNode(t *testing.T) {
	cp, worker := twoNodes(world.IPv6)
	a := fromWorker(world.IPv6)
	a.Offender = nodeAddr(world.IPv6)
	want := []string{
		"node worker sent the ICMP error: it has its source 2001:db8:2::10 on kube-dummy-if, and is the first that the packet meets",
		"node worker has 2001:db8:2::10 on kube-dummy-if, which is in status.loadBalancer.ingress of Service default/web; it is an address of cp",
		"2001:db8:2::10 is in inet6:kube-router-svip of node worker through load balancer address of Service default/web, port 80/TCP",
		"it is missing from inet6:kube-router-local-ips, which holds 1 address (2001:db8:2::20)",
		"so rule 8 of KUBE-ROUTER-SERVICES on node worker rejects whatever comes to it but echo-request, destination-unreachable, time-exceeded, " +
			"neighbour-solicitation, neighbour-advertisement, echo-reply, its ports in inet6:kube-router-svip-prt (80/TCP)",
	}
	for _, views := range [][]invariant.View{{cp.View, worker.View}, {worker.View}} { // cp may have no proxy
		if got := invariant.Explain(a, views); !slices.Equal(got, want) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// table is a table of IPv4 with one chain of rules.
func table(name, chain string, specs ...string) netstate.Table {
	return netstate.Table{Name: name, Chains: []netstate.Chain{{Name: chain, Policy: "ACCEPT", Rules: rules(specs...)}}}
}

func TestExplainAttempt(t *testing.T) {
	type nodes struct{ cp, worker *node }
	inject := func(n *node, name string, tables ...netstate.Table) {
		n.Now.Tables = append(tables, n.Now.Tables...)
		n.Injected = append(n.Injected, invariant.Injected{Name: name, State: &netstate.State{Tables: tables}})
	}
	f := world.IPv4
	clean := func(n nodes) { // no address of cp on the worker
		n.worker.Now.Addrs = slices.DeleteFunc(n.worker.Now.Addrs, func(a netstate.Addr) bool { return a.Prefix.Addr() == nodeAddr(f) })
	}
	cases := map[string]struct {
		change  func(n nodes)
		attempt func(a *invariant.Attempt)
		want    []string // what each line contains
	}{
		"nothing rejects, on either node": {
			change: clean,
			want:   []string{"is not in kube-router-svip of node cp", "it is in kube-router-local-ips", "OUTPUT of node worker, PREROUTING of node cp, INPUT of node cp, OUTPUT of node cp"},
		},
		"nothing rejects, but it ends on the wrong node": {
			change: func(n nodes) { n.worker.chain(f, "KUBE-ROUTER-SERVICES").Rules = nil },
			want:   []string{"node worker has 192.0.2.10 on kube-dummy-if", "is in kube-router-svip of node worker", "it is missing", "it ends on node worker, which is not cp"},
		},
		"nobody claims the address": {
			change: func(n nodes) { n.worker.Objects.Services = nil },
			want:   []string{"node worker has 192.0.2.10 on kube-dummy-if, which no Service has", "svip", "local-ips", "rule 5 of KUBE-ROUTER-SERVICES on node worker rejects"},
		},
		"a foreign rule on the way out": {
			change: func(n nodes) {
				clean(n)
				inject(n.worker, "egress firewall", table("mangle", "OUTPUT", "-p tcp -m tcp --dport 6443 -j DROP"))
			},
			want: []string{`the foreign rule of "egress firewall" (rule 1 of OUTPUT in table mangle on node worker) drops a new TCP connection to port 6443 of it: -p tcp -m tcp --dport 6443 -j DROP`},
		},
		"a foreign rule at the target, for one sender": {
			change: func(n nodes) {
				clean(n)
				n.cp.chain(f, "INPUT").Rules = append(rules("-s 192.0.2.20/32 -j REJECT"), n.cp.chain(f, "INPUT").Rules...)
				n.cp.Injected = append(n.cp.Injected, invariant.Injected{Name: "ban", State: &netstate.State{Tables: []netstate.Table{table("filter", "INPUT", "-s 192.0.2.20/32 -j REJECT")}}})
			},
			attempt: func(a *invariant.Attempt) { a.Local = workerAddr(f) },
			want:    []string{`so the foreign rule of "ban" (rule 1 of INPUT on node cp) rejects a new TCP connection`},
		},
		"a rule for another sender": {
			change: func(n nodes) {
				clean(n)
				n.cp.chain(f, "INPUT").Rules = append(rules("-s 192.0.2.99/32 -j REJECT"), n.cp.chain(f, "INPUT").Rules...)
			},
			attempt: func(a *invariant.Attempt) { a.Local = workerAddr(f) },
			want:    []string{"svip", "local-ips", "no rule on the way rejects"},
		},
		"led elsewhere by NAT, as a host port does": {
			change: func(n nodes) {
				clean(n)
				nat := table("nat", "PREROUTING", "-m addrtype --dst-type LOCAL -j HOSTPORT")
				nat.Chains = append(nat.Chains, netstate.Chain{Name: "HOSTPORT", Rules: rules("-p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0x1", "-p tcp -m tcp --dport 6443 -j DNAT --to-destination 198.19.1.20:8080")})
				n.cp.Now.Tables = append(n.cp.Now.Tables, nat)
			},
			attempt: func(a *invariant.Attempt) { a.Connected = true },
			want:    []string{"so rule 2 of HOSTPORT in table nat on node cp leads elsewhere a new TCP connection to port 6443 of it: -p tcp -m tcp --dport 6443 -j DNAT --to-destination 198.19.1.20:8080"},
		},
		"a rule for addresses that are not local": {
			change: func(n nodes) {
				clean(n)
				n.cp.Now.Tables = append(n.cp.Now.Tables, table("raw", "PREROUTING", "-m addrtype ! --dst-type LOCAL -j DROP"))
			},
			want: []string{"svip", "local-ips", "no rule on the way rejects"},
		},
		"connected, so that nothing rejected": {
			attempt: func(a *invariant.Attempt) { a.Connected = true },
			want:    []string{"node worker has 192.0.2.10", "svip", "local-ips", "no rule rejects a new TCP connection to port 6443 of it: it ends on node worker"},
		},
		"a foreign route": {
			change: func(n nodes) {
				clean(n)
				r := netstate.Route{Table: 254, Type: "unreachable", Dst: netip.PrefixFrom(nodeAddr(f), 32), Protocol: "static"}
				n.worker.Now.Routes = append(n.worker.Now.Routes, r)
				n.worker.Injected = []invariant.Injected{{Name: "null route", State: &netstate.State{Routes: []netstate.Route{r}}}}
			},
			want: []string{`node worker has a route to 192.0.2.10 that is unreachable; it is foreign: "null route" of the scenario`, "svip", "local-ips", "no rule"},
		},
		"the answers to a ping are rejected": {
			change: func(n nodes) {
				clean(n)
				n.worker.add("kube-router-svip", f, workerAddr(f).String())
				n.worker.set("kube-router-local-ips", f).Members = nil
			},
			attempt: func(a *invariant.Attempt) { a.Protocol, a.Port, a.Local = "icmp", 0, workerAddr(f) },
			want:    []string{"192.0.2.20 is in kube-router-svip of node worker", "it is missing", "so rule 5 of KUBE-ROUTER-SERVICES on node worker rejects whatever comes to it"},
		},
		"answers end on another node": {
			change: func(n nodes) {
				clean(n)
				n.cp.put("kube-dummy-if", netip.PrefixFrom(workerAddr(f), 32), "global")
			},
			want: []string{"node cp has 192.0.2.20 on kube-dummy-if, which no Service has; it is an address of worker, and answers to it end there", "svip", "local-ips", "no rule"},
		},
		"a VIP that IPVS serves": {
			attempt: func(a *invariant.Attempt) {
				a.To, a.Port, a.Home, a.HomeNode = netip.MustParseAddr("198.18.0.9"), 80, "", ""
			},
			want: []string{"node cp has 198.18.0.9 on kube-dummy-if, which is in spec.clusterIPs of Service default/web", "node worker has 198.18.0.9",
				"IPVS of node worker has a virtual service there (cluster address of Service default/web, port 80/TCP) and leads it to 198.19.1.20:8080 (weight 1)"},
		},
		"a VIP that is on no link": {
			attempt: func(a *invariant.Attempt) {
				a.Local, a.To, a.Port, a.Home, a.HomeNode = workerAddr(f), netip.MustParseAddr("203.0.113.9"), 80, "", ""
			},
			want: []string{"node worker does not have 203.0.113.9, which no Service has", "no rule on the way rejects a new TCP connection to port 80 of it: OUTPUT of node worker, INPUT of node worker"},
		},
		"an offender that no node is": {
			change:  clean,
			attempt: func(a *invariant.Attempt) { a.Offender = netip.MustParseAddr("198.51.100.7") },
			want:    []string{"the ICMP error has the source 198.51.100.7, which no node with a proxy has", "svip", "local-ips", "no rule"},
		},
		"the target sent the error": {
			change:  clean,
			attempt: func(a *invariant.Attempt) { a.Offender = nodeAddr(f) },
			want:    []string{"node cp sent the ICMP error: it has its source 192.0.2.10 on eth0", "svip", "local-ips", "no rule"},
		},
		"no neighbour": {
			change: clean,
			attempt: func(a *invariant.Attempt) {
				a.From, a.FromNode, a.Entry, a.Local, a.Offender = "laptop", false, "", netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("192.0.2.200")
			},
			want: []string{"laptop itself reports the error", "svip", "local-ips", "no rule"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cp, worker := twoNodes(f)
			a := fromWorker(f)
			if c.change != nil {
				c.change(nodes{cp, worker})
			}
			if c.attempt != nil {
				c.attempt(&a)
			}
			got := invariant.Explain(a, []invariant.View{cp.View, worker.View})
			if len(got) != len(c.want) {
				t.Fatalf("got %d lines:\n%s", len(got), strings.Join(got, "\n"))
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("line %d is\n%q, want\n%q in it", i+1, got[i], want)
				}
			}
		})
	}
}

// Without a view there is nothing to say, and without an address no attempt.
func TestExplainNothing(t *testing.T) {
	if got := invariant.Explain(fromWorker(world.IPv4), nil); len(got) != 0 {
		t.Errorf("without views: %q", got)
	}
	n := newNode(world.IPv4)
	if got := invariant.Explain(invariant.Attempt{From: "laptop"}, []invariant.View{n.View}); len(got) != 0 {
		t.Errorf("without an address: %q", got)
	}
}
