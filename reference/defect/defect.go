// Package defect is the bug zoo: historic faults of service proxies, each a wrapper around a seam of the reference proxy. It
// is linked only into a second main, so that nobody ships one. To add one, see docs/defects.md.
package defect

import (
	"fmt"
	"slices"
	"strings"

	"proxyproof/reference/proxy"
)

// Defect is one historic fault.
type Defect struct {
	Name    string `json:"name"`
	Issue   string `json:"issue"` // the upstream report
	Summary string `json:"summary"`
	// Findings are the ids that a harness must report.
	Findings []string `json:"findings"`
	// Races are ids that it may report besides: who comes first decides, and When says between whom.
	Races []string `json:"races,omitempty"`
	// Perturb is what has to be done to scenarios besides what they say before all of them come: restart, touch or clean.
	Perturb []string `json:"perturb,omitempty"`
	// When says in words in which cases each of them comes.
	When string           `json:"when"`
	Wrap proxy.Middleware `json:"-"`
}

// Zoo lists all defects.
func Zoo() []Defect {
	return []Defect{
		localIPsIPv4Only, svipFromEveryIPVSService, staleCleanupDeletesForeignIPVS, foreignSetClobberedByRestore,
		firewallRejectsNeighbourDiscovery, rejectBeforeServiceAccept, duplicateRulesEachSync, vipRouteWithoutSource,
		externalPolicyStarvesClusterIP, affinityIgnored, affinityTimeoutIgnored, updateIgnored, serviceProxyNameIgnored, nodePortOfOneFamily, modeProxyBound,
		externalAddressOfOthersServed, otherNodesAddressTaken, terminatingDropped, servingBesideReady, onlyFirstSlice, stalePortOfEndpoint, hairpinMissing, hairpinMask32,
		staleVIP, staleVIPRoute, nodestConnectionsKept, localIPsNeverStored, addressGivenTwice, requestIgnored, addressChangesOnUpdate,
		endpointCut, weightZeroForGood, drainedNeverDeleted, conflictUntold, hostPortOnAPIServer, ingressOnAPIServer, unreadyAPIServerUsed,
	}
}

// Find is a defect by its name.
func Find(name string) (Defect, error) {
	var names []string
	for _, d := range Zoo() {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return Defect{}, fmt.Errorf("no defect is called %q; there are: %s", name, strings.Join(names, ", "))
}
