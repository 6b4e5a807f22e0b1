// Package subject is the service proxy under test: how it is named on the command line, and per kind of proxy a profile that
// knows how to start it, which of its log lines are errors, and which kernel state it keeps. Subjects are processes, started
// unmodified; what a profile does not know of its proxy is never guessed.
package subject

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// Setting is what a proxy is to be started with.
type Setting struct {
	Node string
	// Binary and Kubeconfig are paths as the process will see them.
	Binary     string
	Kubeconfig string
	// Args precede those that the profile makes.
	Args     []string
	Families []world.Family // of the cluster, primary first
	Ranges   world.Ranges
	Options  scenario.Options
}

// Profile knows one kind of proxy.
type Profile interface {
	// Command starts the proxy. The error is a *Lacks if the proxy cannot do what the scenario's options ask for.
	Command(Setting) (world.Command, error)
	// IsError tells whether a line of its log reports an error that a scenario should hear of.
	IsError(line string) bool
	// Keeps is the kernel state that the proxy promises to keep.
	Keeps() invariant.Keep
	// Patience is how long an idle proxy of this kind may rest before it acts on what it already knows, on a nominal machine:
	// the longest of its internal delays.
	Patience() time.Duration
	// StopLimit is how long it may take to exit after SIGTERM, on a nominal machine.
	StopLimit() time.Duration
}

// Lacks is the reason for a skip: the proxy has no such option.
type Lacks struct{ Option string }

func (l *Lacks) Error() string { return fmt.Sprintf("the subject has no option for %s", l.Option) }

// profiles are the kinds of proxies that can be named.
var profiles = map[string]Profile{
	"reference": reference{},
}

// ProfileOf finds a profile by its name.
func ProfileOf(name string) (Profile, error) {
	p, ok := profiles[name]
	if !ok {
		return nil, fmt.Errorf("unknown subject profile %q", name)
	}
	return p, nil
}

// prefixes are the ranges in the order of the families, as command lines want them.
func prefixes(families []world.Family, ranges map[world.Family]netip.Prefix) string {
	var list []string
	for _, f := range families {
		list = append(list, ranges[f].String())
	}
	return strings.Join(list, ",")
}
