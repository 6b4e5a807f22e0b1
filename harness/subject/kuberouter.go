package subject

import (
	"regexp"
	"slices"
	"time"

	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// kubeRouter is the profile of cloudnativelabs/kube-router with its service proxy switched on, and its firewall if a scenario
// asks for it.
type kubeRouter struct{ version string }

// Inquiry: flags differ between releases.
func (kubeRouter) Inquiry() []string { return []string{"--help"} }

func (k kubeRouter) Command(s Setting) (world.Command, error) {
	period := time.Duration(s.Options.SyncPeriod)
	if period == 0 {
		period = defaultSyncPeriod
	}
	balancing := asked(s.Options.LoadBalancer, "loadBalancer")
	flags := []flag{
		{name: "kubeconfig", value: s.Kubeconfig},
		{name: "hostname-override", value: s.Node},
		{name: "run-service-proxy", value: "true"},
		{name: "run-router", value: "false"},
		{name: "run-firewall", value: yes(s.Options.Firewall), option: asked(s.Options.Firewall, "firewall")},
		{name: "run-loadbalancer", value: yes(s.Options.LoadBalancer), option: balancing},
		// A family whose flag is off is served all the same if the Node object has an address of it.
		{name: "enable-ipv4", value: yes(slices.Contains(s.Families, world.IPv4))},
		{name: "enable-ipv6", value: yes(slices.Contains(s.Families, world.IPv6))},
		{name: "enable-cni", value: "false"},
		{name: "service-cluster-ip-range", value: prefixes(s.Families, s.Ranges.Services)},
		{name: "service-external-ip-range", value: prefixes(s.Families, s.Ranges.Externals)},
		{name: "loadbalancer-ip-range", value: prefixes(s.Families, s.Ranges.LoadBalancers), option: balancing},
		{name: "masquerade-all", value: yes(s.Options.MasqueradeAll), option: asked(s.Options.MasqueradeAll, "masqueradeAll")},
		{name: "nodeport-bindon-all-ip", value: yes(s.Options.NodePortsOnAllAddresses), option: asked(s.Options.NodePortsOnAllAddresses, "nodePortsOnAllAddresses")},
		{name: "ipvs-sync-period", value: period.String(), option: "syncPeriod"},
		{name: "health-port", value: "20244"},
		{name: "metrics-port", value: "0"},
		{name: "v", value: "1"},
	}
	if len(s.Options.ExcludedCIDRs) > 0 { // an empty list is no valid one
		flags = append(flags, flag{name: "excluded-cidrs", value: excluded(s), option: "excludedCIDRs"})
	}
	if graceful := time.Duration(s.Options.GracefulPeriod); graceful != 0 {
		flags = append(flags,
			flag{name: "ipvs-graceful-termination", value: "true", option: "gracefulPeriod"},
			flag{name: "ipvs-graceful-period", value: graceful.String(), option: "gracefulPeriod"})
	}
	args, err := arguments(flags, s.Help)
	if err != nil {
		return world.Command{}, err
	}
	// The allocator of LoadBalancer addresses signs its Lease with these.
	env := []string{"POD_NAME=kube-router-" + s.Node, "POD_NAMESPACE=kube-system", "NODE_NAME=" + s.Node}
	return world.Command{Path: s.Binary, Args: append(slices.Clone(s.Args), args...), Env: env}, nil
}

// klogError matches what klog prints at the levels error and fatal.
var klogError = regexp.MustCompile(`^[EF][0-9]{4} [0-9:.]+ +[0-9]+ `)

// kubeRouterMay are errors that say nothing about the service proxy.
var kubeRouterMay = []*regexp.Regexp{
	// What its HTTP server says when it is told to stop.
	regexp.MustCompile(`Health controller error: http: Server closed$`),
	// It asks for this of links that the router would have made, or that it is about to make itself.
	regexp.MustCompile(`failed to get rp_filter value for (kube-bridge|kube-dummy-if)`),
	// It looks for policies that it may have left in nftables; its PATH has the tools of one back end only.
	regexp.MustCompile(`unable to get nftables interfaces for cleanup: no nftables support: could not find nftables binary`),
}

func (kubeRouter) IsError(line string) bool {
	return Crashed(line) || klogError.MatchString(line) && !matchesAny(kubeRouterMay, line)
}

// heartbeatMissed is what kube-router's health controller logs at each of its checks while a part of it is overdue.
var heartbeatMissed = regexp.MustCompile(`^E.*\] (.+) heartbeat missed$`)

// What pkg/healthcheck/health_controller.go allows: a part may be late by its grace time, and all are checked with each tick.
const (
	heartbeatGrace = 1500 * time.Millisecond // defaultGraceTimeDuration
	heartbeatTick  = 5 * time.Second         // healthControllerTickTime
)

// Heartbeat: each part reports once in its period. The profile sets that of the service proxy, the others are the defaults of
// pkg/options/options.go; the period of the hairpin controller, which only v2.1.0 watches, cannot be set. A part that is not named
// here is not switched on, or not known: its line is an error like others.
func (kubeRouter) Heartbeat(line string, o scenario.Options) (Heartbeat, bool) {
	match := heartbeatMissed.FindStringSubmatch(line)
	if match == nil {
		return Heartbeat{}, false
	}
	period, known := map[string]time.Duration{
		"NetworkService Controller":          or(time.Duration(o.SyncPeriod), defaultSyncPeriod),
		"Network Policy Controller":          5 * time.Minute,
		"Load Balancer Allocator Controller": time.Minute,
		"Hairpin Controller":                 time.Minute,
	}[match[1]]
	return Heartbeat{Of: match[1], Due: period + heartbeatGrace, Grace: heartbeatGrace, Again: heartbeatTick}, known
}

func (kubeRouter) Ready() Ready { return Ready{IPVS: true} }

func (k kubeRouter) Keeps() invariant.Keep {
	keeps := invariant.KeepIPVS | invariant.KeepSets | invariant.KeepAddresses | invariant.KeepFirewall | invariant.KeepSysctls
	if since(k.version, "v2.11.0") {
		keeps |= invariant.KeepNodePortsPerFamily
	}
	return keeps
}

// Patience: a sync follows an event at once, or when the one before it has ended; the allocator waits for the next event.
// What drains is looked at every five seconds (gracefulTermServiceTickTime), and so goes up to that much later than its time.
func (kubeRouter) Patience(o scenario.Options) time.Duration {
	const event, tick = 1500 * time.Millisecond, 5 * time.Second
	if o.GracefulPeriod > 0 {
		return event + time.Duration(o.GracefulPeriod) + tick
	}
	return event
}

func (kubeRouter) StartLimit() time.Duration { return defaultStartLimit }

func (kubeRouter) StopLimit() time.Duration { return 10 * time.Second }
