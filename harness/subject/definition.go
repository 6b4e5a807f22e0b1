package subject

import (
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"proxyproof/harness/known"
	"proxyproof/harness/scenario"
)

// placeholder is what args, env and files may contain. A file may contain {} of its own.
var placeholder = regexp.MustCompile(`\{[A-Za-z]*\}`)

var placeholders = []string{"{externals}", "{kubeconfig}", "{loadBalancers}", "{node}", "{pods}", "{services}"}

// fileDirs are where a definition may put files: directories that belong to the node alone.
var fileDirs = []string{"/etc/", "/run/", "/tmp/", "/var/lib/"}

// reservedDir is the harness's own.
const reservedDir = "/run/proxyproof/"

// fault is what is wrong with a definition, and where: the keys that lead there, or none if something is missing.
type fault struct {
	at  []string
	err error
}

func (f *fault) Error() string {
	if len(f.at) == 0 {
		return f.err.Error()
	}
	return strings.Join(f.at, ": ") + ": " + f.err.Error()
}

func faultf(at []string, format string, args ...any) *fault {
	return &fault{at, fmt.Errorf(format, args...)}
}

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
		return nil, fmt.Errorf("%s: %w", file+position(text, err), err)
	}
	return &d, nil
}

// position is ":LINE:COLUMN" of what a fault is about; "" if that is not in the file.
func position(text []byte, err error) string {
	var f *fault
	if !errors.As(err, &f) || len(f.at) == 0 {
		return ""
	}
	parsed, parseErr := parser.ParseBytes(text, 0)
	if parseErr != nil {
		return ""
	}
	builder := (&yaml.PathBuilder{}).Root()
	for _, key := range f.at {
		builder = builder.Child(key)
	}
	node, filterErr := builder.Build().FilterFile(parsed)
	if filterErr != nil || node == nil || node.GetToken() == nil {
		return ""
	}
	at := node.GetToken().Position
	return fmt.Sprintf(":%d:%d", at.Line, at.Column)
}

// check finds the first thing that is wrong.
func (d *Definition) check() error {
	for _, check := range []func() *fault{d.checkStart, d.checkReady, d.checkKeeps, d.checkLog, d.checkOptions, d.checkTexts, d.checkFiles} {
		if f := check(); f != nil {
			return f
		}
	}
	if err := known.Check(d.Known); err != nil {
		return faultf([]string{"known"}, "%w", err)
	}
	return nil
}

func (d *Definition) checkStart() *fault {
	if d.Name == "" || strings.ContainsAny(d.Name, " /@") {
		return faultf([]string{"name"}, "want a word without spaces, slashes and @, got %q", d.Name)
	}
	if d.Binary == "" {
		return faultf([]string{"binary"}, "want the path of the executable")
	}
	return nil
}

func (d *Definition) checkReady() *fault {
	signs := 0
	for _, sign := range []bool{d.Ready.IPVS, d.Ready.Answers, d.Ready.Log != ""} {
		if sign {
			signs++
		}
	}
	if signs != 1 {
		return faultf([]string{"ready"}, "want exactly one of `ipvs: true`, `answers: true` and `log: REGEX`")
	}
	return checkExpressions([]string{"ready", "log"}, d.Ready.Log)
}

func (d *Definition) checkKeeps() *fault {
	for _, name := range d.Keeps {
		if keepNames[name] == 0 {
			return faultf([]string{"keeps"}, "unknown kind of state %q; known are: %s", name, strings.Join(sortedKeys(keepNames), ", "))
		}
	}
	return nil
}

func (d *Definition) checkLog() *fault {
	if f := checkExpressions([]string{"errors"}, d.Errors...); f != nil {
		return f
	}
	if len(d.Allowed) > 0 && len(d.Errors) == 0 {
		return faultf([]string{"allowed"}, "excuses lines that match `errors`, and there are none")
	}
	return checkExpressions([]string{"allowed"}, d.Allowed...)
}

func checkExpressions(at []string, expressions ...string) *fault {
	for _, e := range expressions {
		if _, err := regexp.Compile(e); err != nil {
			return faultf(at, "regular expression %q: %w", e, err)
		}
	}
	return nil
}

func (d *Definition) checkOptions() *fault {
	for _, option := range sortedKeys(d.Options) {
		if !slices.Contains(optionNames, option) {
			return faultf([]string{"options", option}, "unknown option; known are: %s", strings.Join(optionNames, ", "))
		}
		if f := checkPlaceholders([]string{"options", option}, d.Options[option], "{value}"); f != nil {
			return f
		}
	}
	return nil
}

func (d *Definition) checkTexts() *fault {
	if f := checkPlaceholders([]string{"args"}, d.Args); f != nil {
		return f
	}
	for _, set := range sortedKeys(d.FamilyArgs) {
		at := []string{"familyArgs", string(set)}
		if !slices.Contains(scenario.AllFamilies, set) {
			return faultf(at, "unknown family set; known are: %s", strings.Join(words(scenario.AllFamilies), ", "))
		}
		if f := checkPlaceholders(at, d.FamilyArgs[set]); f != nil {
			return f
		}
	}
	for _, name := range sortedKeys(d.Env) {
		if f := checkPlaceholders([]string{"env", name}, []string{d.Env[name]}); f != nil {
			return f
		}
	}
	return nil
}

func (d *Definition) checkFiles() *fault {
	for _, name := range sortedKeys(d.Files) {
		at := []string{"files", name}
		below := func(dir string) bool { return strings.HasPrefix(name, dir) }
		switch {
		case path.Clean(name) != name || !slices.ContainsFunc(fileDirs, below):
			return faultf(at, "want an absolute path below one of %s", strings.Join(fileDirs, ", "))
		case below(reservedDir):
			return faultf(at, "%s belongs to the harness", reservedDir)
		}
		if f := checkPlaceholders(at, []string{d.Files[name]}, "{}"); f != nil {
			return f
		}
	}
	return nil
}

func checkPlaceholders(at, texts []string, more ...string) *fault {
	for _, text := range texts {
		for _, p := range placeholder.FindAllString(text, -1) {
			if !slices.Contains(placeholders, p) && !slices.Contains(more, p) {
				return faultf(at, "unknown placeholder %s; known are: %s", p, strings.Join(append(more, placeholders...), ", "))
			}
		}
	}
	return nil
}

func words[T ~string](all []T) []string {
	var list []string
	for _, w := range all {
		list = append(list, string(w))
	}
	return list
}
