package image

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Available is the file below lib/modules/VERSION that names the modules that the kernel's package has, one a line, whether they are in
// the image or not.
const Available = "proxyproof.available"

// tree is lib/modules/VERSION of the image, and the list of what is loaded at boot. modprobe, which subjects and the kernel call, finds what
// is loaded, built in or loaded on demand, and says so of anything else that it is missing. lacking are the wanted modules that this
// kernel does not have.
func (m kernelModules) tree(ctx context.Context, root string) (files []File, lacking []string, err error) {
	atBoot, lacking, err := m.ordered(ctx, modules)
	if err != nil {
		return nil, nil, err
	}
	all, _, err := m.ordered(ctx, append(slices.Clone(modules), m.onDemand()...))
	if err != nil {
		return nil, nil, err
	}
	var load, dep, alias, builtIn, available strings.Builder
	for _, k := range atBoot {
		fmt.Fprintf(&load, "/%s\n", path.Join(root, fileOf(moduleName(k.path))))
	}
	needs := map[string][]string{}
	for _, k := range all {
		name := moduleName(k.path)
		needs[name] = k.needs
		files = append(files, text(path.Join(root, fileOf(name)), string(k.data)))
		dep.WriteString(depLine(name, needs))
		for _, a := range k.aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.builtIn)) {
		fmt.Fprintf(&builtIn, "%s\n", fileOf(name))
	}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		fmt.Fprintln(&available, name)
	}
	return append(files,
		text(ModuleList, load.String()),
		text(path.Join(root, "modules.dep"), dep.String()),
		text(path.Join(root, "modules.alias"), alias.String()),
		text(path.Join(root, "modules.builtin"), builtIn.String()),
		text(path.Join(root, Available), available.String()),
	), lacking, nil
}

// fileOf is where the image has a module.
func fileOf(name string) string { return path.Join("kernel", name+".ko") }

// depLine is a line of modules.dep: a module and everything that it needs, what is to be loaded first at the end. Modules that are built
// in are not in needs.
func depLine(name string, needs map[string][]string) string {
	var order []string // dependencies first
	done := map[string]bool{name: true}
	var visit func(name string)
	visit = func(name string) {
		for _, need := range needs[name] {
			if _, has := needs[need]; has && !done[need] {
				done[need] = true
				visit(need)
				order = append(order, need)
			}
		}
	}
	visit(name)
	line := fileOf(name) + ":"
	for _, need := range slices.Backward(order) {
		line += " " + fileOf(need)
	}
	return line + "\n"
}
