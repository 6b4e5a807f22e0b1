package invariant

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// packet is the first packet of a connection, an ICMP message, or an answer to either. Port 0 stands for one that is no service's.
type packet struct {
	family   world.Family
	from     netip.Addr // the zero Addr: not known
	to       netip.Addr
	port     uint16
	protocol string // "" is "tcp"; "udp", "sctp", "icmp", "icmpv6"
	icmp     int    // type
	answer   bool   // it belongs to what conntrack knows
}

// verdict is what the filter table does with a packet.
type verdict string

const (
	accept  verdict = "ACCEPT"
	drop    verdict = "DROP"
	reject  verdict = "REJECT"
	unknown verdict = "unknown"
	// redirect: NAT leads it elsewhere.
	redirect verdict = "redirect"
	// goOn: the end of a chain, or RETURN.
	goOn verdict = ""
)

// decision is where a packet's fate was decided. Number 0 is the chain's policy.
type decision struct {
	verdict verdict
	table   string // "" is "filter"
	chain   string
	number  int
	rule    netstate.Rule
	// before are the rules of that chain in front of the deciding one.
	before []netstate.Rule
}

func (d decision) place() string { return fmt.Sprintf("rule %d of %s", d.number, d.chain) }

// final tells whether the packet goes no further on the way that it was sent.
func (d decision) final() bool {
	return d.verdict == drop || d.verdict == reject || d.verdict == redirect
}

// judgePacket sends a packet through the INPUT chain of the filter table. A rule that is not understood ends the way: it is never
// guessed at.
func (v View) judgePacket(p packet) decision { return v.judgeChain("filter", "INPUT", p) }

// judgeChain sends a packet through a built-in chain.
func (v View) judgeChain(table, chain string, p packet) decision {
	for _, t := range v.Now.Tables {
		if t.Name == table && t.IPv6 == (p.family == world.IPv6) {
			d := v.walk(t, chain, p, len(t.Chains))
			if d.verdict == goOn {
				d = decision{verdict: policyOf(t, chain), chain: chain}
			}
			d.table = table
			return d
		}
	}
	return decision{verdict: accept, table: table, chain: chain}
}

func policyOf(t netstate.Table, chain string) verdict {
	if c, ok := findChain(t, chain); ok && c.Policy == string(drop) {
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
		target := m.Action.Target
		_, jumps := findChain(t, target)
		if !known && (jumps || err != nil || ends(target)) {
			here.verdict = unknown
			return here
		}
		switch target {
		case "ACCEPT", "DROP", "REJECT":
			here.verdict = verdict(target)
			return here
		case "DNAT", "REDIRECT":
			here.verdict = redirect
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

// ends tells whether a target that is no chain ends the way of a packet through this one. Others, as LOG, MARK and CT, do something to
// it and let it go on.
func ends(target string) bool {
	return slices.Contains([]string{"ACCEPT", "DROP", "REJECT", "RETURN", "DNAT", "REDIRECT", "TPROXY", "QUEUE", "NFQUEUE"}, target)
}

func findChain(t netstate.Table, name string) (netstate.Chain, bool) {
	for _, c := range t.Chains {
		if c.Name == name {
			return c, true
		}
	}
	return netstate.Chain{}, false
}

// matches tells whether a packet may match a rule, and whether that is known for sure: of where a packet comes from little is
// known but whether it begins a connection.
func (v View) matches(m netstate.Meaning, p packet) (matches, known bool) {
	protocol, state := p.protocolName(), "NEW"
	if p.answer {
		state = "ESTABLISHED"
	}
	known = len(m.Unknown) == 0 && (!m.Src.Prefix.IsValid() || p.from.IsValid()) && m.In.Name == "" && m.Out.Name == "" && len(m.Marks) == 0 &&
		m.IPVS == nil && m.Limit == "" && !m.Fragment.Set && (m.AddrType == nil || asksIfLocal(*m.AddrType))
	switch {
	case m.Src.Prefix.IsValid() && p.from.IsValid() && m.Src.Prefix.Contains(p.from) == m.Src.Not,
		m.AddrType != nil && asksIfLocal(*m.AddrType) && v.carries(p.to) == m.AddrType.DstNot:
		return false, true
	}
	switch {
	case m.Protocol.Name != "" && (m.Protocol.Name == protocol) == m.Protocol.Not,
		m.Dst.Prefix.IsValid() && m.Dst.Prefix.Contains(p.to) == m.Dst.Not,
		m.States != nil && slices.Contains(m.States.States, state) == m.States.Not,
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

// asksIfLocal tells whether a rule asks of addresses only whether the destination is the node's.
func asksIfLocal(m netstate.AddrTypeMatch) bool {
	return len(m.Src) == 0 && slices.Equal(m.Dst, []string{"LOCAL"}) && !m.LimitIn && !m.LimitOut
}

// carries tells whether a packet to an address ends on this node.
func (v View) carries(a netip.Addr) bool {
	return slices.ContainsFunc(v.Now.Addrs, func(have netstate.Addr) bool { return have.Prefix.Addr() == a })
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
