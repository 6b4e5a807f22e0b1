package shard

import (
	"encoding/xml"
	"fmt"
	"os"

	"proxyproof/harness/report"
)

// Lengths are how long cases took in an earlier run, in seconds, by "scenario/family@subject". Without any, the scenarios tell.
type Lengths map[string]float64

// ReadLengths reads the JUnit report of an earlier run. What took long because of our own trouble says nothing about the next time.
func ReadLengths(file string) (Lengths, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read earlier times: %w", err)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Subject string    `xml:"classname,attr"`
				Seconds float64   `xml:"time,attr"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		return nil, fmt.Errorf("read earlier times: %s is no JUnit report: %w", file, err)
	}
	lengths := Lengths{}
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			if name := c.Name + "@" + c.Subject; c.Error == nil {
				lengths[name] = max(lengths[name], c.Seconds)
			}
		}
	}
	if len(lengths) == 0 {
		return nil, fmt.Errorf("read earlier times: %s reports no case", file)
	}
	return lengths, nil
}

// Items are cases with their lengths. Those that did not run the last time are estimated, on the scale of the others.
func (l Lengths) Items(cases []report.Case) []Item {
	var known, estimated float64
	for _, c := range cases {
		if seconds, ran := l[key(c)]; ran {
			known, estimated = known+seconds, estimated+estimate(c)
		}
	}
	scale := 1.0
	if known > 0 {
		scale = known / estimated
	}
	items := make([]Item, len(cases))
	for i, c := range cases {
		seconds, ran := l[key(c)]
		if !ran {
			seconds = estimate(c) * scale
		}
		items[i] = Item{c.ID, seconds}
	}
	return items
}

// key names a case without the round.
func key(c report.Case) string {
	return c.Scenario.Name + "/" + string(c.Family) + "@" + c.Subject
}

// estimate is the length of a case in steps: to come up takes as long as two, and a second family adds a third to everything.
func estimate(c report.Case) float64 {
	steps := 2 + float64(len(c.Scenario.Steps))
	if len(c.Family.Families()) > 1 {
		steps *= 4. / 3
	}
	return steps
}
