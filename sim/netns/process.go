package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// process implements world.Process.
type process struct {
	proc   *os.Process
	pid    int
	group  *cgroup // nil where there are none
	output output
	done   chan struct{}
	exit   int

	killing sync.Mutex // of what follows
	killed  bool
	used    time.Duration // CPU, when killed
}

// Start runs a command on the node. The context bounds the start, not the life: that ends with Kill, with Close of the world,
// or with this program, whatever ends it.
func (n *node) Start(ctx context.Context, c world.Command) (world.Process, error) {
	p, err := n.start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", filepath.Base(c.Path), n.name, err)
	}
	return p, nil
}

func (n *node) start(ctx context.Context, c world.Command) (*process, error) {
	binary, err := n.root.find(c.Path)
	if err != nil {
		return nil, err
	}
	defer binary.close()
	p := &process{done: make(chan struct{})}
	p.output.receive = c.Output
	attr := &os.ProcAttr{Dir: "/", Env: withPath(c.Env), Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}}
	err = p.prepare(attr, n.group)
	if err == nil {
		err = n.keeper.do(ctx, func() error { return n.fork(p, binary, c, attr) })
	}
	for _, f := range attr.Files {
		f.Close()
	}
	if attr.Sys.UseCgroupFD {
		unix.Close(attr.Sys.CgroupFD)
	}
	if err != nil {
		p.output.finish()
		return nil, errors.Join(err, p.dissolve())
	}
	go p.wait()
	return p, n.adopt(p)
}

// prepare adds what the process inherits: standard streams and a group.
func (p *process) prepare(attr *os.ProcAttr, parent *cgroup) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	attr.Files = append(attr.Files, null)
	for _, stderr := range []bool{false, true} {
		w, err := p.output.pipe(stderr)
		if err != nil {
			return err
		}
		attr.Files = append(attr.Files, w)
	}
	if parent == nil {
		return nil
	}
	if p.group, err = parent.child(fmt.Sprintf("%p", p)); err != nil {
		return err
	}
	attr.Sys.CgroupFD, err = p.group.open()
	attr.Sys.UseCgroupFD = err == nil
	return err
}

// fork runs on the node's thread, whose namespaces the process inherits.
func (n *node) fork(p *process, b *binary, c world.Command, attr *os.ProcAttr) error {
	for path, content := range c.Files {
		if err := n.root.write(path, content); err != nil {
			return err
		}
	}
	if err := b.show(); err != nil {
		return err
	}
	// Descriptors that this program itself inherited are not the subject's.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep descriptors to ourselves: %w", os.NewSyscallError("close_range", err))
	}
	proc, err := os.StartProcess(c.Path, append([]string{c.Path}, c.Args...), attr)
	if err != nil {
		return err
	}
	p.proc, p.pid = proc, proc.Pid
	return nil
}

// withPath puts the commands of the node's iptables back end first in PATH.
func withPath(env []string) []string {
	path := systemPath
	rest := slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		value, isPath := strings.CutPrefix(e, "PATH=")
		if isPath {
			path = value
		}
		return isPath
	})
	return append(rest, "PATH="+toolDir+":"+path)
}

// wait owns the process until it has ended.
func (p *process) wait() {
	state, err := p.proc.Wait()
	p.output.finish()
	p.exit = -1
	if err == nil {
		status := state.Sys().(syscall.WaitStatus)
		p.exit = status.ExitStatus()
		if status.Signaled() {
			p.exit = 128 + int(status.Signal())
		}
	}
	close(p.done)
}

func (p *process) Pid() int              { return p.pid }
func (p *process) Done() <-chan struct{} { return p.done }
func (p *process) Exit() int             { return p.exit }

func (p *process) Signal(s os.Signal) error {
	if err := p.proc.Signal(s); err != nil {
		return fmt.Errorf("send %v to process %d: %w", s, p.pid, err)
	}
	return nil
}

// killGrace bounds the wait for processes to die that were killed. One that is in the kernel for longer is stuck there.
const killGrace = 20 * time.Second

func (p *process) Kill() error {
	p.killing.Lock()
	defer p.killing.Unlock()
	if p.killed {
		return nil
	}
	deadline := time.Now().Add(killGrace)
	orphans := map[int]bool{}
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		left, empty, err := p.killAll()
		if err != nil {
			return fmt.Errorf("kill process %d: %w", p.pid, err)
		}
		for _, pid := range left {
			orphans[pid] = pid != p.pid
		}
		if empty {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill process %d: %v of its group are still alive after %s", p.pid, left, killGrace)
		}
		time.Sleep(pause)
	}
	<-p.done
	for pid, ours := range orphans {
		if ours { // if this program is the one that orphans are given to
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
	p.killed = true
	return p.dissolve()
}

// killAll sends SIGKILL to all processes of the group, returns those that it found, and tells whether there was none.
func (p *process) killAll() (pids []int, empty bool, err error) {
	if p.group != nil {
		if pids, err = p.group.processes(); err != nil {
			return nil, false, err
		}
		if err := p.group.kill(); err != nil {
			return nil, false, err
		}
		empty, err = p.group.empty()
		return pids, empty, err
	}
	members, err := family(p.pid)
	for _, t := range members {
		if err := unix.Kill(t.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return nil, false, err
		}
		pids = append(pids, t.pid)
	}
	return pids, len(pids) == 0, err
}

// dissolve removes the group.
func (p *process) dissolve() error {
	if p.group == nil {
		return nil
	}
	if cpu, err := p.group.cpu(); err == nil {
		p.used = cpu
	}
	return p.group.remove()
}
