package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apifield "k8s.io/apimachinery/pkg/util/validation/field"
	kyaml "sigs.k8s.io/yaml"

	"proxyproof/sim/admission"
	"proxyproof/sim/world"
)

// refusal is what the API server will say about an object of the scenario, and where in the file.
type refusal struct {
	at       spot
	ref      Ref
	err      *apifield.Error
	families []FamilySet
}

// key is what two refusals have in common that are the same to an author. Values and addresses differ between families and seeds.
func (r refusal) key() string {
	var words []string
	for _, word := range strings.Fields(strings.ReplaceAll(r.err.Detail, fmt.Sprint(r.err.BadValue), "")) {
		if _, err := netip.ParseAddr(strings.Trim(word, "()\",.:")); err != nil {
			words = append(words, word)
		}
	}
	return fmt.Sprint(r.at, r.ref, r.err.Type, words)
}

// checkAdmission writes the manifests of all steps to an API server that exists only here, in every family set of the scenario.
// What that refuses, the one in the case will refuse as well. Addresses and ports that it chooses differ between seeds: a refusal
// that depends on them is none of the author's before the case runs.
func (c *checker) checkAdmission() {
	refusals := c.refusals(1)
	if len(refusals) > 0 {
		other := map[string]bool{}
		for _, r := range c.refusals(2) {
			other[r.key()] = true
		}
		refusals = slices.DeleteFunc(refusals, func(r refusal) bool { return !other[r.key()] })
	}
	for _, r := range refusals {
		c.report(r.at, c.advice(r), "%s: the API server refuses this: %s", r.ref, r.err.Error())
	}
}

// advice is what to do about a refusal.
func (c *checker) advice(r refusal) string {
	var parts []string
	if r.err.Type == apifield.ErrorTypeRequired {
		name := r.err.Field[strings.LastIndex(r.err.Field, ".")+1:]
		parts = append(parts, "add "+name)
	}
	if len(r.families) < len(c.scenario.Cases()) {
		parts = append(parts, fmt.Sprintf("it does so in %s only", strings.Join(wordsOf(r.families...), ", ")))
	}
	return strings.Join(parts, "; ")
}

// refusals are those of all family sets, each once.
func (c *checker) refusals(seed uint64) []refusal {
	var all []refusal
	for _, one := range c.scenario.Cases() {
		for _, r := range newRehearsal(c, one.Family, seed).run() {
			i := slices.IndexFunc(all, func(other refusal) bool { return other.key() == r.key() })
			if i < 0 {
				i = len(all)
				all = append(all, r)
			}
			if !slices.Contains(all[i].families, one.Family) {
				all[i].families = append(all[i].families, one.Family)
			}
		}
	}
	return all
}

// rehearsal is the API server of a case without a case.
type rehearsal struct {
	*checker
	families  []world.Family
	ranges    world.Ranges
	admission *admission.Admission
	objects   map[Ref]runtime.Object
	found     []refusal
}

func newRehearsal(c *checker, set FamilySet, seed uint64) *rehearsal {
	r := &rehearsal{checker: c, families: set.Families(), ranges: world.DefaultRanges(), objects: map[Ref]runtime.Object{}}
	r.admission = admission.New(admission.Config{Families: r.families, ServiceCIDRs: r.ranges.Services, Seed: seed})
	api := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: defaultNamespace, Name: apiService}, Spec: corev1.ServiceSpec{
		ClusterIP: r.ranges.Services[r.families[0]].Masked().Addr().Next().String(),
		Ports:     []corev1.ServicePort{{Port: apiServicePort}},
	}}
	if errs := r.admission.Create(api); len(errs) > 0 {
		panic(fmt.Sprintf("scenario: the Service of the API server: %v", errs)) // a fault of this package
	}
	r.objects[serviceRef(defaultNamespace, apiService)] = api
	return r
}

// run goes through the steps up to the first that is refused: what would follow is not what would happen.
func (r *rehearsal) run() []refusal {
	for i := range r.scenario.Steps {
		step := &r.scenario.Steps[i]
		for _, o := range r.manifests[step] {
			r.apply(o)
		}
		for _, written := range step.Delete {
			if ref, err := ParseRef(written); err == nil && r.objects[ref] != nil {
				r.admission.Release(r.objects[ref])
				delete(r.objects, ref)
			}
		}
		if len(r.found) > 0 {
			break
		}
	}
	return r.found
}

// apply writes one document of a manifest.
func (r *rehearsal) apply(o object) {
	all, err := Fill(o.text, r.families, r.placeholders)
	if err != nil {
		return // a target whose address only the case will know
	}
	for _, filled := range all {
		written := o.empty()
		if err := kyaml.UnmarshalStrict([]byte(filled.Text), written); err != nil {
			continue // a target where no address can be; the case reports it
		}
		ref := o.Ref
		ref.Name = written.GetName()
		if ref.Namespace != "" {
			written.SetNamespace(ref.Namespace)
		}
		for _, e := range r.write(ref, written.(runtime.Object)) {
			at, path := o.place(e.Field, filled.origins)
			e.Field = path
			r.found = append(r.found, refusal{at: at, ref: o.Ref, err: e})
		}
	}
}

// write does what the API server does with an object of a manifest: it creates or replaces it, and then writes its status.
func (r *rehearsal) write(ref Ref, o runtime.Object) apifield.ErrorList {
	given := o.DeepCopyObject()
	old := r.objects[ref]
	var errs apifield.ErrorList
	if old == nil {
		errs = r.admission.Create(o)
	} else {
		o = admission.Merge(o, old, false)
		errs = r.admission.Update(o, old)
	}
	if service, ok := given.(*corev1.Service); ok && len(errs) == 0 && len(service.Status.LoadBalancer.Ingress) > 0 {
		now := o
		o = admission.Merge(given, now, true)
		errs = r.admission.Update(o, now)
	}
	if len(errs) == 0 {
		r.objects[ref] = o
	}
	return errs
}

// errLater tells that the addresses of a target depend on the subject.
var errLater = errors.New("known in the case only")

// placeholders are addresses that stand for those of a target: of the right family, and of the same range.
func (r *rehearsal) placeholders(written string, f world.Family) ([]netip.Addr, error) {
	t, err := ParseTarget(written)
	if err != nil {
		return nil, err
	}
	number := 1 + slices.Index(r.cast.all, t.Name)
	var all []netip.Addr
	switch t.Kind {
	case TargetNode, TargetAPIServer, TargetClient:
		count := 1
		if n := r.cast.nodes[t.Name]; n != nil {
			count = max(n.Addresses, 1)
		}
		for i := range count {
			all = append(all, world.Last(r.ranges.Nodes[f], 100+2*number+i))
		}
	case TargetPod:
		all = append(all, world.Last(r.ranges.Pods[f], 100+number))
	case TargetUnused:
		return []netip.Addr{world.Unused(r.ranges.ByName(t.Name)[f], max(t.Index, 0))}, nil
	default:
		return r.ofService(t, f)
	}
	return indexed(all, t.Index), nil
}

// ofService are the addresses of a Service that exists already. Those that a proxy gives it are not known.
func (r *rehearsal) ofService(t Target, f world.Family) ([]netip.Addr, error) {
	service, _ := r.objects[serviceRef(t.Namespace, t.Name)].(*corev1.Service)
	if service == nil || t.Kind.onNode() {
		return nil, errLater
	}
	texts := map[TargetKind][]string{TargetClusterIP: service.Spec.ClusterIPs, TargetExternal: service.Spec.ExternalIPs}[t.Kind]
	if t.Kind == TargetLB {
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			texts = append(texts, ingress.IP)
		}
		if len(texts) == 0 {
			return nil, errLater
		}
	}
	var all []netip.Addr
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil && world.FamilyOf(a) == f {
			all = append(all, a)
		}
	}
	return indexed(all, t.Index), nil
}

// indexed leaves the address of an index, or all.
func indexed(all []netip.Addr, index int) []netip.Addr {
	switch {
	case index == AllAddresses:
		return all
	case index < len(all):
		return all[index : index+1]
	}
	return nil
}
