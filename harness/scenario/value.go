package scenario

import (
	"fmt"
	"strings"
	"time"

	"proxyproof/sim/world"
)

// Duration is a time.Duration written "300ms", "5m".
type Duration time.Duration

// String is the written form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration. Unlike time.ParseDuration it wants a unit even for 0, and no sign.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || !strings.HasSuffix(string(text), "s") && !strings.HasSuffix(string(text), "m") && !strings.HasSuffix(string(text), "h") {
		return fmt.Errorf("%q is no duration; want a number and a unit: 0s, 300ms, 5s, 2m", text)
	}
	if parsed < 0 {
		return fmt.Errorf("the duration %s is negative", text)
	}
	*d = Duration(parsed)
	return nil
}

// Names is one name or a list of names.
type Names []string

// Port is a listening port in its written form, "8080/tcp".
type Port struct{ world.Port }

// MarshalText writes a port.
func (p Port) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a port.
func (p *Port) UnmarshalText(text []byte) (err error) {
	p.Port, err = world.ParsePort(string(text))
	return err
}

// choice is a type with a fixed set of words.
type choice interface {
	// choices are the words, the default first, and what one of them is called.
	choices() (words []string, noun string)
}

func (FamilySet) choices() ([]string, string) { return wordsOf(AllFamilies...), "family set" }

// FamilySetNames are the names of all family sets.
func FamilySetNames() []string { return wordsOf(AllFamilies...) }

func (APIPath) choices() ([]string, string) { return wordsOf(APIControl, APINodeAddress), "API path" }

func (StartMode) choices() ([]string, string) {
	return wordsOf(StartFirst, StartByStep), "start mode"
}

func (SubjectAction) choices() ([]string, string) {
	return wordsOf(SubjectStart, SubjectStop, SubjectKill, SubjectRestart, SubjectSwap), "subject action"
}

func (PodState) choices() ([]string, string) {
	return wordsOf(PodReady, PodUnready, PodTerminating, PodGone), "pod state"
}

func (Source) choices() ([]string, string) { return wordsOf(SourceClient, SourceNode), "source" }

func (APIAction) choices() ([]string, string) {
	return wordsOf(APIOutage, APIBlackHole, APISlow, APIErrors, APIDropWatches, APIExpire, APIHeal), "API action"
}

// Perturbation is something that a run does to scenarios besides what they say, and that must change nothing.
type Perturbation string

const (
	// PerturbRestart: the subject is restarted after each step.
	PerturbRestart Perturbation = "restart"
	// PerturbTouch: after each step, all Services are updated without a change of their meaning.
	PerturbTouch Perturbation = "touch"
	// PerturbClean: after the last step all Services are deleted.
	PerturbClean Perturbation = "clean"
)

// Perturbations are all of them.
func Perturbations() []Perturbation {
	return []Perturbation{PerturbRestart, PerturbTouch, PerturbClean}
}

// holdKinds are the words of Hold.Kind.
func holdKinds() []string { return []string{HoldHTTPS, HoldTCP, HoldUDP, HoldPing} }

// Invariants are the names by which Scenario.Exempt can switch a check off. They are those of package invariant.
func Invariants() []string {
	return []string{"local-ips", "svip", "foreign", "ipvs", "firewall", "subject", "sysctls"}
}

func wordsOf[T ~string](list ...T) []string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return words
}
