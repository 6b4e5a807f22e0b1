package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Kernel says which kernel the VM boots; the zero value is the distribution's newest for virtual machines.
type Kernel struct {
	// Version is that of one of the distribution's packages, such as "6.12", which means the newest that begins so.
	Version string
	// Image and Modules are paths of one that somebody gives: the file and the folder lib/modules/VERSION.
	Image, Modules string
}

// kernelVersion is what versions look like, as opposed to files.
var kernelVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+([.+~-][0-9a-z.+~-]*)?$`)

// UnmarshalText reads a version, or the path of a kernel.
func (k *Kernel) UnmarshalText(text []byte) error {
	switch info, err := os.Stat(string(text)); {
	case kernelVersion.Match(text):
		*k = Kernel{Version: string(text)}
	case err != nil:
		return fmt.Errorf("want a version, such as 6.12, or the path of a kernel: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file: want the kernel itself, such as /boot/vmlinuz-6.12.9; its modules are for --modules", text)
	default:
		*k = Kernel{Image: string(text)}
	}
	return nil
}

// String is what UnmarshalText reads; "" for the newest.
func (k Kernel) String() string { return k.Version + k.Image }

// withModules finds the modules of a kernel that somebody gives: where they are installed, if nothing else was said.
func (k Kernel) withModules() (Kernel, error) {
	if k.Image == "" {
		return k, nil
	}
	if version, named := strings.CutPrefix(filepath.Base(k.Image), "vmlinuz-"); k.Modules == "" && named {
		k.Modules = filepath.Join("/lib/modules", version)
	}
	if info, err := os.Stat(k.Modules); err != nil || !info.IsDir() {
		return k, fmt.Errorf("kernel %s: there is no folder of its modules (%q): say with --modules where lib/modules/VERSION is", k.Image, k.Modules)
	}
	return k, nil
}

// recipe identifies the kernel: a version by its name, a file by its content and by what lies in the folder of its modules.
func (k Kernel) recipe() (string, error) {
	if k.Image == "" {
		return k.Version, nil
	}
	sum := sha256.New()
	data, err := os.ReadFile(k.Image)
	if err != nil {
		return "", fmt.Errorf("read the kernel: %w", err)
	}
	sum.Write(data)
	err = filepath.WalkDir(k.Modules, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !isModule(path) {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the kernel's modules: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// entries are the files of a kernel that somebody gives, under the paths that a package would have them at.
func (k Kernel) entries() ([]entry, error) {
	version := filepath.Base(k.Modules)
	data, err := os.ReadFile(k.Image)
	if err != nil {
		return nil, fmt.Errorf("read the kernel: %w", err)
	}
	entries := []entry{{path: "boot/vmlinuz-" + version, mode: 0o644, data: data}}
	err = filepath.WalkDir(k.Modules, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !isModule(path) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(k.Modules, path)
		entries = append(entries, entry{path: filepath.Join("lib/modules", version, below), mode: 0o644, data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the kernel's modules: %w", err)
	}
	return entries, nil
}

// isModule tells the files of a folder of modules that are read.
func isModule(path string) bool {
	return strings.Contains(filepath.Base(path), ".ko") || filepath.Base(path) == "modules.builtin"
}

// NoKernel tells that no package has the kernel that was asked for.
type NoKernel struct {
	Version string
	looked  string // for what
	others  []string
}

func (n NoKernel) Error() string {
	text := fmt.Sprintf("no package here has a kernel %s: looked for %s in the host's package lists and in fresh ones", n.Version, n.looked)
	if len(n.others) > 0 {
		text += ", which have " + strings.Join(n.others, ", ")
	}
	return text + "; " + n.Mend()
}

// Mend is what a person can do about it.
func (NoKernel) Mend() string {
	return "give one by hand: --kernel PATH/vmlinuz-VERSION --modules PATH/lib/modules/VERSION"
}

// flavours are the kernels for virtual machines: Debian's, Ubuntu's.
func flavours() []string { return []string{"cloud-" + runtime.GOARCH, "generic"} }

// kernelNamed finds the newest package of a version, preferably a signed one.
func (a apt) kernelNamed(ctx context.Context, version string) (string, error) {
	out, err := a.run(a.client(ctx, "apt-cache", "search", "--names-only", "^linux-image-"))
	if err != nil {
		return "", err
	}
	var names []string
	for line := range strings.Lines(out) {
		names = append(names, strings.Fields(line)[0])
	}
	name, others := pick(names, version)
	if name == "" {
		var looked []string
		for _, f := range flavours() {
			looked = append(looked, fmt.Sprintf("linux-image-%s…-%s", version, f))
		}
		return "", NoKernel{version, strings.Join(looked, " and "), others}
	}
	return name, nil
}

// pick chooses the newest package of a version among names, and lists the versions, major and minor, that there are.
func pick(names []string, version string) (name string, others []string) {
	form := regexp.MustCompile(`^linux-image-(unsigned-)?([0-9]+\.[0-9]+)([.+~-].*)?-(` + strings.Join(flavours(), "|") + `)(-unsigned)?$`)
	best := func(a, b string) int {
		unsigned := func(name string) string { return strconv.FormatBool(strings.Contains(name, "-unsigned")) }
		plain := strings.NewReplacer("-unsigned", "")
		return cmp.Or(natural(plain.Replace(b), plain.Replace(a)), strings.Compare(unsigned(a), unsigned(b)))
	}
	for _, n := range slices.SortedFunc(slices.Values(names), best) {
		m := form.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		if !slices.Contains(others, m[2]) {
			others = append(others, m[2])
		}
		rest, begins := strings.CutPrefix(m[2]+m[3], version)
		if begins && (rest == "" || strings.ContainsAny(rest[:1], ".+~-")) && name == "" {
			name = n
		}
	}
	return name, others
}

// natural compares texts in which numbers count as such: 6.9 comes before 6.12.
func natural(a, b string) int {
	parts := regexp.MustCompile(`[0-9]+|[^0-9]+`)
	return slices.CompareFunc(parts.FindAllString(a, -1), parts.FindAllString(b, -1), func(x, y string) int {
		m, err := strconv.Atoi(x)
		n, err2 := strconv.Atoi(y)
		if err != nil || err2 != nil {
			return strings.Compare(x, y)
		}
		return cmp.Compare(m, n)
	})
}
