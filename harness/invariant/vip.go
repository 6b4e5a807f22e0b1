package invariant

import (
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
	vipAddressMissing     finding.ID = "vip-address-missing"
	vipAddressUnjustified finding.ID = "vip-address-unjustified"
	vipRouteWrong         finding.ID = "vip-route-wrong"
)

// vipLink carries the VIPs.
const vipLink = "kube-dummy-if"

// Routing tables.
const (
	tableMain  = 254
	tableLocal = 255
)

// vips are the addresses that kube-dummy-if should carry in one family.
type vips struct {
	family            world.Family
	required, allowed map[netip.Addr]string
	// held are addresses that Services name and another node or a pod has.
	held map[netip.Addr]string
	// foreign are addresses that the link had before the subject started.
	foreign map[netip.Addr]bool
}

// judgeVIPs compares the addresses of kube-dummy-if and the routes to them: at most one finding of each id and family.
func (v View) judgeVIPs(expected oracle.Expectation) []finding.Finding {
	var found []finding.Finding
	for _, f := range []world.Family{world.IPv4, world.IPv6} {
		w := v.vips(expected, f)
		found = slices.Concat(found, v.missingVIPs(w), v.unjustifiedVIPs(w), v.wrongRoutes(w))
	}
	return found
}

// vips gathers what the expectation says about addresses. A node port's address, and any other that is a node's own, is already
// on a link of its own.
func (v View) vips(e oracle.Expectation, f world.Family) vips {
	w := vips{family: f, foreign: map[netip.Addr]bool{}}
	own := v.own(f)
	w.required = addresses(e, f, func(s oracle.Service) bool {
		return s.Kind != oracle.NodePort && s.Required && own[s.Address.String()] == ""
	})
	w.allowed = addresses(e, f, func(s oracle.Service) bool { return s.Kind != oracle.NodePort && s.Holder == "" })
	w.held = map[netip.Addr]string{}
	for _, s := range e.Services {
		if s.Holder != "" && s.Family() == f {
			w.held[s.Address] = fmt.Sprintf("%s (%s of Service %s)", s.Holder, s.Kind, s.Owner)
		}
	}
	for _, u := range e.Unjudged {
		for _, k := range u.Keys {
			w.allowed[k.Address] = u.Why
		}
	}
	for _, a := range v.before().Addrs {
		if a.Link == vipLink {
			w.foreign[a.Prefix.Addr()] = true
		}
	}
	return w
}

// onVIPLink are the addresses of kube-dummy-if in a family, without the link-local one that the kernel gives any link.
func (v View) onVIPLink(f world.Family) map[netip.Addr]netip.Prefix {
	all := map[netip.Addr]netip.Prefix{}
	for _, a := range v.Now.Addrs {
		address := a.Prefix.Addr()
		if a.Link == vipLink && world.FamilyOf(address) == f && !address.IsLinkLocalUnicast() {
			all[address] = a.Prefix
		}
	}
	return all
}

func (v View) missingVIPs(w vips) []finding.Finding {
	present := v.onVIPLink(w.family)
	var missing, all []string
	for _, a := range sorted(w.required) {
		all = append(all, a.String())
		if _, ok := present[a]; !ok {
			missing = append(missing, fmt.Sprintf("%s (%s)", a, w.required[a]))
		}
	}
	f := v.finding(vipAddressMissing, w.family, vipLink)
	switch link, ok := v.link(vipLink); {
	case len(all) == 0:
		return nil
	case !ok:
		f.Sentence = fmt.Sprintf("link %s, which should carry the VIPs, does not exist", vipLink)
	case !link.Up:
		f.Sentence = fmt.Sprintf("link %s, which should carry the VIPs, is down", vipLink)
	case len(missing) > 0:
		f.Sentence = fmt.Sprintf("link %s lacks %s", vipLink, list(missing))
	default:
		return nil
	}
	var have []string
	for _, a := range sorted(present) {
		have = append(have, present[a].String())
	}
	f.Evidence = []string{
		fmt.Sprintf("expected %s: %s", count(len(all), "address", "addresses"), list(all)),
		fmt.Sprintf("it has %s: %s", count(len(have), "address", "addresses"), list(have)),
	}
	return []finding.Finding{f}
}

// unjustifiedVIPs also finds VIPs with a mask that takes in more than the VIP: the node would answer for its neighbours.
func (v View) unjustifiedVIPs(w vips) []finding.Finding {
	var extra []string
	present := v.onVIPLink(w.family)
	for _, a := range sorted(present) {
		p := present[a]
		switch why, ok := w.allowed[a]; {
		case w.foreign[a]:
		case !ok && w.held[a] != "":
			extra = append(extra, fmt.Sprintf("%s, which is %s: the node can no longer reach it", p, w.held[a]))
		case !ok:
			extra = append(extra, p.String()+", which is no Service's")
		case !p.IsSingleIP():
			extra = append(extra, fmt.Sprintf("%s, which should be %s/%d (%s)", p, a, w.family.HostBits(), why))
		}
	}
	if len(extra) == 0 {
		return nil
	}
	var want []string
	for _, a := range sorted(w.required) {
		want = append(want, a.String())
	}
	f := v.finding(vipAddressUnjustified, w.family, vipLink)
	f.Sentence = fmt.Sprintf("link %s carries %s", vipLink, list(extra))
	f.Evidence = []string{
		fmt.Sprintf("expected %s: %s", count(len(want), "address", "addresses"), list(want)),
		"unexpected: " + list(extra),
	}
	return []finding.Finding{f}
}

// wrongRoutes judges how the node reaches its own VIPs. Each needs a route in the local table that names a node address as the
// source. IPv6 has two traps: the kernel adds a local route of metric 0 and a route of metric 256 in the main table for every
// address of a link, and both win over a better one with a higher metric: what the node then sends to its own VIP has the VIP
// as its source, and no answer finds the way back.
func (v View) wrongRoutes(w vips) []finding.Finding {
	var wrong []string
	present := v.onVIPLink(w.family)
	for _, a := range sorted(present) {
		if _, ok := w.required[a]; ok {
			wrong = append(wrong, v.wrongRoutesTo(a, w)...)
		}
	}
	wrong = append(wrong, v.strayRoutes(w, present)...)
	if len(wrong) == 0 {
		return nil
	}
	f := v.finding(vipRouteWrong, w.family, vipLink)
	f.Sentence = fmt.Sprintf("the routes to VIPs are wrong: %s", list(wrong[:1]))
	if n := len(wrong) - 1; n > 0 {
		f.Sentence += fmt.Sprintf(" and %d more", n)
	}
	f.Evidence = append([]string{fmt.Sprintf("expected for each VIP: local VIP dev %s table local src %s", vipLink, v.source(w.family))}, lines(wrong)...)
	return []finding.Finding{f}
}

// wrongRoutesTo judges the routes to one VIP.
func (v View) wrongRoutesTo(vip netip.Addr, w vips) []string {
	var wrong []string
	good := false
	for _, r := range v.Now.Routes {
		if r.Dst != netip.PrefixFrom(vip, w.family.HostBits()) || r.Table != tableLocal && r.Table != tableMain {
			continue
		}
		if slices.Contains(v.Node.Addresses[w.family], r.Src) {
			good = good || r.Table == tableLocal && r.Type == "local"
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s, so that the node talks to its own VIP from the VIP", writeRoute(r)))
	}
	if !good {
		wrong = append(wrong, fmt.Sprintf("%s has no route in table local with a node address as its source", vip))
	}
	return wrong
}

// strayRoutes are local routes that kube-dummy-if was left with for addresses that it should not carry.
func (v View) strayRoutes(w vips, present map[netip.Addr]netip.Prefix) []string {
	var stray []string
	for _, r := range v.Now.Routes {
		a := r.Dst.Addr()
		_, carried := present[a]
		_, allowed := w.allowed[a]
		if r.Table != tableLocal || r.Type != "local" || r.Link != vipLink || world.FamilyOf(a) != w.family ||
			carried || allowed || a.IsLinkLocalUnicast() || slices.Contains(v.before().Routes, r) {
			continue
		}
		stray = append(stray, writeRoute(r)+", which is no Service's")
	}
	return stray
}

// source is the address that routes to VIPs should name.
func (v View) source(f world.Family) string {
	if own := v.Node.Addresses[f]; len(own) > 0 {
		return own[0].String()
	}
	return "a node address"
}

func (v View) link(name string) (netstate.Link, bool) {
	for _, l := range v.Now.Links {
		if l.Name == name {
			return l, true
		}
	}
	return netstate.Link{}, false
}

// writeRoute is the route as ip(8) prints it.
func writeRoute(r netstate.Route) string {
	table := "main"
	if r.Table == tableLocal {
		table = "local"
	}
	text := fmt.Sprintf("%s %s dev %s table %s metric %d", r.Type, r.Dst, r.Link, table, r.Metric)
	if r.Src.IsValid() {
		return text + " src " + r.Src.String()
	}
	return text + " without src"
}

func sorted[V any](m map[netip.Addr]V) []netip.Addr {
	return slices.SortedFunc(maps.Keys(m), netip.Addr.Compare)
}
