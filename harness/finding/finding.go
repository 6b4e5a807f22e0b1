// Package finding is the unit of judgement: one thing that is wrong, with a stable id and the evidence. Verdicts, the kill
// matrix, known issues and bisection compare finding ids, never colours.
package finding

import (
	"fmt"
	"strings"
	"time"
)

// ID names a kind of fault. IDs are stable across releases; docs/findings.md lists them from Catalogue.
type ID string

// Finding is one fault at one place.
type Finding struct {
	ID ID `json:"id"`
	// Node where it was seen, "" if it is about no single node.
	Node string `json:"node,omitempty"`
	// Family is "IPv4", "IPv6" or "".
	Family string `json:"family,omitempty"`
	// Subject of the fault: an address, a set, an IPVS service, a target. Two findings with the same ID, Node, Family and
	// Object are the same finding.
	Object string `json:"object,omitempty"`
	// Step is the index of the step after which it was first seen; 0 is the start of the subject.
	Step int       `json:"step"`
	Time time.Time `json:"time"`
	// Sentence says what is wrong, complete without the evidence.
	Sentence string `json:"sentence"`
	// Evidence are further lines: what was expected, what was there, the entries that led to it.
	Evidence []string `json:"evidence,omitempty"`
}

// Key identifies a finding among those of its case.
func (f Finding) Key() string {
	return strings.Join([]string{string(f.ID), f.Node, f.Family, f.Object}, "|")
}

// String is "id (node, family, object): sentence".
func (f Finding) String() string {
	var where []string
	for _, s := range []string{f.Node, f.Family, f.Object} {
		if s != "" {
			where = append(where, s)
		}
	}
	if len(where) == 0 {
		return fmt.Sprintf("%s: %s", f.ID, f.Sentence)
	}
	return fmt.Sprintf("%s (%s): %s", f.ID, strings.Join(where, ", "), f.Sentence)
}
