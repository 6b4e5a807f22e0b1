package lane

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"proxyproof/sim/guest/image"
)

// CanRun reports why a worker will not be able to start a program, before there is a worker. A script needs an interpreter and is for
// whoever asks for it.
func (c Config) CanRun(ctx context.Context, path string, script bool) error {
	program, err := openELF(path, script)
	if program == nil {
		return err
	}
	defer program.Close()
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read this program's own file: %w", err)
	}
	defer self.Close()
	needs, err := needsOf(program)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case program.Machine != self.Machine || program.Class != self.Class:
		return fmt.Errorf("%s is built for %s, and this machine is %s", path, kindOf(program), kindOf(self))
	case program.Type != elf.ET_EXEC && program.Type != elf.ET_DYN:
		return fmt.Errorf("%s is no program: its ELF type is %s", path, program.Type)
	case needs.loader == "":
		return nil
	case c.Resolve(ctx) == Host:
		return needs.onHost(path)
	}
	return needs.inGuest(path)
}

// openELF opens a program; nil if it is a script, where one may be.
func openELF(path string, script bool) (*elf.File, error) {
	head, err := headOf(path)
	switch {
	case err != nil:
		return nil, err
	case head == elf.ELFMAG:
		program, err := elf.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%s is a broken ELF file: %w", path, err)
		}
		return program, nil
	case !strings.HasPrefix(head, "#!"):
		return nil, fmt.Errorf("%s is no ELF file: the kernel cannot start it", path)
	case !script:
		return nil, fmt.Errorf("%s is a script: name the program that it starts", path)
	}
	return nil, nil
}

// headOf are the first bytes of a file, as many as ELF's magic number has.
func headOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, len(elf.ELFMAG))
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return string(head[:n]), nil
}

func kindOf(f *elf.File) string {
	return strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_") + " " + strings.TrimPrefix(f.Class.String(), "ELFCLASS") + "-bit")
}

// needs is what a dynamically linked program needs of the file system.
type needs struct {
	loader    string // "" for a static program
	libraries []string
}

func needsOf(program *elf.File) (needs, error) {
	for _, p := range program.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		raw := make([]byte, min(p.Filesz, 4096))
		if _, err := p.ReadAt(raw, 0); err != nil {
			return needs{}, fmt.Errorf("read the name of its loader: %w", err)
		}
		libraries, err := program.ImportedLibraries()
		if err != nil {
			return needs{}, fmt.Errorf("read the names of its libraries: %w", err)
		}
		return needs{string(bytes.TrimRight(raw, "\x00")), libraries}, nil
	}
	return needs{}, nil
}

// static is how to build a program that runs anywhere.
const static = "link it statically, in Go with CGO_ENABLED=0"

func (n needs) onHost(path string) error {
	if _, err := os.Stat(n.loader); err != nil {
		return fmt.Errorf("%s is dynamically linked and needs the loader %s, which this machine does not have: %s", path, n.loader, static)
	}
	return nil
}

func (n needs) inGuest(path string) error {
	lacking := slices.DeleteFunc(append([]string{n.loader}, n.libraries...), image.HasLibrary)
	if len(lacking) == 0 {
		return nil
	}
	return fmt.Errorf("%s is dynamically linked and needs %s, which the VM does not have: %s", path, strings.Join(lacking, " and "), static)
}
