package foreign

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"proxyproof/sim/world"
)

// Set is an ipset of addresses.
type Set struct {
	Family  world.Family
	Name    string
	Members []netip.Addr
}

func (s Set) String() string { return "ipset " + s.Name }

func (s Set) put(ctx context.Context, n world.Node) error {
	family := "inet"
	if s.Family == world.IPv6 {
		family = "inet6"
	}
	if _, err := n.Run(ctx, "ipset", "create", s.Name, "hash:ip", "family", family); err != nil {
		return err
	}
	for _, m := range s.Members {
		if _, err := n.Run(ctx, "ipset", "add", s.Name, m.String()); err != nil {
			return err
		}
	}
	return nil
}

func (s Set) take(ctx context.Context, n world.Node) error {
	_, err := n.Run(ctx, "ipset", "destroy", s.Name)
	return err
}

// Rule is a rule of iptables. A chain that is not there is made, and stays.
type Rule struct {
	Family world.Family
	Table  string
	Chain  string
	First  bool // before all others, not behind them
	Text   string
}

func (r Rule) String() string { return fmt.Sprintf("rule %q in %s %s", r.Text, r.Table, r.Chain) }

func (r Rule) run(ctx context.Context, n world.Node, words ...string) error {
	command := "iptables"
	if r.Family == world.IPv6 {
		command = "ip6tables"
	}
	_, err := n.Run(ctx, command, append([]string{"-w", "10", "-t", r.Table}, words...)...)
	return err
}

func (r Rule) put(ctx context.Context, n world.Node) error {
	if r.run(ctx, n, "-n", "-L", r.Chain) != nil {
		if err := r.run(ctx, n, "-N", r.Chain); err != nil {
			return err
		}
	}
	place := "-A"
	if r.First {
		place = "-I"
	}
	return r.run(ctx, n, append([]string{place, r.Chain}, strings.Fields(r.Text)...)...)
}

func (r Rule) take(ctx context.Context, n world.Node) error {
	return r.run(ctx, n, append([]string{"-D", r.Chain}, strings.Fields(r.Text)...)...)
}
