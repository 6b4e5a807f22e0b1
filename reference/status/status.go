// Package status tells over HTTP how a proxy is: whether it lives, whether it is ready, and its figures.
package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Status is what a proxy's loop reports of itself.
type Status struct {
	ready     atomic.Bool
	registry  *prometheus.Registry
	syncs     prometheus.Counter
	failures  prometheus.Counter
	duration  prometheus.Histogram
	services  prometheus.Gauge
	conflicts prometheus.Gauge
}

// New makes a status of a proxy that has done nothing yet. writes counts what it has written to the kernel.
func New(writes func() int64) *Status {
	name := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "proxyproof", Name: name, Help: help}
	}
	s := &Status{
		registry:  prometheus.NewRegistry(),
		syncs:     prometheus.NewCounter(prometheus.CounterOpts(name("syncs_total", "Syncs, failed ones included."))),
		failures:  prometheus.NewCounter(prometheus.CounterOpts(name("sync_errors_total", "Syncs that have failed."))),
		services:  prometheus.NewGauge(prometheus.GaugeOpts(name("virtual_services", "Virtual services that are planned."))),
		conflicts: prometheus.NewGauge(prometheus.GaugeOpts(name("conflicts", "Planned virtual services where somebody else has one, which is left alone."))),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "proxyproof", Name: "sync_duration_seconds", Help: "How long syncs took.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}),
	}
	s.registry.MustRegister(s.syncs, s.failures, s.services, s.conflicts, s.duration, prometheus.NewCounterFunc(
		prometheus.CounterOpts(name("kernel_writes_total", "Messages that changed the kernel, or were meant to. Rules and settings are not counted.")),
		func() float64 { return float64(writes()) }))
	return s
}

// Synced notes a sync. The first that succeeds makes the proxy ready.
func (s *Status) Synced(took time.Duration, services, conflicts int, err error) {
	s.syncs.Inc()
	s.duration.Observe(took.Seconds())
	if err != nil {
		s.failures.Inc()
		return
	}
	s.services.Set(float64(services))
	s.conflicts.Set(float64(conflicts))
	s.ready.Store(true)
}

// health answers /healthz, and /readyz from the first sync on.
func (s *Status) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "nothing was synced yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

func (s *Status) metrics(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
}

// Server serves a status.
type Server struct {
	servers []*http.Server
	serving sync.WaitGroup
}

// Serve answers at two addresses, which may be the same. An empty one is for nobody.
func (s *Status) Serve(ctx context.Context, healthAddress, metricsAddress string) (*Server, error) {
	muxes := map[string]*http.ServeMux{}
	at := func(address string) *http.ServeMux {
		if muxes[address] == nil {
			muxes[address] = http.NewServeMux()
		}
		return muxes[address]
	}
	if healthAddress != "" {
		s.health(at(healthAddress))
	}
	if metricsAddress != "" {
		s.metrics(at(metricsAddress))
	}
	server := &Server{}
	for address, mux := range muxes {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tell the status at %s: %w", address, err), server.Close())
		}
		one := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		server.servers = append(server.servers, one)
		server.serving.Go(func() { _ = one.Serve(l) })
	}
	return server, nil
}

// Close ends the answers.
func (s *Server) Close() error {
	var errs []error
	for _, one := range s.servers {
		errs = append(errs, one.Close())
	}
	s.serving.Wait()
	return errors.Join(errs...)
}
