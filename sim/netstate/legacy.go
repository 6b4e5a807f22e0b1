package netstate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The legacy back end hands out a table as one blob of entries: struct ipt_entry or ip6t_entry, then its matches, then its
// target. See linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h.

// Of both families.
const (
	soGetInfo      = 64 // {IP,IP6}T_SO_GET_INFO: struct ipt_getinfo
	soGetEntries   = 65 // {IP,IP6}T_SO_GET_ENTRIES: struct ipt_get_entries
	tableNameSize  = 32
	getInfoSize    = 84
	getEntriesHead = 40 // name, size, padding to 8
	extensionHead  = 32 // struct xt_entry_match and xt_entry_target: size u16, name[29], revision u8

	verdictReturn = -5 // XT_RETURN
)

// legacyTableInfo is struct ipt_getinfo. Hooks are numbered as builtinChains are.
type legacyTableInfo struct {
	hooks     uint32    // bit mask of those that the table has
	entry     [5]uint32 // offset of the first rule of a built-in chain
	underflow [5]uint32 // offset of its policy
	size      int       // of all entries
}

// legacyTables keeps what was read last, since taking a table apart costs more than comparing it.
type legacyTables struct {
	last map[legacyKey]legacyRead
}

type legacyKey struct {
	ipv6 bool
	name string
}

// legacyRead is a table as it was read and what came of it. The names of sets are not in the entries.
type legacyRead struct {
	info    legacyTableInfo
	entries []byte
	sets    map[uint16]string
	table   Table
}

// family reads the tables of a family. It must run on a thread in the namespace. Only tables that exist are asked for: asking
// for another one would make it.
func (l *legacyTables) family(sock int, ipv6 bool, sets setNames) ([]Table, error) {
	file := "/proc/thread-self/net/ip_tables_names"
	if ipv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	list, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, doing("list the "+familyName(ipv6)+" tables", err)
	}
	var tables []Table
	for _, name := range strings.Fields(string(list)) {
		t, err := l.table(sock, ipv6, name, sets)
		if err != nil {
			return nil, fmt.Errorf("read %s table %s: %w", familyName(ipv6), name, err)
		}
		tables = append(tables, t)
	}
	return canonicalTables(tables), nil
}

func (l *legacyTables) table(sock int, ipv6 bool, name string, sets setNames) (Table, error) {
	info, entries, err := legacyTable(sock, ipv6, name)
	if err != nil {
		return Table{}, err
	}
	d := legacyDecoder{info: info, ipv6: ipv6, used: map[uint16]string{}, sets: sets}
	if err := d.split(entries); err != nil {
		return Table{}, err
	}
	key := legacyKey{ipv6, name}
	if last, ok := l.last[key]; ok && last.info == info && bytes.Equal(last.entries, entries) {
		same, err := sameNames(last.sets, sets)
		if err != nil || same {
			return last.table, err
		}
	}
	t, err := d.table(name)
	if err != nil {
		return Table{}, err
	}
	if l.last == nil {
		l.last = map[legacyKey]legacyRead{}
	}
	l.last[key] = legacyRead{info, entries, d.used, t}
	return t, nil
}

// sameNames tells whether sets are still called so: without references they may have been replaced.
func sameNames(names map[uint16]string, sets setNames) (bool, error) {
	for index, name := range names {
		now, err := sets(index)
		if err != nil || now != name {
			return false, err
		}
	}
	return true, nil
}

func legacyTable(sock int, ipv6 bool, name string) (legacyTableInfo, []byte, error) {
	level := unix.SOL_IP
	if ipv6 {
		level = unix.SOL_IPV6
	}
	var info legacyTableInfo
	for range attempts {
		request := make([]byte, getInfoSize)
		copy(request[:tableNameSize-1], name)
		answer, err := getsockopt(sock, level, soGetInfo, request)
		if err != nil {
			return info, nil, err
		}
		info.hooks = u32(answer[32:])
		for i := range builtinChains {
			info.entry[i], info.underflow[i] = u32(answer[36+4*i:]), u32(answer[56+4*i:])
		}
		info.size = int(u32(answer[80:]))
		request = make([]byte, getEntriesHead+info.size)
		copy(request[:tableNameSize-1], name)
		copy(request[tableNameSize:], put32(uint32(info.size)))
		answer, err = getsockopt(sock, level, soGetEntries, request)
		if errors.Is(err, unix.EAGAIN) { // replaced by one of another size since
			continue
		}
		if err != nil {
			return info, nil, err
		}
		return info, answer[getEntriesHead:], nil
	}
	return info, nil, errInterrupted
}

// legacyDecoder takes a table apart.
type legacyDecoder struct {
	info    legacyTableInfo
	ipv6    bool
	entries []legacyEntry
	sets    setNames
	used    map[uint16]string // sets that rules refer to
}

// setName looks a set up and remembers it.
func (d *legacyDecoder) setName(index uint16) (string, error) {
	name, err := d.sets(index)
	d.used[index] = name
	return name, err
}

// legacyEntry is one entry. Its bytes end where the next one begins.
type legacyEntry struct {
	offset int
	bytes  []byte // without counters and the kernel's scratch field
	layout *entryLayout
	target extension
}

// entryLayout is where an entry keeps what matters here.
type entryLayout struct {
	addrSize                             int
	src, dst, srcMask, dstMask           int
	in, out, inMask, outMask             int
	proto, flags, invert                 int
	targetOffset, nextOffset, comeFrom   int
	counters, size                       int
	flagGoto, flagFragment, flagsHandled byte
}

var (
	entryIPv4 = entryLayout{addrSize: 4, dst: 4, srcMask: 8, dstMask: 12, in: 16, out: 32, inMask: 48, outMask: 64, proto: 80,
		flags: 82, invert: 83, targetOffset: 88, nextOffset: 90, comeFrom: 92, counters: 96, size: 112,
		flagFragment: 1, flagGoto: 2, flagsHandled: 3}
	entryIPv6 = entryLayout{addrSize: 16, dst: 16, srcMask: 32, dstMask: 48, in: 64, out: 80, inMask: 96, outMask: 112, proto: 128,
		flags: 131, invert: 132, targetOffset: 140, nextOffset: 142, comeFrom: 144, counters: 152, size: 168,
		flagGoto: 4, flagsHandled: 5} // flag 1: a protocol is given
)

// table splits the entries into chains. Those of a built-in chain end with its policy. A user-defined chain begins with an
// ERROR target that holds its name and ends with a RETURN that no one wrote. The table ends with an ERROR of its own.
func (d *legacyDecoder) table(name string) (Table, error) {
	entries := d.entries
	t := Table{IPv6: d.ipv6, Name: name}
	heads := map[int]string{} // offset of the first rule -> user-defined chain
	for i, e := range entries[:max(0, len(entries)-1)] {
		if e.target.name == "ERROR" && len(e.target.data) > 0 {
			heads[entries[i+1].offset] = text(e.target.data)
		}
	}
	var chain *Chain
	for i, e := range entries {
		if c, ok := d.builtin(e.offset); ok {
			t.Chains = append(t.Chains, c)
			chain = &t.Chains[len(t.Chains)-1]
		}
		last := i+1 == len(entries) || entries[i+1].target.name == "ERROR"
		switch {
		case e.target.name == "ERROR":
			if i+1 < len(entries) {
				t.Chains = append(t.Chains, Chain{Name: text(e.target.data)})
				chain = &t.Chains[len(t.Chains)-1]
			}
			continue
		case chain == nil:
			return Table{}, fmt.Errorf("an entry at %d is in no chain", e.offset)
		case d.isPolicy(e.offset):
			policy, err := policyName(e.verdict())
			if err != nil {
				return Table{}, err
			}
			chain.Policy, chain = policy, nil
			continue
		case last: // the RETURN that no one wrote
			continue
		}
		rule, err := d.rule(e, heads)
		if err != nil {
			return Table{}, err
		}
		chain.Rules = append(chain.Rules, rule)
	}
	return t, nil
}

func (d *legacyDecoder) builtin(offset int) (Chain, bool) {
	for i, name := range builtinChains {
		if d.info.hooks&(1<<i) != 0 && int(d.info.entry[i]) == offset {
			return Chain{Name: name}, true
		}
	}
	return Chain{}, false
}

func (d *legacyDecoder) isPolicy(offset int) bool {
	return slices.ContainsFunc([]int{0, 1, 2, 3, 4}, func(i int) bool {
		return d.info.hooks&(1<<i) != 0 && int(d.info.underflow[i]) == offset
	})
}

func policyName(verdict int32) (string, error) {
	switch verdict {
	case -2:
		return "ACCEPT", nil
	case -1:
		return "DROP", nil
	}
	return "", fmt.Errorf("a built-in chain has the policy %d", verdict)
}

// split finds the entries and clears in them what traffic and the kernel's own work change.
func (d *legacyDecoder) split(blob []byte) error {
	l := &entryIPv4
	if d.ipv6 {
		l = &entryIPv6
	}
	for offset := 0; offset < len(blob); {
		b := blob[offset:]
		if len(b) < l.size {
			return fmt.Errorf("the entry at %d is cut off", offset)
		}
		target, next := int(u16(b[l.targetOffset:])), int(u16(b[l.nextOffset:]))
		if target < l.size || next < target+extensionHead || next > len(b) {
			return fmt.Errorf("the entry at %d has no sensible size", offset)
		}
		clear(b[l.comeFrom : l.comeFrom+4])
		clear(b[l.counters:l.size])
		d.entries = append(d.entries, legacyEntry{offset, b[:next], l, legacyExtension(b[target:next], d.ipv6)})
		offset += next
	}
	return nil
}

// matches are between the entry's head and its target.
func (e legacyEntry) matches() ([]extension, error) {
	var all []extension
	for rest := e.bytes[e.layout.size:u16(e.bytes[e.layout.targetOffset:])]; len(rest) > 0; {
		size := 0
		if len(rest) >= extensionHead {
			size = int(u16(rest))
		}
		if size < extensionHead || size > len(rest) {
			return nil, fmt.Errorf("a match of the entry at %d has no sensible size", e.offset)
		}
		all = append(all, legacyExtension(rest[:size], e.target.ipv6))
		rest = rest[size:]
	}
	return all, nil
}

func legacyExtension(b []byte, ipv6 bool) extension {
	return extension{name: text(b[2:31]), revision: b[31], data: b[extensionHead:], ipv6: ipv6}
}

// verdict is that of a standard target: negative, or the offset to go on at.
func (e legacyEntry) verdict() int32 { return int32(u32(e.target.data)) }

// rule spells an entry. heads are the user-defined chains by the offset of their first rule.
func (d *legacyDecoder) rule(e legacyEntry, heads map[int]string) (Rule, error) {
	words, known := []string{e.header()}, e.headerHandled()
	matches, err := e.matches()
	if err != nil {
		return Rule{}, err
	}
	for _, m := range matches {
		w, ok, err := m.spellMatch(d.setName)
		if err != nil {
			return Rule{}, err
		}
		words, known = append(words, w), known && ok
	}
	target, jumps, ok := e.spellTarget(heads)
	words, known = append(words, target), known && ok
	spec := joinWords(words...)
	if known {
		return newRule(spec)
	}
	content := slices.Clone(e.bytes)
	if jumps { // the offset of a chain depends on the rules before it; its name, in spec, does not
		clear(content[int(u16(content[e.layout.targetOffset:]))+extensionHead:])
	}
	return undecodedRule([]byte(spec), content), nil
}

func (e legacyEntry) spellTarget(heads map[int]string) (words string, jumps, ok bool) {
	if e.target.name != "" {
		words, ok = e.target.spellTarget()
		return words, false, ok
	}
	option := "-j "
	if e.bytes[e.layout.flags]&e.layout.flagGoto != 0 {
		option = "-g "
	}
	switch v := e.verdict(); {
	case v == -2:
		return "-j ACCEPT", false, true
	case v == -1:
		return "-j DROP", false, true
	case v == verdictReturn:
		return "-j RETURN", false, true
	case v < 0:
		return "", false, false
	case int(v) == e.offset+len(e.bytes): // no target: on to the next rule
		return "", true, true
	default:
		name, ok := heads[int(v)]
		return option + name, true, ok
	}
}
