package apiserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"golang.org/x/sys/unix"
)

// Fault is what keeps clients from being served well, until it is healed. There is one at a time.
type Fault string

// The faults.
const (
	// FaultOutage: nobody listens any more, and every connection is reset.
	FaultOutage Fault = "outage"
	// FaultBlackHole: what clients send vanishes, and nothing is sent to them.
	FaultBlackHole Fault = "black-hole"
	// FaultSlow: each answer and each event of a watch comes late.
	FaultSlow Fault = "slow"
	// FaultErrors: watches end, and each request fails with status 500.
	FaultErrors Fault = "errors"
)

// slowness is by how much a slow server is late.
const slowness = 500 * time.Millisecond

// Deaf tells whether clients can learn nothing while there is the fault.
func (f Fault) Deaf() bool { return f == FaultOutage || f == FaultBlackHole || f == FaultErrors }

// breakage is the present fault of a server. Its fields are guarded by the server's lock.
type breakage struct {
	fault Fault
	// healed is closed when the fault is over.
	healed chan struct{}
	// missed are the watches that a fault has ended, each with the serial that a new one has to exceed.
	missed map[watchName]uint64
}

// watchName tells the watches of one client from each other, and clients by the listener through which they come.
type watchName struct {
	listener string
	resource *resource
}

// Break begins a fault.
func (c *Control) Break(f Fault) error {
	s := c.s
	s.lock.Lock()
	s.broken.fault, s.broken.healed = f, make(chan struct{})
	s.lock.Unlock()
	switch f {
	case FaultOutage:
		for _, d := range s.allDoors() {
			d.pause()
		}
		s.cut(func(*trackedConn) bool { return true })
	case FaultErrors:
		s.cut((*trackedConn).watched)
	case FaultBlackHole:
		return s.filter(func(fd int) error {
			nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
		})
	}
	return nil
}

// Heal ends the fault.
func (c *Control) Heal() error {
	s := c.s
	fault, healed := s.present()
	var errs []error
	switch fault {
	case FaultOutage:
		for _, d := range s.allDoors() {
			errs = append(errs, d.reopen())
		}
	case FaultBlackHole:
		errs = append(errs, s.filter(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }))
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.broken.fault = ""; healed != nil {
		close(healed)
		s.broken.healed = nil
	}
	return errors.Join(errs...)
}

// DropWatches ends every watch with a reset of its connection.
func (c *Control) DropWatches() { c.s.cut((*trackedConn).watched) }

// Expire ends every watch, and forgets the history from which they could go on: a client has to list again.
func (c *Control) Expire() {
	c.s.store.expire()
	c.DropWatches()
}

// Missing is the number of watches that a fault has ended and that did not come back.
func (s *Server) Missing() int {
	open := s.store.watched()
	s.lock.Lock()
	defer s.lock.Unlock()
	for name, ended := range s.broken.missed {
		if open[name] > ended {
			delete(s.broken.missed, name)
		}
	}
	return len(s.broken.missed)
}

// Forget that watches are missing: their client has ended.
func (c *Control) Forget() {
	c.s.lock.Lock()
	defer c.s.lock.Unlock()
	c.s.broken.missed = nil
}

func (t *trackedConn) watched() bool { return t.watches.Load() > 0 }

// cut resets connections, and remembers the watches that there were.
func (s *Server) cut(which func(*trackedConn) bool) {
	open := s.store.watched()
	s.lock.Lock()
	if s.broken.missed == nil {
		s.broken.missed = map[watchName]uint64{}
	}
	for name, serial := range open {
		s.broken.missed[name] = serial
	}
	var victims []*trackedConn
	for c := range s.conns {
		if which(c) {
			victims = append(victims, c)
		}
	}
	s.lock.Unlock()
	for _, c := range victims {
		reset(c)
	}
}

// reset closes a connection so that the peer is told at once.
func reset(c net.Conn) {
	inner := c
	if t, ok := c.(*trackedConn); ok {
		inner = t.Conn
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	_ = c.Close()
}

// filter does something to all sockets. To drop packets there leaves the node's own rules alone.
func (s *Server) filter(do func(fd int) error) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	var errs []error
	each := func(socket any) {
		from, ok := socket.(syscall.Conn)
		if !ok {
			return
		}
		raw, err := from.SyscallConn()
		if err != nil {
			return // closed meanwhile
		}
		_ = raw.Control(func(fd uintptr) {
			if err := do(int(fd)); !errors.Is(err, unix.ENOENT) { // accepted since, without a filter
				errs = append(errs, err)
			}
		})
	}
	for _, d := range s.doors {
		each(d.present())
	}
	for c := range s.conns {
		each(c.Conn)
	}
	return errors.Join(errs...)
}

func (s *Server) allDoors() []*door {
	s.lock.Lock()
	defer s.lock.Unlock()
	return slices.Clone(s.doors)
}

// present is the fault now, and what is closed when it is over.
func (s *Server) present() (Fault, chan struct{}) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.broken.fault, s.broken.healed
}

// hinder makes a client wait as the present fault says: for a while, or until it is over. It returns early with the context.
func (s *Server) hinder(ctx context.Context) {
	fault, healed := s.present()
	switch fault {
	case FaultBlackHole:
		select {
		case <-healed:
		case <-ctx.Done():
		}
	case FaultSlow:
		timer := time.NewTimer(slowness)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-healed:
		case <-ctx.Done():
		}
	}
}

// hindered lets faults come before the answer to a request.
func (s *Server) hindered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isHealth(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		s.hinder(r.Context())
		if fault, _ := s.present(); fault == FaultErrors {
			writeStatus(w, r, apierrors.NewInternalError(errors.New("this API server is in trouble")))
			return
		}
		next.ServeHTTP(w, r)
	})
}
