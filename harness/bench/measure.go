package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/ipvs"

	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/world"
)

// setting is one size of cluster.
type setting struct {
	family   world.Family
	services int
	changes  int // how often an endpoint is changed
}

// figures are what one proxy costs.
type figures struct {
	program, writing time.Duration // from the start of the process, and from the first write, to the last one's acknowledgement
	programWrites    int
	programCPU       time.Duration
	change, worst    time.Duration // from the API's being written to the destination's acknowledgement
	changeWrites     int           // the most
	changeCPU        time.Duration
	add              time.Duration
	addWrites        int
	memory           int64 // at most
}

const (
	kubeconfigPath = "/run/proxyproof/kubeconfig"
	// A proxy that writes nothing for so long has finished. What is measured ends with its last write, not with the pause.
	programQuiet = 5 * time.Second
	changeQuiet  = 400 * time.Millisecond
	slowQuiet    = 4 * time.Second
	limit        = 10 * time.Minute
)

// measure runs a proxy, or the floor, through everything.
func measure(ctx context.Context, s setting, one *subject.Subject) (f figures, err error) {
	c, err := newCluster(ctx, s)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	command, err := c.command(ctx, one)
	if err != nil {
		return f, err
	}
	m, err := newMeter(ctx, c.node)
	if err != nil {
		return f, err
	}
	defer m.close()
	started := time.Now()
	process, err := c.node.Start(ctx, command)
	if err != nil {
		return f, err
	}
	defer func() {
		f.memory = peakMemory(process.Pid())
		err = errors.Join(err, process.Kill())
	}()
	r := runner{c, m, process, s, changeQuiet}
	if err := r.program(ctx, started, &f); err != nil {
		return f, fmt.Errorf("program everything: %w", err)
	}
	if one != nil && one.Profile != "reference" {
		r.s.changes, r.quiet = min(s.changes, 2), slowQuiet // it writes for many seconds for each
	}
	if err := r.change(ctx, &f); err != nil {
		return f, fmt.Errorf("change an endpoint: %w", err)
	}
	if err := r.add(ctx, &f); err != nil {
		return f, fmt.Errorf("add a Service: %w", err)
	}
	return f, nil
}

// command is how a subject, or the floor, is started.
func (c *cluster) command(ctx context.Context, one *subject.Subject) (world.Command, error) {
	files := map[string][]byte{kubeconfigPath: c.kubeconfig()}
	output := func(world.Line) {}
	if one == nil {
		self, err := os.Executable()
		return world.Command{Path: self, Args: []string{"floor", kubeconfigPath, c.node.Addrs(c.family)[0].String()}, Files: files, Output: func(l world.Line) {
			fmt.Fprintln(os.Stderr, "floor:", l.Text)
		}}, err
	}
	profile, err := subject.ProfileOf(one.Profile, one.Version, one.Definition)
	if err != nil {
		return world.Command{}, err
	}
	help := ""
	if words := profile.Inquiry(); words != nil {
		out, _ := exec.CommandContext(ctx, one.Binary, words...).CombinedOutput() // whatever its exit code
		help = string(out)
	}
	command, err := profile.Command(subject.Setting{
		Node: nodeName, Binary: one.Binary, Kubeconfig: kubeconfigPath, Args: one.Args, Help: help,
		Families: []world.Family{c.family}, Ranges: c.world.Ranges(), Options: scenario.Options{},
	})
	command.Files, command.Output = files, output
	return command, err
}

// runner takes a running proxy through the changes.
type runner struct {
	c       *cluster
	m       *meter
	process world.Process
	s       setting
	quiet   time.Duration
}

func (r runner) program(ctx context.Context, started time.Time, f *figures) error {
	h, err := r.settled(ctx, programQuiet)
	if err != nil {
		return err
	}
	f.program, f.writing, f.programWrites = h.last.Sub(started), h.last.Sub(h.first), h.writes
	f.programCPU, err = r.cpu()
	return errors.Join(err, r.verify(ctx, r.s.services*endpoints+1)) // and the API server
}

// change adds an endpoint to one Service after the other.
func (r runner) change(ctx context.Context, f *figures) error {
	before, err := r.cpu()
	if err != nil {
		return err
	}
	var took []time.Duration
	for n := range r.s.changes {
		r.m.reset()
		at := time.Now()
		if err := r.c.setEndpoints(ctx, n*r.s.services/r.s.changes, endpoints+1); err != nil {
			return err
		}
		h, err := r.settled(ctx, r.quiet)
		if err != nil {
			return err
		}
		took = append(took, h.last.Sub(at))
		f.changeWrites = max(f.changeWrites, h.writes)
	}
	after, err := r.cpu()
	slices.Sort(took)
	f.change, f.worst, f.changeCPU = took[len(took)/2], took[len(took)-1], (after-before)/time.Duration(r.s.changes)
	return errors.Join(err, r.verify(ctx, r.s.services*endpoints+1+r.s.changes))
}

// add adds a Service.
func (r runner) add(ctx context.Context, f *figures) error {
	r.m.reset()
	at := time.Now()
	if err := r.c.addService(ctx, r.s.services); err != nil {
		return err
	}
	h, err := r.settled(ctx, r.quiet)
	f.add, f.addWrites = h.last.Sub(at), h.writes
	return errors.Join(err, r.verify(ctx, (r.s.services+1)*endpoints+1+r.s.changes))
}

// settled waits for the proxy's writes to end, or for the proxy's own end.
func (r runner) settled(ctx context.Context, quiet time.Duration) (heard, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the context
		select {
		case <-r.process.Done():
			cancel(fmt.Errorf("the proxy has exited with %d", r.process.Exit()))
		case <-ctx.Done():
		}
	}()
	return r.m.settled(ctx, quiet, limit)
}

func (r runner) cpu() (time.Duration, error) {
	a, err := r.process.Activity()
	return a.CPU, err
}

// verify counts the destinations in the kernel: what is fast because it does not do its work is no figure.
func (r runner) verify(ctx context.Context, want int) error {
	got := 0
	err := r.c.node.Do(ctx, func() error {
		h, err := ipvs.New("")
		if err != nil {
			return err
		}
		defer h.Close()
		services, err := h.GetServices()
		if err != nil {
			return err
		}
		for _, s := range services {
			dests, err := h.GetDestinations(s)
			if err != nil {
				return err
			}
			got += len(dests)
		}
		return nil
	})
	if err == nil && got != want {
		err = fmt.Errorf("the kernel has %d destinations, and not %d", got, want)
	}
	return err
}

// peakMemory is the most that a process has had resident.
func peakMemory(pid int) int64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}
