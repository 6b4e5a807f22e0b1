package lane

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"proxyproof/sim/guest/image"
	"proxyproof/sim/netns"
)

// Kind is where workers live.
type Kind string

// The lanes. Auto takes the first that works: host, then guest.
const (
	Auto  Kind = "auto"
	Host  Kind = "host"
	Guest Kind = "guest"
)

// Config says where and how to open a worker.
type Config struct {
	Kind Kind
	// Memory of a guest in MiB.
	Memory int
	// Kernel of a guest; a host has its own, so that asking for one is asking for a guest.
	Kernel image.Kernel
	// Notice receives lines that a person should see: what was chosen and why, fallbacks, retries.
	Notice func(string)
}

// Open starts a worker.
func Open(ctx context.Context, c Config) (*Worker, error) {
	m, err := c.machine(ctx, c.resolve(ctx, c.Notice))
	if err != nil {
		return nil, err
	}
	return newWorker(ctx, m)
}

// Resolve is the lane that Open will take: never Auto.
func (c Config) Resolve(ctx context.Context) Kind { return c.resolve(ctx, func(string) {}) }

func (c Config) resolve(ctx context.Context, notice func(string)) Kind {
	switch {
	case c.Kind != Auto:
		return c.Kind
	case c.Kernel != (image.Kernel{}):
		return Guest
	}
	return choose(ctx, notice)
}

func (c Config) machine(ctx context.Context, kind Kind) (machine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	if kind == Host {
		return openHost(self)
	}
	return openGuest(ctx, self, c)
}

// CPUs is how many processors a worker makes use of.
func CPUs() int { return min(runtime.NumCPU(), guestCPUs) }

// guestCPUs bounds the virtual CPUs of a guest; emulation gains little from more.
const guestCPUs = 4

// choose takes the fastest lane that works.
func choose(ctx context.Context, notice func(string)) Kind {
	if err := netns.Fit(ctx); err != nil {
		notice(fmt.Sprintf("lane guest: this host cannot run cases itself: %v", err))
		return Guest
	}
	return Host
}
