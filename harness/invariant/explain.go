package invariant

import (
	"fmt"
	"slices"
	"strings"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// explain tells from the kernel's state of one node why a new TCP connection to a port of one of its own addresses would be rejected, or
// that it would not: line by line from the Service that drew the address in to the rule that decides.
func (v View) explain(p packet) []string {
	return []string{v.explainService(p), v.explainLocal(p), v.explainDecision(v.judgePacket(p), p)}
}

// explainService tells through what an address came into svip.
func (v View) explainService(p packet) string {
	name := setName(svipSet, p.family)
	set, _ := findSet(v.Now, name)
	if !holds(set, p.to.String()) {
		return fmt.Sprintf("%s is not in %s of node %s", p.to, name, v.Node.Name)
	}
	expected, foreign := v.expectation(), keysIn(v.before())
	var through []string
	for _, s := range v.Now.IPVS {
		k := keyOf(s)
		if k.Address != p.to {
			continue
		}
		want, justified := expected.Find(k)
		_, others := foreign[k]
		switch {
		case others:
			through = append(through, fmt.Sprintf("IPVS service %s, which is not the subject's", k))
		case justified:
			through = append(through, want.Why())
		default:
			through = append(through, fmt.Sprintf("IPVS service %s, which comes from no Service", k))
		}
	}
	if len(through) == 0 {
		return fmt.Sprintf("%s is in %s of node %s, although IPVS has no service at it", p.to, name, v.Node.Name)
	}
	return fmt.Sprintf("%s is in %s of node %s through %s", p.to, name, v.Node.Name, list(through))
}

// explainLocal tells whether local-ips protects an address.
func (v View) explainLocal(p packet) string {
	name := setName(localIPsSet, p.family)
	set, exists := findSet(v.Now, name)
	holding := "which holds " + count(len(set.Members), "address", "addresses")
	if len(set.Members) > 0 {
		holding += " (" + list(set.Members) + ")"
	}
	switch {
	case !exists:
		return fmt.Sprintf("it is missing from %s: that set does not exist", name)
	case holds(set, p.to.String()):
		return fmt.Sprintf("it is in %s, %s", name, holding)
	}
	return fmt.Sprintf("it is missing from %s, %s", name, holding)
}

// explainDecision tells which rule decides about a packet.
func (v View) explainDecision(d decision, p packet) string {
	what, place := p.what(), v.placeOf(d)
	switch {
	case d.verdict == unknown:
		return fmt.Sprintf("%s meets %s, which is beyond this explanation: %s", what, place, d.rule.Spec)
	case d.verdict == accept && d.number > 0:
		return fmt.Sprintf("%s accepts %s: %s", place, what, d.rule.Spec)
	case d.verdict == accept:
		return fmt.Sprintf("no rule of the filter table for incoming %s on node %s rejects %s", p.family, v.Node.Name, what)
	case d.number == 0:
		return fmt.Sprintf("so the policy %s of %s on node %s meets %s", d.verdict, d.chain, v.Node.Name, what)
	}
	m, _ := netstate.ParseRule(d.rule)
	if m.Protocol.Name != "" || len(m.Ports) > 0 || d.verdict == redirect || v.foreignRule(d) != "" {
		return fmt.Sprintf("so %s %s %s: %s", place, done[d.verdict], what, d.rule.Spec)
	}
	return fmt.Sprintf("so %s %s whatever comes to it%s", place, done[d.verdict], v.exceptions(d, p))
}

var done = map[verdict]string{reject: "rejects", drop: "drops", redirect: "leads elsewhere"}

// exceptions tells what the rules before the deciding one let through.
func (v View) exceptions(d decision, p packet) string {
	var all []string
	for _, r := range d.before {
		m, _ := netstate.ParseRule(r)
		if m.Action.Target != "ACCEPT" && m.Action.Target != "RETURN" {
			continue
		}
		for _, name := range v.describe(m, r, p) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " but " + strings.Join(all, ", ")
}

// describe tells what an accepting rule is for.
func (v View) describe(m netstate.Meaning, r netstate.Rule, p packet) []string {
	if m.ICMP != nil {
		return []string{icmpName(p.family, m.ICMP.Type)}
	}
	for _, s := range m.Sets {
		if len(s.Directions) != 2 || s.Not {
			continue
		}
		set, _ := findSet(v.Now, s.Name)
		var ports []string
		for _, member := range set.Members {
			if rest, ok := strings.CutPrefix(canonicalMember(member), p.to.String()+","); ok {
				proto, port, _ := strings.Cut(rest, ":")
				ports = append(ports, port+"/"+strings.ToUpper(proto))
			}
		}
		return []string{fmt.Sprintf("its ports in %s (%s)", s.Name, list(ports))}
	}
	return []string{"what matches " + r.Spec}
}

// icmpName is what people call an ICMP type.
func icmpName(f world.Family, number int) string {
	names := map[int]string{0: "echo-reply", 3: "destination-unreachable", 8: "echo-request", 11: "time-exceeded"}
	if f == world.IPv6 {
		names = map[int]string{1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request", 129: "echo-reply",
			133: "router-solicitation", 134: "router-advertisement", 135: "neighbour-solicitation", 136: "neighbour-advertisement"}
	}
	if name, ok := names[number]; ok {
		return name
	}
	return fmt.Sprintf("ICMP %d", number)
}
