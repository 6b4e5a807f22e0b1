// Package doctor finds out what works on this machine: which lanes, with which kernel, and which iptables back ends. Each answer comes
// from trying; what does not work comes with its reason and with what mends it.
package doctor

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"proxyproof/harness/event"
	"proxyproof/harness/lane"
	"proxyproof/harness/run"
	"proxyproof/harness/scenario"
	"proxyproof/harness/wire"
	"proxyproof/sim/guest"
	"proxyproof/sim/guest/image"
	"proxyproof/sim/netns"
	"proxyproof/sim/netstate"
)

// Answer tells about one thing that was tried.
type Answer struct {
	What string
	// Works with these particulars, or does not, for a reason.
	Works  bool
	Detail string
	// Mend is what a person can do about it, "" if there is nothing.
	Mend string
}

// Lines print an answer.
func (a Answer) Lines() []string {
	word := "yes"
	if !a.Works {
		word = "no"
	}
	lines := []string{fmt.Sprintf("%-22s %-4s %s", a.What, word, a.Detail)}
	if a.Mend != "" {
		lines = append(lines, fmt.Sprintf("%-22s %-4s → %s", "", "", a.Mend))
	}
	return lines
}

// Open starts a worker in a lane. What it has to say on the way goes to note.
type Open func(ctx context.Context, kind lane.Kind, note func(string)) (*lane.Worker, error)

// Examine tries everything and tells each answer as it comes. It reports whether any lane can run cases.
func Examine(ctx context.Context, open Open, tell func(Answer)) (fit bool, err error) {
	trial, err := scenario.Parse("trial.yaml", trialFile)
	if err != nil {
		return false, fmt.Errorf("read the doctor's own scenario: %w", err)
	}
	// The format wants a subject to be started; in the trial there is none.
	trial.Steps = slices.DeleteFunc(trial.Steps, func(s scenario.Step) bool { return s.Subject != "" })
	for _, kind := range []lane.Kind{lane.Host, lane.Guest} {
		works, err := examineLane(ctx, kind, open, trial, tell)
		if err != nil {
			return false, err
		}
		fit = fit || works
	}
	return fit, nil
}

//go:embed trial.yaml
var trialFile []byte

// examineLane opens a worker and has it do the trial with each back end.
func examineLane(ctx context.Context, kind lane.Kind, open Open, trial *scenario.Scenario, tell func(Answer)) (bool, error) {
	what := "lane " + string(kind)
	if kind == lane.Host {
		if err := netns.Fit(ctx); err != nil {
			tell(Answer{What: what, Detail: firstLine(err.Error()), Mend: mendOfHost(err.Error())})
			return false, nil
		}
	}
	var notes []string
	w, err := open(ctx, kind, func(note string) { notes = append(notes, note) })
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		tell(unopened(what, err))
		return false, nil
	}
	defer w.Close()
	figures := w.Figures()
	tell(Answer{What: what, Works: true, Detail: strings.Join(append([]string{fmt.Sprintf("kernel %s, %s, up in %.1f s, budgets ×%.1f",
		w.Hello.Kernel, figures.Where, figures.Boot.Seconds(), w.Hello.Speed)}, notes...), "; ")})
	fit := false
	for _, backend := range []netstate.Backend{netstate.Legacy, netstate.NFT} {
		answer, err := examineBackend(ctx, w, trial, backend)
		if err != nil {
			return false, err
		}
		answer.What = "  iptables " + string(backend)
		tell(answer)
		fit = fit || answer.Works
	}
	return fit, nil
}

// examineBackend runs the trial. There is no subject in it: this program stands for one, and is never started.
func examineBackend(ctx context.Context, w *lane.Worker, trial *scenario.Scenario, backend netstate.Backend) (Answer, error) {
	file, err := run.OwnFile()
	if err != nil {
		return Answer{}, err
	}
	if err := w.Push(ctx, file); err != nil {
		return Answer{}, err
	}
	var verdict event.Verdict
	var found []string
	err = w.Run(ctx, wire.Job{
		ID: "doctor/" + string(backend), Scenario: trial, Family: scenario.FamilyDualV4, Seed: 1, Backend: backend,
		Subject: wire.Subject{Profile: "reference", Binary: file.Hash},
	}, func(e event.Event) {
		switch {
		case e.Finding != nil:
			found = append(found, e.Finding.String())
		case e.Verdict != nil:
			verdict = *e.Verdict
		}
	})
	switch {
	case ctx.Err() != nil:
		return Answer{}, context.Cause(ctx)
	case err != nil:
		return Answer{Detail: firstLine(err.Error())}, nil
	case verdict.Kind != event.Pass:
		return Answer{Detail: firstLine(strings.Join(append(found, verdict.Reason), "; ")), Mend: mendOfBackend(verdict.Reason, backend)}, nil
	}
	return Answer{Works: true, Detail: fmt.Sprintf("IPVS, ipset, rules and links of both families, done in %.1f s", verdict.Took.Seconds())}, nil
}

// unopened tells why a lane does not open, and what helps.
func unopened(what string, err error) Answer {
	a := Answer{What: what, Detail: firstLine(err.Error())}
	var missing guest.Missing
	var unfetched image.Unfetched
	var none image.NoKernel
	switch {
	case errors.As(err, &missing):
		a.Detail, a.Mend = missing.Reason(), missing.Mend
	case errors.As(err, &unfetched):
		a.Mend = unfetched.Mend()
	case errors.As(err, &none):
		a.Mend = none.Mend()
	}
	return a
}

// mendOfHost is what helps when this host cannot run cases itself.
func mendOfHost(why string) string {
	switch {
	case strings.Contains(why, "not root"):
		return "run it as root (sudo), or let cases run in the VM, which needs no root"
	case strings.Contains(why, "IPVS"):
		return "modprobe ip_vs (Debian and Ubuntu: a kernel package that is not the cut-down one of a container host), or let cases run in the VM"
	case strings.Contains(why, "dummy"):
		return "modprobe dummy, or let cases run in the VM"
	}
	return ""
}

// mendOfBackend is what helps when a tool or an extension is missing.
func mendOfBackend(why string, backend netstate.Backend) string {
	if strings.Contains(why, "executable file not found") || strings.Contains(why, "no such file") {
		return "apt-get install --no-install-recommends iptables ipset iproute2 conntrack"
	}
	if backend == netstate.NFT {
		return "run with --iptables legacy"
	}
	return "run with --iptables nft"
}

// firstLine leaves out what follows, such as a console.
func firstLine(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSpace(lines[0])
}
