package netns

import (
	"context"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
)

// Fit tells why worlds cannot be made on this machine, or nil if they can. It finds out by doing, in a namespace that is gone
// afterwards: what is listed as a module may be missing, and what is not may be built in.
func Fit(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("not root")
	}
	result := make(chan error, 1)
	onThread(func() { result <- fitHere() })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fitHere moves the thread into a namespace, which ends with it.
func fitHere() error {
	s, err := newSpace()
	if err != nil {
		return err
	}
	defer s.close()
	if err := tryIPVS(); err != nil {
		return err
	}
	if err := s.route.LinkAdd(&netlink.Dummy{LinkAttrs: attrs("kube-dummy-if")}); err != nil {
		return fmt.Errorf("make a dummy link: %w", err)
	}
	return nil
}
