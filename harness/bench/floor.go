package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// The floor is the least that a proxy can cost: it reads the API once, writes each entry straight through netlink, and then writes
// what each event of a watch adds. It forgets nothing since it knows nothing: no reading of the kernel, no record of what is its own,
// no firewall, no order, no repair, no deletion.
type leastProxy struct {
	client *kubernetes.Clientset
	ipvs   *ipvs.Handle
	route  *netlink.Handle
	sets   *netlink.Handle
	link   netlink.Link
	source netip.Addr
	known  map[string]int // endpoints that were written, by slice
	vips   map[string]*ipvs.Service
	slices map[string]*discoveryv1.EndpointSlice // of Services that have not come yet
}

// floor is the process: its arguments are a kubeconfig and the node's address.
func floor(ctx context.Context, args []string) error {
	p, err := newLeastProxy(args[0], netip.MustParseAddr(args[1]))
	if err != nil {
		return err
	}
	services, err := p.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	endpoints, err := p.client.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range endpoints.Items {
		s := &endpoints.Items[i]
		p.slices[s.Labels[discoveryv1.LabelServiceName]] = s
	}
	for i := range services.Items {
		if err := p.service(&services.Items[i]); err != nil {
			return fmt.Errorf("write Service %s: %w", services.Items[i].Name, err)
		}
	}
	return p.follow(ctx, services.ResourceVersion, endpoints.ResourceVersion)
}

func newLeastProxy(kubeconfig string, source netip.Addr) (*leastProxy, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	p := &leastProxy{client: client, source: source, known: map[string]int{}, vips: map[string]*ipvs.Service{}, slices: map[string]*discoveryv1.EndpointSlice{}}
	if p.ipvs, err = ipvs.New(""); err != nil {
		return nil, err
	}
	if p.route, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	if p.sets, err = netlink.NewHandle(unix.NETLINK_NETFILTER); err != nil {
		return nil, err
	}
	return p, p.prepare()
}

func (p *leastProxy) prepare() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "kube-dummy-if"
	if err := p.route.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}); err != nil {
		return err
	}
	link, err := p.route.LinkByName(attrs.Name)
	if err != nil {
		return err
	}
	p.link = link
	if err := p.route.LinkSetUp(link); err != nil {
		return err
	}
	family, timeout := uint8(unix.AF_INET), uint32(0)
	if p.source.Is6() {
		family = unix.AF_INET6
	}
	for name, kind := range map[string]string{"svip": "hash:ip", "svip-prt": "hash:ip,port"} {
		if err := p.sets.IpsetCreate(name, kind, netlink.IpsetCreateOptions{Family: family, Timeout: &timeout}); err != nil {
			return err
		}
	}
	return nil
}

// service writes all that a Service needs.
func (p *leastProxy) service(s *corev1.Service) error {
	vip, err := netip.ParseAddr(s.Spec.ClusterIP)
	if err != nil {
		return err
	}
	entry := &ipvs.Service{
		AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: net.IP(vip.AsSlice()), Port: uint16(s.Spec.Ports[0].Port),
		SchedName: "rr", Netmask: ^uint32(0),
	}
	if vip.Is6() {
		entry.AddressFamily, entry.Netmask = unix.AF_INET6, 128
	}
	if err := p.ipvs.NewService(entry); err != nil {
		return err
	}
	p.vips[s.Name] = entry
	if slice := p.slices[s.Name]; slice != nil {
		if err := p.endpoints(slice); err != nil {
			return err
		}
	}
	port, protocol := entry.Port, uint8(unix.IPPROTO_TCP)
	if err := p.sets.IpsetAdd("svip-prt", &netlink.IPSetEntry{IP: entry.Address, Port: &port, Protocol: &protocol}); err != nil {
		return err
	}
	if err := p.sets.IpsetAdd("svip", &netlink.IPSetEntry{IP: entry.Address}); err != nil {
		return err
	}
	return p.address(vip)
}

// address takes a VIP on, with a route that names the source. In IPv6 the kernel's own route comes before it and must go.
func (p *leastProxy) address(vip netip.Addr) error {
	prefix := &net.IPNet{IP: net.IP(vip.AsSlice()), Mask: net.CIDRMask(vip.BitLen(), vip.BitLen())}
	address := &netlink.Addr{IPNet: prefix, Scope: unix.RT_SCOPE_LINK}
	route := &netlink.Route{
		Type: unix.RTN_LOCAL, Dst: prefix, LinkIndex: p.link.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_KERNEL, Scope: unix.RT_SCOPE_HOST,
	}
	if vip.Is6() {
		address.Flags, route.Scope = unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE, unix.RT_SCOPE_UNIVERSE
	}
	if err := p.route.AddrAdd(p.link, address); err != nil {
		return err
	}
	if vip.Is6() {
		for p.route.RouteDel(route) != nil { // the kernel makes it from a work queue
		}
		route.Priority = 1024
	}
	route.Src = net.IP(p.source.AsSlice())
	return p.route.RouteReplace(route)
}

// endpoints writes those of a slice that came after the ones that were written.
func (p *leastProxy) endpoints(s *discoveryv1.EndpointSlice) error {
	name := s.Labels[discoveryv1.LabelServiceName]
	entry := p.vips[name]
	if entry == nil {
		p.slices[name] = s
		return nil
	}
	for _, e := range s.Endpoints[p.known[name]:] {
		d := &ipvs.Destination{
			AddressFamily: entry.AddressFamily, Address: net.ParseIP(e.Addresses[0]), Port: uint16(*s.Ports[0].Port), Weight: 1,
			ConnectionFlags: ipvs.ConnectionFlagMasq,
		}
		if err := p.ipvs.NewDestination(entry, d); err != nil {
			return err
		}
	}
	p.known[name] = len(s.Endpoints)
	return nil
}

// follow writes what two watches tell.
func (p *leastProxy) follow(ctx context.Context, services, endpoints string) error {
	a, err := p.client.CoreV1().Services("").Watch(ctx, metav1.ListOptions{ResourceVersion: services})
	if err != nil {
		return err
	}
	defer a.Stop()
	b, err := p.client.DiscoveryV1().EndpointSlices("").Watch(ctx, metav1.ListOptions{ResourceVersion: endpoints})
	if err != nil {
		return err
	}
	defer b.Stop()
	for {
		var event watch.Event
		select {
		case <-ctx.Done():
			return nil
		case event = <-a.ResultChan():
		case event = <-b.ResultChan():
		}
		switch o := event.Object.(type) {
		case *corev1.Service:
			err = p.service(o)
		case *discoveryv1.EndpointSlice:
			err = p.endpoints(o)
		default:
			return fmt.Errorf("a watch has ended with %v", event.Type)
		}
		if err != nil {
			return err
		}
	}
}
