package invariant

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// packet is the first packet of a TCP connection to the node. Port 0 stands for one that is no service's.
type packet struct {
	family world.Family
	to     netip.Addr
	port   uint16
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
		m := parseRule(r)
		here := decision{chain: name, number: i + 1, rule: r, before: chain.Rules[:i]}
		matches, known := v.matches(m, p)
		if !matches {
			continue
		}
		if !known {
			here.verdict = unknown
			return here
		}
		switch m.target {
		case "ACCEPT", "DROP", "REJECT":
			here.verdict = verdict(m.target)
			return here
		case "RETURN":
			return decision{}
		default:
			if d := v.walk(t, m.target, p, depth-1); d.verdict != goOn || m.final {
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

// match is a rule's meaning, as far as it matters to a packet.
type match struct {
	target   string
	final    bool // -g: a chain without return
	protocol condition
	to       condition
	port     condition
	state    condition
	icmp     string // the ICMP type
	sets     []setMatch
	// other conditions, which are not understood.
	other bool
}

type condition struct {
	value string
	not   bool
}

type setMatch struct {
	name, dirs string
	not        bool
}

// parseRule reads a rule's arguments.
func parseRule(r netstate.Rule) match {
	var m match
	not := false
	for i := 0; i < len(r.Args); i++ {
		next := func() string {
			if i++; i < len(r.Args) {
				return r.Args[i]
			}
			return ""
		}
		arg := r.Args[i]
		switch arg {
		case "!":
			not = true
			continue
		case "-j", "--jump":
			m.target = next()
		case "-g", "--goto":
			m.target, m.final = next(), true
		case "-p", "--protocol":
			m.protocol = condition{next(), not}
		case "-d", "--destination":
			m.to = condition{next(), not}
		case "--dport", "--destination-port":
			if port := next(); strings.Contains(port, ":") { // a range
				m.other = true
			} else {
				m.port = condition{port, not}
			}
		case "--ctstate", "--state":
			m.state = condition{next(), not}
		case "--icmp-type", "--icmpv6-type":
			m.icmp = next()
		case "--match-set":
			m.sets = append(m.sets, setMatch{next(), next(), not})
		case "-m", "--match", "--comment", "--reject-with":
			next()
		default:
			m.other = true
		}
		not = false
	}
	return m
}

// matches tells whether a packet may match a rule, and whether that is known for sure.
func (v View) matches(m match, p packet) (matches, known bool) {
	if m.icmp != "" || !m.protocol.holds(func(s string) bool { return s == "tcp" || s == "6" }) ||
		!m.to.holds(func(s string) bool { return within(p.to, s) }) ||
		!m.port.holds(func(s string) bool { return p.port != 0 && s == strconv.Itoa(int(p.port)) }) ||
		!m.state.holds(func(s string) bool { return slices.Contains(strings.Split(s, ","), "NEW") }) {
		return false, true
	}
	known = !m.other
	for _, s := range m.sets {
		set, exists := findSet(v.Now, s.name)
		var member string
		switch s.dirs {
		case "dst":
			member = p.to.String()
		case "dst,dst":
			member = fmt.Sprintf("%s,tcp:%d", p.to, p.port)
		}
		if member == "" || !exists {
			known = false
		} else if holds(set, member) == s.not {
			return false, true
		}
	}
	return true, known
}

// holds tells whether a condition is met; one that was not given always is.
func (c condition) holds(meets func(string) bool) bool {
	return c.value == "" || meets(c.value) != c.not
}

// within tells whether an address is in "PREFIX" or equals "ADDRESS".
func within(a netip.Addr, text string) bool {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Contains(a)
	}
	one, err := netip.ParseAddr(text)
	return err == nil && one == a
}
