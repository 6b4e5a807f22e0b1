package invariant

import (
	"net/netip"
	"strings"

	"proxyproof/harness/finding"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

const (
	localIPsIncomplete finding.ID = "local-ips-incomplete"
	localIPsExcess     finding.ID = "local-ips-excess"
)

// localIPs is the first invariant: every address of a plain link is in local-ips of its family, and nothing else is.
func localIPs() Check {
	return Check{
		Name:     "local-ips",
		Doc:      "Every address of a plain link is in the ipset local-ips of its family; no other address is.",
		Findings: []finding.ID{localIPsIncomplete, localIPsExcess},
		Judge:    whileRunning(judgeLocalIPs),
	}
}

func judgeLocalIPs(v View) []finding.Finding {
	if !v.Keeps.Has(KeepSets) {
		return nil
	}
	var found []finding.Finding
	for _, f := range v.families() {
		required, allowed := v.plainAddresses(f)
		found = append(found, v.judgeSet(setRule{
			name: setName(localIPsSet, f), typ: "hash:ip", family: f,
			required: required, allowed: allowed,
			incomplete: localIPsIncomplete, excess: localIPsExcess,
			foreign: "which no plain link of this node has",
			explain: v.whereIs,
		})...)
	}
	return found
}

// plainAddresses are the addresses of plain links, with the link as the reason. Loopback and link-local addresses are only
// allowed: releases differ in whether they list them.
func (v View) plainAddresses(f world.Family) (required, allowed map[string]string) {
	required, allowed = map[string]string{}, map[string]string{}
	for _, a := range v.Now.Addrs {
		address := a.Prefix.Addr()
		switch {
		case world.FamilyOf(address) != f || !plainLink(a.Link):
		case address.IsLoopback() || address.IsLinkLocalUnicast():
			allowed[address.String()] = "on " + a.Link
		default:
			required[address.String()] = "on " + a.Link
		}
	}
	return required, allowed
}

// plainLink tells whether a link is neither a service proxy's nor a container runtime's.
func plainLink(name string) bool {
	for _, word := range []string{"dummy", "kube", "docker"} {
		if strings.Contains(name, word) {
			return false
		}
	}
	return true
}

// own are the node's own addresses of a family: what the Node object lists and what plain links have.
func (v View) own(f world.Family) map[string]string {
	own, more := v.plainAddresses(f)
	for a, why := range more {
		own[a] = why
	}
	for _, a := range v.Node.Addresses[f] {
		if own[a.String()] == "" {
			own[a.String()] = "in the Node object"
		}
	}
	return own
}

// whereIs tells on which link an address is.
func (v View) whereIs(member string) string {
	if link, ok := linkOf(v.Now, member); ok {
		return "is on " + link
	}
	return "is on no link"
}

func linkOf(s *netstate.State, address string) (string, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "", false
	}
	for _, have := range s.Addrs {
		if have.Prefix.Addr() == a {
			return have.Link, true
		}
	}
	return "", false
}
