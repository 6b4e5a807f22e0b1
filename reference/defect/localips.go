package defect

import (
	"proxyproof/reference/apply"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// localIPsIPv4Only is the fault that this project was founded on: kube-router v2.0.0 to v2.1.3 filled the set of the node's own
// addresses from IPv4 only. A node port puts the node's IPv6 address into the set of service addresses; the firewall then
// rejects everything on it that is no service, the API server included.
var localIPsIPv4Only = Defect{
	Name:    "local-ips-ipv4-only",
	Issue:   "cloudnativelabs/kube-router#1685",
	Summary: "the set of the node's own IPv6 addresses stays empty",
	Findings: []string{
		"local-ips-incomplete", "node-address-unprotected", "apiserver-refused", "node-reach-changed", "hold-lost", "reach-failed",
		"subject-cut-off", "svip-has-foreign", "svip-prt-has-foreign", "ipvs-service-unjustified", "vip-address-unjustified",
	},
	Races: []string{"lb-address-missing", "ipvs-service-missing", "vip-address-missing"},
	When: "local-ips-incomplete wherever the node has an IPv6 address. Where moreover a node port exists on that address: " +
		"node-address-unprotected, apiserver-refused and node-reach-changed always; hold-lost where a connection to that address is held; reach-failed " +
		"where it is expected to answer otherwise. Where the proxy itself reaches the API server through that address it is cut " +
		"off: subject-cut-off, and after a deletion what it can no longer do. Whether it is cut off before it has given the Service its " +
		"address, lb-address-missing, or before it hears of that, ipvs-service-missing and vip-address-missing, is a race",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return ipv4OnlyLocals{w} }},
}

type ipv4OnlyLocals struct{ apply.Writer }

func (w ipv4OnlyLocals) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if s == apply.LocalIPs && f == plan.IPv6 {
		return nil
	}
	return w.Writer.AddMembers(s, f, members)
}

func (w ipv4OnlyLocals) DeleteMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if s == apply.LocalIPs && f == plan.IPv6 {
		return nil
	}
	return w.Writer.DeleteMembers(s, f, members)
}
