package subject

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"proxyproof/harness/scenario"
)

// Subject is a proxy under test as named on the command line.
type Subject struct {
	// Spec is the argument as it was given.
	Spec string
	// Name is how reports call it: "reference", "reference+local-ips-ipv4-only", "kube-router@v2.1.2".
	Name    string
	Profile string
	// Version is "" if it is not known; then no known issue is looked up.
	Version string
	// Binary is the path of the executable on the host.
	Binary string
	// Args precede those that the profile makes.
	Args []string
	// Definition is of an exec subject.
	Definition *Definition
}

// Forms are the ways to name a subject, for help texts.
const Forms = "reference, reference+DEFECT, reference=BINARY, kube-router=BINARY[@VERSION], exec=FILE"

// Parse reads a --subject argument. Binaries of the reference are looked for in dir, where the build puts them.
//
//	reference                      the reference proxy
//	reference+DEFECT               the reference with a defect of the zoo
//	reference=BINARY               another build of the reference
//	kube-router=BINARY[@VERSION]   a kube-router; with its version its known issues are known
//	exec=FILE                      any other proxy, described in FILE
func Parse(spec, dir string) (Subject, error) {
	left, right, _ := strings.Cut(spec, "=")
	s := Subject{Spec: spec, Name: left, Profile: left}
	var err error
	switch {
	case left == "reference" || strings.HasPrefix(left, "reference+"):
		err = s.reference(right, dir)
	case left == "kube-router":
		err = s.kubeRouter(right)
	case left == "exec":
		err = s.exec(right)
	default:
		err = unknownKind(left)
	}
	if err == nil {
		err = executable(s.Binary, s.Profile)
	}
	if err != nil {
		return Subject{}, fmt.Errorf("%s: %w", spec, err)
	}
	return s, nil
}

// unknownKind is the error for a subject that is none of Forms.
func unknownKind(left string) error {
	kind, rest, _ := strings.Cut(left, "+")
	hint := "known are: " + Forms
	if near := scenario.Nearest(kind, []string{"reference", "kube-router", "exec"}); near != "" {
		if rest != "" {
			near += "+" + rest
		}
		hint = "did you mean " + near + "? " + hint
	}
	return fmt.Errorf("unknown kind of subject %q; %s", left, hint)
}

// Defect is the defect of the zoo that the subject has; "" if it has none.
func (s Subject) Defect() string {
	if s.Profile != "reference" {
		return ""
	}
	_, defect, _ := strings.Cut(s.Name, "+")
	return defect
}

func (s *Subject) reference(binary, dir string) error {
	profile, defect, defective := strings.Cut(s.Profile, "+")
	s.Profile = profile
	file := "reference"
	if defective {
		if defect == "" {
			return fmt.Errorf("the name of a defect is missing after the +")
		}
		s.Args, file = []string{"--defect=" + defect}, "reference-defective"
	}
	if s.Binary = binary; binary == "" {
		s.Binary = filepath.Join(dir, file)
	}
	return nil
}

func (s *Subject) kubeRouter(right string) error {
	if right == "" {
		return fmt.Errorf("the path of the binary is missing: kube-router=BINARY[@VERSION]")
	}
	s.Binary = right
	if i := strings.LastIndexByte(right, '@'); i >= 0 {
		s.Binary, s.Version = right[:i], right[i+1:]
		s.Name += "@" + s.Version
		if _, err := versionOf(s.Version); err != nil {
			return fmt.Errorf("version %q: %w; leave @VERSION out if it has none", s.Version, err)
		}
	}
	return nil
}

func (s *Subject) exec(file string) error {
	if file == "" {
		return fmt.Errorf("the file that describes the proxy is missing: exec=FILE")
	}
	d, err := ReadDefinition(file)
	if err != nil {
		return err
	}
	s.Name, s.Binary, s.Definition = d.Name, d.Binary, d
	if !filepath.IsAbs(s.Binary) {
		s.Binary = filepath.Join(filepath.Dir(file), s.Binary)
	}
	return nil
}

// Distinct is an error if two subjects have the same name: nothing would tell their cases apart.
func Distinct(subjects []Subject) error {
	named := map[string]string{}
	for _, s := range subjects {
		if other, taken := named[s.Name]; taken {
			return fmt.Errorf("%s: reports would call it %s, like %s; run them one after the other, or give one another name", s.Spec, s.Name, other)
		}
		named[s.Name] = s.Spec
	}
	return nil
}

// executable tells what is wrong with a binary.
func executable(path, profile string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil && profile == "reference":
		return fmt.Errorf("%w; build it with `make build`", err)
	case err != nil:
		return err
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}
