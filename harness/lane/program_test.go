package lane

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program is an ELF header and, for a dynamic one, the name of its loader and its libraries.
func program(t *testing.T, machine elf.Machine, kind elf.Type, loader string, libraries ...string) []byte {
	t.Helper()
	const header, entry, section = 64, 56, 64
	names := "\x00" + strings.Join(libraries, "\x00") + "\x00"
	var dynamic []byte
	at := 1
	for _, name := range libraries {
		dynamic = binary.LittleEndian.AppendUint64(dynamic, uint64(elf.DT_NEEDED))
		dynamic = binary.LittleEndian.AppendUint64(dynamic, uint64(at))
		at += len(name) + 1
	}
	dynamic = append(dynamic, make([]byte, 16)...)
	names += strings.Repeat("\x00", -len(names)&7)
	body := loader + "\x00" + strings.Repeat("\x00", -(len(loader)+1)&7)
	namesAt := header + entry + len(body)
	dynamicAt := namesAt + len(names)
	sectionsAt := dynamicAt + len(dynamic)
	h := elf.Header64{Type: uint16(kind), Machine: uint16(machine), Version: 1, Ehsize: header, Phoff: header, Phentsize: entry, Shentsize: section}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	if loader != "" {
		h.Phnum, h.Shoff, h.Shnum, h.Shstrndx = 1, uint64(sectionsAt), 3, 1
	}
	var b strings.Builder
	write := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	write(h)
	write(elf.Prog64{Type: uint32(elf.PT_INTERP), Off: header + entry, Filesz: uint64(len(loader) + 1)})
	b.WriteString(body + names)
	b.Write(dynamic)
	write(elf.Section64{})
	write(elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: uint64(namesAt), Size: uint64(len(names))})
	write(elf.Section64{Type: uint32(elf.SHT_DYNAMIC), Off: uint64(dynamicAt), Size: uint64(len(dynamic)), Link: 1, Entsize: 16})
	return []byte(b.String())
}

func TestCanRun(t *testing.T) {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	here, other := self.Machine, elf.EM_S390
	const glibc = "/lib64/ld-linux-x86-64.so.2"
	for name, test := range map[string]struct {
		file   []byte
		kind   Kind
		script bool
		want   string // "" if it can run
	}{
		"static":            {program(t, here, elf.ET_EXEC, ""), Guest, false, ""},
		"empty":             {nil, Guest, false, "is no ELF file"},
		"text":              {[]byte("hello\n"), Guest, true, "is no ELF file"},
		"script":            {[]byte("#!/bin/sh\n"), Guest, false, "is a script"},
		"script of a user":  {[]byte("#!/bin/sh\n"), Guest, true, ""},
		"broken":            {[]byte(elf.ELFMAG + "????"), Guest, false, "is a broken ELF file"},
		"other machine":     {program(t, other, elf.ET_EXEC, ""), Guest, false, "is built for s390 64-bit, and this machine is "},
		"library":           {program(t, here, elf.ET_CORE, ""), Guest, false, "its ELF type is ET_CORE"},
		"glibc, guest":      {program(t, here, elf.ET_DYN, glibc, "libc.so.6"), Guest, false, ""},
		"library, guest":    {program(t, here, elf.ET_DYN, glibc, "libc.so.6", "libpcap.so.1"), Guest, false, "needs libpcap.so.1, which the VM does not have: link it statically"},
		"musl, guest":       {program(t, here, elf.ET_DYN, "/lib/ld-musl-x86_64.so.1"), Guest, false, "needs /lib/ld-musl-x86_64.so.1, which the VM does not have"},
		"no loader, host":   {program(t, here, elf.ET_DYN, "/nowhere/ld.so"), Host, false, "needs the loader /nowhere/ld.so, which this machine does not have"},
		"any library, host": {program(t, here, elf.ET_DYN, "/proc/self/exe", "libpcap.so.1"), Host, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(path, test.file, 0o755); err != nil {
				t.Fatal(err)
			}
			err := Config{Kind: test.kind}.CanRun(context.Background(), path, test.script)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), path)):
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if err := (Config{Kind: Guest}).CanRun(context.Background(), "/nowhere/program", false); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
