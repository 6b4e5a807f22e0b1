// Package server answers who it is and whom it saw, over TCP, SCTP and UDP; world.Answer is the protocol. It runs as goroutines with
// sockets inside a place, on every address of both families.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"proxyproof/sim/world"
)

// Server is one port of one place. The zero value is not usable.
type Server struct {
	name    string
	closers []io.Closer
	running sync.WaitGroup

	lock   sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// maxConns bounds the connections that a server holds at once. Further ones wait to be accepted.
const maxConns = 512

// Start listens in a place on port, on all addresses of the families. name is what it answers with. Close ends it.
func Start(ctx context.Context, p world.Place, name string, port world.Port, families []world.Family) (*Server, error) {
	s := &Server{name: name, conns: map[net.Conn]struct{}{}}
	for _, f := range families {
		if err := s.listen(ctx, p, port, f); err != nil {
			s.Close()
			return nil, fmt.Errorf("listen on %s of %s: %w", port, p.Name(), err)
		}
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context, p world.Place, port world.Port, f world.Family) error {
	digit, any := "4", netip.IPv4Unspecified()
	if f == world.IPv6 {
		digit, any = "6", netip.IPv6Unspecified()
	}
	at := netip.AddrPortFrom(any, port.Number)
	switch port.Protocol {
	case world.TCP, world.SCTP:
		l, err := p.Listen(ctx, strings.ToLower(string(port.Protocol))+digit, at) // tcp6 does not take IPv4 connections
		if err != nil {
			return err
		}
		s.closers = append(s.closers, l)
		s.running.Go(func() { s.accept(l) })
	case world.UDP:
		c, err := p.ListenPacket(ctx, "udp"+digit, at)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, c)
		d, err := newDatagrams(c, f)
		if err != nil {
			return err
		}
		s.running.Go(func() { s.answer(d) })
	default:
		return fmt.Errorf("protocol %s: %w", port.Protocol, errors.ErrUnsupported)
	}
	return nil
}

// Close ends all connections and waits for them.
func (s *Server) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	s.lock.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.lock.Unlock()
	s.running.Wait()
	return errors.Join(errs...)
}

// enter tells whether a new connection may be served.
func (s *Server) enter(c net.Conn) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) leave(c net.Conn) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.conns, c)
	c.Close()
}
