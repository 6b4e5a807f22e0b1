package netstate

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// extension is the parameters of a match or a target of x_tables, as the kernel keeps them for both back ends.
type extension struct {
	name     string
	revision byte
	data     []byte
	ipv6     bool // of the rule
}

// setNames finds the name of an ipset by the index that rules refer to it with.
type setNames func(index uint16) (string, error)

// The structures are those of linux/netfilter/xt_*.h and linux/netfilter_ipv{4,6}/ip{,6}t_*.h, which never change: a new layout
// gets a new revision. A match that is not known here, or says what is not known here, is not spelled at all: iptables-save can.

// spellMatch spells a match as iptables-save does, "-m" included; ok is false if it cannot.
func (e extension) spellMatch(sets setNames) (words string, ok bool, err error) {
	if e.name == "set" {
		words, ok, err = e.setMatch(sets)
	} else {
		words, ok = e.plainMatch()
	}
	if words != "" {
		words = " " + words
	}
	name := e.name
	if strings.HasPrefix(words, " --state ") || strings.HasPrefix(words, " ! --state ") {
		name = "state" // an alias that conntrack marks
	}
	return "-m " + name + words, ok, err
}

// extensionKey tells a layout.
type extensionKey struct {
	name     string
	revision byte
}

// plainMatches are the matches that need nothing but their data, which has at least size bytes.
var plainMatches = map[extensionKey]struct {
	size  int
	spell func(data []byte, ipv6 bool) (string, bool)
}{
	{"comment", 0}:   {256, commentMatch},
	{"tcp", 0}:       {12, tcpMatch},
	{"udp", 0}:       {10, udpMatch},
	{"icmp", 0}:      {4, icmpMatch},
	{"icmp6", 0}:     {4, icmpMatch},
	{"conntrack", 3}: {162, conntrackMatch},
	{"mark", 1}:      {9, markMatch},
	{"connmark", 1}:  {9, markMatch},
	{"addrtype", 1}:  {8, addrtypeMatch},
	{"multiport", 1}: {48, multiportMatch},
	{"limit", 0}:     {8, limitMatch},
	{"statistic", 0}: {16, statisticMatch},
	{"ipvs", 0}:      {40, ipvsMatch},
	{"physdev", 0}:   {66, physdevMatch},
}

func (e extension) plainMatch() (words string, ok bool) {
	m, found := plainMatches[extensionKey{e.name, e.revision}]
	if !found || len(e.data) < m.size {
		return "", false
	}
	return m.spell(e.data, e.ipv6)
}

// not is "! " if it has to be written.
func not(inverted bool) string {
	if inverted {
		return "! "
	}
	return ""
}

// quoteArg quotes as iptables-save does.
func quoteArg(s string) string {
	plain := func(c rune) bool {
		return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, `'`, `\'`).Replace(s) + `"`
}

func commentMatch(b []byte, _ bool) (string, bool) {
	return "--comment " + quoteArg(text(b)), true
}

// setMatch: struct xt_set_info is index u16, dimension u8, flags u8, where flag 0 inverts and flag n makes dimension n a source.
// Revisions from 2 on add conditions on the element's counters.
func (e extension) setMatch(sets setNames) (string, bool, error) {
	sizes := map[byte]int{1: 4, 2: 4, 3: 36, 4: 40}
	size, known := sizes[e.revision]
	if !known || len(e.data) < size {
		return "", false, nil
	}
	name, err := sets(u16(e.data))
	if err != nil {
		return "", false, err
	}
	var dirs []string
	for i := range int(e.data[2]) {
		dir := "dst"
		if e.data[3]&(2<<i) != 0 {
			dir = "src"
		}
		dirs = append(dirs, dir)
	}
	plain := e.data[3]>>(e.data[2]+1) == 0
	for _, c := range e.data[4:] { // counters and flags
		plain = plain && c == 0
	}
	return not(e.data[3]&1 != 0) + "--match-set " + name + " " + strings.Join(dirs, ","), plain, nil
}

// portRange is "80" or "80:90" for what is not all ports.
func portRange(option string, low, high uint16, inverted bool) string {
	if low == 0 && high == 0xffff && !inverted {
		return ""
	}
	ports := strconv.Itoa(int(low))
	if high != low {
		ports += ":" + strconv.Itoa(int(high))
	}
	return not(inverted) + option + " " + ports
}

// joinWords joins what is not empty.
func joinWords(words ...string) string {
	var kept []string
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// tcpMatch: struct xt_tcp is sports[2], dports[2] u16, option, flag mask, flag compare, inversions u8.
func tcpMatch(b []byte, _ bool) (string, bool) {
	inv := b[11]
	option, flags := "", ""
	if b[8] != 0 || inv&8 != 0 {
		option = fmt.Sprintf("%s--tcp-option %d", not(inv&8 != 0), b[8])
	}
	if b[9] != 0 || inv&4 != 0 {
		flags = not(inv&4 != 0) + "--tcp-flags " + tcpFlags(b[9]) + " " + tcpFlags(b[10])
	}
	return joinWords(
		portRange("--sport", u16(b), u16(b[2:]), inv&1 != 0),
		portRange("--dport", u16(b[4:]), u16(b[6:]), inv&2 != 0),
		option, flags), b[9]&0xc0 == 0
}

func tcpFlags(flags byte) string {
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "NONE"
	}
	return strings.Join(names, ",")
}

// udpMatch: struct xt_udp is sports[2], dports[2] u16, inversions u8.
func udpMatch(b []byte, _ bool) (string, bool) {
	return joinWords(
		portRange("--sport", u16(b), u16(b[2:]), b[8]&1 != 0),
		portRange("--dport", u16(b[4:]), u16(b[6:]), b[8]&2 != 0)), true
}

// icmpMatch: struct ipt_icmp and ip6t_icmp are type, codes[2], inversion u8.
func icmpMatch(b []byte, ipv6 bool) (string, bool) {
	option := "--icmp-type "
	if ipv6 {
		option = "--icmpv6-type "
	}
	return not(b[3]&1 != 0) + option + icmpType(b[0], b[1], b[2], ipv6), b[1] == b[2] || b[1] == 0 && b[2] == 0xff
}

func icmpType(typ, low, high byte, ipv6 bool) string {
	switch {
	case typ == 0xff && !ipv6:
		return "any"
	case low == 0 && high == 0xff:
		return strconv.Itoa(int(typ))
	}
	return fmt.Sprintf("%d/%d", typ, low)
}

// conntrackMatch: struct xt_conntrack_mtinfo3 begins with eight addresses and masks (128), expiry (8), protocol (2), ports (8);
// then come match_flags, invert_flags, state_mask and status_mask u16. Only the state is spelled.
func conntrackMatch(b []byte, _ bool) (string, bool) {
	const stateFlag, aliasFlag = 1, 1 << 13
	flags, inverted, mask := u16(b[146:]), u16(b[148:]), u16(b[150:])
	names := ctStates(mask)
	option := "--ctstate "
	if flags&aliasFlag != 0 {
		option = "--state "
	}
	return not(inverted&stateFlag != 0) + option + names, flags&^aliasFlag == stateFlag && names != ""
}

func ctStates(mask uint16) string {
	var names []string
	for _, s := range []struct {
		bit  uint16
		name string
	}{{1, "INVALID"}, {8, "NEW"}, {4, "RELATED"}, {2, "ESTABLISHED"}, {256, "UNTRACKED"}, {64, "SNAT"}, {128, "DNAT"}} {
		if mask&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ",")
}

// markMatch: mark, mask u32, invert u8; connmark has the same.
func markMatch(b []byte, _ bool) (string, bool) {
	return not(b[8] != 0) + "--mark " + masked(u32(b), u32(b[4:])), true
}

func masked(value, mask uint32) string {
	if mask == ^uint32(0) {
		return fmt.Sprintf("%#x", value)
	}
	return fmt.Sprintf("%#x/%#x", value, mask)
}

// addrtypeMatch: struct xt_addrtype_info_v1 is source, dest u16, flags u32.
func addrtypeMatch(b []byte, _ bool) (string, bool) {
	flags := u32(b[4:])
	var words []string
	if m := u16(b); m != 0 {
		words = append(words, not(flags&1 != 0)+"--src-type "+addrTypes(m))
	}
	if m := u16(b[2:]); m != 0 {
		words = append(words, not(flags&2 != 0)+"--dst-type "+addrTypes(m))
	}
	if flags&4 != 0 {
		words = append(words, "--limit-iface-in")
	}
	if flags&8 != 0 {
		words = append(words, "--limit-iface-out")
	}
	return strings.Join(words, " "), true
}

func addrTypes(mask uint16) string {
	var names []string
	for i := range 12 {
		if mask&(1<<i) != 0 {
			names = append(names, strings.ToUpper(routeTypeName(byte(i))))
		}
	}
	return strings.Join(names, ",")
}

// multiportMatch: struct xt_multiport_v1 is flags, count u8, ports[15] u16, pflags[15], invert u8. A port with a pflag begins a
// range that the next one ends.
func multiportMatch(b []byte, _ bool) (string, bool) {
	options := []string{"--sports", "--dports", "--ports"}
	count := int(b[1])
	if int(b[0]) >= len(options) || count > 15 {
		return "", false
	}
	var ports strings.Builder
	for i := range count {
		ports.WriteString(strconv.Itoa(int(u16(b[2+2*i:]))))
		switch {
		case b[32+i] != 0:
			ports.WriteByte(':')
		case i < count-1:
			ports.WriteByte(',')
		}
	}
	return not(b[47] != 0) + options[b[0]] + " " + ports.String(), true
}

// limitMatch: struct xt_rateinfo is avg, burst u32; avg is the period in units of 0.1 ms.
func limitMatch(b []byte, _ bool) (string, bool) {
	period, burst := u32(b), u32(b[4:])
	if period == 0 {
		return "", false
	}
	rates := []struct {
		name  string
		ticks uint32
	}{{"day", 24 * 3600 * 10000}, {"hour", 3600 * 10000}, {"min", 60 * 10000}, {"sec", 10000}}
	i := 1
	for ; i < len(rates); i++ {
		if period > rates[i].ticks || rates[i].ticks/period < rates[i].ticks%period {
			break
		}
	}
	words := fmt.Sprintf("--limit %d/%s", rates[i-1].ticks/period, rates[i-1].name)
	if burst != 5 {
		words += fmt.Sprintf(" --limit-burst %d", burst)
	}
	return words, true
}

// statisticMatch: struct xt_statistic_info is mode, flags u16, then probability u32, or every, packet u32.
func statisticMatch(b []byte, _ bool) (string, bool) {
	inverted := not(u16(b[2:])&1 != 0)
	switch u16(b) {
	case 0:
		return fmt.Sprintf("--mode random %s--probability %.11f", inverted, float64(u32(b[4:]))/0x80000000), true
	case 1:
		return fmt.Sprintf("--mode nth %s--every %d --packet %d", inverted, u32(b[4:])+1, u32(b[8:])), true
	}
	return "", false
}

// ipvsMatch: struct xt_ipvs_mtinfo is vaddr[16], vmask[16], vport u16, l4proto, fwd_method u8, vportctl u16, invert, bitmask u8.
func ipvsMatch(b []byte, ipv6 bool) (string, bool) {
	const property, proto, vaddr, vport, dir, method, vportctl = 1, 2, 4, 8, 16, 32, 64
	invert, mask := b[38], b[39]
	var words []string
	add := func(bit byte, word string) {
		if mask&bit != 0 {
			words = append(words, not(invert&bit != 0)+word)
		}
	}
	if mask == property {
		add(property, "--ipvs")
	}
	add(proto, fmt.Sprintf("--vproto %d", b[34]))
	if mask&vaddr != 0 {
		prefix, ok := maskedPrefix(ipvsAddr(b[:16], ipv6), ipvsAddr(b[16:32], ipv6))
		if !ok {
			return "", false
		}
		add(vaddr, "--vaddr "+hostOrPrefix(prefix))
	}
	add(vport, fmt.Sprintf("--vport %d", be16(b[32:])))
	if mask&dir != 0 {
		words = append(words, map[bool]string{false: "--vdir ORIGINAL", true: "--vdir REPLY"}[invert&dir != 0])
	}
	methods := map[byte]string{0: "MASQ", 2: "IPIP", 3: "GATE"}
	add(method, "--vmethod "+methods[b[35]&7])
	add(vportctl, fmt.Sprintf("--vportctl %d", be16(b[36:])))
	return strings.Join(words, " "), mask&method == 0 || methods[b[35]&7] != ""
}

// hostOrPrefix leaves out the length of a single address.
func hostOrPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// physdevMatch: struct xt_physdev_info is physindev, its mask, physoutdev, its mask [16], invert, bitmask u8.
func physdevMatch(b []byte, _ bool) (string, bool) {
	const in, bridged, isIn, isOut, out = 1, 4, 8, 16, 2
	invert, mask := b[64], b[65]
	var words []string
	for _, f := range []struct {
		bit  byte
		word string
	}{
		{isIn, "--physdev-is-in"},
		{in, "--physdev-in " + linkPattern(b[:16], b[16:32])},
		{isOut, "--physdev-is-out"},
		{out, "--physdev-out " + linkPattern(b[32:48], b[48:64])},
		{bridged, "--physdev-is-bridged"},
	} {
		if mask&f.bit != 0 {
			words = append(words, not(invert&f.bit != 0)+f.word)
		}
	}
	return strings.Join(words, " "), true
}

// linkPattern is a link's name, with "+" in the end if the mask does not cover the end of the name.
func linkPattern(name, mask []byte) string {
	var s strings.Builder
	for i, c := range name {
		if mask[i] == 0 {
			if i > 0 && name[i-1] != 0 {
				s.WriteByte('+')
			}
			break
		}
		if c != 0 {
			s.WriteByte(c)
		}
	}
	return s.String()
}

// maskedPrefix is an address with a mask as a prefix, if the mask is one.
func maskedPrefix(addr, mask netip.Addr) (netip.Prefix, bool) {
	bits, end := 0, false
	for _, c := range mask.AsSlice() {
		for i := 7; i >= 0; i-- {
			set := c&(1<<i) != 0
			if set && end {
				return netip.Prefix{}, false
			}
			end = end || !set
			if set {
				bits++
			}
		}
	}
	return netip.PrefixFrom(addr, bits), addr.IsValid()
}

// protocolOption is the name that iptables-save gives a protocol.
func protocolOption(p uint16) string {
	names := map[uint16]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_UDPLITE: "udplite",
		unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "ipv6-icmp", unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_ESP: "esp",
		unix.IPPROTO_AH: "ah"}
	if name, ok := names[p]; ok {
		return name
	}
	return strconv.Itoa(int(p))
}
