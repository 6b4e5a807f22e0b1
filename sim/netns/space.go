package netns

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// space is a network namespace. Only descriptors hold it: the kernel removes it when they are closed, however the process
// ends.
type space struct {
	// route is a netlink socket in the namespace.
	route *netlink.Handle
	lock  sync.RWMutex
	fd    int // -1 when closed
}

// newSpace moves the calling thread, which must be locked, into a new network namespace.
func newSpace() (*space, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", os.NewSyscallError("unshare", err))
	}
	fd, err := openNamespace("net")
	if err != nil {
		return nil, err
	}
	route, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open a netlink socket in a new namespace: %w", err)
	}
	return &space{route: route, fd: fd}, nil
}

// do runs f in the namespace, on a thread that nobody else uses meanwhile.
func (s *space) do(f func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // /proc/self shows the main thread's namespace: leave it alone
		var err error
		<-onThread(func() {
			if err = s.enter(); err == nil {
				err = f()
			}
		})
		runtime.UnlockOSThread()
		return err
	}
	home, err := openNamespace("net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer unix.Close(home)
	if err := s.enter(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	// A thread that cannot go home stays locked, and ends with its goroutine.
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

func (s *space) enter() error {
	s.lock.RLock()
	defer s.lock.RUnlock()
	if s.fd < 0 {
		return errClosed
	}
	if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", os.NewSyscallError("setns", err))
	}
	return nil
}

// close lets the namespace go. Sockets that are still open in it keep it alive.
func (s *space) close() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.fd >= 0 {
		s.route.Close()
		unix.Close(s.fd)
		s.fd = -1
	}
}
