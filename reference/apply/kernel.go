package apply

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// DummyLink carries the service addresses.
const DummyLink = "kube-dummy-if"

// Kernel is the Writer of the network namespace in which it was made. It is for one goroutine.
type Kernel struct {
	ipvs  *ipvs.Handle
	route *netlink.Handle
	sets  *netlink.Handle
	dummy netlink.Link // nil until Prepare
}

// NewKernel opens the kernel's interfaces.
func NewKernel() (*Kernel, error) {
	table, err := ipvs.New("")
	if err != nil {
		return nil, fmt.Errorf("talk to IPVS: %w", err)
	}
	route, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("talk to the kernel's routing: %w", err)
	}
	sets, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("talk to ipset: %w", err)
	}
	return &Kernel{ipvs: table, route: route, sets: sets}, nil
}

// Close closes them.
func (k *Kernel) Close() {
	k.ipvs.Close()
	k.route.Close()
	k.sets.Close()
}

// sysctls that IPVS needs to work as Kubernetes wants, and why.
var sysctls = []struct{ name, value string }{
	{"net/ipv4/vs/conntrack", "1"},                 // rules must recognise IPVS connections
	{"net/ipv4/vs/expire_nodest_conn", "1"},        // a removed endpoint's connections end
	{"net/ipv4/vs/expire_quiescent_template", "1"}, // and so does affinity to it
	{"net/ipv4/vs/conn_reuse_mode", "0"},           // or reused source ports wait a second
	{"net/ipv4/conf/all/arp_ignore", "1"},          // VIPs are on every node: none may answer for them
	{"net/ipv4/conf/all/arp_announce", "2"},
}

// Prepare makes the dummy link, sets the sysctls and creates the sets.
func (k *Kernel) Prepare(families []plan.Family) error {
	for _, s := range sysctls {
		if err := setSysctl(s.name, s.value); err != nil {
			return err
		}
	}
	if err := k.makeDummy(); err != nil {
		return err
	}
	for _, f := range families {
		for _, s := range slices.Concat(Ledger, Published) {
			if err := k.createSet(s, f); err != nil {
				return fmt.Errorf("create ipset %s: %w", s.Name(f), err)
			}
		}
	}
	return nil
}

// setSysctl writes only what differs.
func setSysctl(name, value string) error {
	path := "/proc/sys/" + name
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read sysctl %s: %w", name, err)
	}
	if strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", name, value, err)
	}
	return nil
}

func (k *Kernel) makeDummy() error {
	link, err := k.route.LinkByName(DummyLink)
	if err != nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = DummyLink
		if err := k.route.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}); err != nil {
			return fmt.Errorf("make link %s: %w", DummyLink, err)
		}
		if link, err = k.route.LinkByName(DummyLink); err != nil {
			return fmt.Errorf("find link %s: %w", DummyLink, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := k.route.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up link %s: %w", DummyLink, err)
		}
	}
	k.dummy = link
	return nil
}

func (k *Kernel) createSet(s Set, f plan.Family) error {
	timeout := uint32(0)
	options := netlink.IpsetCreateOptions{Replace: true, Timeout: &timeout, Family: unix.AF_INET}
	if f == plan.IPv6 {
		options.Family = unix.AF_INET6
	}
	return k.sets.IpsetCreate(s.Name(f), s.kind(), options)
}

// kind is the ipset type.
func (s Set) kind() string {
	if s.hasPorts() {
		return "hash:ip,port"
	}
	return "hash:ip"
}

func entry(m Member) *netlink.IPSetEntry {
	e := &netlink.IPSetEntry{IP: net.IP(m.Address.AsSlice()), Replace: true}
	if m.Port != 0 {
		port, protocol := m.Port, uint8(m.Protocol)
		e.Port, e.Protocol = &port, &protocol
	}
	return e
}

// AddMember adds to a set; a member that is there already is no error.
func (k *Kernel) AddMember(s Set, f plan.Family, m Member) error {
	return k.sets.IpsetAdd(s.Name(f), entry(m))
}

// DeleteMember removes from a set.
func (k *Kernel) DeleteMember(s Set, f plan.Family, m Member) error {
	return k.sets.IpsetDel(s.Name(f), entry(m))
}

// Persistence, as linux/ip_vs.h has it.
const flagPersistent = 0x1

func service(s plan.Service, v plan.Virtual) *ipvs.Service {
	out := &ipvs.Service{
		AddressFamily: unix.AF_INET, Protocol: uint16(s.Protocol), Address: net.IP(s.Address.AsSlice()), Port: s.Port,
		SchedName: v.Scheduler, Netmask: ^uint32(0),
	}
	if s.Address.Is6() {
		out.AddressFamily, out.Netmask = unix.AF_INET6, 128
	}
	if v.Affinity > 0 {
		out.Flags, out.Timeout = flagPersistent, v.Affinity
	}
	return out
}

func dest(d plan.Dest) *ipvs.Destination {
	family := uint16(unix.AF_INET)
	if d.Address.Is6() {
		family = unix.AF_INET6
	}
	return &ipvs.Destination{
		AddressFamily: family, Address: net.IP(d.Address.AsSlice()), Port: d.Port, Weight: 1, ConnectionFlags: ipvs.ConnectionFlagMasq,
	}
}

// AddService adds a virtual service without destinations. It fails with EEXIST if there is one.
func (k *Kernel) AddService(s plan.Service, v plan.Virtual) error {
	return k.ipvs.NewService(service(s, v))
}

// UpdateService changes scheduler and affinity.
func (k *Kernel) UpdateService(s plan.Service, v plan.Virtual) error {
	return k.ipvs.UpdateService(service(s, v))
}

// DeleteService removes a virtual service with its destinations.
func (k *Kernel) DeleteService(s plan.Service) error {
	return k.ipvs.DelService(service(s, plan.Virtual{}))
}

// AddDest adds a destination.
func (k *Kernel) AddDest(s plan.Service, d plan.Dest) error {
	return k.ipvs.NewDestination(service(s, plan.Virtual{}), dest(d))
}

// DeleteDest removes a destination.
func (k *Kernel) DeleteDest(s plan.Service, d plan.Dest) error {
	return k.ipvs.DelDestination(service(s, plan.Virtual{}), dest(d))
}

// hostPrefix is the prefix of a single address.
func hostPrefix(a netip.Addr) *net.IPNet {
	bits := a.BitLen()
	return &net.IPNet{IP: net.IP(a.AsSlice()), Mask: net.CIDRMask(bits, bits)}
}

// The kernel's priority of a route that a user adds without one, in IPv6: IP6_RT_PRIO_USER.
const userPriority = 1024

// AddVIP adds the address and a local route that makes the node use source towards it: by itself the kernel would take the
// address itself as source, and a backend on another node would answer to its own node. For IPv6 the kernel's own local route
// (metric 0) and prefix route (metric 256) come before any other and must go.
func (k *Kernel) AddVIP(vip, source netip.Addr) error {
	address := &netlink.Addr{IPNet: hostPrefix(vip), Scope: unix.RT_SCOPE_LINK}
	if vip.Is6() {
		address.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
	}
	err := k.route.AddrAdd(k.dummy, address)
	present := errors.Is(err, unix.EEXIST)
	if err != nil && !present {
		return fmt.Errorf("add it to %s: %w", DummyLink, err)
	}
	if err := k.route.RouteReplace(k.vipRoute(vip, source)); err != nil {
		return fmt.Errorf("route it with source %s: %w", source, err)
	}
	if vip.Is4() {
		return k.deleteOtherRoutes(vip, source)
	}
	if err := k.deleteKernelRoute(vip, !present); err != nil {
		return fmt.Errorf("delete the kernel's own route: %w", err)
	}
	return nil
}

// vipRoute is the local route of a VIP. In IPv4 it replaces the kernel's own.
func (k *Kernel) vipRoute(vip, source netip.Addr) *netlink.Route {
	r := &netlink.Route{
		Type: unix.RTN_LOCAL, Dst: hostPrefix(vip), LinkIndex: k.dummy.Attrs().Index, Table: unix.RT_TABLE_LOCAL,
		Protocol: unix.RTPROT_KERNEL, Scope: unix.RT_SCOPE_HOST,
	}
	if source.IsValid() {
		r.Src = net.IP(source.AsSlice())
	}
	if vip.Is6() {
		r.Scope, r.Priority = unix.RT_SCOPE_UNIVERSE, userPriority
	}
	return r
}

// DeleteVIP removes the route and the address.
func (k *Kernel) DeleteVIP(vip netip.Addr) error {
	routes, err := k.vipRoutes(vip)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := k.route.RouteDel(&r); err != nil {
			return fmt.Errorf("delete its route: %w", err)
		}
	}
	if err := k.route.AddrDel(k.dummy, &netlink.Addr{IPNet: hostPrefix(vip)}); err != nil {
		return fmt.Errorf("delete it from %s: %w", DummyLink, err)
	}
	return nil
}
