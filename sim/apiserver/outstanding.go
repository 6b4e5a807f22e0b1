package apiserver

import (
	"fmt"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// tracked is a listener whose connections the server knows, so that their sockets can be asked what the peer has received.
type tracked struct {
	net.Listener
	server *Server
}

func (t tracked) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return t.server.track(c), nil
}

type trackedConn struct {
	net.Conn
	server *Server
	once   sync.Once
}

func (s *Server) track(c net.Conn) net.Conn {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.conns[c] = true
	return &trackedConn{Conn: c, server: s}
}

func (t *trackedConn) Close() error {
	t.once.Do(func() {
		t.server.lock.Lock()
		defer t.server.lock.Unlock()
		delete(t.server.conns, t.Conn)
	})
	return t.Conn.Close()
}

// Outstanding is 0 when every watch has written the newest change of its resource and the kernel says that the peers have
// acknowledged every byte: SIOCOUTQ counts what was sent and not acknowledged.
func (s *Server) Outstanding() (int, error) {
	total := s.store.unsent()
	s.lock.Lock()
	defer s.lock.Unlock()
	for c := range s.conns {
		n, err := unacknowledged(c)
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
