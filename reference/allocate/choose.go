// Package allocate gives addresses to Services of type LoadBalancer: one proxy of the cluster, elected over a Lease, chooses
// them from ranges and writes them to the Services' status.
package allocate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Change is a new status for a Service.
type Change struct {
	Service *corev1.Service // not to be changed
	Ingress []corev1.LoadBalancerIngress
}

// Choice is a way to decide which Services get another status. It changes none of them.
type Choice func(services []*corev1.Service, ranges []netip.Prefix) ([]Change, error)

// Choose decides which Services get another status. It is pure: addresses that are in use stay, each new Service gets the
// address that it asks for, or the first free one of each of its families, the oldest Service first; one that is no longer of the type
// loses its addresses. A Service for which there is none stays pending, and the error says so.
func Choose(services []*corev1.Service, ranges []netip.Prefix) (changes []Change, err error) {
	used := map[netip.Addr]bool{}
	for _, s := range services {
		for _, ip := range ingress(s) {
			used[ip] = true
		}
	}
	ordered := slices.Clone(services)
	slices.SortFunc(ordered, older)
	for _, s := range ordered {
		switch {
		case !mine(s):
			if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) > 0 {
				changes = append(changes, Change{s, nil})
			}
		default:
			list, lacks := complete(s, ranges, used)
			err = errors.Join(err, lacks)
			if list != nil {
				changes = append(changes, Change{s, list})
			}
		}
	}
	return changes, err
}

func older(a, b *corev1.Service) int {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		if a.CreationTimestamp.Before(&b.CreationTimestamp) {
			return -1
		}
		return 1
	}
	if a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name {
		return -1
	}
	return 1
}

// mine tells whether a Service wants addresses from this allocator: of the type, and of no class, since a class names another.
func mine(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && s.DeletionTimestamp == nil
}

func ingress(s *corev1.Service) []netip.Addr {
	var ips []netip.Addr
	for _, i := range s.Status.LoadBalancer.Ingress {
		if ip, err := netip.ParseAddr(i.IP); err == nil {
			ips = append(ips, ip.Unmap())
		}
	}
	return ips
}

// complete is the ingress list that serves every family of the Service, or nil if the present one does.
func complete(s *corev1.Service, ranges []netip.Prefix, used map[netip.Addr]bool) ([]corev1.LoadBalancerIngress, error) {
	have := map[bool]bool{} // by is6
	for _, ip := range ingress(s) {
		have[ip.Is6()] = true
	}
	var list []corev1.LoadBalancerIngress
	var err error
	for _, family := range s.Spec.IPFamilies {
		is6 := family == corev1.IPv6Protocol
		if have[is6] {
			continue
		}
		ip, lacks := address(s, ranges, is6, used)
		if lacks != nil {
			err = errors.Join(err, fmt.Errorf("no %s address for Service %s/%s: %w", family, s.Namespace, s.Name, lacks))
			continue
		}
		used[ip] = true
		list = append(list, corev1.LoadBalancerIngress{IP: ip.String()})
	}
	if list == nil {
		return nil, err
	}
	return append(slices.Clone(s.Status.LoadBalancer.Ingress), list...), err
}

// address is the one that a Service gets in a family. The field loadBalancerIP has room for one: a Service that asks for an address gets
// any of its other family.
func address(s *corev1.Service, ranges []netip.Prefix, is6 bool, used map[netip.Addr]bool) (netip.Addr, error) {
	wanted, err := netip.ParseAddr(s.Spec.LoadBalancerIP)
	wanted = wanted.Unmap()
	switch {
	case err == nil && wanted.Is6() != is6, s.Spec.LoadBalancerIP == "":
		if ip, ok := free(ranges, is6, used); ok {
			return ip, nil
		}
		return netip.Addr{}, fmt.Errorf("none is free in %v", ranges)
	case err != nil:
		return netip.Addr{}, fmt.Errorf("it asks for %q, which is none", s.Spec.LoadBalancerIP)
	case used[wanted]:
		return netip.Addr{}, fmt.Errorf("another Service has %s, which it asks for", wanted)
	case !slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(wanted) }):
		return netip.Addr{}, fmt.Errorf("it asks for %s, which is not in %v", wanted, ranges)
	}
	return wanted, nil
}

// searchMost bounds the walk through a range.
const searchMost = 1 << 16

// free is the first address of a family that nobody has. The first of a range is left out, as is the last of an IPv4 range.
func free(ranges []netip.Prefix, is6 bool, used map[netip.Addr]bool) (netip.Addr, bool) {
	for _, r := range ranges {
		if r.Addr().Is6() != is6 {
			continue
		}
		ip := r.Masked().Addr().Next()
		for n := 0; n < searchMost && r.Contains(ip); n++ {
			if next := ip.Next(); !used[ip] && (is6 || r.Contains(next)) {
				return ip, true
			}
			ip = ip.Next()
		}
	}
	return netip.Addr{}, false
}
