package admission

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proxyproof/sim/world"
)

// allocator hands out cluster addresses and node ports. Its choices depend on the seed alone. The store's lock guards it.
type allocator struct {
	random *rand.Rand
	cidrs  map[world.Family]netip.Prefix
	ports  [2]uint16
	ips    map[netip.Addr]bool
	taken  map[uint16]map[corev1.Protocol]bool
}

func newAllocator(c Config) *allocator {
	return &allocator{
		random: rand.New(rand.NewPCG(c.Seed, 0x5e41c5)), cidrs: c.ServiceCIDRs, ports: c.NodePorts,
		ips: map[netip.Addr]bool{}, taken: map[uint16]map[corev1.Protocol]bool{},
	}
}

// allocate gives a Service what it wants and does not have. On failure nothing of it stays taken.
func (a *allocator) allocate(o, old *corev1.Service) field.ErrorList {
	var undo []func()
	errs := a.allocateIPs(o, old, &undo)
	if len(errs) == 0 {
		errs = a.allocatePorts(o, old, &undo)
	}
	if len(errs) > 0 {
		for _, f := range undo {
			f()
		}
	}
	return errs
}

func (a *allocator) allocateIPs(o, old *corev1.Service, undo *[]func()) field.ErrorList {
	spec := &o.Spec
	at := field.NewPath("spec", "clusterIPs")
	if spec.Type == corev1.ServiceTypeExternalName {
		spec.ClusterIP, spec.ClusterIPs = "", nil
		return nil
	}
	if spec.ClusterIP == corev1.ClusterIPNone {
		spec.ClusterIPs = []string{corev1.ClusterIPNone}
		return nil
	}
	had := map[string]bool{}
	if old != nil {
		for _, ip := range old.Spec.ClusterIPs {
			had[ip] = true
		}
	}
	for i, f := range spec.IPFamilies {
		if i < len(spec.ClusterIPs) {
			if had[spec.ClusterIPs[i]] {
				continue
			}
			ip, err := netip.ParseAddr(spec.ClusterIPs[i])
			switch {
			case err != nil:
				return field.ErrorList{field.Invalid(at.Index(i), spec.ClusterIPs[i], "must be a valid IP address")}
			case !a.cidrs[FamilyOf(f)].Contains(ip):
				return field.ErrorList{field.Invalid(at, spec.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: the provided IP is not in the valid range", ip))}
			case a.ips[ip]:
				return field.ErrorList{field.Invalid(at, spec.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: provided IP is already allocated", ip))}
			}
			a.ips[ip] = true
			*undo = append(*undo, func() { delete(a.ips, ip) })
			continue
		}
		ip, ok := a.chooseIP(a.cidrs[FamilyOf(f)])
		if !ok {
			return field.ErrorList{field.Invalid(at, spec.ClusterIPs, "failed to allocate a serviceIP: range is full")}
		}
		a.ips[ip] = true
		*undo = append(*undo, func() { delete(a.ips, ip) })
		spec.ClusterIPs = append(spec.ClusterIPs, ip.String())
	}
	spec.ClusterIP = spec.ClusterIPs[0]
	return nil
}

// chooseIP picks a free address at random: neither the first, which is the network's, nor the last.
func (a *allocator) chooseIP(cidr netip.Prefix) (netip.Addr, bool) {
	if !cidr.IsValid() {
		return netip.Addr{}, false
	}
	size := 1 << min(cidr.Addr().BitLen()-cidr.Bits(), 16)
	start := a.random.IntN(size - 2)
	for i := range size - 2 {
		ip := offset(cidr.Masked().Addr(), 1+(start+i)%(size-2))
		if !a.ips[ip] {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// offset adds n to an address.
func offset(ip netip.Addr, n int) netip.Addr {
	sum := new(big.Int).Add(new(big.Int).SetBytes(ip.AsSlice()), big.NewInt(int64(n)))
	raw := sum.FillBytes(make([]byte, ip.BitLen()/8))
	if ip.Is4() {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(raw))))
	}
	return netip.AddrFrom16([16]byte(raw))
}

func (a *allocator) allocatePorts(o, old *corev1.Service, undo *[]func()) field.ErrorList {
	if !wantsNodePorts(o) {
		for i := range o.Spec.Ports {
			if o.Spec.Type != corev1.ServiceTypeLoadBalancer {
				o.Spec.Ports[i].NodePort = 0
			}
		}
	} else {
		for i := range o.Spec.Ports {
			p := &o.Spec.Ports[i]
			n, err := a.takePort(uint16(p.NodePort), p.Protocol, hadPort(old, p.NodePort, p.Protocol), undo)
			if err != "" {
				return field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), p.NodePort, err)}
			}
			p.NodePort = int32(n)
		}
	}
	if !wantsHealthPort(o) {
		o.Spec.HealthCheckNodePort = 0
		return nil
	}
	had := old != nil && old.Spec.HealthCheckNodePort != 0 && old.Spec.HealthCheckNodePort == o.Spec.HealthCheckNodePort
	n, err := a.takePort(uint16(o.Spec.HealthCheckNodePort), corev1.ProtocolTCP, had, undo)
	if err != "" {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "healthCheckNodePort"), o.Spec.HealthCheckNodePort, err)}
	}
	o.Spec.HealthCheckNodePort = int32(n)
	return nil
}

func hadPort(old *corev1.Service, port int32, protocol corev1.Protocol) bool {
	if old == nil || port == 0 {
		return false
	}
	for _, p := range old.Spec.Ports {
		if p.NodePort == port && p.Protocol == protocol {
			return true
		}
	}
	return false
}

// takePort takes the port that was asked for, or a free one for 0.
func (a *allocator) takePort(want uint16, protocol corev1.Protocol, had bool, undo *[]func()) (uint16, string) {
	if had {
		return want, ""
	}
	if want != 0 {
		switch {
		case want < a.ports[0] || want > a.ports[1]:
			return 0, fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %d-%d", a.ports[0], a.ports[1])
		case a.taken[want][protocol]:
			return 0, "provided port is already allocated"
		}
		a.mark(want, protocol, undo)
		return want, ""
	}
	size := int(a.ports[1]-a.ports[0]) + 1
	start := a.random.IntN(size)
	for i := range size {
		n := a.ports[0] + uint16((start+i)%size)
		if len(a.taken[n]) == 0 {
			a.mark(n, protocol, undo)
			return n, ""
		}
	}
	return 0, "failed to allocate a nodePort: range is full"
}

func (a *allocator) mark(n uint16, protocol corev1.Protocol, undo *[]func()) {
	if a.taken[n] == nil {
		a.taken[n] = map[corev1.Protocol]bool{}
	}
	a.taken[n][protocol] = true
	*undo = append(*undo, func() { a.free(n, protocol) })
}

func (a *allocator) free(n uint16, protocol corev1.Protocol) {
	delete(a.taken[n], protocol)
	if len(a.taken[n]) == 0 {
		delete(a.taken, n)
	}
}

// release gives back what a Service had and its successor (nil if it is gone) has not.
func (a *allocator) release(old, now *corev1.Service) {
	keep := map[string]bool{}
	if now != nil {
		for _, ip := range now.Spec.ClusterIPs {
			keep[ip] = true
		}
	}
	for _, text := range old.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil && !keep[text] {
			delete(a.ips, ip)
		}
	}
	for _, p := range old.Spec.Ports {
		if p.NodePort != 0 && !hadPort(now, p.NodePort, p.Protocol) {
			a.free(uint16(p.NodePort), p.Protocol)
		}
	}
	if h := old.Spec.HealthCheckNodePort; h != 0 && (now == nil || now.Spec.HealthCheckNodePort != h) {
		a.free(uint16(h), corev1.ProtocolTCP)
	}
}
