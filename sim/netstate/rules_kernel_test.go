package netstate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// setsForRules are the sets that the rules below match.
const setsForRules = `
create svip hash:ip family inet timeout 0
create svip-prt hash:ip,port family inet timeout 0
create inet6:svip hash:ip family inet6 timeout 0
create inet6:svip-prt hash:ip,port family inet6 timeout 0
create three hash:ip,port,ip family inet
create inet6:three hash:ip,port,ip family inet6
`

// rulesOf are rules of every kind that this package spells, as iptables-restore reads them. @X@ is what differs by family.
func rulesOf(ipv6 bool) string {
	text := `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-ROUTER-SERVICES - [0:0]
:EMPTY - [0:0]
:A-CHAIN - [0:0]
-A INPUT -m comment --comment "handle traffic to IPVS service IPs in custom chain" -m set --match-set @6@svip dst -j KUBE-ROUTER-SERVICES
-A INPUT -j A-CHAIN
-A INPUT -g A-CHAIN
-A INPUT
-A INPUT -m comment --comment plain_comment-1
-A INPUT -m comment --comment "with \"quotes\" and \\ and 'single'" -j ACCEPT
-A FORWARD -j EMPTY
-A KUBE-ROUTER-SERVICES -p @icmp@ -m @icmpm@ @icmptype@ @echo@ -m comment --comment "allow icmp echo requests to service IPs" -j ACCEPT
-A KUBE-ROUTER-SERVICES -p @icmp@ -m @icmpm@ @icmptype@ @unreach@ -j ACCEPT
-A KUBE-ROUTER-SERVICES -p @icmp@ -m @icmpm@ ! @icmptype@ @code@ -j DROP
-A KUBE-ROUTER-SERVICES -m set --match-set @6@svip-prt dst,dst -m comment --comment "allow input traffic to ipvs services" -j ACCEPT
-A KUBE-ROUTER-SERVICES -m set ! --match-set @6@svip dst -m comment --comment "reject all unexpected traffic to service IPs" -j REJECT --reject-with @reject@
-A KUBE-ROUTER-SERVICES -m set --match-set @6@three src,dst,src -j RETURN
-A KUBE-ROUTER-SERVICES -p tcp -j REJECT --reject-with tcp-reset
-A A-CHAIN -s @net@ -d @host@ -i eth0 -o eth1 -p tcp -m tcp --dport 80 -j ACCEPT
-A A-CHAIN ! -s @net@ ! -d @odd@ ! -i eth+ ! -o veth1234567+ ! -p udp -j DROP
-A A-CHAIN -s @odd@ -j ACCEPT
-A A-CHAIN -p tcp -m tcp --sport 1000:2000 ! --dport 443 -j ACCEPT
-A A-CHAIN -p tcp -m tcp ! --sport 1:65535 -j ACCEPT
-A A-CHAIN -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A A-CHAIN -p udp -m udp --sport 53 -j ACCEPT
-A A-CHAIN -p udp -m udp --dport 1024:65535 -j ACCEPT
-A A-CHAIN -p sctp -j ACCEPT
-A A-CHAIN -p 99 -j ACCEPT
-A A-CHAIN -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A A-CHAIN -m conntrack ! --ctstate INVALID,NEW,UNTRACKED,SNAT,DNAT -j ACCEPT
-A A-CHAIN -m state --state NEW -j ACCEPT
-A A-CHAIN -m mark --mark 0x10000/0x10000 -j ACCEPT
-A A-CHAIN -m mark ! --mark 0x7 -j ACCEPT
-A A-CHAIN -m connmark --mark 0x1/0xff -j ACCEPT
-A A-CHAIN -m addrtype --dst-type LOCAL -j ACCEPT
-A A-CHAIN -m addrtype ! --src-type LOCAL,UNICAST --limit-iface-in -j ACCEPT
-A A-CHAIN -p tcp -m multiport --dports 80,443,8000:8080 -j ACCEPT
-A A-CHAIN -p udp -m multiport ! --sports 53 -j ACCEPT
-A A-CHAIN -p tcp -m multiport --ports 1,2 -j ACCEPT
-A A-CHAIN -m statistic --mode random --probability 0.33333333349 -j ACCEPT
-A A-CHAIN -m statistic --mode nth --every 3 --packet 1 -j ACCEPT
-A A-CHAIN -m ipvs --ipvs -j ACCEPT
-A A-CHAIN -m ipvs ! --ipvs -j ACCEPT
-A A-CHAIN -m ipvs --vdir ORIGINAL --vmethod MASQ -j ACCEPT
-A A-CHAIN -m ipvs --vproto 6 --vaddr @host@ --vport 80 --vdir REPLY -j ACCEPT
-A A-CHAIN -m physdev --physdev-is-bridged -j ACCEPT
-A A-CHAIN -m physdev ! --physdev-is-in -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:HAIRPIN - [0:0]
-A POSTROUTING -m ipvs --vdir ORIGINAL --vmethod MASQ -j HAIRPIN
-A POSTROUTING ! -s @net@ ! -d @net@ -m ipvs --ipvs --vdir ORIGINAL --vmethod MASQ -m comment --comment "" -j SNAT --to-source @a@ --random-fully
-A POSTROUTING -j MASQUERADE
-A POSTROUTING -j MASQUERADE --random-fully
-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1024-2048 --random
-A PREROUTING -p tcp -j DNAT --to-destination @port@
-A PREROUTING -j DNAT --to-destination @a@ --persistent
-A HAIRPIN -s @host@ -d @host@ -j SNAT --to-source @a@-@b@
-A HAIRPIN -p udp -j SNAT --to-source @range@
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d @host@ -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1234/0xffffffff
-A PREROUTING -j MARK --set-xmark 0x10/0xf0
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xffff
-A POSTROUTING -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A POSTROUTING -j CONNMARK --set-xmark 0x1/0x3
-A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -s @host@ -p tcp -j ACCEPT
COMMIT
`
	values := map[string]string{"6": "", "icmp": "icmp", "icmpm": "icmp", "icmptype": "--icmp-type", "echo": "8", "unreach": "3",
		"code": "3/4", "reject": "icmp-port-unreachable", "net": "198.51.100.0/24", "odd": "192.0.2.64/27", "host": "203.0.113.7/32",
		"a": "192.0.2.1", "b": "192.0.2.9", "port": "192.0.2.1:8080", "range": "192.0.2.1:1024-2048"}
	if ipv6 {
		values = map[string]string{"6": "inet6:", "icmp": "ipv6-icmp", "icmpm": "icmp6", "icmptype": "--icmpv6-type", "echo": "128",
			"unreach": "1", "code": "1/4", "reject": "icmp6-port-unreachable", "net": "2001:db8:51::/64", "odd": "2001:db8:51::/59",
			"host": "2001:db8::7/128", "a": "2001:db8::1", "b": "2001:db8::9", "port": "[2001:db8::1]:8080",
			"range": "[2001:db8::1]:1024-2048"}
	}
	for name, value := range values {
		text = strings.ReplaceAll(text, "@"+name+"@", value)
	}
	return text
}

// ipv4Only and ipv6Only are rules that the other family does not have; legacyOnly has no spelling of the nft back end, and is IPv4.
const (
	ipv4Only = "*filter\n-A A-CHAIN -j REJECT --reject-with icmp-admin-prohibited\n" +
		"-A A-CHAIN -p icmp -m icmp --icmp-type any -j ACCEPT\nCOMMIT\n"
	legacyOnly = "*filter\n-A A-CHAIN -f -j ACCEPT\n-A A-CHAIN ! -f -j ACCEPT\nCOMMIT\n*raw\n-A PREROUTING -j TRACE\nCOMMIT\n"
	ipv6Only   = "*filter\n-A A-CHAIN -j REJECT --reject-with icmp6-adm-prohibited\n-A A-CHAIN -j REJECT --reject-with icmp6-no-route\nCOMMIT\n"
)

// optional are rules for which a kernel may lack modules.
var optional = []string{
	"*filter\n" +
		"-A A-CHAIN -m limit --limit 10/min --limit-burst 7 -j ACCEPT\n" +
		"-A A-CHAIN -m limit --limit 3/hour -j ACCEPT\n" +
		"-A A-CHAIN -m limit --limit 100/sec -j ACCEPT\n" +
		"COMMIT\n",
	"*filter\n" +
		"-A A-CHAIN -m limit --limit 10/min -j NFLOG --nflog-prefix \"a prefix\" --nflog-group 100\n" +
		"-A A-CHAIN -j NFLOG --nflog-group 1\n" +
		"COMMIT\n",
	"*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 8080\nCOMMIT\n",
}

func commandOf(ipv6 bool, b Backend, what string) string {
	name := "iptables"
	if ipv6 {
		name = "ip6tables"
	}
	return fmt.Sprintf("%s-%s-%s", name, b, what)
}

// Everything that this package spells, it spells as the kernel's own tool does, without running it.
func TestRulesInProcess(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := newSpace(t)
		s.feed(setsForRules, "ipset", "restore")
		var want []Table
		for _, ipv6 := range []bool{false, true} {
			s.feed(rulesOf(ipv6), commandOf(ipv6, b, "restore"))
			more := ipv4Only
			if ipv6 {
				more = ipv6Only
			}
			s.feed(more, commandOf(ipv6, b, "restore"), "--noflush")
			for _, rules := range optional {
				if _, err := s.input(t.Context(), rules, commandOf(ipv6, b, "restore"), "--noflush"); err != nil {
					t.Logf("without %.40q: %.80v", rules, err)
				}
			}
			if b == Legacy && !ipv6 {
				s.feed(legacyOnly, commandOf(ipv6, b, "restore"), "--noflush")
			}
			saved, err := ParseSave(s.run(commandOf(ipv6, b, "save")), ipv6)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, saved...)
		}
		got, err := s.reader(b, nil).snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		compareRules(t, want, got.Tables)
	})
}

func compareRules(t *testing.T, want, got []Table) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i].Name != got[i].Name || len(want[i].Chains) != len(got[i].Chains) {
			t.Fatalf("tables differ: %s", cmp.Diff(want, got))
		}
		for j, c := range want[i].Chains {
			g := got[i].Chains[j]
			if c.Name != g.Name || c.Policy != g.Policy || len(c.Rules) != len(g.Rules) {
				t.Fatalf("%s %s differ: %s", want[i].Name, c.Name, cmp.Diff(c, g))
			}
			for k := range c.Rules {
				if diff := cmp.Diff(c.Rules[k], g.Rules[k]); diff != "" {
					t.Errorf("%s\n want %s\n got  %s", want[i].path(c), c.Rules[k].Spec, g.Rules[k].Spec)
				}
			}
		}
	}
}
