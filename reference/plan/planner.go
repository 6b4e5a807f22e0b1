package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Object is what the API says of one Service.
type Object struct {
	Name types.NamespacedName
	// Service is nil if there is none of that name.
	Service *corev1.Service
	Slices  []*discoveryv1.EndpointSlice
}

// Change names the entries of a State that may be others than before.
type Change struct {
	Services map[Service]bool
	VIPs     map[netip.Addr]bool
}

// Planner keeps a plan up to date while Services come, change and go one by one. At any time its state is what Plan makes of the
// same objects, but an update costs what the changed Services cost, however many others there are.
type Planner struct {
	node    string
	nodeIPs map[Family]netip.Addr
	state   State
	wishes  map[types.NamespacedName]*wish
	// claims are the wishes for each address and port, the oldest Service's first: that one is served.
	claims map[Service][]*wish
	// served counts the planned virtual services of each VIP.
	served map[netip.Addr]int
}

// wish is what a Service would have if it were alone.
type wish struct {
	service  *corev1.Service
	services map[Service]Virtual
	vips     map[netip.Addr]netip.Addr
}

// NewPlanner plans everything.
func NewPlanner(p Picture, f Facts) *Planner {
	planner := &Planner{
		node: p.Node.Name, nodeIPs: NodeIPs(p.Node), wishes: map[types.NamespacedName]*wish{}, claims: map[Service][]*wish{}, served: map[netip.Addr]int{},
		state: State{
			Services: map[Service]Virtual{}, VIPs: map[netip.Addr]netip.Addr{}, LocalIPs: map[netip.Addr]bool{}, MasqueradeAll: f.MasqueradeAll,
		},
	}
	for _, family := range []Family{IPv4, IPv6} {
		if planner.nodeIPs[family].IsValid() {
			planner.state.Families = append(planner.state.Families, family)
		}
	}
	for _, a := range f.Local {
		if planner.nodeIPs[FamilyOf(a)].IsValid() {
			planner.state.LocalIPs[a] = true
		}
	}
	planner.Update(p.objects()...)
	return planner
}

// objects sorts the slices to their Services. Slices of a Service that does not exist mean nothing.
func (p Picture) objects() []Object {
	slicesOf := map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for _, slice := range p.Slices {
		name := ServiceOf(slice)
		slicesOf[name] = append(slicesOf[name], slice)
	}
	objects := make([]Object, 0, len(p.Services))
	for _, service := range p.Services {
		name := types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
		objects = append(objects, Object{name, service, slicesOf[name]})
	}
	return objects
}

// ServiceOf names the Service that a slice belongs to.
func ServiceOf(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

// State is the plan now. The next Update changes it.
func (p *Planner) State() State { return p.state }

// Update takes in what became of some Services, and tells what of the plan that concerns.
func (p *Planner) Update(objects ...Object) Change {
	change := Change{map[Service]bool{}, map[netip.Addr]bool{}}
	for _, o := range objects {
		p.withdraw(o.Name, change)
		if o.Service != nil && served(o.Service) {
			p.claim(o, change)
		}
	}
	return change
}

// withdraw takes back what a Service wished.
func (p *Planner) withdraw(name types.NamespacedName, change Change) {
	w := p.wishes[name]
	if w == nil {
		return
	}
	delete(p.wishes, name)
	for key := range w.services {
		p.settle(key, slices.DeleteFunc(slices.Clone(p.claims[key]), func(c *wish) bool { return c == w }), change)
	}
}

// claim takes in what a Service wishes.
func (p *Planner) claim(o Object, change Change) {
	w := p.wishOf(o)
	p.wishes[o.Name] = w
	for key := range w.services {
		p.settle(key, slices.SortedFunc(slices.Values(append([]*wish{w}, p.claims[key]...)), olderWish), change)
	}
}

func olderWish(a, b *wish) int { return older(a.service, b.service) }

func (p *Planner) wishOf(o Object) *wish {
	alone := State{Services: map[Service]Virtual{}, VIPs: map[netip.Addr]netip.Addr{}, LocalIPs: p.state.LocalIPs}
	target{state: &alone, service: o.Service, slices: o.Slices, nodeIPs: p.nodeIPs, node: p.node}.plan()
	return &wish{o.Service, alone.Services, alone.VIPs}
}

// settle gives an address and port to the oldest of the Services that claim it.
func (p *Planner) settle(key Service, claims []*wish, change Change) {
	change.Services[key] = true
	if old := p.claims[key]; len(old) > 0 {
		delete(p.state.Services, key)
		p.count(key.Address, old[0], -1, change)
	}
	if len(claims) == 0 {
		delete(p.claims, key)
		return
	}
	p.claims[key] = claims
	p.state.Services[key] = claims[0].services[key]
	p.count(key.Address, claims[0], 1, change)
}

// count keeps the VIPs to those that are served.
func (p *Planner) count(vip netip.Addr, w *wish, more int, change Change) {
	source, wanted := w.vips[vip]
	if !wanted {
		return
	}
	change.VIPs[vip] = true
	p.served[vip] += more
	p.state.VIPs[vip] = source
	if p.served[vip] == 0 {
		delete(p.served, vip)
		delete(p.state.VIPs, vip)
	}
}

// Everything names all entries of a state.
func (s State) Everything() Change {
	change := Change{map[Service]bool{}, map[netip.Addr]bool{}}
	for key := range s.Services {
		change.Services[key] = true
	}
	for vip := range s.VIPs {
		change.VIPs[vip] = true
	}
	return change
}
