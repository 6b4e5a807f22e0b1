package subject

import (
	"iter"
	"maps"
	"slices"
	"time"

	"proxyproof/harness/scenario"
)

// optionNames are the options of scenarios, in the words of the format.
var optionNames = []string{"loadBalancer", "masqueradeAll", "syncPeriod"}

// optionValues are those options that a scenario asks for.
func optionValues(o scenario.Options) map[string]string {
	values := map[string]string{}
	if o.LoadBalancer {
		values["loadBalancer"] = "true"
	}
	if o.MasqueradeAll {
		values["masqueradeAll"] = "true"
	}
	if o.SyncPeriod != 0 {
		values["syncPeriod"] = time.Duration(o.SyncPeriod).String()
	}
	return values
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func mapValues[V any](m map[string]V) iter.Seq[V] { return maps.Values(m) }

// or is the first that is not zero.
func or(a, b time.Duration) time.Duration {
	if a != 0 {
		return a
	}
	return b
}
