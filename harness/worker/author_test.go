package worker

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proxyproof/harness/event"
	"proxyproof/harness/scenario"
)

// TestRefusedStepIsTheAuthorsError: what the API server refuses has a position in the file and is no harness error; what goes wrong
// in it is one.
func TestRefusedStepIsTheAuthorsError(t *testing.T) {
	s := &scenario.Scenario{File: "x.yaml", Source: []byte("name: a\nsteps:\n  - apply: |\n      kind: Service\n")}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "web", field.ErrorList{
		field.Invalid(field.NewPath("spec", "ports").Index(0).Child("nodePort"), 30080, "provided port is already allocated")})
	for name, test := range map[string]struct {
		err    error
		author bool
	}{
		"refused":         {fmt.Errorf("apply Service default/web: %w", invalid), true},
		"not found":       {fmt.Errorf("delete: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "endpointslices"}, "web")), true},
		"internal error":  {apierrors.NewInternalError(errors.New("broken")), false},
		"something else":  {errors.New("broken"), false},
		"nothing at all":  {nil, false},
		"the case's time": {fmt.Errorf("the case took longer than 90s"), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := blame(s, scenario.Step{Line: 3}, test.err)
			if err == nil {
				if test.err != nil {
					t.Fatal("the error is lost")
				}
				return
			}
			v := verdictOf(fmt.Errorf("step 1: %w", err), newRecord("x", func(event.Event) {}))
			if v.Kind != event.Infra || v.Author != test.author {
				t.Fatalf("got %+v", v)
			}
			if !test.author {
				return
			}
			want := "x.yaml:3:3: the API server refuses this step: " + test.err.Error() + "\n    3 |   - apply: |\n      |   ^"
			if !strings.HasPrefix(v.Reason, want) || v.Line != 3 {
				t.Errorf("got\n%s\nat line %d, want\n%s", v.Reason, v.Line, want)
			}
		})
	}
}
