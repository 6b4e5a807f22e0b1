// Package healthcheck answers on the health-check node ports of Services: a load balancer outside of the cluster asks there whether
// this node has an endpoint of its own for a Service under the policy Local.
package healthcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"proxyproof/reference/plan"
)

// Server listens on one port for each Service that has one.
type Server struct {
	Log *slog.Logger

	ports map[uint16]*port
	open  sync.WaitGroup
}

// port is a listener and what it tells.
type port struct {
	server *http.Server
	lock   sync.Mutex
	health plan.Health
}

// Serve makes the open ports those of the plan. After an error the rest is served all the same.
func (s *Server) Serve(wanted map[uint16]plan.Health) error {
	if s.ports == nil {
		s.ports = map[uint16]*port{}
	}
	for number, p := range s.ports {
		if _, stays := wanted[number]; !stays {
			_ = p.server.Close()
			delete(s.ports, number)
		}
	}
	var errs []error
	for _, number := range slices.Sorted(maps.Keys(wanted)) {
		p := s.ports[number]
		if p == nil {
			p = &port{}
			if err := s.listen(number, p); err != nil {
				errs = append(errs, fmt.Errorf("health checks of Service %s: %w", wanted[number].Service, err))
				continue
			}
			s.ports[number] = p
		}
		p.set(wanted[number])
	}
	return errors.Join(errs...)
}

// listen opens a port on all addresses of the node.
func (s *Server) listen(number uint16, p *port) error {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", ":"+strconv.Itoa(int(number)))
	if err != nil {
		return err
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	s.open.Go(func() {
		if err := p.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("health checks", "port", number, "error", err)
		}
	})
	return nil
}

// Close closes all ports and waits for that.
func (s *Server) Close() {
	for _, p := range s.ports {
		_ = p.server.Close()
	}
	s.open.Wait()
}

func (p *port) set(h plan.Health) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.health = h
}

// ServeHTTP answers as kube-proxy does: 200 if there is an endpoint here, 503 if there is none, and how many there are.
func (p *port) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.lock.Lock()
	h := p.health
	p.lock.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(h.Local))
	if h.Local == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"service":             map[string]string{"namespace": h.Service.Namespace, "name": h.Service.Name},
		"localEndpoints":      h.Local,
		"serviceProxyHealthy": true,
	})
}
