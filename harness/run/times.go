package run

import (
	"cmp"
	"path/filepath"
	"slices"

	"proxyproof/harness/event"
	"proxyproof/harness/keep"
	"proxyproof/harness/report"
	"proxyproof/sim/guest"
)

// times are how long cases took when they last ran, in seconds, by "scenario/family@subject". The longest begin first, so that none
// is left over at the end while the other slots have nothing to do.
type times map[string]float64

// timesFolder is where they are kept below the cache.
const timesFolder = "times"

// rememberedTimes are those of earlier runs on this machine; none if they cannot be read, since they decide nothing but the order.
func rememberedTimes() times {
	t := times{}
	if kept, key, err := timesKeep(); err == nil {
		kept.Answer(key, &t)
	}
	return t
}

// remember adds those of a run. Cases without a verdict about the subject say nothing about the next time.
func (t times) remember(outcomes []report.Outcome) error {
	kept, key, err := timesKeep()
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.Verdict.Kind != event.Infra && o.Verdict.Kind != event.Skip {
			t[timesKey(o.Case)] = o.Took.Seconds()
		}
	}
	return kept.Remember(key, t)
}

func timesKeep() (keep.Keep, string, error) {
	dir, err := guest.CacheDir()
	if err != nil {
		return keep.Keep{}, "", err
	}
	kept, err := keep.Open(filepath.Join(dir, timesFolder))
	return kept, "times", err
}

// timesKey names a case without the round.
func timesKey(c report.Case) string {
	return c.Scenario.Name + "/" + string(c.Family) + "@" + c.Subject
}

// longestFirst sorts tasks. One that never ran may be long, and begins before all others.
func (t times) longestFirst(tasks []task) []task {
	length := func(x task) float64 {
		if seconds, ran := t[timesKey(x.info)]; ran {
			return seconds
		}
		return never
	}
	return slices.SortedStableFunc(slices.Values(tasks), func(a, b task) int { return cmp.Compare(length(b), length(a)) })
}

// never is longer than any case.
const never = 1e9
