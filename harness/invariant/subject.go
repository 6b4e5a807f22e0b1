package invariant

import (
	"fmt"

	"proxyproof/harness/finding"
)

const (
	subjectExited   finding.ID = "subject-exited"
	subjectLogError finding.ID = "subject-log-error"
	subjectMissed   finding.ID = "subject-heartbeat-missed"
	subjectWrote    finding.ID = "subject-wrote-outside"
)

// alive is the seventh invariant: the subject lives while it should, and logs no error.
func alive() Check {
	return Check{
		Name:     "subject",
		Doc:      "The subject is alive while the scenario wants it to run, logs no error that its profile does not allow and no missing heartbeat, and leaves the files of its machine alone.",
		Findings: []finding.ID{subjectExited, subjectLogError, subjectMissed, subjectWrote},
		Judge:    judgeSubject,
	}
}

func judgeSubject(v View) []finding.Finding {
	if !v.Subject.Expected {
		return nil
	}
	var found []finding.Finding
	logged := prefixed("it logged: ", lines(v.Subject.Errors))
	if !v.Subject.Alive {
		found = append(found, finding.Finding{
			ID: subjectExited, Node: v.Node.Name,
			Sentence: fmt.Sprintf("the subject %s exited by itself with code %d", v.Subject.Name, v.Subject.Exit),
			Evidence: append([]string{"expected: alive", fmt.Sprintf("it ended with code %d", v.Subject.Exit)}, logged...),
		})
	}
	if n := len(v.Subject.Errors); n > 0 {
		found = append(found, finding.Finding{
			ID: subjectLogError, Node: v.Node.Name,
			Sentence: fmt.Sprintf("the subject %s logged %s", v.Subject.Name, count(n, "error", "errors")),
			Evidence: append([]string{"expected: no line that reports an error"}, logged...),
		})
	}
	if n := len(v.Subject.Missed); n > 0 {
		found = append(found, finding.Finding{
			ID: subjectMissed, Node: v.Node.Name,
			Sentence: fmt.Sprintf("the subject %s reports that %s of it gave no sign of life in time", v.Subject.Name, count(n, "part", "parts")),
			Evidence: append([]string{"expected: each part reports within its period"}, prefixed("it logged: ", lines(v.Subject.Missed))...),
		})
	}
	if n := len(v.Subject.Written); n > 0 {
		found = append(found, finding.Finding{
			ID: subjectWrote, Node: v.Node.Name,
			Sentence: fmt.Sprintf("the subject %s wrote %s of its machine: %s", v.Subject.Name, count(n, "file", "files"), list(v.Subject.Written)),
			Evidence: append([]string{"expected: files below /etc, /run, /tmp and /var/lib only"}, prefixed("written: ", lines(v.Subject.Written))...),
		})
	}
	return found
}
