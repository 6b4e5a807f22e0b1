package scenario

// StateCheck is a check of what is in a node's kernel. It has exactly one of ipvs, ipset, address, route, rule and sysctl.
type StateCheck struct {
	// On is the node; by default the first with the proxy.
	On string `yaml:"on,omitempty"`
	// Absent: what is named is not there.
	Absent bool `yaml:"absent,omitempty"`
	// IPVS: the virtual services at every address of a target exist.
	IPVS string `yaml:"ipvs,omitempty"`
	// Scheduler of the virtual services.
	Scheduler string `yaml:"scheduler,omitempty"`
	// Affinity is the time-out of their session affinity; 0s for none.
	Affinity *Duration `yaml:"affinity,omitempty"`
	// Destinations are those of them that get new connections: exactly these, pods with a port. [] for none.
	Destinations Names `yaml:"destinations,omitempty"`
	// Drained are their destinations of weight 0, exactly these.
	Drained Names `yaml:"drained,omitempty"`
	// IPSet: one of the proxy's sets, "local-ips", "svip" or "svip-prt", or another by its full name; that of IPv6 has "inet6:" before
	// it. It exists in each family.
	IPSet string `yaml:"ipset,omitempty"`
	// Contains are targets whose addresses, for svip-prt with their ports, are members.
	Contains Names `yaml:"contains,omitempty"`
	// Lacks are targets whose addresses are no members.
	Lacks Names `yaml:"lacks,omitempty"`
	// Equals are targets whose addresses are the only members. [] for an empty set.
	Equals Names `yaml:"equals,omitempty"`
	// Address: all addresses of a target are on the link.
	Address string `yaml:"address,omitempty"`
	// Link of an address, or of a route; that of addresses is by default kube-dummy-if.
	Link string `yaml:"link,omitempty"`
	// Route: a route to every address of a target alone.
	Route string `yaml:"route,omitempty"`
	// Table of the route, by its number, such as "254"; by default any. Or of the rule; by default "filter".
	Table string `yaml:"table,omitempty"`
	// Rule: an iptables rule as it is written behind "-A CHAIN", compared by its meaning. After --match-set, the proxy's sets are called
	// as in ipset. Comments are not looked at, nor how REJECT answers unless it is written.
	Rule string `yaml:"rule,omitempty"`
	// Chain of the rule.
	Chain string `yaml:"chain,omitempty"`
	// Sysctl: a setting of the node's namespace, such as "net.ipv4.vs.conntrack".
	Sysctl string `yaml:"sysctl,omitempty"`
	// Value of the sysctl.
	Value string `yaml:"value,omitempty"`
}

// Says is the rule in words of a family: its sets have other names there.
func (s StateCheck) Says(setName func(string) string) []string {
	words := ruleWords(s.Rule)
	for i, word := range words {
		if i > 0 && words[i-1] == "--match-set" {
			words[i] = setName(word)
		}
	}
	return words
}

// Subject is what the check is about: "ipvs lb(web):80".
func (s StateCheck) Subject() string {
	for _, part := range []struct{ kind, name string }{
		{"ipvs", s.IPVS}, {"ipset", s.IPSet}, {"address", s.Address}, {"route", s.Route}, {"rule", s.Rule}, {"sysctl", s.Sysctl},
	} {
		if part.name != "" {
			return part.kind + " " + part.name
		}
	}
	return "nothing"
}

// String is "ipvs lb(web):80", or "no ipvs lb(web):80".
func (s StateCheck) String() string {
	if s.Absent {
		return "no " + s.Subject()
	}
	return s.Subject()
}
