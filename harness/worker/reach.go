package worker

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// job is one probe, or a series of probes of one address, with what it finds.
type job = func(context.Context) ([]probed, error)

// probed is a finding of a probe, with the attempt that failed: the kernels of the nodes on its way explain it. No attempt: nothing was
// sent, or the answer is wrong for a reason that no packet filter has.
type probed struct {
	finding.Finding
	attempt *invariant.Attempt
}

// Ids of findings that packets give.
const (
	reachFailed      finding.ID = "reach-failed"
	wrongBackend     finding.ID = "wrong-backend"
	backendUnused    finding.ID = "backend-unused"
	affinityBroken   finding.ID = "affinity-broken"
	wrongSource      finding.ID = "wrong-source"
	healthCheckWrong finding.ID = "health-check-wrong"
	notRefused       finding.ID = "not-refused"
	pingLost         finding.ID = "ping-lost"
	holdLost         finding.ID = "hold-lost"
)

// A probe waits for an answer for probeLimit by the clock, since a refusal over IPv6 is reported only after the first SYN was sent
// again, a second later, and then for what this machine needs to handle it.
const (
	probeLimit = 2 * time.Second
	probeExtra = 100 * time.Millisecond // on a nominal machine; of 34,000 answers on one twenty times as slow, and overloaded, the slowest took 1.4 s
)

// answerExtra is how much longer an HTTPS server may take once it is connected. On a nominal machine; sixteen handshakes at a time took
// more than 2 s on one that was twenty times as slow and had ten times more to do than processors.
const answerExtra = 500 * time.Millisecond

// aim is that of one probe; a client enters through the node via.
func (c *caseRun) aim(from world.Place, via string, to netip.AddrPort) probe.Aim {
	return probe.Aim{From: from, Via: via, To: to, Timeout: c.stretched(c.probeTimeout()), Patience: c.stretched(c.scale(answerExtra))}
}

// probeTimeout is how long a probe waits for an answer, in useful time.
func (c *caseRun) probeTimeout() time.Duration { return probeLimit + c.scale(probeExtra) }

func answered(r probe.Result) bool { return r.Outcome == probe.Answered }

// denied tells whether the result proves that the target does not want to be reached; silence proves nothing.
func denied(r probe.Result) bool {
	switch r.Outcome {
	case probe.Refused, probe.Rejected, probe.Unreachable, probe.Reset:
		return true
	}
	return false
}

// expectJobs are the probes of one expectation: every address of its target from every place.
func (c *caseRun) expectJobs(e scenario.Expect) ([]job, error) {
	written := firstNonEmpty(e.Reach, e.Refused, e.Ping)
	targets, err := c.resolve(written, e.Via, e.Ping != "")
	if err != nil {
		return nil, err
	}
	var jobs []job
	for _, name := range e.From {
		from, ok := c.world.Place(name)
		if !ok {
			return nil, fmt.Errorf("no place is called %s", name)
		}
		if len(targets) == 0 {
			jobs = append(jobs, c.noTarget(written, from))
		}
		for _, t := range targets {
			t.via = firstNonEmpty(e.Via, t.via)
			if e.KeepsPort {
				t.localPort = c.keptPort(from, t)
			}
			jobs = append(jobs, c.expectJob(e, from, t))
		}
	}
	return jobs, nil
}

// flow is what a place keeps sending to a target from one port.
type flow struct {
	from string
	to   netip.AddrPort
}

// keptPort is the port of the place's flow to the target; at first a new one.
func (c *caseRun) keptPort(from world.Place, t target) uint16 {
	f := flow{from.Name(), netip.AddrPortFrom(t.address, t.port)}
	if c.keptPorts[f] == 0 {
		c.keptPorts[f] = from.SourcePort()
	}
	return c.keptPorts[f]
}

// noTarget is the finding that there is nothing to probe: the Service has no such address (yet).
func (c *caseRun) noTarget(written string, from world.Place) job {
	return func(context.Context) ([]probed, error) {
		return []probed{{Finding: finding.Finding{
			ID: reachFailed, Object: written + " from " + from.Name(),
			Sentence: fmt.Sprintf("%s has no address that %s could reach", written, from.Name()),
		}}}, nil
	}
}

func (c *caseRun) expectJob(e scenario.Expect, from world.Place, t target) job {
	switch {
	case e.Ping != "":
		return func(ctx context.Context) ([]probed, error) { return c.expectPing(ctx, from, t) }
	case e.Refused != "":
		return func(ctx context.Context) ([]probed, error) { return c.expectRefused(ctx, from, t) }
	case t.https:
		return func(ctx context.Context) ([]probed, error) { return c.expectHTTPS(ctx, from, t) }
	case t.health:
		return func(ctx context.Context) ([]probed, error) { return c.expectStatus(ctx, from, t, e.Status) }
	default:
		return func(ctx context.Context) ([]probed, error) { return c.expectReach(ctx, from, t, e) }
	}
}

// fault is a finding about a target as seen from a place.
func (c *caseRun) fault(id finding.ID, from world.Place, t target, sentence string) []probed {
	return []probed{{Finding: finding.Finding{
		ID: id, Node: t.node, Family: t.family().String(), Object: fmt.Sprintf("%s from %s", t, from.Name()), Sentence: sentence,
	}}}
}

// unanswered is a fault for whose cause the kernels are to be asked.
func (c *caseRun) unanswered(id finding.ID, from world.Place, t target, result probe.Result) []probed {
	all := c.fault(id, from, t, fmt.Sprintf("%s does not answer %s: %s", t, from.Name(), result))
	if id == pingLost {
		all[0].Sentence = fmt.Sprintf("%s does not answer the ping of %s: %s", t, from.Name(), result)
	}
	all[0].attempt = c.attempted(from, t.via, result)
	return all
}

func (c *caseRun) expectPing(ctx context.Context, from world.Place, t target) ([]probed, error) {
	result := probe.Ping(ctx, c.aim(from, t.via, netip.AddrPortFrom(t.address, 0)))
	if ok, err := c.recordProbe(ctx, t.written, result, answered(result)); ok || err != nil {
		return nil, err
	}
	return c.unanswered(pingLost, from, t, result), nil
}

func (c *caseRun) expectRefused(ctx context.Context, from world.Place, t target) ([]probed, error) {
	result := c.once(ctx, from, t)
	if ok, err := c.recordProbe(ctx, t.written, result, denied(result)); ok || err != nil {
		return nil, err
	}
	return c.fault(notRefused, from, t, fmt.Sprintf("%s should refuse %s, but: %s", t, from.Name(), result)), nil
}

func (c *caseRun) expectHTTPS(ctx context.Context, from world.Place, t target) ([]probed, error) {
	result := c.once(ctx, from, t)
	if ok, err := c.recordProbe(ctx, t.written, result, answered(result)); ok || err != nil {
		return nil, err
	}
	if t.apiserver {
		return []probed{c.apiserverFinding(from, t.via, result)}, nil
	}
	return c.unanswered(reachFailed, from, t, result), nil
}

// once probes a target once with what it speaks.
func (c *caseRun) once(ctx context.Context, from world.Place, t target) probe.Result {
	aim := c.aim(from, t.via, netip.AddrPortFrom(t.address, t.port))
	aim.LocalPort = t.localPort
	switch {
	case t.https:
		return probe.HTTPS(ctx, aim, c.readyz(t.address))
	case t.health:
		return probe.HTTP(ctx, aim, probe.Request{Path: "/healthz", Status: t.status})
	case t.protocol == world.UDP:
		return probe.UDP(ctx, aim)
	case t.protocol == world.SCTP:
		return probe.SCTP(ctx, aim)
	}
	return probe.TCP(ctx, aim)
}

// triesPerBackend is how many connections each expected backend gets the chance to be chosen by: round robin with other
// traffic in between needs more than one.
const triesPerBackend = 4

// stickyTries is how many connections of one place have to go to the same backend. Schedulers alternate sooner.
const stickyTries = 6

// expectReach connects until every expected backend has answered. With none named, one answer is enough; with affinity, one backend
// has to answer always.
func (c *caseRun) expectReach(ctx context.Context, from world.Place, t target, e scenario.Expect) ([]probed, error) {
	backends, seen := e.Backends, map[string]int{}
	tries, enough := max(1, triesPerBackend*len(backends)), len(backends)
	if e.Sticky {
		tries, enough = stickyTries, stickyTries // more than there can be
	}
	if len(backends) > 1 {
		defer c.turns.take(netip.AddrPortFrom(t.address, t.port))()
	}
	for range tries {
		result := c.once(ctx, from, t)
		if ok, err := c.recordProbe(ctx, t.written, result, answered(result)); err != nil {
			return nil, err
		} else if !ok {
			return c.unanswered(reachFailed, from, t, result), nil
		}
		seen[result.Server]++
		if len(backends) > 0 && !slices.Contains(backends, result.Server) {
			return c.fault(wrongBackend, from, t, fmt.Sprintf("%s is answered by %s; expected only %s", t, result.Server, strings.Join(backends, ", "))), nil
		}
		if wrong := c.judgeSource(from, t, e.Source, result); wrong != nil {
			return wrong, nil
		}
		if e.Sticky && len(seen) > 1 {
			return c.fault(affinityBroken, from, t, fmt.Sprintf("%s should always be answered by the same backend for %s, but was by %s", t, from.Name(), counts(seen))), nil
		}
		if len(seen) >= enough {
			return nil, nil
		}
	}
	if e.Sticky {
		return nil, nil
	}
	return c.fault(backendUnused, from, t, fmt.Sprintf("%s was answered by %s only; expected each of %s", t, counts(seen), strings.Join(backends, ", "))), nil
}

// judgeSource compares whom the server saw with whom it should have seen.
func (c *caseRun) judgeSource(from world.Place, t target, want scenario.Source, result probe.Result) []probed {
	if want == "" {
		return nil
	}
	right := []netip.Addr{result.Local.Addr()}
	if want == scenario.SourceNode {
		entry, _ := c.world.Place(firstNonEmpty(t.entry(from), from.NodeName()))
		right = entry.Addrs(t.family())
	}
	saw, err := netip.ParseAddrPort(result.Saw)
	if err == nil && slices.Contains(right, saw.Addr().Unmap()) {
		return nil
	}
	return c.fault(wrongSource, from, t, fmt.Sprintf("%s shows the connection of %s to %s as from %s; expected the address of the %s, %s",
		t, from.Name(), result.Server, result.Saw, want, right[0]))
}

// expectStatus asks a health-check node port.
func (c *caseRun) expectStatus(ctx context.Context, from world.Place, t target, status int) ([]probed, error) {
	if t.status = status; status == 0 {
		t.status = http.StatusOK
	}
	result := c.once(ctx, from, t)
	if ok, err := c.recordProbe(ctx, t.written, result, answered(result)); ok || err != nil {
		return nil, err
	}
	return c.fault(healthCheckWrong, from, t, fmt.Sprintf("%s should tell %s status %d, but: %s", t, from.Name(), t.status, result)), nil
}

// counts prints who answered how often.
func counts(seen map[string]int) string {
	var parts []string
	for name, n := range seen {
		parts = append(parts, fmt.Sprintf("%s (%d×)", name, n))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}

// recordProbe records a probe and passes on whether it went well. A probe that could not be made is our own trouble.
func (c *caseRun) recordProbe(ctx context.Context, written string, result probe.Result, ok bool) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, context.Cause(ctx)
	}
	if result.Outcome == probe.Broken {
		return false, fmt.Errorf("probe %s: %w", written, result.Err())
	}
	to := fmt.Sprintf("%s %s at %s", result.Protocol, written, result.To)
	if result.To.Port() == 0 {
		to = fmt.Sprintf("%s %s at %s", result.Protocol, written, result.To.Addr())
	}
	if !ok && result.Outcome == probe.Silent && c.hadNoTime(c.probeTimeout()) {
		c.doubts.Add(1)
	}
	c.record.add(event.Event{Probe: &event.Probe{From: result.From, To: to, Result: result.String(), OK: ok}})
	return ok, nil
}

// allAddrs are a place's addresses of all families of the cluster.
func allAddrs(p world.Place, set scenario.FamilySet) []netip.Addr {
	var all []netip.Addr
	for _, f := range set.Families() {
		all = append(all, p.Addrs(f)...)
	}
	return all
}

func firstNonEmpty(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
