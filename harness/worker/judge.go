package worker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/netstate"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// judge looks at everything once: the invariants on every node with a proxy, the API server's reachability, and what the
// scenario expects.
func (c *caseRun) judge(ctx context.Context, step scenario.Step) ([]finding.Finding, error) {
	views, err := c.views(ctx)
	if err != nil {
		return nil, err
	}
	var findings []finding.Finding
	for _, v := range views {
		findings = append(findings, c.judgeView(v)...)
	}
	findings = append(findings, c.notBack()...)
	states, err := c.judgeStates(step.State, views)
	if err != nil {
		return nil, err
	}
	findings = append(findings, states...)
	probed, err := c.probeAll(ctx, step.Expect)
	if err != nil {
		return nil, err
	}
	return append(findings, explain(probed, views)...), nil
}

// judgeView applies the invariants that the scenario does not exempt.
func (c *caseRun) judgeView(v invariant.View) []finding.Finding {
	var findings []finding.Finding
	for _, check := range invariant.All() {
		if _, exempt := c.job.Scenario.Exempt[check.Name]; !exempt {
			findings = append(findings, check.Judge(v)...)
		}
	}
	return findings
}

// views are the nodes whose subject was started at least once.
func (c *caseRun) views(ctx context.Context) ([]invariant.View, error) {
	objects := c.known()
	var views []invariant.View
	for _, p := range c.proxies {
		if p.process == nil {
			continue
		}
		state, err := p.node.State(ctx)
		if err != nil {
			return nil, err
		}
		written, err := p.node.Written()
		if err != nil {
			return nil, err
		}
		p.judged = state
		injected, before := c.injected(p.node, p.before)
		view := invariant.View{
			Node: nodeFacts(p.node, c.job.Family), Families: c.job.Family.Families(), Ranges: c.job.Scenario.Subject.Options.Ranges(c.world.Ranges()),
			Objects: objects, Options: c.job.Scenario.Subject.Options, Keeps: c.profile.Keeps(),
			Before: before, Now: state, Injected: injected,
			Subject: invariant.Subject{
				Name: c.info.Title(), Expected: p.wanted, Alive: p.alive(), Exit: exitOf(p), Errors: p.logged(), Missed: c.missed(p), Written: written,
			},
		}
		p.drains = view.Drains()
		views = append(views, view)
	}
	return views, nil
}

func exitOf(p *proxy) int {
	if p.alive() {
		return 0
	}
	return p.process.Exit()
}

// nodeFacts is what the Node object says.
func nodeFacts(n world.Node, set scenario.FamilySet) invariant.Node {
	facts := invariant.Node{Name: n.Name(), Addresses: map[world.Family][]netip.Addr{}, PodCIDR: map[world.Family]netip.Prefix{}}
	for _, f := range set.Families() {
		facts.Addresses[f] = n.Addrs(f)
		facts.PodCIDR[f] = n.PodCIDR(f)
	}
	return facts
}

// probeAll runs the standing probes and the scenario's expectations side by side: a refusal over IPv6 takes a second to be
// reported, and there is no need to wait for them one after the other.
func (c *caseRun) probeAll(ctx context.Context, expect []scenario.Expect) ([]probed, error) {
	jobs := c.guardJobs()
	for _, e := range expect {
		more, err := c.expectJobs(e)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, more...)
	}
	results := make([][]probed, len(jobs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probesAtATime)
	for i, job := range jobs {
		group.Go(func() (err error) {
			results[i], err = job(ctx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []probed
	for _, r := range results {
		all = append(all, r...)
	}
	return all, nil
}

const probesAtATime = 16

// explain attaches to what packets suffered what the kernels of the nodes on their way say about it, and merges findings with the same
// key: one address that several places cannot reach is one finding. What the places saw comes first.
func explain(all []probed, views []invariant.View) []finding.Finding {
	var merged []finding.Finding
	var why [][]string
	index := map[string]int{}
	for _, p := range all {
		i, known := index[p.Key()]
		if !known {
			i = len(merged)
			index[p.Key()] = i
			merged, why = append(merged, finding.Finding{}), append(why, nil)
			merged[i] = p.Finding
		} else {
			merged[i].Evidence = append(merged[i].Evidence, p.Evidence...)
		}
		if p.attempt == nil {
			continue
		}
		for _, line := range invariant.Explain(*p.attempt, views) {
			if !slices.Contains(why[i], line) { // places that fail for the same reason have it in common
				why[i] = append(why[i], line)
			}
		}
	}
	for i := range merged {
		merged[i].Evidence = append(merged[i].Evidence, why[i]...)
	}
	return merged
}

// attempted is what the explanation has to know of a probe that failed.
func (c *caseRun) attempted(from world.Place, via string, r probe.Result) *invariant.Attempt {
	a := &invariant.Attempt{
		From: from.Name(), Entry: from.NodeName(), FromNode: from.Kind() == world.KindNode,
		To: r.To.Addr(), Port: r.To.Port(), Protocol: r.Protocol, Local: r.Local.Addr(), Connected: r.Connected,
	}
	switch r.Protocol {
	case "connect", "http", "https":
		a.Protocol = "tcp"
	case "ping":
		a.Protocol = "icmp"
	}
	if from.Kind() == world.KindClient {
		a.Entry = via
	}
	if r.ICMP != nil {
		a.Offender = r.ICMP.From
	}
	for _, place := range c.places() {
		if slices.Contains(place.Addrs(world.FamilyOf(a.To)), a.To) {
			a.Home, a.HomeNode = place.Name(), place.NodeName()
		}
	}
	return a
}

// look is what the settler watches.
func (c *caseRun) look(ctx context.Context) (moment, error) {
	var m moment
	var err error
	if m.pending, err = c.api.Outstanding(); err != nil {
		return m, err
	}
	if c.faults.now.Deafens() {
		return m, nil // it tries to reach the API server again and again, which is work, but not on what is judged
	}
	m.busy = c.missing() > 0
	for _, p := range c.proxies {
		if p.process == nil {
			continue
		}
		activity, err := p.process.Activity()
		if err != nil {
			return m, fmt.Errorf("watch the subject on %s: %w", p.node.Name(), err)
		}
		m.cpu += activity.CPU
		m.busy = m.busy || activity.Busy
	}
	return m, nil
}

// print is the fingerprint of all nodes with a proxy.
func (c *caseRun) print(ctx context.Context) (string, error) {
	var prints []string
	for _, p := range c.proxies {
		fingerprint, err := p.node.Fingerprint(ctx)
		if err != nil {
			return "", err
		}
		prints = append(prints, string(fingerprint))
	}
	return strings.Join(prints, " "), nil
}

// recordKernel records what changed on each node from what was last recorded to what was judged now.
func (c *caseRun) recordKernel(ctx context.Context) (err error) {
	for _, p := range c.proxies {
		state := p.judged
		if p.judged = nil; state == nil {
			if state, err = p.node.State(ctx); err != nil {
				return err
			}
		}
		var changes []string
		for _, change := range netstate.Diff(p.last, state) {
			changes = append(changes, change.String())
		}
		p.last = state
		if len(changes) > 0 {
			c.record.add(event.Event{Time: time.Now(), Kernel: &event.Kernel{Node: p.node.Name(), Changes: changes}})
		}
	}
	return nil
}
