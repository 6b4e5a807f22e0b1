// Package merge puts the event streams of several runs together: of shards that machines ran each for itself, and of the same
// scenarios with other subjects, kernels and back ends.
package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"proxyproof/harness/event"
)

// Run is what the event stream of one run tells.
type Run struct {
	// File is where it was read from.
	File string
	Plan event.Plan
	// Events are those of each case, by its id.
	Events map[string][]event.Event
	// End is nil if the run did not come to its end.
	End *event.End
}

// Read reads the file that `run --events` has written.
func Read(file string) (Run, error) {
	f, err := os.Open(file)
	if err != nil {
		return Run{}, fmt.Errorf("read the events of a run: %w", err)
	}
	defer f.Close()
	r, err := read(f)
	if err != nil {
		return Run{}, fmt.Errorf("read the events of %s: %w", file, err)
	}
	r.File = file
	return r, nil
}

func read(from io.Reader) (Run, error) {
	r := Run{Events: map[string][]event.Event{}}
	planned := map[string]bool{}
	lines := json.NewDecoder(from)
	for n := 1; ; n++ {
		var e event.Event
		err := lines.Decode(&e)
		switch {
		case n > 1 && errors.Is(err, io.EOF):
			return r, nil
		case n > 1 && errors.Is(err, io.ErrUnexpectedEOF):
			return r, nil // it was killed while it wrote; what is missing is named when the runs are joined
		case err != nil:
			return r, fmt.Errorf("event %d: %w", n, err)
		case n == 1 && e.Plan == nil:
			return r, fmt.Errorf("the first one names no plan: is it a file that `proxyproof run --events` of this version wrote?")
		case n == 1:
			r.Plan = *e.Plan
			for _, c := range r.Plan.Cases {
				planned[c.ID] = true
			}
		case e.Plan != nil:
			return r, fmt.Errorf("event %d: a second plan: it is the file of several runs", n)
		case e.End != nil:
			r.End = e.End
		case !planned[e.Case]:
			return r, fmt.Errorf("event %d is of %s, which is not in the plan", n, e.Case)
		case e.Seq == 1: // again, if the machine died under the case
			r.Events[e.Case] = []event.Event{e}
		default:
			r.Events[e.Case] = append(r.Events[e.Case], e)
		}
	}
}

// String is one line for people.
func (r Run) String() string {
	line := fmt.Sprintf("%s: shard %s, %d of %d cases", r.File, r.Plan.Shard, len(r.Events), len(r.Plan.Cases))
	if r.End == nil {
		return line + ", not ended"
	}
	line += fmt.Sprintf(" in %.1f s, iptables %s", r.End.Took.Round(100*time.Millisecond).Seconds(), r.Plan.Backend)
	for _, m := range r.End.Machines {
		line += ", kernel " + m.Kernel
	}
	return line
}
