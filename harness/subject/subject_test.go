package subject

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

func binary(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	kr, ref := binary(t, dir, "kube-router"), binary(t, dir, "reference")
	binary(t, dir, "reference-defective")
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	definition := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(definition, []byte("name: mine\nbinary: kube-router\nready: {answers: true}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]Subject{
		"reference":                   {Name: "reference", Profile: "reference", Binary: ref},
		"reference+bug":               {Name: "reference+bug", Profile: "reference", Binary: filepath.Join(dir, "reference-defective"), Args: []string{"--defect=bug"}},
		"reference=" + kr:             {Name: "reference", Profile: "reference", Binary: kr},
		"kube-router=" + kr:           {Name: "kube-router", Profile: "kube-router", Binary: kr},
		"kube-router=" + kr + "@v2.1": {Name: "kube-router@v2.1", Profile: "kube-router", Binary: kr, Version: "v2.1"},
		"exec=" + definition:          {Name: "mine", Profile: "exec", Binary: kr},
	} {
		got, err := Parse(spec, dir)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if got.Spec != spec || got.Name != want.Name || got.Profile != want.Profile || got.Binary != want.Binary || got.Version != want.Version ||
			!slices.Equal(got.Args, want.Args) || (got.Definition != nil) != (want.Profile == "exec") {
			t.Errorf("%s: got %+v, want %+v", spec, got, want)
		}
	}
	for spec, want := range map[string]string{
		"":                           "unknown kind",
		"cilium=" + kr:               "known are: reference",
		"reference+":                 "name of a defect is missing",
		"reference=" + dir + "/nope": "make build",
		"reference=" + text:          "not an executable",
		"kube-router":                "path of the binary is missing",
		"kube-router=" + kr + "@new": `version "new"`,
		"kube-router=/nope@v2.1.2":   "no such file",
		"exec":                       "file that describes the proxy is missing",
		"exec=" + dir + "/nope.yaml": "no such file",
	} {
		if _, err := Parse(spec, dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), spec) {
			t.Errorf("%s: got %v, want %q", spec, err, want)
		}
	}
}

const someHelp = `Usage of kube-router:
      --enable-ipv6                     Enables IPv6 support
  -h, --help                            Print usage information, like --masquerade-all elsewhere.
      --ipvs-sync-period duration       The delay between ipvs config synchronizations
      --kubeconfig string               Path to kubeconfig file
      --run-loadbalancer                Enable loadbalancer address allocator
`

func TestKubeRouterFlags(t *testing.T) {
	setting := Setting{
		Node: "cp", Binary: "/bin/kube-router", Kubeconfig: "/run/kubeconfig", Help: someHelp,
		Families: []world.Family{world.IPv6}, Ranges: world.DefaultRanges(),
	}
	c, err := kubeRouter{}.Command(setting)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"--kubeconfig=/run/kubeconfig", "--run-loadbalancer=false", "--enable-ipv6=true", "--ipvs-sync-period=5m0s"}
	if !slices.Equal(c.Args, want) {
		t.Errorf("got %q, want %q: what the binary does not know is left out", c.Args, want)
	}
	setting.Options = scenario.Options{MasqueradeAll: true}
	var lacks *Lacks
	if _, err := (kubeRouter{}).Command(setting); !errors.As(err, &lacks) || lacks.Option != "masqueradeAll" || lacks.Flag != "--masquerade-all" {
		t.Errorf("got %v: a scenario that needs what the binary lacks is skipped", err)
	}
	setting.Options = scenario.Options{LoadBalancer: true}
	if _, err := (kubeRouter{}).Command(setting); !errors.As(err, &lacks) || lacks.Flag != "--loadbalancer-ip-range" {
		t.Errorf("got %v", err)
	}
	setting.Help += "      --loadbalancer-ip-range strings   CIDR values\n      --masquerade-all                  SNAT all traffic\n"
	setting.Options = scenario.Options{LoadBalancer: true, MasqueradeAll: true, SyncPeriod: scenario.Duration(3 * time.Second)}
	if c, err = (kubeRouter{}).Command(setting); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"--run-loadbalancer=true", "--masquerade-all=true", "--ipvs-sync-period=3s", "--loadbalancer-ip-range=2001:db8:113::/112"} {
		if !slices.Contains(c.Args, arg) {
			t.Errorf("%s is not in %q", arg, c.Args)
		}
	}
}

// TestKubeRouterOptions: what a scenario asks for beyond the service proxy becomes flags, or a skip.
func TestKubeRouterOptions(t *testing.T) {
	setting := Setting{Families: []world.Family{world.IPv4}, Ranges: world.DefaultRanges(), Help: "      --run-firewall\n      --ipvs-sync-period duration\n"}
	setting.Options = scenario.Options{Firewall: true}
	if c, err := (kubeRouter{}).Command(setting); err != nil || !slices.Contains(c.Args, "--run-firewall=true") {
		t.Errorf("%q, %v", c.Args, err)
	}
	for flag, options := range map[string]scenario.Options{
		"--nodeport-bindon-all-ip":    {NodePortsOnAllAddresses: true},
		"--ipvs-graceful-termination": {GracefulPeriod: scenario.Duration(time.Second)},
	} {
		var lacks *Lacks
		setting.Options = options
		if _, err := (kubeRouter{}).Command(setting); !errors.As(err, &lacks) || lacks.Flag != flag {
			t.Errorf("%s: got %v", flag, err)
		}
	}
	var lacks *Lacks
	if _, err := (reference{}).Command(Setting{Options: scenario.Options{Firewall: true}}); !errors.As(err, &lacks) || lacks.Option != "firewall" {
		t.Errorf("got %v: the reference has no network policies", err)
	}
}

func TestKubeRouterErrors(t *testing.T) {
	for line, want := range map[string]bool{
		"E1124 02:40:26.124450     224 network_services_controller.go:251] failed to sync": true,
		"F1124 02:40:26.124450     224 kube-router.go:1] failed":                           true,
		"W1124 02:40:26.124450     224 file.go:1] careful":                                 false,
		"I1124 02:40:26.124450     224 file.go:1] Error count 0":                           false,
		"panic: runtime error: index out of range":                                         true,
		"WARNING: DATA RACE": true,
		"E1124 02:40:26.124450     224 network_services_controller.go:251] failed to get rp_filter value for kube-bridge: Sysctl": false,
	} {
		if got := (kubeRouter{}).IsError(line); got != want {
			t.Errorf("%q is an error: %t, want %t", line, got, want)
		}
	}
}

// TestKubeRouterHeartbeats: what is due follows from the period; a part that is not known owes nothing, and its line is an error.
func TestKubeRouterHeartbeats(t *testing.T) {
	const prefix = "E1124 02:40:26.124450     224 health_controller.go:177] "
	for line, want := range map[string]time.Duration{
		"NetworkService Controller heartbeat missed":          3500 * time.Millisecond,
		"Network Policy Controller heartbeat missed":          301500 * time.Millisecond,
		"Load Balancer Allocator Controller heartbeat missed": 61500 * time.Millisecond,
		"Hairpin Controller heartbeat missed":                 61500 * time.Millisecond,
		"Metrics Controller heartbeat missed":                 0,
		"NetworkService Controller heartbeat missed, twice":   0,
	} {
		beat, ok := (kubeRouter{}).Heartbeat(prefix+line, scenario.Options{SyncPeriod: scenario.Duration(2 * time.Second)})
		if ok != (want > 0) || ok && beat.Due != want {
			t.Errorf("%s: due after %v, %t; want %v", line, beat.Due, ok, want)
		}
		if !(kubeRouter{}).IsError(prefix + line) {
			t.Errorf("%s: is no error", line)
		}
	}
	line := prefix + "NetworkService Controller heartbeat missed"
	if beat, _ := (kubeRouter{}).Heartbeat(line, scenario.Options{}); beat.Due != defaultSyncPeriod+1500*time.Millisecond {
		t.Errorf("with the default period, it is due after %v", beat.Due)
	}
	if _, ok := (kubeRouter{}).Heartbeat("I1124 02:40:26.124450     224 x.go:1] NetworkService Controller heartbeat missed", scenario.Options{}); ok {
		t.Error("a line that is no error is taken for one")
	}
}

func TestKubeRouterKeeps(t *testing.T) {
	for version, want := range map[string]bool{"v2.1.2": false, "v2.10.1": false, "v2.11.0": true, "v2.11.1": true, "v3.0.0": true, "": true} {
		if got := (kubeRouter{version}).Keeps().Has(invariant.KeepNodePortsPerFamily); got != want {
			t.Errorf("%q binds node ports in each family: %t, want %t", version, got, want)
		}
	}
}

func TestDefinition(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "proxy.yaml")
	read := func(text string) (*Definition, error) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return ReadDefinition(file)
	}
	d, err := read(`
name: mine
binary: bin/mine
args: ["--config={kubeconfig}", "--node={node}", "--services={services}"]
env: {WHERE: "{node}"}
options: {syncPeriod: ["--period={value}"]}
ready: {log: "^ready"}
keeps: [ipvs, sets]
errors: ["^ERROR"]
allowed: ["mere advice$"]
familyArgs: {ipv4: ["--pods={pods}"], dual-v6: ["--dual"]}
files:
  /etc/mine/config.yaml: |
    cluster: "{services}"
    none: {}
patience: 3s
known: [{findings: [hold-lost], upstream: none, why: it restarts}]
`)
	if err != nil {
		t.Fatal(err)
	}
	p := newExecProfile(d)
	setting := Setting{Node: "cp", Binary: "/b", Kubeconfig: "/k", Families: []world.Family{world.IPv4}, Ranges: world.DefaultRanges(),
		Options: scenario.Options{SyncPeriod: scenario.Duration(time.Second)}}
	c, err := p.Command(setting)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"--config=/k", "--node=cp", "--services=198.18.0.0/20", "--pods=198.19.0.0/16", "--period=1s"}; !slices.Equal(c.Args, want) || !slices.Equal(c.Env, []string{"WHERE=cp"}) {
		t.Errorf("got %q %q, want %q", c.Args, c.Env, want)
	}
	if !p.IsError("ERROR: no") || p.IsError("no ERROR") || !p.IsError("panic: x") {
		t.Error("error lines are not told from others")
	}
	if p.IsError("ERROR: mere advice") || !p.IsError("ERROR: no mere advice at all") {
		t.Error("an excused line is an error, or another is none")
	}
	if got, want := string(c.Files["/etc/mine/config.yaml"]), "cluster: \"198.18.0.0/20\"\nnone: {}\n"; got != want {
		t.Errorf("the file is %q, want %q", got, want)
	}
	if p.Keeps() != invariant.KeepIPVS|invariant.KeepSets || p.Patience(scenario.Options{}) != 3*time.Second || p.StartLimit() != 8*time.Second || p.StopLimit() != 10*time.Second || !p.Ready().Log.MatchString("ready to go") {
		t.Errorf("keeps %v, patience %v, start and stop limit %v %v, ready %v", p.Keeps(), p.Patience(scenario.Options{}), p.StartLimit(), p.StopLimit(), p.Ready())
	}
	setting.Options.LoadBalancer = true
	var lacks *Lacks
	if _, err := p.Command(setting); !errors.As(err, &lacks) || lacks.Option != "loadBalancer" {
		t.Errorf("got %v", err)
	}
	const fine = "name: mine\nbinary: b\nready: {ipvs: true}\n"
	for text, want := range map[string]string{
		"name: mine\n":                                           "binary: want the path",
		"name: my proxy\nbinary: b\n":                            "without spaces",
		"name: mine\nbinary: b\n":                                "exactly one of",
		fine + "keeps: [nftables]\n":                             "known are: addresses, conflict-events, firewall",
		fine + "errors: [\"(\"]\n":                               "regular expression",
		fine + "args: [\"{nowhere}\"]\n":                         "unknown placeholder {nowhere}",
		fine + "options: {dsr: []}\n":                            "unknown option",
		fine + "colour: red\n":                                   "colour",
		fine + "allowed: [a]\n":                                  "proxy.yaml:4:10: allowed: excuses lines",
		fine + "errors: [a]\nallowed: [\"(\"]\n":                 "proxy.yaml:5:10: allowed: regular expression",
		fine + "familyArgs: {ipv5: []}\n":                        "proxy.yaml:4:20: familyArgs: ipv5: unknown family set; known are: ipv4, ipv6, dual-v4, dual-v6",
		fine + "familyArgs: {ipv4: [\"{x}\"]}\n":                 "familyArgs: ipv4: unknown placeholder {x}",
		fine + "files:\n  /usr/x: \"\"\n":                        "proxy.yaml:5:11: files: /usr/x: want an absolute path below one of /etc/, /run/, /tmp/, /var/lib/",
		fine + "files:\n  /etc/../x: \"\"\n":                     "want an absolute path",
		fine + "files:\n  /run/proxyproof/kubeconfig: \"\"\n":    "belongs to the harness",
		fine + "files:\n  /etc/x: \"{x}\"\n":                     "files: /etc/x: unknown placeholder {x}",
		fine + "env: {A: \"{x}\"}\n":                             "proxy.yaml:4:10: env: A: unknown placeholder",
		fine + "known: [{findings: [x], upstream: a, why: b}]\n": "no finding is called x",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "proxy.yaml") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestPatience: kube-router deletes what has drained with its next tick.
func TestPatience(t *testing.T) {
	drains := scenario.Options{GracefulPeriod: scenario.Duration(5 * time.Second)}
	if p := (kubeRouter{}); p.Patience(scenario.Options{}) >= 5*time.Second || p.Patience(drains) <= 10*time.Second {
		t.Errorf("kube-router: %v, and %v if something drains", p.Patience(scenario.Options{}), p.Patience(drains))
	}
	if p := (reference{}); p.Patience(drains) <= 5*time.Second || p.Patience(drains) >= 10*time.Second {
		t.Errorf("the reference: %v if something drains", p.Patience(drains))
	}
}

func TestDistinct(t *testing.T) {
	a, b := Subject{Name: "reference", Spec: "reference"}, Subject{Name: "mine", Spec: "exec=mine.yaml"}
	if err := Distinct([]Subject{a, b}); err != nil {
		t.Error(err)
	}
	err := Distinct([]Subject{a, b, {Name: "mine", Spec: "exec=other.yaml"}})
	if err == nil || !strings.Contains(err.Error(), "exec=other.yaml: reports would call it mine, like exec=mine.yaml;") {
		t.Errorf("got %v", err)
	}
}
