package worker

import (
	"context"
	"fmt"
	"net/netip"

	"proxyproof/harness/event"
	"proxyproof/harness/scenario"
	"proxyproof/sim/foreign"
	"proxyproof/sim/world"
)

// vipLink carries the addresses of Services.
const vipLink = "kube-dummy-if"

// disturb takes things away from the proxy behind its back. What a proxy with a fault has not made cannot be taken away: it was found
// missing before, and the case goes on.
func (c *caseRun) disturb(ctx context.Context, all []scenario.Disturb) error {
	for _, d := range all {
		node, ok := c.world.Node(firstNonEmpty(d.On, c.entry()))
		if !ok {
			return fmt.Errorf("disturb: no node is called %s", d.On)
		}
		detail := d.String()
		if err := c.disturbance(ctx, node, d); err != nil {
			if ctx.Err() != nil || !c.record.failed() {
				return fmt.Errorf("disturb %s: %w", d, err)
			}
			detail += ", which cannot be done: " + err.Error()
		}
		c.record.add(event.Event{Write: &event.Write{Verb: "disturb", Object: node.Name(), Detail: detail}})
	}
	return nil
}

func (c *caseRun) disturbance(ctx context.Context, node world.Node, d scenario.Disturb) error {
	switch {
	case d.IPVS != "":
		return c.eachOf(d.IPVS, func(t target) error {
			return foreign.Take(ctx, node, foreign.Service{Family: t.family(), Protocol: t.protocol, Address: netip.AddrPortFrom(t.address, t.port)})
		})
	case d.Address != "":
		return c.eachOf(d.Address, func(t target) error {
			return foreign.Take(ctx, node, foreign.Address{Link: vipLink, Address: t.address})
		})
	case d.IPSet != "":
		for _, member := range d.Members {
			if err := c.eachOf(member, func(t target) error { return removeMember(ctx, node, d.IPSet, t) }); err != nil {
				return err
			}
		}
		return nil
	case d.Chain != "":
		tools := map[world.Family]string{world.IPv4: "iptables", world.IPv6: "ip6tables"}
		for _, f := range c.job.Family.Families() {
			tool := tools[f]
			if _, err := node.Run(ctx, tool, "-w", "10", "-F", d.Chain); err != nil {
				return err
			}
		}
		return nil
	}
	for _, place := range c.places() {
		if err := foreign.FlushNeighbours(ctx, place); err != nil {
			return err
		}
	}
	return nil
}

func removeMember(ctx context.Context, node world.Node, set string, t target) error {
	_, err := node.Run(ctx, "ipset", "del", familySet(set, t.family()), memberOf(t, set == "svip-prt"))
	return err
}

// eachOf does something for all addresses that a target has now.
func (c *caseRun) eachOf(written string, do func(target) error) error {
	targets, err := c.present(written)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := do(t); err != nil {
			return err
		}
	}
	return nil
}
