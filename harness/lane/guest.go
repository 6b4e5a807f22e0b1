package lane

import (
	"context"
	"fmt"
	"io"
	"time"

	"proxyproof/harness/event"
	"proxyproof/sim/guest"
)

// guestMachine is a throwaway VM.
type guestMachine struct {
	*guest.Machine
	cpus int
}

func openGuest(ctx context.Context, self string, c Config) (machine, error) {
	cpus := CPUs()
	m, err := guest.Boot(ctx, guest.Config{Binary: self, Memory: c.Memory, CPUs: cpus, Kernel: c.Kernel, Log: c.Notice})
	if err != nil {
		return nil, err
	}
	return guestMachine{m, cpus}, nil
}

func (g guestMachine) Stream() io.ReadWriter { return g.Pipe }

// Obituary is the end of the console: a panic of the kernel or of the worker stands there.
func (g guestMachine) Obituary() string {
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-g.Done():
	case <-grace.C:
	}
	return g.Console()
}

func (g guestMachine) Figures() event.Machine {
	return event.Machine{
		Lane:       "guest",
		Where:      fmt.Sprintf("a VM with %d CPUs under %s", g.cpus, g.Accel),
		Boot:       g.BootTime,
		Retries:    g.Retries,
		PeakMemory: g.PeakMemory(),
	}
}
