// Package observe keeps a picture of what a proxy needs to know: Services, EndpointSlices and its own Node from the API, and
// the addresses of the machine's links from the kernel.
package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"proxyproof/reference/plan"
)

// Observer is fed by the API.
type Observer struct {
	node      string
	factories []informers.SharedInformerFactory
	synced    []cache.InformerSynced
	nodes     corelisters.NodeLister
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	changed   chan struct{}
}

// New prepares to watch for the proxy of a node.
func New(client kubernetes.Interface, node string) (*Observer, error) {
	o := &Observer{node: node, changed: make(chan struct{}, 1)}
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip))
	own := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip),
		informers.WithTweakListOptions(func(l *metav1.ListOptions) {
			l.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, node).String()
		}))
	o.factories = []informers.SharedInformerFactory{all, own}
	o.nodes, o.services, o.slices = own.Core().V1().Nodes().Lister(), all.Core().V1().Services().Lister(), all.Discovery().V1().EndpointSlices().Lister()
	for _, informer := range []cache.SharedIndexInformer{
		own.Core().V1().Nodes().Informer(), all.Core().V1().Services().Informer(), all.Discovery().V1().EndpointSlices().Informer(),
	} {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { o.notify() },
			UpdateFunc: func(any, any) { o.notify() },
			DeleteFunc: func(any) { o.notify() },
		})
		if err != nil {
			return nil, fmt.Errorf("watch the API: %w", err)
		}
		o.synced = append(o.synced, registration.HasSynced)
	}
	return o, nil
}

// strip drops what a proxy never looks at.
func strip(object any) (any, error) {
	if m, ok := object.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return object, nil
}

// syncLimit is how long the API may take to tell everything for the first time.
const syncLimit = time.Minute

// Start begins to watch, until the context ends, and returns when everything was told once.
func (o *Observer) Start(ctx context.Context) error {
	for _, f := range o.factories {
		f.StartWithContext(ctx)
	}
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
func (o *Observer) Stop() {
	for _, f := range o.factories {
		f.Shutdown()
	}
}

func (o *Observer) notify() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Changed has a value when something changed since it was last read. Many changes may be one value.
func (o *Observer) Changed() <-chan struct{} { return o.changed }

// Picture is what is known now.
func (o *Observer) Picture() (plan.Picture, error) {
	node, err := o.nodes.Get(o.node)
	if err != nil {
		return plan.Picture{}, fmt.Errorf("find the Node object %s: %w", o.node, err)
	}
	services, err := o.services.List(labels.Everything())
	if err != nil {
		return plan.Picture{}, fmt.Errorf("list Services: %w", err)
	}
	slices, err := o.slices.List(labels.Everything())
	if err != nil {
		return plan.Picture{}, fmt.Errorf("list EndpointSlices: %w", err)
	}
	return plan.Picture{Node: node, Services: services, Slices: slices}, nil
}

// Services are those known now, for the allocator.
func (o *Observer) Services() ([]*corev1.Service, error) { return o.services.List(labels.Everything()) }
