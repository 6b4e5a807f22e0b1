package netstate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// serviceName is how IPVS services are called in messages.
func serviceName(s IPVSService) string {
	if s.FWMark != 0 {
		return fmt.Sprintf("fwmark %d", s.FWMark)
	}
	host := s.Address.String()
	if s.Address.Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d/%s", host, s.Port, strings.ToLower(s.Protocol))
}

// Lines is a state, one fact a line, in canonical order.
func Lines(s *State) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, l := range s.Links {
		add("link %s %s up=%t", l.Name, l.Kind, l.Up)
	}
	for _, a := range s.Addrs {
		add("address %s on %s scope %s usable=%t", a.Prefix, a.Link, a.Scope, a.Usable)
	}
	for _, r := range s.Routes {
		add("route %s", routeText(r))
	}
	for _, r := range s.Rules {
		add("ip rule %+v", r)
	}
	for _, v := range s.IPVS {
		name := serviceName(v)
		add("ipvs %s scheduler %s persistent %t %d flags %d netmask %x", name, v.Scheduler, v.Persistent, v.Timeout, v.Flags, v.Netmask)
		for _, d := range v.Dests {
			add("ipvs %s destination %s port %d weight %d %s", name, d.Address, d.Port, d.Weight, d.Forward)
		}
	}
	for _, set := range s.Sets {
		add("ipset %s %s ipv6=%t %s", set.Name, set.Type, set.IPv6, set.Options)
		for _, m := range set.Members {
			add("ipset %s member %s", set.Name, m)
		}
	}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			add("%s %s chain %s %s", familyName(t.IPv6), t.Name, c.Name, c.Policy)
			for i, r := range c.Rules {
				add("%s %s %s rule %d: %s", familyName(t.IPv6), t.Name, c.Name, i+1, r.Spec)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sysctls)) {
		add("sysctl %s = %s", name, s.Sysctls[name])
	}
	return lines
}

func routeText(r Route) string {
	text := fmt.Sprintf("%s %s table %d", r.Type, r.Dst, r.Table)
	if r.Gateway.IsValid() {
		text += " via " + r.Gateway.String()
	}
	text += " dev " + r.Link
	if r.Src.IsValid() {
		text += " src " + r.Src.String()
	}
	return text + fmt.Sprintf(" metric %d proto %s scope %s", r.Metric, r.Protocol, r.Scope)
}

// Print is a state as text.
func Print(s *State) string { return strings.Join(Lines(s), "\n") + "\n" }

// Change is one fact that came or went.
type Change struct {
	Added bool
	Line  string
}

// String is "+ ipset inet6:kube-router-svip member 2001:db8:2::1".
func (c Change) String() string {
	if c.Added {
		return "+ " + c.Line
	}
	return "- " + c.Line
}

// Diff tells what came and went between two states, what went first.
func Diff(a, b *State) []Change {
	count := map[string]int{}
	before, after := Lines(a), Lines(b)
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var changes []Change
	for _, line := range before {
		if count[line] < 0 {
			count[line]++
			changes = append(changes, Change{false, line})
		}
	}
	for _, line := range after {
		if count[line] > 0 {
			count[line]--
			changes = append(changes, Change{true, line})
		}
	}
	return changes
}
