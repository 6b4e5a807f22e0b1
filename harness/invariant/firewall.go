package invariant

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"proxyproof/harness/finding"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

const (
	firewallJumpWrong     finding.ID = "firewall-jump-wrong"
	firewallRejectWrong   finding.ID = "firewall-reject-wrong"
	firewallAcceptMissing finding.ID = "firewall-accept-missing"
	firewallSetWrong      finding.ID = "firewall-set-wrong"
	firewallRejectsND     finding.ID = "firewall-rejects-neighbour-discovery"
	firewallRuleTwice     finding.ID = "firewall-rule-twice"
	firewallMaskWrong     finding.ID = "firewall-mask-wrong"
	firewallNotUnderstood finding.ID = "firewall-not-understood"
)

// servicesChain guards the service addresses; the names of all chains of a service proxy begin with chainPrefix.
const (
	servicesChain = "KUBE-ROUTER-SERVICES"
	chainPrefix   = "KUBE-ROUTER-"
)

// firewall is the sixth invariant: the rules mean what they should, however they are written.
func firewall() Check {
	return Check{
		Name: "firewall",
		Doc: "Packets for service addresses jump once, and before others accept them; service ports are accepted; the last rule rejects all " +
			"but the node's own addresses; IPv6 neighbour discovery comes through; sets that rules name are there; no rule is there twice.",
		Findings: []finding.ID{
			firewallJumpWrong, firewallRejectWrong, firewallAcceptMissing, firewallSetWrong, firewallRejectsND, firewallRuleTwice,
			firewallMaskWrong, firewallNotUnderstood,
		},
		Judge: whileRunning(judgeFirewall),
	}
}

func judgeFirewall(v View) []finding.Finding {
	if !v.Keeps.Has(KeepFirewall) {
		return nil
	}
	var found []finding.Finding
	for _, f := range v.families() {
		found = append(found, v.judgeRules(f)...)
	}
	return found
}

// rules are the rules of a family by meaning.
type rules struct {
	family world.Family
	filter netstate.Table
	// input and services are the chains INPUT and KUBE-ROUTER-SERVICES.
	input, services []reading
}

// reading is a rule with its meaning, and its number in the chain.
type reading struct {
	netstate.Meaning
	number int
	spec   string
	err    error
}

func (r reading) in(chain string) string {
	return fmt.Sprintf("rule %d of %s: %s", r.number, chain, r.spec)
}

func read(chain netstate.Chain) []reading {
	var all []reading
	for i, r := range chain.Rules {
		m, err := netstate.ParseRule(r)
		all = append(all, reading{m, i + 1, r.Spec, err})
	}
	return all
}

func (v View) judgeRules(f world.Family) []finding.Finding {
	filter, _ := v.Now.Table(f == world.IPv6, "filter")
	input, _ := filter.Chain("INPUT")
	services, _ := filter.Chain(servicesChain)
	r := rules{f, filter, read(input), read(services)}
	found := v.judgeJump(r)
	if len(r.jumps()) > 0 || len(r.services) > 0 {
		found = slices.Concat(found, v.judgeReject(r), v.judgeAccept(r), v.judgeDiscovery(r))
	}
	return slices.Concat(found, v.judgeNamedSets(f), v.judgeTwice(f), v.judgeMasks(f))
}

// jumps are the rules that lead to the chain.
func (r rules) jumps() []reading {
	return slices.DeleteFunc(slices.Clone(r.input), func(rule reading) bool { return rule.Action.Target != servicesChain })
}

// judgeJump: what is for a service address goes to the chain, once, and before anybody accepts it.
func (v View) judgeJump(r rules) []finding.Finding {
	set := setName(svipSet, r.family)
	want := "-m set --match-set " + set + " dst -j " + servicesChain
	var jumps, wrong []string
	for _, rule := range r.input {
		jumpsThere := rule.Action.Target == servicesChain
		switch {
		case jumpsThere:
			jumps = append(jumps, rule.in("INPUT"))
			if !rule.onlySet(set, false, "dst") {
				wrong = append(wrong, fmt.Sprintf("%s, which is not for all that %s holds", rule.in("INPUT"), set))
			}
		case len(jumps) == 0 && rule.Action.Target == "ACCEPT" && !v.subjects(r.filter, "INPUT", rule.spec):
			wrong = append(wrong, rule.in("INPUT")+", which accepts before the jump")
		}
	}
	switch {
	case len(jumps) == 0:
		wrong = []string{"there is no jump to " + servicesChain}
	case len(jumps) > 1:
		wrong = append(wrong, fmt.Sprintf("there are %d jumps to %s", len(jumps), servicesChain))
	}
	if len(wrong) == 0 {
		return nil
	}
	f := v.finding(firewallJumpWrong, r.family, "INPUT")
	f.Sentence = "what comes for service addresses is not led to the chain that guards them: " + list(wrong)
	f.Evidence = append([]string{"expected as the first rule of INPUT: " + want}, append(lines(wrong), lines(jumps)...)...)
	return []finding.Finding{f}
}

// subjects tells whether a rule is the subject's own by its looks: made by a chain or set of it.
func (v View) subjects(t netstate.Table, chain, spec string) bool {
	return strings.Contains(spec, chainPrefix) || strings.Contains(spec, "kube-router-")
}

// judgeReject: the last rule rejects what is not for the node itself, and none before it does.
func (v View) judgeReject(r rules) []finding.Finding {
	set, answer := setName(localIPsSet, r.family), "icmp-port-unreachable"
	if r.family == world.IPv6 {
		answer = "icmp6-port-unreachable"
	}
	var wrong []string
	for i, rule := range r.services {
		refuses := rule.Action.Target == "REJECT" || rule.Action.Target == "DROP"
		last := i == len(r.services)-1
		switch {
		case !last && refuses:
			wrong = append(wrong, rule.in(servicesChain)+", which is not the last")
		case last && (rule.Action.Target != "REJECT" || rule.Action.RejectWith != answer):
			wrong = append(wrong, rule.in(servicesChain)+", which is the last and rejects nothing with "+answer)
		case last && !rule.onlySet(set, true, "dst"):
			wrong = append(wrong, rule.in(servicesChain)+", which does not exempt exactly what "+set+" holds")
		}
	}
	if len(r.services) == 0 {
		wrong = []string{"the chain is empty"}
	}
	if len(wrong) == 0 {
		return nil
	}
	f := v.finding(firewallRejectWrong, r.family, servicesChain)
	f.Sentence = "what no service answers at a service address is not rejected as it should be: " + list(wrong)
	f.Evidence = append([]string{fmt.Sprintf("expected as the last rule: -m set ! --match-set %s dst -j REJECT --reject-with %s", set, answer)}, lines(wrong)...)
	return []finding.Finding{f}
}

// judgeAccept: what svip-prt holds is accepted.
func (v View) judgeAccept(r rules) []finding.Finding {
	set := setName(svipPortSet, r.family)
	if len(r.services) == 0 { // which judgeReject has said
		return nil
	}
	for _, rule := range r.services {
		if rule.Action.Target == "ACCEPT" && rule.onlySet(set, false, "dst,dst") {
			return nil
		}
		if rule.Action.Target == "REJECT" && !rule.hasSets() {
			break
		}
	}
	f := v.finding(firewallAcceptMissing, r.family, servicesChain)
	f.Sentence = fmt.Sprintf("no rule of %s accepts what %s holds", servicesChain, set)
	f.Evidence = append([]string{"expected: -m set --match-set " + set + " dst,dst -j ACCEPT"}, v.specs(r.services)...)
	return []finding.Finding{f}
}

// judgeDiscovery sends neighbour solicitations and advertisements through the rules, to a service address that local-ips does not
// exempt: a node whose neighbours cannot be told its address is gone from the link.
func (v View) judgeDiscovery(r rules) []finding.Finding {
	if r.family != world.IPv6 {
		return nil
	}
	var wrong []string
	for _, typ := range []int{135, 136} {
		p := packet{family: r.family, to: v.aServiceAddress(r.family), protocol: "icmpv6", icmp: typ}
		if !p.to.IsValid() {
			return nil
		}
		switch d := v.judgePacket(p); d.verdict {
		case reject, drop:
			wrong = append(wrong, fmt.Sprintf("%s %s %s", d.place(), done[d.verdict], icmpName(r.family, typ)))
		case unknown:
			return []finding.Finding{v.notUnderstood(r.family, d)}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	f := v.finding(firewallRejectsND, r.family, servicesChain)
	f.Sentence = "IPv6 neighbour discovery for a service address does not come through: " + list(wrong)
	f.Evidence = append([]string{"expected: ICMPv6 types 135 and 136 are accepted before the last rule"}, v.specs(r.services)...)
	return []finding.Finding{f}
}

func (v View) notUnderstood(family world.Family, d decision) finding.Finding {
	f := v.finding(firewallNotUnderstood, family, d.chain)
	f.Sentence = fmt.Sprintf("%s is beyond this check, which does not guess: %s", d.place(), d.rule.Spec)
	f.Evidence = []string{"not understood: " + d.rule.Spec}
	return f
}

// aServiceAddress is one that svip holds and local-ips does not.
func (v View) aServiceAddress(f world.Family) netip.Addr {
	services, _ := findSet(v.Now, setName(svipSet, f))
	local, _ := findSet(v.Now, setName(localIPsSet, f))
	for _, m := range services.Members {
		if a, err := netip.ParseAddr(m); err == nil && !holds(local, canonicalMember(m)) {
			return a
		}
	}
	return netip.Addr{}
}

// judgeNamedSets: sets that rules of the subject name exist, in the rule's family.
func (v View) judgeNamedSets(f world.Family) []finding.Finding {
	var wrong []string
	v.ownRules(f, func(table, chain string, rule reading) {
		for _, s := range rule.Sets {
			set, exists := findSet(v.Now, s.Name)
			switch {
			case !exists:
				wrong = append(wrong, fmt.Sprintf("set %s of %s does not exist", s.Name, rule.in(chain)))
			case strings.HasPrefix(set.Type, "hash:") && set.IPv6 != (f == world.IPv6):
				wrong = append(wrong, fmt.Sprintf("set %s of %s is of the other family", s.Name, rule.in(chain)))
			}
		}
	})
	if len(wrong) == 0 {
		return nil
	}
	found := v.finding(firewallSetWrong, f, wrong[0])
	found.Object = servicesChain
	found.Sentence = "rules name sets that cannot match: " + list(wrong)
	found.Evidence = append([]string{"expected: each set exists and has the family of the rule"}, lines(wrong)...)
	return []finding.Finding{found}
}

// judgeTwice: no rule of the subject is in a chain twice.
func (v View) judgeTwice(f world.Family) []finding.Finding {
	count, twice := map[string]int{}, []string(nil)
	v.ownRules(f, func(table, chain string, rule reading) {
		key := table + " " + chain + ": " + rule.spec
		if count[key]++; count[key] == 2 && rule.Action.Target != servicesChain { // the jump is judged by itself
			twice = append(twice, key)
		}
	})
	if len(twice) == 0 {
		return nil
	}
	found := v.finding(firewallRuleTwice, f, "rules")
	found.Sentence = "rules are there more than once: " + list(twice)
	for _, key := range twice {
		found.Evidence = append(found.Evidence, fmt.Sprintf("%d times: %s", count[key], key))
	}
	found.Evidence = append([]string{"expected: each once"}, found.Evidence...)
	return []finding.Finding{found}
}

// judgeMasks: an address of a rule that is one host's is written with the whole length of its family.
func (v View) judgeMasks(f world.Family) []finding.Finding {
	var wrong []string
	v.ownRules(f, func(table, chain string, rule reading) {
		if chain != "KUBE-ROUTER-HAIRPIN" {
			return
		}
		for _, p := range []netip.Prefix{rule.Src.Prefix, rule.Dst.Prefix, vaddr(rule)} {
			if p.IsValid() && !p.IsSingleIP() {
				wrong = append(wrong, fmt.Sprintf("%s is a whole network in %s", p, rule.in(chain)))
			}
		}
	})
	if len(wrong) == 0 {
		return nil
	}
	found := v.finding(firewallMaskWrong, f, "KUBE-ROUTER-HAIRPIN")
	found.Sentence = fmt.Sprintf("masks are not those of a host (/%d): %s", f.HostBits(), list(wrong))
	found.Evidence = append([]string{fmt.Sprintf("expected: /%d", f.HostBits())}, lines(wrong)...)
	return []finding.Finding{found}
}

func vaddr(r reading) netip.Prefix {
	if r.IPVS == nil {
		return netip.Prefix{}
	}
	return r.IPVS.Address.Prefix
}

// ownRules goes through the rules of the subject in a family: those of its chains, and those that lead to its chains or name its
// sets.
func (v View) ownRules(f world.Family, visit func(table, chain string, rule reading)) {
	for _, t := range v.Now.Tables {
		if t.IPv6 != (f == world.IPv6) {
			continue
		}
		for _, c := range t.Chains {
			for _, rule := range read(c) {
				if strings.HasPrefix(c.Name, chainPrefix) || v.subjects(t, c.Name, rule.spec) {
					visit(t.Name, c.Name, rule)
				}
			}
		}
	}
}

// onlySet tells whether a rule has exactly one condition: membership in a set.
func (r reading) onlySet(name string, not bool, directions string) bool {
	bare := r.Meaning
	bare.Sets, bare.Comments, bare.Action = nil, nil, netstate.Action{}
	return r.err == nil && len(r.Sets) == 1 && r.Sets[0].Name == name && r.Sets[0].Not == not &&
		strings.Join(r.Sets[0].Directions, ",") == directions && bare.Always()
}

func (r reading) hasSets() bool { return len(r.Sets) > 0 }

// specs are the rules of a chain, for evidence.
func (v View) specs(chain []reading) []string {
	var all []string
	for _, r := range chain {
		all = append(all, r.in(servicesChain))
	}
	return lines(all)
}
