package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"proxyproof/harness/run"
)

// asProgram makes the test binary be the program, or a binary of the reference.
const asProgram = "PROXYPROOF_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	switch filepath.Base(os.Args[0]) {
	case "proxyproof":
		os.Exit(program())
	case "reference-defective":
		fmt.Println(`[{"name": "local-ips-ipv4-only", "findings": ["local-ips-incomplete"]}, {"name": "sets-stale", "findings": ["local-ips-incomplete"]}]`)
	default:
		fmt.Fprintln(os.Stderr, "flag provided but not defined: -list-defects\nUsage of reference:")
		os.Exit(1)
	}
}

const oneFamily = `name: one-family
description: A story.
tags: [alone]
families: [ipv4]
world:
  nodes: [{name: cp, apiServer: true, proxy: true}]
steps:
  - apply: |
      apiVersion: v1
      kind: Service
      metadata: {name: web}
      spec: {ports: [{port: 80}]}
`

// installed is a folder with the program, the binaries of the reference and a few files that are none.
func installed(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := bytes.Clone(binary[:64]) // an ELF header
	copy(other[18:20], []byte{22, 0}) // s390
	clear(other[40:48])               // no sections
	clear(other[56:64])               // and no segments
	for name, content := range map[string][]byte{
		"proxyproof": binary, "text": []byte("hello\n"), "script": []byte("#!/bin/sh\n"), "s390": other,
		"s/one-family.yaml": []byte(oneFamily), "bad.yaml": []byte(strings.Replace(oneFamily, "ports: [", "externalIPs: [127.0.0.1], ports: [", 1)),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"reference", "reference-defective"} {
		if err := os.Link(filepath.Join(dir, "proxyproof"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRefusedBeforeBoot: what cannot be run as it was asked for ends with one message and the exit code of bad arguments. Nothing can
// be booted here, so that whatever is found out later ends otherwise.
func TestRefusedBeforeBoot(t *testing.T) {
	dir := installed(t)
	const question = "verdict --scenario s/one-family.yaml --binary reference --finding "
	for _, test := range []struct {
		args string
		code int
		want string // the beginning of the message
	}{
		{"run --subject reference+nope s", run.ExitUsage, "--subject reference+nope: no defect is called \"nope\"; `reference-defective --list-defects` lists them\n"},
		{"run --subject reference+local-ip-ipv4-only s", run.ExitUsage, `--subject reference+local-ip-ipv4-only: no defect is called "local-ip-ipv4-only"; did you mean local-ips-ipv4-only?`},
		{"run --other reference+set-stale s", run.ExitUsage, `--other reference+set-stale: no defect is called "set-stale"; did you mean sets-stale?`},
		{"run --subject reference+sets-stale=reference s", run.ExitUsage, "--subject reference+sets-stale=reference: ask reference for its defects: "},
		{"run --subject referense s", run.ExitUsage, `--subject referense: unknown kind of subject "referense"; did you mean reference?`},
		{"run --subject kube-router=nowhere s", run.ExitUsage, "--subject kube-router=nowhere: stat nowhere: no such file or directory\n"},
		{"run --subject kube-router=text s", run.ExitUsage, "--subject kube-router=text: text is no ELF file: the kernel cannot start it\n"},
		{"run --subject kube-router=script s", run.ExitUsage, "--subject kube-router=script: script is a script: name the program that it starts\n"},
		{"run --subject kube-router=s390 s", run.ExitUsage, "--subject kube-router=s390: s390 is built for s390 64-bit, and this machine is "},
		{"run --subject reference --subject reference=reference s", run.ExitUsage, "--subject reference=reference: reports would call it reference, like reference; run them one after the other"},
		{"run --labels alon s", run.ExitUsage, `--labels: nothing has the label "alon"; did you mean alone?`},
		{"run --labels alone&& s", run.ExitUsage, `--labels "alone&&" is no label filter: Unexpected EOF.`},
		{"run --labels smoke s", run.ExitUsage, `no case matches the selection: of 1 case, --labels "smoke" leaves 0`},
		{"run --focus one-famly s", run.ExitUsage, "no case matches the selection: of 1 case, --focus one-famly leaves 0; did you mean one-family?\n"},
		{"run --focus one --labels ipv6 s", run.ExitUsage, `no case matches the selection: of 1 case, --focus one leaves 1, --labels "ipv6" leaves 0`},
		{"run --skip one s", run.ExitUsage, "no case matches the selection: of 1 case, --skip one leaves 0\n"},
		{"run --focus ( s", run.ExitUsage, "--focus \"(\" is no regular expression: missing closing ): `(`\n"},
		{"run --families ipv5 s", run.ExitUsage, `--families: no family set is called "ipv5"; did you mean ipv4?`},
		{"run --families ipv6 s", run.ExitUsage, "no case runs in the family sets ipv6: the scenarios are for ipv4\n"},
		{"list --families ipv6 s", run.ExitUsage, "no case runs in the family sets ipv6: the scenarios are for ipv4\n"},
		{"run nowhere", run.ExitUsage, "nowhere: cannot be read: no such file or directory\n"},
		{"run bad.yaml", run.ExitUsage, "bad.yaml:12:28: Service web: the API server refuses this: spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range"},
		{"lint bad.yaml", run.ExitUsage, "bad.yaml:12:28: Service web: the API server refuses this: "},
		{"mutants --defect set-stale s", run.ExitUsage, `--defect set-stale: no defect is called "set-stale"; did you mean sets-stale?`},
		{"mutants --defect sets-stale s", run.ExitUsage, "no scenario among these says that it catches sets-stale: add the name to its catches\n"},
		{"exec text", run.ExitUsage, "text is no ELF file"},
		{question + "apiserver-refuse", exitTrouble, `no finding is called "apiserver-refuse"; did you mean apiserver-refused?`},
		{question + "apiserver-refused --family ipv6", exitTrouble, "--family ipv6: scenario one-family does not run in it; it runs in ipv4\n"},
		{question + "apiserver-refused --subject kube-ruter={binary}", exitTrouble, "--subject kube-ruter="},
		{question + "apiserver-refused --subject reference+sets-stale={binary}", exitTrouble, "--binary: ask "},
		{"bisect --repo . --bad a --good b --build true --scenario s/one-family.yaml --finding apiserver-refuse", run.ExitUsage, `no finding is called "apiserver-refuse"; did you mean`},
		// That there are errors of other kinds shows that those above are none of these.
		{"run s", run.ExitInfra, ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(filepath.Join(dir, "proxyproof"), strings.Fields(test.args)...)
			cmd.Dir = dir
			cmd.Env = []string{asProgram + "=1", "PROXYPROOF_CACHE=" + t.TempDir(), "PATH=" + filepath.Join(dir, "empty"), "HOME=" + dir}
			if !strings.HasPrefix(test.args, "list") && !strings.HasPrefix(test.args, "lint") {
				cmd.Args = append(cmd.Args[:2:2], append([]string{"--lane", "guest"}, cmd.Args[2:]...)...)
			}
			var text bytes.Buffer
			cmd.Stderr = &text
			err := cmd.Run()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(text.String(), dir+"/", "")
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.HasPrefix(got, test.want) {
				t.Errorf("got exit code %d and\n%swant %d and\n%s", code, got, test.code, test.want)
			}
		})
	}
}
