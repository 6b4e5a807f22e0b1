package netstate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/ipset/ip_set.h.
const (
	ipsetProtocol = 6 // the oldest that current kernels speak; all of them still do
	ipsetCmdList  = 7

	ipsetAttrProtocol = 1
	ipsetAttrName     = 2
	ipsetAttrType     = 3
	ipsetAttrFamily   = 5
	ipsetAttrData     = 7
	ipsetAttrADT      = 8

	// Of a set's header.
	ipsetAttrIP         = 1
	ipsetAttrIPTo       = 2
	ipsetAttrPort       = 4
	ipsetAttrPortTo     = 5
	ipsetAttrTimeout    = 6
	ipsetAttrFlags      = 8
	ipsetAttrMarkmask   = 11
	ipsetAttrBitmask    = 12
	ipsetAttrMaxElem    = 19
	ipsetAttrNetmask    = 20
	ipsetAttrBucketSize = 21
	ipsetAttrSize       = 23

	ipsetFlagCounters  = 1 << 3
	ipsetFlagComment   = 1 << 4
	ipsetFlagForceAdd  = 1 << 5
	ipsetFlagSkbInfo   = 1 << 6
	ipsetDefaultMax    = 65536
	ipsetDefaultBucket = 12
	ipsetDefaultSize   = 8
)

// readSets lists the sets through netlink. What this package cannot spell as ipset(8) does is undecoded.
func readSets(c *socket) ([]Set, error) {
	request := attr(nfgenmsg(unix.AF_INET), ipsetAttrProtocol, []byte{ipsetProtocol})
	answers, err := c.dump(unix.NFNL_SUBSYS_IPSET<<8|ipsetCmdList, request)
	if err != nil {
		return nil, doing("list ipsets", err)
	}
	// A large set comes in several messages, of which only the first has the header.
	byName := map[string]int{}
	var sets []Set
	for _, b := range answers {
		var header Set
		var options, members []byte
		for typ, v := range attrs(b[nfgenmsgSize:]) {
			switch typ {
			case ipsetAttrName:
				header.Name = text(v)
			case ipsetAttrType:
				header.Type = text(v)
			case ipsetAttrFamily:
				header.IPv6 = v[0] == unix.AF_INET6
			case ipsetAttrData:
				options = v
			case ipsetAttrADT:
				members = v
			}
		}
		i, ok := byName[header.Name]
		if !ok {
			header.Options = setOptions(header.Type, options)
			i, sets = len(sets), append(sets, header)
			byName[header.Name] = i
		}
		for _, v := range attrs(members) {
			sets[i].Members = append(sets[i].Members, setMember(sets[i].Type, v))
		}
	}
	for i := range sets {
		slices.Sort(sets[i].Members)
	}
	slices.SortFunc(sets, func(a, b Set) int { return cmp.Compare(a.Name, b.Name) })
	return sets, nil
}

// undecoded tells whether only ipset(8) can spell the set.
func (s Set) undecoded() bool {
	return strings.HasPrefix(s.Options, undecoded) ||
		slices.ContainsFunc(s.Members, func(m string) bool { return strings.HasPrefix(m, undecoded) })
}

// setOptions spells the creation options that are not defaults, in the order of `ipset save`.
func setOptions(typ string, header []byte) string {
	var words []string
	add := func(w ...string) { words = append(words, w...) }
	number := func(name string, v []byte, standard uint32) {
		if n := be32(v); n != standard {
			add(name, strconv.FormatUint(uint64(n), 10))
		}
	}
	values := valuesOf(header)
	if strings.HasPrefix(typ, "bitmap:") {
		if typ != "bitmap:port" {
			return undecoded + typ
		}
		add("range", fmt.Sprintf("%d-%d", be16(values[ipsetAttrPort]), be16(values[ipsetAttrPortTo])))
	}
	if v := values[ipsetAttrMaxElem]; v != nil {
		number("maxelem", v, ipsetDefaultMax)
	}
	if v := values[ipsetAttrSize]; v != nil {
		number("size", v, ipsetDefaultSize)
	}
	if v := values[ipsetAttrMarkmask]; v != nil {
		add("markmask", fmt.Sprintf("0x%08x", be32(v)))
	}
	if v := values[ipsetAttrNetmask]; v != nil {
		add("netmask", strconv.Itoa(int(v[0])))
	}
	if v := values[ipsetAttrBitmask]; v != nil {
		add("bitmask", setAddr(v).String())
	}
	if v := values[ipsetAttrTimeout]; v != nil {
		add("timeout", strconv.FormatUint(uint64(be32(v)), 10))
	}
	if v := values[ipsetAttrFlags]; v != nil {
		flags := be32(v)
		for _, f := range []struct {
			bit  uint32
			name string
		}{{ipsetFlagCounters, "counters"}, {ipsetFlagComment, "comment"}, {ipsetFlagSkbInfo, "skbinfo"},
			{ipsetFlagForceAdd, "forceadd"}} {
			if flags&f.bit != 0 {
				add(f.name)
			}
		}
	}
	if v := values[ipsetAttrBucketSize]; len(v) == 1 && v[0] != ipsetDefaultBucket {
		add("bucketsize", strconv.Itoa(int(v[0])))
	}
	return strings.Join(words, " ")
}

// savedSet replaces the members of a set by what `ipset save` prints.
func savedSet(ctx context.Context, run Exec, set Set) (Set, error) {
	if run == nil {
		return set, fmt.Errorf("read ipset %s of type %s: it has to be printed by ipset, and there is no way to run it", set.Name, set.Type)
	}
	out, err := run(ctx, "ipset", "save", set.Name)
	if err != nil {
		return set, fmt.Errorf("read ipset %s of type %s: %w", set.Name, set.Type, err)
	}
	saved, err := parseSetSave(string(out))
	if err != nil {
		return set, fmt.Errorf("read ipset %s: %w", set.Name, err)
	}
	if len(saved) != 1 {
		return set, fmt.Errorf("read ipset %s: ipset save printed %d sets", set.Name, len(saved))
	}
	return saved[0], nil
}

// parseSetSave reads the output of `ipset save`.
func parseSetSave(out string) ([]Set, error) {
	var sets []Set
	for line := range strings.Lines(out) {
		words, err := splitArgs(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		switch {
		case len(words) == 0:
		case words[0] == "create" && len(words) >= 3:
			set := Set{Name: words[1], Type: words[2]}
			set.IPv6, set.Options = savedOptions(words[3:])
			sets = append(sets, set)
		case words[0] == "add" && len(words) >= 3 && len(sets) > 0 && sets[len(sets)-1].Name == words[1]:
			set := &sets[len(sets)-1]
			set.Members = append(set.Members, savedMember(words[2:]))
		default:
			return nil, fmt.Errorf("line %q: want create or add", line)
		}
	}
	for i := range sets {
		slices.Sort(sets[i].Members)
	}
	return sets, nil
}

// savedOptions drops defaults, and what the kernel chooses on its own.
func savedOptions(words []string) (ipv6 bool, options string) {
	standard := map[string]string{"maxelem": "65536", "size": "8", "bucketsize": "12"}
	var kept []string
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "family":
			i++
			ipv6 = i < len(words) && words[i] == "inet6"
		case "hashsize", "initval":
			i++
		case "maxelem", "size", "bucketsize":
			if i+1 < len(words) && words[i+1] != standard[words[i]] {
				kept = append(kept, words[i], words[i+1])
			}
			i++
		default:
			kept = append(kept, words[i])
		}
	}
	return ipv6, strings.Join(kept, " ")
}

// savedMember drops the counters and the remaining time of a member.
func savedMember(words []string) string {
	kept := words[:1:1]
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "timeout", "packets", "bytes":
			i++
		case "comment":
			if i+1 < len(words) {
				kept = append(kept, "comment", strconv.Quote(words[i+1]))
			}
			i++
		default:
			kept = append(kept, words[i])
		}
	}
	return strings.Join(kept, " ")
}
