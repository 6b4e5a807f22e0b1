// Package foreign puts things into a node's kernel that belong to somebody else than the proxy under test, and takes them away
// again: virtual services of keepalived, sets and rules of a firewall, addresses and routes of a VPN.
package foreign

import (
	"context"
	"errors"
	"fmt"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// Thing is one piece of kernel state.
type Thing interface {
	// String tells what it is, for errors.
	String() string
	put(ctx context.Context, n world.Node) error
	take(ctx context.Context, n world.Node) error
}

// Put makes things on a node while the subject stands still, and returns what the node's state gained: that and nothing else is
// foreign.
func Put(ctx context.Context, n world.Node, things ...Thing) (*netstate.State, error) {
	var gain *netstate.State
	err := n.Still(func() error {
		before, err := n.State(ctx)
		if err != nil {
			return err
		}
		for _, t := range things {
			if err := t.put(ctx, n); err != nil {
				return fmt.Errorf("put foreign %s on %s: %w", t, n.Name(), err)
			}
		}
		after, err := n.State(ctx)
		if err == nil {
			gain = netstate.Gain(before, after)
		}
		return err
	})
	return gain, err
}

// Take removes things again, the last first.
func Take(ctx context.Context, n world.Node, things ...Thing) error {
	var errs []error
	for i := len(things) - 1; i >= 0; i-- {
		if err := things[i].take(ctx, n); err != nil {
			errs = append(errs, fmt.Errorf("take foreign %s from %s: %w", things[i], n.Name(), err))
		}
	}
	return errors.Join(errs...)
}
