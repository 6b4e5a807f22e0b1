package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// socket is a connected socket in a place. It implements net.Conn.
type socket struct {
	*os.File
	raw    syscall.RawConn
	remote netip.AddrPort
	// patient sockets go on after an ICMP error, as those of ordinary programs do; the last one is remembered.
	patient bool

	lock sync.Mutex
	last error
}

// open makes a socket in the place of the aim and connects it. It does not wait for the connection.
func (a Aim) open(ctx context.Context, kind, protocol int) (*socket, error) {
	fd := -1
	err := a.From.Do(ctx, func() (err error) {
		fd, err = a.socket(kind, protocol)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &socket{File: os.NewFile(uintptr(fd), "socket"), remote: a.To}
	if s.raw, err = s.File.SyscallConn(); err != nil {
		s.File.Close()
		return nil, err
	}
	return s, nil
}

// socket returns a descriptor that belongs to the namespace of the calling thread.
func (a Aim) socket(kind, protocol int) (int, error) {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR
	if a.family() == world.IPv6 {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("ask for ICMP errors: %w", err)
	}
	if protocol == unix.IPPROTO_TCP {
		// Nagle's algorithm would hold the request back until the end of the handshake is acknowledged, which the server delays for 40 ms.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := a.bind(fd, protocol); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.Connect(fd, sockaddr(a.To)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// bindAttempts bounds the search for a port that nothing in the place uses.
const bindAttempts = 50

// bind gives the socket its address and, if its protocol has ports, a port.
func (a Aim) bind(fd, protocol int) error {
	local, ports := a.local(), protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_UDP || protocol == unix.IPPROTO_SCTP
	if !local.IsValid() {
		if !ports {
			return nil
		}
		local = netip.IPv6Unspecified()
		if a.family() == world.IPv4 {
			local = netip.IPv4Unspecified()
		}
	}
	for attempt := 1; ; attempt++ {
		at := netip.AddrPortFrom(local, 0)
		if ports {
			at = netip.AddrPortFrom(local, cmp.Or(a.LocalPort, a.From.SourcePort()))
		}
		err := unix.Bind(fd, sockaddr(at))
		if err == nil {
			return nil
		}
		if err != unix.EADDRINUSE || a.LocalPort != 0 || attempt == bindAttempts {
			return fmt.Errorf("bind %s: %w", at, os.NewSyscallError("bind", err))
		}
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// icmpError is an ICMP error that a socket reported.
type icmpError struct{ ICMP }

func (e icmpError) Error() string { return e.ICMP.String() }

// connected waits until a TCP connection is made. It ends with the first ICMP error, even if the kernel is going to try again: over
// IPv6 it reports the error only after it has sent the SYN a second time.
func (s *socket) connected(ctx context.Context) error {
	stop := s.bind(ctx)
	defer stop()
	var failure error
	err := s.raw.Write(func(fd uintptr) bool {
		var done bool
		done, failure = progress(int(fd))
		return done
	})
	if err != nil {
		return s.because(ctx, err)
	}
	return failure
}

// progress tells whether a connection is made or has failed.
func progress(fd int) (bool, error) {
	if e, _, ok := queued(fd); ok {
		return true, icmpError{e}
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt", err)
	}
	if errno != 0 {
		return true, os.NewSyscallError("connect", syscall.Errno(errno))
	}
	_, err = unix.Getpeername(fd)
	return err == nil, nil
}

// bind makes the end of a context end what the socket waits for. The returned function ends that.
func (s *socket) bind(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, func() { _ = s.SetDeadline(longAgo) })
}

// because is the context's cause if that is why the socket stopped waiting.
func (s *socket) because(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Read reads; an ICMP error is an icmpError, if the kernel tells its type.
func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := s.File.Read(b)
		if !s.pardon(&err) {
			return n, err
		}
	}
}

// Write writes like Read reads.
func (s *socket) Write(b []byte) (int, error) {
	done := 0
	for {
		n, err := s.File.Write(b[done:])
		done += max(n, 0)
		if !s.pardon(&err) {
			return done, err
		}
	}
}

// pardon gives an error of the network its details, and tells whether to go on in spite of it.
func (s *socket) pardon(err *error) bool {
	if !fromNetwork(*err) {
		return false
	}
	_ = s.raw.Control(func(fd uintptr) {
		if e, _, ok := queued(int(fd)); ok {
			*err = icmpError{e}
		}
	})
	s.lock.Lock()
	defer s.lock.Unlock()
	s.last = *err
	return s.patient
}

// fromNetwork tells whether an error of an established connection or a datagram socket comes from an ICMP message.
func fromNetwork(err error) bool {
	for _, errno := range []syscall.Errno{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.EACCES, unix.EPROTO, unix.EHOSTDOWN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// peekComplaint is the last ICMP error that was pardoned.
func (s *socket) peekComplaint() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.last
}

// complaint is the last ICMP error that was pardoned, and forgets it.
func (s *socket) complaint() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	err := s.last
	s.last = nil
	return err
}

// local is the address that the kernel bound.
func (s *socket) local() netip.AddrPort {
	var local netip.AddrPort
	_ = s.raw.Control(func(fd uintptr) {
		name, err := unix.Getsockname(int(fd))
		if err != nil {
			return
		}
		switch name := name.(type) {
		case *unix.SockaddrInet4:
			local = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
		case *unix.SockaddrInet6:
			local = netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
		}
	})
	return local
}

// LocalAddr implements net.Conn.
func (s *socket) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local()) }

// RemoteAddr implements net.Conn.
func (s *socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }
