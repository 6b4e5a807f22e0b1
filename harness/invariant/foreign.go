package invariant

import (
	"fmt"

	"proxyproof/harness/finding"
	"proxyproof/sim/netstate"
)

const foreignChanged finding.ID = "foreign-changed"

// foreign is the fourth invariant: what others have put into the kernel is as they left it.
func foreign() Check {
	return Check{
		Name:     "foreign",
		Doc:      "What the scenario has put into the kernel in the name of others is unchanged, whether the subject runs or not.",
		Findings: []finding.ID{foreignChanged},
		Judge:    judgeForeign,
	}
}

func judgeForeign(v View) []finding.Finding {
	if v.Now == nil {
		return nil
	}
	var found []finding.Finding
	for _, i := range v.Injected {
		var damage []string
		for _, c := range netstate.Damage(i.State, v.Now) {
			damage = append(damage, c.String())
		}
		if len(damage) == 0 {
			continue
		}
		found = append(found, finding.Finding{
			ID: foreignChanged, Node: v.Node.Name, Object: i.Name,
			Sentence: fmt.Sprintf("%s, which is not the subject's, was changed: %s", i.Name, list(damage)),
			Evidence: append([]string{"expected: all of it as its owner has left it"}, lines(damage)...),
		})
	}
	return found
}
