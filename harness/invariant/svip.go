package invariant

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"proxyproof/harness/finding"
	"proxyproof/harness/oracle"
	"proxyproof/sim/world"
)

const (
	svipIncomplete         finding.ID = "svip-incomplete"
	svipHasForeign         finding.ID = "svip-has-foreign"
	svipPrtIncomplete      finding.ID = "svip-prt-incomplete"
	svipPrtHasForeign      finding.ID = "svip-prt-has-foreign"
	nodeAddressUnprotected finding.ID = "node-address-unprotected"
)

// svip is the second invariant: svip and svip-prt are made of the IPVS services that come from Services, and a node's own
// address in svip is in local-ips, too.
func svip() Check {
	return Check{
		Name: "svip",
		Doc: "The ipsets svip and svip-prt hold the addresses and ports of the IPVS services that come from Services and nothing " +
			"else; a node's own address in svip is in local-ips, too.",
		Findings: []finding.ID{svipIncomplete, svipHasForeign, svipPrtIncomplete, svipPrtHasForeign, nodeAddressUnprotected},
		Judge:    whileRunning(judgeSVIP),
	}
}

func judgeSVIP(v View) []finding.Finding {
	if !v.Keeps.Has(KeepSets) {
		return nil
	}
	var found []finding.Finding
	expected := v.expectation()
	for _, f := range v.families() {
		found = append(found, v.judgeServiceSets(expected, f)...)
		found = append(found, v.judgeProtection(f)...)
	}
	return found
}

// judgeServiceSets compares both sets with the IPVS services that come from Services. A Service that IPVS lacks may be in the
// sets: that IPVS lacks it is said elsewhere. A subject that does not keep the IPVS table is held to the Services themselves.
func (v View) judgeServiceSets(expected oracle.Expectation, f world.Family) []finding.Finding {
	type members = map[string]string
	required, allowed := [2]members{{}, {}}, [2]members{{}, {}}
	put := func(to [2]members, k oracle.Key, why string) {
		for i, m := range []string{k.Address.String(), portMember(k)} {
			if to[i][m] == "" {
				to[i][m] = why
			}
		}
	}
	present, foreign, keepsIPVS := keysIn(v.Now), keysIn(v.before()), v.Keeps.Has(KeepIPVS)
	for _, s := range expected.Services {
		_, here := present[s.Key]
		_, others := foreign[s.Key]
		switch {
		case s.Family() != f || others:
		case here || s.Required && !keepsIPVS:
			put(required, s.Key, s.Why())
		case s.Required || !keepsIPVS:
			put(allowed, s.Key, s.Why())
		}
	}
	for _, u := range expected.Unjudged {
		for _, k := range u.Keys {
			put(allowed, k, u.Why)
		}
	}
	found := v.judgeSet(setRule{
		name: setName(svipSet, f), typ: "hash:ip", family: f, required: required[0], allowed: allowed[0],
		incomplete: svipIncomplete, excess: svipHasForeign,
		foreign: "where no Service is served", explain: v.whatIsAt,
	})
	return append(found, v.judgeSet(setRule{
		name: setName(svipPortSet, f), typ: "hash:ip,port", family: f, required: required[1], allowed: allowed[1],
		incomplete: svipPrtIncomplete, excess: svipPrtHasForeign,
		foreign: "where no Service is served", explain: v.whatIsAt,
	})...)
}

// judgeProtection looks for addresses of the node itself that the firewall closes: in svip and not in local-ips.
func (v View) judgeProtection(f world.Family) []finding.Finding {
	services, _ := findSet(v.Now, setName(svipSet, f))
	local, _ := findSet(v.Now, setName(localIPsSet, f))
	own := v.own(f)
	var found []finding.Finding
	for _, a := range slices.Sorted(maps.Keys(own)) {
		if !holds(services, a) || holds(local, a) {
			continue
		}
		address := netip.MustParseAddr(a)
		finding := v.finding(nodeAddressUnprotected, f, a)
		finding.Sentence = fmt.Sprintf("the node's own address %s (%s) is in ipset %s and not in %s: all its ports that are no service's are closed",
			a, own[a], setName(svipSet, f), setName(localIPsSet, f))
		finding.Evidence = v.explain(packet{family: f, to: address})
		found = append(found, finding)
	}
	return found
}

// whatIsAt tells which IPVS services are at a member of one of the service sets.
func (v View) whatIsAt(member string) string {
	foreign := keysIn(v.before())
	var here []string
	for _, s := range v.Now.IPVS {
		k := keyOf(s)
		if !k.Address.IsValid() || k.Address.String() != member && portMember(k) != member {
			continue
		}
		if _, ok := foreign[k]; ok {
			here = append(here, k.String()+", which is not the subject's")
		} else {
			here = append(here, k.String()+", which comes from no Service")
		}
	}
	if len(here) == 0 {
		return "has no IPVS service"
	}
	return "is the address of IPVS service " + strings.Join(lines(here), "; ")
}

// portMember is the member of svip-prt for a key.
func portMember(k oracle.Key) string {
	return fmt.Sprintf("%s,%s:%d", k.Address, strings.ToLower(string(k.Protocol)), k.Port)
}
