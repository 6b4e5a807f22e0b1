package subject

import (
	"fmt"
	"strings"
	"time"

	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// reference is the profile of the proxy that this repository ships, and of its defective variants.
type reference struct{}

// defaultSyncPeriod is long, since a short one hides missed events.
const defaultSyncPeriod = 5 * time.Minute

func (reference) Inquiry() []string { return nil }

func (reference) Command(s Setting) (world.Command, error) {
	if s.Options.Firewall {
		return world.Command{}, &Lacks{Option: "firewall"}
	}
	period := time.Duration(s.Options.SyncPeriod)
	if period == 0 {
		period = defaultSyncPeriod
	}
	args := append([]string{}, s.Args...)
	args = append(args,
		"--kubeconfig="+s.Kubeconfig,
		"--node-name="+s.Node,
		fmt.Sprintf("--load-balancer=%t", s.Options.LoadBalancer),
		"--load-balancer-ranges="+prefixes(s.Families, s.Ranges.LoadBalancers),
		fmt.Sprintf("--masquerade-all=%t", s.Options.MasqueradeAll),
		"--sync-period="+period.String(),
		"--drain-period="+time.Duration(s.Options.GracefulPeriod).String(),
	)
	if s.Options.NodePortsOnAllAddresses {
		args = append(args, "--node-ports-on-all-addresses=true")
	}
	// excludedCIDRs: it leaves alone what it did not make, wherever that is.
	return world.Command{Path: s.Binary, Args: args}, nil
}

// IsError: the reference logs through slog; it uses the level ERROR for faults only.
func (reference) IsError(line string) bool {
	return strings.Contains(line, "level=ERROR") || Crashed(line)
}

func (reference) Heartbeat(string, scenario.Options) (Heartbeat, bool) { return Heartbeat{}, false }

func (reference) Ready() Ready { return Ready{IPVS: true} }

func (reference) Keeps() invariant.Keep { return invariant.KeepAll }

// Patience: what failed is tried again after a second.
func (reference) Patience(o scenario.Options) time.Duration {
	return 1200*time.Millisecond + time.Duration(o.GracefulPeriod)
}

func (reference) StartLimit() time.Duration { return defaultStartLimit }

func (reference) StopLimit() time.Duration { return 5 * time.Second }
