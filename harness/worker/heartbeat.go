package worker

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"proxyproof/harness/subject"
)

// overdue are the parts of a process that are overdue by its own account, by their names.
type overdue map[string]*complaint

// complaint is a report of the process that is repeated while a part of it is overdue.
type complaint struct {
	subject.Heartbeat
	first, last time.Time
	lines       int
	line        string // the last
}

// add takes in a line of the log. ok is false if the sign of life cannot be due, since the process is too young: then the line is wrong.
func (o overdue) add(beat subject.Heartbeat, line string, started, now time.Time) (ok bool) {
	if now.Sub(started) < beat.Due {
		return false
	}
	c := o[beat.Of]
	if c == nil || now.Sub(c.last) > 2*beat.Again { // there was a sign of life in between
		c = &complaint{Heartbeat: beat, first: now}
		o[beat.Of] = c
	}
	c.last, c.line = now, line
	c.lines++
	return true
}

// missed are the complaints that are repeated for longer than the work of the part takes longer here than on a nominal machine. Useful is
// what was of use of the time between two moments. A sign of life that is only late is none that is missing.
func (o overdue) missed(speed float64, useful func(from, to time.Time) time.Duration) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		c := o[name]
		if useful(c.first, c.last) < stretch(c.Grace, speed-1) {
			continue
		}
		all = append(all, fmt.Sprintf("%s (%d times in %s; due at least every %s)", c.line, c.lines, c.last.Sub(c.first).Round(time.Second), c.Due))
	}
	return all
}
