package subject

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// optionNames are the options of scenarios, in the words of the format.
var optionNames = []string{"excludedCIDRs", "firewall", "gracefulPeriod", "loadBalancer", "masqueradeAll", "nodePortsOnAllAddresses", "syncPeriod"}

// optionValues are those options that a scenario asks for.
func optionValues(s Setting) map[string]string {
	values, o := map[string]string{}, s.Options
	if len(o.ExcludedCIDRs) > 0 {
		values["excludedCIDRs"] = excluded(s)
	}
	if o.Firewall {
		values["firewall"] = "true"
	}
	if o.GracefulPeriod != 0 {
		values["gracefulPeriod"] = time.Duration(o.GracefulPeriod).String()
	}
	if o.NodePortsOnAllAddresses {
		values["nodePortsOnAllAddresses"] = "true"
	}
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

// excluded are the ranges that the proxy is to leave alone, separated by commas.
func excluded(s Setting) string {
	var all []string
	for _, name := range s.Options.ExcludedCIDRs {
		all = append(all, prefixes(s.Families, s.Ranges.ByName(name)))
	}
	return strings.Join(all, ",")
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// or is the first that is not zero.
func or(a, b time.Duration) time.Duration {
	if a != 0 {
		return a
	}
	return b
}
