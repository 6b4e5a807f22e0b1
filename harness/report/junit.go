package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"proxyproof/harness/event"
)

// JUnit writes the run in the XML that CI systems read. Times are those of the event stream, since the test framework would
// time its own waiting.
type JUnit struct {
	W io.Writer
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Classname string        `xml:"classname,attr"`
	File      string        `xml:"file,attr,omitempty"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure"`
	Error     *junitMessage `xml:"error"`
	Skipped   *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// Start has nothing to write.
func (JUnit) Start([]Case) {}

// Notice has no place in the format.
func (JUnit) Notice(string) {}

// Event is read from the outcomes.
func (JUnit) Event(event.Event) {}

// Ended waits for the end of the run.
func (JUnit) Ended(Outcome) {}

// Finish writes the file.
func (j JUnit) Finish(s Summary) error {
	suite := junitSuite{Name: "proxyproof", Tests: len(s.Outcomes), Time: seconds(s.Took.Seconds())}
	for _, o := range s.Outcomes {
		c := junitCase{
			Name:      o.Case.Scenario.Name + "/" + string(o.Case.Family),
			Classname: o.Case.Subject,
			File:      o.Case.Scenario.File,
			Time:      seconds(o.Took.Seconds()),
		}
		switch o.Verdict.Kind {
		case event.Fail, event.StaleKnown:
			suite.Failures++
			c.Failure = &junitMessage{ids(o.Findings), strings.Join(Story(o), "\n")}
		case event.Infra:
			suite.Errors++
			c.Error = &junitMessage{title(o.Verdict), strings.Join(Story(o), "\n")}
		case event.Skip:
			suite.Skipped++
			c.Skipped = &junitMessage{o.Verdict.Reason, ""}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(j.W, xml.Header); err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	encoder := xml.NewEncoder(j.W)
	encoder.Indent("", "  ")
	if err := encoder.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	return nil
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }
