package upstream

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"proxyproof/harness/bisect"
	"proxyproof/harness/keep"
)

// Builder makes binaries of commits: from releases that are there already, or with the user's own command.
type Builder struct {
	Repository *Repository
	// Command is the user's; it writes the executable to $OUT. "" if there are only releases.
	Command string
	// Releases is a path with {tag} in it; "" if there are none.
	Releases string
	// Kept remembers builds. Fresh ones are made anew, and remembered.
	Kept  keep.Keep
	Fresh bool

	made  map[string]bisect.Build // by this search, by commit
	paths map[string]string       // of binaries, by content
}

// mostKept is how much of the disk builds may take, in bytes.
const mostKept = 4 << 30

// remembered is a build as it is kept. One that failed is not: the machine may have been at fault.
type remembered struct {
	Binary string `json:"binary"`
}

// Released tells which commits of a history have a release.
func (b *Builder) Released(h bisect.History) map[string]bool {
	released := map[string]bool{}
	for _, c := range slices.Concat([]bisect.Commit{h.Old}, h.Forks, h.Range) {
		if b.release(c) != "" {
			released[c.Hash] = true
		}
	}
	return released
}

// release is the path of a commit's release; "" if it has none.
func (b *Builder) release(c bisect.Commit) string {
	if b.Releases == "" {
		return ""
	}
	for _, tag := range c.Tags {
		path := strings.ReplaceAll(b.Releases, "{tag}", tag)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// Path is where a binary is that Build has made.
func (b *Builder) Path(binary string) string { return b.paths[binary] }

// Build makes the binary of a commit. That it does not build is a result, not an error.
func (b *Builder) Build(ctx context.Context, c bisect.Commit) (bisect.Build, error) {
	if build, done := b.made[c.Hash]; done {
		return build, nil
	}
	build, path, err := b.make(ctx, c)
	if err != nil {
		return build, err
	}
	if b.made == nil {
		b.made, b.paths = map[string]bisect.Build{}, map[string]string{}
	}
	b.made[c.Hash], b.paths[build.Binary] = build, path
	return build, nil
}

// make takes the release, or the build that was kept, or builds.
func (b *Builder) make(ctx context.Context, c bisect.Commit) (build bisect.Build, path string, err error) {
	if path := b.release(c); path != "" {
		hash, err := keep.Hash(path)
		return bisect.Build{Binary: hash, Remembered: true}, path, err
	}
	key, err := keep.Key("build", c.Hash, b.Command)
	if err != nil {
		return build, "", err
	}
	var before remembered
	if !b.Fresh && b.Kept.Answer(key, &before) {
		if path, there := b.Kept.File(before.Binary); there {
			return bisect.Build{Binary: before.Binary, Remembered: true}, path, nil
		}
	}
	start := time.Now()
	if err := b.Repository.checkout(ctx, c.Hash); err != nil {
		return build, "", err
	}
	out := filepath.Join(b.Repository.Folder(), "out")
	build.Failure, err = b.Repository.Run(ctx, b.Command, b.Repository.tree, out)
	build.Took = time.Since(start)
	if err != nil || build.Failure != "" {
		return build, "", err
	}
	if build.Binary, err = b.Kept.Take(out); err != nil {
		return build, "", err
	}
	if err := b.Kept.Trim(mostKept); err != nil {
		return build, "", err
	}
	path, _ = b.Kept.File(build.Binary)
	return build, path, b.Kept.Remember(key, remembered{build.Binary})
}
