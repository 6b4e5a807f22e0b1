package invariant

import (
	"fmt"

	"proxyproof/harness/finding"
)

const (
	subjectExited   finding.ID = "subject-exited"
	subjectLogError finding.ID = "subject-log-error"
)

// alive is the seventh invariant: the subject lives while it should, and logs no error.
func alive() Check {
	return Check{
		Name:     "subject",
		Doc:      "The subject is alive while the scenario wants it to run, and logs no error that its profile does not allow.",
		Findings: []finding.ID{subjectExited, subjectLogError},
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
	return found
}
