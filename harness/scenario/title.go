package scenario

import (
	"fmt"
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
	case len(s.Foreign) > 0:
		var names []string
		for _, f := range s.Foreign {
			names = append(names, f.Name)
		}
		return "foreign " + strings.Join(names, ", ") + " come"
	case len(s.Withdraw) > 0:
		return "withdraw " + strings.Join(s.Withdraw, ", ")
	case len(s.Disturb) > 0:
		var what []string
		for _, d := range s.Disturb {
			what = append(what, d.String())
		}
		return "disturb " + strings.Join(what, ", ")
	case s.Subject != "":
		return fmt.Sprintf("%s the subject", s.Subject)
	case len(s.Expect) == 1:
		return "expect " + s.Expect[0].String()
	}
	return fmt.Sprintf("expect %d checks", len(s.Expect))
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
	return fmt.Sprintf("%s to answer %s", e.Reach, from)
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
