package subject

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Subject is a proxy under test as named on the command line.
type Subject struct {
	// Spec is the argument as it was given.
	Spec string
	// Name is how reports call it: "reference", "reference+local-ips-ipv4-only", "kube-router@v2.1.2".
	Name    string
	Profile string
	Version string
	// Binary is the path of the executable on the host.
	Binary string
	// Args precede those that the profile makes.
	Args []string
}

// Parse reads a --subject argument. Binaries of the reference are looked for in dir, where the build puts them.
//
//	reference             the reference proxy
//	reference+DEFECT      the reference with a defect of the zoo
//	reference=BINARY      another build of the reference
func Parse(spec, dir string) (Subject, error) {
	left, binary, _ := strings.Cut(spec, "=")
	profile, defect, defective := strings.Cut(left, "+")
	if profile != "reference" {
		return Subject{}, fmt.Errorf("--subject %s: unknown kind of subject %q; known are: reference, reference+DEFECT, reference=BINARY", spec, profile)
	}
	s := Subject{Spec: spec, Name: left, Profile: profile, Binary: binary}
	switch {
	case defective && defect == "":
		return Subject{}, fmt.Errorf("--subject %s: the name of a defect is missing after the +", spec)
	case defective:
		s.Args = []string{"--defect=" + defect}
		s.Binary = firstOf(binary, filepath.Join(dir, "reference-defective"))
	default:
		s.Binary = firstOf(binary, filepath.Join(dir, "reference"))
	}
	info, err := os.Stat(s.Binary)
	switch {
	case err != nil:
		return Subject{}, fmt.Errorf("--subject %s: %w; build it with `make build`", spec, err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return Subject{}, fmt.Errorf("--subject %s: %s is not an executable file", spec, s.Binary)
	}
	return s, nil
}

// firstOf is the first that is not empty.
func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
