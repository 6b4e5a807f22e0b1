package scenario

import (
	"reflect"
	"strings"
)

// field is a field of a struct as files spell it.
type field struct {
	name     string
	index    []int
	required bool
}

// fieldsOf are the fields of a struct type under a tag. Only scenario files have required fields: those without omitempty.
func fieldsOf(t reflect.Type, tag string) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get(tag), ",")
		switch {
		case f.Anonymous && name == "":
			for _, inner := range fieldsOf(f.Type, tag) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		case f.IsExported() && name != "" && name != "-":
			fields = append(fields, field{name, []int{i}, tag == "yaml" && !strings.Contains(options, "omitempty")})
		}
	}
	return fields
}

func names(fields []field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}

// noun is what a person calls a value of a struct type: its type for objects of Kubernetes, else a word of the format.
func noun(t reflect.Type, name string) string {
	switch t {
	case reflect.TypeFor[Scenario]():
		return "the scenario"
	case reflect.TypeFor[World]():
		return "the world"
	case reflect.TypeFor[Subject]():
		return "subject"
	case reflect.TypeFor[Options]():
		return "options"
	case reflect.TypeFor[Expect]():
		return "a check of expect"
	}
	if t.PkgPath() == reflect.TypeFor[Scenario]().PkgPath() {
		return "a " + strings.ToLower(t.Name())
	}
	return name + " (" + t.Name() + ")"
}
