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

// door is a listener that an outage closes and that opens again afterwards. The server knows its connections, so that their sockets
// can be asked what the peer has received.
type door struct {
	server *Server
	open   func() (net.Listener, error)

	lock     sync.Mutex
	listener net.Listener
	shut     bool // for good
}

// Accept implements net.Listener. While an outage has closed the door it waits.
func (d *door) Accept() (net.Conn, error) {
	for {
		l := d.present()
		c, err := l.Accept()
		if err == nil {
			return d.server.track(c), nil
		}
		if fault, healed := d.server.present(); fault == FaultOutage {
			select {
			case <-healed:
			case <-d.server.ctx.Done():
			}
		}
		if l == d.present() {
			return nil, err // it was not opened again
		}
	}
}

func (d *door) present() net.Listener {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.listener
}

// reopen listens again after an outage.
func (d *door) reopen() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.shut || d.open == nil {
		return nil
	}
	l, err := d.open()
	if err != nil {
		return err
	}
	d.listener = l
	return nil
}

// pause closes the door until it is opened again.
func (d *door) pause() {
	d.lock.Lock()
	defer d.lock.Unlock()
	_ = d.listener.Close()
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.shut = true
	return d.listener.Close()
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.present().Addr() }

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
