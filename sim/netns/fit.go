package netns

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
)

// Fit tells why worlds cannot be made on this machine, or nil if they can. It finds out by doing, in a namespace that is gone
// afterwards: what is listed as a module may be missing, and what is not may be built in.
func Fit(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("not root")
	}
	result := make(chan error, 1)
	go func() {
		// The thread stays locked and dies with the goroutine, and its namespace with it.
		result <- fitHere()
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func fitHere() error {
	runtime.LockOSThread()
	s, err := newSpace()
	if err != nil {
		return err
	}
	defer s.close()
	if err := tryIPVS(); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "kube-dummy-if"
	if err := s.route.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("make a dummy link: %w", err)
	}
	return nil
}
