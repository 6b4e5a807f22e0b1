package netstate

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
)

// Meaning is what a rule says, however a tool spells it. What is not set matches everything.
type Meaning struct {
	Src, Dst PrefixMatch
	In, Out  NameMatch // links; "eth+" is every name that begins so
	Protocol NameMatch // "tcp", "udp", "sctp", "icmp", "icmpv6", or a number
	Fragment NotMatch  // second and further fragments
	Ports    []PortMatch
	TCPFlags *FlagsMatch
	ICMP     *ICMPMatch
	Sets     []SetMatch
	States   *StatesMatch // of the connection
	Marks    []MarkMatch
	AddrType *AddrTypeMatch
	IPVS     *IPVSMatch
	Limit    string // "10/min burst 7"
	Comments []string
	Action   Action
	// Unknown are the words of the rule that are not understood. A rule that has any may match less than the rest says, or do
	// more: do not judge by it.
	Unknown []string
}

// NotMatch is a condition without a value.
type NotMatch struct{ Set, Not bool }

// PrefixMatch is a condition on an address. The zero Prefix matches all.
type PrefixMatch struct {
	Prefix netip.Prefix
	Not    bool
}

// NameMatch is a condition on a name. "" matches all.
type NameMatch struct {
	Name string
	Not  bool
}

// PortRange is from Low to High, both included.
type PortRange struct{ Low, High uint16 }

// PortMatch is a condition on ports. Which port is "src", "dst" or "either".
type PortMatch struct {
	Which  string
	Ranges []PortRange
	Not    bool
}

// FlagsMatch looks at the flags in Mask, of which those in Set are to be set and the others not: "SYN", "ACK", …
type FlagsMatch struct {
	Mask, Set []string
	Not       bool
}

// ICMPMatch is a condition on ICMP or ICMPv6. Type and Code are -1 for any.
type ICMPMatch struct {
	IPv6       bool
	Type, Code int
	Not        bool
}

// SetMatch is a condition on membership. Directions has "src" or "dst" for each dimension of the set.
type SetMatch struct {
	Name       string
	Directions []string
	Not        bool
}

// StatesMatch is a condition on the state of the connection: "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT",
// "DNAT".
type StatesMatch struct {
	States []string
	Not    bool
}

// Mark is a value under a mask.
type Mark struct{ Value, Mask uint32 }

// MarkMatch is a condition on the mark of the packet, or of the connection.
type MarkMatch struct {
	Mark
	Connection bool
	Not        bool
}

// AddrTypeMatch is a condition on the kind of addresses, "LOCAL", "UNICAST", …; no kinds match all.
type AddrTypeMatch struct {
	Src, Dst       []string
	SrcNot, DstNot bool
	// LimitIn and LimitOut ask only the link the packet came in by, or leaves by.
	LimitIn, LimitOut bool
}

// IPVSMatch is a condition on the IPVS connection of the packet.
type IPVSMatch struct {
	Any       NotMatch // that there is one
	Protocol  NameMatch
	Address   PrefixMatch
	Port      PortMatch
	Direction string    // "ORIGINAL", "REPLY" or ""
	Method    NameMatch // "MASQ", "IPIP", "GATE"
	Control   PortMatch
}

// Action is what a rule does.
type Action struct {
	// Target is "ACCEPT", "DROP", "RETURN", "REJECT", …, or the chain to jump to; "" is on to the next rule.
	Target string
	Goto   bool // a chain from which RETURN returns to where this one would
	// RejectWith is the answer of REJECT: "icmp-port-unreachable", "icmp6-port-unreachable", "tcp-reset", …
	RejectWith string
	// To is what SNAT and DNAT write, low and high end; Ports what they, MASQUERADE and REDIRECT write.
	To    [2]netip.Addr
	Ports PortRange
	// SetMark replaces the bits in its mask, of MARK.
	SetMark *Mark
	// SetMSS is the maximum segment size of TCPMSS; -1 is that of the path.
	SetMSS int
	// Options change how it is done, not what: "--random-fully", "--nflog-group 1".
	Options []string
}

// ParseRule reads a rule by meaning. It fails on a rule that no tool prints: a value that is missing or is no value.
func ParseRule(r Rule) (Meaning, error) {
	p := ruleParser{args: r.Args}
	for len(p.args) > 0 {
		if err := p.word(); err != nil {
			return Meaning{}, fmt.Errorf("rule %q: %w", r.Spec, err)
		}
	}
	if p.not {
		p.Unknown = append(p.Unknown, "!")
	}
	return p.Meaning, nil
}

// Always tells whether the rule has no condition.
func (m Meaning) Always() bool {
	m.Comments, m.Action = nil, Action{}
	return reflect.DeepEqual(m, Meaning{})
}

// ruleParser goes through a rule word by word.
type ruleParser struct {
	Meaning
	args    []string
	not     bool   // of the option that comes
	module  string // the match or target that the options belong to
	unknown bool   // it is not known
}

// option is how an option is read: how many values it has and what they say.
type option struct {
	values int
	read   func(p *ruleParser, values []string) error
}

func (p *ruleParser) word() error {
	word := p.args[0]
	p.args = p.args[1:]
	if word == "!" && !p.not {
		p.not = true
		return nil
	}
	o, known := p.option(word)
	if !known {
		p.leave(word)
		return nil
	}
	if len(p.args) < o.values {
		return fmt.Errorf("%s lacks a value", word)
	}
	values := p.args[:o.values]
	p.args = p.args[o.values:]
	err := o.read(p, values)
	p.not = false
	return doing(word, err)
}

// option finds an option. Long names of a rule's own options are taken for such only before the first match: matches have the
// same, as "--proto" of policy.
func (p *ruleParser) option(word string) (o option, known bool) {
	if p.module == "" || !strings.HasPrefix(word, "--") {
		if o, known = headerOptions[word]; known {
			return o, known
		}
	}
	if !p.unknown {
		o, known = moduleOptions[p.module][word]
	}
	return o, known
}

// leave keeps what is not known: an option with what follows it up to the next.
func (p *ruleParser) leave(word string) {
	if p.not {
		p.Unknown = append(p.Unknown, "!")
	}
	p.not = false
	p.Unknown = append(p.Unknown, word)
	for len(p.args) > 0 && p.args[0] != "!" && !strings.HasPrefix(p.args[0], "-") {
		p.Unknown = append(p.Unknown, p.args[0])
		p.args = p.args[1:]
	}
}

// enter begins a match or target. One of a name that has no options to know is not known.
func (p *ruleParser) enter(option, module string) {
	p.module = module
	_, known := moduleOptions[module]
	if p.unknown = !known; p.unknown && option == "-m" {
		p.Unknown = append(p.Unknown, option, module)
	}
}

// splitList splits at commas.
func splitList(s string) []string { return strings.Split(s, ",") }

func parsePortRanges(s string, separator string) ([]PortRange, error) {
	var ranges []PortRange
	for _, part := range splitList(s) {
		low, high, isRange := strings.Cut(part, separator)
		if !isRange {
			high = low
		}
		l, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q", part)
		}
		h, err := strconv.ParseUint(high, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q", part)
		}
		ranges = append(ranges, PortRange{uint16(l), uint16(h)})
	}
	return ranges, nil
}

func parseMark(s string) (Mark, error) {
	value, mask, masked := strings.Cut(s, "/")
	v, err := strconv.ParseUint(value, 0, 32)
	if err != nil {
		return Mark{}, fmt.Errorf("mark %q", s)
	}
	m := uint64(^uint32(0))
	if masked {
		if m, err = strconv.ParseUint(mask, 0, 32); err != nil {
			return Mark{}, fmt.Errorf("mark %q", s)
		}
	}
	return Mark{uint32(v), uint32(m)}, nil
}

// parseMaskedPrefix reads "192.0.2.1", "192.0.2.0/24" or "192.0.2.0/255.255.255.0".
func parseMaskedPrefix(s string) (netip.Prefix, error) {
	addr, mask, found := strings.Cut(s, "/")
	if found {
		if m, err := netip.ParseAddr(mask); err == nil {
			a, err := netip.ParseAddr(addr)
			if err != nil {
				return netip.Prefix{}, fmt.Errorf("address %q", s)
			}
			if p, ok := maskedPrefix(a, m); ok && a.BitLen() == m.BitLen() {
				return p, nil
			}
			return netip.Prefix{}, fmt.Errorf("address %q: the mask is no prefix", s)
		}
	}
	p, err := parsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("address %q", s)
	}
	return p, nil
}

// protocolMeaning gives a protocol one name.
func protocolMeaning(s string) string {
	names := map[string]string{"6": "tcp", "17": "udp", "132": "sctp", "1": "icmp", "58": "icmpv6", "ipv6-icmp": "icmpv6",
		"icmp6": "icmpv6", "136": "udplite", "0": "", "all": ""}
	if name, ok := names[strings.ToLower(s)]; ok {
		return name
	}
	return strings.ToLower(s)
}
