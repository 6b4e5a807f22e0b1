package run

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/formatter"
	"github.com/onsi/ginkgo/v2/types"

	"proxyproof/harness/event"
	"proxyproof/harness/report"
)

// suiteName is part of every case's full name.
const suiteName = "proxyproof"

// suite is the tree of specs: one container per scenario, one spec per case. Ginkgo wants it built before it runs, once per
// process.
type suite struct {
	tasks    []task
	outcomes []chan report.Outcome // by index of task; closed if another shard has it
}

// newSuite builds the tree.
func newSuite(tasks []task) *suite {
	s := &suite{tasks: tasks, outcomes: make([]chan report.Outcome, len(tasks))}
	for i := range tasks {
		s.outcomes[i] = make(chan report.Outcome, 1)
	}
	for start := 0; start < len(tasks); {
		end := start + 1
		for end < len(tasks) && tasks[end].info.Scenario == tasks[start].info.Scenario && tasks[end].round == tasks[start].round {
			end++
		}
		s.container(start, end)
		start = end
	}
	return s
}

// container is the part of the tree for one scenario.
func (s *suite) container(start, end int) {
	ginkgo.Describe(s.tasks[start].info.Scenario.Name, func() {
		for i := start; i < end; i++ {
			ginkgo.It(s.tasks[i].info.ID, ginkgo.Label(s.tasks[i].labels...), ginkgo.Label(indexLabel+strconv.Itoa(i)), func(ctx ginkgo.SpecContext) {
				select {
				case outcome, ours := <-s.outcomes[i]:
					if !ours {
						ginkgo.Skip("in another shard")
					}
					judge(outcome)
				case <-ctx.Done():
					ginkgo.Fail("interrupted")
				}
			})
		}
	})
}

// indexLabel leads from a spec's report back to its task.
const indexLabel = "case:"

// judge turns an outcome into that of the spec.
func judge(o report.Outcome) {
	switch o.Verdict.Kind {
	case event.Pass, event.Known:
	case event.Skip:
		ginkgo.Skip(o.Verdict.Reason)
	default:
		ginkgo.Fail(strings.Join(report.Story(o), "\n"))
	}
}

// configuration is Ginkgo's, with our selection and without its own printing.
func configuration(s Selection) (types.SuiteConfig, types.ReporterConfig) {
	formatter.ColorableStdOut = io.Discard
	formatter.ColorableStdErr = io.Discard
	config, reporter := ginkgo.GinkgoConfiguration()
	config.FocusStrings, config.SkipStrings, config.LabelFilter = s.Focus, s.Skip, s.Labels
	config.Timeout = 0
	reporter.Succinct = true
	return config, reporter
}

// selected are the indices of the tasks that the selection leaves, in the order in which Ginkgo will run them.
func (s *suite) selected(config types.SuiteConfig, reporter types.ReporterConfig) ([]int, error) {
	preview := ginkgo.PreviewSpecs(suiteName, config, reporter)
	if len(preview.SpecialSuiteFailureReasons) > 0 {
		return nil, fmt.Errorf("select cases: %s", strings.Join(preview.SpecialSuiteFailureReasons, "; "))
	}
	var indices []int
	for _, spec := range preview.SpecReports {
		if spec.State.Is(types.SpecStateSkipped | types.SpecStatePending) {
			continue
		}
		for _, label := range spec.LeafNodeLabels {
			if number, ok := strings.CutPrefix(label, indexLabel); ok {
				i, err := strconv.Atoi(number)
				if err != nil {
					return nil, fmt.Errorf("select cases: label %q: %w", label, err)
				}
				indices = append(indices, i)
			}
		}
	}
	return indices, nil
}

// leave releases the specs of selected tasks that are not ours.
func (s *suite) leave(selected, ours []int) {
	for _, index := range selected {
		if !slices.Contains(ours, index) {
			close(s.outcomes[index])
		}
	}
}

// failing stands in for *testing.T: Ginkgo tells it that the suite failed, which the outcomes say better.
type failing struct{}

func (failing) Fail() {}
