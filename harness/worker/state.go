package worker

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

const stateMismatch finding.ID = "state-mismatch"

// judgeStates compares the kernel's state with what a step says of it.
func (c *caseRun) judgeStates(checks []scenario.StateCheck, views []invariant.View) ([]finding.Finding, error) {
	var findings []finding.Finding
	for _, check := range checks {
		i := slices.IndexFunc(views, func(v invariant.View) bool { return v.Node.Name == firstNonEmpty(check.On, c.entry()) })
		if i < 0 {
			return nil, fmt.Errorf("look for %s: the subject was never started on node %s", check, firstNonEmpty(check.On, c.entry()))
		}
		wrong, err := c.judgeState(check, views[i].Now)
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", check, err)
		}
		if len(wrong) > 0 {
			findings = append(findings, finding.Finding{
				ID: stateMismatch, Node: views[i].Node.Name, Object: check.String(),
				Sentence: fmt.Sprintf("the state of node %s is not as the scenario says: %s", views[i].Node.Name, check), Evidence: wrong,
			})
		}
	}
	return findings, nil
}

// judgeState tells what of a check does not hold.
func (c *caseRun) judgeState(check scenario.StateCheck, now *netstate.State) ([]string, error) {
	switch {
	case check.IPSet != "":
		return c.judgeSet(check, now)
	case check.Rule != "":
		return c.judgeRule(check, now)
	case check.Sysctl != "":
		value, exists := now.Sysctls[check.Sysctl]
		if exists == check.Absent || !check.Absent && value != check.Value {
			return []string{fmt.Sprintf("%s is %q", check.Sysctl, value)}, nil
		}
		return nil, nil
	}
	targets, err := c.present(firstNonEmpty(check.IPVS, check.Address, check.Route))
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, t := range targets {
		exists, faults, err := c.judgeAt(check, now, t)
		switch {
		case err != nil:
			return nil, err
		case exists && check.Absent:
			wrong = append(wrong, fmt.Sprintf("%s is there", t))
		case !exists && !check.Absent:
			wrong = append(wrong, fmt.Sprintf("%s is not there", t))
		default:
			wrong = append(wrong, faults...)
		}
	}
	return wrong, nil
}

// judgeAt looks at one address: whether something is there, and what is wrong with it.
func (c *caseRun) judgeAt(check scenario.StateCheck, now *netstate.State, t target) (exists bool, wrong []string, err error) {
	switch {
	case check.IPVS != "":
		service, exists := now.IPVSFor(string(t.protocol), netip.AddrPortFrom(t.address, t.port))
		if !exists {
			return false, nil, nil
		}
		wrong, err := c.judgeVirtual(check, service, t)
		return true, wrong, err
	case check.Address != "":
		return now.HasAddr(firstNonEmpty(check.Link, vipLink), t.address), nil, nil
	}
	return slices.ContainsFunc(now.Routes, func(r netstate.Route) bool {
		return r.Dst == netip.PrefixFrom(t.address, t.address.BitLen()) && (check.Table == "" || check.Table == strconv.Itoa(r.Table)) &&
			(check.Link == "" || check.Link == r.Link)
	}), nil, nil
}

func (c *caseRun) judgeVirtual(check scenario.StateCheck, s netstate.IPVSService, t target) (wrong []string, err error) {
	if check.Scheduler != "" && s.Scheduler != check.Scheduler {
		wrong = append(wrong, fmt.Sprintf("%s has scheduler %s, not %s", t, s.Scheduler, check.Scheduler))
	}
	affinity := time.Duration(0)
	if s.Persistent {
		affinity = time.Duration(s.Timeout) * time.Second
	}
	if check.Affinity != nil && affinity != time.Duration(*check.Affinity) {
		wrong = append(wrong, fmt.Sprintf("%s has an affinity of %v, not %v", t, affinity, *check.Affinity))
	}
	for _, part := range []struct {
		what    string
		want    scenario.Names
		drained bool
	}{{"destinations", check.Destinations, false}, {"drained destinations", check.Drained, true}} {
		if part.want == nil {
			continue
		}
		want, err := c.destinations(part.want, t.family())
		if err != nil {
			return nil, err
		}
		var have []netip.AddrPort
		for _, d := range s.Dests {
			if d.Weight == 0 == part.drained {
				have = append(have, netip.AddrPortFrom(d.Address, d.Port))
			}
		}
		slices.SortFunc(want, netip.AddrPort.Compare)
		slices.SortFunc(have, netip.AddrPort.Compare)
		if !slices.Equal(want, have) {
			wrong = append(wrong, fmt.Sprintf("the %s of %s are %v, not %v", part.what, t, have, want))
		}
	}
	return wrong, nil
}

// familySet is the name of a set in a family: the proxy's sets have short names in scenarios.
func familySet(name string, f world.Family) string {
	switch name {
	case "local-ips", "svip", "svip-prt":
		name = "kube-router-" + name
	}
	return setName(name, f)
}

func (c *caseRun) judgeSet(check scenario.StateCheck, now *netstate.State) (wrong []string, err error) {
	for _, f := range c.job.Family.Families() {
		name := familySet(check.IPSet, f)
		set, exists := now.SetByName(name)
		if exists == check.Absent {
			wrong = append(wrong, fmt.Sprintf("set %s: is there: %t", name, exists))
		}
		if !exists {
			continue
		}
		faults, err := c.judgeMembers(check, set, f)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, faults...)
	}
	return wrong, nil
}

func (c *caseRun) judgeMembers(check scenario.StateCheck, set netstate.Set, f world.Family) (wrong []string, err error) {
	ports := check.IPSet == "svip-prt"
	contains, err := c.membersOf(check.Contains, f, ports)
	if err != nil {
		return nil, err
	}
	lacks, err := c.membersOf(check.Lacks, f, ports)
	if err != nil {
		return nil, err
	}
	equals, err := c.membersOf(check.Equals, f, ports)
	if err != nil {
		return nil, err
	}
	for _, m := range contains {
		if !slices.Contains(set.Members, m) {
			wrong = append(wrong, fmt.Sprintf("%s lacks %s", set.Name, m))
		}
	}
	for _, m := range lacks {
		if slices.Contains(set.Members, m) {
			wrong = append(wrong, fmt.Sprintf("%s contains %s", set.Name, m))
		}
	}
	if check.Equals != nil && !slices.Equal(slices.Compact(slices.Sorted(slices.Values(equals))), slices.Sorted(slices.Values(set.Members))) {
		wrong = append(wrong, fmt.Sprintf("%s has %v, not %v", set.Name, set.Members, equals))
	}
	return wrong, nil
}

// membersOf are targets in the form of members of a set.
func (c *caseRun) membersOf(written []string, f world.Family, ports bool) ([]string, error) {
	var members []string
	for _, w := range written {
		targets, err := c.present(w)
		if err != nil {
			return nil, err
		}
		for _, t := range targets {
			if t.family() == f {
				members = append(members, memberOf(t, ports))
			}
		}
	}
	return members, nil
}

func memberOf(t target, port bool) string {
	if port {
		return fmt.Sprintf("%s,%s:%d", t.address, strings.ToLower(string(t.protocol)), t.port)
	}
	return t.address.String()
}

// judgeRule looks for a rule that means the same, in each family.
func (c *caseRun) judgeRule(check scenario.StateCheck, now *netstate.State) (wrong []string, err error) {
	for _, f := range c.job.Family.Families() {
		args := check.Says(func(name string) string { return familySet(name, f) })
		want, err := netstate.ParseRule(netstate.Rule{Args: args})
		if err != nil {
			return nil, err
		}
		table := firstNonEmpty(check.Table, "filter")
		chain, _ := now.Chain(f == world.IPv6, table, check.Chain)
		exists := slices.ContainsFunc(chain.Rules, func(r netstate.Rule) bool { return means(r, want) })
		if exists == check.Absent {
			wrong = append(wrong, fmt.Sprintf("%s: chain %s of table %s has %d rules; this is one of them: %t", f, check.Chain, table, len(chain.Rules), exists))
		}
	}
	return wrong, nil
}

// means tells whether a rule has a meaning. Comments mean nothing, and how REJECT answers only counts if it was asked for.
func means(r netstate.Rule, want netstate.Meaning) bool {
	have, err := netstate.ParseRule(r)
	if err != nil || len(have.Unknown) > 0 {
		return false
	}
	have.Comments, want.Comments = nil, nil
	if want.Action.RejectWith == "" {
		have.Action.RejectWith = ""
	}
	return reflect.DeepEqual(have, want)
}
