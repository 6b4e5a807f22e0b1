package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// node implements world.Node.
type node struct {
	place
	podCIDR map[world.Family]netip.Prefix
	// removed is how many addresses per family were taken from it, the last ones.
	removed atomic.Int32
	keeper  *keeper
	root    *root
	group   *cgroup // nil where there are none
	freezer freezer
	// mounts and uts hold the namespaces for threads that enter them.
	mounts, uts int

	backend netstate.Backend
	reader  *netstate.Reader // nil until the state is first read

	lock      sync.Mutex
	closed    bool
	processes []*process
}

// newNode makes the namespaces and files of a node, on a thread that stays in them.
func newNode(ctx context.Context, l nodeLayout, spec world.Spec, group *cgroup, ports *sourcePorts) (*node, error) {
	n := &node{
		place:   place{name: l.name, kind: world.KindNode, node: l.name, addrs: l.addrs, ports: ports},
		podCIDR: l.podCIDR,
		keeper:  startKeeper(),
		backend: spec.Backend,
		mounts:  -1,
		uts:     -1,
	}
	err := n.keeper.do(ctx, func() (err error) {
		if group != nil {
			if n.group, err = group.child(l.name); err != nil {
				return err
			}
		}
		if n.space, err = newSpace(); err != nil {
			return err
		}
		if err := setSysctls(slices.Concat(everywhere, forwarding)); err != nil {
			return err
		}
		if n.root, err = newRoot(l.name, spec.Backend); err != nil {
			return err
		}
		if n.mounts, err = openNamespace("mnt"); err != nil {
			return err
		}
		n.uts, err = openNamespace("uts")
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make node %s: %w", l.name, err), n.close())
	}
	return n, nil
}

// Written implements world.Node.
func (n *node) Written() ([]string, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.closed {
		return nil, errClosed
	}
	return n.root.written()
}

func (n *node) PodCIDR(f world.Family) netip.Prefix { return n.podCIDR[f] }

// Do runs f in all namespaces of the node, on a thread that ends with it: one that has been in another mount namespace has
// lost its place in this one.
func (n *node) Do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	var err error
	<-onThread(func() {
		if err = n.enterAll(); err == nil {
			err = f()
		}
	})
	return err
}

func (n *node) enterAll() error {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.closed {
		return errClosed
	}
	// A thread that shares its working directory with others may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(n.mounts, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the mount namespace of %s: %w", n.name, os.NewSyscallError("setns", err))
	}
	if err := unix.Setns(n.uts, unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("enter the UTS namespace of %s: %w", n.name, os.NewSyscallError("setns", err))
	}
	return n.enter()
}

// adopt makes the node responsible for a process.
func (n *node) adopt(p *process) error {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.closed {
		return errors.Join(errClosed, p.Kill())
	}
	n.processes = append(n.processes, p)
	return nil
}

// stop ends everything that was started on the node.
func (n *node) stop() error {
	n.lock.Lock()
	n.closed = true
	processes := n.processes
	n.processes = nil
	n.lock.Unlock()
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.Kill())
	}
	return errors.Join(errs...)
}

// close lets the node's namespaces go.
func (n *node) close() error {
	err := n.stop()
	n.keeper.stop()
	if n.reader != nil {
		n.reader.Close()
	}
	for _, fd := range []int{n.mounts, n.uts} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if n.space != nil {
		n.space.close()
	}
	if n.root != nil {
		err = errors.Join(err, n.root.close())
	}
	return err
}
