package subject

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"proxyproof/harness/invariant"
	"proxyproof/harness/known"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// Definition describes a proxy that has no profile here. docs/subjects.md tells how to write one.
type Definition struct {
	// Name is how reports call it.
	Name string `yaml:"name" json:"name"`
	// Binary is its executable, relative to the file.
	Binary string `yaml:"binary" json:"binary"`
	// Args, FamilyArgs, Files and the values of Env may contain {kubeconfig}, {node}, {services}, {externals}, {loadBalancers} and {pods}: a
	// path, the node's name, and CIDRs separated by commas, primary family first.
	Args []string          `yaml:"args" json:"args"`
	Env  map[string]string `yaml:"env" json:"env,omitempty"`
	// FamilyArgs are more arguments, by family set.
	FamilyArgs map[scenario.FamilySet][]string `yaml:"familyArgs" json:"familyArgs,omitempty"`
	// Files are made on the node before the proxy starts: absolute path to content.
	Files map[string]string `yaml:"files" json:"files,omitempty"`
	// Options maps an option of scenarios to the arguments that ask for it; {value} is its value. A scenario that asks for another
	// one is skipped.
	Options map[string][]string `yaml:"options" json:"options,omitempty"`
	// Ready tells when it may be judged.
	Ready ReadyWhen `yaml:"ready" json:"ready"`
	// Keeps is the kernel state that it promises to keep as docs/contract.md says; what it does not is not looked at.
	Keeps []string `yaml:"keeps" json:"keeps,omitempty"`
	// Errors are regular expressions of log lines that report an error.
	Errors []string `yaml:"errors" json:"errors,omitempty"`
	// Allowed are regular expressions of log lines that report none, although they match one of Errors.
	Allowed []string `yaml:"allowed" json:"allowed,omitempty"`
	// Known are findings that it cannot help, as in harness/known.
	Known []known.Issue `yaml:"known" json:"-"`
	// Patience is how long it may rest before it acts on what it knows, StartLimit how long it may work until it is ready, StopLimit
	// how long it may take to exit after SIGTERM.
	Patience   scenario.Duration `yaml:"patience" json:"patience,omitempty"`
	StartLimit scenario.Duration `yaml:"startLimit" json:"startLimit,omitempty"`
	StopLimit  scenario.Duration `yaml:"stopLimit" json:"stopLimit,omitempty"`
}

// ReadyWhen is one sign of readiness.
type ReadyWhen struct {
	// IPVS: the Service "kubernetes" is in IPVS.
	IPVS bool `yaml:"ipvs" json:"ipvs,omitempty"`
	// Answers: the Service "kubernetes" takes connections from the node.
	Answers bool `yaml:"answers" json:"answers,omitempty"`
	// Log: a line of the log matches this regular expression.
	Log string `yaml:"log" json:"log,omitempty"`
}

// keepNames are the words of Keeps.
var keepNames = map[string]invariant.Keep{
	"ipvs": invariant.KeepIPVS, "sets": invariant.KeepSets, "addresses": invariant.KeepAddresses,
	"firewall":              invariant.KeepFirewall,
	"node-ports-per-family": invariant.KeepNodePortsPerFamily,
	"requested-addresses":   invariant.KeepRequestedAddresses,
	"conflict-events":       invariant.KeepConflictEvents,
	"sysctls":               invariant.KeepSysctls,
}

// execProfile is a proxy that a file describes. It was checked when it was read.
type execProfile struct {
	*Definition
	errors, allowed []*regexp.Regexp
}

func newExecProfile(d *Definition) execProfile {
	return execProfile{d, compiled(d.Errors), compiled(d.Allowed)}
}

func compiled(expressions []string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, e := range expressions {
		all = append(all, regexp.MustCompile(e))
	}
	return all
}

func (execProfile) Inquiry() []string { return nil }

func (e execProfile) Command(s Setting) (world.Command, error) {
	fill := strings.NewReplacer(
		"{kubeconfig}", s.Kubeconfig, "{node}", s.Node, "{services}", prefixes(s.Families, s.Ranges.Services),
		"{externals}", prefixes(s.Families, s.Ranges.Externals), "{loadBalancers}", prefixes(s.Families, s.Ranges.LoadBalancers),
		"{pods}", prefixes(s.Families, s.Ranges.Pods),
	)
	c := world.Command{Path: s.Binary, Args: slices.Clone(s.Args)}
	for _, arg := range slices.Concat(e.Args, e.FamilyArgs[familySet(s.Families)]) {
		c.Args = append(c.Args, fill.Replace(arg))
	}
	for path, content := range e.Files {
		if c.Files == nil {
			c.Files = map[string][]byte{}
		}
		c.Files[path] = []byte(fill.Replace(content))
	}
	for option, value := range optionValues(s) {
		args, ok := e.Options[option]
		if !ok {
			return c, &Lacks{Option: option}
		}
		for _, arg := range args {
			c.Args = append(c.Args, fill.Replace(strings.ReplaceAll(arg, "{value}", value)))
		}
	}
	for _, name := range sortedKeys(e.Env) {
		c.Env = append(c.Env, name+"="+fill.Replace(e.Env[name]))
	}
	return c, nil
}

func (e execProfile) IsError(line string) bool {
	return Crashed(line) || matchesAny(e.errors, line) && !matchesAny(e.allowed, line)
}

// familySet is the set of families in this order.
func familySet(families []world.Family) scenario.FamilySet {
	i := slices.IndexFunc(scenario.AllFamilies, func(f scenario.FamilySet) bool { return slices.Equal(f.Families(), families) })
	if i < 0 {
		return ""
	}
	return scenario.AllFamilies[i]
}

func (execProfile) Heartbeat(string, scenario.Options) (Heartbeat, bool) { return Heartbeat{}, false }

func (e execProfile) Ready() Ready {
	r := Ready{IPVS: e.Definition.Ready.IPVS, Answers: e.Definition.Ready.Answers}
	if e.Definition.Ready.Log != "" {
		r.Log = regexp.MustCompile(e.Definition.Ready.Log)
	}
	return r
}

func (e execProfile) Keeps() invariant.Keep {
	var keeps invariant.Keep
	for _, name := range e.Definition.Keeps {
		keeps |= keepNames[name]
	}
	return keeps
}

func (e execProfile) Patience(o scenario.Options) time.Duration {
	return or(time.Duration(e.Definition.Patience), 2*time.Second) + time.Duration(o.GracefulPeriod)
}

func (e execProfile) StartLimit() time.Duration {
	return or(time.Duration(e.Definition.StartLimit), defaultStartLimit)
}

func (e execProfile) StopLimit() time.Duration {
	return or(time.Duration(e.Definition.StopLimit), 10*time.Second)
}
