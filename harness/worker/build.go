package worker

import (
	"context"

	"proxyproof/harness/subject"
	"proxyproof/harness/wire"
)

// build is a subject as an executable: scenarios can swap one for another.
type build struct {
	info    wire.Subject
	profile subject.Profile
	binary  string // path of the executable
}

// build finds what the orchestrator has sent.
func (w *Worker) build(info wire.Subject) (build, error) {
	profile, err := subject.ProfileOf(info.Profile, info.Version, info.Definition)
	if err != nil {
		return build{}, err
	}
	binary, err := w.store.path(info.Binary)
	return build{info, profile, binary}, err
}

// swap ends the subject and starts the other build on the same node, with what the first one has left in the kernel.
func (c *caseRun) swap(ctx context.Context) (gone bool, err error) {
	c.build, *c.other = *c.other, c.build
	for _, p := range c.proxies {
		if p.command, err = c.command(ctx, p); err != nil {
			return false, err
		}
	}
	return c.startSubjects(ctx)
}
