package netstate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// richCommands make state of every kind.
const richCommands = `
ip link set lo up
ip link add veth-a type veth peer name veth-b
ip link add kube-dummy-if type dummy
ip link add eth0.7 type dummy
ip link set veth-a up
ip link set veth-b up
ip link set kube-dummy-if up
ip link set eth0.7 up
ip addr add 192.0.2.1/24 dev veth-a
ip addr add 192.0.2.2/24 dev veth-a
ip addr add 2001:db8:2::1/64 dev veth-a nodad
ip addr add 2001:db8:2::2/64 dev veth-a nodad preferred_lft 0 valid_lft forever
ip addr add 198.18.0.1/32 dev kube-dummy-if
ip addr add 2001:db8:18::1/128 dev kube-dummy-if nodad
ip addr add 203.0.113.77 peer 203.0.113.78 dev eth0.7
ip route add 198.51.100.0/24 via 192.0.2.9
ip route add default via 192.0.2.254 metric 7
ip route add 203.0.113.0/24 dev veth-a src 192.0.2.2 metric 50
ip route replace local 198.18.0.1/32 dev kube-dummy-if table local src 192.0.2.1 proto kernel scope host
ip route add blackhole 198.51.100.128/25 table 78
ip route add unreachable 203.0.113.128/25 table 79
ip route add 203.0.113.64/26 table 1000 nexthop via 192.0.2.10 nexthop via 192.0.2.11
ip -6 route add 2001:db8:51::/64 via 2001:db8:2::9
ip -6 route add default via 2001:db8:2::fe metric 9
ip -6 route add blackhole 2001:db8:52::/64 table 78
ip -6 route add 2001:db8:53::/64 table 79 via 2001:db8:2::fe
ip -6 route add 2001:db8:54::/64 nexthop via 2001:db8:2::a nexthop via 2001:db8:2::b
ip rule add prio 100 from 198.18.0.0/24 to 192.0.2.0/24 lookup 78
ip rule add prio 32764 fwmark 0x10/0xf0 lookup 79
ip rule add prio 101 not iif veth-a oif veth-b lookup 1000
ip rule add prio 102 lookup main suppress_prefixlength 0
ip rule add prio 103 to 203.0.113.0/24 blackhole
ip rule add prio 104 ipproto tcp dport 80-90 tos 0x10 lookup 78
ip rule add prio 105 goto 32766
ip -6 rule add prio 100 from 2001:db8:18::/64 lookup 78
ip -6 rule add prio 101 fwmark 0x7 unreachable
ipvsadm -A -t 198.18.0.1:80 -s rr
ipvsadm -a -t 198.18.0.1:80 -r 198.19.0.1:8080 -m -w 1
ipvsadm -a -t 198.18.0.1:80 -r 198.19.0.2:8080 -m -w 0 -x 100 -y 50
ipvsadm -A -u 198.18.0.1:53 -s wrr -p 10800
ipvsadm -a -u 198.18.0.1:53 -r 198.19.0.3:53 -m -w 1000
ipvsadm -A --sctp-service 198.18.0.1:90 -s lc
ipvsadm -a --sctp-service 198.18.0.1:90 -r 198.19.0.4:90 -g -w 1
ipvsadm -A -t 198.18.0.2:443 -s sh -p 360 -M 255.255.255.0 -b sh-port,sh-fallback
ipvsadm -A -t [2001:db8:18::1]:80 -s rr
ipvsadm -a -t [2001:db8:18::1]:80 -r [2001:db8:19::1]:8080 -m -w 1
ipvsadm -A -u [2001:db8:18::1]:53 -s rr -o
ipvsadm -A -t [2001:db8:18::2]:80 -s mh -p 100 -M 64
ipvsadm -A -f 4660 -s rr
ipvsadm -a -f 4660 -r 198.19.0.5:0 -i -w 1
ipvsadm -a -f 4660 -r 198.19.0.6:0 -i -w 1 --tun-type gue --tun-port 6080
ipvsadm -A -f 7 -6 -s dh
ipvsadm -a -f 7 -6 -r [2001:db8:19::5]:0 -i -w 3
`

const richSets = `
create kube-router-svip hash:ip family inet hashsize 1024 maxelem 65536 timeout 0
add kube-router-svip 198.18.0.1 timeout 0
add kube-router-svip 192.0.2.1 timeout 5000
create inet6:kube-router-svip hash:ip family inet6 hashsize 1024 maxelem 65536 timeout 0
add inet6:kube-router-svip 2001:db8:18::1
add inet6:kube-router-svip 2001:db8:2::1
create kube-router-svip-prt hash:ip,port family inet timeout 0
add kube-router-svip-prt 198.18.0.1,tcp:80
add kube-router-svip-prt 198.18.0.1,udp:53
add kube-router-svip-prt 198.18.0.1,sctp:90
create inet6:kube-router-svip-prt hash:ip,port family inet6 timeout 0
add inet6:kube-router-svip-prt 2001:db8:18::1,tcp:80
create nets hash:net family inet maxelem 1000 counters comment
add nets 198.51.100.0/24 comment "a net"
add nets 192.0.2.1 comment "a host"
add nets 198.51.100.128/25 nomatch
create inet6:nets hash:net family inet6
add inet6:nets 2001:db8::/32
add inet6:nets 2001:db8::1
create masked hash:ip family inet netmask 28
add masked 192.0.2.32
create ippi hash:ip,port,ip family inet
add ippi 198.18.0.1,tcp:80,192.0.2.5
create inet6:ippi hash:ip,port,ip family inet6
add inet6:ippi 2001:db8:18::1,tcp:80,2001:db8:2::5
create ippn hash:ip,port,net family inet
add ippn 198.18.0.1,udp:53,192.0.2.0/24
add ippn 198.18.0.1,udp:53,192.0.2.7
create np hash:net,port family inet skbinfo
add np 192.0.2.0/24,tcp:80 skbmark 0x10/0xff skbprio 1:2 skbqueue 3
add np 192.0.2.9,tcp:80
create inet6:np hash:net,port family inet6
add inet6:np 2001:db8::/64,sctp:80
create ports bitmap:port range 0-1024
add ports 80
add ports 443
create list list:set
add list nets
add list kube-router-svip
create big hash:ip family inet
create empty hash:ip family inet timeout 600
`

// settle waits until the kernel has done by itself what it does after a link comes up, so that nothing else changes on its own: a
// link-local address whose uniqueness has been found out, and its routes.
func (s *space) settle(links ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		addrs, routes := s.run("ip -o -6 addr show scope link"), s.run("ip -o -6 route show table all")
		pending := strings.Contains(addrs, "tentative")
		for _, l := range links {
			pending = pending || !strings.Contains(addrs, " "+l+" ") || !strings.Contains(routes, "multicast ff00::/8 dev "+l+" ") ||
				!strings.Contains(routes, "\nfe80::/64 dev "+l+" ") && !strings.HasPrefix(routes, "fe80::/64 dev "+l+" ")
		}
		if !pending {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("links %v do not settle:\n%s%s", links, addrs, routes)
		}
	}
}

func rich(s *space, b Backend) {
	s.t.Helper()
	s.run(richCommands)
	s.settle("veth-a", "veth-b", "kube-dummy-if", "eth0.7")
	s.feed(richSets, "ipset", "restore")
	var big strings.Builder
	for i := range 3000 { // more than fits one message
		fmt.Fprintf(&big, "add big 198.18.%d.%d\n", i/250, i%250)
	}
	s.feed(big.String(), "ipset", "restore")
	s.feed(setsForRules, "ipset", "restore")
	for _, ipv6 := range []bool{false, true} {
		s.feed(rulesOf(ipv6), commandOf(ipv6, b, "restore"))
	}
}

func TestReadRich(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := newSpace(t)
		rich(s, b)
		r := s.reader(b, noExec)
		got, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Run("links", func(t *testing.T) { sameLines(t, linkLines(s), linkFacts(got)) })
		t.Run("addresses", func(t *testing.T) { sameLines(t, addrLines(s), addrFacts(got)) })
		t.Run("routes", func(t *testing.T) { sameLines(t, routeLines(s), routeFacts(got)) })
		t.Run("policy rules", func(t *testing.T) { sameLines(t, ruleLines(s), ruleFacts(got)) })
		t.Run("IPVS", func(t *testing.T) { sameLines(t, ipvsLines(s), ipvsFacts(got)) })
		t.Run("ipsets", func(t *testing.T) {
			want, err := parseSetSave(s.run("ipset save"))
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(want, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
			if diff := cmp.Diff(want, got.Sets); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("rules", func(t *testing.T) {
			var want []Table
			for _, ipv6 := range []bool{false, true} {
				tables, err := ParseSave(s.run(commandOf(ipv6, b, "save")), ipv6)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, tables...)
			}
			compareRules(t, want, got.Tables)
		})
		t.Run("sysctls", func(t *testing.T) {
			want := map[string]string{"net.ipv4.ip_forward": "0", "net.ipv4.vs.conntrack": "0", "net.ipv4.conf.eth0/7.rp_filter": "0",
				"net.ipv4.conf.all.arp_ignore": "0", "net.ipv6.conf.all.forwarding": "0", "net.ipv6.conf.kube-dummy-if.disable_ipv6": "0"}
			for name, value := range want {
				if got.Sysctls[name] != value {
					t.Errorf("sysctl %s is %q, want %q (have %v)", name, got.Sysctls[name], value, slices.Sorted(maps.Keys(got.Sysctls)))
				}
			}
		})
		if again, err := r.Read(t.Context()); err != nil || !cmp.Equal(got, again, cmp.Comparer(sameAddr), cmp.Comparer(samePrefix)) {
			t.Errorf("a second read differs: %v %v", err, Diff(got, again))
		}
	})
}

func sameAddr(a, b netip.Addr) bool     { return a == b }
func samePrefix(a, b netip.Prefix) bool { return a == b }

// sameLines compares what a tool printed with the same spelling of what was read.
func sameLines(t *testing.T, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 {
		t.Fatal("the tool printed nothing")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// squeeze replaces runs of blanks by one.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// sortWords is for what tools print in an order of their own.
func sortWords(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}

func linkLines(s *space) []string {
	var lines []string
	for line := range strings.Lines(s.run("ip -o -br link")) {
		words := strings.Fields(line)
		name, _, _ := strings.Cut(words[0], "@")
		up := strings.Contains(words[len(words)-1], "UP")
		lines = append(lines, fmt.Sprintf("%s %t", name, up && strings.ContainsAny(words[len(words)-1], "<")))
	}
	return lines
}

func linkFacts(s *State) []string {
	var lines []string
	for _, l := range s.Links {
		lines = append(lines, fmt.Sprintf("%s %t", l.Name, l.Up))
	}
	return lines
}

func addrLines(s *space) []string {
	var lines []string
	for line := range strings.Lines(s.run("ip -o addr")) {
		words := strings.Fields(line)
		if words[2] != "inet" && words[2] != "inet6" {
			continue
		}
		prefix, scope := words[3], words[slices.Index(words, "scope")+1]
		if words[4] == "peer" { // the length is the peer's
			_, bits, _ := strings.Cut(words[5], "/")
			prefix += "/" + bits
		}
		bad := slices.Contains(words, "deprecated") || slices.Contains(words, "tentative") || slices.Contains(words, "dadfailed")
		lines = append(lines, fmt.Sprintf("%s %s %s %t", words[1], prefix, scope, !bad))
	}
	return lines
}

func addrFacts(s *State) []string {
	var lines []string
	for _, a := range s.Addrs {
		lines = append(lines, fmt.Sprintf("%s %s %s %t", a.Link, a.Prefix, a.Scope, a.Usable))
	}
	return lines
}

// routeLines are what `ip -d route` prints, a line per next hop.
func routeLines(s *space) []string {
	var lines []string
	for _, v := range []string{"-4", "-6"} {
		var head []string // of a route whose next hops follow
		for line := range strings.Lines(s.run("ip -d " + v + " route show table all")) {
			words := strings.Fields(line)
			switch {
			case words[0] == "nexthop":
				lines = append(lines, ipRoute(v, slices.Concat(head, words[1:])))
			case slices.Contains(words, "dev") || words[0] == "blackhole" || words[0] == "unreachable":
				lines = append(lines, ipRoute(v, words))
			default:
				head = words
			}
		}
	}
	return lines
}

func ipRoute(version string, words []string) string {
	full := map[string]struct{ host, all string }{"-4": {"/32", "0.0.0.0/0"}, "-6": {"/128", "::/0"}}[version]
	dst := words[1]
	if dst == "default" {
		dst = full.all
	} else if !strings.Contains(dst, "/") {
		dst += full.host
	}
	values := map[string]string{}
	for i := 2; i+1 < len(words); i++ {
		values[words[i]] = words[i+1]
	}
	metric := values["metric"]
	if metric == "" {
		metric = "0"
	}
	return squeeze(fmt.Sprintf("%s %s table %s via %s dev %s src %s metric %s proto %s scope %s", words[0], dst, values["table"],
		values["via"], values["dev"], values["src"], metric, values["proto"], values["scope"]))
}

func routeFacts(s *State) []string {
	text := func(a netip.Addr) string {
		if a.IsValid() {
			return a.String()
		}
		return ""
	}
	var lines []string
	for _, r := range s.Routes {
		lines = append(lines, squeeze(fmt.Sprintf("%s %s table %s via %s dev %s src %s metric %d proto %s scope %s", r.Type, r.Dst,
			tableName(r.Table), text(r.Gateway), r.Link, text(r.Src), r.Metric, r.Protocol, r.Scope)))
	}
	return lines
}

func ruleLines(s *space) []string {
	var lines []string
	for _, v := range []string{"-4", "-6"} {
		for line := range strings.Lines(s.run("ip " + v + " rule")) {
			lines = append(lines, v+" "+sortWords(line))
		}
	}
	return lines
}

func ruleFacts(s *State) []string {
	var lines []string
	for _, r := range s.Rules {
		v := "-4"
		if r.IPv6 {
			v = "-6"
		}
		lines = append(lines, v+" "+sortWords(fmt.Sprintf("%d: %s", r.Priority, r.detail())))
	}
	return lines
}

func ipvsLines(s *space) []string {
	var lines []string
	for line := range strings.Lines(s.run("ipvsadm -Sn")) {
		lines = append(lines, sortWords(line))
	}
	return lines
}

// ipvsFacts spells services and destinations as `ipvsadm -Sn` does, which forgets thresholds.
func ipvsFacts(s *State) []string {
	var lines []string
	for _, v := range s.IPVS {
		options := map[string]string{"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}
		id := options[v.Protocol] + " " + endpoint(v.Address, v.Port)
		if v.FWMark != 0 {
			id = fmt.Sprintf("-f %d", v.FWMark)
			if v.IPv6 {
				id += " -6"
			}
		}
		line := "-A " + id + " -s " + v.Scheduler
		if v.Persistent {
			line += fmt.Sprintf(" -p %d", v.Timeout)
			if v.IPv6 && v.Netmask != 128 {
				line += fmt.Sprintf(" -M %d", v.Netmask)
			} else if !v.IPv6 && v.Netmask != 0xffffffff {
				line += fmt.Sprintf(" -M %d.%d.%d.%d", byte(v.Netmask>>24), byte(v.Netmask>>16), byte(v.Netmask>>8), byte(v.Netmask))
			}
		}
		if v.Flags&4 != 0 {
			line += " -o"
		}
		if v.Scheduler == "sh" && v.Flags&0x18 == 0x18 {
			line += " -b sh-fallback,sh-port"
		}
		lines = append(lines, sortWords(line))
		for _, d := range v.Dests {
			forward := map[string]string{"Masq": "-m", "Tunnel": "-i --tun-type ipip", "Route": "-g", "Local": "-l"}
			method := forward[d.Forward]
			if port, ok := strings.CutPrefix(d.Tunnel, "gue:"); ok {
				method = "-i --tun-type gue --tun-port " + port + " --tun-nocsum"
			}
			line := fmt.Sprintf("-a %s -r %s %s -w %d", id, endpoint(d.Address, d.Port), method, d.Weight)
			lines = append(lines, sortWords(line))
		}
	}
	return lines
}
