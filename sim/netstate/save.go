package netstate

import (
	"fmt"
	"slices"
	"strings"
)

// builtinChains are in the order in which packets meet them.
var builtinChains = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// ParseSave reads the output of iptables-save or ip6tables-save, of either back end. Counters and comment lines are dropped,
// what is as good as absent is left out (see Table).
func ParseSave(out string, ipv6 bool) ([]Table, error) {
	var tables []Table
	var table *Table // that lines are about; nil outside of one
	number := 0
	for line := range strings.Lines(out) {
		number++
		line = strings.TrimRight(line, "\r\n \t")
		var err error
		switch {
		case line == "" || line[0] == '#':
		case line == "COMMIT":
			table = nil
		case line[0] == '*':
			tables = append(tables, Table{IPv6: ipv6, Name: line[1:]})
			table = &tables[len(tables)-1]
		case table == nil:
			err = fmt.Errorf("outside of a table")
		case line[0] == ':':
			err = table.parseChain(line[1:])
		default:
			err = table.parseRule(line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", number, line, err)
		}
	}
	return canonicalTables(tables), nil
}

// parseChain reads "INPUT ACCEPT [0:0]" or "KUBE - [0:0]".
func (t *Table) parseChain(line string) error {
	words := strings.Fields(line)
	if len(words) < 2 {
		return fmt.Errorf("want a chain and its policy")
	}
	c := Chain{Name: words[0]}
	if words[1] != "-" {
		c.Policy = words[1]
	}
	t.Chains = append(t.Chains, c)
	return nil
}

// parseRule reads "[0:0] -A INPUT -j ACCEPT", with or without the counters.
func (t *Table) parseRule(line string) error {
	if line[0] == '[' {
		_, line, _ = strings.Cut(line, "] ")
	}
	rest, ok := strings.CutPrefix(line, "-A ")
	if !ok {
		return fmt.Errorf("want -A")
	}
	name, spec, _ := strings.Cut(rest, " ")
	for i := range t.Chains {
		if t.Chains[i].Name == name {
			rule, err := newRule(dropCounters(spec))
			if err != nil {
				return err
			}
			t.Chains[i].Rules = append(t.Chains[i].Rules, rule)
			return nil
		}
	}
	return fmt.Errorf("no chain %s in table %s", name, t.Name)
}

func newRule(spec string) (Rule, error) {
	args, err := splitArgs(spec)
	if err != nil {
		return Rule{}, err
	}
	return Rule{Spec: spec, Args: args}, nil
}

// dropCounters removes the "-c PACKETS BYTES" of iptables-save -c in the form of old versions.
func dropCounters(spec string) string {
	rest, ok := strings.CutPrefix(spec, "-c ")
	if !ok {
		return spec
	}
	words := strings.SplitN(rest, " ", 3)
	if len(words) < 3 {
		return ""
	}
	return words[2]
}

// splitArgs splits as iptables-save quotes: blanks separate, double quotes hold together, a backslash takes the next character
// literally. A single quote means nothing.
func splitArgs(line string) ([]string, error) {
	var args []string
	var word strings.Builder
	started, quoted := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			started = true
		case c == '"':
			quoted, started = !quoted, true
		case (c == ' ' || c == '\t') && !quoted:
			if started {
				args = append(args, word.String())
			}
			word.Reset()
			started = false
		default:
			word.WriteByte(c)
			started = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quotation is not closed")
	}
	if started {
		args = append(args, word.String())
	}
	return args, nil
}

// canonicalTables orders tables and chains and leaves out what is as good as absent.
func canonicalTables(tables []Table) []Table {
	var kept []Table
	for _, t := range tables {
		t.Chains = slices.DeleteFunc(slices.Clone(t.Chains), func(c Chain) bool { return c.Policy == "ACCEPT" && c.Rules == nil })
		if len(t.Chains) == 0 {
			continue
		}
		slices.SortStableFunc(t.Chains, compareChains)
		kept = append(kept, t)
	}
	slices.SortFunc(kept, compareTables)
	return kept
}

func compareTables(a, b Table) int {
	if a.IPv6 != b.IPv6 {
		if a.IPv6 {
			return 1
		}
		return -1
	}
	return strings.Compare(a.Name, b.Name)
}

func compareChains(a, b Chain) int {
	if d := chainRank(a) - chainRank(b); d != 0 {
		return d
	}
	return strings.Compare(a.Name, b.Name)
}

// chainRank is the place of a built-in chain; user-defined ones come last.
func chainRank(c Chain) int {
	if i := slices.Index(builtinChains, c.Name); i >= 0 && c.Policy != "" {
		return i
	}
	return len(builtinChains)
}
