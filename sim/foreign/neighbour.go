package foreign

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/dump"
	"proxyproof/sim/world"
)

// FlushNeighbours makes a place forget the hardware addresses that it has learnt; those that were given to it stay.
func FlushNeighbours(ctx context.Context, p world.Place) error {
	return p.Do(ctx, func() error {
		all, err := dump.Whole(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, 0) })
		if err != nil {
			return fmt.Errorf("list the neighbours of %s: %w", p.Name(), err)
		}
		const kept = unix.NUD_PERMANENT | unix.NUD_NOARP
		for _, n := range all {
			if n.State&kept != 0 {
				continue
			}
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("make %s forget %s: %w", p.Name(), n.IP, err)
			}
		}
		return nil
	})
}
