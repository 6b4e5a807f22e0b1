package scenario

import (
	"slices"
	"strconv"
	"strings"

	"proxyproof/sim/netstate"
)

// stateCompanions are the fields that only go with some kinds of state.
var stateCompanions = map[string][]string{
	"scheduler": {"ipvs"}, "affinity": {"ipvs"}, "destinations": {"ipvs"}, "drained": {"ipvs"},
	"contains": {"ipset"}, "lacks": {"ipset"}, "equals": {"ipset"},
	"link": {"address", "route"}, "table": {"route", "rule"}, "chain": {"rule"}, "value": {"sysctl"},
}

// checkStates checks what is expected of the kernel's state.
func (c *checker) checkStates(step *Step, now *story) {
	if len(step.State) == 0 {
		c.report(c.at(&step.State), "add a check, or remove the step", "state is empty")
	}
	for i := range step.State {
		s := &step.State[i]
		if s.On != "" {
			c.findProxy(&s.On)
		}
		if kind := c.kindOfState(s); kind != "" {
			c.checkStateKind(kind, s, now)
		}
	}
}

// findProxy checks that a node exists and has the proxy.
func (c *checker) findProxy(name *string) {
	if n := c.findNode(name); n != nil && !n.Proxy {
		c.report(c.at(name), "add proxy: true to it, or choose "+strings.Join(c.named(c.hasProxy), " or "), "no proxy runs on node %s", *name)
	}
}

// kindOfState finds what a check is about; "" if it is not one thing.
func (c *checker) kindOfState(s *StateCheck) string {
	kinds := c.written(map[string]any{
		"ipvs": &s.IPVS, "ipset": &s.IPSet, "address": &s.Address, "route": &s.Route, "rule": &s.Rule, "sysctl": &s.Sysctl,
	})
	if len(kinds) != 1 {
		c.report(c.at(s), "write exactly one of ipvs, ipset, address, route, rule, sysctl", "the check is about %d things", len(kinds))
		return ""
	}
	for _, extra := range c.written(map[string]any{
		"scheduler": &s.Scheduler, "affinity": &s.Affinity, "destinations": &s.Destinations, "drained": &s.Drained,
		"contains": &s.Contains, "lacks": &s.Lacks, "equals": &s.Equals, "link": &s.Link, "table": &s.Table, "chain": &s.Chain, "value": &s.Value,
	}) {
		switch {
		case !slices.Contains(stateCompanions[extra], kinds[0]):
			c.report(c.at(s), "leave it out", "%s does not go with %s, but with %s", extra, kinds[0], strings.Join(stateCompanions[extra], " and "))
		case s.Absent && extra != "link" && extra != "table" && extra != "chain":
			c.report(c.at(s), "remove one of the two", "what is absent has no %s", extra)
		}
	}
	return kinds[0]
}

func (c *checker) checkStateKind(kind string, s *StateCheck, now *story) {
	switch kind {
	case "ipvs":
		c.checkAddressed(&s.IPVS, true, now)
		for _, list := range []Names{s.Destinations, s.Drained} {
			for i := range list {
				c.checkDestination(&list[i])
			}
		}
	case "ipset":
		c.checkStateSet(s, now)
	case "address":
		c.checkAddressed(&s.Address, false, now)
	case "route":
		c.checkAddressed(&s.Route, false, now)
		if _, err := strconv.ParseUint(s.Table, 10, 32); s.Table != "" && err != nil {
			c.report(c.at(&s.Table), "254 is main, 255 is local", "%q is no number of a table", s.Table)
		}
	case "rule":
		if s.Chain == "" {
			c.report(c.at(s), `such as chain: INPUT`, "the rule lacks its chain")
		}
		if m, err := netstate.ParseRule(netstate.Rule{Args: ruleWords(s.Rule)}); err != nil || len(m.Unknown) > 0 {
			c.report(c.at(&s.Rule), "write it as iptables-save does", "the rule is not understood: %v %s", err, strings.Join(m.Unknown, " "))
		}
	case "sysctl":
		if !netstate.KnowsSysctl(s.Sysctl) {
			c.report(c.at(&s.Sysctl), Suggest(s.Sysctl, netstate.SysctlNames(), "settings"), "the harness does not read the setting %s", s.Sysctl)
		}
		if s.Value == "" && !s.Absent {
			c.report(c.at(s), `such as value: "1"`, "the value is missing")
		}
	}
}

func (c *checker) checkStateSet(s *StateCheck, now *story) {
	if len(s.IPSet) > 25 || strings.ContainsAny(s.IPSet, " \t\"") {
		c.report(c.at(&s.IPSet), "", "%q is no name of an ipset: it has at most 25 characters and no space", s.IPSet)
	}
	for _, list := range []Names{s.Contains, s.Lacks, s.Equals} {
		for i := range list {
			c.checkAddressed(&list[i], s.IPSet == "svip-prt", now)
		}
	}
	if _, written := c.decoder.places[&s.Equals]; written && len(s.Contains)+len(s.Lacks) > 0 {
		c.report(c.at(&s.Equals), "equals alone says all", "equals goes with neither contains nor lacks")
	}
}

// ruleWords splits a rule as a shell would, as far as rules need it: at spaces outside of double quotes.
func ruleWords(rule string) []string {
	var words []string
	var word strings.Builder
	quoted, begun := false, false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range rule {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			end()
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	end()
	return words
}
