package netstate

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nf_tables.h, which x/sys/unix has in part.
const (
	nftMsgGetTable = 1
	nftMsgGetChain = 4
	nftMsgGetRule  = 7
	nftMsgGetGen   = 16

	nftaTableName   = 1
	nftaChainTable  = 1
	nftaChainName   = 3
	nftaChainHook   = 4
	nftaChainPolicy = 5
	nftaRuleTable   = 1
	nftaRuleChain   = 2
	nftaRuleExprs   = 4
	nftaGenID       = 1
)

// iptablesTables are the tables that iptables-nft manages; others of the same families are not iptables'.
var iptablesTables = []string{"filter", "nat", "mangle", "raw", "security"}

// nftTables keeps what was read last, since the kernel counts the generations of a namespace's rule set.
type nftTables struct {
	sock   *socket
	read   bool
	gen    uint32
	tables []Table
}

// all returns the tables of both families.
func (n *nftTables) all(sets setNames) ([]Table, error) {
	gen, err := n.generation()
	if err != nil {
		return nil, err
	}
	for range attempts {
		if n.read && gen == n.gen {
			return n.tables, nil
		}
		n.read = false
		v4, err := n.family(false, sets)
		if err != nil {
			return nil, err
		}
		v6, err := n.family(true, sets)
		if err != nil {
			return nil, err
		}
		n.read, n.gen, n.tables = true, gen, canonicalTables(append(v4, v6...))
		if gen, err = n.generation(); err != nil {
			return nil, err
		}
	}
	if n.read && gen == n.gen {
		return n.tables, nil
	}
	return nil, fmt.Errorf("read the nf_tables rule set: %w", errInterrupted)
}

func (n *nftTables) generation() (uint32, error) {
	answers, _, err := n.sock.request(unix.NFNL_SUBSYS_NFTABLES<<8|nftMsgGetGen, 0, nfgenmsg(unix.AF_UNSPEC))
	if err != nil {
		return 0, doing("ask for the generation of the nf_tables rule set", err)
	}
	for _, b := range answers {
		for typ, v := range attrs(b[nfgenmsgSize:]) {
			if typ == nftaGenID {
				return be32(v), nil
			}
		}
	}
	return 0, fmt.Errorf("ask for the generation of the nf_tables rule set: no number in the answer")
}

// family reads the tables of a family that belong to iptables.
func (n *nftTables) family(ipv6 bool, sets setNames) ([]Table, error) {
	tables, err := n.list(nftMsgGetTable, ipv6)
	if err != nil {
		return nil, err
	}
	var all []Table
	for _, b := range tables {
		for typ, v := range attrs(b) {
			if typ == nftaTableName && slices.Contains(iptablesTables, text(v)) {
				all = append(all, Table{IPv6: ipv6, Name: text(v)})
			}
		}
	}
	if all == nil {
		return nil, nil
	}
	chains, err := n.list(nftMsgGetChain, ipv6)
	if err != nil {
		return nil, err
	}
	for _, b := range chains {
		if err := addNFTChain(all, b); err != nil {
			return nil, err
		}
	}
	rules, err := n.list(nftMsgGetRule, ipv6)
	if err != nil {
		return nil, err
	}
	for _, b := range rules {
		if err := addNFTRule(all, b, ipv6, sets); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// list dumps objects of a family, each as its attributes.
func (n *nftTables) list(message uint16, ipv6 bool) ([][]byte, error) {
	family := byte(unix.AF_INET)
	if ipv6 {
		family = unix.AF_INET6
	}
	answers, err := n.sock.dump(unix.NFNL_SUBSYS_NFTABLES<<8|message, nfgenmsg(family))
	if err != nil {
		return nil, doing("list "+familyName(ipv6)+" nf_tables objects", err)
	}
	for i := range answers {
		answers[i] = answers[i][nfgenmsgSize:]
	}
	return answers, nil
}

func addNFTChain(tables []Table, b []byte) error {
	var table string
	var c Chain
	hooked, policy := false, uint32(1)
	for typ, v := range attrs(b) {
		switch typ {
		case nftaChainTable:
			table = text(v)
		case nftaChainName:
			c.Name = text(v)
		case nftaChainHook:
			hooked = true
		case nftaChainPolicy:
			policy = be32(v)
		}
	}
	if hooked {
		names := []string{"DROP", "ACCEPT"}
		if int(policy) >= len(names) {
			return fmt.Errorf("read nf_tables chain %s of table %s: policy %d", c.Name, table, policy)
		}
		c.Policy = names[policy]
	}
	for i := range tables {
		if tables[i].Name == table {
			tables[i].Chains = append(tables[i].Chains, c)
		}
	}
	return nil
}

func addNFTRule(tables []Table, b []byte, ipv6 bool, sets setNames) error {
	var table, name string
	var exprs []byte
	for typ, v := range attrs(b) {
		switch typ {
		case nftaRuleTable:
			table = text(v)
		case nftaRuleChain:
			name = text(v)
		case nftaRuleExprs:
			exprs = v
		}
	}
	for i := range tables {
		if tables[i].Name != table {
			continue
		}
		for j := range tables[i].Chains {
			chain := &tables[i].Chains[j]
			if chain.Name != name {
				continue
			}
			rule, err := nftRule(exprs, ipv6, sets)
			if err != nil {
				return fmt.Errorf("read rule %d of nf_tables chain %s of table %s: %w", len(chain.Rules)+1, name, table, err)
			}
			chain.Rules = append(chain.Rules, rule)
			return nil
		}
		return fmt.Errorf("read nf_tables table %s: %w: a rule of chain %s", table, errInterrupted, name)
	}
	return nil
}
