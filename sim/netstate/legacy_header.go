package netstate

import (
	"bytes"
	"net/netip"
)

// Inversions, the same in both families.
const (
	invertIn       = 1
	invertOut      = 2
	invertTOS      = 4
	invertSrc      = 8
	invertDst      = 0x10
	invertFragment = 0x20
	invertProto    = 0x40
)

// header spells what an entry says without any match: addresses, links, protocol, fragment.
func (e legacyEntry) header() string {
	l, b := e.layout, e.bytes
	invert := b[l.invert]
	var proto, fragment string
	if p := u16(b[l.proto:]); p != 0 || invert&invertProto != 0 {
		proto = not(invert&invertProto != 0) + "-p " + protocolOption(p)
	}
	if l.flagFragment != 0 && (b[l.flags]&l.flagFragment != 0 || invert&invertFragment != 0) {
		fragment = not(invert&invertFragment != 0) + "-f"
	}
	return joinWords(
		prefixOption("-s", e.prefix(l.src, l.srcMask), invert&invertSrc != 0),
		prefixOption("-d", e.prefix(l.dst, l.dstMask), invert&invertDst != 0),
		linkOption("-i", b[l.in:l.in+16], b[l.inMask:l.inMask+16], invert&invertIn != 0),
		linkOption("-o", b[l.out:l.out+16], b[l.outMask:l.outMask+16], invert&invertOut != 0),
		proto, fragment)
}

// headerHandled tells whether header said it all.
func (e legacyEntry) headerHandled() bool {
	l, b := e.layout, e.bytes
	_, src := maskedPrefix(e.addr(l.src), e.addr(l.srcMask))
	_, dst := maskedPrefix(e.addr(l.dst), e.addr(l.dstMask))
	return src && dst && b[l.flags]&^l.flagsHandled == 0 && b[l.invert]&invertTOS == 0
}

func (e legacyEntry) addr(at int) netip.Addr { return addrOf(e.bytes[at : at+e.layout.addrSize]) }

func (e legacyEntry) prefix(addr, mask int) netip.Prefix {
	p, _ := maskedPrefix(e.addr(addr), e.addr(mask))
	return p
}

// prefixOption is "-s 192.0.2.0/24"; nothing for any address.
func prefixOption(option string, p netip.Prefix, inverted bool) string {
	if p.Bits() <= 0 && !inverted {
		return ""
	}
	return not(inverted) + option + " " + p.String()
}

// linkOption is "-i eth+"; nothing for any link.
func linkOption(option string, name, mask []byte, inverted bool) string {
	if !bytes.ContainsFunc(mask, func(r rune) bool { return r != 0 }) && !inverted {
		return ""
	}
	return not(inverted) + option + " " + linkPattern(name, mask)
}
