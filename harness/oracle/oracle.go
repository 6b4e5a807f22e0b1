// Package oracle says what a service proxy should have in the kernel of one node, from the objects of the API, the node's
// addresses and the proxy's options alone. It is written from Kubernetes' documentation of Services and EndpointSlices and from
// docs/contract.md, and shares no code with any proxy: if it did, one mistake could hide another.
//
// It is relational: every entry is justified by an object, and every object is served. Where the contract lets proxies differ it
// tells what is required from what is allowed. What it cannot judge it lists with the reason, and never guesses.
package oracle

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// Input is all that the oracle knows.
type Input struct {
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
	// Node is the name of the node in question; endpoints of that name are local.
	Node string
	// Nodes are all Node objects. What is another node's, or one of its pods', no node may take for its own.
	Nodes []*corev1.Node
	// Addresses of the Node object by family, primary first. A family without any is not served on this node.
	Addresses map[world.Family][]netip.Addr
	// Local are further addresses of the node's own links: loopback, link-local, what somebody has added. A proxy that is told to serve node
	// ports on all addresses may take them for some.
	Local []netip.Addr
	// Families of the cluster, primary first.
	Families []world.Family
	Ranges   world.Ranges
	Options  scenario.Options
	// NodePortsPerFamily: the proxy promises node ports on the node's first address of each family of the Service. Without it
	// only those on the node's primary address are required.
	NodePortsPerFamily bool
}

// Expectation is what should be there.
type Expectation struct {
	// Services are the virtual services that must or may exist, sorted by key, each key once.
	Services []Service
	// Unjudged are parts of Services that the oracle has no opinion about.
	Unjudged []Unjudged
	// LoadBalancers are the Services that an address allocator has to care for.
	LoadBalancers []LoadBalancer
}

// Key is where a virtual service listens.
type Key struct {
	Address  netip.Addr
	Protocol world.Protocol
	Port     uint16
}

// String is "TCP 198.18.0.5:80".
func (k Key) String() string {
	return fmt.Sprintf("%s %s", k.Protocol, netip.AddrPortFrom(k.Address, k.Port))
}

// Family of the address.
func (k Key) Family() world.Family { return world.FamilyOf(k.Address) }

// Compare orders by address, port, protocol.
func (k Key) Compare(o Key) int {
	return cmp.Or(k.Address.Compare(o.Address), cmp.Compare(k.Port, o.Port), cmp.Compare(k.Protocol, o.Protocol))
}

// Kind tells which of a Service's addresses one is.
type Kind string

// The kinds of addresses, as sentences call them.
const (
	ClusterIP      Kind = "cluster address"
	ExternalIP     Kind = "external address"
	LoadBalancerIP Kind = "load balancer address"
	NodePort       Kind = "node port"
)

// Service is a virtual service.
type Service struct {
	Key
	// Owner is the Service, "namespace/name", and Kind which of its addresses this is.
	Owner string
	Kind  Kind
	// Required is false for what a proxy may leave out.
	Required bool
	// Holder names who has the address already, another node or a pod. A virtual service may be there, since it catches one port of what the
	// node itself sends; no link of this node may carry the address. "" for all other addresses.
	Holder    string
	Scheduler string
	// Affinity is the time-out of session affinity in seconds; 0: none.
	Affinity uint32
	// Dests are the endpoints that traffic goes to, sorted, each with weight 1.
	Dests []Dest
}

// Why names the reason for the virtual service: "node port 31337/TCP of Service default/example".
func (s Service) Why() string {
	if s.Kind == NodePort {
		return fmt.Sprintf("%s %d/%s of Service %s", s.Kind, s.Port, s.Protocol, s.Owner)
	}
	return fmt.Sprintf("%s of Service %s, port %d/%s", s.Kind, s.Owner, s.Port, s.Protocol)
}

// Dest is an endpoint behind a virtual service.
type Dest struct {
	netip.AddrPort
	// Why names the endpoint: "pod web-1 on worker of EndpointSlice default/example-x7k2p".
	Why string
}

// Unjudged is what the oracle has no opinion about.
type Unjudged struct {
	Owner string
	Why   string
	// Keys that may exist or not, and look as they like.
	Keys []Key
	// Marks: firewall-mark services and their destinations, too.
	Marks bool
}

// LoadBalancer is a Service that wants an address from the proxy's allocator.
type LoadBalancer struct {
	Owner string
	// Wanted are the families in which it should get one.
	Wanted []world.Family
	// Requested is the address that it asks for; the zero Addr: any.
	Requested netip.Addr
	// Given are the addresses in its status.
	Given []netip.Addr
}

// Has tells whether it was given an address of a family.
func (l LoadBalancer) Has(f world.Family) bool {
	return slices.ContainsFunc(l.Given, func(a netip.Addr) bool { return world.FamilyOf(a) == f })
}

// Expect derives the expectation. The order of objects does not matter.
func Expect(in Input) Expectation {
	var e Expectation
	found := map[Key][]Service{}
	for _, s := range in.Services {
		if !served(s) {
			continue
		}
		if l, ok := in.loadBalancer(s); ok {
			e.LoadBalancers = append(e.LoadBalancers, l)
		}
		claims := in.claims(s)
		reason := beyond(s)
		if reason != "" {
			e.Unjudged = append(e.Unjudged, Unjudged{Owner: nameOf(s), Why: reason, Keys: keysOf(claims)})
			continue
		}
		claims, left := leaveOut(s, claims)
		e.Unjudged = append(e.Unjudged, left...)
		for _, c := range claims {
			if v, ok := in.virtual(s, c); ok {
				found[v.Key] = append(found[v.Key], v)
			}
		}
	}
	for key, claimants := range found {
		if rival, ok := rivals(claimants); ok {
			e.Unjudged = append(e.Unjudged, Unjudged{Owner: rival, Keys: []Key{key}, Why: "another Service claims the same address and port"})
			continue
		}
		e.Services = append(e.Services, claimants[0])
	}
	e.dropContested()
	e.sort()
	return e
}

// dropContested removes what is also a key of something unjudged.
func (e *Expectation) dropContested() {
	e.Services = slices.DeleteFunc(e.Services, func(s Service) bool { return e.Ignores(s.Key) })
}

// rivals tells whether several claims on one key differ in what they want there, and names one claimant.
func rivals(claims []Service) (owner string, differ bool) {
	slices.SortFunc(claims, func(a, b Service) int { return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Kind, b.Kind)) })
	first := claims[0]
	for _, c := range claims[1:] {
		if c.Owner != first.Owner || c.Scheduler != first.Scheduler || c.Affinity != first.Affinity || !slices.Equal(c.Dests, first.Dests) {
			return first.Owner, true
		}
		claims[0].Required = claims[0].Required || c.Required
	}
	return "", false
}

func (e *Expectation) sort() {
	slices.SortFunc(e.Services, func(a, b Service) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(e.Unjudged, func(a, b Unjudged) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Why, b.Why), slices.CompareFunc(a.Keys, b.Keys, Key.Compare))
	})
	slices.SortFunc(e.LoadBalancers, func(a, b LoadBalancer) int { return cmp.Compare(a.Owner, b.Owner) })
}

// Find looks a virtual service up.
func (e Expectation) Find(k Key) (Service, bool) {
	i, ok := slices.BinarySearchFunc(e.Services, k, func(s Service, k Key) int { return s.Key.Compare(k) })
	if !ok {
		return Service{}, false
	}
	return e.Services[i], true
}

// Ignores tells that a key is unjudged.
func (e Expectation) Ignores(k Key) bool {
	return slices.ContainsFunc(e.Unjudged, func(u Unjudged) bool { return slices.Contains(u.Keys, k) })
}

// IgnoresMarks tells that firewall-mark services are unjudged.
func (e Expectation) IgnoresMarks() bool {
	return slices.ContainsFunc(e.Unjudged, func(u Unjudged) bool { return u.Marks })
}
