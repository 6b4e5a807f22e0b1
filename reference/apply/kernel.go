package apply

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
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
	// members is the socket for messages that the library does not know.
	members map[int]*nl.SocketHandle
	// disordered are the VIPs whose routes were not as they ought to be when the kernel was read.
	disordered map[netip.Addr]bool
	writes     atomic.Int64
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
	members, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("talk to ipset: %w", err)
	}
	return &Kernel{
		ipvs: table, route: route, sets: sets, members: map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: members}}, disordered: map[netip.Addr]bool{},
	}, nil
}

// Writes counts the messages that have changed the kernel, or were meant to. It can be asked from any goroutine.
func (k *Kernel) Writes() int64 { return k.writes.Load() }

// Close closes them.
func (k *Kernel) Close() {
	k.ipvs.Close()
	k.route.Close()
	k.sets.Close()
	k.members[unix.NETLINK_NETFILTER].Close()
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
		if err := k.route.LinkSetAlias(link, linkMark); err != nil {
			return fmt.Errorf("mark link %s: %w", DummyLink, err)
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
	switch {
	case s.hasPorts():
		return "hash:ip,port"
	case s.isPairs():
		return "hash:ip,port,ip"
	}
	return "hash:ip"
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
	k.writes.Add(1)
	return k.ipvs.NewService(service(s, v))
}

// UpdateService changes scheduler and affinity.
func (k *Kernel) UpdateService(s plan.Service, v plan.Virtual) error {
	k.writes.Add(1)
	return k.ipvs.UpdateService(service(s, v))
}

// DeleteService removes a virtual service with its destinations.
func (k *Kernel) DeleteService(s plan.Service) error {
	k.writes.Add(1)
	return k.ipvs.DelService(service(s, plan.Virtual{}))
}

// AddDest adds a destination.
func (k *Kernel) AddDest(s plan.Service, d plan.Dest) error {
	k.writes.Add(1)
	return k.ipvs.NewDestination(service(s, plan.Virtual{}), dest(d))
}

// DeleteDest removes a destination.
func (k *Kernel) DeleteDest(s plan.Service, d plan.Dest) error {
	k.writes.Add(1)
	return k.ipvs.DelDestination(service(s, plan.Virtual{}), dest(d))
}

// WeighDest gives a destination another weight.
func (k *Kernel) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	k.writes.Add(1)
	weighed := dest(d)
	weighed.Weight = weight
	return k.ipvs.UpdateDestination(service(s, plan.Virtual{}), weighed)
}

// Connections counts those of a virtual service's destinations, with those that are about to be opened or closed.
func (k *Kernel) Connections(s plan.Service) (map[plan.Dest]int, error) {
	dests, err := k.ipvs.GetDestinations(service(s, plan.Virtual{}))
	if err != nil {
		return nil, err
	}
	connections := map[plan.Dest]int{}
	for _, d := range dests {
		if ip, ok := netip.AddrFromSlice(d.Address); ok {
			connections[plan.Dest{Address: ip.Unmap(), Port: d.Port}] = d.ActiveConnections + d.InactiveConnections
		}
	}
	return connections, nil
}
