package netns

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"

	"proxyproof/sim/world"
)

func (p *process) Activity() (world.Activity, error) {
	p.killing.Lock()
	defer p.killing.Unlock()
	if p.killed {
		return world.Activity{CPU: p.used}, nil
	}
	look := p.lookAtGroup
	if p.group == nil {
		look = p.lookAtFamily
	}
	a, err := look()
	if err != nil {
		return a, fmt.Errorf("look at process %d: %w", p.pid, err)
	}
	a.Busy = a.Busy || p.output.unread()
	return a, nil
}

func (p *process) Threads() ([]world.Thread, error) {
	p.killing.Lock()
	defer p.killing.Unlock()
	if p.killed {
		return nil, nil
	}
	pids, err := p.members()
	if err != nil {
		return nil, fmt.Errorf("look for the threads of process %d: %w", p.pid, err)
	}
	var all []world.Thread
	for _, pid := range pids {
		threads, err := readThreads(pid)
		if err != nil {
			return nil, fmt.Errorf("look at the threads of process %d: %w", pid, err)
		}
		program := programOf(pid)
		for _, t := range threads {
			all = append(all, world.Thread{Pid: pid, ID: t.pid, Process: program, CPU: t.cpu, Busy: t.busy()})
		}
	}
	return all, nil
}

// programOf is the name by which a process was called. The one that the kernel gives it is the number of the descriptor that it was
// executed from.
func programOf(pid int) string {
	line, err := readFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	path, _, _ := bytes.Cut(line, []byte{0})
	return filepath.Base(string(path))
}

// members are the processes of the group, or of the family where there are no groups.
func (p *process) members() ([]int, error) {
	if p.group != nil {
		return p.group.processes()
	}
	members, err := family(p.pid)
	pids := make([]int, len(members))
	for i, m := range members {
		pids[i] = m.pid
	}
	return pids, err
}

// lookAtGroup takes the time from the group, which counts in microseconds and remembers the dead.
func (p *process) lookAtGroup() (world.Activity, error) {
	var a world.Activity
	pids, err := p.group.processes()
	if err != nil {
		return a, err
	}
	for _, pid := range pids {
		threads, err := readThreads(pid)
		if err != nil {
			return a, err
		}
		add(&a, threads)
	}
	a.CPU, err = p.group.cpu()
	return a, err
}

// lookAtFamily counts in clock ticks, and what was waited for.
func (p *process) lookAtFamily() (world.Activity, error) {
	var a world.Activity
	members, err := family(p.pid)
	if err != nil {
		return a, err
	}
	for _, m := range members {
		a.CPU += m.cpu
		threads, err := readThreads(m.pid)
		if err != nil {
			return a, err
		}
		add(&a, threads)
	}
	p.used = max(p.used, a.CPU)
	a.CPU = p.used
	return a, nil
}

// add counts the threads of one process, which share their memory.
func add(a *world.Activity, threads []task) {
	for i, t := range threads {
		a.Busy = a.Busy || t.busy()
		if i == 0 {
			a.RSS += t.rss
		}
	}
}
