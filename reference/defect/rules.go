package defect

import (
	"fmt"
	"os/exec"
	"strings"

	"proxyproof/reference/apply"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// servicesChain guards the service addresses.
const servicesChain = "KUBE-ROUTER-SERVICES"

// firewallRejectsNeighbourDiscovery is how kube-router was until v2.2.0.
var firewallRejectsNeighbourDiscovery = Defect{
	Name:     "firewall-rejects-neighbour-discovery",
	Issue:    "cloudnativelabs/kube-router#1712",
	Summary:  "the IPv6 chain does not accept neighbour solicitations and advertisements",
	Findings: []string{"firewall-rejects-neighbour-discovery"},
	When:     "wherever there is an IPv6 service address",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer {
		return rulesSpoilt{w, func(f plan.Family) error {
			if f == plan.IPv4 {
				return nil
			}
			for _, typ := range []string{"135", "136"} {
				if err := iptables(f, "-D "+servicesChain+" -p ipv6-icmp -m icmp6 --icmpv6-type "+typ+" -j ACCEPT"); err != nil {
					return err
				}
			}
			return nil
		}}
	}},
}

// rejectBeforeServiceAccept appends the accept that it should insert.
var rejectBeforeServiceAccept = Defect{
	Name:     "reject-before-service-accept",
	Issue:    "cloudnativelabs/kube-router#1918",
	Summary:  "the rule that accepts service ports comes behind the one that rejects",
	Findings: []string{"firewall-reject-wrong", "reach-failed", "hold-lost"},
	When:     "firewall-reject-wrong in every case; reach-failed and hold-lost where an address that is no node's is expected to answer",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer {
		return rulesSpoilt{w, func(f plan.Family) error {
			accept := servicesChain + " -m set --match-set " + apply.ServicePorts.Name(f) + " dst,dst -j ACCEPT"
			if err := iptables(f, "-D "+accept); err != nil {
				return err
			}
			return iptables(f, "-A "+accept)
		}}
	}},
}

// duplicateRulesEachSync does not find its own rule in what iptables-save prints, and adds it again.
var duplicateRulesEachSync = Defect{
	Name:     "duplicate-rules-each-sync",
	Issue:    "cloudnativelabs/kube-router#1665",
	Summary:  "a rule is added again with every sync",
	Findings: []string{"firewall-rule-twice"},
	When:     "in every case",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer {
		return rulesSpoilt{w, func(f plan.Family) error {
			return iptables(f, "-I "+servicesChain+" -m set --match-set "+apply.ServicePorts.Name(f)+" dst,dst -j ACCEPT")
		}}
	}},
}

// rulesSpoilt makes the rules right and then spoils them.
type rulesSpoilt struct {
	apply.Writer
	spoil func(f plan.Family) error
}

func (w rulesSpoilt) Firewall(f plan.Family, rules plan.Rules) error {
	if err := w.Writer.Firewall(f, rules); err != nil {
		return err
	}
	return w.spoil(f)
}

func iptables(f plan.Family, words string) error {
	tool := "iptables"
	if f == plan.IPv6 {
		tool = "ip6tables"
	}
	if out, err := exec.Command(tool, strings.Fields("-w 10 "+words)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", tool, words, err, out)
	}
	return nil
}

// vipRouteWithoutSource lets the node talk to its own VIPs from the VIPs.
var vipRouteWithoutSource = Defect{
	Name:     "vip-route-without-source",
	Issue:    "cloudnativelabs/kube-router#1698",
	Summary:  "the route to a VIP names no source",
	Findings: []string{"vip-route-wrong", "reach-failed", "hold-lost"},
	When:     "vip-route-wrong in every case; reach-failed and hold-lost where the node is expected to reach a backend elsewhere through a VIP",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return sourceless{w} }},
}

type sourceless struct{ apply.Writer }

func (w sourceless) AddVIPs(vips []apply.VIP) error {
	without := make([]apply.VIP, 0, len(vips))
	for _, vip := range vips {
		without = append(without, apply.VIP{Address: vip.Address})
	}
	return w.Writer.AddVIPs(without)
}
