package invariant_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// fromLaptop is a client's attempt to connect to an address of node cp.
func fromLaptop(to netip.Addr, port uint16) invariant.Attempt {
	return invariant.Attempt{From: "laptop", Entry: "cp", To: to, Port: port, Protocol: "tcp", Home: "cp", HomeNode: "cp"}
}

// The founding bug: a person must learn from these lines alone what is wrong.
func TestExplainTheFoundingBug(t *testing.T) {
	n := newNode(world.IPv6).withExample()
	n.set("kube-router-local-ips", world.IPv6).Members = nil
	want := []string{
		"2001:db8:2::10 is in inet6:kube-router-svip of node cp through node port 31337/TCP of Service default/example",
		"it is missing from inet6:kube-router-local-ips, which holds 0 addresses",
		"so rule 8 of KUBE-ROUTER-SERVICES on node cp rejects whatever comes to it but echo-request, destination-unreachable, time-exceeded, " +
			"neighbour-solicitation, neighbour-advertisement, echo-reply, its ports in inet6:kube-router-svip-prt (31337/TCP)",
	}
	if got := invariant.Explain(fromLaptop(nodeAddr(world.IPv6), 6443), []invariant.View{n.View}); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	i, ok := find(judge(n.View), func(f finding.Finding) bool { return f.ID == "node-address-unprotected" })
	if !ok || !slices.Equal(judge(n.View)[i].Evidence, want) {
		t.Errorf("the finding about the address has other evidence: %s", print(judge(n.View)))
	}
}

func TestExplain(t *testing.T) {
	cases := map[string]struct {
		change func(n *node)
		port   uint16
		want   []string // what each line contains
	}{
		"good node": {
			want: []string{"through node port 31337/TCP of Service default/example", "it is in kube-router-local-ips, which holds 2 addresses (192.0.2.10, 192.0.2.11)",
				"no rule on the way rejects a new TCP connection to port 6443 of it: PREROUTING of node cp, INPUT of node cp, OUTPUT of node cp"},
		},
		"the node port itself": {
			port: 31337,
			want: []string{"IPVS of node cp has a virtual service there (node port 31337/TCP of Service default/example) and leads it to 198.19.1.20:8080 (weight 1)"},
		},
		"no Service": {
			change: func(n *node) { n.set("kube-router-svip", world.IPv4).Members = nil },
			want:   []string{"192.0.2.10 is not in kube-router-svip", "it is in", "no rule"},
		},
		"foreign entry": {
			change: func(n *node) {
				n.virtual(nodeAddr(world.IPv4), "TCP", 9999)
				n.Before.IPVS = append(n.Before.IPVS, n.Now.IPVS[len(n.Now.IPVS)-1])
				n.Objects.Services = n.Objects.Services[:1]
				n.set("kube-router-local-ips", world.IPv4).Members = nil
			},
			want: []string{"IPVS service TCP 192.0.2.10:31337, which comes from no Service, IPVS service TCP 192.0.2.10:9999, which is not the subject's",
				"it is missing from", "so rule 5 of KUBE-ROUTER-SERVICES on node cp rejects whatever comes to it but echo-request"},
		},
		"no IPVS": {
			change: func(n *node) { n.Now.IPVS = nil },
			want:   []string{"although IPVS has no service at it", "it is in", "no rule"},
		},
		"no set": {
			change: func(n *node) { n.Now.Sets = nil },
			want:   []string{"is not in", "that set does not exist", "beyond this explanation"},
		},
		"dropped by policy": {
			change: func(n *node) {
				n.Now.Tables = []netstate.Table{{Name: "filter", Chains: []netstate.Chain{{Name: "INPUT", Policy: "DROP"}}}}
			},
			want: []string{"is in", "is in", "so the policy DROP of INPUT on node cp meets a new TCP connection"},
		},
		"a rule of another program": {
			change: func(n *node) {
				chain := &n.Now.Tables[0].Chains[0]
				chain.Rules = append(rules("-i eth0 -p tcp -m multiport --dports 6443 -j DROP"), chain.Rules...)
			},
			want: []string{"is in", "is in", "rule 1 of INPUT on node cp, which is beyond this explanation: -i eth0"},
		},
		"rules that do not apply": {
			change: func(n *node) {
				chain := &n.Now.Tables[0].Chains[0]
				chain.Rules = append(rules("-p udp -j DROP", "-d 192.0.2.99/32 -j DROP", "! -d 192.0.2.0/24 -j DROP", "-p tcp -m tcp --dport 22 -j DROP",
					"-m conntrack --ctstate RELATED,ESTABLISHED -j DROP", "-p tcp -j NOTHING-THERE"), chain.Rules...)
				n.set("kube-router-local-ips", world.IPv4).Members = nil
			},
			want: []string{"is in", "it is missing from", "so rule 5 of KUBE-ROUTER-SERVICES on node cp rejects"},
		},
		"a chain that returns": {
			change: func(n *node) {
				table := &n.Now.Tables[0]
				table.Chains[0].Rules = append(rules("-j OWN"), table.Chains[0].Rules...)
				table.Chains = append(table.Chains, netstate.Chain{Name: "OWN", Rules: rules("-p tcp -j RETURN", "-j DROP")})
			},
			want: []string{"is in", "is in", "no rule"},
		},
		"accepted before": {
			change: func(n *node) {
				chain := &n.Now.Tables[0].Chains[0]
				chain.Rules = append(rules("-p tcp -m tcp --dport 6443 -j ACCEPT"), chain.Rules...)
				n.set("kube-router-local-ips", world.IPv4).Members = nil
			},
			want: []string{"is in", "it is missing from", "no rule on the way rejects"},
		},
		"dropped": {
			change: func(n *node) {
				chain := &n.Now.Tables[0].Chains[0]
				chain.Rules = append(rules("-m comment --comment closed -j DROP"), chain.Rules...)
			},
			want: []string{"is in", "is in", "so rule 1 of INPUT on node cp drops whatever comes to it"},
		},
		"a chain without return": {
			change: func(n *node) {
				table := &n.Now.Tables[0]
				table.Chains[0].Rules = append(rules("-g OWN", "-j DROP"), table.Chains[0].Rules...)
				table.Chains = append(table.Chains, netstate.Chain{Name: "OWN", Rules: rules("-p udp -j DROP")})
			},
			want: []string{"is in", "is in", "no rule"},
		},
		"chains that call each other": {
			change: func(n *node) {
				table := &n.Now.Tables[0]
				table.Chains[0].Rules = append(rules("-j LOOP"), table.Chains[0].Rules...)
				table.Chains = append(table.Chains, netstate.Chain{Name: "LOOP", Rules: rules("-j LOOP")})
			},
			want: []string{"is in", "is in", "no rule"},
		},
		"a range of ports": {
			change: func(n *node) {
				chain := &n.Now.Tables[0].Chains[0]
				chain.Rules = append(rules("-p tcp -m tcp --dport 6000:7000 -j DROP"), chain.Rules...)
			},
			want: []string{"is in", "is in", "so rule 1 of INPUT on node cp drops a new TCP connection to port 6443"},
		},
		"one port rejected": {
			change: func(n *node) {
				chain := &n.Now.Tables[0].Chains[0]
				chain.Rules = append(rules("-p tcp -m tcp --dport 6443 -j REJECT"), chain.Rules...)
			},
			want: []string{"is in", "is in", "so rule 1 of INPUT on node cp rejects a new TCP connection to port 6443 of it: -p tcp"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			n := newNode(world.IPv4).withExample()
			if c.change != nil {
				c.change(n)
			}
			port := c.port
			if port == 0 {
				port = 6443
			}
			got := invariant.Explain(fromLaptop(nodeAddr(world.IPv4), port), []invariant.View{n.View})
			if len(got) != len(c.want) {
				t.Fatalf("got %d lines: %q", len(got), got)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("line %d is %q, want %q in it", i+1, got[i], want)
				}
			}
		})
	}
}
