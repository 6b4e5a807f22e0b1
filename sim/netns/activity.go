package netns

import (
	"fmt"

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
