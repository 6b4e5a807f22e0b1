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
	Hairpins map[Hairpin]bool
	// Health: a health-check node port is another, or tells something else.
	Health bool
}

func noChange() Change {
	return Change{Services: map[Service]bool{}, VIPs: map[netip.Addr]bool{}, Hairpins: map[Hairpin]bool{}}
}

// Middleware stands between what the API says of a Service and its planning.
type Middleware func(Object) Object

// Planner keeps a plan up to date while Services come, change and go one by one. At any time its state is what Plan makes of the
// same objects, but an update costs what the changed Services cost, however many others there are.
type Planner struct {
	node    string
	nodeIPs map[Family]netip.Addr
	// nodePortIPs are the addresses at which node ports are served.
	nodePortIPs map[Family][]netip.Addr
	through     []Middleware
	state       State
	wishes      map[types.NamespacedName]*wish
	// claims are the wishes for each address and port, the oldest Service's first: that one is served.
	claims map[Service][]*wish
	// served counts the planned virtual services of each VIP, hairpins those of each endpoint of this node.
	served   map[netip.Addr]int
	hairpins map[Hairpin]int
	owners   owners
	holders  holders
}

// wish is what a Service would have if it were alone.
type wish struct {
	Object
	services map[Service]Virtual
	vips     map[netip.Addr]netip.Addr
	// here are the endpoints of this node.
	here   map[Dest]bool
	health map[uint16]Health
}

// NewPlanner plans everything.
func NewPlanner(p Picture, f Facts, through ...Middleware) *Planner {
	planner := &Planner{
		node: p.Node.Name, nodeIPs: NodeIPs(p.Node), nodePortIPs: map[Family][]netip.Addr{}, through: through,
		wishes: map[types.NamespacedName]*wish{}, claims: map[Service][]*wish{},
		served: map[netip.Addr]int{}, hairpins: map[Hairpin]int{}, owners: newOwners(), holders: newHolders(p),
		state: State{
			Services: map[Service]Virtual{}, VIPs: map[netip.Addr]netip.Addr{}, LocalIPs: map[netip.Addr]bool{},
			Hairpins: map[Hairpin]bool{}, Health: map[uint16]Health{}, Rules: map[Family]Rules{},
		},
	}
	for _, family := range []Family{IPv4, IPv6} {
		if a := planner.nodeIPs[family]; a.IsValid() {
			planner.state.Families = append(planner.state.Families, family)
			planner.state.Rules[family] = Rules{planner.nodeIPs[family], f.MasqueradeAll}
			planner.nodePortIPs[family] = []netip.Addr{a}
		}
	}
	for _, a := range f.Local {
		first := planner.nodeIPs[FamilyOf(a)]
		if first.IsValid() {
			planner.state.LocalIPs[a] = true
		}
		if f.NodePortsOnAll && first.IsValid() && a != first && !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			planner.nodePortIPs[FamilyOf(a)] = append(planner.nodePortIPs[FamilyOf(a)], a)
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

// Owner is the Service that a planned virtual service is made for.
func (p *Planner) Owner(key Service) *corev1.Service { return p.claims[key][0].Service }

// Update takes in what became of some Services, and tells what of the plan that concerns.
func (p *Planner) Update(objects ...Object) Change {
	change, seekers := noChange(), map[types.NamespacedName]bool{}
	objects = slices.Clone(objects)
	for i := range objects {
		for _, m := range p.through {
			objects[i] = m(objects[i])
		}
		p.owners.update(objects[i], seekers)
	}
	for _, o := range objects {
		p.replan(o, &change)
		delete(seekers, o.Name)
	}
	for name := range seekers {
		if w := p.wishes[name]; w != nil {
			p.replan(w.Object, &change)
		}
	}
	return change
}

func (p *Planner) replan(o Object, change *Change) {
	p.withdraw(o.Name, change)
	if o.Service != nil && served(o.Service) {
		p.claim(o, change)
	}
}

// withdraw takes back what a Service wished.
func (p *Planner) withdraw(name types.NamespacedName, change *Change) {
	w := p.wishes[name]
	if w == nil {
		return
	}
	delete(p.wishes, name)
	for key := range w.services {
		p.settle(key, slices.DeleteFunc(slices.Clone(p.claims[key]), func(c *wish) bool { return c == w }), change)
	}
	for port := range w.health {
		delete(p.state.Health, port)
		change.Health = true
	}
}

// claim takes in what a Service wishes.
func (p *Planner) claim(o Object, change *Change) {
	w := p.wishOf(o)
	p.wishes[o.Name] = w
	for key := range w.services {
		p.settle(key, slices.SortedFunc(slices.Values(append([]*wish{w}, p.claims[key]...)), olderWish), change)
	}
	for port, health := range w.health {
		p.state.Health[port] = health
		change.Health = true
	}
}

func olderWish(a, b *wish) int { return older(a.Service, b.Service) }

func (p *Planner) wishOf(o Object) *wish {
	w := &wish{Object: o, services: map[Service]Virtual{}, vips: map[netip.Addr]netip.Addr{}, here: map[Dest]bool{}}
	target{p, w, o}.plan()
	return w
}

// settle gives an address and port to the oldest of the Services that claim it.
func (p *Planner) settle(key Service, claims []*wish, change *Change) {
	change.Services[key] = true
	if old := p.claims[key]; len(old) > 0 {
		delete(p.state.Services, key)
		p.count(key, old[0], -1, change)
	}
	if len(claims) == 0 {
		delete(p.claims, key)
		return
	}
	p.claims[key] = claims
	p.state.Services[key] = claims[0].services[key]
	p.count(key, claims[0], 1, change)
}

// count keeps the VIPs to those that are served, and the hairpins to those that serve.
func (p *Planner) count(key Service, w *wish, more int, change *Change) {
	for d := range w.services[key].Dests {
		if !w.here[d] {
			continue
		}
		h := Hairpin{d, key.Protocol}
		change.Hairpins[h] = true
		p.hairpins[h] += more
		p.state.Hairpins[h] = true
		if p.hairpins[h] == 0 {
			delete(p.hairpins, h)
			delete(p.state.Hairpins, h)
		}
	}
	source, wanted := w.vips[key.Address]
	if !wanted {
		return
	}
	vip := key.Address
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
	change := noChange()
	for key := range s.Services {
		change.Services[key] = true
	}
	for vip := range s.VIPs {
		change.VIPs[vip] = true
	}
	for h := range s.Hairpins {
		change.Hairpins[h] = true
	}
	change.Health = true
	return change
}
