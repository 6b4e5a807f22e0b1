package worker

import (
	"testing"
	"time"

	"proxyproof/sim/world"
)

func TestIdleness(t *testing.T) {
	const gap = 100 * time.Millisecond
	for name, c := range map[string]struct {
		each  world.Activity // CPU per look
		gap   time.Duration
		quiet bool
		want  bool
	}{
		"idle":                          {world.Activity{}, gap, true, true},
		"timers":                        {world.Activity{CPU: time.Millisecond}, gap, true, true},
		"at work":                       {world.Activity{CPU: 20 * time.Millisecond}, gap, true, false},
		"runnable":                      {world.Activity{Busy: true}, gap, true, false},
		"not yet told":                  {world.Activity{}, gap, false, false},
		"looked at by a starved worker": {world.Activity{}, 3 * gap, true, false},
	} {
		i := idleness{longest: gap}
		now, cpu := time.Unix(0, 0), time.Duration(0)
		for range 250 {
			if name == "looked at by a starved worker" && now.Sub(time.Unix(0, 0)) > 3*idleLimit-time.Second {
				break
			}
			cpu += c.each.CPU
			i.look(now, world.Activity{CPU: cpu, Busy: c.each.Busy}, c.quiet)
			now = now.Add(c.gap)
		}
		if i.hopeless() != c.want {
			t.Errorf("%s: idle for %v: hopeless is %t", name, i.total, i.hopeless())
		}
	}
}
