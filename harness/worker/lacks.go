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

// lacking is the reason for a skip: a case needs what this machine's kernel does not have.
type lacking struct {
	what world.Capability
	why  error
}

func (l *lacking) Error() string { return fmt.Sprintf("this kernel has no %s: %v", l.what, l.why) }

// preflight finds out whether the machine has what a scenario needs beyond what each of them does.
func preflight(s *scenario.Scenario) error {
	sctp := slices.ContainsFunc(s.World.Pods, func(p scenario.Pod) bool {
		return slices.ContainsFunc(p.Listen, func(port scenario.Port) bool { return port.Protocol == world.SCTP })
	})
	if !sctp {
		return nil
	}
	if err := netns.TrySCTP(); err != nil {
		return &lacking{world.CapSCTP, err}
	}
	return nil
}
