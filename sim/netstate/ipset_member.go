package netstate

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/ipset/ip_set.h for members.
const (
	ipsetAttrCIDR     = 3
	ipsetAttrProto    = 7
	ipsetAttrMark     = 10
	ipsetAttrElemName = 18
	ipsetAttrIP2      = 20
	ipsetAttrCIDR2    = 21
	ipsetAttrBytes    = 24
	ipsetAttrPackets  = 25
	ipsetAttrText     = 26
	ipsetAttrSkbMark  = 27
	ipsetAttrSkbPrio  = 28
	ipsetAttrSkbQueue = 29

	ipsetFlagNoMatch = 1 << 2
)

// attrValues are attributes by type.
type attrValues [32][]byte

func valuesOf(b []byte) *attrValues {
	var values attrValues
	for typ, v := range attrs(b) {
		if int(typ) < len(values) {
			values[typ] = v
		}
	}
	return &values
}

// setMember spells a member as `ipset save` does, without counters and remaining time, or leaves it undecoded.
func setMember(typ string, b []byte) string {
	if member, ok := spellMember(typ, b); ok {
		return member
	}
	return fmt.Sprintf("%s%x", undecoded, stableMember(b))
}

func spellMember(typ string, b []byte) (member string, ok bool) {
	values := valuesOf(b)
	kind, dims, _ := strings.Cut(typ, ":")
	var parts []string
	switch {
	case typ == "list:set":
		parts = []string{text(values[ipsetAttrElemName])}
	case typ == "bitmap:port":
		parts = []string{strconv.Itoa(int(be16(values[ipsetAttrPort])))}
	case kind == "hash":
		parts, ok = hashParts(strings.Split(dims, ","), values)
		if !ok {
			return "", false
		}
	default:
		return "", false
	}
	words := []string{strings.Join(parts, ",")}
	if v := values[ipsetAttrFlags]; v != nil && be32(v)&ipsetFlagNoMatch != 0 {
		words = append(words, "nomatch")
	}
	if v := values[ipsetAttrText]; v != nil {
		words = append(words, "comment", strconv.Quote(text(v)))
	}
	return strings.Join(append(words, skbInfo(values)...), " "), true
}

// hashParts spells the dimensions of a hash type: "ip", "net", "port", or "mark", of which the second address has attributes of its own.
func hashParts(dims []string, values *attrValues) ([]string, bool) {
	var parts []string
	addrs := 0
	for _, dim := range dims {
		switch dim {
		case "ip", "net":
			addr, cidr := values[ipsetAttrIP], values[ipsetAttrCIDR]
			if addrs++; addrs == 2 {
				addr, cidr = values[ipsetAttrIP2], values[ipsetAttrCIDR2]
			}
			a := setAddr(addr)
			if !a.IsValid() || addrs > 2 {
				return nil, false
			}
			part := a.String()
			if dim == "net" && len(cidr) == 1 && int(cidr[0]) != a.BitLen() {
				part += "/" + strconv.Itoa(int(cidr[0]))
			}
			parts = append(parts, part)
		case "port":
			if len(values[ipsetAttrProto]) != 1 || len(values[ipsetAttrPort]) != 2 {
				return nil, false
			}
			proto, ok := setProtocol(values[ipsetAttrProto][0])
			if !ok {
				return nil, false
			}
			parts = append(parts, proto+":"+strconv.Itoa(int(be16(values[ipsetAttrPort]))))
		case "mark":
			if len(values[ipsetAttrMark]) != 4 {
				return nil, false
			}
			parts = append(parts, fmt.Sprintf("0x%08x", be32(values[ipsetAttrMark])))
		default:
			return nil, false
		}
	}
	return parts, true
}

// setProtocol names the protocols that have ports. ipset prints the others in ways of their own (icmp:echo-request, vrrp:0).
func setProtocol(p byte) (string, bool) {
	switch p {
	case unix.IPPROTO_TCP:
		return "tcp", true
	case unix.IPPROTO_UDP:
		return "udp", true
	case unix.IPPROTO_SCTP:
		return "sctp", true
	case unix.IPPROTO_UDPLITE:
		return "udplite", true
	}
	return "", false
}

// skbInfo spells what a member does to packets.
func skbInfo(values *attrValues) []string {
	var words []string
	if v := values[ipsetAttrSkbMark]; len(v) == 8 {
		mark, mask := be32(v), be32(v[4:])
		word := fmt.Sprintf("%#x", mark)
		if mask != ^uint32(0) {
			word += fmt.Sprintf("/%#x", mask)
		}
		words = append(words, "skbmark", word)
	}
	if v := values[ipsetAttrSkbPrio]; len(v) == 4 {
		prio := be32(v)
		words = append(words, "skbprio", fmt.Sprintf("%x:%x", prio>>16, prio&0xffff))
	}
	if v := values[ipsetAttrSkbQueue]; len(v) == 2 {
		words = append(words, "skbqueue", strconv.Itoa(int(be16(v))))
	}
	return words
}

// setAddr reads an address, which is nested in an attribute of its own that tells the family.
func setAddr(b []byte) netip.Addr {
	for _, v := range attrs(b) {
		return addrOf(v)
	}
	return netip.Addr{}
}

// stableMember is a member without what traffic and time change.
func stableMember(b []byte) []byte {
	var kept []byte
	for t, v := range attrs(b) {
		switch t {
		case ipsetAttrTimeout, ipsetAttrBytes, ipsetAttrPackets:
		default:
			kept = attr(kept, t, v)
		}
	}
	return kept
}
