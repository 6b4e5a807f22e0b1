package keep

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	k, err := Open(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	one, _ := Key("commit", 1)
	two, _ := Key("commit", 2)
	if err := k.Remember(one, map[string]int{"n": 7}); err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	if !k.Answer(one, &got) || got["n"] != 7 {
		t.Errorf("got %v", got)
	}
	if k.Answer(two, &got) {
		t.Error("an answer that nobody gave")
	}
	if err := os.WriteFile(k.answer(one), []byte(`{"n":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if k.Answer(one, &got) {
		t.Error("half an answer was taken for one")
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	k, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content string, age time.Duration) string {
		path := filepath.Join(dir, "built")
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		hash, err := k.Take(path)
		if err != nil {
			t.Fatal(err)
		}
		kept, ok := k.File(hash)
		if !ok {
			t.Fatalf("%s is not there", kept)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(kept, when, when); err != nil {
			t.Fatal(err)
		}
		return hash
	}
	old, young := put("four", time.Hour), put("five!", 0)
	if again := put("four", time.Hour); again != old || old == young {
		t.Errorf("the content does not decide: %s, %s, %s", old, again, young)
	}
	if err := k.Trim(8); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.File(old); ok {
		t.Error("the oldest file is still there")
	}
	if _, ok := k.File(young); !ok {
		t.Error("the youngest file was removed")
	}
}
