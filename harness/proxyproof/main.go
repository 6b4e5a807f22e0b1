// Command proxyproof tests Kubernetes service proxies: real binaries on a real kernel with real IPVS, ipset and iptables,
// without a cluster. It is the command line on the host, the init of the throwaway VM, and the worker inside.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"proxyproof/harness/run"
	"proxyproof/sim/guest"
)

// commandLine is everything that can be asked of the program.
type commandLine struct {
	Run     runCommand       `cmd:"" help:"Run scenarios against service proxies and judge what the kernel and the packets do."`
	Merge   mergeCommand     `cmd:"" help:"Join the reports of shards into one, and judge the whole."`
	Bisect  bisectCommand    `cmd:"" help:"Find the commit of a proxy that broke a behaviour, or mended it."`
	Verdict verdictCommand   `cmd:"" help:"Judge the work tree that it is started in, for git bisect run: 0 good, 1 bad, 125 skip, 129 trouble."`
	Mutants mutantsCommand   `cmd:"" help:"Prove that the scenarios find what they say: run them against the bug zoo."`
	Doctor  doctorCommand    `cmd:"" help:"Try what works on this machine, and tell what mends the rest."`
	Lint    lintCommand      `cmd:"" help:"Check scenario files without running anything."`
	List    listCommand      `cmd:"" help:"List the cases that would run."`
	Exec    execCommand      `cmd:"" help:"Run a static binary as root on a kernel with IPVS, in a throwaway VM if need be."`
	Schema  schemaCommand    `cmd:"" help:"Print the JSON schema of scenario files."`
	Version kong.VersionFlag `help:"Print the version and end."`
	Worker  workerCommand    `cmd:"" hidden:"" help:"Execute cases for an orchestrator on standard input and output."`
}

// version is the tag or the commit that a build of ci/dist was made from.
var version = "built from a work tree"

// usageError is bad input: the exit code tells it from a failed case.
type usageError struct{ error }

// exitError ends the program with a code after everything was said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	if guest.IsInit() {
		guest.Init()
	}
	os.Exit(program())
}

// program runs the command line and returns the exit code.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	var line commandLine
	parser := kong.Must(&line,
		kong.Name("proxyproof"),
		kong.Description("A simulation and regression test harness for Kubernetes service proxies."),
		kong.UsageOnError(),
		kong.Vars{"version": version},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	exitUsage, exitInfra := run.ExitUsage, run.ExitInfra
	if isVerdict(os.Args[1:]) {
		crashLoudly()
		exitUsage, exitInfra = exitTrouble, exitTrouble
	}
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "proxyproof: %v\n", err)
		return exitUsage
	}
	err = command.Run()
	var exit exitError
	var usage usageError
	switch {
	case err == nil:
		return run.ExitPass
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "%v\n", err)
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "proxyproof: %v\n", err)
	return exitInfra
}
