// Package subject is the service proxy under test: how it is named on the command line, and per kind of proxy a profile that
// knows how to start it, which of its log lines are errors, and which kernel state it keeps. Subjects are processes, started
// unmodified; what a profile does not know of its proxy is never guessed.
package subject

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
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
	Args []string
	// Help is what the binary answered to the profile's Inquiry.
	Help     string
	Families []world.Family // of the cluster, primary first
	Ranges   world.Ranges
	Options  scenario.Options
}

// Profile knows one kind of proxy.
type Profile interface {
	// Inquiry are the arguments with which the binary tells its options; nil if they are known.
	Inquiry() []string
	// Command starts the proxy. The error is a *Lacks if the proxy cannot do what the scenario's options ask for.
	Command(Setting) (world.Command, error)
	// IsError tells whether a line of its log reports an error that a scenario should hear of.
	IsError(line string) bool
	// Heartbeat recognises a line in which the proxy reports that a part of it is overdue. Such a line is judged by how long it is
	// repeated, see docs/subjects.md.
	Heartbeat(line string, o scenario.Options) (Heartbeat, bool)
	// Ready is how the proxy shows that it may be judged.
	Ready() Ready
	// Keeps is the kernel state that the proxy promises to keep.
	Keeps() invariant.Keep
	// Patience is how long an idle proxy of this kind may rest before it acts on what it already knows: the longest of its
	// internal delays under these options, by the clock. Its sync period is another matter.
	Patience(scenario.Options) time.Duration
	// StartLimit is how much work it may need until it is ready, in time on a nominal machine.
	StartLimit() time.Duration
	// StopLimit is how long it may take to exit after SIGTERM, on a nominal machine.
	StopLimit() time.Duration
}

// Heartbeat is a sign of life that a part of a proxy owes to the proxy, which logs when it is overdue.
type Heartbeat struct {
	// Of is the part.
	Of string
	// Due is the longest time between two signs. Grace is the part of it that is for the work of the part, on a nominal machine.
	Due, Grace time.Duration
	// Again is how often the line is repeated while the sign is missing.
	Again time.Duration
}

// defaultStartLimit is the StartLimit of proxies that say nothing else.
const defaultStartLimit = 8 * time.Second

// Ready is a sign of readiness; exactly one is set. A health endpoint is none: kube-router's answers before its first sync.
type Ready struct {
	// IPVS: the Service "kubernetes" is in IPVS.
	IPVS bool
	// Answers: the Service "kubernetes" takes connections from the node.
	Answers bool
	// Log: a line of the log matches.
	Log *regexp.Regexp
}

// Lacks is the reason for a skip: the proxy has no such option.
type Lacks struct {
	Option string // of the scenario
	Flag   string // of the proxy, if its name is known
}

func (l *Lacks) Error() string {
	if l.Flag != "" {
		return fmt.Sprintf("the subject has no option %s for %s", l.Flag, l.Option)
	}
	return fmt.Sprintf("the subject has no option for %s", l.Option)
}

// ProfileOf finds the profile of a proxy by its name. A definition is given for "exec" only.
func ProfileOf(name, version string, d *Definition) (Profile, error) {
	switch {
	case name == "reference":
		return reference{}, nil
	case name == "kube-router":
		return kubeRouter{version}, nil
	case name == "exec" && d != nil:
		return newExecProfile(d), nil
	}
	return nil, fmt.Errorf("unknown subject profile %q", name)
}

// Crashed tells whether a line is what a Go program says when it crashes, or finds out that it is racing with itself.
func Crashed(line string) bool {
	return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "WARNING: DATA RACE")
}

var frame = regexp.MustCompile(`^\s+\S*?([^/\s]+/[^/\s]+\.go:\d+)( |$)`)

// Frame is the place that a line of a Go program's stack trace names, such as "proxy/graceful.go:85"; ok is false for other lines and for
// places in the Go runtime.
func Frame(line string) (place string, ok bool) {
	m := frame.FindStringSubmatch(line)
	if m == nil || strings.HasPrefix(m[1], "runtime/") {
		return "", false
	}
	return m[1], true
}

func matchesAny(expressions []*regexp.Regexp, line string) bool {
	return slices.ContainsFunc(expressions, func(e *regexp.Regexp) bool { return e.MatchString(line) })
}

// prefixes are the ranges in the order of the families, as command lines want them.
func prefixes(families []world.Family, ranges map[world.Family]netip.Prefix) string {
	var list []string
	for _, f := range families {
		list = append(list, ranges[f].String())
	}
	return strings.Join(list, ",")
}
