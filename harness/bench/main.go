// Command bench measures what a service proxy costs: all Services programmed, one endpoint changed, one Service added; beside a floor
// that writes the same entries straight through netlink, in the same run, on the same kernel, counted and timed at the kernel.
//
// It needs root and a kernel with IPVS: `make bench` runs it in the VM.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"proxyproof/harness/subject"
	"proxyproof/sim/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "floor" {
		return floor(ctx, args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := flags.String("services", "100,1000,3000", "numbers of Services")
	families := flags.String("families", "ipv4,ipv6", "IP families")
	changes := flags.Int("changes", 20, "how often an endpoint is changed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var subjects []subject.Subject
	for _, spec := range flags.Args() {
		s, err := subject.Parse(spec, ".")
		if err != nil {
			return err
		}
		if s.Binary, err = filepath.Abs(s.Binary); err != nil {
			return err
		}
		subjects = append(subjects, s)
	}
	fmt.Println(heading)
	for word := range strings.SplitSeq(*families, ",") {
		family, ok := map[string]world.Family{"ipv4": world.IPv4, "ipv6": world.IPv6}[word]
		if !ok {
			return fmt.Errorf("--families: %q is neither ipv4 nor ipv6", word)
		}
		for size := range strings.SplitSeq(*sizes, ",") {
			n, err := strconv.Atoi(size)
			if err != nil {
				return fmt.Errorf("--services: %w", err)
			}
			if err := compare(ctx, setting{family, n, *changes}, subjects); err != nil {
				return fmt.Errorf("%s, %d Services: %w", family, n, err)
			}
		}
	}
	return nil
}

// compare measures the floor and each subject, one after the other, each in a world of its own.
func compare(ctx context.Context, s setting, subjects []subject.Subject) error {
	least, err := measure(ctx, s, nil)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	fmt.Println(row(s, "floor", least, least))
	for _, one := range subjects {
		f, err := measure(ctx, s, &one)
		if err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
		fmt.Println(row(s, one.Name, f, least))
	}
	return nil
}

const heading = "| family | Services | proxy | all programmed | × floor | first to last write | × floor | writes | " +
	"one endpoint, median | × floor | worst | writes | one Service | × floor | writes | CPU to program | CPU a change | peak memory |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"

// row is a line of the table.
func row(s setting, name string, f, floor figures) string {
	ms := func(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) }
	ratio := func(a, b float64) string { return fmt.Sprintf("%.1f", a/b) }
	return fmt.Sprintf("| %s | %d | %s | %.2f s | %s | %.2f s | %s | %d | %s | %s | %s | %d | %s | %s | %d | %.2f s | %s | %d MiB |",
		s.family, s.services, name, f.program.Seconds(), ratio(f.program.Seconds(), floor.program.Seconds()),
		f.writing.Seconds(), ratio(f.writing.Seconds(), floor.writing.Seconds()), f.programWrites,
		ms(f.change.Seconds()), ratio(f.change.Seconds(), floor.change.Seconds()), ms(f.worst.Seconds()), f.changeWrites,
		ms(f.add.Seconds()), ratio(f.add.Seconds(), floor.add.Seconds()), f.addWrites,
		f.programCPU.Seconds(), ms(f.changeCPU.Seconds()), f.memory>>20)
}
