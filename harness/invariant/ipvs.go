package invariant

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"proxyproof/harness/finding"
	"proxyproof/harness/oracle"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

const (
	ipvsServiceMissing     finding.ID = "ipvs-service-missing"
	ipvsServiceUnjustified finding.ID = "ipvs-service-unjustified"
	ipvsServiceWrong       finding.ID = "ipvs-service-wrong"
)

// ipvs is the fifth invariant: what is in the kernel is justified by an object, and each object is served.
func ipvs() Check {
	return Check{
		Name: "ipvs",
		Doc: "Each IPVS service, destination, VIP address and VIP route is justified by an object, and each object is served; " +
			"each Service that wants a load balancer address has one of its own.",
		Findings: []finding.ID{
			ipvsServiceMissing, ipvsServiceUnjustified, ipvsServiceWrong, ipvsDestMissing, ipvsDestUnjustified, ipvsDestWrong,
			conflictUntold, vipAddressMissing, vipAddressUnjustified, vipRouteWrong, lbAddressMissing, lbAddressDuplicate, lbAddressWrong,
		},
		Judge: whileRunning(judgeIPVS),
	}
}

func judgeIPVS(v View) []finding.Finding {
	expected := v.expectation()
	var found []finding.Finding
	if v.Keeps.Has(KeepIPVS) {
		found = append(found, v.judgeServices(expected)...)
	}
	if v.Keeps.Has(KeepAddresses) {
		found = append(found, v.judgeVIPs(expected)...)
	}
	return append(found, v.judgeLoadBalancers(expected)...)
}

// judgeServices compares the IPVS table with the expectation in both directions. What was in the table before the subject
// started is not judged, nor what the oracle has no opinion about.
func (v View) judgeServices(expected oracle.Expectation) []finding.Finding {
	present, foreign := keysIn(v.Now), keysIn(v.before())
	var missing []oracle.Service
	var found []finding.Finding
	for _, want := range expected.Services {
		if _, others := foreign[want.Key]; others {
			found = append(found, v.judgeConflict(want)...)
			continue
		}
		have, here := present[want.Key]
		switch {
		case here:
			found = append(found, v.judgeService(want, have)...)
		case want.Required:
			missing = append(missing, want)
		}
	}
	return slices.Concat(v.missingServices(missing), v.unjustifiedServices(expected), found)
}

// missingServices gives one finding per Service and family.
func (v View) missingServices(missing []oracle.Service) []finding.Finding {
	type place struct {
		family world.Family
		owner  string
	}
	groups := map[place][]string{}
	for _, s := range missing {
		p := place{s.Family(), s.Owner}
		groups[p] = append(groups[p], fmt.Sprintf("%s: %s", s.Key, s.Why()))
	}
	places := slices.SortedFunc(maps.Keys(groups), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.family, b.family))
	})
	var found []finding.Finding
	for _, p := range places {
		f := v.finding(ipvsServiceMissing, p.family, "Service "+p.owner)
		f.Sentence = fmt.Sprintf("IPVS lacks %s of Service %s", count(len(groups[p]), "virtual service", "virtual services"), p.owner)
		f.Evidence = append(prefixed("expected ", lines(groups[p])), v.present(p.family))
		found = append(found, f)
	}
	return found
}

// unjustifiedServices gives one finding per family.
func (v View) unjustifiedServices(expected oracle.Expectation) []finding.Finding {
	old := map[string]bool{}
	for _, s := range v.before().IPVS {
		old[nameOfIPVS(s)] = true
	}
	groups := map[world.Family][]string{}
	for _, s := range v.Now.IPVS {
		k := keyOf(s)
		_, justified := expected.Find(k)
		if old[nameOfIPVS(s)] || justified || expected.Ignores(k) || s.FWMark != 0 && expected.IgnoresMarks() {
			continue
		}
		f := world.IPv4
		if s.IPv6 {
			f = world.IPv6
		}
		groups[f] = append(groups[f], nameOfIPVS(s))
	}
	var found []finding.Finding
	for _, family := range slices.Sorted(maps.Keys(groups)) {
		f := v.finding(ipvsServiceUnjustified, family, "IPVS")
		f.Sentence = fmt.Sprintf("IPVS serves %s, which no Service asks for on this node", list(groups[family]))
		f.Evidence = append(prefixed("unexpected ", lines(groups[family])), expectedKeys(expected, family))
		found = append(found, f)
	}
	return found
}

// judgeService compares one virtual service and its destinations.
func (v View) judgeService(want oracle.Service, have netstate.IPVSService) []finding.Finding {
	var wrong []string
	differ := func(what string, expected, actual any) {
		if expected != actual {
			wrong = append(wrong, fmt.Sprintf("%s: expected %v, is %v", what, expected, actual))
		}
	}
	differ("scheduler", want.Scheduler, have.Scheduler)
	differ("session affinity", want.Affinity > 0, have.Persistent)
	if want.Affinity > 0 && have.Persistent { // the kernel heeds neither the time-out nor the mask without it
		differ("time-out of session affinity in seconds", want.Affinity, have.Timeout)
		differ("netmask that tells clients apart", mask(want.Family(), hostMask(want.Family())), mask(want.Family(), have.Netmask))
	}
	differ("one-packet scheduling", false, have.Flags&flagOnePacket != 0)
	var found []finding.Finding
	if len(wrong) > 0 {
		f := v.finding(ipvsServiceWrong, want.Family(), want.Key.String())
		f.Sentence = fmt.Sprintf("IPVS service %s (%s) is set up wrongly: %s", want.Key, want.Why(), list(wrong))
		f.Evidence = wrong
		found = append(found, f)
	}
	return append(found, v.judgeDests(want, have)...)
}

// flagOnePacket is IP_VS_SVC_F_ONEPACKET: each datagram is scheduled on its own, which no Service can ask for. The flags of the
// schedulers are left to annotations.
const flagOnePacket = 4

// hostMask is what the kernel reports for a service whose persistence tells single clients apart.
func hostMask(f world.Family) uint32 {
	if f == world.IPv4 {
		return 0xffffffff
	}
	return 128
}

// mask is a netmask as people write it: of IPv4 in four bytes, of IPv6 the length of the prefix.
func mask(f world.Family, m uint32) string {
	if f == world.IPv4 {
		return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
	}
	return fmt.Sprintf("/%d", m)
}

// keyOf is where an IPVS service listens; the zero Key for a firewall mark.
func keyOf(s netstate.IPVSService) oracle.Key {
	if s.FWMark != 0 {
		return oracle.Key{}
	}
	return oracle.Key{Address: s.Address, Protocol: world.Protocol(s.Protocol), Port: s.Port}
}

func nameOfIPVS(s netstate.IPVSService) string {
	if s.FWMark != 0 {
		return fmt.Sprintf("firewall mark %d", s.FWMark)
	}
	return keyOf(s).String()
}

// keysIn are the virtual services of a state by key, without those of firewall marks.
func keysIn(s *netstate.State) map[oracle.Key]netstate.IPVSService {
	keys := map[oracle.Key]netstate.IPVSService{}
	for _, service := range s.IPVS {
		if service.FWMark == 0 {
			keys[keyOf(service)] = service
		}
	}
	return keys
}

// present is a line about what IPVS has in a family.
func (v View) present(f world.Family) string {
	var names []string
	for _, s := range v.Now.IPVS {
		if s.IPv6 == (f == world.IPv6) {
			names = append(names, nameOfIPVS(s))
		}
	}
	return fmt.Sprintf("IPVS has %s for %s: %s", count(len(names), "service", "services"), f, list(names))
}

// expectedKeys is a line about what IPVS should have in a family.
func expectedKeys(e oracle.Expectation, f world.Family) string {
	var names []string
	for _, s := range e.Services {
		if s.Family() == f && s.Required {
			names = append(names, s.Key.String())
		}
	}
	return fmt.Sprintf("expected %s for %s: %s", count(len(names), "service", "services"), f, list(names))
}

func prefixed(prefix string, items []string) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = prefix + item
	}
	return all
}

// addresses are those of the virtual services, each with the first reason.
func addresses(e oracle.Expectation, f world.Family, take func(oracle.Service) bool) map[netip.Addr]string {
	all := map[netip.Addr]string{}
	for _, s := range e.Services {
		if s.Family() == f && take(s) && all[s.Address] == "" {
			all[s.Address] = s.Why()
		}
	}
	return all
}
