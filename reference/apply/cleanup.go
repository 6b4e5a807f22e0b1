package apply

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// linkMark is the alias of a link that a proxy has made, as opposed to one that it has found.
const linkMark = "made by proxyproof-reference"

// Cleanup takes away what proxies have made in this namespace, and nothing of anybody else's. The rules go first: a firewall must not
// guard addresses whose ports are being closed one after the other. Settings of the kernel stay, since nobody knows who relies on them.
func (k *Kernel) Cleanup(log *slog.Logger) error {
	families := []plan.Family{plan.IPv4, plan.IPv6}
	for _, f := range families {
		if err := k.removeRules(f); err != nil {
			return fmt.Errorf("remove the IPv%d rules: %w", f, err)
		}
	}
	actual, err := k.Read(plan.State{Families: families})
	if err != nil {
		return fmt.Errorf("read the kernel's state: %w", err)
	}
	applier := New(k, actual, log)
	applier.prepared = true // nothing is wanted that would need it
	if err := applier.Apply(plan.State{}); err != nil {
		return err
	}
	var errs []error
	for _, f := range families {
		errs = append(errs, k.destroySets(f))
	}
	return errors.Join(append(errs, k.removeLink(len(actual.ForeignVIPs)))...)
}

// removeRules touches no table that has none of the proxy's rules.
func (k *Kernel) removeRules(f plan.Family) error {
	rules, err := saved(f)
	if err != nil {
		return err
	}
	var batch strings.Builder
	if own := slices.ContainsFunc(rules["filter"], func(r string) bool { return strings.Contains(r, servicesChain) }); own {
		batch.WriteString("*filter\n")
		for _, rule := range ofChain(rules["filter"], "INPUT") {
			if rule == jump(f) {
				fmt.Fprintf(&batch, "-D INPUT %s\n", rule)
			}
		}
		fmt.Fprintf(&batch, "-F %s\n-X %s\nCOMMIT\n", servicesChain, servicesChain)
	}
	if own := ownPostrouting(rules); len(own) > 0 {
		batch.WriteString("*nat\n")
		for _, rule := range own {
			fmt.Fprintf(&batch, "-D POSTROUTING %s\n", rule)
		}
		fmt.Fprintf(&batch, "-F %s\n-X %s\nCOMMIT\n", hairpinChain, hairpinChain)
	}
	if batch.Len() == 0 {
		return nil
	}
	return restore(f, batch.String())
}

func (k *Kernel) destroySets(f plan.Family) error {
	var errs []error
	for _, s := range slices.Concat(Published, Ledger) {
		k.writes.Add(1)
		if err := k.sets.IpsetDestroy(s.Name(f)); ignore(err, unix.ENOENT) != nil {
			errs = append(errs, fmt.Errorf("destroy ipset %s: %w", s.Name(f), err))
		}
	}
	return errors.Join(errs...)
}

// removeLink keeps a link that was found, or that has addresses of others.
func (k *Kernel) removeLink(foreign int) error {
	link, err := k.route.LinkByName(DummyLink)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil
	case err != nil:
		return fmt.Errorf("find link %s: %w", DummyLink, err)
	case link.Attrs().Alias != linkMark || foreign > 0:
		return nil
	}
	k.writes.Add(1)
	if err := k.route.LinkDel(link); err != nil {
		return fmt.Errorf("delete link %s: %w", DummyLink, err)
	}
	return nil
}
