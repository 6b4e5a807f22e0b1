package worker

import (
	"context"
	"fmt"
	"slices"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/apiserver"
)

// faults is what the scenario does to the API server, and what follows from it for the judgement: a subject that cannot learn of a
// change is judged by what it was told, and may complain.
type faults struct {
	now scenario.APIAction // that lasts; "" for none
	// told is what the subject could last learn; nil while it can learn everything.
	told *invariant.Objects
}

// harm does something to the API server. gone tells that a subject did not come back.
func (c *caseRun) harm(ctx context.Context, action scenario.APIAction) (gone bool, err error) {
	c.record.add(event.Event{Write: &event.Write{Verb: "api", Object: "the API server", Detail: string(action)}})
	c.excused.Store(true)
	switch action {
	case scenario.APIHeal:
		c.faults = faults{}
		if err := c.control.Heal(); err != nil {
			return false, fmt.Errorf("heal the API server: %w", err)
		}
		return c.awaitLate(ctx)
	case scenario.APIDropWatches:
		c.control.DropWatches()
		return false, nil
	case scenario.APIExpire:
		c.control.Expire()
		return false, nil
	}
	c.faults.now = action
	if action.Deafens() {
		told := c.objects()
		c.faults.told = &told
	}
	if err := c.control.Break(apiserver.Fault(action)); err != nil {
		return false, fmt.Errorf("break the API server: %w", err)
	}
	return false, nil
}

// known are the objects that the subject can know.
func (c *caseRun) known() invariant.Objects {
	if c.faults.told != nil {
		return *c.faults.told
	}
	return c.objects()
}

// awaitLate waits until the subjects are ready that could not become so while they were told nothing.
func (c *caseRun) awaitLate(ctx context.Context) (gone bool, err error) {
	for _, p := range c.proxies {
		if !p.late {
			continue
		}
		p.late = false
		ready, err := c.awaitReady(ctx, p)
		if err != nil {
			return false, err
		}
		gone = gone || !ready
	}
	return gone, nil
}

// missing is how many watches the subject has yet to open again. One that does not run opens none.
func (c *caseRun) missing() int {
	if c.faults.now.Deafens() || !slices.ContainsFunc(c.proxies, func(p *proxy) bool { return p.wanted }) {
		return 0
	}
	return c.api.Missing()
}

// notBack is the finding that a subject did not begin to watch again.
func (c *caseRun) notBack() []finding.Finding {
	n := c.missing()
	if n == 0 {
		return nil
	}
	return []finding.Finding{{
		ID:       "subject-not-back",
		Sentence: fmt.Sprintf("the subject has not opened %d of its watches again, though the API server answers", n),
	}}
}
