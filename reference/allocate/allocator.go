package allocate

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseName is that of the lock among the proxies of a cluster.
const leaseName = "proxyproof-reference-load-balancer"

// Election timing. A proxy that stops gives the lease back, so a long duration only matters after a crash.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 3 * time.Second
)

// Allocator runs on every proxy and works on the elected one.
type Allocator struct {
	Client    kubernetes.Interface
	Services  func() ([]*corev1.Service, error)
	Choose    Choice
	Ranges    []netip.Prefix
	Namespace string // of the Lease
	Identity  string
	Log       *slog.Logger

	lock  sync.Mutex
	poked chan struct{}
	// written are the statuses that Services may not tell yet.
	written map[types.UID]written
}

// written is a Service as it was before a write of its status, and after.
type written struct {
	before string // its version
	after  *corev1.Service
}

// Poke tells that Services may have changed.
func (a *Allocator) Poke() {
	select {
	case a.pokes() <- struct{}{}:
	default:
	}
}

func (a *Allocator) pokes() chan struct{} {
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.poked == nil {
		a.poked = make(chan struct{}, 1)
	}
	return a.poked
}

// Run takes part in elections until the context ends, then gives the lease back.
func (a *Allocator) Run(ctx context.Context) {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: a.Namespace, Name: leaseName},
		Client:     a.Client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: a.Identity},
	}
	for ctx.Err() == nil { // losing an election is no reason to stop taking part
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
			ReleaseOnCancel: true, Name: leaseName,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: a.lead,
				OnStoppedLeading: func() {},
			},
		})
	}
}

// retryDelay is the pause after a write that failed for another reason than a newer version.
const retryDelay = time.Second

// lead hands out addresses until the context ends.
func (a *Allocator) lead(ctx context.Context) {
	a.Log.Info("leads the allocation of load-balancer addresses")
	a.written = map[types.UID]written{}
	a.Poke()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.pokes():
		}
		if !a.allocate(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryDelay):
				a.Poke()
			}
		}
	}
}

// allocate writes what is to be changed and tells whether all went well.
func (a *Allocator) allocate(ctx context.Context) bool {
	services, err := a.Services()
	if err != nil {
		a.Log.Error("list Services", "error", err)
		return false
	}
	changes, err := a.Choose(a.newest(services), a.Ranges)
	if err != nil {
		a.Log.Warn("load-balancer addresses", "reason", err)
	}
	fine := true
	for _, c := range changes {
		fine = a.write(ctx, c) && fine
	}
	return fine
}

// newest replaces the Services of which the last write was not heard yet: their addresses would be given again.
func (a *Allocator) newest(services []*corev1.Service) []*corev1.Service {
	newest, unheard := slices.Clone(services), map[types.UID]written{}
	for i, s := range newest {
		if w, ok := a.written[s.UID]; ok && w.before == s.ResourceVersion {
			newest[i], unheard[s.UID] = w.after, w
		}
	}
	a.written = unheard
	return newest
}

// write updates one status. A conflict means that a newer version is on its way here, which will poke.
func (a *Allocator) write(ctx context.Context, c Change) bool {
	updated := c.Service.DeepCopy()
	updated.Status.LoadBalancer.Ingress = c.Ingress
	after, err := a.Client.CoreV1().Services(updated.Namespace).UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	switch {
	case err == nil:
		a.written[after.UID] = written{c.Service.ResourceVersion, after}
		a.Log.Info("load-balancer addresses", "service", updated.Namespace+"/"+updated.Name, "addresses", ingress(updated))
		return true
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), ctx.Err() != nil:
		return true
	}
	a.Log.Warn("write load-balancer addresses", "service", updated.Namespace+"/"+updated.Name, "reason", err)
	return false
}
