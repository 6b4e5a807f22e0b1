package worker

import (
	"context"
	"fmt"
	"net/netip"

	"proxyproof/harness/event"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/foreign"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// injection is a foreign thing of the scenario, as it is in the kernel.
type injection struct {
	name   string
	node   world.Node
	things []foreign.Thing
	gain   *netstate.State
}

// inject puts the foreign things of a step where they belong.
func (c *caseRun) inject(ctx context.Context, all []scenario.Foreign) error {
	for _, f := range all {
		node, ok := c.world.Node(firstNonEmpty(f.On, c.entry()))
		if !ok {
			return fmt.Errorf("foreign %s: no node is called %s", f.Name, f.On)
		}
		things, err := c.things(f)
		if err != nil {
			return fmt.Errorf("foreign %s: %w", f.Name, err)
		}
		gain, err := foreign.Put(ctx, node, things...)
		if err != nil {
			return err
		}
		c.foreign = append(c.foreign, injection{f.Name, node, things, gain})
		for _, t := range things {
			c.record.add(event.Event{Write: &event.Write{Verb: "foreign", Object: node.Name(), Detail: t.String()}})
		}
	}
	return nil
}

// withdraw takes foreign things away again.
func (c *caseRun) withdraw(ctx context.Context, names []string) error {
	for _, name := range names {
		var left []injection
		for _, i := range c.foreign {
			if i.name != name {
				left = append(left, i)
				continue
			}
			if err := foreign.Take(ctx, i.node, i.things...); err != nil {
				return err
			}
			c.record.add(event.Event{Write: &event.Write{Verb: "withdraw", Object: i.node.Name(), Detail: name}})
		}
		c.foreign = left
	}
	return nil
}

// injected are the foreign things on a node, for the invariants; and what was there before the subject, with them.
func (c *caseRun) injected(node world.Node, before *netstate.State) ([]invariant.Injected, *netstate.State) {
	var list []invariant.Injected
	for _, i := range c.foreign {
		if i.node == node {
			list = append(list, invariant.Injected{Name: i.name, State: i.gain})
			before = netstate.Union(before, i.gain)
		}
	}
	return list, before
}

// things are what a foreign entry of the scenario means in this cluster.
func (c *caseRun) things(f scenario.Foreign) ([]foreign.Thing, error) {
	switch {
	case f.IPVS != "":
		return c.virtualServices(f)
	case f.Mark != 0:
		return c.perFamily(func(family world.Family) (foreign.Thing, error) {
			dests, err := c.destinations(f.To, family)
			return foreign.Service{Family: family, Mark: uint32(f.Mark), Dests: dests}, err
		})
	case f.IPSet != "":
		return c.perFamily(func(family world.Family) (foreign.Thing, error) {
			members, err := c.addressesOf(f.Members, family)
			return foreign.Set{Family: family, Name: setName(f.IPSet, family), Members: members}, err
		})
	case f.Address != "":
		link := firstNonEmpty(f.Link, "foreign0")
		return c.perAddress(f.Address, func(a netip.Addr) foreign.Thing { return foreign.Address{Link: link, Address: a} })
	case f.Route != "":
		return c.perAddress(f.Route, func(a netip.Addr) foreign.Thing { return foreign.Route{To: a} })
	}
	return c.perFamily(func(family world.Family) (foreign.Thing, error) {
		return foreign.Rule{
			Family: family, Table: firstNonEmpty(f.Table, "filter"), Chain: firstNonEmpty(f.Chain, "INPUT"), First: f.First, Text: f.Rule,
		}, nil
	})
}

func setName(name string, f world.Family) string {
	if f == world.IPv6 {
		return "inet6:" + name
	}
	return name
}

func (c *caseRun) perFamily(make func(world.Family) (foreign.Thing, error)) ([]foreign.Thing, error) {
	var things []foreign.Thing
	for _, family := range c.job.Family.Families() {
		t, err := make(family)
		if err != nil {
			return nil, err
		}
		things = append(things, t)
	}
	return things, nil
}

func (c *caseRun) perAddress(written string, make func(netip.Addr) foreign.Thing) ([]foreign.Thing, error) {
	targets, err := c.present(written)
	var things []foreign.Thing
	for _, t := range targets {
		things = append(things, make(t.address))
	}
	return things, err
}

func (c *caseRun) virtualServices(f scenario.Foreign) ([]foreign.Thing, error) {
	targets, err := c.present(f.IPVS)
	if err != nil {
		return nil, err
	}
	var things []foreign.Thing
	for _, t := range targets {
		dests, err := c.destinations(f.To, t.family())
		if err != nil {
			return nil, err
		}
		things = append(things, foreign.Service{
			Family: t.family(), Protocol: t.protocol, Address: netip.AddrPortFrom(t.address, t.port), Dests: dests,
		})
	}
	return things, nil
}

// present are the addresses that a target has now; there has to be one.
func (c *caseRun) present(written string) ([]target, error) {
	targets, err := c.resolve(written, "", false)
	if err == nil && len(targets) == 0 {
		err = fmt.Errorf("%s has no address at this step", written)
	}
	return targets, err
}

// addressesOf are the addresses of targets in a family.
func (c *caseRun) addressesOf(written []string, family world.Family) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, w := range written {
		targets, err := c.present(w)
		if err != nil {
			return nil, err
		}
		for _, t := range targets {
			if t.family() == family {
				all = append(all, t.address)
			}
		}
	}
	return all, nil
}

// destinations are the ports of pods in a family.
func (c *caseRun) destinations(written []string, family world.Family) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, w := range written {
		targets, err := c.present(w)
		if err != nil {
			return nil, err
		}
		for _, t := range targets {
			if t.family() == family {
				all = append(all, netip.AddrPortFrom(t.address, t.port))
			}
		}
	}
	return all, nil
}
