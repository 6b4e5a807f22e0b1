package main

import (
	"context"
	"fmt"

	"proxyproof/harness/doctor"
	"proxyproof/harness/lane"
	"proxyproof/harness/run"
)

// doctorCommand examines this machine.
type doctorCommand struct {
	Memory int `help:"Memory of the VM in MiB." default:"1024"`
}

// Run is the command.
func (c *doctorCommand) Run(ctx context.Context) error {
	open := func(ctx context.Context, kind lane.Kind, note func(string)) (*lane.Worker, error) {
		return lane.Open(ctx, lane.Config{Kind: kind, Memory: c.Memory, Notice: note})
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
