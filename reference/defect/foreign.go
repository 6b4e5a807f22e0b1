package defect

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"

	"proxyproof/reference/apply"
	"proxyproof/reference/conflict"
	"proxyproof/reference/dump"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// svipFromEveryIPVSService is the second half of the founding bug: until v2.1.3 kube-router took every virtual service in the
// namespace for a Service's.
var svipFromEveryIPVSService = Defect{
	Name:     "svip-from-every-ipvs-service",
	Issue:    "cloudnativelabs/kube-router#1685",
	Summary:  "the address of every virtual service is published, whoever made it",
	Findings: []string{"svip-has-foreign", "svip-prt-has-foreign"},
	When:     "wherever somebody else has a virtual service at an address while a Service is published",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return everyServicePublished{w} }},
}

type everyServicePublished struct{ apply.Writer }

func (w everyServicePublished) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if err := w.Writer.AddMembers(s, f, members); err != nil || s != apply.ServiceIPs {
		return err
	}
	return eachService(func(_ *ipvs.Handle, v *ipvs.Service, m apply.Member) error {
		if plan.FamilyOf(m.Address) != f {
			return nil
		}
		if err := w.Writer.AddMembers(apply.ServicePorts, f, []apply.Member{m}); err != nil {
			return err
		}
		return w.Writer.AddMembers(apply.ServiceIPs, f, []apply.Member{{Address: m.Address}})
	})
}

// eachService visits the virtual services that have an address.
func eachService(visit func(*ipvs.Handle, *ipvs.Service, apply.Member) error) error {
	table, err := ipvs.New("")
	if err != nil {
		return fmt.Errorf("talk to IPVS: %w", err)
	}
	defer table.Close()
	services, err := table.GetServices()
	if err != nil {
		return fmt.Errorf("list virtual services: %w", err)
	}
	for _, v := range services {
		a, ok := netip.AddrFromSlice(v.Address)
		if !ok || v.FWMark != 0 {
			continue
		}
		if err := visit(table, v, apply.Member{Address: a.Unmap(), Port: v.Port, Protocol: plan.Protocol(v.Protocol)}); err != nil {
			return err
		}
	}
	return nil
}

// staleCleanupDeletesForeignIPVS cleans up what it does not know, as kube-router does outside of --excluded-cidrs.
var staleCleanupDeletesForeignIPVS = Defect{
	Name:     "stale-cleanup-deletes-foreign-ipvs",
	Issue:    "cloudnativelabs/kube-router#1685",
	Summary:  "virtual services that are not its own are deleted as stale",
	Findings: []string{"foreign-changed", "reach-failed"},
	When:     "foreign-changed wherever somebody else has a virtual service at an address while a Service is published; reach-failed where that service is expected to answer",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return strangersDeleted{w} }},
}

type strangersDeleted struct{ apply.Writer }

func (w strangersDeleted) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	if err := w.Writer.AddMembers(s, f, members); err != nil || s != apply.ServiceIPs {
		return err
	}
	made, err := membersOf(apply.Made)
	if err != nil {
		return err
	}
	return eachService(func(table *ipvs.Handle, v *ipvs.Service, m apply.Member) error {
		if made[m] {
			return nil
		}
		return table.DelService(v)
	})
}

// membersOf are the members of a set in both families.
func membersOf(s apply.Set) (map[apply.Member]bool, error) {
	all, err := dump.Whole(netlink.IpsetListAll)
	if err != nil {
		return nil, fmt.Errorf("list ipsets: %w", err)
	}
	members := map[apply.Member]bool{}
	for _, set := range all {
		if strings.TrimPrefix(set.SetName, "inet6:") != string(s) {
			continue
		}
		for _, e := range set.Entries {
			if a, ok := netip.AddrFromSlice(e.IP); ok && e.Port != nil && e.Protocol != nil {
				members[apply.Member{Address: a.Unmap(), Port: *e.Port, Protocol: plan.Protocol(*e.Protocol)}] = true
			}
		}
	}
	return members, nil
}

// foreignSetClobberedByRestore restores all sets when it means its own.
var foreignSetClobberedByRestore = Defect{
	Name:     "foreign-ipset-clobbered-by-restore",
	Issue:    "cloudnativelabs/kube-router#1665",
	Summary:  "every write to its sets empties those of others",
	Findings: []string{"foreign-changed"},
	When:     "wherever somebody else has a set with members while a Service is published",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return setsClobbered{w} }},
}

type setsClobbered struct{ apply.Writer }

func (w setsClobbered) AddMembers(s apply.Set, f plan.Family, members []apply.Member) error {
	all, err := dump.Whole(netlink.IpsetListAll)
	if err != nil {
		return fmt.Errorf("list ipsets: %w", err)
	}
	for _, set := range all {
		if strings.Contains(set.SetName, "kube-router-") || strings.Contains(set.SetName, "proxyproof-") {
			continue
		}
		if err := netlink.IpsetFlush(set.SetName); err != nil {
			return fmt.Errorf("flush %s: %w", set.SetName, err)
		}
	}
	return w.Writer.AddMembers(s, f, members)
}

// conflictUntold is the silence of kube-router, which takes the other's virtual service over without a word (ipvsAddService).
var conflictUntold = Defect{
	Name:     "conflict-untold",
	Issue:    "cloudnativelabs/kube-router ipvsAddService",
	Summary:  "that somebody else has the virtual service of a Service is not told in an Event",
	Findings: []string{"conflict-untold"},
	When:     "wherever somebody else has a virtual service at an address and port of a Service",
	Wrap: proxy.Middleware{Report: func(conflict.Report) conflict.Report {
		return func(map[plan.Service]*corev1.Service) {}
	}},
}
