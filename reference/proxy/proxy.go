// Package proxy is the life of a service proxy: observe, plan, apply, again.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"proxyproof/reference/allocate"
	"proxyproof/reference/apply"
	"proxyproof/reference/conflict"
	"proxyproof/reference/drain"
	"proxyproof/reference/healthcheck"
	"proxyproof/reference/observe"
	"proxyproof/reference/plan"
	"proxyproof/reference/status"
)

// Config is how a proxy is to behave.
type Config struct {
	API                *rest.Config
	Node               string
	LoadBalancer       bool
	LoadBalancerRanges []netip.Prefix
	LeaseNamespace     string
	MasqueradeAll      bool
	// NodePortsOnAll: node ports are served on all addresses of the node.
	NodePortsOnAll bool
	// SyncPeriod is the time between repairs of what somebody else changed.
	SyncPeriod time.Duration
	// DrainPeriod is the longest time for which an endpoint that is gone keeps its connections.
	DrainPeriod time.Duration
	// HealthAddress and MetricsAddress are where it tells how it is; nowhere if they are empty.
	HealthAddress, MetricsAddress string
	// Cleanup: it is no proxy that is wanted, but that what proxies have made goes away.
	Cleanup bool
	Log     *slog.Logger
}

// Middleware stands at the seams of a proxy: before the kernel, before the planning of everything and of a Service, around the choice of load
// balancer addresses, and before conflicts are reported. What is nil changes nothing.
type Middleware struct {
	Writer  func(apply.Writer) apply.Writer
	Picture func(plan.Picture) plan.Picture
	Object  plan.Middleware
	Choice  func(allocate.Choice) allocate.Choice
	Report  func(conflict.Report) conflict.Report
}

// seams are what all middleware together makes of them.
type seams struct {
	writer  apply.Writer
	picture func(plan.Picture) plan.Picture
	objects []plan.Middleware
	choice  allocate.Choice
	report  conflict.Report
}

func (s seams) wrapped(all []Middleware) seams {
	for _, m := range all {
		if m.Writer != nil {
			s.writer = m.Writer(s.writer)
		}
		if m.Picture != nil {
			s.picture = then(s.picture, m.Picture)
		}
		if m.Object != nil {
			s.objects = append(s.objects, m.Object)
		}
		if m.Choice != nil {
			s.choice = m.Choice(s.choice)
		}
		if m.Report != nil {
			s.report = m.Report(s.report)
		}
	}
	return s
}

func then(first, second func(plan.Picture) plan.Picture) func(plan.Picture) plan.Picture {
	return func(p plan.Picture) plan.Picture { return second(first(p)) }
}

// Run is a proxy until the context ends. All kernel state stays.
func Run(ctx context.Context, c Config, middleware ...Middleware) error {
	client, err := kubernetes.NewForConfig(c.API)
	if err != nil {
		return fmt.Errorf("make a client of the API: %w", err)
	}
	kernel, err := apply.NewKernel()
	if err != nil {
		return err
	}
	defer kernel.Close()
	figures := status.New(kernel.Writes)
	told, err := figures.Serve(ctx, c.HealthAddress, c.MetricsAddress)
	if err != nil {
		return err
	}
	defer told.Close()
	observer, err := observe.New(client, c.Node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer observer.Stop()
	defer cancel()
	links, err := observe.WatchLinks(ctx)
	if err != nil {
		return err
	}
	if err := observer.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	conflicts := conflict.New(client, component, c.Node)
	defer conflicts.Close()
	seams := seams{writer: kernel, picture: func(p plan.Picture) plan.Picture { return p }, choice: allocate.Choose, report: conflicts.Report}.wrapped(middleware)
	p := &proxy{
		config: c, kernel: kernel, seams: seams, observer: observer, links: links, poke: func() {}, book: drain.New(c.DrainPeriod),
		status: figures, health: &healthcheck.Server{Log: c.Log},
	}
	defer p.health.Close()
	var allocation sync.WaitGroup
	if c.LoadBalancer {
		allocator := &allocate.Allocator{
			Client: client, Services: observer.Services, Choose: seams.choice, Ranges: c.LoadBalancerRanges,
			Namespace: c.LeaseNamespace, Identity: c.Node, Log: c.Log,
		}
		p.poke = allocator.Poke
		allocation.Go(func() { allocator.Run(ctx) })
	}
	p.loop(ctx)
	cancel()
	allocation.Wait()
	return nil
}

// component is the source of its Events.
const component = "proxyproof-reference"

type proxy struct {
	config   Config
	kernel   *apply.Kernel
	seams    seams
	health   *healthcheck.Server
	observer *observe.Observer
	links    *observe.Links
	poke     func()
	planner  *plan.Planner
	book     *drain.Book
	status   *status.Status
	applier  *apply.Applier // nil: the kernel must be read first
	moved    bool           // the machine's addresses may be others
	ready    bool
}

// retryDelay is the pause after a failed sync.
const retryDelay = time.Second

// loop syncs whenever something changed.
func (p *proxy) loop(ctx context.Context) {
	repair := time.NewTicker(p.config.SyncPeriod)
	defer repair.Stop()
	for {
		var retry <-chan time.Time
		if err := p.measured(); err != nil {
			p.complain(err)
			p.applier = nil
			retry = time.After(retryDelay)
		} else if !p.ready {
			p.ready = true
			p.config.Log.Info("ready")
		}
		select {
		case <-ctx.Done():
			return
		case <-p.observer.Changed():
		case <-p.links.Changed():
			p.moved = true
		case <-p.sweep():
		case <-retry:
		case <-repair.C:
			p.applier = nil
		}
	}
}

// complain logs why a sync failed. That something of the proxy's own is gone is no fault of its: somebody took it away between two
// repairs, and the sync that follows reads the kernel anew.
func (p *proxy) complain(err error) {
	var file *fs.PathError // a program that is not there
	if !errors.As(err, &file) && (errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)) {
		p.config.Log.Warn("somebody has taken away what the proxy had made; it looks again", "error", err)
		return
	}
	p.config.Log.Error("sync failed", "error", err)
}

// sweepInterval is the time between looks at the connections of destinations that are being drained.
const sweepInterval = time.Second

// sweep wakes the loop while something is being drained.
func (p *proxy) sweep() <-chan time.Time {
	if p.applier == nil || !p.applier.Draining() {
		return nil
	}
	return time.After(sweepInterval)
}

// measured is a sync whose figures are told.
func (p *proxy) measured() error {
	started := time.Now()
	err := p.sync()
	services, conflicts := 0, map[plan.Service]*corev1.Service{}
	if err == nil {
		state := p.planner.State()
		services = len(state.Services)
		for _, key := range p.applier.Conflicts(state) {
			conflicts[key] = p.planner.Owner(key)
		}
		p.seams.report(conflicts)
	}
	p.status.Synced(time.Since(started), services, len(conflicts), err)
	return err
}

// sync brings the kernel to what is planned now, and deletes what has drained.
func (p *proxy) sync() error {
	if err := p.apply(); err != nil {
		return err
	}
	return p.applier.Sweep(time.Now())
}

// apply looks at what has changed. Usually that is a few Services, and only they are looked at.
func (p *proxy) apply() error {
	changes := p.observer.Take()
	if changes.Objects {
		p.poke()
	}
	if p.applier == nil || changes.Nodes || p.moved {
		p.moved = false
		return p.syncAll()
	}
	objects, err := p.observer.Objects(changes.Services)
	if err != nil {
		return err
	}
	change := p.planner.Update(objects...)
	state := p.planner.State()
	err = p.applier.Update(state, change)
	if change.Health {
		err = errors.Join(err, p.health.Serve(state.Health))
	}
	return err
}

// syncAll plans everything anew, and reads the kernel if it is not known what it holds.
func (p *proxy) syncAll() error {
	picture, err := p.observer.Picture()
	if err != nil {
		return err
	}
	local, err := observe.Local()
	if err != nil {
		return err
	}
	p.planner = plan.NewPlanner(p.seams.picture(picture), plan.Facts{
		Local: local, MasqueradeAll: p.config.MasqueradeAll, NodePortsOnAll: p.config.NodePortsOnAll,
	}, p.seams.objects...)
	state := p.planner.State()
	if len(state.Families) == 0 {
		return errors.New("the Node object has no internal IP address")
	}
	if p.applier == nil {
		actual, err := p.kernel.Read(state)
		if err != nil {
			return fmt.Errorf("read the kernel's state: %w", err)
		}
		for service := range actual.Foreign {
			p.config.Log.Info("leaves a foreign virtual service alone", "service", service)
		}
		p.applier = apply.New(p.seams.writer, actual, p.config.Log)
		p.applier.DrainBy(p.book, p.kernel.Connections, time.Now())
	}
	return errors.Join(p.applier.Apply(state), p.health.Serve(state.Health))
}
