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

// masquerade gives connections through IPVS the node's address as their source.
const masquerade = `-m comment --comment "connections through IPVS" -m ipvs --ipvs --vdir ORIGINAL --vmethod MASQ -j MASQUERADE`

func tool(f plan.Family, suffix string) string {
	if f == plan.IPv6 {
		return "ip6tables" + suffix
	}
	return "iptables" + suffix
}

// saved are the rules of a table, without counters.
func saved(f plan.Family, table string) ([]string, error) {
	var words bytes.Buffer
	cmd := exec.Command(tool(f, "-save"), "-t", table)
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s -t %s: %w: %s", cmd.Args[0], table, err, strings.TrimSpace(words.String()))
	}
	var rules []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "-A ") {
			rules = append(rules, strings.TrimSpace(line))
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
	filter, err := saved(f, "filter")
	if err != nil {
		return false, err
	}
	input := ofChain(filter, "INPUT")
	if len(input) == 0 || input[0] != jump(f) || !slices.Equal(ofChain(filter, servicesChain), chain(f)) {
		return false, nil
	}
	if !masqueradeAll {
		return true, nil
	}
	nat, err := saved(f, "nat")
	if err != nil {
		return false, err
	}
	return slices.Contains(ofChain(nat, "POSTROUTING"), masquerade), nil
}

// Firewall writes the rules of a family in one batch: the chain is filled before the jump leads to it, and no other rule is
// touched.
func (k *Kernel) Firewall(f plan.Family, masqueradeAll bool) error {
	filter, err := saved(f, "filter")
	if err != nil {
		return err
	}
	var batch strings.Builder
	fmt.Fprintf(&batch, "*filter\n:%s - [0:0]\n", servicesChain)
	for _, rule := range chain(f) {
		fmt.Fprintf(&batch, "-A %s %s\n", servicesChain, rule)
	}
	for _, rule := range ofChain(filter, "INPUT") {
		if rule == jump(f) {
			fmt.Fprintf(&batch, "-D INPUT %s\n", rule)
		}
	}
	fmt.Fprintf(&batch, "-I INPUT 1 %s\nCOMMIT\n", jump(f))
	if masqueradeAll {
		nat, err := saved(f, "nat")
		if err != nil {
			return err
		}
		if !slices.Contains(ofChain(nat, "POSTROUTING"), masquerade) {
			fmt.Fprintf(&batch, "*nat\n-A POSTROUTING %s\nCOMMIT\n", masquerade)
		}
	}
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
