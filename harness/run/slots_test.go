package run

import (
	"testing"
	"time"

	"proxyproof/harness/lane"
	"proxyproof/harness/wire"
)

func TestSlots(t *testing.T) {
	begun := time.Now()
	later := begun.Add(settling)
	roomy := wire.Beat{Idle: 0.5, Free: 1 << 30}
	for name, c := range map[string]struct {
		slots   Slots
		running int
		room    lane.Room
		want    bool
	}{
		"as many as always, on a machine that said nothing": {Slots{2, 4}, 1, lane.Room{}, true},
		"one more on an idle machine":                       {Slots{2, 4}, 2, lane.Room{Beat: roomy, At: later}, true},
		"one more on a machine that said nothing":           {Slots{2, 4}, 2, lane.Room{}, false},
		"one more than the most":                            {Slots{2, 4}, 4, lane.Room{Beat: roomy, At: later}, false},
		"before the last has shown what it needs":           {Slots{2, 4}, 2, lane.Room{Beat: roomy, At: later.Add(-1)}, false},
		"one more on a busy machine":                        {Slots{2, 4}, 2, lane.Room{Beat: wire.Beat{Idle: 0.1, Free: 1 << 30}, At: later}, false},
		"one more without memory":                           {Slots{2, 4}, 2, lane.Room{Beat: wire.Beat{Idle: 0.5, Free: 1 << 20}, At: later}, false},
		"a fixed number":                                    {Fixed(3), 3, lane.Room{Beat: roomy, At: later}, false},
	} {
		if got := c.slots.admit(c.running, begun, c.room); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
