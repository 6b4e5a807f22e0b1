// Package observe keeps a picture of what a proxy needs to know: Services, EndpointSlices and Nodes from the API, and
// the addresses of the machine's links from the kernel.
package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"proxyproof/reference/plan"
)

// Observer is fed by the API.
type Observer struct {
	node     string
	factory  informers.SharedInformerFactory
	synced   []cache.InformerSynced
	nodes    corelisters.NodeLister
	services corelisters.ServiceLister
	slices   cache.Indexer // by Service
	changed  chan struct{}

	lock    sync.Mutex
	changes Changes // since they were last taken
}

// Changes are what the API has told.
type Changes struct {
	// Nodes: a Node came or went, or has other addresses or pod ranges.
	Nodes bool
	// Services are those that came, changed or went, themselves or their EndpointSlices.
	Services map[types.NamespacedName]bool
	// Objects: a Service itself came, changed or went, and not only its endpoints.
	Objects bool
}

// byService is the index of EndpointSlices.
const byService = "service"

// New prepares to watch for the proxy of a node.
func New(client kubernetes.Interface, node string) (*Observer, error) {
	o := &Observer{node: node, changed: make(chan struct{}, 1)}
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip))
	o.factory = all
	nodes, services, slices := all.Core().V1().Nodes(), all.Core().V1().Services(), all.Discovery().V1().EndpointSlices().Informer()
	if err := slices.AddIndexers(cache.Indexers{byService: indexByService}); err != nil {
		return nil, fmt.Errorf("index EndpointSlices by Service: %w", err)
	}
	o.nodes, o.services, o.slices = nodes.Lister(), services.Lister(), slices.GetIndexer()
	for _, w := range []struct {
		informer cache.SharedIndexInformer
		told     func(old, now any)
	}{{nodes.Informer(), o.nodeTold}, {services.Informer(), o.serviceTold}, {slices, o.sliceTold}} {
		registration, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(now any) { w.told(nil, now) },
			UpdateFunc: w.told,
			DeleteFunc: func(old any) { w.told(old, nil) },
		})
		if err != nil {
			return nil, fmt.Errorf("watch the API: %w", err)
		}
		o.synced = append(o.synced, registration.HasSynced)
	}
	return o, nil
}

func indexByService(object any) ([]string, error) {
	return []string{plan.ServiceOf(object.(*discoveryv1.EndpointSlice)).String()}, nil
}

// strip drops what a proxy never looks at. The status of a Node is large (images, conditions), and a cluster has many.
func strip(object any) (any, error) {
	if m, ok := object.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	if n, ok := object.(*corev1.Node); ok {
		n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses}
	}
	return object, nil
}

// syncLimit is how long the API may take to tell everything for the first time.
const syncLimit = time.Minute

// Start begins to watch, until the context ends, and returns when everything was told once.
func (o *Observer) Start(ctx context.Context) error {
	o.factory.StartWithContext(ctx)
	limited, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	if !cache.WaitForCacheSync(limited.Done(), o.synced...) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("the API server did not answer in time")
	}
	return nil
}

// Stop waits for the watches to end after their context did.
func (o *Observer) Stop() { o.factory.Shutdown() }

// nodeTold passes on what a proxy looks at, and not that a kubelet is alive. Of other nodes it is the addresses that no Service may take.
func (o *Observer) nodeTold(old, now any) {
	a, _ := last(old).(*corev1.Node)
	b, _ := last(now).(*corev1.Node)
	if a != nil && b != nil && equality.Semantic.DeepEqual(a.Status.Addresses, b.Status.Addresses) &&
		equality.Semantic.DeepEqual(a.Spec.PodCIDRs, b.Spec.PodCIDRs) {
		return
	}
	o.note(func(c *Changes) { c.Nodes = true })
}

func (o *Observer) serviceTold(old, now any) {
	for _, object := range []any{old, now} {
		if s, ok := last(object).(*corev1.Service); ok {
			name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
			o.note(func(c *Changes) { c.Services[name], c.Objects = true, true })
		}
	}
}

// sliceTold notes the Service that the slice belongs to, and the one that it belonged to.
func (o *Observer) sliceTold(old, now any) {
	for _, object := range []any{old, now} {
		if s, ok := last(object).(*discoveryv1.EndpointSlice); ok {
			o.note(func(c *Changes) { c.Services[plan.ServiceOf(s)] = true })
		}
	}
}

// last is an object as it was last known, if the watch has missed its end.
func last(object any) any {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		return unknown.Obj
	}
	return object
}

func (o *Observer) note(change func(*Changes)) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.changes.Services == nil {
		o.changes.Services = map[types.NamespacedName]bool{}
	}
	change(&o.changes)
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Changed has a value when there are changes to take. Many changes may be one value.
func (o *Observer) Changed() <-chan struct{} { return o.changed }

// Take hands over what changed since the last time.
func (o *Observer) Take() Changes {
	o.lock.Lock()
	defer o.lock.Unlock()
	changes := o.changes
	o.changes = Changes{}
	return changes
}

// Objects is what is known now of some Services.
func (o *Observer) Objects(names map[types.NamespacedName]bool) ([]plan.Object, error) {
	objects := make([]plan.Object, 0, len(names))
	for name := range names {
		service, err := o.services.Services(name.Namespace).Get(name.Name)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("find Service %s: %w", name, err)
		}
		if err != nil {
			service = nil
		}
		found, err := o.slices.ByIndex(byService, name.String())
		if err != nil {
			return nil, fmt.Errorf("find EndpointSlices of %s: %w", name, err)
		}
		objects = append(objects, plan.Object{Name: name, Service: service, Slices: slicesOf(found)})
	}
	return objects, nil
}

func slicesOf(objects []any) []*discoveryv1.EndpointSlice {
	slices := make([]*discoveryv1.EndpointSlice, 0, len(objects))
	for _, object := range objects {
		slices = append(slices, object.(*discoveryv1.EndpointSlice))
	}
	return slices
}

// Picture is all that is known now.
func (o *Observer) Picture() (plan.Picture, error) {
	node, err := o.nodes.Get(o.node)
	if err != nil {
		return plan.Picture{}, fmt.Errorf("find the Node object %s: %w", o.node, err)
	}
	nodes, err := o.nodes.List(labels.Everything())
	if err != nil {
		return plan.Picture{}, fmt.Errorf("list Nodes: %w", err)
	}
	others := slices.DeleteFunc(nodes, func(n *corev1.Node) bool { return n.Name == o.node })
	services, err := o.services.List(labels.Everything())
	if err != nil {
		return plan.Picture{}, fmt.Errorf("list Services: %w", err)
	}
	return plan.Picture{Node: node, Others: others, Services: services, Slices: slicesOf(o.slices.List())}, nil
}

// Services are those known now, for the allocator.
func (o *Observer) Services() ([]*corev1.Service, error) { return o.services.List(labels.Everything()) }
