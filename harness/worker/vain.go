package worker

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"proxyproof/sim/apiserver"
	"proxyproof/sim/world"
)

// vain is something that a subject asked for and did not get.
type vain struct {
	what string
	// ours: a real node or API server has it, and the simulated one does not.
	ours bool
}

// lackingError: the subject could not start for want of what the harness should have.
type lackingError struct {
	node, outcome string
	lacks         []string
	words         []string // the end of its log
}

func (l *lackingError) Error() string {
	text := fmt.Sprintf("this machine or its API server lacks what the subject on %s asked for before %s: %s", l.node, l.outcome, strings.Join(l.lacks, "; "))
	return strings.Join(append([]string{text}, l.words...), "\n")
}

// whoseFault decides whose fault it is that a subject did not start: the harness's if something is lacking that is for the harness to have, and then
// the error says so. Else it is the subject's, and what it asked for in vain is evidence.
func whoseFault(node, outcome string, asked []vain, words []string) (evidence []string, err error) {
	lacking := &lackingError{node: node, outcome: outcome, words: words}
	for _, v := range asked {
		if v.ours {
			lacking.lacks = append(lacking.lacks, v.what)
		}
		evidence = append(evidence, "it asked in vain for "+v.what)
	}
	if len(lacking.lacks) > 0 {
		return nil, lacking
	}
	return append(evidence, words...), nil
}

// askedInVain is what the subject of a node asked for and did not get: of the API server, of modprobe, and of its PATH.
func (c *caseRun) askedInVain(ctx context.Context, p *proxy) ([]vain, error) {
	asked := vainRequests(c.lacks.all())
	modules, err := p.node.MissingModules(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which modules %s asked for: %w", p.node.Name(), err)
	}
	return slices.Concat(asked, vainModules(modules), vainPrograms(p.missingPrograms())), nil
}

func vainRequests(lacks []apiserver.Lack) []vain {
	var asked []vain
	for _, l := range lacks {
		v := vain{"the API's " + l.What, l.BuiltIn}
		if !l.BuiltIn {
			v.what += ", which is not built into Kubernetes"
		}
		asked = append(asked, v)
	}
	return asked
}

func vainModules(modules []world.Module) []vain {
	var asked []vain
	for _, m := range modules {
		v := vain{"the kernel module " + m.Name, m.Exists}
		if !m.Exists {
			v.what += ", which this kernel does not have"
		}
		asked = append(asked, v)
	}
	return asked
}

func vainPrograms(programs []string) []vain {
	var asked []vain
	for _, name := range programs {
		asked = append(asked, vain{"the program " + name, true})
	}
	return asked
}

// notFound is how a Go program reports that it found no program of a name: os/exec.ErrNotFound.
var notFound = regexp.MustCompile(`exec: \\?"([^"\\]+)\\?": executable file not found in \$PATH`)

// missingProgram is the program that a line of a log reports missing; "" if it reports none.
func missingProgram(line string) string {
	if m := notFound.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

// lackList are the lacks of the API server that clients met, each once.
type lackList struct {
	lock sync.Mutex
	list []apiserver.Lack
}

func (l *lackList) add(lack *apiserver.Lack) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if lack != nil && !slices.Contains(l.list, *lack) {
		l.list = append(l.list, *lack)
	}
}

func (l *lackList) all() []apiserver.Lack {
	l.lock.Lock()
	defer l.lock.Unlock()
	return slices.Clone(l.list)
}
