package upstream

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/bisect"
	"proxyproof/harness/keep"
)

// theirs is somebody's repository: main with a release branch that forks at v1.0 and gets one commit of main cherry-picked.
type theirs struct {
	t     *testing.T
	dir   string
	clock int
}

func newTheirs(t *testing.T) *theirs {
	t.Helper()
	r := &theirs{t: t, dir: filepath.Join(t.TempDir(), "theirs")}
	r.run("init", "-q", "-b", "main", ".")
	r.commit("main.txt", "one\n", "begin")
	r.run("tag", "-a", "-m", "the first", "v1.0")
	r.commit("fix.txt", "mended\n", "mend it")
	r.commit("main.txt", "two\n", "go on")
	r.run("checkout", "-q", "-b", "release", "v1.0")
	r.commit("release.txt", "1\n", "prepare the release")
	r.clock++
	r.run("cherry-pick", "main~1")
	r.run("tag", "v1.1")
	r.run("checkout", "-q", "main")
	// A work tree that is not clean, and a linked one: neither may matter or change.
	r.write("main.txt", "not committed\n")
	r.write("untracked.txt", "mine\n")
	r.run("worktree", "add", "-q", "--detach", filepath.Join(filepath.Dir(r.dir), "linked"), "v1.1")
	return r
}

func (r *theirs) run(args ...string) string {
	r.t.Helper()
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command("git", args...)
	stamp := fmt.Sprintf("2026-01-01T00:00:%02dZ", r.clock)
	cmd.Dir, cmd.Env = r.dir, append(environment(),
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=B", "GIT_COMMITTER_EMAIL=b@example.org",
		"GIT_AUTHOR_DATE="+stamp, "GIT_COMMITTER_DATE="+stamp, "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *theirs) write(file, content string) {
	if err := os.WriteFile(filepath.Join(r.dir, file), []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *theirs) commit(file, content, subject string) {
	r.t.Helper()
	r.clock++
	r.write(file, content)
	r.run("add", file)
	r.run("commit", "-q", "-m", subject)
}

// fingerprint is every file of a folder with its content, mode and time of change.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path, info.Mode(), info.ModTime().UnixNano())
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			fmt.Fprintf(sum, "%x\n", content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func open(t *testing.T, folder string) *Repository {
	t.Helper()
	r, err := Open(t.Context(), folder, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(r.Folder()); err == nil {
			t.Errorf("%s is still there", r.Folder())
		}
	})
	return r
}

func TestHistory(t *testing.T) {
	user := newTheirs(t)
	r := open(t, user.dir)
	h, err := r.History(t.Context(), "v1.0", "main")
	if err != nil {
		t.Fatal(err)
	}
	subjects := func(commits []bisect.Commit) []string {
		var list []string
		for _, c := range commits {
			list = append(list, c.Subject)
		}
		return list
	}
	if got := subjects(h.Range); !slices.Equal(got, []string{"mend it", "go on"}) || len(h.Forks) != 0 || !slices.Equal(h.Old.Tags, []string{"v1.0"}) {
		t.Errorf("got %v, forks %v, tags %v", got, h.Forks, h.Old.Tags)
	}
	// HEAD is what it is where the user stands, also in a linked work tree.
	linked := open(t, filepath.Join(filepath.Dir(user.dir), "linked"))
	if h, err = linked.History(t.Context(), "HEAD", "main"); err != nil {
		t.Fatal(err)
	}
	if got := subjects(h.Forks); h.Old.Subject != "mend it" || h.Old.Tags[0] != "v1.1" || !slices.Equal(got, []string{"begin"}) || len(h.Range) != 2 {
		t.Errorf("old %v, forks %v, range %v", h.Old, got, subjects(h.Range))
	}
	for _, bad := range []string{"nowhere", "--all", "v1.0:main.txt"} {
		if _, err := r.History(t.Context(), bad, "main"); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("revision %q: %v", bad, err)
		}
	}
}

func TestTwins(t *testing.T) {
	user := newTheirs(t)
	r := open(t, user.dir)
	h, err := r.History(t.Context(), "v1.0", "main")
	if err != nil {
		t.Fatal(err)
	}
	twins, err := r.Twins(t.Context(), h.Range[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(twins) != 1 || twins[0].Hash != user.run("rev-parse", "release") || !twins[0].SamePatch || !slices.Equal(twins[0].In, []string{"release", "v1.1"}) {
		t.Errorf("got %+v", twins)
	}
	if twins, err = r.Twins(t.Context(), h.Range[1]); err != nil || len(twins) != 0 {
		t.Errorf("a commit without a twin has %v, %v", twins, err)
	}
	// Picked with a conflict, the patch is another one, and the author, date and subject are left.
	stamp := user.run("show", "-s", "--format=%aI", "main")
	user.run("checkout", "-q", "--force", "release")
	user.write("main.txt", "2\n")
	user.run("-c", "user.name=B", "commit", "-q", "-a", "-m", "go on", "--date", stamp, "--author", "A <a@example.org>")
	if twins, err = open(t, user.dir).Twins(t.Context(), h.Range[1]); err != nil || len(twins) != 1 || twins[0].SamePatch {
		t.Errorf("got %+v, %v", twins, err)
	}
}

func TestBuild(t *testing.T) {
	user := newTheirs(t)
	before := fingerprint(t, filepath.Dir(user.dir))
	r := open(t, user.dir)
	h, err := r.History(t.Context(), "v1.0", "main")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := keep.Open(filepath.Join(t.TempDir(), "kept"))
	if err != nil {
		t.Fatal(err)
	}
	// What one build leaves in its tree, the next must not see.
	command := `test ! -e left && touch left && test -z "$GIT_DIR" && if grep -q two main.txt; then echo "no two"; exit 3; fi && cp main.txt "$OUT" && chmod +x "$OUT"`
	t.Setenv("GIT_DIR", "/nowhere")
	b := &Builder{Repository: r, Command: command, Kept: kept}
	build := func(c bisect.Commit) bisect.Build {
		t.Helper()
		made, err := b.Build(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	first, second, third := build(h.Old), build(h.Range[0]), build(h.Range[1])
	if first.Binary == "" || first.Remembered || first.Binary != second.Binary {
		t.Errorf("the same content gave %+v and %+v", first, second)
	}
	if content, err := os.ReadFile(b.Path(first.Binary)); err != nil || string(content) != "one\n" {
		t.Errorf("the binary is %q, %v", content, err)
	}
	if third.Binary != "" || third.Failure != "exit status 3\nno two" {
		t.Errorf("a commit that does not build gave %+v", third)
	}
	b = &Builder{Repository: r, Command: command, Kept: kept}
	if again := build(h.Old); !again.Remembered || again.Binary != first.Binary {
		t.Errorf("the build was not remembered: %+v", again)
	}
	b = &Builder{Repository: r, Command: "true", Kept: kept}
	if got := build(h.Old); !strings.Contains(got.Failure, "no executable at $OUT") {
		t.Errorf("got %+v", got)
	}
	t.Setenv("GIT_DIR", "")
	if after := fingerprint(t, filepath.Dir(user.dir)); after != before {
		t.Error("the user's repository or work tree was touched")
	}
}

func TestReleases(t *testing.T) {
	user, dir := newTheirs(t), t.TempDir()
	r := open(t, user.dir)
	h, err := r.History(t.Context(), "v1.1", "main")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "proxy-v1.1"), []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := &Builder{Repository: r, Releases: filepath.Join(dir, "proxy-{tag}")}
	if released := b.Released(h); len(released) != 1 || !released[h.Old.Hash] {
		t.Errorf("released are %v", released)
	}
	if released := b.Released(bisect.History{Forks: []bisect.Commit{h.Old}}); !released[h.Old.Hash] {
		t.Error("the release at a merge base is not found")
	}
	made, err := b.Build(t.Context(), h.Old)
	if err != nil || !made.Remembered || b.Path(made.Binary) != filepath.Join(dir, "proxy-v1.1") {
		t.Errorf("got %+v, %v, at %s", made, err, b.Path(made.Binary))
	}
}

func TestStaleWorkshops(t *testing.T) {
	below := t.TempDir()
	stale := filepath.Join(below, "scratch-stale", "tree")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := NewWorkshop(below)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewWorkshop(below)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(stale)); err == nil {
		t.Error("what nobody holds is still there")
	}
	if _, err := os.Stat(first.Folder()); err != nil {
		t.Errorf("a workshop in use was removed: %v", err)
	}
	for _, w := range []*Workshop{first, second} {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(below); len(left) != 0 {
		t.Errorf("left is %v", left)
	}
}
