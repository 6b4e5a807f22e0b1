package worker

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"proxyproof/sim/apiserver"
	"proxyproof/sim/world"
)

func TestWhoseFault(t *testing.T) {
	words := []string{"it logged: no luck"}
	theirs := slices.Concat(vainModules([]world.Module{{Name: "no_such"}}), vainRequests([]apiserver.Lack{{What: "gateways of example.com/v1"}}))
	evidence, err := whoseFault("cp", "it was ready", theirs, words)
	want := []string{
		"it asked in vain for the kernel module no_such, which this kernel does not have",
		"it asked in vain for the API's gateways of example.com/v1, which is not built into Kubernetes",
		"it logged: no luck",
	}
	if err != nil || !slices.Equal(evidence, want) {
		t.Errorf("got %q, %v", evidence, err)
	}
	for name, ours := range map[string][]vain{
		"the kernel module tls":                       vainModules([]world.Module{{Name: "tls", Exists: true}}),
		"the API's ingresses of networking.k8s.io/v1": vainRequests([]apiserver.Lack{{What: "ingresses of networking.k8s.io/v1", BuiltIn: true}}),
		"the program ipsec":                           vainPrograms([]string{"ipsec"}),
	} {
		_, err := whoseFault("cp", "it was ready", append(slices.Clone(theirs), ours...), words)
		var lacking *lackingError
		if !errors.As(err, &lacking) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "no_such") || !strings.Contains(err.Error(), "no luck") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if evidence, err := whoseFault("cp", "it was ready", nil, nil); evidence != nil || err != nil {
		t.Errorf("got %q, %v", evidence, err)
	}
}

func TestMissingProgram(t *testing.T) {
	for line, want := range map[string]string{
		`E1128 11:00:00.000000       1 server.go:1] "Failed" err="exec: \"nft\": executable file not found in $PATH"`: "nft",
		`panic: exec: "ipset": executable file not found in $PATH`:                                                    "ipset",
		`fork/exec /bin/x: no such file or directory`:                                                                 "",
	} {
		if got := missingProgram(line); got != want {
			t.Errorf("%s: want %q, got %q", line, want, got)
		}
	}
}
