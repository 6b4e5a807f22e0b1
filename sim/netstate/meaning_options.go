package netstate

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

var errTwice = errors.New("is given twice")

// headerOptions are those of every rule.
var headerOptions = withAliases(map[string]option{
	"-s --source --src":            {1, func(p *ruleParser, v []string) error { return p.prefix(&p.Src, v[0]) }},
	"-d --destination --dst":       {1, func(p *ruleParser, v []string) error { return p.prefix(&p.Dst, v[0]) }},
	"-i --in-interface":            {1, func(p *ruleParser, v []string) error { return p.name(&p.In, v[0]) }},
	"-o --out-interface":           {1, func(p *ruleParser, v []string) error { return p.name(&p.Out, v[0]) }},
	"-p --protocol --proto":        {1, func(p *ruleParser, v []string) error { return p.name(&p.Protocol, protocolMeaning(v[0])) }},
	"-f --fragment":                {0, func(p *ruleParser, _ []string) error { p.Fragment = NotMatch{true, p.not}; return nil }},
	"-m --match":                   {1, func(p *ruleParser, v []string) error { p.enter("-m", v[0]); return nil }},
	"-j --jump":                    {1, func(p *ruleParser, v []string) error { return p.target(v[0], false) }},
	"-g --goto":                    {1, func(p *ruleParser, v []string) error { return p.target(v[0], true) }},
	"-c --set-counters --counters": {2, func(*ruleParser, []string) error { return nil }},
})

// moduleOptions are those of matches and targets by module. A module that is not here is not known.
var moduleOptions = map[string]map[string]option{
	"comment": {"--comment": {1, func(p *ruleParser, v []string) error { p.Comments = append(p.Comments, v[0]); return nil }}},
	"set":     {"--match-set": {2, (*ruleParser).set}},
	"tcp":     tcpOptions,
	"udp":     portOptions,
	"udplite": portOptions,
	"sctp":    portOptions,
	"multiport": withAliases(map[string]option{
		"--sports --source-ports":      {1, ports("src")},
		"--dports --destination-ports": {1, ports("dst")},
		"--ports":                      {1, ports("either")},
	}),
	"icmp":      {"--icmp-type": {1, icmp(false)}},
	"icmp6":     {"--icmpv6-type": {1, icmp(true)}},
	"icmpv6":    {"--icmpv6-type": {1, icmp(true)}},
	"ipv6-icmp": {"--icmpv6-type": {1, icmp(true)}},
	"conntrack": {"--ctstate": {1, (*ruleParser).states}},
	"state":     {"--state": {1, (*ruleParser).states}},
	"mark":      {"--mark": {1, mark(false)}},
	"connmark":  {"--mark": {1, mark(true)}},
	"addrtype":  addrTypeOptions,
	"ipvs":      ipvsOptions,
	"limit": {
		"--limit":       {1, func(p *ruleParser, v []string) error { p.Limit = joinWords(p.Limit, v[0]); return nil }},
		"--limit-burst": {1, func(p *ruleParser, v []string) error { p.Limit = joinWords(p.Limit, "burst "+v[0]); return nil }},
	},
	"REJECT":     {"--reject-with": {1, (*ruleParser).rejectWith}},
	"MARK":       {"--set-xmark": {1, (*ruleParser).setMark}, "--set-mark": {1, (*ruleParser).setMark}},
	"SNAT":       natOptions("--to-source"),
	"DNAT":       natOptions("--to-destination"),
	"MASQUERADE": natOptions(""),
	"REDIRECT":   natOptions(""),
	"TCPMSS": {
		"--set-mss":           {1, (*ruleParser).setMSS},
		"--clamp-mss-to-pmtu": {0, func(p *ruleParser, _ []string) error { p.Action.SetMSS = -1; return nil }},
	},
	"NFLOG": keptOptions("--nflog-prefix", "--nflog-group", "--nflog-range", "--nflog-size", "--nflog-threshold"),
	"LOG":   keptOptions("--log-prefix", "--log-level"),
	"TRACE": {}, "ACCEPT": {}, "DROP": {}, "RETURN": {},
}

var portOptions = withAliases(map[string]option{
	"--sport --source-port":      {1, ports("src")},
	"--dport --destination-port": {1, ports("dst")},
})

var tcpOptions = withAliases(map[string]option{
	"--sport --source-port":      {1, ports("src")},
	"--dport --destination-port": {1, ports("dst")},
	"--tcp-flags":                {2, (*ruleParser).tcpFlags},
	"--syn":                      {0, func(p *ruleParser, _ []string) error { return p.tcpFlags([]string{"FIN,SYN,RST,ACK", "SYN"}) }},
})

var addrTypeOptions = map[string]option{
	"--src-type": {1, func(p *ruleParser, v []string) error {
		p.addrType().Src, p.addrType().SrcNot = splitList(v[0]), p.not
		return nil
	}},
	"--dst-type": {1, func(p *ruleParser, v []string) error {
		p.addrType().Dst, p.addrType().DstNot = splitList(v[0]), p.not
		return nil
	}},
	"--limit-iface-in":  {0, func(p *ruleParser, _ []string) error { p.addrType().LimitIn = true; return nil }},
	"--limit-iface-out": {0, func(p *ruleParser, _ []string) error { p.addrType().LimitOut = true; return nil }},
}

var ipvsOptions = map[string]option{
	"--ipvs":   {0, func(p *ruleParser, _ []string) error { p.ipvs().Any = NotMatch{true, p.not}; return nil }},
	"--vproto": {1, func(p *ruleParser, v []string) error { return p.name(&p.ipvs().Protocol, protocolMeaning(v[0])) }},
	"--vaddr":  {1, func(p *ruleParser, v []string) error { return p.prefix(&p.ipvs().Address, v[0]) }},
	"--vport":  {1, func(p *ruleParser, v []string) (err error) { p.ipvs().Port, err = p.port("dst", v[0], ":"); return err }},
	"--vportctl": {1, func(p *ruleParser, v []string) (err error) {
		p.ipvs().Control, err = p.port("dst", v[0], ":")
		return err
	}},
	"--vdir":    {1, func(p *ruleParser, v []string) error { p.ipvs().Direction = v[0]; return nil }},
	"--vmethod": {1, func(p *ruleParser, v []string) error { return p.name(&p.ipvs().Method, v[0]) }},
}

// withAliases gives each of the names in a key the same option.
func withAliases(options map[string]option) map[string]option {
	all := map[string]option{}
	for names, o := range options {
		for _, name := range strings.Fields(names) {
			all[name] = o
		}
	}
	return all
}

// keptOptions are options with a value that are kept as they are.
func keptOptions(names ...string) map[string]option {
	all := map[string]option{}
	for _, name := range names {
		all[name] = option{1, func(p *ruleParser, v []string) error {
			p.Action.Options = append(p.Action.Options, name+" "+v[0])
			return nil
		}}
	}
	return all
}

func natOptions(to string) map[string]option {
	all := map[string]option{"--to-ports": {1, func(p *ruleParser, v []string) error { return p.natPorts(v[0]) }}}
	if to != "" {
		all = map[string]option{to: {1, (*ruleParser).natTo}}
	}
	for _, flag := range []string{"--random", "--random-fully", "--persistent"} {
		all[flag] = option{0, func(p *ruleParser, _ []string) error { p.Action.Options = append(p.Action.Options, flag); return nil }}
	}
	return all
}

func (p *ruleParser) prefix(m *PrefixMatch, s string) (err error) {
	if m.Prefix.IsValid() {
		return errTwice
	}
	m.Prefix, err = parseMaskedPrefix(s)
	m.Not = p.not
	return err
}

func (p *ruleParser) name(m *NameMatch, s string) error {
	if m.Name != "" && (m.Name != s || m.Not != p.not) {
		return errTwice
	}
	*m = NameMatch{s, p.not}
	return nil
}

func (p *ruleParser) target(name string, isGoto bool) error {
	if p.Action.Target != "" {
		return errTwice
	}
	p.Action.Target, p.Action.Goto = name, isGoto
	p.enter("-j", name)
	return nil
}

func (p *ruleParser) set(v []string) error {
	p.Sets = append(p.Sets, SetMatch{v[0], splitList(v[1]), p.not})
	return nil
}

func (p *ruleParser) port(which, s, separator string) (PortMatch, error) {
	ranges, err := parsePortRanges(s, separator)
	return PortMatch{which, ranges, p.not}, err
}

func ports(which string) func(*ruleParser, []string) error {
	return func(p *ruleParser, v []string) error {
		m, err := p.port(which, v[0], ":")
		p.Ports = append(p.Ports, m)
		return err
	}
}

func (p *ruleParser) tcpFlags(v []string) error {
	if p.TCPFlags != nil {
		return errTwice
	}
	list := func(s string) []string {
		switch s {
		case "NONE":
			return nil
		case "ALL":
			return []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}
		}
		return splitList(s)
	}
	p.TCPFlags = &FlagsMatch{list(v[0]), list(v[1]), p.not}
	return nil
}

func (p *ruleParser) states(v []string) error {
	if p.States != nil {
		return errTwice
	}
	p.States = &StatesMatch{splitList(v[0]), p.not}
	return nil
}

func mark(connection bool) func(*ruleParser, []string) error {
	return func(p *ruleParser, v []string) error {
		m, err := parseMark(v[0])
		p.Marks = append(p.Marks, MarkMatch{m, connection, p.not})
		return err
	}
}

func (p *ruleParser) addrType() *AddrTypeMatch {
	if p.AddrType == nil {
		p.AddrType = &AddrTypeMatch{}
	}
	return p.AddrType
}

func (p *ruleParser) ipvs() *IPVSMatch {
	if p.IPVS == nil {
		p.IPVS = &IPVSMatch{}
	}
	return p.IPVS
}

// rejectWith gives each answer one name.
func (p *ruleParser) rejectWith(v []string) error {
	aliases := map[string]string{"net-unreach": "icmp-net-unreachable", "host-unreach": "icmp-host-unreachable",
		"proto-unreach": "icmp-proto-unreachable", "port-unreach": "icmp-port-unreachable", "net-prohib": "icmp-net-prohibited",
		"host-prohib": "icmp-host-prohibited", "admin-prohib": "icmp-admin-prohibited", "tcp-rst": "tcp-reset",
		"no-route": "icmp6-no-route", "adm-prohibited": "icmp6-adm-prohibited", "addr-unreach": "icmp6-addr-unreachable"}
	p.Action.RejectWith = v[0]
	if name, ok := aliases[v[0]]; ok {
		p.Action.RejectWith = name
	}
	return nil
}

func (p *ruleParser) setMark(v []string) error {
	m, err := parseMark(v[0])
	p.Action.SetMark = &m
	return err
}

func (p *ruleParser) setMSS(v []string) (err error) {
	p.Action.SetMSS, err = strconv.Atoi(v[0])
	return err
}

// natTo reads "192.0.2.1", "192.0.2.1-192.0.2.9:80-90" or "[2001:db8::1]-[2001:db8::9]:80".
func (p *ruleParser) natTo(v []string) error {
	addrs, ports := v[0], ""
	if i := strings.LastIndex(addrs, "]"); i >= 0 {
		addrs, ports = addrs[:i+1], strings.TrimPrefix(addrs[i+1:], ":")
	} else if strings.Count(addrs, ":") == 1 {
		addrs, ports, _ = strings.Cut(addrs, ":")
	}
	if addrs != "" {
		low, high, isRange := strings.Cut(addrs, "-")
		if !isRange {
			high = low
		}
		for i, s := range []string{low, high} {
			a, err := netip.ParseAddr(strings.Trim(s, "[]"))
			if err != nil {
				return fmt.Errorf("address %q", v[0])
			}
			p.Action.To[i] = a
		}
	}
	if ports == "" {
		return nil
	}
	return p.natPorts(ports)
}

func (p *ruleParser) natPorts(s string) error {
	ranges, err := parsePortRanges(s, "-")
	if err != nil {
		return err
	}
	if len(ranges) != 1 {
		return fmt.Errorf("ports %q", s)
	}
	p.Action.Ports = ranges[0]
	return nil
}

func icmp(ipv6 bool) func(*ruleParser, []string) error {
	return func(p *ruleParser, v []string) error {
		if p.ICMP != nil {
			return errTwice
		}
		typ, code, err := parseICMP(v[0], ipv6)
		p.ICMP = &ICMPMatch{ipv6, typ, code, p.not}
		return err
	}
}

// parseICMP reads "8", "3/4", "echo-request" or "any"; any type or code is -1.
func parseICMP(s string, ipv6 bool) (typ, code int, err error) {
	names := icmpNames
	if ipv6 {
		names = icmpv6Names
	}
	if t, ok := names[strings.ReplaceAll(s, "neighbor", "neighbour")]; ok {
		return t[0], t[1], nil
	}
	t, c, hasCode := strings.Cut(s, "/")
	code = -1
	if typ, err = strconv.Atoi(t); err == nil && hasCode {
		code, err = strconv.Atoi(c)
	}
	if err != nil || typ < 0 || typ > 255 || code > 255 {
		return 0, 0, fmt.Errorf("ICMP type %q", s)
	}
	if typ == 255 && !ipv6 {
		typ = -1
	}
	return typ, code, nil
}

// icmpNames and icmpv6Names are those that iptables knows: type and code, -1 for any.
var icmpNames = map[string][2]int{
	"any": {-1, -1}, "echo-reply": {0, -1}, "pong": {0, -1}, "destination-unreachable": {3, -1}, "network-unreachable": {3, 0},
	"host-unreachable": {3, 1}, "protocol-unreachable": {3, 2}, "port-unreachable": {3, 3}, "fragmentation-needed": {3, 4},
	"source-route-failed": {3, 5}, "network-unknown": {3, 6}, "host-unknown": {3, 7}, "network-prohibited": {3, 9},
	"host-prohibited": {3, 10}, "TOS-network-unreachable": {3, 11}, "TOS-host-unreachable": {3, 12},
	"communication-prohibited": {3, 13}, "host-precedence-violation": {3, 14}, "precedence-cutoff": {3, 15},
	"source-quench": {4, -1}, "redirect": {5, -1}, "network-redirect": {5, 0}, "host-redirect": {5, 1},
	"TOS-network-redirect": {5, 2}, "TOS-host-redirect": {5, 3}, "echo-request": {8, -1}, "ping": {8, -1},
	"router-advertisement": {9, -1}, "router-solicitation": {10, -1}, "time-exceeded": {11, -1}, "ttl-exceeded": {11, -1},
	"ttl-zero-during-transit": {11, 0}, "ttl-zero-during-reassembly": {11, 1}, "parameter-problem": {12, -1},
	"ip-header-bad": {12, 0}, "required-option-missing": {12, 1}, "timestamp-request": {13, -1}, "timestamp-reply": {14, -1},
	"address-mask-request": {17, -1}, "address-mask-reply": {18, -1},
}

var icmpv6Names = map[string][2]int{
	"destination-unreachable": {1, -1}, "no-route": {1, 0}, "communication-prohibited": {1, 1}, "beyond-scope": {1, 2},
	"address-unreachable": {1, 3}, "port-unreachable": {1, 4}, "failed-policy": {1, 5}, "reject-route": {1, 6},
	"packet-too-big": {2, -1}, "time-exceeded": {3, -1}, "ttl-exceeded": {3, -1}, "ttl-zero-during-transit": {3, 0},
	"ttl-zero-during-reassembly": {3, 1}, "parameter-problem": {4, -1}, "bad-header": {4, 0}, "unknown-header-type": {4, 1},
	"unknown-option": {4, 2}, "echo-request": {128, -1}, "ping": {128, -1}, "echo-reply": {129, -1}, "pong": {129, -1},
	"router-solicitation": {133, -1}, "router-advertisement": {134, -1}, "neighbour-solicitation": {135, -1},
	"neighbour-advertisement": {136, -1}, "redirect": {137, -1},
}
