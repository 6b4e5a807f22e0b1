// Package event is the one stream of everything that happens in a case. It is the worker's protocol and the only source of
// every report: what is not in the stream did not happen.
package event

import (
	"time"

	"proxyproof/harness/finding"
)

// Event is one thing that happened. Exactly one of the pointers is set.
type Event struct {
	// Case is the id of the case, "scenario/family@subject"; "" if it is about the run as a whole.
	Case string `json:"case"`
	// Seq counts the events of a case from 1.
	Seq int `json:"seq"`
	// Time is the worker's clock.
	Time time.Time `json:"time"`
	// Step is the index of the step during which it happened: 0 before the first step, then 1, 2, …
	Step int `json:"step"`

	Phase    *Phase           `json:"phase,omitempty"`
	StepDone *StepDone        `json:"stepDone,omitempty"`
	Write    *Write           `json:"write,omitempty"`
	Request  *Request         `json:"request,omitempty"`
	Kernel   *Kernel          `json:"kernel,omitempty"`
	Probe    *Probe           `json:"probe,omitempty"`
	Hold     *Hold            `json:"hold,omitempty"`
	Subject  *Subject         `json:"subject,omitempty"`
	Log      *Log             `json:"log,omitempty"`
	Finding  *finding.Finding `json:"finding,omitempty"`
	Note     *Note            `json:"note,omitempty"`
	Verdict  *Verdict         `json:"verdict,omitempty"`
	Plan     *Plan            `json:"plan,omitempty"`
	End      *End             `json:"end,omitempty"`
}

// Phase marks the beginning of a part of a case: "world", "api", "subject", "step", "close".
type Phase struct {
	Name string `json:"name"`
	// Title is what a person calls it: the step's name.
	Title string `json:"title,omitempty"`
	// Line is where it stands in the scenario file, 0 if nowhere.
	Line int `json:"line,omitempty"`
}

// StepDone ends a step: its checks were judged.
type StepDone struct {
	Took    time.Duration `json:"took"`
	Settled time.Duration `json:"settled"` // time spent waiting for the kernel to settle
	Rounds  int           `json:"rounds"`  // how often the checks were judged
}

// Write is a change that the harness made to the API's objects.
type Write struct {
	Verb   string `json:"verb"`
	Object string `json:"object"` // "Service default/example"
	// Detail is what the server decided: allocated addresses and ports.
	Detail string `json:"detail,omitempty"`
}

// Request is a request that the API server got.
type Request struct {
	Verb      string        `json:"verb"`
	Path      string        `json:"path"`
	UserAgent string        `json:"userAgent,omitempty"`
	Status    int           `json:"status"`
	Took      time.Duration `json:"took"`
}

// Kernel is a change of a node's state, as lines of a diff.
type Kernel struct {
	Node    string   `json:"node"`
	Changes []string `json:"changes"`
}

// Probe is one probe with its result.
type Probe struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Result string `json:"result"`
	OK     bool   `json:"ok"`
}

// Hold is the final result of a held probe.
type Hold struct {
	From   string        `json:"from"`
	To     string        `json:"to"`
	Sent   int           `json:"sent"`
	Good   int           `json:"good"`
	Outage time.Duration `json:"outage"`
	Why    string        `json:"why,omitempty"`
}

// Subject is a change in the life of the subject's process.
type Subject struct {
	Node  string `json:"node"`
	State string `json:"state"` // "started", "ready", "exited", "stopped", "killed"
	Pid   int    `json:"pid,omitempty"`
	Exit  int    `json:"exit,omitempty"`
	// CPU and RSS so far, when known.
	CPU time.Duration `json:"cpu,omitempty"`
	RSS int64         `json:"rss,omitempty"`
	Why string        `json:"why,omitempty"`
}

// Log is a line that the subject printed.
type Log struct {
	Node string `json:"node"`
	Line string `json:"line"`
}

// Note is anything worth telling that is no fault: a retry, a fallback.
type Note struct {
	Text string `json:"text"`
}

// Verdict ends the stream of a case.
type Verdict struct {
	Kind VerdictKind `json:"kind"`
	// Reason tells why, for skip and infra.
	Reason string `json:"reason,omitempty"`
	// Author: an infra that is no harness error. The scenario asks for something that the API server refuses, on Line of its file.
	Author bool          `json:"author,omitempty"`
	Line   int           `json:"line,omitempty"`
	Took   time.Duration `json:"took"`
}

// VerdictKind is the outcome of a case.
type VerdictKind string

// The verdicts. Infra is our own trouble: never a pass, never a fail.
const (
	Pass       VerdictKind = "pass"
	Fail       VerdictKind = "fail"
	Known      VerdictKind = "known"
	StaleKnown VerdictKind = "stale-known"
	Skip       VerdictKind = "skip"
	Infra      VerdictKind = "infra"
)
