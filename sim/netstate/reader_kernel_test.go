package netstate

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wholeDump is everything that can be seen of a namespace, by other means than this package's.
func wholeDump(s *space) string {
	s.t.Helper()
	var b strings.Builder
	b.WriteString(s.run(`
		ip -d link
		ip addr
		ip -d -4 route show table all
		ip -d -6 route show table all
		ip -4 rule
		ip -6 rule
		ipset save
		ipvsadm -Sn
		iptables-nft-save
		ip6tables-nft-save
	`))
	err := onThread(s.fd, func() error {
		for _, name := range []string{"ip_tables_names", "ip6_tables_names", "ip_vs", "route", "if_inet6", "netfilter/nf_log"} {
			content, err := os.ReadFile("/proc/thread-self/net/" + name)
			fmt.Fprintf(&b, "%s %v\n%s", name, err, content)
		}
		// The tree is that of the thread that walks it.
		return filepath.WalkDir("/proc/sys/net", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_count") || strings.Contains(path, "nf_conntrack_max") {
				return err
			}
			content, _ := os.ReadFile(path) // some can only be written
			fmt.Fprintf(&b, "%s = %s\n", path, content)
			return nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// A namespace in which nothing was done reads as empty and stays as it was: no table is instantiated by looking at it.
func TestReadingChangesNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		for _, lo := range []string{"down", "up"} {
			t.Run("lo "+lo, func(t *testing.T) {
				s := newSpace(t)
				s.run("ip link set lo " + lo)
				before := wholeDump(s)
				r := s.reader(b, noExec)
				f1, err := r.Fingerprint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				state, err := r.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				f2, err := r.Fingerprint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, wholeDump(s)); diff != "" {
					t.Errorf("reading changed: %s", diff)
				}
				if f1 != f2 {
					t.Errorf("fingerprints differ: %s, %s", f1, f2)
				}
				if state.Tables != nil || state.Sets != nil || state.IPVS != nil {
					t.Errorf("not empty: %+v", state)
				}
				if names := state.linkNames(); !slices.Contains(names, "lo") {
					t.Errorf("links %v, want lo", names)
				}
			})
		}
		t.Run("rich", func(t *testing.T) {
			s := newSpace(t)
			rich(s, b)
			before := wholeDump(s)
			r := s.reader(b, noExec)
			for range 2 {
				if _, err := r.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(stable(before), stable(wholeDump(s))); diff != "" {
				t.Errorf("reading changed: %s", diff)
			}
		})
	})
}

func (s *State) linkNames() []string {
	var names []string
	for _, l := range s.Links {
		names = append(names, l.Name)
	}
	return names
}

// stable drops what time and traffic change: the remaining seconds of a set's member, the time in a comment of iptables-save, and
// the counters of a policy.
func stable(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, ":") {
			line, _, _ = strings.Cut(line, "[")
		}
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, " timeout 4") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// change is one thing done to a rich namespace; undo brings the same state back, unless it is "".
type change struct{ do, undo string }

// changes are those of the tables, and with the legacy back end those of everything else.
func changes(b Backend) []change {
	t4, t6 := "iptables-"+string(b), "ip6tables-"+string(b)
	tables := []change{
		{t4 + " -A INPUT -j ACCEPT", t4 + " -D INPUT -j ACCEPT"},
		{t6 + " -t nat -I POSTROUTING -j ACCEPT", t6 + " -t nat -D POSTROUTING -j ACCEPT"},
		{t4 + " -N MORE", t4 + " -X MORE"},
		{t4 + " -P INPUT DROP", t4 + " -P INPUT ACCEPT"},
		{t4 + " -t raw -R PREROUTING 1 -j TRACE", t4 + " -t raw -R PREROUTING 1 -s 203.0.113.7/32 -p tcp -j ACCEPT"},
		{t4 + " -I INPUT -m recent --name DEFAULT --rcheck -j DROP", t4 + " -D INPUT 1"},
	}
	if b == NFT {
		return tables
	}
	return append(tables, []change{
		{"ip link set eth0.7 down", ""},
		{"ip link add extra type dummy", "ip link del extra"},
		{"ip addr add 192.0.2.3/24 dev veth-a", "ip addr del 192.0.2.3/24 dev veth-a"},
		{"ip addr add 2001:db8:18::9/128 dev kube-dummy-if nodad", "ip addr del 2001:db8:18::9/128 dev kube-dummy-if"},
		{"ip addr change 2001:db8:2::1/64 dev veth-a preferred_lft 0", "ip addr change 2001:db8:2::1/64 dev veth-a preferred_lft forever"},
		{"ip route add 198.51.100.7/32 via 192.0.2.9 table 79", "ip route del 198.51.100.7/32 via 192.0.2.9 table 79"},
		{"ip route change local 198.18.0.1/32 dev kube-dummy-if table local src 192.0.2.2 proto kernel scope host",
			"ip route change local 198.18.0.1/32 dev kube-dummy-if table local src 192.0.2.1 proto kernel scope host"},
		{"ip -6 route add 2001:db8:77::/64 via 2001:db8:2::9", "ip -6 route del 2001:db8:77::/64"},
		{"ip rule add prio 200 fwmark 1 lookup 78", "ip rule del prio 200"},
		{"ip -6 rule add prio 200 fwmark 1 lookup 78", "ip -6 rule del prio 200"},
		{"ipvsadm -A -t 198.18.0.9:80 -s rr", "ipvsadm -D -t 198.18.0.9:80"},
		{"ipvsadm -a -t 198.18.0.1:80 -r 198.19.0.9:80 -m", "ipvsadm -d -t 198.18.0.1:80 -r 198.19.0.9:80"},
		{"ipvsadm -e -t 198.18.0.1:80 -r 198.19.0.1:8080 -m -w 2", "ipvsadm -e -t 198.18.0.1:80 -r 198.19.0.1:8080 -m -w 1"},
		{"ipvsadm -e -t 198.18.0.1:80 -r 198.19.0.2:8080 -m -w 0 -x 7 -y 5", "ipvsadm -e -t 198.18.0.1:80 -r 198.19.0.2:8080 -m -w 0 -x 100 -y 50"},
		{"ipvsadm -e -u 198.18.0.1:53 -r 198.19.0.3:53 -i -w 1000", "ipvsadm -e -u 198.18.0.1:53 -r 198.19.0.3:53 -m -w 1000"},
		{"ipvsadm -E -t 198.18.0.1:80 -s lc", "ipvsadm -E -t 198.18.0.1:80 -s rr"},
		{"ipvsadm -E -u 198.18.0.1:53 -s wrr -p 60", "ipvsadm -E -u 198.18.0.1:53 -s wrr -p 10800"},
		{"ipvsadm -E -t 198.18.0.2:443 -s sh -p 360 -M 255.255.0.0 -b sh-port,sh-fallback",
			"ipvsadm -E -t 198.18.0.2:443 -s sh -p 360 -M 255.255.255.0 -b sh-port,sh-fallback"},
		{"ipset add kube-router-svip 198.18.0.7", "ipset del kube-router-svip 198.18.0.7"},
		{"ipset del inet6:kube-router-svip-prt 2001:db8:18::1,tcp:80", "ipset add inet6:kube-router-svip-prt 2001:db8:18::1,tcp:80"},
		{"ipset add ports 8", "ipset del ports 8"},
		{"ipset create another hash:ip", "ipset destroy another"},
		{"ipset create forced hash:ip forceadd", "ipset destroy forced"},
		{"ipset rename empty void", "ipset rename void empty"},
		{"ipset swap svip kube-router-svip", "ipset swap svip kube-router-svip"},
	}...)
}

// The fingerprint changes with each kind of change, returns when it is undone, and changes with nothing else.
func TestFingerprint(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := newSpace(t)
		rich(s, b)
		r := s.reader(b, s.exec)
		sample := func() (Fingerprint, *State) {
			t.Helper()
			f, err := r.Fingerprint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			state, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return f, state
		}
		was, state := sample()
		for _, c := range changes(b) {
			s.run(c.do)
			now, changed := sample()
			diff := Diff(state, changed)
			if now == was || len(diff) == 0 {
				t.Errorf("%s: fingerprint %s before, %s after; differences %v", c.do, was, now, diff)
			}
			t.Logf("%s: %v", c.do, diff)
			if c.undo == "" {
				was, state = now, changed
				continue
			}
			s.run(c.undo)
			back, restored := sample()
			if diff := Diff(state, restored); back != was || len(diff) != 0 {
				t.Errorf("%s, then %s: fingerprint %s before, %s after; differences %v", c.do, c.undo, was, back, diff)
			}
		}
		t.Run("traffic and time", func(t *testing.T) { sameFingerprint(t, s, r, b) })
	})
}

// sameFingerprint: rules and members count packets, IPVS and conntrack hold connections, neighbours come and go, times tick.
func sameFingerprint(t *testing.T, s *space, r *Reader, b Backend) {
	s.run("ipset add nets 127.0.0.0/8")
	s.run("ipset create ticking hash:ip timeout 300")
	s.run("ipset add ticking 198.18.0.4")
	s.run("iptables-" + string(b) + " -I OUTPUT -m set --match-set nets dst -j ACCEPT")
	s.run("ipvsadm -A -u 127.0.0.1:5353 -s rr")
	s.run("ipvsadm -a -u 127.0.0.1:5353 -r 127.0.0.1:5354 -m -w 1")
	before, state := mustSample(t, r)
	err := onThread(s.fd, func() error {
		for range 20 {
			c, err := net.Dial("udp", "127.0.0.1:5353")
			if err != nil {
				return err
			}
			c.Write([]byte("hello")) // nobody listens
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	counters := s.run("iptables-" + string(b) + "-save -c")
	if strings.Contains(counters, "[0:0] -A OUTPUT -m set --match-set nets dst") || !strings.Contains(counters, "--match-set nets dst") {
		t.Fatalf("no traffic was counted:\n%s", counters)
	}
	saved := s.run("ipset save ticking")
	for deadline := time.Now().Add(10 * time.Second); s.run("ipset save ticking") == saved; {
		if time.Now().After(deadline) {
			t.Fatal("the remaining time of a member does not change")
		}
	}
	after, now := mustSample(t, r)
	if before != after {
		t.Errorf("fingerprint %s before, %s after: %v", before, after, Diff(state, now))
	}
	conns := 0
	for _, v := range now.IPVS {
		for _, d := range v.Dests {
			conns += d.ActiveConns + d.InactiveConns
		}
	}
	if conns == 0 {
		t.Error("no connection was seen")
	}
	if diff := Diff(state, now); diff != nil || Print(state) != Print(now) {
		t.Errorf("differences: %v", diff)
	}
}

func mustSample(t *testing.T, r *Reader) (Fingerprint, *State) {
	t.Helper()
	f, err := r.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f, state
}

// Rules and members of kinds that are not spelled here come from the node's own tools, which run only when they have changed.
func TestUnknownIsPrintedByTools(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := newSpace(t)
		tool, save := "iptables-"+string(b), commandOf(false, b, "save")
		s.run(tool + " -A INPUT -p tcp -m tcp --dport 80 -j ACCEPT")
		s.run(tool + " -A INPUT -m recent --name DEFAULT --rcheck -j DROP")
		s.run(tool + " -N CHAIN")
		s.run("ip6tables-" + string(b) + " -A INPUT -j ACCEPT")
		var ran []string
		r := s.reader(b, func(ctx context.Context, name string, args ...string) ([]byte, error) {
			ran = append(ran, joinWords(append([]string{name}, args...)...))
			return s.exec(ctx, name, args...)
		})
		check := func(what string, wantRan []string, want ...string) {
			t.Helper()
			ran = nil
			if _, err := r.Fingerprint(t.Context()); err != nil || ran != nil {
				t.Errorf("%s: a fingerprint ran %q: %v", what, ran, err)
			}
			state, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if c, ok := state.Chain(false, "filter", "INPUT"); ok {
				for _, rule := range c.Rules {
					got = append(got, rule.Spec)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
			if diff := cmp.Diff(wantRan, ran); diff != "" {
				t.Errorf("%s: ran %s", what, diff)
			}
		}
		http, odd := "-p tcp -m tcp --dport 80 -j ACCEPT", "-m recent --rcheck --name DEFAULT --mask 255.255.255.255 --rsource -j DROP"
		check("first", []string{save}, http, odd)
		check("again", nil, http, odd)
		s.run("ip6tables-" + string(b) + " -A INPUT -j DROP")
		check("other family", nil, http, odd)
		s.run(tool + " -I INPUT -j CHAIN")
		check("same family", []string{save}, "-j CHAIN", http, odd)
		s.run(tool + " -D INPUT 3")
		check("the rule is gone", nil, "-j CHAIN", http)

		s.run("ipset create odd hash:ip,port")
		s.run("ipset add odd 192.0.2.1,icmp:echo-request")
		s.run("ipset add odd 192.0.2.1,tcp:80")
		check("a member", []string{"ipset save odd"}, "-j CHAIN", http)
		state, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		set, _ := state.SetByName("odd")
		want := Set{Name: "odd", Type: "hash:ip,port", Members: []string{"192.0.2.1,icmp:echo-request", "192.0.2.1,tcp:80"}}
		if diff := cmp.Diff(want, set); diff != "" {
			t.Error(diff)
		}
	})
}

// A reader that cannot run anything says so, instead of leaving out what it does not understand.
func TestUnknownWithoutTools(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := newSpace(t)
		s.run("iptables-" + string(b) + " -A INPUT -m recent --name DEFAULT --rcheck -j DROP")
		for name, run := range map[string]Exec{"none": nil, "fails": noExec} {
			if state, err := s.reader(b, run).Read(t.Context()); err == nil {
				t.Errorf("%s: read %s", name, Print(state))
			}
		}
	})
}

// A writer that never stops does not make reads fail or come back half-done.
func TestReadWhileWriting(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := newSpace(t)
		s.run("ip link set lo up")
		s.feed(setsForRules, "ipset", "restore")
		r := s.reader(b, s.exec)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var writers sync.WaitGroup
		var writes atomic.Int64
		write := func(f func(i int) error) {
			writers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if err := f(i); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
					writes.Add(1)
				}
			})
		}
		restore := commandOf(false, b, "restore")
		write(func(i int) error { // two rule sets in turn, each with as many rules
			rules := strings.ReplaceAll(rulesOf(false), "--dport 80 ", fmt.Sprintf("--dport %d ", 80+i%2))
			if i%2 == 1 {
				rules = "*filter\n:INPUT ACCEPT\n-A INPUT -m recent --name DEFAULT --rcheck -j DROP\nCOMMIT\n"
			}
			_, err := s.input(t.Context(), rules, restore)
			return err
		})
		write(func(int) error { // as a proxy replaces a set, except that it keeps tmp: a set that is being listed cannot be destroyed
			sets := "create tmp hash:ip timeout 0\nflush tmp\nadd tmp 192.0.2.1\nadd tmp 192.0.2.2\nswap tmp svip\n"
			_, err := s.input(t.Context(), sets, "ipset", "-exist", "restore")
			if err != nil && strings.Contains(err.Error(), "resource busy") {
				return nil // nor can it be swapped in that moment; the worker reads sets while subjects stand still
			}
			return err
		})
		for writes.Load() < 40 {
			if _, err := r.Fingerprint(t.Context()); err != nil {
				t.Fatal(err)
			}
			state, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if hasUndecoded(state.Tables) {
				t.Fatal("a rule was left undecoded")
			}
			if set, ok := state.SetByName("svip"); !ok || len(set.Members) != 0 && len(set.Members) != 2 {
				t.Fatalf("half a set: %v", set)
			}
			if c, _ := state.Chain(false, "filter", "INPUT"); len(c.Rules) > 1 && len(c.Rules) != 6 {
				t.Fatalf("half a chain: %v", c)
			}
		}
		cancel()
		writers.Wait()
		t.Logf("%d writes", writes.Load())
	})
}

// node is what a service proxy makes of some twenty Services of both families.
func node(s *space, b Backend) {
	var commands, sets strings.Builder
	commands.WriteString("ip link set lo up\nip link add eth0 type dummy\nip link set eth0 up\nip addr add 192.0.2.1/24 dev eth0\n" +
		"ip addr add 2001:db8:2::1/64 dev eth0 nodad\nip link add kube-dummy-if type dummy\nip link set kube-dummy-if up\n" +
		"ip rule add prio 32765 lookup 79\nip rule add prio 32764 lookup 78\n")
	for _, family := range []string{"", "inet6:"} {
		option := map[string]string{"": "", "inet6:": " family inet6"}[family]
		for _, set := range []string{"local-ips hash:ip", "svip hash:ip", "svip-prt hash:ip,port"} {
			fmt.Fprintf(&sets, "create %skube-router-%s%s timeout 0\n", family, set, option)
		}
	}
	for i := range 20 {
		vip, dest, set := fmt.Sprintf("198.18.0.%d", i+1), "198.19.0.%d:8080", ""
		if i%2 == 1 {
			vip, dest, set = fmt.Sprintf("2001:db8:18::%d", i+1), "[2001:db8:19::%d]:8080", "inet6:"
			fmt.Fprintf(&commands, "ip addr add %s/128 dev kube-dummy-if nodad\n", vip)
			fmt.Fprintf(&commands, "ipvsadm -A -t [%s]:80 -s rr\n", vip)
		} else {
			fmt.Fprintf(&commands, "ip addr add %s/32 dev kube-dummy-if\n", vip)
			fmt.Fprintf(&commands, "ipvsadm -A -t %s:80 -s rr\n", vip)
		}
		for j := range 3 {
			service := endpoint(netip.MustParseAddr(vip), uint16(80))
			fmt.Fprintf(&commands, "ipvsadm -a -t %s -r %s -m -w 1\n", service, fmt.Sprintf(dest, j+1))
		}
		fmt.Fprintf(&sets, "add %skube-router-svip %s\nadd %skube-router-svip-prt %s,tcp:80\n", set, vip, set, vip)
	}
	s.run(commands.String())
	s.feed(sets.String(), "ipset", "restore")
	for _, ipv6 := range []bool{false, true} {
		var rules strings.Builder
		for line := range strings.Lines(strings.ReplaceAll(rulesOf(ipv6), "svip", "kube-router-svip")) {
			if !strings.HasPrefix(line, "-A A-CHAIN") && !strings.Contains(line, "three") {
				rules.WriteString(line)
			}
		}
		s.feed(rules.String(), commandOf(ipv6, b, "restore"))
	}
}

// What reads cost beside what the same costs through the tools, of a node with twenty Services.
func BenchmarkRead(b *testing.B) {
	for _, backend := range []Backend{Legacy, NFT} {
		s := newSpace(b)
		node(s, backend)
		run := func(name string, f func() error) {
			b.Run(string(backend)+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("tools", func() error {
			for _, command := range []string{"ip -o addr", "ip route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule",
				"ipvsadm -Sn", "ipset save", commandOf(false, backend, "save"), commandOf(true, backend, "save")} {
				s.run(command)
			}
			return nil
		})
		r := s.reader(backend, noExec)
		run("read", func() error { _, err := r.Read(b.Context()); return err })
		run("fingerprint", func() error { _, err := r.Fingerprint(b.Context()); return err })
		s.run("iptables-" + string(backend) + " -I INPUT -m recent --name DEFAULT --rcheck -j DROP")
		odd := s.reader(backend, s.exec)
		run("read with an unknown rule", func() error { _, err := odd.Read(b.Context()); return err })
	}
}
