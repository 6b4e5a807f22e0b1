package apiserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// tracked is a listener whose connections the server knows, so that their sockets can be asked what the peer has received.
type tracked struct {
	net.Listener
	server *Server
}

func (t tracked) Accept() (net.Conn, error) {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if fault, _ := t.server.present(); fault != FaultOutage {
			return t.server.track(c), nil
		}
		reset(c)
	}
}

type trackedConn struct {
	net.Conn
	server  *Server
	once    sync.Once
	watches atomic.Int32 // that are open on the connection
}

func (s *Server) track(c net.Conn) net.Conn {
	t := &trackedConn{Conn: c, server: s}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.conns[t] = true
	return t
}

type connKey struct{}

// withConn lets requests know their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if session, ok := c.(*tls.Conn); ok {
		c = session.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// watchOn counts a watch on the connection of a request until the returned function is called.
func watchOn(ctx context.Context) func() {
	t, ok := ctx.Value(connKey{}).(*trackedConn)
	if !ok {
		return func() {}
	}
	t.watches.Add(1)
	return func() { t.watches.Add(-1) }
}

// abandon makes every connection end with a reset when it is closed. A connection that was cut by the network would otherwise
// live on in the kernel, trying to deliver its last bytes, and keep its namespace.
func (s *Server) abandon() {
	s.lock.Lock()
	defer s.lock.Unlock()
	for c := range s.conns {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it may be closed already
		}
	}
}

func (t *trackedConn) Close() error {
	t.once.Do(func() {
		t.server.lock.Lock()
		defer t.server.lock.Unlock()
		delete(t.server.conns, t)
	})
	return t.Conn.Close()
}

// Outstanding is 0 when every watch has written the newest change of its resource and the kernel says that the peers have
// acknowledged every byte: SIOCOUTQ counts what was sent and not acknowledged. Connections without a watch do not count. While clients
// can learn nothing, nothing is on its way to them.
func (s *Server) Outstanding() (int, error) {
	if fault, _ := s.present(); fault.Deaf() {
		return 0, nil
	}
	total := s.store.unsent()
	s.lock.Lock()
	defer s.lock.Unlock()
	for c := range s.conns {
		if c.watches.Load() == 0 {
			continue
		}
		n, err := unacknowledged(c.Conn)
		if err != nil {
			return 0, fmt.Errorf("ask the kernel what %s has received: %w", c.RemoteAddr(), err)
		}
		total += n
	}
	return total, nil
}

func unacknowledged(c net.Conn) (int, error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return 0, nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	var failed error
	if err := raw.Control(func(fd uintptr) { n, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0, nil // closed meanwhile
	}
	return n, failed
}
