package upstream

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"proxyproof/harness/bisect"
)

// Twins are the commits anywhere in the repository that make the same change as another one: with the same patch, or, where a
// cherry-pick had to be adapted, with the same author, date and subject.
func (r *Repository) Twins(ctx context.Context, c bisect.Commit) ([]bisect.Twin, error) {
	tags, err := r.tags(ctx)
	if err != nil {
		return nil, err
	}
	all, err := r.log(ctx, tags, "--all", "--no-merges")
	if err != nil {
		return nil, err
	}
	patches, err := r.patches(ctx, c)
	if err != nil {
		return nil, err
	}
	var twins []bisect.Twin
	for _, other := range all {
		same := patches[c.Hash] != "" && patches[other.Hash] == patches[c.Hash]
		alike := other.Author == c.Author && other.Time.Equal(c.Time) && other.Subject == c.Subject
		if other.Hash == c.Hash || !same && !alike {
			continue
		}
		twin := bisect.Twin{Commit: other, SamePatch: same}
		if twin.In, err = r.holders(ctx, other); err != nil {
			return nil, err
		}
		twins = append(twins, twin)
	}
	// Those on a branch first: the others are what is left of somebody's rebase.
	slices.SortStableFunc(twins, func(a, b bisect.Twin) int { return min(len(b.In), 1) - min(len(a.In), 1) })
	return twins, nil
}

// patches are the patch ids of all commits that touch the files of one, by commit. A history of which some contents are missing
// gives those of the commits before the gap.
func (r *Repository) patches(ctx context.Context, c bisect.Commit) (map[string]string, error) {
	paths, err := git(ctx, r.clone, "show", "--format=", "--name-only", "-z", c.Hash)
	if err != nil {
		return nil, err
	}
	if paths == "" { // a merge, or an empty commit: there is no patch to compare
		return nil, nil
	}
	args := []string{"log", "--all", "--no-merges", "--patch", "--full-diff", "--format=commit %H", "--"}
	for path := range strings.SplitSeq(strings.TrimSuffix(paths, "\x00"), "\x00") {
		args = append(args, ":(top,literal)"+path)
	}
	read, write := io.Pipe()
	go func() {
		_ = gitTo(ctx, write, r.clone, args...)
		write.Close()
	}()
	cmd := exec.CommandContext(ctx, "git", "patch-id", "--stable")
	cmd.Stdin, cmd.Env = read, environment()
	out, err := cmd.Output()
	read.Close()
	if err != nil {
		return nil, fmt.Errorf("git patch-id: %w", err)
	}
	patches := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if id, hash, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			patches[hash] = id
		}
	}
	return patches, nil
}

// mostHolders is how many branches are named.
const mostHolders = 3

// holders are the branches, and the first tag, that have a commit.
func (r *Repository) holders(ctx context.Context, c bisect.Commit) ([]string, error) {
	names := func(args ...string) ([]string, error) {
		out, err := git(ctx, r.clone, append([]string{"for-each-ref", "--contains", c.Hash, "--format=%(refname:lstrip=2)"}, args...)...)
		return strings.Fields(out), err
	}
	branches, err := names("refs/heads", "refs/remotes")
	if err != nil {
		return nil, err
	}
	tags, err := names("--sort=creatordate", "refs/tags")
	if err != nil {
		return nil, err
	}
	return append(branches[:min(len(branches), mostHolders)], tags[:min(len(tags), 1)]...), nil
}
