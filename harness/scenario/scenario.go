// Package scenario is the file format of scenarios: one behaviour per YAML file, written once for all IP families. Parsing is
// strict: whatever is not understood is a Problem with file, line, column, an excerpt and what to do.
//
// The comments of the fields below are the reference: the JSON schema and the tables of docs/scenarios.md are made from them.
package scenario

import (
	"math/bits"
	"net/netip"

	"proxyproof/sim/world"
)

//go:generate go test -run TestGenerated . -update

// Scenario is one file: a cluster, the subject in it, and what happens, step by step.
type Scenario struct {
	// Name of the scenario, unique among all; the file has the same name.
	Name string `yaml:"name"`
	// Description is the story: what must hold, and why it once did not.
	Description string `yaml:"description"`
	// Issue is the upstream report that the scenario guards against, "owner/repository#number".
	Issue string `yaml:"issue,omitempty"`
	// Tags are labels by which `run --labels` selects scenarios; the first is the name of the folder.
	Tags []string `yaml:"tags,omitempty"`
	// Families in which the scenario runs; all four if left out.
	Families []FamilySet `yaml:"families,omitempty"`
	// World is the cluster and who is around it.
	World World `yaml:"world"`
	// Subject: how the service proxy under test is run.
	Subject Subject `yaml:"subject,omitempty"`
	// Hold are checks that run during the whole scenario, beside the steps.
	Hold []Hold `yaml:"hold,omitempty"`
	// Steps happen one after the other; after each, everything is judged.
	Steps []Step `yaml:"steps"`
	// Exempt are invariants that are not judged in this scenario, each with its reason.
	Exempt map[string]string `yaml:"exempt,omitempty"`
	// Catches are the defects of the zoo that this scenario must fail on.
	Catches []string `yaml:"catches,omitempty"`

	// File is the path that the scenario was read from, as given by the user.
	File string `yaml:"-"`
	// Source is the text of that file.
	Source []byte `yaml:"-"`
}

// FamilySet is one way to give a cluster its IP families.
type FamilySet string

// The four family sets. The dual ones differ in which family is the primary.
const (
	FamilyIPv4   FamilySet = "ipv4"
	FamilyIPv6   FamilySet = "ipv6"
	FamilyDualV4 FamilySet = "dual-v4"
	FamilyDualV6 FamilySet = "dual-v6"
)

// AllFamilies are the four family sets in the order in which they run.
var AllFamilies = []FamilySet{FamilyIPv4, FamilyIPv6, FamilyDualV4, FamilyDualV6}

// Families lists the IP families of the set, primary first.
func (f FamilySet) Families() []world.Family {
	switch f {
	case FamilyIPv4:
		return []world.Family{world.IPv4}
	case FamilyIPv6:
		return []world.Family{world.IPv6}
	case FamilyDualV4:
		return []world.Family{world.IPv4, world.IPv6}
	case FamilyDualV6:
		return []world.Family{world.IPv6, world.IPv4}
	}
	return nil
}

// World is the cluster and who is around it. Names are unique among nodes, pods and clients together.
type World struct {
	// Nodes of the cluster, all on one link.
	Nodes []Node `yaml:"nodes"`
	// Pods behind the nodes, in the namespace "default".
	Pods []Pod `yaml:"pods,omitempty"`
	// Clients are hosts on the nodes' link, outside the cluster.
	Clients []Client `yaml:"clients,omitempty"`
}

// Node is a node of the cluster.
type Node struct {
	// Name of the node.
	Name string `yaml:"name"`
	// APIServer: the API server listens on this node's addresses, port 6443. Exactly one node has it.
	APIServer bool `yaml:"apiServer,omitempty"`
	// Standby: another API server of the cluster listens on this node's addresses, port 6443, and is not ready: it answers with status 500.
	// The Service "kubernetes" has it as an endpoint that is not ready.
	Standby bool `yaml:"standby,omitempty"`
	// Addresses is the number of global addresses per family: 1 (the default) or 2.
	Addresses int `yaml:"addresses,omitempty"`
	// Proxy: the subject runs here.
	Proxy bool `yaml:"proxy,omitempty"`
}

// Pod is a pod behind a node. Pods that match a Service's selector become its endpoints.
type Pod struct {
	// Name of the pod.
	Name string `yaml:"name"`
	// Node that it is behind.
	Node string `yaml:"node"`
	// Labels that selectors of Services see.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Listen are the ports that the pod answers on: "8080/tcp", "53/udp".
	Listen []Port `yaml:"listen,omitempty"`
	// Unready: the pod is an endpoint that is not ready.
	Unready bool `yaml:"unready,omitempty"`
}

// Client is a host on the nodes' link, outside the cluster.
type Client struct {
	// Name of the client.
	Name string `yaml:"name"`
}

// Subject tells how the service proxy under test is run.
type Subject struct {
	// Options that the proxy is given.
	Options Options `yaml:"options,omitempty"`
	// API is the subject's way to the API server: "control" (the default), a path that no proxy can cut, or "node-address", the
	// address of the API server's node, which a broken proxy can cut.
	API APIPath `yaml:"api,omitempty"`
	// Start of the subject: "first" (the default), before the first step, or "by-step", where a step says `subject: start`.
	Start StartMode `yaml:"start,omitempty"`
}

// APIPath is a way from the subject to the API server.
type APIPath string

// The API paths.
const (
	APIControl     APIPath = "control"
	APINodeAddress APIPath = "node-address"
)

// StartMode tells when the subject is started.
type StartMode string

// The start modes.
const (
	StartFirst  StartMode = "first"
	StartByStep StartMode = "by-step"
)

// Options are what a service proxy can be told, in words that do not belong to one proxy. A profile turns them into flags; a
// proxy that lacks one makes the case a skip.
type Options struct {
	// LoadBalancer: the proxy hands out LoadBalancer addresses and writes them to the Service's status.
	LoadBalancer bool `yaml:"loadBalancer,omitempty" json:"loadBalancer,omitempty"`
	// LoadBalancerPool is the size of the range that it gives them from: a power of two, from 4; the whole range if left out. A proxy may
	// leave out the first and the last address of a range.
	LoadBalancerPool int `yaml:"loadBalancerPool,omitempty" json:"loadBalancerPool,omitempty"`
	// ExcludedCIDRs are ranges of addresses whose virtual services the proxy leaves alone, by name: "nodes", "services", "externals"
	// or "loadbalancers".
	ExcludedCIDRs Names `yaml:"excludedCIDRs,omitempty" json:"excludedCIDRs,omitempty"`
	// MasqueradeAll: every connection through IPVS gets the node's address as its source.
	MasqueradeAll bool `yaml:"masqueradeAll,omitempty" json:"masqueradeAll,omitempty"`
	// NodePortsOnAllAddresses: node ports are served on every address of the Node object, not only on the first of each family.
	NodePortsOnAllAddresses bool `yaml:"nodePortsOnAllAddresses,omitempty" json:"nodePortsOnAllAddresses,omitempty"`
	// GracefulPeriod is the longest time for which an endpoint that is gone keeps its connections.
	GracefulPeriod Duration `yaml:"gracefulPeriod,omitempty" json:"gracefulPeriod,omitempty"`
	// Firewall: the controller of network policies runs in the same process.
	Firewall bool `yaml:"firewall,omitempty" json:"firewall,omitempty"`
	// SyncPeriod is the time between periodic repairs; 5m if left out, since a short one hides missed events.
	SyncPeriod Duration `yaml:"syncPeriod,omitempty" json:"syncPeriod,omitempty"`
}

// Ranges are those of the world, with the pool of load balancer addresses that the proxy is given.
func (o Options) Ranges(all world.Ranges) world.Ranges {
	if o.LoadBalancerPool == 0 {
		return all
	}
	pools := map[world.Family]netip.Prefix{}
	for f, p := range all.LoadBalancers {
		pools[f] = netip.PrefixFrom(p.Addr(), f.HostBits()-(bits.Len(uint(o.LoadBalancerPool))-1))
	}
	all.LoadBalancers = pools
	return all
}

// Hold is a check that runs during the whole scenario to its end: from before the subject starts, if its target is an address
// that needs no proxy, else (the Service "kubernetes") from when the subject is ready.
type Hold struct {
	// From are the places that hold a connection, or keep sending.
	From Names `yaml:"from"`
	// To is the target, one that is there from the beginning: the API server, a node, a pod, or the Service "kubernetes".
	To string `yaml:"to"`
	// Via is the node through which a client enters; by default the first node with the proxy.
	Via string `yaml:"via,omitempty"`
	// Kind of probe: "https", "tcp", "udp" or "ping"; by default what the target speaks.
	Kind string `yaml:"kind,omitempty"`
	// MaxOutage is the longest time without an answer that is allowed.
	MaxOutage Duration `yaml:"maxOutage"`

	// Line is where the hold begins in the file.
	Line int `yaml:"-"`
}

// The kinds of holds.
const (
	HoldHTTPS = "https"
	HoldTCP   = "tcp"
	HoldUDP   = "udp"
	HoldPing  = "ping"
)

// Step is one thing that happens. It has exactly one of apply, delete, pods, endpoints, nodes, api, foreign, withdraw,
// disturb, subject, expect and state.
type Step struct {
	// Name that reports show instead of a generated one.
	Name string `yaml:"name,omitempty"`
	// Apply a manifest: Kubernetes objects, several separated by "---". They are created or updated. Each is the whole
	// object: what an earlier manifest had and this one lacks is gone.
	Apply string `yaml:"apply,omitempty"`
	// Delete objects, written "kind/name" or "kind/namespace/name"; the namespace defaults to "default".
	Delete Names `yaml:"delete,omitempty"`
	// Pods become something else: unready, terminating, gone, or ready again.
	Pods []PodChange `yaml:"pods,omitempty"`
	// Endpoints of Services without a selector, as whoever owns them sets them.
	Endpoints []Endpoints `yaml:"endpoints,omitempty"`
	// Nodes lose an address and get it back, or have their cable pulled.
	Nodes []NodeChange `yaml:"nodes,omitempty"`
	// API: what happens to the API server: outage (nobody listens), black-hole (what is sent to it vanishes), slow, errors
	// (status 500) until heal; drop-watches (connections with watches are reset), expire (clients have to list again).
	API APIAction `yaml:"api,omitempty"`
	// Foreign: somebody else puts things into the node's kernel.
	Foreign []Foreign `yaml:"foreign,omitempty"`
	// Withdraw: the owner of foreign things takes them away again, by their names.
	Withdraw Names `yaml:"withdraw,omitempty"`
	// Disturb: something of the proxy's own is taken away behind its back.
	Disturb []Disturb `yaml:"disturb,omitempty"`
	// Subject: what is done to the proxy on every node that has it: start, stop (SIGTERM), kill (SIGKILL), restart, or swap: stop it and
	// start the build that `run --other` names, and the first one again the next time.
	Subject SubjectAction `yaml:"subject,omitempty"`
	// Expect are checks, each awaited until it holds or its budget is spent.
	Expect []Expect `yaml:"expect,omitempty"`
	// State are checks of what is in the kernel, each awaited in the same way.
	State []StateCheck `yaml:"state,omitempty"`

	// Line is where the step begins in the file.
	Line int `yaml:"-"`
	// Objects are those of Apply, in order.
	Objects []Ref `yaml:"-"`
}

// Foreign is something in a node's kernel that belongs to somebody else, one in each family of the cluster. It has exactly one of
// ipvs, mark, ipset, address, route and rule.
type Foreign struct {
	// Name by which withdraw and findings call it.
	Name string `yaml:"name"`
	// On is the node; by default the first with the proxy.
	On string `yaml:"on,omitempty"`
	// IPVS: a virtual service at every address of a target.
	IPVS string `yaml:"ipvs,omitempty"`
	// Mark: a virtual service for packets with this firewall mark.
	Mark int `yaml:"mark,omitempty"`
	// To are the destinations of a virtual service: pods with a port.
	To Names `yaml:"to,omitempty"`
	// IPSet: a set of this name; that of IPv6 has "inet6:" before it.
	IPSet string `yaml:"ipset,omitempty"`
	// Members of the set: the addresses of targets.
	Members Names `yaml:"members,omitempty"`
	// Address: all addresses of a target, on a link.
	Address string `yaml:"address,omitempty"`
	// Link that carries the address; a dummy is made if there is none of this name. By default "foreign0".
	Link string `yaml:"link,omitempty"`
	// Route: an unreachable route to every address of a target.
	Route string `yaml:"route,omitempty"`
	// Rule: an iptables rule as it is written behind "-A CHAIN", for each family: without addresses.
	Rule string `yaml:"rule,omitempty"`
	// Table of the rule; by default "filter".
	Table string `yaml:"table,omitempty"`
	// Chain of the rule; by default "INPUT". A user-defined one is made.
	Chain string `yaml:"chain,omitempty"`
	// First: the rule comes before all others, not behind them.
	First bool `yaml:"first,omitempty"`
}

// Disturb is a disturbance of what the proxy has in a node's kernel. It has exactly one of ipvs, ipset, address, chain and neighbours.
type Disturb struct {
	// On is the node; by default the first with the proxy.
	On string `yaml:"on,omitempty"`
	// IPVS: the virtual services at a target are deleted.
	IPVS string `yaml:"ipvs,omitempty"`
	// IPSet: members are taken out of one of the proxy's sets: "local-ips", "svip" or "svip-prt".
	IPSet string `yaml:"ipset,omitempty"`
	// Members are the targets whose addresses, for svip-prt with their ports, are taken out.
	Members Names `yaml:"members,omitempty"`
	// Address: the addresses of a target are removed from kube-dummy-if.
	Address string `yaml:"address,omitempty"`
	// Chain of the table filter that is emptied, such as "INPUT" or "KUBE-ROUTER-SERVICES".
	Chain string `yaml:"chain,omitempty"`
	// Neighbours: everybody on the link forgets the hardware addresses of the others.
	Neighbours bool `yaml:"neighbours,omitempty"`
}

// SubjectAction is something done to the subject's process.
type SubjectAction string

// The subject actions.
const (
	SubjectStart   SubjectAction = "start"
	SubjectStop    SubjectAction = "stop"
	SubjectKill    SubjectAction = "kill"
	SubjectRestart SubjectAction = "restart"
	SubjectSwap    SubjectAction = "swap"
)

// Expect is one check. It has exactly one of reach, refused and ping.
type Expect struct {
	// Reach: the target answers. Every address of the target is tried.
	Reach string `yaml:"reach,omitempty"`
	// Refused: the target refuses with proof: a reset, an ICMP error or no route; silence is no proof.
	Refused string `yaml:"refused,omitempty"`
	// Ping: the target answers ICMP echo.
	Ping string `yaml:"ping,omitempty"`
	// Via is the node through which a client enters; by default the first node with the proxy.
	Via string `yaml:"via,omitempty"`
	// From are the places that probe.
	From Names `yaml:"from"`
	// Backends are the pods that may answer, and each of them must, given enough connections. Left out: any.
	Backends Names `yaml:"backends,omitempty"`
	// Sticky: all new connections of one place are answered by the same backend.
	Sticky bool `yaml:"sticky,omitempty"`
	// KeepsPort: the place asks from one port in all checks of the target that say so, as a program does that never closes its UDP
	// socket. To the kernel it is one flow, whatever becomes of the endpoints.
	KeepsPort bool `yaml:"keepsPort,omitempty"`
	// Source is whose address the server sees: "client" for that of the place that probes, "node" for one of the entry node's.
	Source Source `yaml:"source,omitempty"`
	// Status is the HTTP status of a healthcheck target; 200 if left out.
	Status int `yaml:"status,omitempty"`

	// Line is where the check begins in the file.
	Line int `yaml:"-"`
}

// Case is a scenario in one family set: the unit that runs and has a verdict.
type Case struct {
	Scenario *Scenario
	Family   FamilySet
}

// ID is "name/family", the name by which a case is selected and reported.
func (c Case) ID() string { return c.Scenario.Name + "/" + string(c.Family) }

// Cases are the scenario's cases, in the order of its families.
func (s *Scenario) Cases() []Case {
	families := s.Families
	if len(families) == 0 {
		families = AllFamilies
	}
	cases := make([]Case, len(families))
	for i, f := range families {
		cases[i] = Case{s, f}
	}
	return cases
}
