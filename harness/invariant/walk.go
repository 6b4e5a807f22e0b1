package invariant

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// packet is the first packet of a connection to the node, or an ICMP message. Port 0 stands for one that is no service's.
type packet struct {
	family   world.Family
	to       netip.Addr
	port     uint16
	protocol string // "" is "tcp"; "udp", "icmp", "icmpv6"
	icmp     int    // type
}

// verdict is what the filter table does with a packet.
type verdict string

const (
	accept  verdict = "ACCEPT"
	drop    verdict = "DROP"
	reject  verdict = "REJECT"
	unknown verdict = "unknown"
	// goOn: the end of a chain, or RETURN.
	goOn verdict = ""
)

// decision is where a packet's fate was decided. Number 0 is the chain's policy.
type decision struct {
	verdict verdict
	chain   string
	number  int
	rule    netstate.Rule
	// before are the rules of that chain in front of the deciding one.
	before []netstate.Rule
}

func (d decision) place() string { return fmt.Sprintf("rule %d of %s", d.number, d.chain) }

// judgePacket sends a packet through the INPUT chain of the filter table. A rule that is not understood ends the way: it is never
// guessed at.
func (v View) judgePacket(p packet) decision {
	for _, t := range v.Now.Tables {
		if t.Name == "filter" && t.IPv6 == (p.family == world.IPv6) {
			d := v.walk(t, "INPUT", p, len(t.Chains))
			if d.verdict == goOn {
				d = decision{verdict: policyOf(t), chain: "INPUT"}
			}
			return d
		}
	}
	return decision{verdict: accept, chain: "INPUT"}
}

func policyOf(t netstate.Table) verdict {
	if c, ok := findChain(t, "INPUT"); ok && c.Policy == string(drop) {
		return drop
	}
	return accept
}

// walk follows a chain; depth bounds jumps, since a table from a file could have a loop that the kernel would refuse.
func (v View) walk(t netstate.Table, name string, p packet, depth int) decision {
	chain, ok := findChain(t, name)
	if !ok || depth < 0 {
		return decision{}
	}
	for i, r := range chain.Rules {
		here := decision{chain: name, number: i + 1, rule: r, before: chain.Rules[:i]}
		m, err := netstate.ParseRule(r)
		matches, known := v.matches(m, p)
		known = known && err == nil
		if !matches {
			continue
		}
		if !known {
			here.verdict = unknown
			return here
		}
		switch target := m.Action.Target; target {
		case "ACCEPT", "DROP", "REJECT":
			here.verdict = verdict(target)
			return here
		case "RETURN":
			return decision{}
		default:
			if d := v.walk(t, target, p, depth-1); d.verdict != goOn || m.Action.Goto {
				return d
			}
		}
	}
	return decision{}
}

func findChain(t netstate.Table, name string) (netstate.Chain, bool) {
	for _, c := range t.Chains {
		if c.Name == name {
			return c, true
		}
	}
	return netstate.Chain{}, false
}

// matches tells whether a packet may match a rule, and whether that is known for sure: of where a packet comes from nothing is
// known but that it begins a connection.
func (v View) matches(m netstate.Meaning, p packet) (matches, known bool) {
	protocol := p.protocolName()
	known = len(m.Unknown) == 0 && !m.Src.Prefix.IsValid() && m.In.Name == "" && m.Out.Name == "" && len(m.Marks) == 0 && m.IPVS == nil &&
		m.Limit == "" && !m.Fragment.Set && m.AddrType == nil
	switch {
	case m.Protocol.Name != "" && (m.Protocol.Name == protocol) == m.Protocol.Not,
		m.Dst.Prefix.IsValid() && m.Dst.Prefix.Contains(p.to) == m.Dst.Not,
		m.States != nil && slices.Contains(m.States.States, "NEW") == m.States.Not,
		m.ICMP != nil && (!p.isICMP() || p.hasType(*m.ICMP) == m.ICMP.Not),
		m.TCPFlags != nil && (protocol != "tcp" || opens(*m.TCPFlags) == m.TCPFlags.Not):
		return false, true
	}
	for _, port := range m.Ports {
		switch {
		case port.Which != "dst":
			known = false
		case p.port == 0 && !port.Not, p.port != 0 && within(p.port, port.Ranges) == port.Not:
			return false, true
		}
	}
	for _, s := range m.Sets {
		set, exists := findSet(v.Now, s.Name)
		member := p.member(s.Directions)
		if member == "" || !exists {
			known = false
		} else if holds(set, member) == s.Not {
			return false, true
		}
	}
	return true, known
}

// member is what a set has to hold for the packet; "" if that is not known.
func (p packet) member(directions []string) string {
	switch strings.Join(directions, ",") {
	case "dst":
		return p.to.String()
	case "dst,dst":
		return fmt.Sprintf("%s,%s:%d", p.to, p.protocolName(), p.port)
	}
	return ""
}

func (p packet) protocolName() string {
	if p.protocol == "" {
		return "tcp"
	}
	return p.protocol
}

func (p packet) isICMP() bool { return strings.HasPrefix(p.protocol, "icmp") }

func (p packet) hasType(m netstate.ICMPMatch) bool {
	return m.Type < 0 || m.Type == p.icmp && m.Code <= 0
}

// opens tells whether the first packet of a connection, which has SYN alone, matches.
func opens(m netstate.FlagsMatch) bool {
	if slices.Contains(m.Mask, "SYN") {
		return slices.Equal(m.Set, []string{"SYN"})
	}
	return len(m.Set) == 0
}

func within(port uint16, ranges []netstate.PortRange) bool {
	return slices.ContainsFunc(ranges, func(r netstate.PortRange) bool { return r.Low <= port && port <= r.High })
}
