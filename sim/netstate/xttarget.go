package netstate

import (
	"fmt"
	"net/netip"
	"strings"
)

// targets are the targets that can be spelled. Their data has at least size bytes.
var targets = map[extensionKey]struct {
	size  int
	spell func(e extension) (string, bool)
}{
	{"REJECT", 0}:     {4, extension.rejectTarget},
	{"MARK", 2}:       {8, extension.markTarget},
	{"CONNMARK", 1}:   {13, extension.connmarkTarget},
	{"CONNMARK", 2}:   {15, extension.connmarkTarget},
	{"MASQUERADE", 0}: {20, natTarget("")},
	{"REDIRECT", 0}:   {20, natTarget("")},
	{"SNAT", 0}:       {20, natTarget("--to-source")},
	{"SNAT", 1}:       {40, natTarget("--to-source")},
	{"DNAT", 0}:       {20, natTarget("--to-destination")},
	{"DNAT", 1}:       {40, natTarget("--to-destination")},
	{"DNAT", 2}:       {42, natTarget("--to-destination")},
	{"TCPMSS", 0}:     {2, extension.tcpmssTarget},
	{"NFLOG", 0}:      {76, extension.nflogTarget},
	{"TRACE", 0}:      {0, func(extension) (string, bool) { return "", true }},
}

// spellTarget spells a target that is no verdict as iptables-save does, "-j" included; ok is false if it cannot.
func (e extension) spellTarget() (words string, ok bool) {
	s, found := targets[extensionKey{e.name, e.revision}]
	if !found || len(e.data) < s.size {
		return "", false
	}
	words, ok = s.spell(e)
	return joinWords("-j "+e.name, words), ok
}

// rejectTarget: struct ipt_reject_info and ip6t_reject_info are one enum each.
func (e extension) rejectTarget() (string, bool) {
	b := e.data
	names := []string{"icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable", "",
		"icmp-net-prohibited", "icmp-host-prohibited", "tcp-reset", "icmp-admin-prohibited"}
	if e.ipv6 {
		names = []string{"icmp6-no-route", "icmp6-adm-prohibited", "", "icmp6-addr-unreachable", "icmp6-port-unreachable", "",
			"tcp-reset", "icmp6-policy-fail", "icmp6-reject-route"}
	}
	with := u32(b)
	if int(with) >= len(names) || names[with] == "" {
		return "", false
	}
	return "--reject-with " + names[with], true
}

// markTarget: struct xt_mark_tginfo2 is mark, mask u32.
func (e extension) markTarget() (string, bool) {
	b := e.data
	return fmt.Sprintf("--set-xmark %#x/%#x", u32(b), u32(b[4:])), true
}

// connmarkTarget: struct xt_connmark_tginfo1 is ctmark, ctmask, nfmask u32, mode u8; revision 2 shifts, too.
func (e extension) connmarkTarget() (string, bool) {
	b := e.data
	mode, shifts := b[12], false
	if e.revision == 2 {
		mode, shifts = b[14], b[13] != 0
	}
	masks := fmt.Sprintf("--nfmask %#x --ctmask %#x", u32(b[8:]), u32(b[4:]))
	switch {
	case shifts:
	case mode == 0:
		return fmt.Sprintf("--set-xmark %#x/%#x", u32(b), u32(b[4:])), true
	case mode == 1:
		return "--save-mark " + masks, true
	case mode == 2:
		return "--restore-mark " + masks, true
	}
	return "", false
}

// natRange is struct nf_nat_range of both families.
type natRange struct {
	flags     uint32
	low, high netip.Addr
	ports     [2]uint16
}

// Of linux/netfilter/nf_nat.h.
const (
	natMapIPs      = 1
	natPorts       = 2
	natRandom      = 4
	natPersistent  = 8
	natRandomFully = 16
)

// natTarget: struct nf_nat_ipv4_multi_range_compat is count, flags u32, low, high u32, ports[2] u16; struct nf_nat_range, which
// IPv6 and later revisions have, is flags u32, low[16], high[16], ports[2] u16. option "" is a target that chooses addresses.
func natTarget(option string) func(extension) (string, bool) {
	return func(e extension) (string, bool) {
		b := e.data
		var r natRange
		if e.revision == 0 && !e.ipv6 {
			if u32(b) != 1 {
				return "", false
			}
			r = natRange{u32(b[4:]), addrOf(b[8:12]), addrOf(b[12:16]), [2]uint16{be16(b[16:]), be16(b[18:])}}
		} else {
			if len(b) < 40 {
				return "", false
			}
			r = natRange{u32(b), ipvsAddr(b[4:20], e.ipv6), ipvsAddr(b[20:36], e.ipv6), [2]uint16{be16(b[36:]), be16(b[38:])}}
		}
		const known = natMapIPs | natPorts | natRandom | natPersistent | natRandomFully
		return r.spell(option), r.flags&^known == 0
	}
}

func (r natRange) spell(option string) string {
	var to string
	if r.flags&natMapIPs != 0 {
		to = r.low.String()
		if r.low.Is6() && r.flags&natPorts != 0 {
			to = "[" + to + "]"
		}
		if r.high != r.low {
			high := r.high.String()
			if r.high.Is6() && r.flags&natPorts != 0 {
				high = "[" + high + "]"
			}
			to += "-" + high
		}
	}
	if r.flags&natPorts != 0 {
		if option != "" {
			to += ":"
		}
		to += fmt.Sprint(r.ports[0])
		if r.ports[1] != r.ports[0] {
			to += fmt.Sprintf("-%d", r.ports[1])
		}
	}
	var words []string
	switch {
	case to != "" && option == "":
		words = append(words, "--to-ports", to)
	case to != "":
		words = append(words, option, to)
	}
	for _, f := range []struct {
		bit  uint32
		word string
	}{{natRandom, "--random"}, {natRandomFully, "--random-fully"}, {natPersistent, "--persistent"}} {
		if r.flags&f.bit != 0 {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, " ")
}

// tcpmssTarget: struct xt_tcpmss_info is mss u16.
func (e extension) tcpmssTarget() (string, bool) {
	b := e.data
	if u16(b) == 0xffff {
		return "--clamp-mss-to-pmtu", true
	}
	return fmt.Sprintf("--set-mss %d", u16(b)), true
}

// nflogTarget: struct xt_nflog_info is len u32, group, threshold, flags, pad u16, prefix[64].
func (e extension) nflogTarget() (string, bool) {
	b := e.data
	var words []string
	if prefix := text(b[12:]); prefix != "" {
		words = append(words, "--nflog-prefix "+quoteArg(prefix))
	}
	if group := u16(b[4:]); group != 0 {
		words = append(words, fmt.Sprintf("--nflog-group %d", group))
	}
	if threshold := u16(b[6:]); threshold > 1 {
		words = append(words, fmt.Sprintf("--nflog-threshold %d", threshold))
	}
	return strings.Join(words, " "), u32(b) == 0 && u16(b[8:]) == 0
}
