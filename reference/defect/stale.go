package defect

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/apply"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// updateIgnored made virtual services what they had to be when they came, and never again, until kube-router v1.0.1.
var updateIgnored = Defect{
	Name:     "affinity-change-ignored",
	Issue:    "cloudnativelabs/kube-router#910",
	Summary:  "scheduler and session affinity of a virtual service stay what they were when it was made",
	Findings: []string{"ipvs-service-wrong", "backend-unused"},
	When:     "wherever they change; backend-unused where affinity ends and a connection is expected to be led to each endpoint",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return neverUpdated{w} }},
}

type neverUpdated struct{ apply.Writer }

func (neverUpdated) UpdateService(plan.Service, plan.Virtual) error { return nil }

// staleVIP left service addresses on the link, in kube-router v0.2.
var staleVIP = Defect{
	Name:     "stale-vip",
	Issue:    "cloudnativelabs/kube-router#438",
	Summary:  "a service address that is no longer served stays on the link",
	Findings: []string{"vip-address-unjustified", "state-left-behind"},
	Perturb:  []string{"clean"},
	When:     "wherever an address is given up; state-left-behind where all Services are deleted in the end",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return vipsKept{w} }},
}

type vipsKept struct{ apply.Writer }

func (vipsKept) DeleteVIP(netip.Addr) error { return nil }

// staleVIPRoute took the address away and left its route: the node and its pods could not reach the address where it then was.
var staleVIPRoute = Defect{
	Name:     "stale-vip-route",
	Issue:    "cloudnativelabs/kube-router#513",
	Summary:  "the local route to a service address outlives the address",
	Findings: []string{"vip-route-wrong"},
	When:     "wherever an address is given up",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return routesKept{w} }},
}

type routesKept struct{ apply.Writer }

func (w routesKept) DeleteVIP(vip netip.Addr) error {
	if err := w.Writer.DeleteVIP(vip); err != nil {
		return err
	}
	link, err := netlink.LinkByName(apply.DummyLink)
	if err != nil {
		return fmt.Errorf("find link %s: %w", apply.DummyLink, err)
	}
	scope := netlink.Scope(unix.RT_SCOPE_HOST)
	if vip.Is6() {
		scope = unix.RT_SCOPE_UNIVERSE
	}
	host := &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(vip.BitLen(), vip.BitLen())}
	return netlink.RouteReplace(&netlink.Route{Type: unix.RTN_LOCAL, Dst: host, LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Scope: scope})
}

// localIPsNeverStored is kube-router v2.6.1: the set of the node's own addresses was made and never filled, in either family.
var localIPsNeverStored = Defect{
	Name:    "local-ips-never-stored",
	Issue:   "cloudnativelabs/kube-router#1924",
	Summary: "the set of the node's own addresses stays empty in both families",
	Findings: []string{
		"local-ips-incomplete", "node-address-unprotected", "apiserver-refused", "node-reach-changed", "hold-lost", "reach-failed",
	},
	When: "local-ips-incomplete in every case; the others where a node port exists, as with local-ips-ipv4-only",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return localsLost{w} }},
}

type localsLost struct{ apply.Writer }

func (w localsLost) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if s == apply.LocalIPs {
		return nil
	}
	return w.Writer.AddMembers(s, f, members)
}

func (w localsLost) DeleteMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if s == apply.LocalIPs {
		return nil
	}
	return w.Writer.DeleteMembers(s, f, members)
}
