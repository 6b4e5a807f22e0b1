package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"proxyproof/sim/admission"
)

// Control is the harness's own path to the objects: in process, so that nothing that a proxy does can cut it.
type Control struct{ s *Server }

// Control of the server.
func (s *Server) Control() *Control { return &Control{s} }

// Change is what became of an object.
type Change struct {
	Verb   string // "created", "updated", "unchanged", "deleted"
	Object string // "Service default/example"
	Detail string // what the server decided: addresses and ports
}

// Apply creates or updates the objects of a manifest, several of which are separated by "---". Decoding is strict.
func (c *Control) Apply(ctx context.Context, manifest []byte) ([]Change, error) {
	var changes []Change
	documents := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return changes, nil
		}
		if err != nil {
			return changes, fmt.Errorf("read a manifest: %w", err)
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return changes, context.Cause(ctx)
		}
		change, err := c.applyOne(document)
		if err != nil {
			return changes, err
		}
		changes = append(changes, change)
	}
}

func (c *Control) applyOne(document []byte) (Change, error) {
	r, o, err := Decode(document)
	if err != nil {
		return Change{}, err
	}
	m := metaOf(o)
	if r.namespaced && m.GetNamespace() == "" {
		m.SetNamespace("default")
	}
	c.s.store.lock.Lock()
	defer c.s.store.lock.Unlock()
	old := c.s.store.get(r, m.GetNamespace(), m.GetName())
	verb := "created"
	var now runtime.Object
	if old == nil {
		now, err = c.s.createLocked(r, o)
	} else {
		verb = "updated"
		now, err = c.s.updateLocked(r, o, false)
		if now == old {
			verb = "unchanged"
		}
	}
	if err == nil {
		now, err = c.writeStatus(r, o, now)
	}
	if err != nil {
		return Change{}, fmt.Errorf("apply %s: %w", describe(r, o), err)
	}
	return Change{verb, describe(r, now), detail(now)}, nil
}

// writeStatus writes the addresses that a manifest has as the status of a Service, as a load balancer's own controller does: after
// the rest, since the server takes no status with it. The lock is held.
func (c *Control) writeStatus(r *resource, o, now runtime.Object) (runtime.Object, error) {
	given, ok := o.(*corev1.Service)
	if !ok || len(given.Status.LoadBalancer.Ingress) == 0 {
		return now, nil
	}
	updated := now.(*corev1.Service).DeepCopy()
	updated.Status.LoadBalancer = *given.Status.LoadBalancer.DeepCopy()
	return c.s.updateLocked(r, updated, true)
}

// Decode reads one object of a manifest strictly: an unknown field, a wrong type or a field given twice is an error.
func Decode(document []byte) (*resource, runtime.Object, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		return nil, nil, fmt.Errorf("read a manifest: %w", err)
	}
	for _, r := range resources {
		if r.gv().String() != head.APIVersion || r.kind != head.Kind || r.readOnly {
			continue
		}
		o := r.newObject()
		if err := yaml.UnmarshalStrict(document, o); err != nil {
			return nil, nil, fmt.Errorf("read a manifest: %s: %w", head.Kind, err)
		}
		if metaOf(o).GetName() == "" && metaOf(o).GetGenerateName() == "" {
			return nil, nil, fmt.Errorf("read a manifest: %s: metadata.name: Required value", head.Kind)
		}
		return r, o, nil
	}
	return nil, nil, fmt.Errorf("read a manifest: this API server keeps no %s of %s", head.Kind, head.APIVersion)
}

// Delete removes an object.
func (c *Control) Delete(_ context.Context, kind, namespace, name string) (Change, error) {
	r, err := byWord(kind)
	if err != nil {
		return Change{}, fmt.Errorf("delete %s/%s: %w", kind, name, err)
	}
	if !r.namespaced {
		namespace = ""
	}
	o, err := c.s.remove(r, namespace, name, nil)
	if err != nil {
		return Change{}, fmt.Errorf("delete %s %s/%s: %w", kind, namespace, name, err)
	}
	return Change{"deleted", describe(r, o), ""}, nil
}

// Put makes an object be as given, status included.
func (c *Control) Put(_ context.Context, o runtime.Object) error {
	kinds, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		return fmt.Errorf("put an object: %w", err)
	}
	r := byKind(kinds[0])
	if r == nil {
		return fmt.Errorf("put an object: this API server keeps no %s", kinds[0])
	}
	c.s.store.lock.Lock()
	defer c.s.store.lock.Unlock()
	o = o.DeepCopyObject()
	admission.Default(o)
	c.s.set(r, o)
	return nil
}

// SetAPIServer publishes where the API server itself listens, and where others do that are not ready, as the endpoints of the kubernetes
// Service.
func (c *Control) SetAPIServer(addresses, unready []netip.Addr, port uint16) error {
	c.s.setAPIServer(addresses, unready, port)
	return nil
}

// Snapshot is a consistent picture. The objects must not be changed.
type Snapshot struct {
	ResourceVersion uint64
	Services        []*corev1.Service
	Slices          []*discoveryv1.EndpointSlice
	Nodes           []*corev1.Node
	Pods            []*corev1.Pod
	Events          []*corev1.Event
}

// Snapshot of everything that concerns a proxy.
func (c *Control) Snapshot() Snapshot {
	c.s.store.lock.Lock()
	defer c.s.store.lock.Unlock()
	return Snapshot{
		ResourceVersion: c.s.store.version,
		Services:        typed[*corev1.Service](c.s.store, serviceResource()),
		Slices:          typed[*discoveryv1.EndpointSlice](c.s.store, byPath("discovery.k8s.io", "v1", "endpointslices")),
		Nodes:           typed[*corev1.Node](c.s.store, byPath("", "v1", "nodes")),
		Pods:            typed[*corev1.Pod](c.s.store, podResource()),
		Events:          typed[*corev1.Event](c.s.store, byPath("", "v1", "events")),
	}
}

func typed[T runtime.Object](s *store, r *resource) []T {
	var all []T
	for _, o := range s.listLocked(r, "") {
		all = append(all, o.(T))
	}
	return all
}

// Services are those of all namespaces. They must not be changed.
func (c *Control) Services() []*corev1.Service { return c.Snapshot().Services }

func describe(r *resource, o runtime.Object) string {
	m := metaOf(o)
	if m.GetNamespace() == "" {
		return r.kind + " " + m.GetName()
	}
	return fmt.Sprintf("%s %s/%s", r.kind, m.GetNamespace(), m.GetName())
}

// detail tells what the server decided for a Service.
func detail(o runtime.Object) string {
	service, ok := o.(*corev1.Service)
	if !ok {
		return ""
	}
	parts := []string{string(service.Spec.Type)}
	parts = append(parts, service.Spec.ClusterIPs...)
	for _, p := range service.Spec.Ports {
		text := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort != 0 {
			text += fmt.Sprintf(" node port %d", p.NodePort)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
