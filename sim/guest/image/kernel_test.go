package image

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestPick(t *testing.T) {
	arch := runtime.GOARCH
	debian := []string{
		"linux-image-6.1.0-9-cloud-" + arch, "linux-image-6.1.0-48-cloud-" + arch, "linux-image-6.1.0-48-cloud-" + arch + "-unsigned",
		"linux-image-6.1.0-48-" + arch, "linux-image-6.1.0-49-rt-" + arch, "linux-image-cloud-" + arch, "linux-image-6.12.9+deb12-cloud-" + arch,
		"linux-image-6.12.90+deb12-cloud-" + arch, "linux-image-6.12.90+deb12.1-cloud-" + arch, "linux-image-6.12.95+deb12-cloud-" + arch + "-dbg",
		"linux-image-6.15.4+deb12-cloud-" + arch + "-unsigned",
	}
	ubuntu := []string{"linux-image-6.8.0-60-generic", "linux-image-unsigned-6.8.0-60-generic", "linux-image-6.8.0-7-generic", "linux-image-6.8.0-60-lowlatency"}
	for version, want := range map[string]string{
		"6.1":      "linux-image-6.1.0-48-cloud-" + arch,
		"6.1.0-9":  "linux-image-6.1.0-9-cloud-" + arch,
		"6.12":     "linux-image-6.12.90+deb12.1-cloud-" + arch,
		"6.12.9":   "linux-image-6.12.9+deb12-cloud-" + arch,
		"6.15":     "linux-image-6.15.4+deb12-cloud-" + arch + "-unsigned",
		"6.8":      "linux-image-6.8.0-60-generic",
		"6.1.0-4":  "",
		"6.6":      "",
		"6.12.90+": "",
	} {
		if got, _ := pick(append(slices.Clone(debian), ubuntu...), version); got != want {
			t.Errorf("%s: got %q, want %q", version, got, want)
		}
	}
	if _, others := pick(debian, "5.10"); !slices.Equal(others, []string{"6.15", "6.12", "6.1"}) {
		t.Errorf("there are %q", others)
	}
}

func TestKernelText(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "vmlinuz-6.12.9")
	if err := os.WriteFile(file, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Kernel{"6.12": {Version: "6.12"}, "6.1.0-48": {Version: "6.1.0-48"}, file: {Image: file}} {
		var k Kernel
		if err := k.UnmarshalText([]byte(text)); err != nil || k != want || k.String() != text {
			t.Errorf("%s: got %+v, %v", text, k, err)
		}
	}
	for text, want := range map[string]string{"": "want a version", "6": "want a version", "newest": "want a version", dir: "is no file"} {
		var k Kernel
		if err := k.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestKernelsOfOneVersionAreToldApart: an image is found again by what it is made of.
func TestKernelsOfOneVersionAreToldApart(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	given := Kernel{Image: write("vmlinuz-1.2.3", "one"), Modules: filepath.Dir(write("lib/modules/1.2.3/dummy.ko", "module"))}
	seen := map[string]string{}
	note := func(what string, k Kernel) {
		t.Helper()
		r, err := recipe(k)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[r]; taken {
			t.Errorf("%s has the image of %s", what, other)
		}
		seen[r] = what
	}
	note("the newest", Kernel{})
	note("6.1", Kernel{Version: "6.1"})
	note("6.12", Kernel{Version: "6.12"})
	note("a kernel by hand", given)
	write("lib/modules/1.2.3/extra/another.ko", "module")
	note("the same with one more module", given)
	write("vmlinuz-1.2.3", "two")
	note("another kernel at the same path", given)
}

func TestModulesOfAKernelByHand(t *testing.T) {
	if _, err := (Kernel{Image: "/nowhere/vmlinuz-0.0.0"}).withModules(); err == nil || !strings.Contains(err.Error(), "/lib/modules/0.0.0") || !strings.Contains(err.Error(), "--modules") {
		t.Errorf("got %v", err)
	}
	if k, err := (Kernel{Version: "6.12"}).withModules(); err != nil || k.Modules != "" {
		t.Errorf("got %+v, %v", k, err)
	}
}
