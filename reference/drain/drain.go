// Package drain decides when a destination that gets no new connections any more may go: when it has none left, or when they have
// had their time. It writes nothing.
package drain

import (
	"time"

	"proxyproof/reference/plan"
)

// Destination is one of a virtual service.
type Destination struct {
	Service plan.Service
	Dest    plan.Dest
}

// Book keeps since when destinations have been draining. It outlives what is believed of the kernel: to read that again gives no
// connection more time.
type Book struct {
	period time.Duration
	since  map[Destination]time.Time
}

// New makes a book. With a period of zero nothing is drained.
func New(period time.Duration) *Book {
	return &Book{period, map[Destination]time.Time{}}
}

// Drains tells whether a virtual service's destinations are drained. Only TCP tells when a connection ends: a flow of UDP that went
// on to an endpoint that is gone would be lost for as long as its client keeps sending.
func (b *Book) Drains(s plan.Service) bool { return b.period > 0 && s.Protocol == plan.TCP }

// Begin notes that a destination is draining, unless it has been already.
func (b *Book) Begin(d Destination, now time.Time) {
	if _, known := b.since[d]; !known {
		b.since[d] = now
	}
}

// End forgets a destination: it serves again, or is gone.
func (b *Book) End(d Destination) { delete(b.since, d) }

// Keep forgets all destinations but these.
func (b *Book) Keep(draining map[Destination]bool) {
	for d := range b.since {
		if !draining[d] {
			delete(b.since, d)
		}
	}
}

// Over tells whether a destination with so many connections may be deleted. One that is not in the book may.
func (b *Book) Over(d Destination, connections int, now time.Time) bool {
	since, known := b.since[d]
	return !known || connections == 0 || !b.Drains(d.Service) || now.Sub(since) >= b.period
}
