package worker

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/scenario"
	"proxyproof/sim/apiserver"
	"proxyproof/sim/world"
)

// apply writes a manifest to the API.
func (c *caseRun) apply(ctx context.Context, manifest string) error {
	full, err := c.filled(manifest)
	if err != nil {
		return err
	}
	changes, err := c.control.Apply(ctx, []byte(full))
	c.recordWrites(changes)
	return err
}

// delete removes objects, written "kind/name" or "kind/namespace/name".
func (c *caseRun) delete(ctx context.Context, refs []string) error {
	for _, ref := range refs {
		kind, name, _ := strings.Cut(ref, "/")
		namespace := "default"
		if before, after, found := strings.Cut(name, "/"); found {
			namespace, name = before, after
		}
		change, err := c.control.Delete(ctx, kind, namespace, name)
		if err != nil {
			return err
		}
		c.recordWrites([]apiserver.Change{change})
	}
	return nil
}

func (c *caseRun) recordWrites(changes []apiserver.Change) {
	for _, change := range changes {
		c.record.add(event.Event{Write: &event.Write{Verb: change.Verb, Object: change.Object, Detail: change.Detail}})
	}
}

// baseline proves that the world is as it should be before the subject comes: what is broken without it is our own trouble.
// It prepares the subjects and begins the holds.
func (c *caseRun) baseline(ctx context.Context) error {
	for _, n := range c.job.Scenario.World.Nodes {
		if !n.Proxy {
			continue
		}
		node, _ := c.world.Node(n.Name)
		p, err := c.newProxy(ctx, node)
		if err != nil {
			return err
		}
		if p.before, err = node.State(ctx); err != nil {
			return err
		}
		p.last = p.before
		c.proxies = append(c.proxies, p)
	}
	if err := c.acquaint(ctx); err != nil {
		return err
	}
	findings, err := c.probeAll(ctx, nil)
	if err != nil {
		return err
	}
	if len(findings) > 0 {
		return fmt.Errorf("the world is broken before the subject starts: %s", findings[0].Finding)
	}
	return c.startHolds(ctx, false)
}

// kubeconfig is the subject's way to the API.
func (c *caseRun) kubeconfig(node world.Node, path scenario.APIPath) ([]byte, error) {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), controlPort)
	if path == scenario.APINodeAddress {
		to = netip.AddrPortFrom(c.apiNode.Addrs(c.job.Family.Families()[0])[0], apiserverPort)
	}
	return c.api.Kubeconfig("https://" + to.String()), nil
}

// places are all that can probe.
func (c *caseRun) places() []world.Place {
	places := append(c.world.Clients(), c.world.Pods()...)
	for _, n := range c.world.Nodes() {
		places = append(places, n)
	}
	return places
}

// entry is the node through which clients enter if nothing else is said: the first with a subject.
func (c *caseRun) entry() string {
	for _, n := range c.job.Scenario.World.Nodes {
		if n.Proxy {
			return n.Name
		}
	}
	return ""
}
