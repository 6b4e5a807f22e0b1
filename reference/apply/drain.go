package apply

import (
	"errors"
	"fmt"
	"time"

	"proxyproof/reference/drain"
	"proxyproof/reference/plan"
)

// Connections counts the connections of a virtual service's destinations.
type Connections func(plan.Service) (map[plan.Dest]int, error)

// DrainBy makes the applier give the connections of destinations that go the time that a book grants. Those of weight 0 that were found
// in the kernel, of a proxy that ran before, are drained from now on.
func (a *Applier) DrainBy(b *drain.Book, count Connections, now time.Time) {
	a.book, a.connections = b, count
	found := map[drain.Destination]bool{}
	for key, dests := range a.actual.Draining {
		for d := range dests {
			found[drain.Destination{Service: key, Dest: d}] = true
			b.Begin(drain.Destination{Service: key, Dest: d}, now)
		}
	}
	b.Keep(found)
}

// Draining tells whether any destination waits for its connections to end.
func (a *Applier) Draining() bool { return len(a.actual.Draining) > 0 }

// Sweep deletes the destinations that have drained.
func (a *Applier) Sweep(now time.Time) error {
	var errs []error
	for key, dests := range a.actual.Draining {
		connections, err := a.connections(key)
		if err != nil {
			errs = append(errs, fmt.Errorf("count the connections of %s: %w", key, err))
			continue
		}
		for _, d := range sorted(dests, plan.Dest.Compare) {
			if !a.book.Over(drain.Destination{Service: key, Dest: d}, connections[d], now) {
				continue
			}
			if err := a.writer.DeleteDest(key, d); err != nil {
				errs = append(errs, fmt.Errorf("virtual service %s: delete drained destination %s: %w", key, d, err))
				continue
			}
			a.endDrain(key, d)
		}
	}
	return errors.Join(errs...)
}

// beginDrain takes new connections from a destination.
func (a *Applier) beginDrain(key plan.Service, d plan.Dest) error {
	if err := a.writer.WeighDest(key, d, 0); err != nil {
		return fmt.Errorf("drain destination %s: %w", d, err)
	}
	if a.actual.Draining[key] == nil {
		a.actual.Draining[key] = map[plan.Dest]bool{}
	}
	a.actual.Draining[key][d] = true
	a.book.Begin(drain.Destination{Service: key, Dest: d}, time.Now())
	return nil
}

func (a *Applier) endDrain(key plan.Service, d plan.Dest) {
	delete(a.actual.Draining[key], d)
	if len(a.actual.Draining[key]) == 0 {
		delete(a.actual.Draining, key)
	}
	a.book.End(drain.Destination{Service: key, Dest: d})
}

// addDest makes a destination serve: a new one, or one that was being drained.
func (a *Applier) addDest(key plan.Service, d plan.Dest) error {
	if !a.actual.Draining[key][d] {
		if err := a.writer.AddDest(key, d); err != nil {
			return fmt.Errorf("add destination %s: %w", d, err)
		}
		return nil
	}
	if err := a.writer.WeighDest(key, d, 1); err != nil {
		return fmt.Errorf("use destination %s again: %w", d, err)
	}
	a.endDrain(key, d)
	return nil
}

// removeDest drains a destination, or deletes it at once.
func (a *Applier) removeDest(key plan.Service, d plan.Dest) error {
	if a.book.Drains(key) {
		return a.beginDrain(key, d)
	}
	if err := a.writer.DeleteDest(key, d); err != nil {
		return fmt.Errorf("delete destination %s: %w", d, err)
	}
	a.stale = append(a.stale, Flow{key, d})
	return nil
}

// forgetFlows makes clients of UDP that still send find another destination: the kernel's tracking of their flows would go on to
// translate for the one that is gone.
func (a *Applier) forgetFlows() error {
	var flows []Flow
	for _, f := range a.stale {
		if f.Service.Protocol == plan.UDP {
			flows = append(flows, f)
		}
	}
	if a.stale = nil; len(flows) == 0 {
		return nil
	}
	if err := a.writer.ForgetFlows(flows); err != nil {
		return fmt.Errorf("forget flows to destinations that are gone: %w", err)
	}
	return nil
}
