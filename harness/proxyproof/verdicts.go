package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"proxyproof/harness/bisect"
	"proxyproof/harness/event"
	"proxyproof/harness/finding"
	"proxyproof/harness/keep"
	"proxyproof/harness/lane"
	"proxyproof/harness/report"
	"proxyproof/harness/run"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/guest"
	"proxyproof/sim/netstate"
)

// questionArgs say what is asked about a commit: which scenario, which finding, of which kind of proxy.
type questionArgs struct {
	laneArgs
	Scenario   string   `required:"" type:"existingfile" help:"The scenario file that shows the fault."`
	Family     string   `help:"The family set to run it in; by default all of the scenario's; bisect takes the first in which the finding comes." enum:",ipv4,ipv6,dual-v4,dual-v6" default:""`
	Finding    string   `required:"" help:"The id of the finding that is searched for, see docs/findings.md."`
	Besides    []string `help:"Findings of other faults that do not hide it." sep:","`
	Find       string   `help:"What to look for: the commit that broke it, or, with fix, the one that mended it." enum:"regression,fix" default:"regression"`
	Build      string   `help:"Your command that builds the proxy: it runs in a work tree of the commit and writes a static executable to $OUT."`
	Subject    string   `help:"What kind of proxy it is; {binary} stands for the executable." default:"kube-router={binary}" sep:"none"`
	Iptables   string   `help:"The iptables back end." enum:"legacy,nft" default:"legacy"`
	Seed       uint64   `help:"Decides every choice of an address or port." default:"1"`
	Fresh      bool     `help:"Build and run anew what is remembered of earlier searches."`
	scenario   *scenario.Scenario
	executable string // this program
}

// check reads the scenario and makes sure that the question can be asked.
func (q *questionArgs) check() error {
	for _, id := range append(slices.Clone(q.Besides), q.Finding) {
		if _, known := finding.Lookup(finding.ID(id)); !known {
			return usageError{fmt.Errorf("no finding is called %q; %s", id, meantFinding(id))}
		}
	}
	scenarios, err := scenario.LoadAll(relative([]string{q.Scenario}))
	if err != nil {
		return usageError{err}
	}
	q.scenario = scenarios[0]
	if all := familiesOf(q.scenario); q.Family != "" && !slices.Contains(all, scenario.FamilySet(q.Family)) {
		return usageError{fmt.Errorf("--family %s: scenario %s does not run in it; it runs in %s", q.Family, q.scenario.Name, words(all))}
	}
	if q.executable, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	// There is no executable to be tested yet. This program stands for it: what else is wrong with --subject shows all the same.
	_, err = q.subject(q.executable)
	return err
}

// meantFinding is the finding that is called much like it, and where all are.
func meantFinding(id string) string {
	var known []string
	for _, entry := range finding.Catalogue() {
		known = append(known, string(entry.ID))
	}
	if near := scenario.Nearest(id, known); near != "" {
		return "did you mean " + near + "? docs/findings.md lists them"
	}
	return "docs/findings.md lists them"
}

func words(sets []scenario.FamilySet) string {
	var list []string
	for _, f := range sets {
		list = append(list, string(f))
	}
	return strings.Join(list, ", ")
}

// question is what the search is to find out.
func (q *questionArgs) question() bisect.Question {
	b := bisect.Question{Find: bisect.Find(q.Find), Finding: finding.ID(q.Finding)}
	for _, id := range q.Besides {
		b.Besides = append(b.Besides, finding.ID(id))
	}
	return b
}

// families are those that the case may be run in.
func (q *questionArgs) families() []scenario.FamilySet {
	if q.Family != "" {
		return []scenario.FamilySet{scenario.FamilySet(q.Family)}
	}
	return familiesOf(q.scenario)
}

func familiesOf(s *scenario.Scenario) []scenario.FamilySet {
	var all []scenario.FamilySet
	for _, c := range s.Cases() {
		all = append(all, c.Family)
	}
	return all
}

// folder is where a part of what searches need is kept.
func folder(name string) (string, error) {
	cache, err := guest.CacheDir()
	return filepath.Join(cache, "bisect", name), err
}

// verdicts runs cases of one question and remembers how they ended. What is known of releases does not apply: a search is about
// finding ids.
type verdicts struct {
	args  *questionArgs
	bench *run.Bench
	kept  keep.Keep
	judge string          // this program by content: what another build of it said is not remembered
	made  map[string]bool // the keys of this search: they are fresh enough
	// unusable is what is wrong with the scenario, which only a run showed; nil if nothing is.
	unusable error
}

func newVerdicts(q *questionArgs, say func(string)) (*verdicts, error) {
	dir, err := folder("kept")
	if err != nil {
		return nil, err
	}
	kept, err := keep.Open(dir)
	if err != nil {
		return nil, err
	}
	judge, err := keep.Hash(q.executable)
	if err != nil {
		return nil, err
	}
	open := func(ctx context.Context, notice func(string)) (*lane.Worker, error) {
		return lane.Open(ctx, q.config(notice))
	}
	return &verdicts{args: q, bench: run.NewBench(open, notices{say}), kept: kept, judge: judge, made: map[string]bool{}}, nil
}

// ended is what is remembered of a case.
type ended struct {
	Verdict  event.Verdict     `json:"verdict"`
	Findings []finding.Finding `json:"findings"`
	Worker   string            `json:"worker"`
}

// run executes the case against a binary, or remembers the n-th time that this was done.
func (v *verdicts) run(ctx context.Context, family scenario.FamilySet, path, binary string, n int) (e ended, remembered bool, err error) {
	sub, err := v.args.subject(path)
	if err != nil {
		return ended{}, false, err
	}
	q := v.args
	key, err := keep.Key("verdict", v.judge, q.scenario, family, q.Iptables, q.Seed, q.Lane, q.Kernel, q.Modules, sub.Profile, sub.Version, sub.Args, sub.Definition, binary, n)
	if err != nil {
		return ended{}, false, err
	}
	if (!q.Fresh || v.made[key]) && v.kept.Answer(key, &e) {
		return e, true, nil
	}
	o, err := v.bench.Run(ctx, run.Plan{
		Scenarios: []*scenario.Scenario{q.scenario}, Families: []scenario.FamilySet{family}, Subjects: []subject.Subject{sub},
		Backend: netstate.Backend(q.Iptables), Seed: q.Seed,
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return ended{}, false, err
	}
	e = ended{Verdict: o.Verdict, Findings: o.Findings, Worker: v.bench.Worker()}
	if o.Verdict.Author {
		v.unusable = usageError{errors.New(o.Verdict.Reason)}
		return e, false, v.unusable
	}
	if o.Verdict.Kind == event.Infra {
		return e, false, nil
	}
	v.made[key] = true
	return e, false, v.kept.Remember(key, e)
}

// subject is a binary as the subject of a case.
func (q *questionArgs) subject(path string) (subject.Subject, error) {
	spec := strings.ReplaceAll(q.Subject, "{binary}", path)
	sub, err := subject.Parse(spec, filepath.Dir(q.executable))
	if err != nil {
		return sub, usageError{fmt.Errorf("--subject %w", err)}
	}
	sub.Spec, sub.Binary = q.Subject, path
	return sub, nil
}

// close ends the worker.
func (v *verdicts) close() { v.bench.Close() }

// notices passes on what a bench says about its worker.
type notices struct{ say func(string) }

func (notices) Start([]report.Case)         {}
func (n notices) Notice(text string)        { n.say(text) }
func (notices) Event(event.Event)           {}
func (notices) Ended(report.Outcome)        {}
func (notices) Finish(report.Summary) error { return nil }
