package worker

import (
	"net/netip"
	"sync"
)

// turns lets one place at a time connect to a target whose connections are expected to be spread. Two that connect in step would be led
// to the same backend every time, each to his own, by a scheduler that goes round.
type turns struct {
	lock  sync.Mutex
	taken map[netip.AddrPort]*sync.Mutex
}

// take waits for the turn; release ends it.
func (t *turns) take(target netip.AddrPort) (release func()) {
	t.lock.Lock()
	if t.taken == nil {
		t.taken = map[netip.AddrPort]*sync.Mutex{}
	}
	one := t.taken[target]
	if one == nil {
		one = &sync.Mutex{}
		t.taken[target] = one
	}
	t.lock.Unlock()
	one.Lock()
	return one.Unlock
}
