package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"proxyproof/harness/lane"
	"proxyproof/harness/scenario"
	"proxyproof/sim/guest"
)

func TestTheTrialIsAScenario(t *testing.T) {
	if _, err := scenario.Parse("trial.yaml", trialFile); err != nil {
		t.Fatal(err)
	}
}

func TestWhatDoesNotOpenIsToldWithWhatMendsIt(t *testing.T) {
	missing := guest.Missing{Program: "qemu-system-x86_64", Why: "it runs the VM", Mend: "apt-get install qemu-system-x86"}
	for name, open := range map[string]error{
		"there is no qemu-system-x86_64 here (it runs the VM)": fmt.Errorf("boot: %w", missing),
		"boot the VM: it ended":                                errors.New("boot the VM: it ended\n[ 0.1] panic"),
	} {
		var told []string
		fit, err := Examine(context.Background(), func(context.Context, lane.Kind, func(string)) (*lane.Worker, error) { return nil, open },
			func(a Answer) { told = append(told, a.Lines()...) })
		all := strings.Join(told, "\n")
		if err != nil || fit || !strings.Contains(all, name) || strings.Contains(all, "panic") {
			t.Errorf("%v: fit %v, error %v, told:\n%s", open, fit, err, all)
		}
		if errors.As(open, &missing) && !strings.Contains(all, "→ "+missing.Mend) {
			t.Errorf("what mends it is not told:\n%s", all)
		}
	}
}
