package carried

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pack stands for what ci/dist packs.
func pack(t *testing.T, text string) {
	t.Helper()
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := reference
	t.Cleanup(func() { reference = before })
	reference = small.Bytes()
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	pack(t, "one")
	first, err := Unpack(dir)
	if err != nil || !Has() {
		t.Fatal(err)
	}
	file := filepath.Join(first, "reference")
	info, err := os.Stat(file)
	if text, _ := os.ReadFile(file); err != nil || string(text) != "one" || info.Mode().Perm() != 0o755 {
		t.Errorf("got %q, %v, %v", text, info.Mode(), err)
	}
	if left, _ := os.ReadDir(first); len(left) != 1 {
		t.Errorf("there is more than the program: %v", left)
	}
	if again, err := Unpack(dir); err != nil || again != first {
		t.Errorf("again: got %s, %v", again, err)
	}
	pack(t, "two")
	if other, err := Unpack(dir); err != nil || other == first {
		t.Errorf("another program: got %s, %v", other, err)
	}
}

// TestUnpackWhole: what cannot be unpacked leaves nothing that would be started.
func TestUnpackWhole(t *testing.T) {
	dir := t.TempDir()
	pack(t, strings.Repeat("program", 1000))
	reference = reference[:len(reference)-10]
	if _, err := Unpack(dir); err == nil {
		t.Error("a file that is cut off was unpacked")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "carried", "*", "*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}
