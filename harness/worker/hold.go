package worker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// hold is a probe that runs through the whole scenario.
type hold struct {
	spec   scenario.Hold
	from   world.Place
	target target
	held   probe.Held
}

const (
	holdInterval = 100 * time.Millisecond
	// An answer counts as missing after holdPatience by the clock, since TCP sends a lost segment again after 200 ms at the least, then 400,
	// then 800, and then what this machine needs to handle it.
	holdPatience = 1500 * time.Millisecond
	holdExtra    = 250 * time.Millisecond // on a nominal machine
)

// patienceOfHolds is the longest time for which an answer is awaited before it is missing.
func (c *caseRun) patienceOfHolds() time.Duration { return holdPatience + c.scale(holdExtra) }

// startHolds begins the holds of the scenario: those of Services, which answer only through a subject, or the others.
func (c *caseRun) startHolds(ctx context.Context, ofServices bool) error {
	for _, spec := range c.job.Scenario.Hold {
		parsed, err := scenario.ParseTarget(spec.To)
		if err != nil {
			return err
		}
		if parsed.Kind.OfService() != ofServices {
			continue
		}
		targets, err := c.resolve(spec.To, spec.Via, spec.Kind == "ping")
		if err != nil {
			return err
		}
		for _, name := range spec.From {
			from, ok := c.world.Place(name)
			if !ok {
				return fmt.Errorf("hold: no place is called %s", name)
			}
			for _, t := range targets {
				err := c.startHold(ctx, spec, from, t)
				switch {
				case err != nil && ofServices && ctx.Err() == nil && c.hadNoTime(c.probeTimeout()):
					return c.starved(c.probeTimeout(), fmt.Sprintf("that %s cannot be held open from %s", t, name))
				case err != nil && ofServices && ctx.Err() == nil:
					c.record.find(lost(from, t, time.Now(), "could not be held open at all", err.Error()))
				case err != nil:
					return fmt.Errorf("hold a connection from %s to %s: %w", name, t, err)
				}
			}
		}
	}
	return nil
}

func (c *caseRun) startHold(ctx context.Context, spec scenario.Hold, from world.Place, t target) error {
	kind := spec.Kind
	if kind == "" {
		kind = t.speaks()
	}
	aim := c.aim(from, t.via, netip.AddrPortFrom(t.address, t.port))
	pace := probe.Pace{Interval: holdInterval, Patience: c.patienceOfHolds(), Elapsed: c.meter.Useful}
	h := &hold{spec: spec, from: from, target: t}
	var err error
	switch kind {
	case "https":
		h.held, err = probe.HoldHTTPS(ctx, aim, c.readyz(t.address), pace)
	case "udp":
		h.held, err = probe.HoldUDP(ctx, aim, pace)
	case "ping":
		h.held, err = probe.HoldPing(ctx, aim, pace)
	default:
		h.held, err = probe.HoldTCP(ctx, aim, pace)
	}
	if err != nil {
		return err
	}
	c.holds = append(c.holds, h)
	return nil
}

// endHolds stops the holds and judges each. What is still broken is explained by the nodes as they are.
func (c *caseRun) endHolds(ctx context.Context) error {
	var all []probed
	var errs []error
	for _, h := range c.holds {
		found, err := c.judgeHold(h, h.held.Stop())
		all, errs = append(all, found...), append(errs, err)
	}
	c.holds = nil
	var views []invariant.View
	if slices.ContainsFunc(all, func(p probed) bool { return p.attempt != nil }) {
		var err error
		if views, err = c.views(ctx); err != nil {
			return err
		}
	}
	c.record.find(explain(all, views)...)
	return errors.Join(append(errs, ctx.Err())...)
}

// judgeHold compares the longest outage with what is allowed, both in useful time.
func (c *caseRun) judgeHold(h *hold, r probe.HeldResult) ([]probed, error) {
	c.record.add(event.Event{Hold: &event.Hold{
		From: h.from.Name(), To: h.target.String(), Sent: r.Sent, Good: r.Answered, Outage: r.LongestOutage, Why: r.Why,
	}})
	most := time.Duration(h.spec.MaxOutage)
	if r.Open && !r.Broken {
		return nil, c.starved(c.patienceOfHolds(), fmt.Sprintf("that %s does not answer %s", h.target, h.from.Name()))
	}
	if !r.Broken && r.LongestOutage <= most {
		return nil, nil
	}
	since := r.OutageAt
	var attempt *invariant.Attempt
	if r.Broken {
		since = r.Since
		attempt = c.attempted(h.from, h.target.via, probe.Result{Protocol: r.Protocol, To: netip.AddrPortFrom(h.target.address, h.target.port)})
	}
	return []probed{{lost(h.from, h.target, since, fmt.Sprintf("was lost, while an outage of %v is allowed", most), r.String()), attempt}}, nil
}

func lost(from world.Place, t target, since time.Time, what, evidence string) finding.Finding {
	return finding.Finding{
		ID: holdLost, Time: since, Node: t.node, Family: t.family().String(),
		Object:   fmt.Sprintf("%s from %s", t, from.Name()),
		Sentence: fmt.Sprintf("what was to be held open from %s to %s %s", from.Name(), t, what),
		Evidence: []string{evidence},
	}
}

// speaks is the kind of probe that a target understands.
func (t target) speaks() string {
	switch {
	case t.port == 0:
		return "ping"
	case t.https:
		return "https"
	case t.protocol == world.UDP:
		return "udp"
	}
	return "tcp"
}
