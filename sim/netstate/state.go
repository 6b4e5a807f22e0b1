// Package netstate is all state of one network namespace that matters to a service proxy: links, addresses, routes, policy
// rules, IPVS, ipsets, iptables and sysctls. It is read through the kernel's own interfaces, printed canonically,
// fingerprinted and compared. Reading changes nothing.
package netstate

import (
	"net/netip"
)

// Backend is the kernel side that iptables commands of a node talk to.
type Backend string

// The back ends.
const (
	Legacy Backend = "legacy"
	NFT    Backend = "nft"
)

// State is a snapshot. Every slice is sorted and nil if it is empty, so equal states are deeply equal and print the same.
type State struct {
	Links  []Link        `json:"links,omitempty"`
	Addrs  []Addr        `json:"addrs,omitempty"`
	Routes []Route       `json:"routes,omitempty"`
	Rules  []PolicyRule  `json:"rules,omitempty"`
	IPVS   []IPVSService `json:"ipvs,omitempty"`
	Sets   []Set         `json:"sets,omitempty"`
	Tables []Table       `json:"tables,omitempty"`
	// Sysctls are those that a service proxy changes or depends on: "net.ipv4.ip_forward" -> "1". A dot in the name of a link
	// is written as a slash, as sysctl(8) does: "net.ipv4.conf.eth0/7.rp_filter".
	Sysctls map[string]string `json:"sysctls,omitempty"`
}

// Link is a network interface.
type Link struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "dummy", "veth", "loopback", …; "device" for hardware
	Up   bool   `json:"up,omitempty"`
}

// Addr is an address on a link.
type Addr struct {
	Link   string       `json:"link"`
	Prefix netip.Prefix `json:"prefix"`
	Scope  string       `json:"scope"` // "global", "link", "host"
	// Usable is false while an address is tentative, failed duplicate detection, or is deprecated.
	Usable bool `json:"usable,omitempty"`
}

// Route is one entry of a routing table, or one next hop of an entry that has several. Neighbour and cache entries are not
// routes.
type Route struct {
	Table    int          `json:"table"`
	Type     string       `json:"type"`             // "unicast", "local", "blackhole", "unreachable", …
	Dst      netip.Prefix `json:"dst"`              // a default route has 0.0.0.0/0 or ::/0
	Gateway  netip.Addr   `json:"gateway,omitzero"` // zero: on link
	Link     string       `json:"link,omitempty"`
	Src      netip.Addr   `json:"src,omitzero"` // preferred source; zero: none
	Metric   int          `json:"metric,omitempty"`
	Protocol string       `json:"protocol"` // "kernel", "boot", "static", "ra", or a number
	Scope    string       `json:"scope"`
}

// PolicyRule is one entry of `ip rule`.
type PolicyRule struct {
	IPv6     bool         `json:"ipv6,omitempty"`
	Priority int          `json:"priority"`
	Invert   bool         `json:"invert,omitempty"`
	Src      netip.Prefix `json:"src,omitzero"` // zero: any
	Dst      netip.Prefix `json:"dst,omitzero"`
	Mark     uint32       `json:"mark,omitempty"`
	Mask     uint32       `json:"mask,omitempty"`
	IifName  string       `json:"iif,omitempty"`
	OifName  string       `json:"oif,omitempty"`
	Action   string       `json:"action"` // "lookup", "goto", "blackhole", "unreachable", "prohibit", "nop"
	Table    int          `json:"table,omitempty"`
	// Other are the rule's remaining conditions, e.g. "suppress_prefixlength 0", in the order of the kernel's attributes.
	Other string `json:"other,omitempty"`
}

// IPVSService is a virtual service with its destinations.
type IPVSService struct {
	// Protocol is "TCP", "UDP" or "SCTP"; "" for a firewall-mark service.
	Protocol  string     `json:"protocol,omitempty"`
	Address   netip.Addr `json:"address,omitzero"`
	Port      uint16     `json:"port,omitempty"`
	FWMark    uint32     `json:"fwmark,omitempty"`
	IPv6      bool       `json:"ipv6,omitempty"`
	Scheduler string     `json:"scheduler"`
	// Persistent and Timeout (seconds) are session affinity.
	Persistent bool   `json:"persistent,omitempty"`
	Timeout    uint32 `json:"timeout,omitempty"`
	// Flags are the kernel's IP_VS_SVC_F_*: 1 persistent, 4 one-packet, 8, 16 and 32 the scheduler's. F_HASHED (2), which
	// every service that can be seen has, is left out.
	Flags   uint32     `json:"flags,omitempty"`
	Netmask uint32     `json:"netmask"`          // IPv4: the mask, 0xffffffff for a host; IPv6: the prefix length, 128
	Engine  string     `json:"engine,omitempty"` // of persistence: "sip"; "" is by source address
	Dests   []IPVSDest `json:"dests,omitempty"`
}

// IPVSDest is a real server behind a virtual service.
type IPVSDest struct {
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"`
	Weight  int        `json:"weight"`
	Forward string     `json:"forward"`          // "Masq", "Tunnel", "Route", "Local"
	Tunnel  string     `json:"tunnel,omitempty"` // encapsulation: "gue:6080", "gre"; "" is IP in IP
	// Upper and Lower are connection thresholds: at Upper no more, until there are fewer than Lower; 0 is none.
	Upper uint32 `json:"upper,omitempty"`
	Lower uint32 `json:"lower,omitempty"`
	// ActiveConns and InactiveConns are traffic, not configuration: no part of the fingerprint or of a diff.
	ActiveConns   int `json:"activeConns,omitempty"`
	InactiveConns int `json:"inactiveConns,omitempty"`
}

// Set is an ipset.
type Set struct {
	Name string `json:"name"`
	Type string `json:"type"`           // "hash:ip", …
	IPv6 bool   `json:"ipv6,omitempty"` // of the set's family; false for types without one
	// Options are the creation options that are not defaults, as `ipset save` prints them, e.g. "timeout 0". What the kernel
	// chooses or changes on its own (hashsize, initval) is left out.
	Options string `json:"options,omitempty"`
	// Members in the form of `ipset save`: "192.0.2.1" or "192.0.2.1,tcp:80", sorted; without counters and remaining time.
	Members []string `json:"members,omitempty"`
}

// Table is an iptables table that exists. An empty built-in chain of policy ACCEPT is left out, and so is a table with nothing
// else: whether they exist depends on the back end and on who looked at them.
type Table struct {
	IPv6   bool    `json:"ipv6,omitempty"`
	Name   string  `json:"name"` // "filter", "nat", "mangle", "raw", "security"
	Chains []Chain `json:"chains"`
}

// Chain is a chain with its rules in order. A table's built-in chains come first, in the order in which packets meet them.
type Chain struct {
	Name   string `json:"name"`
	Policy string `json:"policy,omitempty"` // "ACCEPT", "DROP"; "" for a user-defined chain
	Rules  []Rule `json:"rules,omitempty"`
}

// Rule is an iptables rule.
type Rule struct {
	// Spec is the rule in the form of iptables-save without "-A CHAIN", e.g. "-m set --match-set X dst -j ACCEPT".
	Spec string `json:"spec"`
	// Args is Spec split as a shell would, so that quoted comments are one argument.
	Args []string `json:"args"`
}

// Fingerprint stands for a state. Equal fingerprints mean that nothing was written in between that could be observed.
type Fingerprint string
