package scenario_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
)

// TestInvariants: what can be exempted is what is judged.
func TestInvariants(t *testing.T) {
	var names []string
	for _, check := range invariant.All() {
		names = append(names, check.Name)
	}
	if diff := cmp.Diff(scenario.Invariants(), names); diff != "" {
		t.Errorf("scenario.Invariants and invariant.All differ (-scenario +invariant):\n%s", diff)
	}
}
