package worker

import (
	"context"

	"proxyproof/sim/netns"
)

// lacks are the capabilities that this machine does not have, with reasons.
func lacks(ctx context.Context) map[string]string {
	if err := netns.Fit(ctx); err != nil {
		return map[string]string{"ipvs": err.Error()}
	}
	return nil
}
