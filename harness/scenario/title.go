package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// Title is what a person calls the step: its name, or a sentence that says what it does.
func (s Step) Title() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.Apply != "":
		return "apply " + s.objects()
	case len(s.Delete) > 0:
		return "delete " + strings.Join(s.Delete, ", ")
	case len(s.Pods) > 0:
		return titles(s.Pods)
	case len(s.Endpoints) > 0:
		return titles(s.Endpoints)
	case len(s.Nodes) > 0:
		return titles(s.Nodes)
	case s.API != "":
		return "API server: " + string(s.API)
	case len(s.Foreign) > 0:
		var names []string
		for _, f := range s.Foreign {
			names = append(names, f.Name)
		}
		return "foreign " + strings.Join(names, ", ") + " come"
	case len(s.Withdraw) > 0:
		return "withdraw " + strings.Join(s.Withdraw, ", ")
	case len(s.Disturb) > 0:
		return "disturb " + titles(s.Disturb)
	case s.Subject != "":
		return fmt.Sprintf("%s the subject", s.Subject)
	case len(s.State) > 0:
		return "look for " + titles(s.State)
	case len(s.Expect) == 1:
		return "expect " + s.Expect[0].String()
	}
	return fmt.Sprintf("expect %d checks", len(s.Expect))
}

// titles joins what several things are called.
func titles[T fmt.Stringer](things []T) string {
	list := make([]string, len(things))
	for i, t := range things {
		list[i] = t.String()
	}
	return strings.Join(list, ", ")
}

// objects names what the manifest holds.
func (s Step) objects() string {
	const most = 3
	switch n := len(s.Objects); {
	case n == 0:
		return "a manifest"
	case n > most:
		return fmt.Sprintf("%d objects", n)
	}
	names := make([]string, len(s.Objects))
	for i, o := range s.Objects {
		names[i] = o.String()
	}
	return strings.Join(names, ", ")
}

// String is "lb(example):80 to answer laptop".
func (e Expect) String() string {
	from := strings.Join(e.From, ", ")
	switch {
	case e.Refused != "":
		return fmt.Sprintf("%s to refuse %s", e.Refused, from)
	case e.Ping != "":
		return fmt.Sprintf("%s to answer pings of %s", e.Ping, from)
	}
	title := fmt.Sprintf("%s to answer %s", e.Reach, from)
	if e.Status != 0 {
		title += fmt.Sprintf(" with status %d", e.Status)
	}
	if e.Sticky {
		title += ", always the same backend"
	}
	if e.KeepsPort {
		title += " at the same port"
	}
	if e.Source != "" {
		title += fmt.Sprintf(", with the address of the %s", e.Source)
	}
	return title
}

// String is "pod web-1 becomes terminating".
func (p PodChange) String() string {
	var parts []string
	if p.Becomes != "" {
		parts = append(parts, "becomes "+string(p.Becomes))
	}
	if p.Labels != nil {
		parts = append(parts, "gets other labels")
	}
	return "pod " + p.Name + " " + strings.Join(parts, " and ")
}

// String is "node cp has addresses per family: 1".
func (n NodeChange) String() string {
	if n.Replug {
		return "the cable of " + n.Name + " is pulled and put in again"
	}
	return fmt.Sprintf("node %s has addresses per family: %d", n.Name, n.Addresses)
}

// String is "endpoints of web: pod(web-1):8080".
func (e Endpoints) String() string {
	all := slices.Concat(e.Ready, e.Unready, e.Terminating)
	if len(all) == 0 {
		all = Names{"none"}
	}
	return fmt.Sprintf("endpoints of %s: %s", e.Service, strings.Join(all, ", "))
}

// String is "ipvs clusterip(web):80".
func (d Disturb) String() string {
	switch {
	case d.IPVS != "":
		return "ipvs " + d.IPVS
	case d.IPSet != "":
		return fmt.Sprintf("ipset %s of %s", d.IPSet, strings.Join(d.Members, ", "))
	case d.Address != "":
		return "address " + d.Address
	case d.Chain != "":
		return "chain " + d.Chain
	}
	return "neighbours"
}
