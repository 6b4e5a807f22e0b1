package subject

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

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
	// Args and the values of Env may contain {kubeconfig}, {node}, {services}, {externals}, {loadBalancers} and {pods}: a path, the
	// node's name, and CIDRs separated by commas, primary family first.
	Args []string          `yaml:"args" json:"args"`
	Env  map[string]string `yaml:"env" json:"env,omitempty"`
	// Options maps an option of scenarios to the arguments that ask for it; {value} is its value. A scenario that asks for another
	// one is skipped.
	Options map[string][]string `yaml:"options" json:"options,omitempty"`
	// Ready tells when it may be judged.
	Ready ReadyWhen `yaml:"ready" json:"ready"`
	// Keeps is the kernel state that it promises to keep as docs/contract.md says; what it does not is not looked at.
	Keeps []string `yaml:"keeps" json:"keeps,omitempty"`
	// Errors are regular expressions of log lines that report an error.
	Errors []string `yaml:"errors" json:"errors,omitempty"`
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

// placeholder is what args and env may contain.
var placeholder = regexp.MustCompile(`\{[A-Za-z]*\}`)

var placeholders = []string{"{externals}", "{kubeconfig}", "{loadBalancers}", "{node}", "{pods}", "{services}"}

// ReadDefinition reads and checks a file. Errors name the file, line and column where they can.
func ReadDefinition(file string) (*Definition, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var d Definition
	if err := yaml.UnmarshalWithOptions(text, &d, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s:%w", file, err)
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &d, nil
}

func (d *Definition) check() error {
	if err := known.Check(d.Known); err != nil {
		return fmt.Errorf("known: %w", err)
	}
	if d.Name == "" || strings.ContainsAny(d.Name, " /@") {
		return fmt.Errorf("name: want a word without spaces, slashes and @, got %q", d.Name)
	}
	if d.Binary == "" {
		return fmt.Errorf("binary: want the path of the executable")
	}
	signs := 0
	for _, sign := range []bool{d.Ready.IPVS, d.Ready.Answers, d.Ready.Log != ""} {
		if sign {
			signs++
		}
	}
	if signs != 1 {
		return fmt.Errorf("ready: want exactly one of `ipvs: true`, `answers: true` and `log: REGEX`")
	}
	for _, name := range d.Keeps {
		if keepNames[name] == 0 {
			return fmt.Errorf("keeps: unknown kind of state %q; known are: %s", name, strings.Join(sortedKeys(keepNames), ", "))
		}
	}
	for _, expression := range append(slices.Clone(d.Errors), d.Ready.Log) {
		if _, err := regexp.Compile(expression); err != nil {
			return fmt.Errorf("regular expression %q: %w", expression, err)
		}
	}
	for option, args := range d.Options {
		if !slices.Contains(optionNames, option) {
			return fmt.Errorf("options: unknown option %q; known are: %s", option, strings.Join(optionNames, ", "))
		}
		for _, arg := range args {
			if err := checkPlaceholders(arg, "{value}"); err != nil {
				return fmt.Errorf("options: %s: %w", option, err)
			}
		}
	}
	for _, text := range append(slices.Collect(mapValues(d.Env)), d.Args...) {
		if err := checkPlaceholders(text); err != nil {
			return fmt.Errorf("args and env: %w", err)
		}
	}
	return nil
}

func checkPlaceholders(text string, more ...string) error {
	for _, p := range placeholder.FindAllString(text, -1) {
		if !slices.Contains(placeholders, p) && !slices.Contains(more, p) {
			return fmt.Errorf("%q: unknown placeholder %s; known are: %s", text, p, strings.Join(append(more, placeholders...), ", "))
		}
	}
	return nil
}

// execProfile is a proxy that a file describes. It was checked when it was read.
type execProfile struct{ *Definition }

func (execProfile) Inquiry() []string { return nil }

func (e execProfile) Command(s Setting) (world.Command, error) {
	fill := strings.NewReplacer(
		"{kubeconfig}", s.Kubeconfig, "{node}", s.Node, "{services}", prefixes(s.Families, s.Ranges.Services),
		"{externals}", prefixes(s.Families, s.Ranges.Externals), "{loadBalancers}", prefixes(s.Families, s.Ranges.LoadBalancers),
		"{pods}", prefixes(s.Families, s.Ranges.Pods),
	)
	c := world.Command{Path: s.Binary, Args: slices.Clone(s.Args)}
	for _, arg := range e.Args {
		c.Args = append(c.Args, fill.Replace(arg))
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
	return Crashed(line) || slices.ContainsFunc(e.Errors, func(expression string) bool { return regexp.MustCompile(expression).MatchString(line) })
}

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
