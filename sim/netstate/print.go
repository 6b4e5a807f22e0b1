package netstate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fact is one thing that is so in a state. A state is the same as another if its facts are.
type fact struct {
	What   What
	Object string // what tells it from other facts of its kind
	Detail string // the rest
}

// What names a kind of fact.
type What string

// The kinds of facts, in the order in which they are printed.
const (
	WhatLink        What = "link"
	WhatAddress     What = "address"
	WhatRoute       What = "route"
	WhatPolicyRule  What = "policy rule"
	WhatService     What = "IPVS service"
	WhatDestination What = "IPVS destination"
	WhatSet         What = "ipset"
	WhatMember      What = "ipset member"
	WhatChain       What = "iptables chain"
	WhatRule        What = "iptables rule"
	WhatSysctl      What = "sysctl"
)

// line is the fact as text, with another detail if wanted.
func line(what What, object, detail string) string {
	switch what {
	case WhatMember:
		return "ipset " + object + " member " + detail
	case WhatRule:
		return "iptables " + object + ": " + detail
	case WhatSysctl:
		return "sysctl " + object + " = " + detail
	}
	return joinWords(string(what), object, detail)
}

// Print is a state as text, one fact a line, in canonical order. Counters of connections are left out: states that differ only
// in traffic print the same.
func Print(s *State) string {
	var b strings.Builder
	for _, f := range facts(s) {
		b.WriteString(line(f.What, f.Object, f.Detail))
		b.WriteByte('\n')
	}
	return b.String()
}

func facts(s *State) []fact {
	var all []fact
	add := func(what What, object, detail string) { all = append(all, fact{what, object, detail}) }
	for _, l := range s.Links {
		state := "down"
		if l.Up {
			state = "up"
		}
		add(WhatLink, l.Name, l.Kind+" "+state)
	}
	for _, a := range s.Addrs {
		detail := "scope " + a.Scope
		if !a.Usable {
			detail += " unusable"
		}
		add(WhatAddress, a.Prefix.String()+" dev "+a.Link, detail)
	}
	for _, r := range s.Routes {
		add(WhatRoute, r.key(), r.detail())
	}
	for _, r := range s.Rules {
		add(WhatPolicyRule, familyName(r.IPv6)+" "+strconv.Itoa(r.Priority)+":", r.detail())
	}
	for _, v := range s.IPVS {
		add(WhatService, v.Key(), v.detail())
		for _, d := range v.Dests {
			add(WhatDestination, v.Key()+" -> "+endpoint(d.Address, d.Port), d.detail())
		}
	}
	for _, set := range s.Sets {
		family := ""
		if strings.HasPrefix(set.Type, "hash:") {
			family = familyName(set.IPv6)
		}
		add(WhatSet, set.Name, joinWords(set.Type, family, set.Options))
		for _, m := range set.Members {
			add(WhatMember, set.Name, m)
		}
	}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			add(WhatChain, t.path(c), c.Policy)
			for i, r := range c.Rules {
				add(WhatRule, t.path(c)+" "+strconv.Itoa(i+1), r.Spec)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sysctls)) {
		add(WhatSysctl, name, s.Sysctls[name])
	}
	return all
}

// path is "inet6 filter INPUT".
func (t Table) path(c Chain) string { return familyName(t.IPv6) + " " + t.Name + " " + c.Name }

// endpoint is "192.0.2.1:80" or "[2001:db8::1]:80".
func endpoint[P uint16 | int](a fmt.Stringer, port P) string {
	host := a.String()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// Key names a service: "TCP 192.0.2.1:80", "UDP [2001:db8::1]:53", or "fwmark 7 inet6".
func (s IPVSService) Key() string {
	if s.FWMark != 0 {
		return fmt.Sprintf("fwmark %d %s", s.FWMark, familyName(s.IPv6))
	}
	return s.Protocol + " " + endpoint(s.Address, s.Port)
}

func (s IPVSService) detail() string {
	words := s.Scheduler
	if s.Persistent {
		words += fmt.Sprintf(" persistent %d", s.Timeout)
	} else if s.Timeout != 0 {
		words += fmt.Sprintf(" timeout %d", s.Timeout)
	}
	host := uint32(0xffffffff)
	if s.IPv6 {
		host = 128
	}
	if s.Netmask != host {
		words += fmt.Sprintf(" netmask %#x", s.Netmask)
	}
	if s.Engine != "" {
		words += " engine " + s.Engine
	}
	flags := s.Flags
	if s.Persistent {
		flags &^= ipvsFlagPersistent
	}
	if flags != 0 {
		words += fmt.Sprintf(" flags %#x", flags)
	}
	return words
}

func (d IPVSDest) detail() string {
	words := joinWords(d.Forward, d.Tunnel, "weight "+strconv.Itoa(d.Weight))
	if d.Upper != 0 || d.Lower != 0 {
		words += fmt.Sprintf(" threshold %d-%d", d.Lower, d.Upper)
	}
	return words
}

// key is what tells a route from others: "local 198.18.0.1/32 dev kube-dummy-if table local". The type unicast goes without saying.
func (r Route) key() string {
	var typ, dev, metric string
	if r.Type != "unicast" {
		typ = r.Type
	}
	if r.Link != "" {
		dev = "dev " + r.Link
	}
	if r.Metric != 0 {
		metric = "metric " + strconv.Itoa(r.Metric)
	}
	return joinWords(typ, r.Dst.String(), dev, "table "+tableName(r.Table), metric)
}

func (r Route) detail() string {
	var via, src string
	if r.Gateway.IsValid() {
		via = "via " + r.Gateway.String()
	}
	if r.Src.IsValid() {
		src = "src " + r.Src.String()
	}
	return joinWords(via, src, "proto "+r.Protocol, "scope "+r.Scope)
}

func tableName(t int) string {
	switch t {
	case 253:
		return "default"
	case 254:
		return "main"
	case 255:
		return "local"
	}
	return strconv.Itoa(t)
}

func (r PolicyRule) detail() string {
	words := []string{"from all"}
	if r.Src.IsValid() {
		words[0] = "from " + r.Src.String()
	}
	if r.Invert {
		words[0] = "not " + words[0]
	}
	add := func(present bool, format string, args ...any) {
		if present {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(r.Dst.IsValid(), "to %s", r.Dst)
	add(r.Mark != 0 || r.Mask != 0, "fwmark %s", masked(r.Mark, r.Mask))
	add(r.IifName != "", "iif %s", r.IifName)
	add(r.OifName != "", "oif %s", r.OifName)
	add(r.Other != "", "%s", r.Other)
	add(r.Action != "lookup" && r.Action != "goto", "%s", r.Action) // where to go is in Other
	add(r.Action == "lookup", "lookup %s", tableName(r.Table))
	return strings.Join(words, " ")
}
