package worker

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"proxyproof/harness/scenario"
)

// authorError is a step that cannot happen as it is written. Lint finds those that it can know of.
type authorError struct{ problem scenario.Problem }

func (e *authorError) Error() string { return e.problem.Error() }

// onlyHere is the advice for what lint could not know.
const onlyHere = "lint cannot know of it: what the API server chooses by --seed, and what the subject writes, differ from run to run"

// blame makes an error of the scenario's author out of what the API server refused. Any other error stays as it is.
func blame(s *scenario.Scenario, step scenario.Step, err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	if code := status.Status().Code; code < http.StatusBadRequest || code >= http.StatusInternalServerError {
		return err
	}
	return &authorError{s.ProblemAt(step.Line, "the API server refuses this step: "+err.Error(), onlyHere)}
}
