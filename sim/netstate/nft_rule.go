package netstate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Attributes of nf_tables expressions, of linux/netfilter/nf_tables.h.
const (
	nftaListElem = 1
	nftaExprName = 1
	nftaExprData = 2

	nftaDataValue   = 1
	nftaDataVerdict = 2

	nftReturn = -5
	nftGoto   = -4
	nftJump   = -3

	nftPayloadNetwork   = 1
	nftPayloadTransport = 2

	nftMetaMark    = 3
	nftMetaIifName = 6
	nftMetaOifName = 7
	nftMetaL4Proto = 16
)

// nftExpr is an expression of a rule: its name and its attributes by number.
type nftExpr struct {
	name  string
	raw   []byte
	attrs *attrValues
}

func (e nftExpr) number(attr uint16) uint32 {
	if v := e.attrs[attr]; len(v) == 4 {
		return be32(v)
	}
	return 0
}

// value is the data of an attribute that holds a register's content.
func (e nftExpr) value(attr uint16) []byte {
	for typ, v := range attrs(e.attrs[attr]) {
		if typ == nftaDataValue {
			return v
		}
	}
	return nil
}

func nftExprs(b []byte) []nftExpr {
	var all []nftExpr
	for typ, v := range attrs(b) {
		if typ != nftaListElem {
			continue
		}
		e := nftExpr{attrs: &attrValues{}}
		for typ, v := range attrs(v) {
			switch typ {
			case nftaExprName:
				e.name = text(v)
			case nftaExprData:
				e.raw, e.attrs = v, valuesOf(v)
			}
		}
		all = append(all, e)
	}
	return all
}

// nftRule spells a rule made by iptables-nft, in any of the forms that its versions have used. What it does not recognise in
// full stays undecoded. Counters say nothing about a rule.
func nftRule(b []byte, ipv6 bool, sets setNames) (Rule, error) {
	exprs := slices.DeleteFunc(nftExprs(b), func(e nftExpr) bool { return e.name == "counter" })
	d := nftDecoder{ipv6: ipv6, sets: sets, registers: map[uint32]nftField{}, known: true}
	for _, e := range exprs {
		if err := d.expr(e); err != nil {
			return Rule{}, err
		}
	}
	d.flushPorts()
	spec := joinWords(append([]string{d.src, d.dst, d.in, d.out, d.proto}, append(d.words, d.target)...)...)
	if d.known {
		return newRule(spec)
	}
	content := [][]byte{[]byte(spec)}
	for _, e := range exprs {
		content = append(content, []byte(e.name), e.raw)
	}
	return undecodedRule(content...), nil
}

// nftField is what a register holds: a part of the packet or of what the kernel knows about it, masked.
type nftField struct {
	payload     bool
	base        uint32 // of the payload
	offset, len uint32
	meta        uint32 // key, if it is not payload
	mask        []byte
}

// nftDecoder collects the parts of a rule in the order in which iptables-save prints them.
type nftDecoder struct {
	ipv6                     bool
	sets                     setNames
	registers                map[uint32]nftField
	src, dst, in, out, proto string
	protoName                string
	ports                    []string // of the tcp or udp match that is being collected
	words                    []string
	target                   string
	known                    bool
}

func (d *nftDecoder) expr(e nftExpr) error {
	if e.name != "payload" && e.name != "meta" && e.name != "cmp" && e.name != "range" {
		d.flushPorts()
	}
	switch e.name {
	case "payload":
		d.registers[e.number(1)] = nftField{payload: true, base: e.number(2), offset: e.number(3), len: e.number(4)}
	case "meta":
		if e.attrs[3] != nil { // it sets something
			d.known = false
		}
		d.registers[e.number(1)] = nftField{meta: e.number(2)}
	case "bitwise":
		f := d.registers[e.number(1)]
		f.mask = e.value(4)
		if e.number(6) != 0 || len(bytes.Trim(e.value(5), "\x00")) != 0 {
			d.known = false
		}
		d.registers[e.number(2)] = f
	case "cmp":
		op := e.number(2)
		d.compare(d.registers[e.number(1)], e.value(3), op == unix.NFT_CMP_NEQ)
		d.known = d.known && (op == unix.NFT_CMP_EQ || op == unix.NFT_CMP_NEQ)
	case "range":
		d.portRange(d.registers[e.number(1)], e.value(3), e.value(4), e.number(2) == unix.NFT_RANGE_NEQ)
	case "match":
		x := extension{name: text(e.attrs[1]), revision: byte(e.number(2)), data: e.attrs[3], ipv6: d.ipv6}
		words, ok, err := x.spellMatch(d.sets)
		if err != nil {
			return err
		}
		d.words, d.known = append(d.words, words), d.known && ok
	case "target":
		x := extension{name: text(e.attrs[1]), revision: byte(e.number(2)), data: e.attrs[3], ipv6: d.ipv6}
		words, ok := x.spellTarget()
		d.setTarget(words, ok)
	case "immediate":
		d.setTarget(nftVerdict(e.attrs[2]))
	case "limit":
		d.limit(e)
	case "log":
		d.log(e)
	default:
		d.known = false
	}
	return nil
}

func (d *nftDecoder) setTarget(words string, ok bool) {
	d.known = d.known && ok && d.target == ""
	d.target = words
}

func nftVerdict(data []byte) (string, bool) {
	for typ, v := range attrs(data) {
		if typ != nftaDataVerdict {
			continue
		}
		var code int32
		var chain string
		for typ, v := range attrs(v) {
			switch typ {
			case 1:
				code = int32(be32(v))
			case 2:
				chain = text(v)
			}
		}
		switch code {
		case 0:
			return "-j DROP", true
		case 1:
			return "-j ACCEPT", true
		case nftReturn:
			return "-j RETURN", true
		case nftJump:
			return "-j " + chain, true
		case nftGoto:
			return "-g " + chain, true
		}
	}
	return "", false
}

// compare takes a comparison of a field with a value.
func (d *nftDecoder) compare(f nftField, value []byte, inverted bool) {
	ok := false
	switch {
	case f.payload && f.base == nftPayloadNetwork:
		ok = d.compareHeader(f, value, inverted)
	case f.payload && f.base == nftPayloadTransport && len(value) == 2 && f.mask == nil:
		ok = d.port(f, portRange(portOption(f), be16(value), be16(value), inverted))
	case f.payload && f.base == nftPayloadTransport && f.offset == 13 && len(value) == 1 && len(f.mask) == 1:
		d.ports = append(d.ports, not(inverted)+"--tcp-flags "+tcpFlags(f.mask[0])+" "+tcpFlags(value[0]))
		ok = d.protoName == "tcp" && (f.mask[0]|value[0])&0xc0 == 0
	case f.payload:
	case f.meta == nftMetaMark && len(value) == 4:
		mask := ^uint32(0)
		if len(f.mask) == 4 {
			mask = u32(f.mask)
		}
		d.flushPorts()
		d.words, ok = append(d.words, "-m mark "+not(inverted)+"--mark "+masked(u32(value), mask)), true
	case f.meta == nftMetaIifName && f.mask == nil:
		d.in, ok = linkCondition("-i", value, inverted), d.in == ""
	case f.meta == nftMetaOifName && f.mask == nil:
		d.out, ok = linkCondition("-o", value, inverted), d.out == ""
	case f.meta == nftMetaL4Proto && len(value) == 1 && f.mask == nil:
		ok = d.setProto(value[0], inverted)
	}
	d.known = d.known && ok
}

// compareHeader takes a comparison of an address, or of IPv4's protocol. A prefix that ends at a byte loads fewer bytes.
func (d *nftDecoder) compareHeader(f nftField, value []byte, inverted bool) bool {
	size, src, dst := uint32(4), uint32(12), uint32(16)
	if d.ipv6 {
		size, src, dst = 16, 8, 24
	}
	var part *string
	option := "-s"
	switch {
	case !d.ipv6 && f.offset == 9 && f.len == 1 && len(value) == 1 && f.mask == nil:
		return d.setProto(value[0], inverted)
	case f.offset == src:
		part = &d.src
	case f.offset == dst:
		part, option = &d.dst, "-d"
	default:
		return false
	}
	if f.len > size || uint32(len(value)) < f.len || *part != "" {
		return false
	}
	addr, mask := make([]byte, size), make([]byte, size)
	copy(addr, value[:f.len])
	for i := range f.len {
		mask[i] = 0xff
		if f.mask != nil && int(i) < len(f.mask) {
			mask[i] = f.mask[i]
		}
	}
	prefix, ok := maskedPrefix(addrOf(addr), addrOf(mask))
	*part = prefixOption(option, prefix, inverted)
	return ok
}

func (d *nftDecoder) setProto(p byte, inverted bool) bool {
	proto := not(inverted) + "-p " + protocolOption(uint16(p))
	ok := d.proto == "" || d.proto == proto // ports are preceded by the protocol once more
	d.proto, d.protoName = proto, protocolOption(uint16(p))
	return ok
}

func portOption(f nftField) string {
	if f.offset == 0 {
		return "--sport"
	}
	return "--dport"
}

// port adds a condition to the tcp or udp match that iptables-save prints for it.
func (d *nftDecoder) port(f nftField, condition string) bool {
	d.ports = append(d.ports, condition)
	return (d.protoName == "tcp" || d.protoName == "udp") && (f.offset == 0 || f.offset == 2) && f.len == 2
}

func (d *nftDecoder) portRange(f nftField, low, high []byte, inverted bool) {
	ok := f.payload && f.base == nftPayloadTransport && f.mask == nil && len(low) == 2 && len(high) == 2
	if ok {
		ok = d.port(f, portRange(portOption(f), be16(low), be16(high), inverted))
	}
	d.known = d.known && ok
}

func (d *nftDecoder) flushPorts() {
	if d.ports == nil {
		return
	}
	d.words = append(d.words, joinWords(append([]string{"-m", d.protoName}, d.ports...)...))
	d.ports = nil
}

// linkCondition: a name is compared with its NUL; without, it is the beginning of one.
func linkCondition(option string, value []byte, inverted bool) string {
	name := text(value)
	if len(name) == len(value) {
		name += "+"
	}
	return not(inverted) + option + " " + name
}

// limit: rate u64 per unit u64 seconds, burst u32, type, flags.
func (d *nftDecoder) limit(e nftExpr) {
	rate, unit := e.attrs[1], e.attrs[2]
	units := map[uint64]string{1: "sec", 60: "min", 3600: "hour", 86400: "day"}
	if len(rate) != 8 || len(unit) != 8 || e.number(4) != 0 || e.number(5) != 0 {
		d.known = false
		return
	}
	name, ok := units[binary.BigEndian.Uint64(unit)]
	words := fmt.Sprintf("-m limit --limit %d/%s", binary.BigEndian.Uint64(rate), name)
	if burst := e.number(3); burst != 5 {
		words += fmt.Sprintf(" --limit-burst %d", burst)
	}
	d.words, d.known = append(d.words, words), d.known && ok
}

// log is what iptables-nft makes of NFLOG: group u16, prefix, snaplen u32, threshold u16.
func (d *nftDecoder) log(e nftExpr) {
	group := e.attrs[1]
	if len(group) != 2 || e.attrs[3] != nil || e.attrs[5] != nil || e.attrs[6] != nil {
		d.known = false
		return
	}
	words := "-j NFLOG"
	if prefix := text(e.attrs[2]); prefix != "" {
		words += " --nflog-prefix " + quoteArg(prefix)
	}
	if n := be16(group); n != 0 {
		words += fmt.Sprintf(" --nflog-group %d", n)
	}
	if t := e.attrs[4]; len(t) == 2 && be16(t) > 1 {
		words += fmt.Sprintf(" --nflog-threshold %d", be16(t))
	}
	d.setTarget(words, true)
}
