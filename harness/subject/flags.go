package subject

import "regexp"

// flag is an option of a command line, and what of a scenario needs it.
type flag struct {
	name, value string
	// option is the scenario's option that asks for it, in the words of the format. Without one the flag only says what the
	// proxy does by default where it has no such flag, and may be left out.
	option string
}

// helpFlag finds the names of flags at the beginnings of the lines of a help text.
var helpFlag = regexp.MustCompile(`(?m)^\s*(?:-\w, )?--([a-z0-9][a-z0-9-]*)`)

// flagNames are the names of the flags that a help text lists.
func flagNames(help string) map[string]bool {
	names := map[string]bool{}
	for _, match := range helpFlag.FindAllStringSubmatch(help, -1) {
		names[match[1]] = true
	}
	return names
}

// arguments are the flags that the binary knows. The error is a *Lacks if it does not know one that the scenario needs.
func arguments(flags []flag, help string) ([]string, error) {
	names := flagNames(help)
	var args []string
	for _, f := range flags {
		switch {
		case names[f.name]:
			args = append(args, "--"+f.name+"="+f.value)
		case f.option != "":
			return nil, &Lacks{Option: f.option, Flag: "--" + f.name}
		}
	}
	return args, nil
}

// yes is the value of a flag that is on or off.
func yes(on bool) string {
	if on {
		return "true"
	}
	return "false"
}

// asked is the name of a scenario's option if it is switched on.
func asked(on bool, option string) string {
	if on {
		return option
	}
	return ""
}
