package worker

import (
	"context"
	"fmt"
	"net/netip"

	"proxyproof/harness/finding"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

const nodeReachChanged finding.ID = "node-reach-changed"

// closedPort is one that nobody listens on, on any node: the discard port.
const closedPort uint16 = 9

// own is something that a node's own address does for whoever asks, whatever Services there are.
type own struct {
	what string
	port uint16
	ask  func(context.Context, probe.Aim) probe.Result
	// does tells whether the result is as it was before the subject came.
	does func(probe.Result) bool
}

// owns are all of them. A closed UDP port answers with the same ICMP error as the rule that rejects: there, only silence tells.
var owns = []own{
	{"its TCP server", world.NodePort, probe.Connect, answered},
	{"its UDP server", world.NodePort, probe.UDP, answered},
	{"a closed TCP port", closedPort, probe.Connect, func(r probe.Result) bool { return r.Outcome == probe.Refused }},
	{"a closed UDP port", closedPort, probe.UDP, func(r probe.Result) bool { return r.Outcome == probe.Rejected }},
	{"echo", 0, probe.Ping, answered},
}

// ownJobs ask the nodes with a subject for these, at each of their addresses, from a client.
func (c *caseRun) ownJobs() []job {
	clients := c.world.Clients()
	if len(clients) == 0 {
		return nil
	}
	var jobs []job
	for _, p := range c.proxies {
		for _, a := range allAddrs(p.node, c.job.Family) {
			for _, o := range owns {
				jobs = append(jobs, c.ownJob(clients[0], p.node, a, o))
			}
		}
	}
	return jobs
}

func (c *caseRun) ownJob(from world.Place, node world.Node, address netip.Addr, o own) job {
	return func(ctx context.Context) ([]probed, error) {
		result := o.ask(ctx, c.aim(from, node.Name(), netip.AddrPortFrom(address, o.port)))
		if ok, err := c.recordProbe(ctx, o.what+" of "+node.Name(), result, o.does(result)); ok || err != nil {
			return nil, err
		}
		return []probed{{attempt: c.attempted(from, node.Name(), result), Finding: finding.Finding{
			ID: nodeReachChanged, Node: node.Name(), Family: world.FamilyOf(address).String(), Object: address.String(),
			Sentence: fmt.Sprintf("node %s itself is not reached at %s as it was before the subject came", node.Name(), address),
			Evidence: []string{fmt.Sprintf("%s, from %s: %s", o.what, from.Name(), result)},
		}}}, nil
	}
}
