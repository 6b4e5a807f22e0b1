package upstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"proxyproof/harness/bisect"
)

// format is a commit in one line of fields.
const format = "--format=%H%x00%P%x00%s%x00%an%x00%aI"

// History is what lies between two revisions, in the words of the user's repository. ErrUnrelated: nothing does.
func (r *Repository) History(ctx context.Context, old, new string) (bisect.History, error) {
	var h bisect.History
	tags, err := r.tags(ctx)
	if err != nil {
		return h, err
	}
	if h.Old, err = r.commit(ctx, old, tags); err != nil {
		return h, err
	}
	if h.New, err = r.commit(ctx, new, tags); err != nil {
		return h, err
	}
	bases, err := git(ctx, r.clone, "merge-base", "--all", h.Old.Hash, h.New.Hash)
	if err != nil {
		return h, fmt.Errorf("%s and %s have no common ancestor: %w", old, new, err)
	}
	for _, hash := range strings.Fields(bases) {
		base, err := r.commit(ctx, hash, tags)
		if err != nil {
			return h, err
		}
		if base.Hash != h.Old.Hash {
			h.Forks = append(h.Forks, base)
		}
	}
	h.Range, err = r.log(ctx, tags, "--topo-order", "--reverse", h.New.Hash, "^"+h.Old.Hash)
	return h, err
}

// commit resolves a revision where the user's names mean what the user thinks.
func (r *Repository) commit(ctx context.Context, revision string, tags map[string][]string) (bisect.Commit, error) {
	hash, err := git(ctx, r.users, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return bisect.Commit{}, fmt.Errorf("revision %s: %w", revision, err)
	}
	commits, err := r.log(ctx, tags, "--max-count=1", strings.TrimSpace(hash))
	if err != nil {
		return bisect.Commit{}, err
	}
	return commits[0], nil
}

// log lists commits.
func (r *Repository) log(ctx context.Context, tags map[string][]string, args ...string) ([]bisect.Commit, error) {
	out, err := git(ctx, r.clone, append([]string{"log", format}, args...)...)
	if err != nil {
		return nil, err
	}
	return parseLog(out, tags)
}

func parseLog(out string, tags map[string][]string) ([]bisect.Commit, error) {
	var commits []bisect.Commit
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\x00")
		if len(fields) != 5 {
			return nil, fmt.Errorf("git log printed %q", line)
		}
		when, err := time.Parse(time.RFC3339, fields[4])
		if err != nil {
			return nil, fmt.Errorf("git log printed %q: %w", line, err)
		}
		commits = append(commits, bisect.Commit{
			Hash: fields[0], Parents: strings.Fields(fields[1]), Subject: fields[2], Author: fields[3], Time: when, Tags: tags[fields[0]],
		})
	}
	return commits, nil
}

// tags are the names of tagged commits.
func (r *Repository) tags(ctx context.Context) (map[string][]string, error) {
	out, err := git(ctx, r.clone, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname) %(*objectname)", "refs/tags")
	if err != nil {
		return nil, err
	}
	tags := map[string][]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		commit := fields[len(fields)-1] // an annotated tag has an object of its own before the commit's
		tags[commit] = append(tags[commit], fields[0])
	}
	for _, names := range tags {
		slices.Sort(names)
	}
	return tags, nil
}

// Contains tells whether a commit has another one among its ancestors.
func (r *Repository) Contains(ctx context.Context, commit, ancestor string) (bool, error) {
	out, err := git(ctx, r.clone, "rev-list", "--max-count=1", ancestor, "^"+commit)
	return err == nil && out == "", err
}
