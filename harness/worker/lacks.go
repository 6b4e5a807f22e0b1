package worker

import (
	"context"
	"fmt"
	"slices"

	"proxyproof/harness/scenario"
	"proxyproof/sim/netns"
	"proxyproof/sim/world"
)

// lacks are the capabilities that this machine does not have, with reasons.
func lacks(ctx context.Context) map[string]string {
	if err := netns.Fit(ctx); err != nil {
		return map[string]string{"ipvs": err.Error()}
	}
	return nil
}

// unfit is the reason for a skip: the case needs what is not here.
type unfit struct{ why string }

func (u *unfit) Error() string { return u.why }

// preflight finds out whether there is what the scenario needs beyond what each of them does.
func (c *caseRun) preflight() error {
	s := c.job.Scenario
	if c.other == nil && s.Swaps() {
		return &unfit{"no other build of the subject was given (run --other)"}
	}
	sctp := slices.ContainsFunc(s.World.Pods, func(p scenario.Pod) bool {
		return slices.ContainsFunc(p.Listen, func(port scenario.Port) bool { return port.Protocol == world.SCTP })
	})
	if !sctp {
		return nil
	}
	if err := netns.TrySCTP(); err != nil {
		return &unfit{fmt.Sprintf("this kernel has no SCTP: %v", err)}
	}
	return nil
}
