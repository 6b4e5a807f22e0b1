package netstate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readRules returns the policy rules of both families.
func readRules(c *socket) ([]PolicyRule, error) {
	var all []PolicyRule
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, unix.SizeofRtMsg)
		request[0] = family
		answers, err := c.dump(unix.RTM_GETRULE, request)
		if err != nil {
			return nil, doing("list "+familyName(family == unix.AF_INET6)+" policy rules", err)
		}
		for _, b := range answers {
			all = append(all, parsePolicyRule(b))
		}
	}
	slices.SortStableFunc(all, comparePolicyRules)
	return all, nil
}

func parsePolicyRule(b []byte) PolicyRule {
	// struct fib_rule_hdr: family, dst_len, src_len, tos, table, res1, res2, action u8, flags u32.
	r := PolicyRule{IPv6: b[0] == unix.AF_INET6, Table: int(b[4]), Action: ruleActionName(b[7])}
	r.Invert = u32(b[8:])&unix.FIB_RULE_INVERT != 0
	src, dst := anyAddr(r.IPv6), anyAddr(r.IPv6)
	var other []string
	if tos := b[3]; tos != 0 {
		other = append(other, fmt.Sprintf("tos %#x", tos))
	}
	for typ, v := range attrs(b[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.FRA_SRC:
			src = addrOf(v)
		case unix.FRA_DST:
			dst = addrOf(v)
		case unix.FRA_PRIORITY:
			r.Priority = int(u32(v))
		case unix.FRA_TABLE:
			r.Table = int(u32(v))
		case unix.FRA_FWMARK:
			r.Mark = u32(v)
		case unix.FRA_FWMASK:
			r.Mask = u32(v)
		case unix.FRA_IIFNAME:
			r.IifName = text(v)
		case unix.FRA_OIFNAME:
			r.OifName = text(v)
		default:
			if s := otherCondition(typ, v); s != "" {
				other = append(other, s)
			}
		}
	}
	if b[2] != 0 {
		r.Src = netip.PrefixFrom(src, int(b[2]))
	}
	if b[1] != 0 {
		r.Dst = netip.PrefixFrom(dst, int(b[1]))
	}
	r.Other = strings.Join(other, " ")
	return r
}

// otherCondition spells a condition that PolicyRule has no field for as ip-rule(8) does. Who made the rule is no condition.
func otherCondition(typ uint16, v []byte) string {
	switch typ {
	case unix.FRA_PROTOCOL, unix.FRA_PAD:
		return ""
	case unix.FRA_GOTO:
		return fmt.Sprintf("goto %d", u32(v))
	case unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP: // -1: does not suppress
		if u32(v) == ^uint32(0) {
			return ""
		}
		if typ == unix.FRA_SUPPRESS_IFGROUP {
			return fmt.Sprintf("suppress_ifgroup %d", u32(v))
		}
		return fmt.Sprintf("suppress_prefixlength %d", u32(v))
	case unix.FRA_IP_PROTO:
		return "ipproto " + strings.ToLower(transportName(uint16(v[0])))
	case unix.FRA_SPORT_RANGE:
		return fmt.Sprintf("sport %d-%d", u16(v), u16(v[2:]))
	case unix.FRA_DPORT_RANGE:
		return fmt.Sprintf("dport %d-%d", u16(v), u16(v[2:]))
	case unix.FRA_UID_RANGE:
		return fmt.Sprintf("uidrange %d-%d", u32(v), u32(v[4:]))
	case unix.FRA_L3MDEV:
		if v[0] == 0 {
			return ""
		}
		return "l3mdev"
	}
	return fmt.Sprintf("attribute-%d %x", typ, v)
}

func comparePolicyRules(a, b PolicyRule) int {
	if a.IPv6 != b.IPv6 {
		if b.IPv6 {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Priority, b.Priority) // rules of one priority are tried in the kernel's order
}

func ruleActionName(a byte) string {
	switch a {
	case unix.FR_ACT_TO_TBL:
		return "lookup"
	case unix.FR_ACT_GOTO:
		return "goto"
	case unix.FR_ACT_NOP:
		return "nop"
	case unix.FR_ACT_BLACKHOLE:
		return "blackhole"
	case unix.FR_ACT_UNREACHABLE:
		return "unreachable"
	case unix.FR_ACT_PROHIBIT:
		return "prohibit"
	}
	return strconv.Itoa(int(a))
}
