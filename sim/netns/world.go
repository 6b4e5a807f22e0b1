// Package netns is a world in network and mount namespaces of this machine's kernel. It needs root.
//
// A switch, which is a bridge in a namespace of its own, connects nodes and clients; each pod is behind a link of its node.
// Only file descriptors and threads of this process hold the namespaces, so that the kernel removes them when the process
// ends, however it does.
//
//	client eth0 ──┐
//	              ├─ switch ─┬─ eth0 node cp ── pod-web-1 ── eth0 pod web-1
//	client eth0 ──┘          └─ eth0 node worker
//
// The switch is also the router of the nodes' default routes, see router.go.
//
// Nobody can ask for the hardware address of a service's address, since nodes do not answer (arp_ignore=1). Therefore clients
// have routes through nodes: a client has one address per node, and a policy rule sends what comes from that address to that
// node. All other nodes have a route to that address through the node, so that answers of backends that are not on the entry
// node pass through it, without which there would be no answer: a proxy need not rewrite the source.
//
// The nodes' ends of pod links have no addresses, and permanent neighbours instead: a node's addresses are those of eth0 and
// lo. On the switch, address resolution and neighbour discovery are real.
package netns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"proxyproof/sim/netns/server"
	"proxyproof/sim/world"
)

// World implements world.World.
type World struct {
	spec    world.Spec
	layout  *layout
	group   *cgroup // nil where there are none
	bridge  *space
	nodes   []*node
	pods    []*place
	clients []*place
	servers []*server.Server
	phases  []Phase
	ports   sourcePorts

	closing sync.Once
	closed  error
}

// Phase is a part of making a world.
type Phase struct {
	Name string
	Took time.Duration
}

// serial tells the worlds of this process apart.
var serial atomic.Uint64

// New makes a world. The context bounds the making, not the world's life, which ends with Close.
func New(ctx context.Context, spec world.Spec) (*World, error) {
	l, err := plan(spec)
	if err != nil {
		return nil, err
	}
	w := &World{spec: spec, layout: l, group: newCgroup(serial.Add(1))}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"namespaces", w.makeSpaces},
		{"links", w.makeLinks},
		{"servers", w.startServers},
		{"addresses usable", w.await},
	}
	for _, step := range steps {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("make a world: %s: %w", step.name, err), w.Close())
		}
		w.phases = append(w.phases, Phase{step.name, time.Since(start)})
	}
	return w, nil
}

// Phases tells how long the parts of New took.
func (w *World) Phases() []Phase { return w.phases }

// Spec is what the world was made from.
func (w *World) Spec() world.Spec { return w.spec }

// Ranges are the default ones.
func (w *World) Ranges() world.Ranges { return world.DefaultRanges() }

// Place finds a node, pod or client.
func (w *World) Place(name string) (world.Place, bool) {
	if n, ok := w.Node(name); ok {
		return n, true
	}
	for _, places := range [][]*place{w.pods, w.clients} {
		for _, p := range places {
			if p.name == name {
				return p, true
			}
		}
	}
	return nil, false
}

// Node finds a node.
func (w *World) Node(name string) (world.Node, bool) {
	for _, n := range w.nodes {
		if n.name == name {
			return n, true
		}
	}
	return nil, false
}

// Nodes are in the order of the Spec.
func (w *World) Nodes() []world.Node {
	nodes := make([]world.Node, len(w.nodes))
	for i, n := range w.nodes {
		nodes[i] = n
	}
	return nodes
}

// Pods are in the order of the Spec.
func (w *World) Pods() []world.Place { return asPlaces(w.pods) }

// Clients are in the order of the Spec.
func (w *World) Clients() []world.Place { return asPlaces(w.clients) }

func asPlaces(places []*place) []world.Place {
	all := make([]world.Place, len(places))
	for i, p := range places {
		all[i] = p
	}
	return all
}

// startServers makes every pod answer on the ports that it listens on, and every node on the one that all have.
func (w *World) startServers(ctx context.Context) error {
	for _, n := range w.nodes {
		for _, protocol := range []world.Protocol{world.TCP, world.UDP} {
			port := world.Port{Number: world.NodePort, Protocol: protocol}
			s, err := server.Start(ctx, n, n.Name(), port, w.spec.Families)
			if err != nil {
				return err
			}
			w.servers = append(w.servers, s)
		}
	}
	for i, pod := range w.layout.pods {
		for _, port := range pod.listen {
			s, err := server.Start(ctx, w.pods[i], pod.name, port, w.spec.Families)
			if err != nil {
				return err
			}
			w.servers = append(w.servers, s)
		}
	}
	return nil
}
