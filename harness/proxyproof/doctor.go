package main

import (
	"context"
	"fmt"

	"proxyproof/harness/doctor"
	"proxyproof/harness/lane"
	"proxyproof/harness/run"
	"proxyproof/sim/guest/image"
)

// doctorCommand examines this machine.
type doctorCommand struct {
	guestArgs
}

// Run is the command.
func (c *doctorCommand) Run(ctx context.Context) error {
	open := func(ctx context.Context, kind lane.Kind, note func(string)) (*lane.Worker, error) {
		config := c.config(note)
		config.Kind = kind
		if kind == lane.Host {
			config.Kernel = image.Kernel{} // it has its own
		}
		return lane.Open(ctx, config)
	}
	fit, err := doctor.Examine(ctx, open, func(a doctor.Answer) {
		for _, line := range a.Lines() {
			fmt.Println(line)
		}
	})
	if err != nil {
		return err
	}
	if !fit {
		fmt.Println("no lane can run cases on this machine")
		return exitError(run.ExitInfra)
	}
	return nil
}
