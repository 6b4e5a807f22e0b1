package apply

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"proxyproof/reference/plan"
)

// servicesChain guards the service addresses.
const servicesChain = "KUBE-ROUTER-SERVICES"

// jump sends what comes for a service address to the chain. It is the first rule of INPUT.
func jump(f plan.Family) string {
	return fmt.Sprintf(`-m comment --comment "service addresses" -m set --match-set %s dst -j %s`, ServiceIPs.Name(f), servicesChain)
}

// icmpAccepted are the ICMP messages that must always come through: errors that TCP depends on, pings, and in IPv6 neighbour
// discovery, without which the node vanishes from its link.
func icmpAccepted(f plan.Family) []string {
	if f == plan.IPv4 {
		return []string{
			"-p icmp -m icmp --icmp-type 8 -j ACCEPT",
			"-p icmp -m icmp --icmp-type 0 -j ACCEPT",
			"-p icmp -m icmp --icmp-type 3 -j ACCEPT",
			"-p icmp -m icmp --icmp-type 11 -j ACCEPT",
		}
	}
	var rules []string
	for _, kind := range []int{128, 129, 1, 2, 3, 4, 135, 136} {
		rules = append(rules, fmt.Sprintf("-p ipv6-icmp -m icmp6 --icmpv6-type %d -j ACCEPT", kind))
	}
	return rules
}

// chain are the rules of the chain in order. What is not accepted and is not for an address of the node's own is rejected:
// a service address has no ports but those of services.
func chain(f plan.Family) []string {
	reject := "icmp-port-unreachable"
	if f == plan.IPv6 {
		reject = "icmp6-port-unreachable"
	}
	return append(icmpAccepted(f),
		fmt.Sprintf("-m set --match-set %s dst,dst -j ACCEPT", ServicePorts.Name(f)),
		fmt.Sprintf("-m set ! --match-set %s dst -j REJECT --reject-with %s", LocalIPs.Name(f), reject),
	)
}

// Both rules below are written as iptables-save prints them, or they would not be found again: --vdir implies --ipvs, which it leaves out.

// masquerade gives connections through IPVS the node's address as their source.
const masquerade = `-m comment --comment "connections through IPVS" -m ipvs --vdir ORIGINAL --vmethod MASQ -j MASQUERADE`

// hairpinChain does the same for an endpoint that was led back to itself: it takes no packet from the outside that has its own address
// as the source. There is one rule for all of them, so that rules do not change with endpoints.
const hairpinChain = "KUBE-ROUTER-HAIRPIN"

const hairpinJump = `-m comment --comment "endpoints that reach themselves" -m ipvs --vdir ORIGINAL --vmethod MASQ -j ` + hairpinChain

func hairpin(f plan.Family) string {
	return fmt.Sprintf("-m set --match-set %s src,dst,dst -j MASQUERADE", Hairpins.Name(f))
}

// postrouting are the rules of POSTROUTING that are the proxy's.
func postrouting(masqueradeAll bool) []string {
	if masqueradeAll {
		return []string{hairpinJump, masquerade}
	}
	return []string{hairpinJump}
}

func tool(f plan.Family, suffix string) string {
	if f == plan.IPv6 {
		return "ip6tables" + suffix
	}
	return "iptables" + suffix
}

// saved are the rules of each table, without counters.
func saved(f plan.Family) (map[string][]string, error) {
	var words bytes.Buffer
	cmd := exec.Command(tool(f, "-save"))
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.TrimSpace(words.String()))
	}
	rules, table := map[string][]string{}, ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if name, is := strings.CutPrefix(line, "*"); is {
			table = name
		}
		if strings.HasPrefix(line, "-A ") {
			rules[table] = append(rules[table], line)
		}
	}
	return rules, nil
}

// ofChain are the rules of a chain, without "-A CHAIN ".
func ofChain(rules []string, name string) []string {
	var own []string
	for _, rule := range rules {
		if spec, ok := strings.CutPrefix(rule, "-A "+name+" "); ok {
			own = append(own, spec)
		}
	}
	return own
}

// firewallRight tells whether the rules of a family are exactly what Firewall would write.
func firewallRight(f plan.Family, masqueradeAll bool) (bool, error) {
	rules, err := saved(f)
	if err != nil {
		return false, err
	}
	input := ofChain(rules["filter"], "INPUT")
	if len(input) == 0 || input[0] != jump(f) || !slices.Equal(ofChain(rules["filter"], servicesChain), chain(f)) {
		return false, nil
	}
	missing := func(rule string) bool { return !slices.Contains(ofChain(rules["nat"], "POSTROUTING"), rule) }
	return slices.Equal(ofChain(rules["nat"], hairpinChain), []string{hairpin(f)}) && !slices.ContainsFunc(postrouting(masqueradeAll), missing), nil
}

// Firewall writes the rules of a family in one batch: a chain is filled before the jump leads to it, and no other rule is
// touched.
func (k *Kernel) Firewall(f plan.Family, masqueradeAll bool) error {
	rules, err := saved(f)
	if err != nil {
		return err
	}
	var batch strings.Builder
	fmt.Fprintf(&batch, "*filter\n:%s - [0:0]\n", servicesChain)
	for _, rule := range chain(f) {
		fmt.Fprintf(&batch, "-A %s %s\n", servicesChain, rule)
	}
	for _, rule := range ofChain(rules["filter"], "INPUT") {
		if rule == jump(f) {
			fmt.Fprintf(&batch, "-D INPUT %s\n", rule)
		}
	}
	fmt.Fprintf(&batch, "-I INPUT 1 %s\nCOMMIT\n*nat\n:%s - [0:0]\n-A %s %s\n", jump(f), hairpinChain, hairpinChain, hairpin(f))
	for _, rule := range postrouting(masqueradeAll) {
		if !slices.Contains(ofChain(rules["nat"], "POSTROUTING"), rule) {
			fmt.Fprintf(&batch, "-A POSTROUTING %s\n", rule)
		}
	}
	batch.WriteString("COMMIT\n")
	return restore(f, batch.String())
}

func restore(f plan.Family, batch string) error {
	var words bytes.Buffer
	cmd := exec.Command(tool(f, "-restore"), "--noflush", "--wait", "10")
	cmd.Stdin, cmd.Stderr = strings.NewReader(batch), &words
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(words.String()))
	}
	return nil
}
