package worker

import (
	"context"
	"fmt"
	"net/netip"

	"proxyproof/harness/finding"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// Ids of findings of the standing guard.
const (
	apiserverRefused          finding.ID = "apiserver-refused"
	apiserverNoAnswer         finding.ID = "apiserver-no-answer"
	apiserverWrongCertificate finding.ID = "apiserver-wrong-certificate"
	apiserverError            finding.ID = "apiserver-error"
	apiserverPingLost         finding.ID = "apiserver-ping-lost"
	nodeSelfUnreachable       finding.ID = "node-self-unreachable"
)

// guardJobs are the probes that every scenario has without asking: on every address of its node the API server answers HTTPS and the
// node answers pings, from everywhere, and each node with a subject answers its own pings.
func (c *caseRun) guardJobs() []job {
	var jobs []job
	for _, a := range allAddrs(c.apiNode, c.job.Family) {
		for _, from := range c.places() {
			if !c.faults.now.Cuts() { // what the scenario cuts is no fault of the subject's; no fault of the API server cuts its node
				jobs = append(jobs, c.guardJob(from, a))
			}
			if from.Name() != c.apiNode.Name() || !c.hasProxy(from) { // else selfJob does the same
				jobs = append(jobs, c.guardPing(from, a))
			}
		}
	}
	for _, p := range c.proxies {
		for _, a := range allAddrs(p.node, c.job.Family) {
			jobs = append(jobs, c.selfJob(p.node, a))
		}
	}
	return append(jobs, c.ownJobs()...)
}

func (c *caseRun) hasProxy(place world.Place) bool {
	for _, p := range c.proxies {
		if p.node.Name() == place.Name() {
			return true
		}
	}
	return false
}

// guardJob asks the API server over HTTPS whether it is ready.
func (c *caseRun) guardJob(from world.Place, address netip.Addr) job {
	via := c.apiNode.Name()
	return func(ctx context.Context) ([]probed, error) {
		result := probe.HTTPS(ctx, c.aim(from, via, netip.AddrPortFrom(address, apiserverPort)), c.readyz(address))
		if ok, err := c.recordProbe(ctx, fmt.Sprintf("apiserver(%s)", via), result, answered(result)); ok || err != nil {
			return nil, err
		}
		return []probed{c.apiserverFinding(from, via, result)}, nil
	}
}

// acquaint makes a TLS session with the API server on each of its addresses, one after the other, which all probes then resume: as many
// handshakes at once as there are probes would be the most expensive moment of a case.
func (c *caseRun) acquaint(ctx context.Context) error {
	for _, a := range allAddrs(c.apiNode, c.job.Family) {
		aim := c.aim(c.apiNode, "", netip.AddrPortFrom(a, apiserverPort))
		if err := probe.HTTPS(ctx, aim, c.readyz(a)).Err(); err != nil {
			return fmt.Errorf("the world is broken before the subject starts: %w", err)
		}
	}
	return nil
}

// guardPing pings the API server's node.
func (c *caseRun) guardPing(from world.Place, address netip.Addr) job {
	via := c.apiNode.Name()
	return func(ctx context.Context) ([]probed, error) {
		result := probe.Ping(ctx, c.aim(from, via, netip.AddrPortFrom(address, 0)))
		if ok, err := c.recordProbe(ctx, fmt.Sprintf("node(%s)", via), result, answered(result)); ok || err != nil {
			return nil, err
		}
		return []probed{c.guardFinding(apiserverPingLost, from, via, result,
			fmt.Sprintf("the API server's node does not answer pings on its own address %s", address))}, nil
	}
}

// apiserverFinding is about what became of a request to the API server on an address of its node.
func (c *caseRun) apiserverFinding(from world.Place, via string, result probe.Result) probed {
	id, format := apiserverFault(result)
	return c.guardFinding(id, from, via, result, fmt.Sprintf(format, result.To))
}

// apiserverFault tells by how far a request came what is wrong, and the sentence that says it of an address.
func apiserverFault(r probe.Result) (id finding.ID, format string) {
	switch {
	case r.Outcome == probe.WrongCertificate:
		return apiserverWrongCertificate, "what answers on the API server's own address %s has another certificate than the cluster's"
	case r.Status != 0:
		return apiserverError, "the API server on the node's own address %s answers with an error"
	case r.Connected:
		return apiserverNoAnswer, "the node's own address %s takes connections, but no API server answers on them"
	}
	return apiserverRefused, "the API server on the node's own address %s refuses"
}

// guardFinding is about the API server's node on one address; the places that suffer are its evidence.
func (c *caseRun) guardFinding(id finding.ID, from world.Place, via string, result probe.Result, sentence string) probed {
	address := result.To.Addr()
	return probed{attempt: c.attempted(from, via, result), Finding: finding.Finding{
		ID: id, Node: c.apiNode.Name(), Family: world.FamilyOf(address).String(), Object: address.String(),
		Sentence: sentence, Evidence: []string{fmt.Sprintf("from %s: %s", from.Name(), result)},
	}}
}

// selfJob pings a node's address from the node itself.
func (c *caseRun) selfJob(node world.Node, address netip.Addr) job {
	return func(ctx context.Context) ([]probed, error) {
		result := probe.Ping(ctx, c.aim(node, "", netip.AddrPortFrom(address, 0)))
		if ok, err := c.recordProbe(ctx, "its own address", result, answered(result)); ok || err != nil {
			return nil, err
		}
		return []probed{{attempt: c.attempted(node, "", result), Finding: finding.Finding{
			ID: nodeSelfUnreachable, Node: node.Name(), Family: world.FamilyOf(address).String(), Object: address.String(),
			Sentence: fmt.Sprintf("node %s cannot ping its own address %s: %s", node.Name(), address, result),
		}}}, nil
	}
}
