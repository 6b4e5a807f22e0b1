package netns

import (
	"context"
	"errors"

	"proxyproof/sim/netstate"
)

func (n *node) State(ctx context.Context) (*netstate.State, error) { return nil, errors.ErrUnsupported }
func (n *node) Fingerprint(ctx context.Context) (netstate.Fingerprint, error) {
	return "", errors.ErrUnsupported
}
