package worker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/netstate"
	"proxyproof/sim/pressure"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// proxy is the subject on one node, through all its processes.
type proxy struct {
	node    world.Node
	command world.Command
	process world.Process // nil before the first start
	// wanted is true while the scenario wants it to run.
	wanted bool
	// late: it was started while the API server told nobody anything, and was not yet waited for.
	late bool
	// before is the node's state before the first start, last the state that was recorded last, judged that which was judged since.
	before, last, judged *netstate.State
	// drains: when it was last judged, a destination was on its way out.
	drains bool

	lock   sync.Mutex
	errors []string
	// started is when the present process began, overdue what it says of its parts.
	started time.Time
	overdue overdue
	// frames is how many places of the stack trace under way are still to be taken down with the last error.
	frames int
	// said: a line matched what the profile takes for readiness.
	said bool
	// programs are those that it did not find, tail the last lines of its log.
	programs, tail []string
	// lines and bytes of its log so far.
	lines, bytes int
}

// What a subject may log in one case. What it logs beyond that is not recorded; it has then drowned what matters on a real node,
// too.
const (
	logLines  = 20_000
	logBytes  = 4 << 20
	logErrors = 200
)

// crashFrames is how many places of a stack trace are told.
const crashFrames = 4

// kubeconfigPath is where the subject finds its way to the API, in the node's private file system.
const kubeconfigPath = "/run/proxyproof/kubeconfig"

// newProxy prepares the subject of a node.
func (c *caseRun) newProxy(ctx context.Context, node world.Node) (*proxy, error) {
	p := &proxy{node: node}
	var err error
	p.command, err = c.command(ctx, p)
	return p, err
}

// command starts the present build of the subject on its node.
func (c *caseRun) command(ctx context.Context, p *proxy) (world.Command, error) {
	s, node := c.job.Scenario.Subject, p.node
	help, err := c.helps.ask(ctx, node, c.binary, c.profile.Inquiry())
	if err != nil {
		return world.Command{}, err
	}
	command, err := c.profile.Command(subject.Setting{
		Node: node.Name(), Binary: c.binary, Kubeconfig: kubeconfigPath, Args: c.info.Args, Help: help,
		Families: c.job.Family.Families(), Ranges: s.Options.Ranges(c.world.Ranges()), Options: s.Options,
	})
	if err != nil {
		return world.Command{}, err
	}
	kubeconfig, err := c.kubeconfig(node, s.API)
	if err != nil {
		return world.Command{}, err
	}
	if command.Files == nil {
		command.Files = map[string][]byte{}
	}
	command.Files[kubeconfigPath] = kubeconfig
	command.Output = func(line world.Line) { c.hear(p, line) }
	return command, nil
}

// hear takes note of a line of the log.
func (c *caseRun) hear(p *proxy, line world.Line) {
	switch within, first := p.count(len(line.Text) + 1); {
	case first:
		c.record.find(finding.Finding{
			ID: "subject-log-flood", Node: p.node.Name(),
			Sentence: fmt.Sprintf("the subject logged more than %d lines or %d MiB; the rest was dropped", logLines, logBytes>>20),
			Evidence: []string{"the last line that was kept: " + line.Text[:min(len(line.Text), 200)]},
		})
	case within:
		c.record.add(event.Event{Time: line.Time, Log: &event.Log{Node: p.node.Name(), Line: line.Text}})
		p.note(line, c.profile, c.job.Scenario.Subject.Options, c.excused.Load())
	}
}

// count adds a line to what was logged. within tells that it can still be taken, first that it is the first that cannot.
func (p *proxy) count(size int) (within, first bool) {
	p.lock.Lock()
	defer p.lock.Unlock()
	before := p.lines <= logLines && p.bytes <= logBytes
	p.lines, p.bytes = p.lines+1, p.bytes+size
	within = p.lines <= logLines && p.bytes <= logBytes
	return within, before && !within
}

// note looks for errors and for the sign of readiness. An error may be excused, a crash never; of a crash it also tells where.
func (p *proxy) note(l world.Line, profile subject.Profile, options scenario.Options, excused bool) {
	line := l.Text
	isError, sign := profile.IsError(line) && !(excused && !subject.Crashed(line)), profile.Ready().Log
	beat, isBeat := profile.Heartbeat(line, options)
	p.lock.Lock()
	defer p.lock.Unlock()
	if isError && isBeat {
		isError = !p.overdue.add(beat, line, p.started, l.Time)
	}
	if isError && len(p.errors) < logErrors {
		p.errors, p.frames = append(p.errors, line), 0
		if subject.Crashed(line) {
			p.frames = crashFrames
		}
	}
	if place, ok := subject.Frame(line); ok && p.frames > 0 {
		p.errors[len(p.errors)-1] += " at " + place
		p.frames--
	}
	p.said = p.said || sign != nil && sign.MatchString(line)
	if name := missingProgram(line); name != "" && !slices.Contains(p.programs, name) {
		p.programs = append(p.programs, name)
	}
	p.tail = append(p.tail[max(0, len(p.tail)-lastLines+1):], line)
}

// missingPrograms are those that the log reports missing.
func (p *proxy) missingPrograms() []string {
	p.lock.Lock()
	defer p.lock.Unlock()
	return slices.Clone(p.programs)
}

// hasSaid tells whether the log has shown readiness.
func (p *proxy) hasSaid() bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.said
}

// start begins a process.
func (c *caseRun) start(ctx context.Context, p *proxy) error {
	p.lock.Lock()
	p.said, p.started, p.overdue = false, time.Now(), overdue{}
	p.lock.Unlock()
	process, err := p.node.Start(ctx, p.command)
	if err != nil {
		return err
	}
	p.process, p.wanted = process, true
	c.record.add(event.Event{Subject: &event.Subject{Node: p.node.Name(), State: "started", Pid: process.Pid()}})
	return nil
}

// kill ends the process, if there is one, and everything it started.
func (p *proxy) kill() error {
	if p.process == nil {
		return nil
	}
	return p.process.Kill()
}

// alive tells whether the process runs.
func (p *proxy) alive() bool {
	if p.process == nil {
		return false
	}
	select {
	case <-p.process.Done():
		return false
	default:
		return true
	}
}

// logged are the error lines so far.
func (p *proxy) logged() []string {
	p.lock.Lock()
	defer p.lock.Unlock()
	return append([]string(nil), p.errors...)
}

// missed are the signs of life that parts of the present process owe.
func (c *caseRun) missed(p *proxy) []string {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.overdue.missed(c.speed, c.meter.Useful)
}

// startSubjects starts the subject on every node that has one and waits until each is ready. gone tells that one never was:
// what would be judged after that says nothing about it.
func (c *caseRun) startSubjects(ctx context.Context) (gone bool, err error) {
	for _, p := range c.proxies {
		if err := c.start(ctx, p); err != nil {
			return false, err
		}
	}
	for _, p := range c.proxies {
		p.late = true
	}
	if c.faults.now.Deafens() {
		return false, nil
	}
	return c.awaitLate(ctx)
}

// readyRest is what a subject may take to become ready for delays of its own, besides what it works.
const readyRest = 10 * time.Second

// awaitReady waits until the subject is alive and shows that it is ready: health endpoints answer too early to be believed.
func (c *caseRun) awaitReady(ctx context.Context, p *proxy) (bool, error) {
	limit := readyRest + c.scale(c.profile.StartLimit())
	allowance := c.meter.Allow(limit)
	start, idle := time.Now(), idleness{longest: c.window}
	for left := pressure.Left; left != pressure.Spent && !idle.hopeless(); left = allowance.State(time.Now()) {
		if left == pressure.Starved {
			return false, allowance.Err("that the subject did not become ready")
		}
		if !p.alive() {
			return false, c.didNotStart(ctx, p, "it exited", c.exited(p))
		}
		if ready, err := c.showsReady(ctx, p); err != nil {
			return false, err
		} else if ready {
			c.report(p, "ready", "")
			return true, nil
		}
		if err := c.lookIdle(p, &idle); err != nil {
			return false, err
		}
		if err := pause(ctx, c.window/settleLooks); err != nil {
			return false, err
		}
	}
	after := fmt.Sprintf("within %v", time.Since(start).Round(time.Second))
	if idle.hopeless() {
		after += fmt.Sprintf(", of which it was idle for %v", idle.total.Round(time.Second))
	}
	return false, c.didNotStart(ctx, p, "it was ready", finding.Finding{
		ID: "subject-not-ready", Node: p.node.Name(),
		Sentence: fmt.Sprintf("the subject did not show that it is ready %s: %s", after, c.signOfReady()),
		Evidence: p.lastWords(),
	})
}

// lookIdle looks whether a subject that is not ready does anything. After a fault of the API server its clients wait before they ask again,
// and how long is no business of ours.
func (c *caseRun) lookIdle(p *proxy, idle *idleness) error {
	if c.excused.Load() {
		return nil
	}
	activity, err := p.process.Activity()
	if err != nil {
		return fmt.Errorf("watch the subject on %s: %w", p.node.Name(), err)
	}
	pending, err := c.api.Outstanding()
	idle.look(time.Now(), activity, pending == 0)
	return err
}

// didNotStart records that a subject did not become ready, with what it asked for in vain. If something is lacking that the harness should
// have, the error says so instead: nobody knows then what the subject would have done.
func (c *caseRun) didNotStart(ctx context.Context, p *proxy, outcome string, f finding.Finding) error {
	asked, err := c.askedInVain(ctx, p)
	if err != nil {
		return err
	}
	if f.Evidence, err = whoseFault(p.node.Name(), outcome, asked, f.Evidence); err != nil {
		return err
	}
	c.record.find(f)
	return nil
}

// showsReady looks once.
func (c *caseRun) showsReady(ctx context.Context, p *proxy) (bool, error) {
	sign := c.profile.Ready()
	switch {
	case sign.Log != nil:
		return p.hasSaid(), nil
	case sign.Answers:
		for _, vip := range c.kubernetesVIPs() {
			aim := probe.Aim{From: p.node, To: netip.AddrPortFrom(vip, kubernetesPort), Timeout: c.stretched(c.scale(time.Second))}
			if probe.Connect(ctx, aim).Err() != nil {
				return false, nil
			}
		}
		return true, nil
	}
	state, err := p.node.State(ctx)
	return err == nil && c.servesKubernetes(state), err
}

// signOfReady is what showsReady looks for, in words.
func (c *caseRun) signOfReady() string {
	sign := c.profile.Ready()
	switch {
	case sign.Log != nil:
		return fmt.Sprintf("no line of its log matches %s", sign.Log)
	case sign.Answers:
		return fmt.Sprintf("the kubernetes Service (%v) does not take connections from the node", c.kubernetesVIPs())
	}
	return fmt.Sprintf("the kubernetes Service (%v) is not in IPVS", c.kubernetesVIPs())
}

// servesKubernetes tells whether the kubernetes Service is in IPVS.
func (c *caseRun) servesKubernetes(state *netstate.State) bool {
	for _, vip := range c.kubernetesVIPs() {
		if !hasService(state, vip) {
			return false
		}
	}
	return true
}

func hasService(state *netstate.State, vip netip.Addr) bool {
	for _, s := range state.IPVS {
		if s.Address == vip && s.Port == kubernetesPort {
			return true
		}
	}
	return false
}

// exited is the finding about a subject that ended by itself.
func (c *caseRun) exited(p *proxy) finding.Finding {
	c.report(p, "exited", "")
	return finding.Finding{
		ID: "subject-exited", Node: p.node.Name(),
		Sentence: fmt.Sprintf("the subject exited by itself with code %d", p.process.Exit()),
		Evidence: p.lastWords(),
	}
}

// lastLines is how many lines of a log are told.
const lastLines = 3

// lastWords are the last error lines, for evidence; the last lines if there was no error.
func (p *proxy) lastWords() []string {
	lines := p.logged()
	if len(lines) == 0 {
		p.lock.Lock()
		lines = slices.Clone(p.tail)
		p.lock.Unlock()
	}
	if over := len(lines) - lastLines; over > 0 {
		lines = lines[over:]
	}
	for i, line := range lines {
		lines[i] = "it logged: " + line
	}
	return lines
}

// report records a change in the life of the subject.
func (c *caseRun) report(p *proxy, state, why string) {
	e := event.Subject{Node: p.node.Name(), State: state, Why: why}
	if p.process != nil {
		e.Pid = p.process.Pid()
		if a, err := p.process.Activity(); err == nil {
			e.CPU, e.RSS = a.CPU, a.RSS
		}
		if !p.alive() {
			e.Exit = p.process.Exit()
		}
	}
	c.record.add(event.Event{Subject: &e})
}

// subjectsGone tells whether a subject that should run has ended: nothing after that is a verdict about it.
func (c *caseRun) subjectsGone() bool {
	for _, p := range c.proxies {
		if p.wanted && !p.alive() {
			return true
		}
	}
	return false
}

// act does something to the subject on every node.
func (c *caseRun) act(ctx context.Context, action scenario.SubjectAction) (gone bool, err error) {
	if action != scenario.SubjectStart {
		for _, p := range c.proxies {
			if err := c.end(ctx, p, action); err != nil {
				return false, err
			}
		}
	}
	if action == scenario.SubjectSwap {
		return c.swap(ctx)
	}
	if action == scenario.SubjectStart || action == scenario.SubjectRestart {
		return c.startSubjects(ctx)
	}
	return false, nil
}

// end stops or kills the subject of a node.
func (c *caseRun) end(ctx context.Context, p *proxy, action scenario.SubjectAction) error {
	p.wanted = false
	if !c.faults.now.Deafens() { // else its successor has to open the same watches
		defer c.control.Forget()
	}
	if !p.alive() {
		return nil
	}
	state := "stopped"
	if action == scenario.SubjectKill {
		state = "killed"
	} else if err := c.terminate(ctx, p); err != nil {
		return err
	}
	if err := p.kill(); err != nil {
		return err
	}
	c.report(p, state, "")
	return nil
}

// terminate sends SIGTERM and waits for the exit; a subject that ignores it is a finding.
func (c *caseRun) terminate(ctx context.Context, p *proxy) error {
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("send SIGTERM to the subject on %s: %w", p.node.Name(), err)
	}
	limit := c.scale(c.profile.StopLimit())
	allowance := c.meter.Allow(limit)
	look := time.NewTicker(pressure.Interval)
	defer look.Stop()
	for {
		select {
		case <-p.process.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-look.C:
			switch allowance.State(now) {
			case pressure.Starved:
				return allowance.Err("that the subject did not exit after SIGTERM")
			case pressure.Spent:
				c.record.find(finding.Finding{
					ID: "subject-ignored-sigterm", Node: p.node.Name(),
					Sentence: fmt.Sprintf("the subject did not exit within %v after SIGTERM", limit.Round(time.Second)),
				})
				return nil
			}
		}
	}
}
